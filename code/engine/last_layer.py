"""The last layer of a decoder, computed only where the head reads it; and the head in fp32 for tokens that are read.

The head reads a few places, about two of a row in training; of all other tokens, only keys and values of the last layer
are needed. So its queries, the output of its attention and its feed-forward are computed at those places alone, and are
zero at others, which nothing reads. Results and gradients are the same.

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
    """Shared by the parts of one layer. places: (read,) int64, of the tokens to compute; None: all."""

    places: Tensor | None = None


@contextmanager
def computed_where_read(model: nn.Module, places: Tensor) -> Iterator[None]:
    """Inside, the last layer is computed at `places` of its rows only, if it is one of `KNOWN`.

    Only on a CPU: a GPU takes as long for a few places as for many. Not with gradient checkpointing or ZeRO-3.
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
    """Inside, outside of training, a head in 16 bits returns fp32, and is unrounded where it is read.

    What a model does to logits after its head, such as capping or scaling, is then in fp32. Only for a plain head of
    which this process has all weights.

    rows_in: shape of the head's answer -> (pairs,) int64, the row of each pair in it, flattened.
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
    # Computed once for each place, though several tokens may be read there.
    totals = logits.float().logsumexp(1)
    return logits[rows, tokens].float() - totals[rows]
