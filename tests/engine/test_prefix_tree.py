"""PrefixTree against a brute-force trie, on any rows."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpora import ROWS, build, path_to
from engine.prefix_tree import PrefixTree, common_prefix_length, count_nodes, split_at_budget


def sequences_of(rows) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    return [(tuple(prompt), tuple(choice)) for prompt, choices in rows for choice in choices]


def prefixes_of(rows) -> set[tuple[int, ...]]:
    """The nodes of a trie, each named by its path."""
    read = [(*prompt, *choice[:-1]) for prompt, choice in sequences_of(rows)]
    return {path[:length] for path in read for length in range(1, len(path) + 1)}


def test_no_rows_are_an_empty_tree():
    tree = PrefixTree.from_rows([], [])
    assert (len(tree), tree.depth, tree.row_tokens, len(tree.pair_nodes)) == (0, 0, 0, 0)
    assert tree.visibility().shape == (0, 0) and split_at_budget([], [], 5) == [] and count_nodes([], []) == 0


def test_split_evens_out_equal_rows():
    prompts = [[first, *range(9)] for first in range(6)]
    groups = split_at_budget(prompts, [[[1]]] * 6, budget=40)
    assert [len(group) for group in groups] == [3, 3]


def test_split_takes_no_more_groups_to_even_them_out():
    """Evened out, no group would have more than 7 nodes, and each row stand alone."""
    prompts = [[0], [1, *range(6)], [2]]
    assert split_at_budget(prompts, [[[1]]] * 3, budget=8) == [[0, 1], [2]]


def test_exact_tree_written_by_hand():
    """Two turns: the second prompt goes on where the first stops, and each has two labels."""
    tree = PrefixTree.from_rows([[5, 6], [5, 6, 7]], [[[1, 0], [1, 2, 0]], [[3, 0], [3, 0]]])
    assert tree.tokens.tolist() == [5, 6, 1, 2, 7, 3]
    assert tree.positions.tolist() == [0, 1, 2, 3, 2, 3]
    assert tree.end.tolist() == [6, 6, 4, 4, 6, 6]
    assert tree.pair_nodes.tolist() == [1, 2, 1, 2, 3, 4, 5, 4, 5]
    assert tree.pair_tokens.tolist() == [1, 0, 1, 2, 0, 3, 0, 3, 0]
    assert tree.sequence_rows.tolist() == [0, 0, 1, 1] and (tree.depth, tree.row_tokens) == (4, 3 + 4 + 4 + 4)
    assert tree.pair_weights.tolist() == pytest.approx([1 / 2] * 2 + [1 / 3] * 3 + [1 / 2] * 4)


@pytest.mark.parametrize(("prompts", "continuations"), [([[]], [[[1]]]), ([[1]], [[[]]])])
def test_empty_rows_are_refused(prompts, continuations):
    with pytest.raises(ValueError, match="row 0"):
        PrefixTree.from_rows(prompts, continuations)


def test_common_prefix_length():
    assert common_prefix_length(np.array([1, 2, 3]), np.array([1, 2, 4, 5])) == 2
    assert common_prefix_length(np.array([1, 2]), np.array([1, 2, 4])) == 2
    assert common_prefix_length(np.array([], int), np.array([1])) == 0


@given(ROWS)
@settings(max_examples=300, deadline=None)
def test_nodes_are_the_distinct_prefixes(rows):
    tree = build(rows)
    paths = [path_to(tree, node) for node in range(len(tree))]
    assert len(set(paths)) == len(paths)
    assert set(paths) == prefixes_of(rows)
    assert [len(path) - 1 for path in paths] == tree.positions.tolist()


@given(ROWS)
@settings(max_examples=300, deadline=None)
def test_pairs_read_every_continuation_after_its_prompt(rows):
    tree = build(rows)
    for index, (prompt, choice) in enumerate(sequences_of(rows)):
        mine = tree.pair_sequences == index
        assert tree.pair_tokens[mine].tolist() == list(choice)
        expected = [(*prompt, *choice[:length]) for length in range(len(choice))]
        assert [path_to(tree, node) for node in tree.pair_nodes[mine]] == expected


@given(ROWS)
@settings(max_examples=200, deadline=None)
def test_visibility_is_ancestry(rows):
    tree = build(rows)
    paths = [path_to(tree, node) for node in range(len(tree))]
    brute = [[paths[q][: len(paths[k])] == paths[k] for k in range(len(tree))] for q in range(len(tree))]
    assert np.array_equal(tree.visibility(), np.array(brute, bool))


@given(ROWS)
@settings(max_examples=200, deadline=None)
def test_weights_of_a_sequence_sum_to_one(rows):
    tree = build(rows)
    totals = np.bincount(tree.pair_sequences, tree.pair_weights)
    assert totals == pytest.approx(np.ones(len(tree.sequence_rows)))
    assert tree.sequence_rows.tolist() == [row for row, (_, choices) in enumerate(rows) for _ in choices]
    assert tree.row_tokens == sum(len(prompt) + len(choice) - 1 for prompt, choice in sequences_of(rows))


@given(ROWS, st.integers(1, 40))
@settings(max_examples=300, deadline=None)
def test_split_keeps_every_row_once_and_the_budget(rows, budget):
    prompts, continuations = [prompt for prompt, _ in rows], [choices for _, choices in rows]
    groups = split_at_budget(prompts, continuations, budget)
    assert sorted(row for group in groups for row in group) == list(range(len(rows)))
    for group in groups:
        nodes = len(build([rows[row] for row in group]))
        assert nodes <= budget or len(group) == 1


@given(ROWS)
@settings(max_examples=100, deadline=None)
def test_nodes_are_counted_without_a_tree(rows):
    """Exactly where nothing is read behind the prompts; else what continuations share is counted again."""
    prompts, continuations = [prompt for prompt, _ in rows], [choices for _, choices in rows]
    assert count_nodes(prompts, continuations) >= len(build(rows))
    assert count_nodes(prompts, [[[1]]] * len(rows)) == len(build([(prompt, [[1]]) for prompt in prompts]))


def test_the_work_is_linear():
    """A long shared spine with many rows: of eight times as many a quadratic build takes 64 times as long."""

    def build_time(rows: int) -> float:
        """CPU seconds of this process, which neighbours lengthen little; the least of some."""
        spine = list(range(1, 3000))
        prompts = [spine[: 1000 + place % 2000] + [0, *map(int, str(place))] for place in range(rows)]
        took = []
        for _ in range(3):
            began = time.process_time()
            tree = PrefixTree.from_rows(prompts, [[[1, 2]]] * rows)
            took.append(time.process_time() - began)
            assert len(tree) > 2999 + rows
        return min(took)

    small, large = build_time(1000), build_time(8000)
    assert large < 25 * small, (small, large)
