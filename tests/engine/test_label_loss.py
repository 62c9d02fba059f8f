"""The loss over labels: what every label of a prompt gets by itself, in trees, rows and replayed passes alike."""

from dataclasses import replace
from functools import cache

import pytest
import torch
from torch import Tensor, nn

from bases.adapters import add_lora
from data_utils.prompts import render_speaker_name
from data_utils.row_files import PREDICTION, RECOGNITION, SPEAKER
from engine.attention import tree_kernel
from engine.attention.tree_ways import BLOCKS, DENSE, KERNEL, SEGMENTS
from engine.batching import EncodedRow, MicroBatch, RowEncoder, training_batches, without_weight
from engine.layers import missing_for_compiling
from engine.objective import LabelLoss, class_factors, log_shares
from engine.packing import Packer, batch_loss, packer_for
from scoring.label_scoring import DecodeSettings, mean_target_loss, predict_labels
from tiny_models import (
    KINDS,
    LABELS,
    LAYER,
    LAYERS,
    PAD,
    VOCABULARY_SIZE,
    Step,
    assert_steps_agree,
    character_tokenizer,
    replay_beside_plain,
    rounding,
    small_rows,
    sum_up_step,
    take_gradients,
    tiny_model,
)

pytestmark = pytest.mark.numeric

CPU = torch.device("cpu")
# There and back, and the sums over tokens and labels.
RELATIVE = rounding(*2 * LAYERS * LAYER, VOCABULARY_SIZE, 9, 9)
ENCODER = RowEncoder(character_tokenizer(), 1024)
EMOTIONS = {label: ENCODER.encode_label(label) for label in LABELS}
SPEAKERS = {name: ENCODER.encode_label(name) for name in map(render_speaker_name, range(3))}
CHOICES = {RECOGNITION: EMOTIONS, PREDICTION: EMOTIONS, SPEAKER: SPEAKERS}


@pytest.fixture(params=[0.0, 0.1], ids=["sharp", "smoothed"])
def label_loss(request) -> LabelLoss:
    return LabelLoss(CHOICES, request.param)


@pytest.fixture(scope="module")
def rows() -> list[EncodedRow]:
    return make_rows()


def make_rows() -> list[EncodedRow]:
    """Three tasks, of which one has other labels, and fewer; emotion prediction weighs 0.3."""
    return small_rows("predict", window=12, alpha=0.3, count=2, turns=3) + small_rows("speaker", count=1, turns=3)


def one_at_a_time(model, rows: list[EncodedRow], smoothing: float) -> tuple[float, dict[str, Tensor]]:
    """The loss as it is defined: each label behind each prompt in a pass of its own, nothing packed, no mask."""
    total = 0.0
    for row in rows:
        labels = CHOICES[row.task]
        log_p = []
        for tokens in labels.values():
            read = torch.tensor([[*row.prompt, *tokens[:-1]]])
            every = model(input_ids=read, use_cache=False).logits[0, len(row.prompt) - 1 :].log_softmax(-1)
            log_p.append(every.gather(1, torch.tensor(tokens)[:, None]).sum())
        right = torch.tensor([list(labels).index(row.label)])
        loss = nn.functional.cross_entropy(torch.stack(log_p)[None], right, label_smoothing=smoothing)
        loss = loss * row.weight / len(rows)
        loss.backward()
        total += loss.item()
    return total, take_gradients(model)


@cache
def of_plain_llama(smoothing: float) -> tuple[float, dict[str, Tensor]]:
    return one_at_a_time(tiny_model("llama"), make_rows(), smoothing)


def in_micro_batches(model, rows, packer: Packer, label_loss: LabelLoss) -> tuple[float, dict[str, Tensor]]:
    """The same step as training takes it: cut by a token budget and into at least two micro-batches."""
    batches = training_batches(rows, 700, packer.shares_prefixes, micro_steps=2, label_loss=label_loss)
    assert len(batches) > 2 and (not packer.shares_prefixes or len(batches) < len(rows) / 2)
    return sum_up_step(model, packer, batches)


def assert_same_step(found: Step, expected: Step) -> None:
    assert_steps_agree(found, expected, RELATIVE)


def adapted(kind: str, monkeypatch: pytest.MonkeyPatch, fast: bool) -> nn.Module:
    """A model with adapters that do something; fast: by our product, else as PEFT computes them."""
    with monkeypatch.context() as patch:
        if not fast:
            patch.setattr("bases.adapters.use_fast_lora", lambda model: 0)
        model = add_lora(tiny_model(kind), 4, 8, 0.0, "all")
    torch.manual_seed(3)
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(weight, std=0.1)
    return model.eval()


@pytest.mark.parametrize("kind", ["llama", "gemma3"])
def test_adapters_learn_what_peft_computes_row_by_row(kind: str, rows, label_loss, monkeypatch) -> None:
    expected = one_at_a_time(adapted(kind, monkeypatch, fast=False), rows, label_loss.smoothing)
    model = adapted(kind, monkeypatch, fast=True)
    packer = packer_for(model, "tree", PAD)
    assert packer.way == BLOCKS
    assert_same_step(in_micro_batches(model, rows, packer, label_loss), expected)


@pytest.mark.parametrize("way", [DENSE, BLOCKS, SEGMENTS])
def test_every_way_of_attention_gives_the_same_step(way: str, rows, label_loss) -> None:
    model = tiny_model("llama")
    packer = replace(packer_for(model, "tree", PAD), way=way)
    assert_same_step(in_micro_batches(model, rows, packer, label_loss), of_plain_llama(label_loss.smoothing))


@pytest.mark.parametrize("kind", KINDS)
def test_padded_rows_and_trees_of_every_kind(kind: str, rows) -> None:
    model, label_loss = tiny_model(kind), LabelLoss(CHOICES, 0.1)
    expected = one_at_a_time(model, rows, 0.1)
    for packer in (packer_for(model, "tree", PAD), Packer("rows", PAD)):
        assert_same_step(in_micro_batches(model, rows, packer, label_loss), expected)


@pytest.mark.skipif(bool(missing_for_compiling(CPU)), reason="no C++ compiler")
def test_the_operator_gives_the_same_step(rows, label_loss, monkeypatch) -> None:
    monkeypatch.setattr(tree_kernel, "QUERIES", 32)
    model = tiny_model("llama", head_dim=16).train()
    packer = packer_for(model, "tree", PAD, kernel=True)
    assert packer.way == KERNEL
    assert_same_step(
        in_micro_batches(model, rows, packer, label_loss), one_at_a_time(model, rows, label_loss.smoothing)
    )


@pytest.mark.parametrize("way", [SEGMENTS, DENSE])
def test_replayed_passes_are_plain_ones(way: str, rows, label_loss) -> None:
    model = tiny_model("llama")
    packer = replace(packer_for(model, "tree", PAD), way=way)
    batches = training_batches(rows, 700, True, label_loss=label_loss)
    replay_beside_plain(model, packer, [*batches, *reversed(batches), batches[0]], RELATIVE)


def test_a_tree_holds_each_label_once_under_each_prompt(rows) -> None:
    row = rows[0]
    (batch,) = training_batches([row], 10_000, True, label_loss=LabelLoss(CHOICES))
    assert batch.continuations == (tuple(EMOTIONS.values()),) and batch.weights == (row.weight,)
    assert batch.wanted == (tuple(float(label == row.label) for label in LABELS),)
    beginnings = {tokens[:length] for tokens in EMOTIONS.values() for length in range(1, len(tokens))}
    assert len(batch.tree()) == len(row.prompt) + len(beginnings) < len(row.prompt) + sum(map(len, EMOTIONS.values()))


def test_what_is_wanted_is_smoothed_over_the_labels_of_the_task() -> None:
    label_loss = LabelLoss(CHOICES, 0.3)
    assert label_loss.wanted(SPEAKER, "Speaker_1") == pytest.approx((0.1, 0.8, 0.1))
    assert sum(label_loss.wanted(RECOGNITION, "Sad")) == pytest.approx(1)
    assert LabelLoss(CHOICES).wanted(SPEAKER, "Speaker_2") == (0, 0, 1)


def test_rows_that_only_pad_count_nothing(rows) -> None:
    (batch,) = training_batches(rows, 100_000, True, label_loss=LabelLoss(CHOICES, 0.1))
    model = tiny_model("llama")
    loss = batch_loss(model, packer_for(model, "tree", PAD).pack(without_weight(batch)))
    loss.backward()
    assert loss.item() == 0 and all(float(weight.grad.abs().max()) == 0 for weight in model.parameters())


def test_shares_of_rows_of_different_lengths_far_below_zero() -> None:
    log_p = torch.tensor([-900.0, -901.0, -3.0, 0.0, -80.0], requires_grad=True)
    found = log_shares(log_p, torch.tensor([0, 0, 3, 3, 4]))
    expected = torch.cat([one.log_softmax(0) for one in log_p.split([2, 2, 1])])
    assert torch.allclose(found, expected, atol=1e-6)
    gradients = [torch.autograd.grad(one[1] + 2 * one[2], log_p, retain_graph=True)[0] for one in (found, expected)]
    assert torch.allclose(*gradients, atol=1e-6)


def test_the_loss_is_of_the_numbers_that_are_scored(rows) -> None:
    """Softmax over the scores that `predict_labels` writes down gives the same mean over rows."""
    model, label_loss = tiny_model("llama"), LabelLoss(CHOICES, 0.1)
    chosen = [row for row in rows if row.task == RECOGNITION]
    settings = DecodeSettings(packer_for(model, "tree", PAD))
    predictions = predict_labels(model, ENCODER, chosen, LABELS, settings)
    expected = one_at_a_time(model, chosen, 0.1)[0]
    assert mean_target_loss(predictions, ENCODER, settings, label_loss) == pytest.approx(expected, rel=RELATIVE)
    assert mean_target_loss(predictions, ENCODER, settings, None) != pytest.approx(expected, rel=0.1)


def test_class_factors_are_powers_of_the_inverse_share_and_one_in_the_mean() -> None:
    labels = ["a"] * 9 + ["b"]
    for power, ratio in ((0.0, 1), (0.5, 3), (1.0, 9)):
        found = class_factors(labels, power)
        assert found["b"] / found["a"] == pytest.approx(ratio)
        assert sum(found[label] for label in labels) / len(labels) == pytest.approx(1)
    assert class_factors(labels, 1.0) == pytest.approx({"a": 5 / 9, "b": 5})


def test_a_label_that_weighs_more_has_so_much_more_of_the_loss(rows) -> None:
    """Weights of rows reach both losses."""
    model = tiny_model("llama")
    packer = packer_for(model, "tree", PAD)
    for label_loss in (None, LabelLoss(CHOICES)):
        once, thrice = (
            batch_loss(model, packer.pack(batch)).item()
            for weight in (1.0, 3.0)
            for batch in training_batches([replace(rows[0], weight=weight)], 10_000, True, label_loss=label_loss)
        )
        assert thrice == pytest.approx(3 * once) and once > 0


def test_batches_of_targets_alone_are_as_they_were(rows) -> None:
    (batch,) = training_batches(rows, 100_000, True)
    assert batch.wanted == () and isinstance(batch, MicroBatch)
    packed = packer_for(tiny_model("llama"), "tree", PAD).pack(batch)
    assert packed.wanted is None and packed.sequence_rows is None
