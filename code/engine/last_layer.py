"""The last layer of a decoder, computed where its answer is read, and its head, in fp32 for the tokens that are read.

Of most tokens the last layer is asked for keys and values alone: the head reads a few places, two or so of a row in
training. So its queries, the way out of its attention and its feed-forward are computed at those places; at the others
stand zeros, which nobody reads. The answers and gradients are the same.

A head in 16 bits rounds: logits between 16 and 32 come in steps of an eighth in bf16, and labels tie that are apart. So
what it makes of the few tokens that are read is computed once more, in fp32.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache

import torch
from torch import Tensor, nn

from engine.layers import decoder_layers

# Layers of transformers in which a place meets others nowhere but in the attention's keys and values, and whose answer
# goes through a norm, place by place, to the head.
KNOWN = frozenset(
    f"{name}DecoderLayer"
    for name in ("Llama", "Mistral", "Qwen2", "Qwen3", "SmolLM3", "Glm", "Glm4", "Gemma2", "Gemma3")
)
HALF = (torch.bfloat16, torch.float16)
PARTS = ("self_attn.q_proj", "self_attn.o_proj", "mlp")


class Reading:
    """What the parts of one layer are told. places: (read,) of a row's tokens; None: all are computed."""

    places: Tensor | None = None


@contextmanager
def computed_where_read(model: nn.Module, places: Tensor) -> Iterator[None]:
    """Inside, a forward pass answers at `places` of its rows alone, where the base is a known one.

    On a CPU: a GPU takes as long for a few places as for many. Layers that are computed again in the backward pass, and
    those of whose weights a process has but a part, are left alone.
    """
    layer = _last_layer(model) if places.device.type == "cpu" else None
    if layer is None:
        yield
        return
    reading = _reading_of(layer)
    reading.places = places
    try:
        yield
    finally:
        reading.places = None


def _last_layer(model: nn.Module) -> nn.Module | None:
    """The last layer of a model, if it is a known one and can be computed in part now."""
    layers = decoder_layers(model)
    layer = layers[-1] if layers else None
    if type(layer).__name__ not in KNOWN:
        return None
    again = layer.training and getattr(layer, "gradient_checkpointing", False)
    return None if again or hasattr(next(layer.parameters()), "ds_id") else layer


def _reading_of(layer: nn.Module) -> Reading:
    parts = [layer.get_submodule(name) for name in PARTS]
    whole = [part for part in parts if not hasattr(part, "reading")]
    for part in whole:
        # A class of its own, not a hook: compiled layers are told apart by the classes of their parts.
        part.__class__ = _read_in_part(type(part))
    if whole:  # a part that an adapter now stands around keeps the one from before, and computes what it is given
        reading = Reading()
        for part in parts:
            part.reading = reading
    return parts[0].reading


@cache
def _read_in_part(whole: type) -> type:
    def forward(part, x: Tensor) -> Tensor:
        reading = part.reading
        if reading.places is None:
            return whole.forward(part, x)
        read = whole.forward(part, x.index_select(-2, reading.places))
        return read.new_zeros(*x.shape[:-1], read.shape[-1]).index_copy(-2, reading.places, read)

    return type(f"Read{whole.__name__}", (whole,), {"forward": forward})


@contextmanager
def head_in_full(model: nn.Module, rows_in: Callable[[torch.Size], Tensor], tokens: Tensor) -> Iterator[None]:
    """Inside, where nothing is learned, a head in 16 bits answers in fp32, and unrounded where it is read.

    What a model does to logits after its head, as to cap or to scale them, it then does in fp32. A plain head that this
    process has all of. rows_in: shape of the head's answer -> (pairs,) int64, the row of each pair in it, flattened.
    tokens: (pairs,) int64, the one that is read there.
    """
    head = None if torch.is_grad_enabled() else model.get_output_embeddings()
    if type(head) is not nn.Linear or head.weight.dtype not in HALF or hasattr(head.weight, "ds_id"):
        yield
        return

    def answer(_: nn.Module, given: tuple[Tensor, ...], made: Tensor) -> Tensor:
        in_full, rows = made.float(), rows_in(made.shape)
        states = given[0].flatten(0, -2)[rows]
        read = (states.float() * head.weight[tokens].float()).sum(-1)
        in_full.view(-1, made.shape[-1])[rows, tokens] = read if head.bias is None else read + head.bias[tokens].float()
        return in_full

    hook = head.register_forward_hook(answer)
    try:
        yield
    finally:
        hook.remove()


def log_p_of(logits: Tensor, rows: Tensor, tokens: Tensor) -> Tensor:
    """(pairs,) float32: log p of each pair's token in its row. logits: (rows, vocabulary)."""
    # Once for each place, not for each of the tokens that are read there.
    totals = logits.float().logsumexp(1)
    return logits[rows, tokens].float() - totals[rows]
