"""Training and scoring that replay their passes come to what plain ones come to; and who replays, attends how."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from basics.errors import UserError
from engine import replay
from engine.attention.tree_ways import BLOCKS, DENSE, SEGMENTS
from engine.batching import RowEncoder, training_batches
from engine.packing import Packer, packer_for
from scoring import label_scoring
from scoring.label_scoring import DecodeSettings, predict_labels
from tiny_models import LABELS, PAD, StandInGraphs, character_tokenizer, small_examples, small_rows, tiny_model
from training import fast_passes
from training.engines import OptimizerSettings, PlainEngine
from training.fast_passes import fastest_packer
from training.loop import Callbacks, Trainer, TrainingSettings

pytestmark = pytest.mark.numeric

CPU, GPU = torch.device("cpu"), torch.device("cuda")
ROWS = small_rows("predict", window=4, alpha=0.3, count=5, turns=4)
SPOILED_STEP = 6


@pytest.fixture
def graphs(monkeypatch: pytest.MonkeyPatch) -> list[StandInGraphs]:
    """Those that were made, as there is no CUDA here; a capture must not move the sums of gradients."""
    made: list[StandInGraphs] = []
    build = replay.Replayed.__init__

    def stand_in(replayed, run, device, sums=(), forget=lambda: None, graphs=None) -> None:
        made.append(StandInGraphs())
        made[-1].kept = tuple(sums)
        build(replayed, run, device, sums, forget, made[-1])

    monkeypatch.setattr(replay.Replayed, "__init__", stand_in)
    return made


def train(model: nn.Module, packer: Packer, folder: Path, resume: bool = False, epochs: int = 3) -> tuple:
    """(engine, lines of the log)."""
    lines: list[dict] = []
    steps = -(-len(ROWS) // 10) * 3
    engine = PlainEngine(model, OptimizerSettings(3e-3, 0.1, 0.1, 1.0, steps))
    settings = TrainingSettings(epochs, 10, 4, 500, 1, seed=42, save_steps=0, resume=resume)
    callbacks = Callbacks(lambda epoch: {"score": 0.0}, lambda: None, lines.append)
    Trainer(model, engine, ROWS, packer, settings, callbacks, folder, {}).run()
    return engine, [line for line in lines if line["kind"] == "step"]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("way", [SEGMENTS, DENSE])
def test_replayed_training_is_plain_training(dtype: torch.dtype, way: str, graphs, tmp_path: Path) -> None:
    outcomes = {}
    for name, replays in (("plain", False), ("replayed", True)):
        model = tiny_model("llama").to(dtype)
        packer = replace(packer_for(model, "tree", PAD), way=way, replays=replays)
        outcomes[name] = train(model, packer, tmp_path / name)
    (plain, expected), (replayed, lines) = outcomes["plain"], outcomes["replayed"]
    (made,) = graphs
    assert made.replays > len(lines) / 2 and [line["tokens"] for line in lines] == [line["tokens"] for line in expected]
    close = 1e-4 if dtype == torch.float32 else 0.02
    for found, wanted in zip(lines, expected, strict=True):
        assert found["loss"] == pytest.approx(wanted["loss"], rel=close)
        assert found["gradient_norm"] == pytest.approx(wanted["gradient_norm"], rel=5 * close)
        assert found["learning_rate"] == wanted["learning_rate"]
    for one, other in zip(weights_of(replayed), weights_of(plain), strict=True):
        assert float((one - other).norm()) <= 10 * close * float(other.norm())
    started = [weight.detach() for weight in tiny_model("llama").parameters()]
    assert not any(map(torch.equal, weights_of(plain), started))


def weights_of(engine: PlainEngine) -> list[torch.Tensor]:
    return [one.detach() for one in engine.masters.masters]


def test_a_replayed_run_goes_on_where_it_was(graphs, tmp_path: Path) -> None:
    packer = replace(packer_for(tiny_model("llama"), "tree", PAD), way=SEGMENTS, replays=True)
    whole, _ = train(tiny_model("llama"), packer, tmp_path / "whole")
    train(tiny_model("llama"), packer, tmp_path / "cut", epochs=2)
    resumed, lines = train(tiny_model("llama"), packer, tmp_path / "cut", resume=True)
    assert lines[0]["epoch"] == 3 and len(graphs) == 3
    for one, other in zip(resumed.masters.masters, whole.masters.masters, strict=True):
        assert torch.allclose(one, other, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_replayed_step_that_is_not_finite_is_not_made(
    dtype: torch.dtype, graphs, tmp_path: Path, monkeypatch
) -> None:
    model, kept, engines = tiny_model("llama").to(dtype), [], []
    packer = replace(packer_for(model, "tree", PAD), way=SEGMENTS, replays=True)
    step = PlainEngine.step_unread

    def spoiled(engine: PlainEngine, loss: torch.Tensor) -> torch.Tensor:
        engines.append(engine)
        kept.append([one.clone() for one in (*engine.masters.masters, *model.parameters())])
        if len(kept) == SPOILED_STEP:
            engine.masters.masters[0].grad[0] = torch.inf
        return step(engine, loss)

    monkeypatch.setattr(PlainEngine, "step_unread", spoiled)
    with pytest.raises(UserError) as error:
        train(model, packer, tmp_path)
    assert str(error.value).startswith(f"step {SPOILED_STEP}: the gradient norm is ")
    now = [*engines[0].masters.masters, *model.parameters()]
    assert len(kept) == SPOILED_STEP and all(map(torch.equal, now, kept[-1]))
    assert not any(map(torch.equal, kept[-1], kept[-2]))


def test_replayed_scores_are_plain_scores(graphs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(label_scoring, "REPLAYS_THAT_PAY", 3)
    encoder, model = RowEncoder(character_tokenizer(), 1024), tiny_model("llama")
    rows = encoder.encode(small_examples("window", window=12, count=16, turns=6), LABELS)
    packer = replace(packer_for(model, "tree", PAD), way=SEGMENTS)
    found = {}
    for replays in (False, True):
        settings = DecodeSettings(replace(packer, replays=replays), token_budget=1200)
        found[replays] = predict_labels(model, encoder, rows, LABELS, settings)
    (made,) = graphs
    assert made.replays > 3
    for one, other in zip(found[True], found[False], strict=True):
        assert (one.id, one.label) == (other.id, other.label)
        assert list(one.scores.values()) == pytest.approx(list(other.scores.values()), rel=1e-5)


def asked(packing: dict | None = None, **model) -> tuple:
    """Arguments of a run, as far as passes depend on them."""
    given = {"quantize": "none", "gradient_checkpointing": False} | model
    wanted = {"tree_attention": "auto", "cuda_graphs": "auto"} | (packing or {})
    return SimpleNamespace(**given), None, SimpleNamespace(**wanted)


def plan() -> list:
    return training_batches(ROWS, 500, True)


REPLAYS = [
    (GPU, {}, {}, True, True),
    (CPU, {}, {}, True, False),
    (GPU, {"cuda_graphs": "False"}, {}, True, False),
    (GPU, {}, {"quantize": "nf4"}, True, False),
    (GPU, {}, {"gradient_checkpointing": True}, True, False),
    (GPU, {}, {}, False, False),
]


@pytest.mark.parametrize(("device", "training", "model", "alone", "replays"), REPLAYS)
def test_who_replays(device, training, model, alone, replays, monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []
    monkeypatch.setattr(fast_passes, "choose_way", lambda *given: tried.append(given) or (given[1], []))
    base = tiny_model("llama")
    packer = replace(packer_for(base, "tree", PAD), way=DENSE)
    found = fastest_packer(base, packer, plan, asked(training, **model), device, True, alone)
    assert found == replace(packer, replays=replays)
    assert len(tried) == (device == GPU) and not (tried and tried[0][2].tokens() < max(map(len, map(tree, plan()))))


def tree(batch):
    return batch.tree()


def test_a_way_that_is_asked_for_is_taken_and_told(capsys: pytest.CaptureFixture[str]) -> None:
    model = tiny_model("llama")
    packer = packer_for(model, "tree", PAD)
    assert packer.way == BLOCKS
    found = fastest_packer(model, packer, plan, asked({"tree_attention": SEGMENTS}), CPU, False, True)
    assert found == replace(packer, way=SEGMENTS)
    assert capsys.readouterr().err.startswith("attention over shared prefixes: segments (segments ")
    with pytest.raises(UserError, match=r"^--tree_attention flex: flex does not run \(NotImplementedError"):
        fastest_packer(model, packer, plan, asked({"tree_attention": "flex"}), CPU, False, True)


def test_a_way_that_a_base_does_not_take_is_refused() -> None:
    model = tiny_model("llama", "sdpa")
    rows, dense = Packer("rows", PAD), packer_for(model, "tree", PAD)
    for packer, way, told in (
        (rows, SEGMENTS, "shares no prefixes: leave it out"),
        (rows, DENSE, "shares no prefixes: leave it out"),
        (dense, BLOCKS, "takes dense masks alone: choose dense"),
    ):
        with pytest.raises(UserError, match=f"^--tree_attention {way}: this base {told}$"):
            fastest_packer(model, packer, plan, asked({"tree_attention": way}), CPU, False, True)
    for packer, way in ((rows, "auto"), (dense, "auto"), (dense, DENSE)):
        assert fastest_packer(model, packer, plan, asked({"tree_attention": way}), CPU, False, True) == packer


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_a_weight_without_gradient_is_not_decayed_by_held_sums_either(dtype: torch.dtype) -> None:
    """As by other steps; and a later gradient still reaches its sum."""
    found = []
    for held in (False, True):
        torch.manual_seed(0)
        model = nn.ModuleList(nn.Linear(4, 4, bias=False, dtype=dtype) for _ in range(2))
        engine = PlainEngine(model, OptimizerSettings(0.1, 0.0, 0.5, 1.0, total_steps=4))
        sums = engine.hold_sums() if held else []
        for used in (1, 1, 2):
            engine.backward(sum((layer.weight.float() ** 2).sum() for layer in model[:used]), last=True)
            if not held:
                engine.step()
            else:
                engine.step_unread(torch.zeros(()))
                engine.schedule.step()
                assert all(one.grad is total for one, total in zip(engine.masters.masters, sums, strict=True))
        found.append(engine.state())
    assert len(found[1]["moments"]["1.weight"]) == len(found[0]["moments"]["1.weight"]) == 3
    assert float(found[1]["moments"]["1.weight"]["step"]) == 1
    for name, weight in found[0]["weights"].items():
        assert torch.allclose(weight, found[1]["weights"][name], atol=1e-6), name
