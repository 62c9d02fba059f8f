"""The last layer is computed where its answer is read, and nowhere else; the head's answer to what is read, in fp32."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

import pytest
import torch
from torch import nn

from bases.adapters import add_lora
from engine import packing
from engine.batching import MicroBatch, scoring_batches, training_batches
from engine.last_layer import KNOWN, PARTS, computed_where_read
from engine.packing import (
    PackedBatch,
    batch_loss,
    packer_for,
    pair_log_probabilities,
    sequence_log_probabilities,
)
from tiny_models import (
    KINDS,
    LABELS,
    LAYER,
    LAYERS,
    PAD,
    VOCABULARY_SIZE,
    character_tokenizer,
    rounding,
    small_rows,
    tiny_model,
)

pytestmark = pytest.mark.numeric

EXACT = rounding(*2 * LAYERS * LAYER, VOCABULARY_SIZE)  # there and back
READ_IN_PART = sorted(KINDS.keys() - {"bloom", "gpt2"})


@contextmanager
def counted_tokens(model: nn.Module) -> Iterator[Counter]:
    """How many tokens each part of the last layer computes, by what reaches the class that it had at first."""
    layer = next(one for one in model.modules() if isinstance(one, nn.ModuleList))[-1]
    names = {id(layer.get_submodule(name)): name for name in PARTS}
    counts: Counter = Counter()
    with pytest.MonkeyPatch.context() as patch:
        for whole in {class_at_first(layer.get_submodule(name)) for name in PARTS}:
            patch.setattr(whole, "forward", counting(whole.forward, names, counts))
        yield counts


def class_at_first(part: nn.Module) -> type:
    return next(one for one in type(part).__mro__ if not one.__name__.startswith("Read"))


def counting(forward: Callable, names: dict[int, str], counts: Counter) -> Callable:
    def counted(part: nn.Module, x: torch.Tensor, *further) -> torch.Tensor:
        if id(part) in names:
            counts[names[id(part)]] += x.shape[:-1].numel()
        return forward(part, x, *further)

    return counted


def losses_and_gradients(model: nn.Module, batches: list[PackedBatch]) -> tuple[list[float], dict[str, torch.Tensor]]:
    model.zero_grad()
    losses = []
    for packed in batches:
        loss = batch_loss(model, packed)
        loss.backward()
        losses.append(loss.item())
    return losses, {name: one.grad.clone() for name, one in model.named_parameters() if one.grad is not None}


def packed_batches(model: nn.Module, packing_kind: str) -> list[PackedBatch]:
    packer = packer_for(model, packing_kind, PAD)
    return [packer.pack(batch) for batch in training_batches(small_rows(count=3, turns=4), 600, packing_kind == "tree")]


def whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "computed_where_read", lambda *_: nullcontext())


@pytest.mark.parametrize("kind", READ_IN_PART)
@pytest.mark.parametrize("packed_as", ["tree", "rows"])
@pytest.mark.parametrize("lora", [True, False])
def test_training_is_the_same(kind: str, packed_as: str, lora: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_model(kind).train()
    model = add_lora(model, 4, 8, 0.0, "all") if lora else model
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(weight, std=0.1)
    batches = packed_batches(model, packed_as)
    losses, gradients = losses_and_gradients(model, batches)
    with monkeypatch.context() as patch:
        whole(patch)
        expected, by_all = losses_and_gradients(model, batches)
    assert losses == pytest.approx(expected, rel=EXACT)
    assert gradients.keys() == by_all.keys() != set()
    for name, gradient in by_all.items():
        scale = float(gradient.abs().max())
        torch.testing.assert_close(gradients[name], gradient, rtol=EXACT, atol=EXACT * scale, msg=name)


def scored_batch(model: nn.Module, packed_as: str) -> PackedBatch:
    tokenizer = character_tokenizer()
    choices = [tuple(tokenizer(f" {label}", add_special_tokens=False)["input_ids"]) for label in LABELS]
    (batch, *_) = scoring_batches(small_rows(count=2, turns=3), choices, 4000, packed_as == "tree")
    return packer_for(model, packed_as, PAD).pack(batch)


@pytest.mark.parametrize("kind", READ_IN_PART)
def test_scoring_is_the_same(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_model(kind)
    packed = scored_batch(model, "tree")
    with torch.inference_mode():
        found = sequence_log_probabilities(model, packed)
        whole(monkeypatch)
        torch.testing.assert_close(found, sequence_log_probabilities(model, packed), rtol=EXACT, atol=EXACT)


def tokens_computed(model: nn.Module, batch: MicroBatch) -> tuple[Counter, int, int]:
    """(tokens of each part, those that are read, all of them)."""
    packed = packer_for(model, "tree", PAD).pack(batch)
    with counted_tokens(model) as counts:
        batch_loss(model, packed)
    return counts, len(packed.logits_to_keep), packed.tokens


@pytest.mark.parametrize("kind", READ_IN_PART)
def test_only_what_is_read_is_computed(kind: str) -> None:
    (batch, *_) = training_batches(small_rows(count=2, turns=3), 4000, True)
    counts, read, every = tokens_computed(tiny_model(kind), batch)
    assert read < every / 2
    assert counts == dict.fromkeys(PARTS, read)


def test_adapters_that_come_later_are_read_in_part_too() -> None:
    (batch, *_) = training_batches(small_rows(count=2, turns=3), 4000, True)
    model = tiny_model("llama")
    tokens_computed(model, batch)
    counts, read, _ = tokens_computed(add_lora(model, 4, 8, 0.0, "all"), batch)
    assert counts == dict.fromkeys(PARTS, read)


def test_elsewhere_all_is_computed() -> None:
    """After a pass over a few places, and where layers are computed again in the backward pass."""
    (batch, *_) = training_batches(small_rows(count=2, turns=3), 4000, True)
    model = tiny_model("llama").train()
    tokens_computed(model, batch)
    with counted_tokens(model) as counts:
        model(input_ids=torch.tensor([[1, 5, 6, 7]]))
    assert counts == dict.fromkeys(PARTS, 4)
    model.activation_checkpointing_enable()
    counts, _, every = tokens_computed(model, batch)
    assert counts == dict.fromkeys(PARTS, every)


@pytest.mark.parametrize("make", [lambda: tiny_model("bloom"), lambda: tiny_model("gpt2"), lambda: nn.Linear(2, 2)])
def test_other_models_are_left_alone(make: Callable[[], nn.Module]) -> None:
    model = make()
    classes = {name: type(part) for name, part in model.named_modules()}
    with computed_where_read(model, torch.tensor([1])):
        pass
    assert {name: type(part) for name, part in model.named_modules()} == classes


def test_the_layers_that_are_known_have_the_parts() -> None:
    found = {type(tiny_model(kind).model.layers[-1]).__name__ for kind in READ_IN_PART}
    assert found <= KNOWN


def half_model(kind: str) -> nn.Module:
    """In bf16, with logits as large as those of real bases, of which some then come in steps of an eighth."""
    model = tiny_model(kind)
    with torch.no_grad():
        model.get_output_embeddings().weight.mul_(20)
    return model.to(torch.bfloat16)


def log_p_of_logits(model: nn.Module, packed: PackedBatch) -> tuple[torch.Tensor, torch.Tensor]:
    """(pairs,) each, in doubles: as the head rounds its logits, and with those that are read as it would have them.

    What the model does to them after its head it does in doubles too.
    """
    head, read = model.get_output_embeddings(), (packed.pair_rows, packed.pair_tokens)

    def pass_with(change: Callable) -> torch.Tensor:
        with head.register_forward_hook(change):
            output = model(**packed.inputs, logits_to_keep=packed.logits_to_keep, use_cache=False)
        return output.logits.double().flatten(0, -2).log_softmax(1)[read]

    def exact(_: nn.Module, given: tuple[torch.Tensor], made: torch.Tensor) -> torch.Tensor:
        logits, states = made.double(), given[0].flatten(0, -2).double()[packed.pair_rows]
        logits.view(-1, made.shape[-1])[read] = (states * head.weight[packed.pair_tokens].double()).sum(-1)
        return logits

    return pass_with(lambda *_: None), pass_with(exact)


@pytest.mark.parametrize("kind", ["llama", "gpt2", "gemma2", "cohere"])
@pytest.mark.parametrize("packed_as", ["tree", "rows"])
def test_what_is_read_in_half_precision_is_not_rounded(kind: str, packed_as: str) -> None:
    """Nor where a model caps its logits (Gemma 2) or scales them (Cohere, Granite) after the head."""
    model = half_model(kind)
    packed = scored_batch(model, packed_as)
    with torch.inference_mode():
        (rounded, exact), found = log_p_of_logits(model, packed), pair_log_probabilities(model, packed)
    assert float((rounded - exact).abs().max()) > 0.05
    torch.testing.assert_close(found.double(), exact, rtol=1e-5, atol=1e-4)
    assert float(found.max()) <= 0
    assert not model.get_output_embeddings()._forward_hooks


@pytest.mark.parametrize("packed_as", ["tree", "rows"])
def test_a_head_that_answers_everywhere_is_read_at_the_same_places(packed_as: str) -> None:
    """As xLSTM's, which does not look at `logits_to_keep`."""
    model = half_model("llama")
    packed = scored_batch(model, packed_as)
    with torch.inference_mode():
        expected = pair_log_probabilities(model, packed)
        plain = model.forward
        model.forward = lambda logits_to_keep, **given: plain(**given)
        torch.testing.assert_close(pair_log_probabilities(model, packed), expected, rtol=0.01, atol=0.01)


def test_what_is_learned_reads_the_head_as_it_stands() -> None:
    model = half_model("llama")
    packed = scored_batch(model, "tree")
    found = pair_log_probabilities(model, packed)
    logits = model(**packed.inputs, logits_to_keep=packed.logits_to_keep, use_cache=False).logits[0].float()
    expected = logits.log_softmax(1)[packed.pair_rows, packed.pair_tokens]
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
