"""Attention over a packed prefix tree, block by block: each block of queries sees its own path only.

Registered with transformers under the name `NAME`; without a tree in the call (padded rows, generation) it
is SDPA. The cost follows the depth of the tree, where a dense mask pays for every pair of nodes. ALiBi's bias
goes by the node's depth too (`follow_depth`), where the library counts the tokens before it.
"""

from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from engine.prefix_tree import BlockBucket, PrefixTree, plan_blocks

NAME = "prefix_tree"
BLOCK = 64  # queries of a block; measured on two CPU cores: 32 and 128 are slower
ATTENTION_DROPOUT = ("attention_dropout", "attn_pdrop")  # names of the setting in configurations; not supported here
BUCKETS = 6  # groups of blocks by key count; fewer pad more, more run smaller products

# -inf as bits, and their type, since numpy has no bf16.
_BIAS_BITS = {
    torch.float32: (np.float32(-np.inf).view(np.int32), np.int32),
    torch.bfloat16: (np.uint16(0xFF80).view(np.int16), np.int16),
    torch.float16: (np.float16(-np.inf).view(np.int16), np.int16),
}
# Model type -> the submodule whose `build_alibi_tensor(mask, heads, dtype)` every forward pass calls.
ALIBI_MODULES = {"bloom": "transformer"}
# Model types that go by a token's place in the sequence, and not by its position id: a window or ALiBi counted over
# places, a recurrent state, positions of their own. The self-check might miss it in a small pack.
BY_PLACE = frozenset(
    {"bart", "bigbird_pegasus", "blenderbot", "blenderbot-small", "gpt_neo", "marian", "mbart", "mpt", "mvp"}
    | {"nemotron", "openai-gpt", "pegasus", "plbart", "rwkv", "trocr", "xlstm"}
)


@dataclass(frozen=True)
class TreeBucket:
    """A `BlockBucket` for a number of heads, as indices into (nodes * heads, d) tables of vectors."""

    queries: Tensor  # (blocks * kv heads * group * block,) int64
    keys: Tensor  # (blocks * kv heads * keys,) int64
    bias: Tensor  # (blocks * kv heads, group * block, keys): 0 where visible, -inf elsewhere

    @classmethod
    def from_blocks(cls, bucket: BlockBucket, heads: int, kv_heads: int, dtype: torch.dtype) -> "TreeBucket":
        """The bucket for heads of a layer. In numpy: torch in the packing thread would start a second team of OpenMP
        threads, which halves the speed of the model on a CPU."""
        group = heads // kv_heads
        blocks, block, width = bucket.visible.shape
        head = np.arange(heads).reshape(1, kv_heads, group, 1)
        queries = bucket.queries[:, None, None] * heads + head
        keys = bucket.keys[:, None] * kv_heads + np.arange(kv_heads).reshape(1, kv_heads, 1)
        masked, bits = _BIAS_BITS[dtype]
        bias = np.where(bucket.visible, 0, masked).astype(bits)[:, None, None]
        bias = np.array(np.broadcast_to(bias, (blocks, kv_heads, group, block, width)))
        return cls(
            torch.from_numpy(queries.reshape(-1)),
            torch.from_numpy(keys.reshape(-1)),
            torch.from_numpy(bias.reshape(blocks * kv_heads, group * block, width)).view(dtype),
        )

    def to(self, device: torch.device) -> "TreeBucket":
        return TreeBucket(**{name: value.to(device, non_blocking=True) for name, value in vars(self).items()})


@dataclass(frozen=True)
class TreeLayout:
    """All buckets of a tree, and where the vectors of each node are among their rows.

    A key's gradient is the sum over the rows that read it. They are listed key by key and summed as bags, which is
    several times faster than scattering, and adds in the same order every time.
    """

    buckets: tuple[TreeBucket, ...]
    query_rows: Tensor  # (nodes * heads,) int64: the row that answers each query
    key_rows: Tensor  # (all keys,) int64: the rows that read key 0, then those of key 1, ...
    key_starts: Tensor  # (nodes * kv heads,) int64: where the rows of each key begin

    @classmethod
    def from_buckets(cls, buckets: Sequence[TreeBucket]) -> "TreeLayout":
        queries = np.concatenate([bucket.queries.numpy() for bucket in buckets])
        keys = np.concatenate([bucket.keys.numpy() for bucket in buckets])
        rows = np.argsort(keys, kind="stable")
        starts = np.searchsorted(keys[rows], np.arange(keys.max() + 1))
        return cls(tuple(buckets), *map(torch.from_numpy, (np.argsort(queries), rows, starts)))

    def to(self, device: torch.device) -> "TreeLayout":
        tables = (self.query_rows, self.key_rows, self.key_starts)
        return TreeLayout(
            tuple(bucket.to(device) for bucket in self.buckets),
            *(table.to(device, non_blocking=True) for table in tables),
        )


@dataclass(frozen=True)
class TreePlan:
    """How a tree is attended to, shared by all layers of a forward and backward pass that have the same shape.

    blocks: window -> blocks; None: the whole path. layouts: (window, heads, kv heads) -> layout on the device, of the
    shapes met so far; layers of one model may differ, as in Gemma 4.
    """

    depth: int
    dtype: torch.dtype
    blocks: dict[int | None, list[BlockBucket]]
    layouts: dict[tuple[int | None, int, int], TreeLayout] = field(default_factory=dict)
    device: torch.device = torch.device("cpu")

    def layout(self, window: int | None, heads: int, kv_heads: int) -> TreeLayout:
        """The layout for a layer with this sliding window; ValueError when none was planned."""
        reach = find_reach(self.depth, window, self.blocks)
        shape = (reach, heads, kv_heads)
        if shape not in self.layouts:
            buckets = [TreeBucket.from_blocks(bucket, heads, kv_heads, self.dtype) for bucket in self.blocks[reach]]
            self.layouts[shape] = TreeLayout.from_buckets(buckets).to(self.device)
        return self.layouts[shape]

    def attend(self, query: Tensor, key: Tensor, value: Tensor, scale: float, window: int | None) -> Tensor:
        """query (nodes, heads, d), key (nodes, kv heads, d), value (nodes, kv heads, e) -> (nodes, heads, e)."""
        layout = self.layout(window, query.shape[1], key.shape[1])
        return TreeAttention.apply(query, key, value, scale, layout)

    def to(self, device: torch.device) -> "TreePlan":
        layouts = {shape: layout.to(device) for shape, layout in self.layouts.items()}
        return replace(self, layouts=layouts, device=device)


def shorter_than(depth: int, window: int | None) -> int | None:
    """The window; None where it is as long as the tree is deep, and so hides nothing."""
    return None if window is None or window >= depth else window


def find_reach(depth: int, window: int | None, planned: Container[int | None]) -> int | None:
    """The key of `planned` for a layer's window, see `shorter_than`; ValueError when it was not planned."""
    reach = shorter_than(depth, window)
    if reach not in planned:
        raise ValueError(f"a layer sees {window} tokens back, which its configuration does not say")
    return reach


def plan_attention(
    tree: PrefixTree, heads: int, kv_heads: int, dtype: torch.dtype, windows: Iterable[int | None] = (None,)
) -> TreePlan:
    """The plan of a tree for the windows of a model's layers; layouts for other numbers of heads are made on demand.

    heads: of most layers; 0: not known.
    """
    reaches = {shorter_than(tree.depth, window) for window in windows}
    plan = TreePlan(tree.depth, dtype, {reach: plan_blocks(tree, BLOCK, BUCKETS, reach) for reach in reaches})
    for reach in reaches if heads else ():
        plan.layout(reach, heads, kv_heads)
    return plan


def attention_windows(config) -> dict[str, int | None]:
    """Layer type -> how many tokens a token of its layers sees, itself included; None: all before it.

    Raises:
        ValueError: some layers have another kind of attention, or dropout in it.
    """
    if config.model_type in BY_PLACE or getattr(config, "alibi", False):
        raise ValueError("its layers go by the place of a token in the sequence")
    window = getattr(config, "sliding_window", None)
    types = getattr(config, "layer_types", None)
    known = {"full_attention": None, "sliding_attention": window} if types else {"every": window}
    strange = sorted(set(types or ()) - known.keys())
    if strange or any(getattr(config, name, 0.0) for name in ATTENTION_DROPOUT):
        raise ValueError(f"it has layers of {', '.join(strange)}" if strange else "it drops out attention")
    return {name: known[name] for name in known if not types or name in types}


class TreeAttention(torch.autograd.Function):
    """softmax(q k' * scale + mask) v, block by block; keeps the probabilities for the backward pass."""

    @staticmethod
    def forward(context, query: Tensor, key: Tensor, value: Tensor, scale: float, layout: TreeLayout):
        """query (nodes, heads, d), key (nodes, kv heads, d), value (nodes, kv heads, e) -> (nodes, heads, e).

        All contiguous. d and e differ where keys are wider than values, as in latent attention.
        """
        answers = _Rows(len(layout.query_rows), value)
        saved = []
        for bucket in layout.buckets:
            q, k, v = _gather(query, bucket.queries), _gather(key, bucket.keys), _gather(value, bucket.keys)
            products = bucket.bias.shape[0]
            q, k, v = (x.view(products, -1, x.shape[-1]) for x in (q, k, v))
            probabilities = torch.baddbmm(bucket.bias, q, k.transpose(1, 2), alpha=scale).softmax(-1)
            torch.bmm(probabilities, v, out=answers.next_like(q))
            saved += [q, k, v, probabilities]
        context.save_for_backward(*saved)
        context.layout, context.scale = layout, scale
        context.shapes = query.shape, key.shape, value.shape
        return answers.rows.index_select(0, layout.query_rows).view(*query.shape[:-1], -1)

    @staticmethod
    def backward(context, gradient: Tensor):
        layout = context.layout
        gradient = gradient.contiguous()
        saved = context.saved_tensors  # read once: activation checkpointing gives them out only once
        d_query, d_key = _Rows(len(layout.query_rows), saved[0]), _Rows(len(layout.key_rows), saved[1])
        d_value = _Rows(len(layout.key_rows), saved[2])
        for index, bucket in enumerate(layout.buckets):
            q, k, v, probabilities = saved[4 * index : 4 * index + 4]
            d_output = _gather(gradient, bucket.queries).view(*q.shape[:-1], -1)
            torch.bmm(probabilities.transpose(1, 2), d_output, out=d_value.next_like(v))
            d_probabilities = torch.bmm(d_output, v.transpose(1, 2))
            d_scores = torch._softmax_backward_data(d_probabilities, probabilities, -1, probabilities.dtype)
            d_scores *= context.scale
            torch.bmm(d_scores, k, out=d_query.next_like(q))
            torch.bmm(d_scores.transpose(1, 2), q, out=d_key.next_like(k))
        by_node = (
            d_query.rows.index_select(0, layout.query_rows),
            _sum_of_bags(layout, d_key.rows),
            _sum_of_bags(layout, d_value.rows),
        )
        return *(d.view(shape) for d, shape in zip(by_node, context.shapes, strict=True)), None, None


class _Rows:
    """A table for the vectors of all buckets, which is filled bucket by bucket."""

    def __init__(self, count: int, like: Tensor) -> None:
        self.rows = like.new_empty(count, like.shape[-1])
        self.filled = 0

    def next_like(self, block: Tensor) -> Tensor:
        """The part of the table for the next bucket, (products, rows, width), the first two as of `block`."""
        start, self.filled = self.filled, self.filled + block.shape[0] * block.shape[1]
        return self.rows[start : self.filled].view(*block.shape[:-1], -1)


def _gather(table: Tensor, index: Tensor) -> Tensor:
    return table.view(-1, table.shape[-1]).index_select(0, index)


def _sum_of_bags(layout: TreeLayout, rows: Tensor) -> Tensor:
    return torch.nn.functional.embedding_bag(layout.key_rows, rows, layout.key_starts, mode="sum")


def tree_attention(module, query, key, value, attention_mask, scaling=None, dropout=0.0, tree_plan=None, **kwargs):
    """transformers' attention interface: (1, heads, nodes, d) each -> ((1, nodes, heads, d), None)."""
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    if tree_plan is None:
        return sdpa_attention_forward(
            module, query, key, value, attention_mask, scaling=scaling, dropout=dropout, **kwargs
        )
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    by_node = (x[0].transpose(0, 1).contiguous() for x in (query, key, value))
    return tree_plan.attend(*by_node, scale, kwargs.get("sliding_window"))[None], None


def register() -> str:
    """Registers the attention with transformers; returns its name."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    AttentionInterface.register(NAME, tree_attention)
    AttentionMaskInterface.register(NAME, sdpa_mask)
    return NAME


def follow_depth(model) -> None:
    """Has ALiBi of a model use a node's depth, read from the tree's mask; padded rows and generation are unchanged."""
    place = ALIBI_MODULES.get(model.config.model_type)
    if place is not None:
        module = model.get_submodule(place)
        module.build_alibi_tensor = partial(build_alibi, module.build_alibi_tensor)


def build_alibi(build_for_rows, mask: Tensor, num_heads: int, dtype: torch.dtype) -> Tensor:
    """(batch * heads, 1, keys): slope of the head times the key's position in its row.

    mask: (batch, tokens) of 0 and 1 goes to `build_for_rows`, the library's own function. For a tree it is additive,
    (batch, 1, nodes, keys): each node sees its path, so that its depth is the number of keys seen, less itself. Keys
    before those of the nodes are of a prompt with which all paths begin.
    """
    if mask.ndim == 2:
        return build_for_rows(mask, num_heads, dtype)
    # Two tokens: the second has position 1, and so the slope itself.
    slopes = build_for_rows(mask.new_ones(1, 2, dtype=torch.float32), num_heads, torch.float32)[:, 0, 1]
    depth = (mask[:, 0] == 0).sum(-1) - 1  # (batch, nodes)
    kept = torch.arange(mask.shape[-1] - mask.shape[-2], device=mask.device)  # keys of the prompt before all nodes
    depth = torch.cat([kept.expand(len(depth), -1), depth], dim=1)
    return (slopes[None, :, None] * depth[:, None, :]).reshape(-1, 1, depth.shape[-1]).to(dtype)
