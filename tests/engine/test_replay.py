"""Replayed passes give what plain ones give, whatever the sizes; and plain ones take over where a capture fails."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from engine import replay
from engine.attention.tree_ways import BLOCKS, DENSE, SEGMENTS
from engine.batching import MicroBatch, scoring_batches, training_batches
from engine.packing import Packer, batch_loss, packer_for, sequence_log_probabilities
from engine.replay import Replayed, Sizes, can_replay, pad_batch, rounded
from tiny_models import LAYER, LAYERS, PAD, VOCABULARY_SIZE, StandInGraphs, rounding, small_rows, tiny_model

pytestmark = pytest.mark.numeric

CPU = torch.device("cpu")
RELATIVE = rounding(*2 * LAYERS * LAYER, VOCABULARY_SIZE)


def trained() -> list[MicroBatch]:
    """Of several sizes, one of which comes three times."""
    batches = training_batches(small_rows("predict", window=12, alpha=0.3, count=4, turns=4), 500, True)
    assert len({rounded(batch.tokens() + 1) for batch in batches}) > 1
    return [*batches, *reversed(batches), batches[0]]


def scored() -> list[MicroBatch]:
    rows, labels = small_rows("window", window=4, count=4, turns=4), [(5, 1), (6, 7, 8, 1), (9, 9, 1)]
    return scoring_batches(rows, labels, 400, True) * 2


@given(st.integers(0, 10**6))
def test_sizes_waste_at_most_a_quarter(count: int) -> None:
    size = rounded(count)
    assert size >= count and size % 8 == 0 and (size - count < max(8, count / 4 + 1))


@pytest.mark.parametrize(
    ("kind", "way"),
    [*((kind, way) for kind in ("llama", "gemma3", "mla") for way in (SEGMENTS, DENSE)), ("bloom", DENSE)],
)
def test_losses_and_gradients_are_those_of_plain_passes(kind: str, way: str) -> None:
    model = tiny_model(kind)
    packer = replace(packer_for(model, "tree", PAD), way=way)
    weights = list(model.parameters())
    for weight in weights:
        weight.grad = torch.zeros_like(weight)

    def run(packed) -> Tensor:
        loss = batch_loss(model, packed)
        loss.backward()
        return loss.detach()

    graphs = StandInGraphs()
    graphs.kept = tuple(weight.grad for weight in weights)
    replayed = Replayed(run, CPU, graphs.kept, graphs=graphs)
    batches = trained()
    for batch in batches:
        expected = run(packer.pack(batch)).item(), [weight.grad.clone() for weight in weights]
        for weight in weights:
            weight.grad.zero_()
        loss = replayed(packer.pack(batch)).item()
        assert loss == pytest.approx(expected[0], rel=RELATIVE)
        for weight, gradient in zip(weights, expected[1], strict=True):
            assert float((weight.grad - gradient).norm()) <= RELATIVE * float(gradient.norm())
            weight.grad.zero_()
    assert not replayed.is_off and graphs.captures >= len(replayed.sizes) > 1 and graphs.replays > graphs.captures
    assert graphs.plain + graphs.replays == len(batches) + 2  # which hold the first capture


@pytest.mark.parametrize("way", [SEGMENTS, DENSE])
def test_scores_are_those_of_plain_passes(way: str) -> None:
    model = tiny_model("llama")
    packer = replace(packer_for(model, "tree", PAD), way=way)
    with torch.inference_mode():
        graphs = StandInGraphs()
        replayed = Replayed(lambda packed: sequence_log_probabilities(model, packed), CPU, graphs=graphs)
        for batch in scored():
            packed = packer.pack(batch)
            found = replayed(packed)
            expected = sequence_log_probabilities(model, packed)
            assert len(found) > packed.sequences == len(expected)
            assert torch.allclose(found[: packed.sequences], expected, rtol=RELATIVE)
    assert graphs.replays > graphs.captures > 0


def test_a_size_that_is_too_small_in_one_way_is_made_anew() -> None:
    """As many nodes, and more rows than the first had."""
    packer, graphs = segments_packer(), StandInGraphs()
    rows = small_rows("window", window=4, count=4, turns=4)
    few = MicroBatch((rows[0],), ((rows[0].target,),), (1.0,))
    many = replace(few, continuations=(tuple((token, 1) for token in range(40)),))
    needed = [Sizes.needed_by(packer.pack(batch)) for batch in (few, many)]
    assert not needed[0].with_room().holds(replace(needed[1], nodes=needed[0].nodes))
    assert needed[1].with_room().holds(needed[1])
    replayed = Replayed(lambda packed: packed.pair_weights.sum(), CPU, graphs=graphs)
    packed = [packer.pack(few), replace(packer.pack(few), sequences=60), packer.pack(few)]
    for one in [*packed, *packed]:
        assert float(replayed(one)) == pytest.approx(float(one.pair_weights.sum()))
    (kept,) = replayed.sizes.values()
    assert kept.sizes.sequences >= 61 and kept.sizes.holds(needed[0]) and graphs.captures == 1


def test_two_that_need_more_of_different_things_share_a_size() -> None:
    row = small_rows("window", window=4, count=1, turns=4)[0]
    packed = segments_packer().pack(MicroBatch((row,), ((row.target,),), (1.0,)))
    both = [replace(packed, sequences=60), replace(packed, logits_to_keep=torch.zeros(60, dtype=torch.int64))]
    graphs = StandInGraphs()
    replayed = Replayed(lambda packed: packed.pair_weights.sum(), CPU, graphs=graphs)
    for one in both * 3:
        replayed(one)
    assert graphs.captures == 1 and graphs.plain == 3  # each alone, and the one that holds the capture


def segments_packer() -> Packer:
    return replace(packer_for(tiny_model("llama"), "tree", PAD), way=SEGMENTS)


def test_what_pads_counts_nothing() -> None:
    packed = segments_packer().pack(trained()[0])
    padded = pad_batch(packed, Sizes.needed_by(packed).with_room())
    assert padded.pair_weights.sum() == packed.pair_weights.sum()
    assert padded.inputs["input_ids"].shape[1] == padded.tokens > packed.tokens
    more = len(padded.pair_rows) - len(packed.pair_rows)
    assert more > 0 and set(padded.pair_sequences[-more:].tolist()) == {padded.sequences - 1}


class Failing(StandInGraphs):
    def capture(self, run: Callable[[], Tensor]):
        raise RuntimeError("operation not permitted when stream is capturing\nand more")


class Wrong(StandInGraphs):
    def capture(self, run: Callable[[], Tensor]):
        play, written = super().capture(run)

        def spoiled() -> None:
            play()
            written.mul_(1.5)

        return spoiled, written


@pytest.mark.parametrize(
    ("graphs", "told"),
    [
        (Failing, "RuntimeError: operation not permitted when stream is capturing\n"),
        (Wrong, "the first differs by 50.0% from the plain pass\n"),
    ],
)
def test_plain_passes_take_over(graphs: type, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    packer, forgotten, sums = segments_packer(), [], torch.zeros(())

    def run(packed) -> Tensor:
        sums.add_(1)
        return packed.pair_weights.sum()

    stand_in = graphs()
    stand_in.kept = (sums,)
    replayed = Replayed(run, CPU, [sums], lambda: forgotten.append(True), stand_in)
    for number, batch in enumerate(trained(), 1):
        assert float(replayed(packer.pack(batch))) == pytest.approx(float(packer.pack(batch).pair_weights.sum()))
        assert sums == number
    assert capsys.readouterr().err == f"passes are not replayed from CUDA graphs: {told}"
    assert replayed.is_off and forgotten == [True]


def test_sizes_beyond_the_most_run_as_they_stand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay, "MOST_SIZES", 1)
    packer, graphs = segments_packer(), StandInGraphs()
    replayed = Replayed(lambda packed: packed.pair_weights.sum(), CPU, graphs=graphs)
    for batch in trained():
        replayed(packer.pack(batch))
    assert len(replayed.sizes) == 1 and graphs.plain + graphs.replays < len(trained())


def test_which_passes_are_worth_a_try(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_model("llama")
    packer = packer_for(model, "tree", PAD)
    ways = {way: can_replay(model, replace(packer, way=way)) for way in (SEGMENTS, DENSE, BLOCKS)}
    assert ways == {SEGMENTS: True, DENSE: True, BLOCKS: False}
    assert not can_replay(model, Packer("rows", PAD))
    monkeypatch.setattr(replay, "LARGEST", sum(weight.numel() for weight in model.parameters()) - 1)
    assert not can_replay(model, replace(packer, way=SEGMENTS))
