"""Blocks of a tree against its whole mask, with and without a sliding window, on any rows."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from corpora import ROWS, build, path_to
from engine.prefix_tree import plan_blocks, visible_keys

WINDOW = st.none() | st.integers(1, 8)


@given(ROWS, WINDOW)
@settings(max_examples=200, deadline=None)
def test_a_window_hides_the_far_part_of_the_path(rows, window) -> None:
    tree = build(rows)
    whole, seen = tree.visibility(), tree.visibility(window)
    for node in range(len(tree)):
        path = np.flatnonzero(whole[node])
        assert len(path) == len(path_to(tree, node))
        assert np.flatnonzero(seen[node]).tolist() == path.tolist()[-window if window else 0 :]
    assert tree.depth == max(whole.sum(1))


@given(ROWS, st.integers(1, 9), st.integers(1, 4), WINDOW)
@settings(max_examples=300, deadline=None)
def test_blocks_say_what_the_mask_says(rows, block, buckets, window) -> None:
    tree = build(rows)
    rebuilt = np.zeros((len(tree), len(tree)), int)
    queries, sizes = [], []
    for bucket in plan_blocks(tree, block, buckets, window):
        assert bucket.keys.shape[1] % 32 == 0 and bucket.visible.any(2).all()
        reach = len(tree) if window is None else window
        sizes += [len(visible_keys(tree, of[0], of[-1] + 1, reach)) for of in bucket.queries]
        assert bucket.keys.shape[1] - max(sizes[-len(bucket.queries) :]) < 32
        queries += bucket.queries.ravel().tolist()
        for number, places in enumerate(bucket.visible):
            place, key = np.nonzero(places)
            np.add.at(rebuilt, (bucket.queries[number][place], bucket.keys[number][key]), 1)
    full = sizes[: len(tree) // block]
    assert full == sorted(full) and sorted(queries) == list(range(len(tree)))
    assert np.array_equal(rebuilt, tree.visibility(window).astype(int))


@given(ROWS, st.integers(1, 9))
@settings(max_examples=100, deadline=None)
def test_a_block_looks_at_no_key_in_vain(rows, block) -> None:
    tree = build(rows)
    for start in range(0, len(tree), block):
        seen = tree.visibility()[start : start + block].any(0)
        stop = min(start + block, len(tree))
        assert visible_keys(tree, start, stop, len(tree)).tolist() == np.flatnonzero(seen).tolist()


@given(st.integers(1, 30), st.integers(0, 29), st.integers(1, 9))
@settings(max_examples=100, deadline=None)
def test_a_block_of_one_path_looks_back_as_far_as_its_first_node_sees(length, start, window) -> None:
    """What comes after the block, here a row of its own, is no matter."""
    tree, start = build([(range(length), [[1]]), ([99], [[1]])]), min(start, length - 1)
    keys = visible_keys(tree, start, length, window)
    assert keys.tolist() == list(range(max(0, start + 1 - window), length))


def test_keys_are_padded_to_the_next_multiple_of_32() -> None:
    path = build([(range(66), [[1]])])
    for buckets, expected in ((1, [(2, 96)]), (2, [(1, 64), (1, 96)])):
        assert [bucket.keys.shape for bucket in plan_blocks(path, 33, buckets)] == expected
