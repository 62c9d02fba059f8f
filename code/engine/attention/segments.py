"""Attention over a packed prefix tree, cut into unbranched runs of nodes, by a kernel for rows of different lengths.

A run is a chain of the tree: each node but the first is the child of the one before it. Its queries see the path to
the run and the run itself, which is causal attention from the lower right corner: there is no mask. On a GPU all runs
are one call of PyTorch's flash attention in half precision; elsewhere they are taken in turn.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from engine.prefix_tree import PrefixTree

KERNEL_DTYPES = (torch.bfloat16, torch.float16)


@dataclass(frozen=True)
class SegmentPlan:
    """The runs of a tree, as tables that a kernel reads. Starts have one entry more than there are runs.

    most_queries: at least the nodes of the longest run; most_keys: at least the length of the longest path.
    """

    keys: Tensor  # (gathered,) int64: the node of every gathered key, run after run
    query_starts: Tensor  # (runs + 1,) int32: where the queries of each run begin
    key_starts: Tensor  # (runs + 1,) int32: where its gathered keys begin
    key_rows: Tensor  # (gathered,) int64: the gathered keys that are node 0, then those that are node 1, ...
    bag_starts: Tensor  # (nodes + 1,) int64: where in `key_rows` those of each node begin; last, those of padding
    most_queries: int
    most_keys: int

    def to(self, device: torch.device) -> "SegmentPlan":
        return SegmentPlan(
            **{
                name: value.to(device, non_blocking=True) if isinstance(value, Tensor) else value
                for name, value in vars(self).items()
            }
        )

    def attend(self, query: Tensor, key: Tensor, value: Tensor, scale: float, window: int | None) -> Tensor:
        """query (nodes, heads, d), key (nodes, kv heads, d), value (nodes, kv heads, e) -> (nodes, heads, e)."""
        if query.device.type == "cpu" or query.dtype not in KERNEL_DTYPES:
            return attend_in_turn(query, key, value, scale, window, self)
        return SegmentAttention.apply(query, key, value, scale, window, self)

    @classmethod
    def from_runs(cls, keys: np.ndarray, query_starts: np.ndarray, key_starts: np.ndarray) -> "SegmentPlan":
        """keys (gathered,), every node among them; starts (runs + 1,)."""
        nodes = int(query_starts[-1])
        rows = np.argsort(keys, kind="stable")
        return cls(
            keys=torch.from_numpy(keys),
            query_starts=torch.from_numpy(query_starts.astype(np.int32)),
            key_starts=torch.from_numpy(key_starts.astype(np.int32)),
            key_rows=torch.from_numpy(rows),
            bag_starts=torch.from_numpy(np.searchsorted(keys[rows], np.arange(nodes + 1))),
            most_queries=int(np.diff(query_starts).max()),
            most_keys=int(np.diff(key_starts).max()),
        )

    def padded(self, nodes: int, runs: int, gathered: int, most_queries: int, most_keys: int) -> "SegmentPlan":
        """The plan padded to a fixed size, with a run of the added nodes, empty runs, and keys that no run sees.

        nodes, runs, gathered: to pad to. They must be larger than the plan's, gathered keys by as many as nodes or
        more: ValueError otherwise.
        """
        old_nodes, old_runs, old_gathered = len(self.bag_starts) - 1, len(self.query_starts) - 1, len(self.keys)
        more_nodes, seen = nodes - old_nodes, old_gathered + nodes - old_nodes
        if more_nodes < 1 or seen > gathered or runs <= old_runs:
            raise ValueError(f"{nodes} nodes, {runs} runs and {gathered} keys have no room for what pads the tree")
        added, empty = np.arange(old_nodes, nodes), np.full(runs - old_runs, nodes, np.int32)
        tables = (
            np.concatenate([self.keys.numpy(), added, np.zeros(gathered - seen, np.int64)]),
            np.concatenate([self.query_starts.numpy(), empty]),
            np.concatenate([self.key_starts.numpy(), np.full_like(empty, seen)]),
            np.concatenate([self.key_rows.numpy(), np.arange(old_gathered, gathered)]),
            np.concatenate([self.bag_starts.numpy()[:-1], np.arange(old_gathered, seen + 1)]),
        )
        return SegmentPlan(*map(torch.from_numpy, tables), most_queries=most_queries, most_keys=most_keys)


def plan_segments(tree: PrefixTree) -> SegmentPlan:
    """Cuts the tree where a node is not the child of the one before it."""
    starts = np.flatnonzero(np.diff(tree.positions, prepend=-2) != 1)
    stops = np.append(starts[1:], len(tree))
    path = np.empty(tree.depth, np.int64)
    keys = []
    for start, stop in zip(starts, stops, strict=True):
        depth = int(tree.positions[start])
        path[depth : depth + stop - start] = np.arange(start, stop)
        keys.append(path[: depth + stop - start].copy())
    key_starts = np.cumsum([0, *map(len, keys)])
    return SegmentPlan.from_runs(np.concatenate(keys), np.append(starts, len(tree)), key_starts)


def attend_in_turn(query: Tensor, key: Tensor, value: Tensor, scale: float, window: int | None, plan: SegmentPlan):
    """Run by run by SDPA, for what the kernel does not take: a CPU, fp32."""
    group = query.shape[1] // key.shape[1]
    keys, values = (x[plan.keys].repeat_interleave(group, 1).transpose(0, 1) for x in (key, value))
    queries = query.transpose(0, 1)
    bounds, key_bounds = plan.query_starts.tolist(), plan.key_starts.tolist()
    answers = []
    for run in range(len(bounds) - 1):
        seen = slice(key_bounds[run], key_bounds[run + 1])
        asking = queries[:, bounds[run] : bounds[run + 1]]
        visible = _lower_right(asking.shape[1], seen.stop - seen.start, window, query.device)
        answers.append(
            torch.nn.functional.scaled_dot_product_attention(
                asking, keys[:, seen], values[:, seen], attn_mask=visible, scale=scale
            )
        )
    return torch.cat(answers, 1).transpose(0, 1)


def _lower_right(queries: int, keys: int, window: int | None, device: torch.device) -> Tensor:
    """(queries, keys) bool: a causal mask in which the last query sees the last key. window: keys, None: all."""
    behind = torch.arange(keys - queries, keys, device=device)[:, None] - torch.arange(keys, device=device)
    return (behind >= 0) if window is None else (behind >= 0) & (behind < window)


class SegmentAttention(torch.autograd.Function):
    """All runs in one call of flash attention. Keys and values are gathered again for the backward pass."""

    @staticmethod
    def forward(context, query: Tensor, key: Tensor, value: Tensor, scale: float, window: int | None, plan):
        """As `SegmentPlan.attend`; all tensors are contiguous, on a GPU, in half precision."""
        keys, values = key.index_select(0, plan.keys), value.index_select(0, plan.keys)
        answer, sums, *state = run_kernel(query, keys, values, scale, window, plan)
        context.save_for_backward(query, key, value, answer, sums, *state)
        context.scale, context.window, context.plan = scale, window, plan
        return answer

    @staticmethod
    def backward(context, gradient: Tensor):
        query, key, value, answer, sums, *state = context.saved_tensors
        plan = context.plan
        keys, values = key.index_select(0, plan.keys), value.index_select(0, plan.keys)
        inputs = (gradient.contiguous(), query, keys, values, answer, sums, state)
        d_query, d_keys, d_values = run_kernel_back(*inputs, context.scale, context.window, plan)
        d_key, d_value = (_sum_by_node(plan, rows) for rows in (d_keys, d_values))
        return d_query, d_key, d_value, None, None, None


def run_kernel(query, keys, values, scale: float, window: int | None, plan: SegmentPlan) -> tuple[Tensor, ...]:
    """(answers, logarithms of the softmax's sums, two tensors of the kernel's state for the backward pass)."""
    return torch.ops.aten._flash_attention_forward(
        query,
        keys,
        values,
        plan.query_starts,
        plan.key_starts,
        plan.most_queries,
        plan.most_keys,
        0.0,
        True,
        False,
        scale=scale,
        **_reach(window),
    )[:4]


def run_kernel_back(
    gradient, query, keys, values, answer, sums, state, scale: float, window: int | None, plan: SegmentPlan
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of queries, gathered keys and gathered values."""
    return torch.ops.aten._flash_attention_backward(
        gradient,
        query,
        keys,
        values,
        answer,
        sums,
        plan.query_starts,
        plan.key_starts,
        plan.most_queries,
        plan.most_keys,
        0.0,
        True,
        *state,
        scale=scale,
        **_reach(window),
    )


def _reach(window: int | None) -> dict[str, int]:
    """The kernel's arguments for a window: how many keys back and ahead; -1: all."""
    return {"window_size_left": -1 if window is None else window - 1, "window_size_right": 0}


def _sum_by_node(plan: SegmentPlan, rows: Tensor) -> Tensor:
    """(gathered, heads, d) -> (nodes, heads, d): sums the gradients of all places where a node's key was read."""
    flat = rows.reshape(len(rows), -1)
    summed = torch.nn.functional.embedding_bag(plan.key_rows, flat, plan.bag_starts, mode="sum")
    return summed[:-1].view(-1, *rows.shape[1:])
