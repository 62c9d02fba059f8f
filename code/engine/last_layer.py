"""The last layer of a decoder, computed where its answer is read, and its head, in fp32 for the tokens that are read.

Of most tokens the last layer is asked for keys and values alone: the head reads a few places, two or so of a row in
training. So its queries, the way out of its attention and its feed-forward are computed at those places; at the others
stand zeros, which nobody reads. The answers and gradients are the same.

A head in 16 bits rounds: logits between 16 and 32 come in steps of an eighth in bf16, and labels tie that are apart. So
what it makes of the few tokens that are read is computed once more, in fp32.
"""

from collections.abc import Iterator
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


class HeadWatched:
    """What the head of a model was given and made in one pass; nothing of a head that is not known."""

    head: nn.Linear | None = None
    given: Tensor | None = None
    made: Tensor | None = None

    def note(self, head: nn.Linear, given: tuple[Tensor, ...], made: Tensor) -> None:
        """A hook of the head, after its pass."""
        self.head, self.given, self.made = head, given[0], made

    def states_of(self, logits: Tensor) -> Tensor | None:
        """What the head was given for a model's logits, (..., hidden); None where they are not what the head made."""
        same = self.made is not None and self.made.data_ptr() == logits.data_ptr()
        return self.given if same else None

    def log_p(self, logits: Tensor, states: Tensor | None, rows: Tensor, tokens: Tensor) -> Tensor:
        """(pairs,) float32: log p of each pair's token at its place.

        logits: (places, vocabulary). states: (places, hidden) that the head was given for these, None where unknown.
        """
        in_full = logits.float()
        if states is not None:
            # Into the copy that they are in, and so into the sums: no token is more probable than 1.
            logits = in_full
            logits[rows, tokens] = self._read(states[rows], tokens)
        # Once for each place, not for each of the tokens that are read there.
        totals = in_full.logsumexp(1)
        return logits[rows, tokens].float() - totals[rows]

    def _read(self, states: Tensor, tokens: Tensor) -> Tensor:
        """(pairs,) float32: the logit of each token after each state, (pairs, hidden)."""
        found = (states.float() * self.head.weight[tokens].float()).sum(-1)
        return found if self.head.bias is None else found + self.head.bias[tokens].float()


@contextmanager
def watched_head(model: nn.Module) -> Iterator[HeadWatched]:
    """Inside, a head in 16 bits is watched where nothing is learned: a plain one that this process has all of."""
    watched, head = HeadWatched(), None if torch.is_grad_enabled() else model.get_output_embeddings()
    if type(head) is not nn.Linear or head.weight.dtype not in HALF or hasattr(head.weight, "ds_id"):
        yield watched
        return
    hook = head.register_forward_hook(watched.note)
    try:
        yield watched
    finally:
        hook.remove()
