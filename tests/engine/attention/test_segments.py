"""Runs of a tree against its whole mask, plain and padded; and the kernel's gradients put back node by node."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from corpora import ROWS, build
from engine.attention import segments
from engine.attention.segments import SegmentAttention, SegmentPlan, attend_in_turn, plan_segments

WINDOW = st.none() | st.integers(1, 8)
ROW = [7, 7, 1, 2, 3, 4, 5]
TREE = [(ROW, [[8, 9], [6]]), ([*ROW, 1, 1], [[8, 9], [6]]), ([7, 7, 1, 5], [[8, 9, 4], [6]]), ([3, 3], [[8, 9]])]


def seen_by_runs(plan: SegmentPlan, window: int | None) -> np.ndarray:
    """(nodes, nodes) how often each query meets each key."""
    nodes = len(plan.bag_starts) - 1
    met = np.zeros((nodes, nodes), int)
    queries, starts = plan.query_starts.tolist(), plan.key_starts.tolist()
    for run in range(len(queries) - 1):
        keys = plan.keys[starts[run] : starts[run + 1]].numpy()
        asking = range(queries[run], queries[run + 1])
        assert len(asking) <= plan.most_queries and len(keys) <= plan.most_keys
        visible = segments._lower_right(len(asking), len(keys), window, torch.device("cpu")).numpy()
        for row, query in enumerate(asking):
            np.add.at(met[query], keys[visible[row]], 1)
    return met


def assert_bags_hold_each_place_once(plan: SegmentPlan) -> None:
    starts = [*plan.bag_starts.tolist(), len(plan.key_rows)]
    assert sorted(plan.key_rows.tolist()) == list(range(len(plan.keys)))
    seen = int(plan.key_starts[-1])
    for node in range(len(starts) - 2):
        places = plan.key_rows[starts[node] : starts[node + 1]]
        assert (plan.keys[places] == node).all() and (places < seen).all()
    assert (plan.key_rows[starts[-2] :] >= seen).all()  # what no run sees


@given(ROWS, WINDOW)
@settings(max_examples=200, deadline=None)
def test_runs_say_what_the_mask_says(rows, window) -> None:
    tree = build(rows)
    plan = plan_segments(tree)
    assert np.array_equal(seen_by_runs(plan, window), tree.visibility(window).astype(int))
    assert_bags_hold_each_place_once(plan)


@given(ROWS, WINDOW, st.integers(1, 9), st.integers(1, 4), st.integers(0, 9))
@settings(max_examples=200, deadline=None)
def test_a_padded_plan_adds_nodes_that_see_themselves_alone(rows, window, nodes, runs, keys) -> None:
    tree = build(rows)
    plain = plan_segments(tree)
    sizes = len(tree) + nodes, len(plain.query_starts) - 1 + runs, len(plain.keys) + nodes + keys
    padded = plain.padded(*sizes, max(plain.most_queries, nodes), max(plain.most_keys, nodes))
    assert (len(padded.bag_starts) - 1, len(padded.query_starts) - 1, len(padded.keys)) == sizes
    met = seen_by_runs(padded, window)
    assert np.array_equal(met[: len(tree), : len(tree)], tree.visibility(window).astype(int))
    assert not met[: len(tree), len(tree) :].any() and not met[len(tree) :, : len(tree)].any()
    assert (np.diag(met) == 1).all()
    assert_bags_hold_each_place_once(padded)


@pytest.mark.parametrize("smaller", [{"nodes": 0}, {"runs": 0}, {"keys": 1}])
def test_a_plan_is_not_padded_where_there_is_no_room(smaller) -> None:
    plan = plan_segments(build(TREE))
    more = {"nodes": 2, "runs": 1, "keys": 2} | smaller
    sizes = (len(plan.bag_starts) - 1, len(plan.query_starts) - 1, len(plan.keys))
    with pytest.raises(ValueError, match="no room"):
        plan.padded(*(size + extra for size, extra in zip(sizes, more.values(), strict=True)), 99, 99)


def in_float(query, keys, values, scale, window, plan) -> Tensor:
    """What the kernel computes, from gathered keys: run by run, and what no run sees is not looked at."""
    gathered = SegmentPlan(torch.arange(len(keys)), plan.query_starts, plan.key_starts, *[torch.empty(0)] * 2, 0, 0)
    return attend_in_turn(query, keys, values, scale, window, gathered)


@pytest.mark.parametrize("window", [None, 3])
@pytest.mark.parametrize("padded", [False, True])
def test_gradients_come_back_to_the_nodes(window, padded, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a GPU, where the kernel leaves gradients of keys that no run sees as the memory was."""

    def forward(query, keys, values, scale, window, plan):
        none = torch.zeros(1)
        return in_float(query, keys, values, scale, window, plan), none, none, none

    def back(gradient, query, keys, values, answer, sums, state, scale, window, plan):
        inputs = [x.detach().requires_grad_() for x in (query, keys, values)]
        with torch.enable_grad():
            d_query, *d_seen = torch.autograd.grad(in_float(*inputs, scale, window, plan), inputs, gradient)
        for one in d_seen:
            one[int(plan.key_starts[-1]) :] = torch.nan
        return d_query, *d_seen

    monkeypatch.setattr(segments, "run_kernel", forward)
    monkeypatch.setattr(segments, "run_kernel_back", back)
    tree = build(TREE)
    plan = plan_segments(tree)
    if padded:
        plan = plan.padded(len(tree) + 3, len(plan.query_starts) + 2, len(plan.keys) + 8, 9, 9)
    generator = torch.Generator().manual_seed(0)
    nodes = len(plan.bag_starts) - 1
    inputs = [torch.randn(nodes, heads, 8, dtype=torch.float64, generator=generator) for heads in (4, 2, 2)]
    upstream = torch.randn(nodes, 4, 8, dtype=torch.float64, generator=generator)
    outcomes = []
    for attend in (SegmentAttention.apply, attend_in_turn):
        own = [x.clone().requires_grad_() for x in inputs]
        answer = attend(*own, 0.3, window, plan)
        outcomes.append([answer, *torch.autograd.grad(answer, own, upstream)])
    for found, expected in zip(*outcomes, strict=True):
        assert torch.allclose(found, expected, rtol=1e-12, atol=1e-12) and expected.norm() > 0
