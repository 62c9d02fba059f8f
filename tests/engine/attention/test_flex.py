"""FlexAttention's blocks against the whole mask, and its answers on a CPU, where it has no backward pass."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from corpora import ROWS, build
from engine.attention import flex
from engine.attention.flex import plan_flex
from engine.attention.segments import attend_in_turn, plan_segments


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flex, "BLOCK", 4)
    monkeypatch.setattr(flex, "ROUNDING", 8)


@given(ROWS)
@settings(max_examples=200, deadline=None)
def test_a_block_is_looked_at_where_something_in_it_is_seen(rows) -> None:
    flex.BLOCK, flex.ROUNDING = 4, 8
    tree = build(rows)
    plan = plan_flex(tree)
    nodes = len(plan.end)
    assert nodes % 8 == 0 and 0 <= nodes - len(tree) < 8
    visible = np.eye(nodes, dtype=bool)
    visible[: len(tree), : len(tree)] = tree.visibility()
    by_block = visible.reshape(nodes // 4, 4, nodes // 4, 4).any((1, 3))
    for row, (count, blocks) in enumerate(zip(plan.counts.tolist(), plan.blocks.tolist(), strict=True)):
        assert blocks[:count] == np.flatnonzero(by_block[row]).tolist()
        assert sorted(blocks) == list(range(nodes // 4))


@given(st.none() | st.integers(1, 60))
@settings(max_examples=6, deadline=None)
@pytest.mark.filterwarnings("ignore:flex_attention called without")
def test_answers_are_those_of_runs(window) -> None:
    flex.BLOCK, flex.ROUNDING = 128, 128  # what the library takes
    generator = torch.Generator().manual_seed(0)
    start = torch.randint(0, 9, (70,), generator=generator).tolist()
    tree = build([(start[: 10 * size], [[20 + size, 3, 4, 5], [30, 5]]) for size in range(1, 8)])
    query, key, value = (torch.randn(len(tree), heads, 16, generator=generator) for heads in (4, 2, 2))
    found = plan_flex(tree).attend(query, key, value, 0.25, window)
    expected = attend_in_turn(query, key, value, 0.25, window, plan_segments(tree))
    assert torch.allclose(found, expected, atol=1e-5)
