"""Attention over a packed prefix tree by FlexAttention: a compiled kernel that skips blocks of the mask.

Which blocks of 128 by 128 nodes the mask needs is computed from the tree with numpy, in the packing thread.
"""

from dataclasses import dataclass, field, replace
from functools import cache

import numpy as np
import torch
from torch import Tensor

from engine.prefix_tree import PrefixTree

BLOCK = 128
ROUNDING = 512  # nodes are padded to a multiple of it, since each new length is compiled


@dataclass(frozen=True)
class FlexPlan:
    """Which node attends to which, with padding nodes that attend only to themselves."""

    end: Tensor  # (padded nodes,) int64
    positions: Tensor  # (padded nodes,) int64
    counts: Tensor  # (blocks,) int32: how many blocks of keys each block of queries looks at
    blocks: Tensor  # (blocks, blocks) int32: the numbers of these come first in each row
    masks: dict[int | None, object] = field(default_factory=dict)  # window -> BlockMask, made when first asked for

    def to(self, device: torch.device) -> "FlexPlan":
        tables = ("end", "positions", "counts", "blocks")
        moved = {name: getattr(self, name).to(device, non_blocking=True) for name in tables}
        return replace(self, masks={}, **moved)

    def attend(self, query: Tensor, key: Tensor, value: Tensor, scale: float, window: int | None) -> Tensor:
        """query (nodes, heads, d), key (nodes, kv heads, d), value (nodes, kv heads, e) -> (nodes, heads, e)."""
        nodes, more = len(query), len(self.end) - len(query)
        padded = (torch.nn.functional.pad(x, (0, 0, 0, 0, 0, more)).transpose(0, 1)[None] for x in (query, key, value))
        answer = _attention(query.device.type)(
            *padded, block_mask=self._mask(window), scale=scale, enable_gqa=query.shape[1] != key.shape[1]
        )
        return answer[0].transpose(0, 1)[:nodes]

    def _mask(self, window: int | None):
        from torch.nn.attention.flex_attention import BlockMask

        end, positions = self.end, self.positions

        def visible(batch, head, query, key):
            return (key <= query) & (query < end[key])

        def near(batch, head, query, key):
            return visible(batch, head, query, key) & (positions[query] - positions[key] < window)

        if window not in self.masks:
            self.masks[window] = BlockMask.from_kv_blocks(
                self.counts[None, None],
                self.blocks[None, None],
                BLOCK_SIZE=BLOCK,
                mask_mod=visible if window is None else near,
                seq_lengths=(len(end), len(end)),
            )
        return self.masks[window]


@cache
def _attention(device: str):
    """FlexAttention, compiled on a GPU. On a CPU it is not: exact, slow, and without a backward pass."""
    from torch.nn.attention.flex_attention import flex_attention

    return flex_attention if device == "cpu" else torch.compile(flex_attention, dynamic=False)


def plan_flex(tree: PrefixTree) -> FlexPlan:
    """The plan of a tree: a block of keys is needed where the `end` of one of its nodes is beyond the first query."""
    nodes = -(-len(tree) // ROUNDING) * ROUNDING
    end = np.arange(1, nodes + 1)
    end[: len(tree)] = tree.end
    positions = np.zeros(nodes, np.int64)
    positions[: len(tree)] = tree.positions
    count = nodes // BLOCK
    first = np.arange(count) * BLOCK
    seen = (end.reshape(count, BLOCK).max(1)[None, :] > first[:, None]) & (first[None, :] <= first[:, None])
    order = np.argsort(~seen, axis=1, kind="stable").astype(np.int32)  # what is seen comes first, in order
    return FlexPlan(*map(torch.from_numpy, (end, positions, seen.sum(1).astype(np.int32), order)))
