"""The ways to attend over a packed prefix tree, by name: each makes a plan of a tree that a model's layers share.

All give the same numbers up to rounding. Which is fastest differs by device, precision and size: `way_choice.py` tries
them out on a GPU.
"""

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from engine.attention import tree_kernel
from engine.attention.flex import plan_flex
from engine.attention.segments import plan_segments
from engine.attention.tree_attention import plan_attention
from engine.prefix_tree import PrefixTree

DENSE, BLOCKS, KERNEL, SEGMENTS, FLEX = "dense", "blocks", "kernel", "segments", "flex"


class Plan(Protocol):
    """How a tree is attended to, shared by all layers of a pass."""

    def to(self, device: torch.device) -> "Plan": ...

    def attend(self, query: Tensor, key: Tensor, value: Tensor, scale: float, window: int | None) -> Tensor:
        """query (nodes, heads, d), key (nodes, kv heads, d), value (nodes, kv heads, e), all contiguous.

        window: how many nodes of its path a node sees, itself among them; None: all. Returns (nodes, heads, e).
        """


class Shape(Protocol):
    """The fields of a `Packer` from which plans are made."""

    heads: int
    kv_heads: int
    dtype: torch.dtype
    windows: dict[str, int | None]


def _plan_blocks(tree: PrefixTree, packer: Shape) -> Plan:
    return plan_attention(tree, packer.heads, packer.kv_heads, packer.dtype, packer.windows.values())


def _plan_kernel(tree: PrefixTree, packer: Shape) -> Plan:
    return tree_kernel.plan_attention(tree, packer.heads // packer.kv_heads, packer.windows.values())


# Name -> function that makes a plan, beside the dense mask. They are tried in this order; of equals the first is kept.
WAYS: dict[str, Callable[[PrefixTree, Shape], Plan]] = {
    SEGMENTS: lambda tree, packer: plan_segments(tree),
    FLEX: lambda tree, packer: plan_flex(tree),
    BLOCKS: _plan_blocks,
    KERNEL: _plan_kernel,
}


def usual_way(device: torch.device) -> str:
    """The way where none was timed: blocks on a CPU, or for a model on the meta device; elsewhere the dense mask."""
    return BLOCKS if device.type in ("cpu", "meta") else DENSE
