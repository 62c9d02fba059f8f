"""Micro-batches as tensors: one packed tree, or padded rows; and log p of what they predict.

Both ways end in the same quantities, so training and scoring do not know which one ran.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from engine.attention import tree_attention, tree_kernel, tree_ways
from engine.batching import EAGER_TOKEN_BUDGET, TOKEN_BUDGETS, MicroBatch
from engine.last_layer import computed_where_read, head_in_full, log_p_of
from engine.objective import log_shares
from engine.prefix_tree import PrefixTree, TokenRow


@dataclass(frozen=True)
class PackedBatch:
    """Model inputs and the (logit row, token) pairs to read from the output.

    `logits_to_keep` restricts the language-model head to the positions that predict something; `pair_rows`
    index the kept logits, flattened over batch and position. sequence_rows, wanted: under `LabelLoss`, where a sequence
    is one label of a row; None: the loss is that of each sequence by itself.
    """

    inputs: dict[str, Any]
    logits_to_keep: Tensor  # (kept,) int64
    pair_rows: Tensor  # (pairs,) int64
    pair_tokens: Tensor  # (pairs,) int64
    pair_sequences: Tensor  # (pairs,) int64
    pair_weights: Tensor  # (pairs,) float32: row weight / continuation length
    sequences: int
    tokens: int  # tokens that the model computes, padding included
    sequence_rows: Tensor | None = None  # (sequences,) int64: the row of each
    wanted: Tensor | None = None  # (sequences,) float32: target probability of the label, times the row's weight

    def to(self, device: torch.device) -> "PackedBatch":
        return PackedBatch(**{name: _move(value, device) for name, value in vars(self).items()})


def _move(value: Any, device: torch.device) -> Any:
    """Tensors and buckets to the device, also inside dicts and tuples."""
    if isinstance(value, dict):
        return {name: _move(item, device) for name, item in value.items()}
    if isinstance(value, tuple):
        return tuple(_move(item, device) for item in value)
    return value.to(device) if hasattr(value, "to") else value


@dataclass(frozen=True)
class Packer:
    """How a model takes micro-batches.

    kind: `tree` or `rows`. way: of attending over the tree, `DENSE` or one of `tree_ways.WAYS`. heads, kv_heads: of
    most layers. dtype: the model's. windows: layer type -> tokens that its layers see, None: all. additive: the dense
    mask holds 0 and -inf, which eager attention adds. takes_ways: whether it takes any other way than a dense mask.
    replays: whether passes may be captured on a GPU and replayed, see `engine/replay.py`.
    """

    kind: str
    pad_token_id: int
    way: str = tree_ways.DENSE
    heads: int = 0
    kv_heads: int = 0
    dtype: torch.dtype = torch.float32
    windows: Mapping[str, int | None] = field(default_factory=lambda: {"every": None})
    additive: bool = False
    takes_ways: bool = False
    replays: bool = False

    @property
    def shares_prefixes(self) -> bool:
        return self.kind == "tree"

    def pack(self, batch: MicroBatch) -> PackedBatch:
        packed = pack_tree(batch, self) if self.shares_prefixes else pack_rows(batch, self.pad_token_id)
        return with_label_loss(packed, batch) if batch.wanted else packed


def can_share_prefixes(model) -> bool:
    """Whether a model computes the same for a prefix whatever follows it; its configuration says where it does not."""
    return getattr(model.config, "shares_prefixes", True)


def adds_its_mask(model) -> bool:
    """Whether the model's attention adds a dense mask of 0 and -inf to all scores, which asks for much memory."""
    return model.config.get_text_config()._attn_implementation == "eager"


def usual_token_budget(model, device: torch.device) -> int:
    """The default of --token_budget."""
    budget = TOKEN_BUDGETS.get(device.type, TOKEN_BUDGETS["cuda"])
    return min(budget, EAGER_TOKEN_BUDGET) if adds_its_mask(model) else budget


def packer_for(model, kind: str, pad_token_id: int, kernel: bool = False) -> Packer:
    """The packer that fits a model's attention: rows where prefixes cannot be shared.

    kernel: use the C++ operator of tree attention where it is built and takes the model's heads.

    Raises:
        ValueError: its layers have a kind of attention that trees cannot have.
    """
    if kind != "tree" or not can_share_prefixes(model):
        return Packer("rows", pad_token_id)
    config = model.config.get_text_config()
    attention, dtype = config._attn_implementation, next(model.parameters()).dtype
    windows = tree_attention.attention_windows(config)
    if attention != tree_attention.NAME:
        return Packer(kind, pad_token_id, dtype=dtype, windows=windows, additive=adds_its_mask(model))
    try:
        heads = config.num_attention_heads
        kv_heads = getattr(config, "num_key_value_heads", None) or heads
    except Exception:  # no number, or not one for all layers (Gemma 4): the tensors tell
        heads = kv_heads = 0
    way = tree_ways.usual_way(next(model.parameters()).device)
    if kernel and way == tree_ways.BLOCKS and heads and fits_kernel(config, heads) and tree_kernel.prepare(dtype):
        way = tree_ways.KERNEL
    return Packer(kind, pad_token_id, way, heads, kv_heads, dtype, windows, takes_ways=True)


def fits_kernel(config, heads: int) -> bool:
    """Whether keys and values of a model's heads are as wide as the C++ operator takes them."""
    width = getattr(config, "head_dim", None) or config.hidden_size // heads
    latent = (getattr(config, name, None) or width for name in ("qk_head_dim", "v_head_dim"))
    return all(map(tree_kernel.fits, (width, *latent)))


def pack_tree(batch: MicroBatch, packer: Packer) -> PackedBatch:
    """Every distinct prefix once, in one sequence; needs a model that takes a 4-D mask and position ids."""
    tree = batch.tree()
    return _packed(tree, tree.positions, _attention_inputs(tree, packer), _weights(batch, tree))


def packed_with(batch: MicroBatch, plan: tree_ways.Plan) -> PackedBatch:
    """The batch as a tree, with this plan of attention."""
    tree = batch.tree()
    return _packed(tree, tree.positions, with_plan(plan), _weights(batch, tree))


def _weights(batch: MicroBatch, tree: PrefixTree) -> np.ndarray:
    """(pairs,) the weight of each pair's row."""
    return np.asarray(batch.weights)[tree.sequence_rows[tree.pair_sequences]]


def pack_rest(prompt: TokenRow, continuations: Sequence[TokenRow], kept: int, packer: Packer) -> PackedBatch:
    """A prompt without its first `kept` tokens, whose keys and values are cached, followed by the continuations.

    It always has a dense mask: it is small, and attends to cached keys, which are no nodes of its tree.
    """
    tree = PrefixTree.from_rows([prompt[kept:]], [continuations])

    def visibility(window: int | None) -> np.ndarray:
        """(nodes, kept + nodes) bool."""
        reach = len(prompt) + len(tree) if window is None else window
        before = kept + tree.positions[:, None] - np.arange(kept) < reach
        return np.concatenate([before, tree.visibility(window)], axis=1)

    return _packed(tree, kept + tree.positions, _dense_masks(visibility, packer), np.ones(len(tree.pair_nodes)))


def _packed(tree: PrefixTree, positions: np.ndarray, attention: dict[str, Any], weights: np.ndarray) -> PackedBatch:
    """A packed tree. positions: (nodes,) in their rows. attention: model inputs. weights: (pairs,) of their rows."""
    nodes, pair_rows = np.unique(tree.pair_nodes, return_inverse=True)
    inputs = {"input_ids": torch.from_numpy(tree.tokens)[None], "position_ids": torch.from_numpy(positions)[None]}
    return PackedBatch(
        inputs=inputs | attention,
        logits_to_keep=torch.from_numpy(nodes),
        pair_rows=torch.from_numpy(pair_rows),
        pair_tokens=torch.from_numpy(tree.pair_tokens),
        pair_sequences=torch.from_numpy(tree.pair_sequences),
        pair_weights=torch.from_numpy(tree.pair_weights * weights).float(),
        sequences=len(tree.sequence_rows),
        tokens=len(tree),
    )


def _attention_inputs(tree: PrefixTree, packer: Packer) -> dict[str, Any]:
    """A dense mask, or the plan of another way."""
    if packer.way != tree_ways.DENSE:
        return with_plan(tree_ways.WAYS[packer.way](tree, packer))
    return _dense_masks(tree.visibility, packer)


def _dense_masks(visibility: Callable[[int | None], np.ndarray], packer: Packer) -> dict[str, Any]:
    """The mask of every type of layer, where there are several. visibility: window -> (nodes, keys) bool."""
    masks = {name: _dense_mask(visibility(window), packer) for name, window in packer.windows.items()}
    return {"attention_mask": masks if len(masks) > 1 else next(iter(masks.values()))}


def with_plan(plan: tree_ways.Plan) -> dict[str, Any]:
    """The model inputs for a plan, in place of a mask.

    The mask is a stand-in: transformers leaves any 4-D mask alone, and without one it would take positions that jump
    back for several packed samples.
    """
    return {"attention_mask": torch.ones(1, 1, 1, 1, dtype=torch.bool), "tree_plan": plan}


def _dense_mask(visible: np.ndarray, packer: Packer) -> Tensor:
    """(1, 1, nodes, keys), True or 0 where a node may attend."""
    mask = torch.from_numpy(visible)[None, None]
    return torch.zeros(mask.shape, dtype=packer.dtype).masked_fill_(~mask, -torch.inf) if packer.additive else mask


def pack_rows(batch: MicroBatch, pad_token_id: int) -> PackedBatch:
    """Every row with every continuation on its own, padded behind its end: the reference, and for any base.

    Padding after a row has no effect on a causal model, with attention, convolution or a state. So neither mask nor
    positions are needed. `logits_to_keep` are the places where any row is read.
    """
    sequences = [
        ((*row.prompt, *continuation[:-1]), continuation, weight)
        for row, choices, weight in zip(batch.rows, batch.continuations, batch.weights, strict=True)
        for continuation in choices
    ]
    longest = max(len(read) for read, _, _ in sequences)
    input_ids = torch.full((len(sequences), longest), pad_token_id)
    for index, (read, _, _) in enumerate(sequences):
        input_ids[index, : len(read)] = torch.tensor(read)
    lengths = np.array([len(continuation) for _, continuation, _ in sequences])
    weights = np.array([weight for _, _, weight in sequences], np.float32)
    places = [
        (index, len(read) - len(continuation) + place)
        for index, (read, continuation, _) in enumerate(sequences)
        for place in range(len(continuation))
    ]
    kept, columns = np.unique([place for _, place in places], return_inverse=True)
    pair_sequences = torch.tensor([index for index, _ in places])
    return PackedBatch(
        inputs={"input_ids": input_ids, "attention_mask": torch.ones_like(input_ids)},
        logits_to_keep=torch.from_numpy(kept),
        pair_rows=pair_sequences * len(kept) + torch.from_numpy(columns),
        pair_tokens=torch.tensor([token for _, continuation, _ in sequences for token in continuation]),
        pair_sequences=pair_sequences,
        pair_weights=torch.from_numpy(np.repeat(weights / lengths.astype(np.float32), lengths)),
        sequences=len(sequences),
        tokens=input_ids.numel(),
    )


def with_label_loss(packed: PackedBatch, batch: MicroBatch) -> PackedBatch:
    """The packed batch with what `LabelLoss` needs: each sequence's row and target probability, row by row."""
    counts = [len(choices) for choices in batch.continuations]
    wanted = np.concatenate(batch.wanted) * np.repeat(batch.weights, counts)
    rows = torch.from_numpy(np.repeat(np.arange(len(counts)), counts))
    return replace(packed, sequence_rows=rows, wanted=torch.from_numpy(wanted).float())


def pair_log_probabilities(model, packed: PackedBatch) -> Tensor:
    """(pairs,) float32: log p of every pair's token under the model."""
    keeps = "past_key_values" in packed.inputs
    unrounded = head_in_full(model, partial(rows_of_pairs, packed), packed.pair_tokens)
    with computed_where_read(model, packed.logits_to_keep), unrounded:
        output = model(**packed.inputs, logits_to_keep=packed.logits_to_keep, use_cache=keeps)
    return log_p_of(kept_logits(output.logits, packed).flatten(0, -2), packed.pair_rows, packed.pair_tokens)


def rows_of_pairs(packed: PackedBatch, shape: torch.Size) -> Tensor:
    """(pairs,) int64: the row of each pair in an answer of a shape that `kept_logits` takes, flattened."""
    kept = len(packed.logits_to_keep)
    if is_of_kept(shape, packed):
        return packed.pair_rows
    return packed.pair_rows // kept * shape[1] + packed.logits_to_keep[packed.pair_rows % kept]


def kept_logits(logits: Tensor, packed: PackedBatch) -> Tensor:
    """(rows, kept, vocabulary): the logits of `logits_to_keep`, also where a model returns all."""
    return logits if is_of_kept(logits.shape, packed) else logits[:, packed.logits_to_keep]


def is_of_kept(shape: torch.Size, packed: PackedBatch) -> bool:
    """Whether logits are of `logits_to_keep` only; else they are of all places.

    Raises:
        ValueError: they have neither shape.
    """
    rows, tokens = packed.inputs["input_ids"].shape
    if shape[:-1] == (rows, len(packed.logits_to_keep)):
        return True
    if shape[:-1] == (rows, tokens):  # xLSTM takes `logits_to_keep` and does not look at it
        return False
    raise ValueError(
        f"it answers {tuple(shape[:-1])} where {rows} rows of {len(packed.logits_to_keep)} places were asked for"
    )


def batch_loss(model, packed: PackedBatch) -> Tensor:
    """Scalar: weighted sum over rows of the mean -log p of the row's target tokens, EOS with them.

    Under `LabelLoss`: weighted sum over rows of the cross-entropy of softmax over the labels' log p.
    """
    if packed.wanted is not None:
        return -(packed.wanted * log_shares(sequence_log_probabilities(model, packed), packed.sequence_rows)).sum()
    return -(packed.pair_weights * pair_log_probabilities(model, packed)).sum()


def sequence_log_probabilities(model, packed: PackedBatch) -> Tensor:
    """(sequences,) float32: log p(continuation | prompt), summed over the continuation's tokens."""
    totals = torch.zeros(packed.sequences, dtype=torch.float32, device=packed.pair_rows.device)
    return totals.index_add(0, packed.pair_sequences, pair_log_probabilities(model, packed))
