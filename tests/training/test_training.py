"""The training loop and the plain engine: the numbers they come to, and what they keep."""

import math
import pickle
from pathlib import Path

import pytest
import torch
from torch import nn

from bases.adapters import add_lora
from basics.errors import UserError
from tiny_models import small_rows, tiny_model
from tiny_runs import losses, train
from training.checkpoints import STATE_FILE, load_state, save_state
from training.engines import MasterWeights, OptimizerSettings, PlainEngine
from training.loop import Progress, steps_in_epoch

pytestmark = pytest.mark.numeric

# Loss of every step of `train(small_rows("predict"))`: 26 rows, 4 steps an epoch, 2 epochs. They change only
# with the draws, the order of the rows or the sums; say why when you change them.
LOSSES = [2.191424, 2.938886, 4.494100, 4.000736, 3.697375, 3.773802, 2.006622, 3.631639]


def test_loss_curve_is_pinned(tmp_path: Path) -> None:
    progress, records, _ = train(small_rows("predict"), tmp_path)
    assert losses(records) == pytest.approx(LOSSES, abs=1e-5)
    assert [record["step"] for record in records if record["kind"] == "step"] == list(range(1, 9))
    epochs = [record for record in records if record["kind"] == "epoch"]
    assert [one["train_loss"] for one in epochs] == pytest.approx([sum(LOSSES[:4]) / 4, sum(LOSSES[4:]) / 4])
    assert progress.history == [{key: one[key] for key in one if key not in ("kind", "step")} for one in epochs]
    assert all(record["tokens"] > 0 for record in records if record["kind"] == "step")


def test_a_second_run_and_other_cuts_of_a_step_come_to_the_same(tmp_path: Path) -> None:
    """Without dropout, whose draws go by micro-batch, neither budget nor micro-steps change the losses."""
    rows = small_rows("predict")
    found = []
    for cut in ({}, {}, {"token_budget": 10_000}, {"micro_steps": 4}):
        model = add_lora(tiny_model("llama"), 4, 8, 0.0, "all")
        torch.manual_seed(1)
        for name, weight in model.named_parameters():
            if "lora_A" in name:
                nn.init.normal_(weight)
        found.append(losses(train(rows, tmp_path, model, **cut)[1]))
    assert found[0] == found[1]
    assert found[2] == pytest.approx(found[0], rel=1e-4) and found[3] == pytest.approx(found[0], rel=1e-4)
    other = losses(train(rows, tmp_path, add_lora(tiny_model("llama"), 4, 8, 0.0, "all"), seed=7)[1])
    assert other != pytest.approx(found[0], rel=1e-4)


def test_the_best_epoch_is_the_first_of_the_highest_score(tmp_path: Path) -> None:
    scores = [3.0, 9.0, 5.0, 9.0]
    progress, _, calls = train(small_rows()[:4], tmp_path, scores=lambda epoch: scores[epoch - 1], epochs=4)
    assert (progress.best_epoch, progress.best_score) == (2, 9.0)
    assert calls == ["evaluate 1", "keep", "evaluate 2", "keep", "evaluate 3", "evaluate 4"]


def test_a_first_epoch_of_score_zero_is_kept(tmp_path: Path) -> None:
    progress, _, calls = train(small_rows()[:4], tmp_path, epochs=1)
    assert progress.best_epoch == 1 and calls == ["evaluate 1", "keep"]


def test_resuming_goes_on_to_the_bit(tmp_path: Path) -> None:
    """Fallen after the last step, gone on from the fifth: moments, schedule, draws and sums are as they were."""
    rows = small_rows("predict")
    alone = train(rows, tmp_path / "alone", save_steps=5)[1]

    def fall_in_the_second_epoch(epoch: int) -> float:
        if epoch == 2:
            raise RuntimeError("no memory")  # what Ctrl-C stops is saved at its step
        return 0.0

    with pytest.raises(RuntimeError, match="no memory"):
        train(rows, tmp_path / "cut", save_steps=5, scores=fall_in_the_second_epoch)
    assert (tmp_path / "cut" / STATE_FILE).exists()
    progress, rest, calls = train(rows, tmp_path / "cut", save_steps=5, resume=True)
    assert losses(rest) == losses(alone)[5:]
    assert rest[-1] == alone[-1] and progress.step == 8 and calls == ["evaluate 2"]


class TestPlainEngine:
    """On one weight matrix whose loss is linear, so that every number can be worked out."""

    @staticmethod
    def layer(dtype: torch.dtype = torch.float32) -> nn.Linear:
        torch.manual_seed(0)
        layer = nn.Linear(4, 3, bias=False)
        # Both precisions start from the same numbers.
        return layer.to(torch.bfloat16).to(dtype)

    @staticmethod
    def settings(**changes: float) -> OptimizerSettings:
        values = {"learning_rate": 1e-3, "warmup_ratio": 0.0, "weight_decay": 0.0, "clip_norm": 0.0, "total_steps": 100}
        return OptimizerSettings(**(values | changes))

    @staticmethod
    def take_step(engine: PlainEngine, layer: nn.Linear, micro_batches: int = 2) -> float:
        generator = torch.Generator().manual_seed(1)
        for number in range(micro_batches):
            x = torch.randn(2, 4, generator=generator).to(layer.weight.dtype)
            engine.backward((layer(x).float() ** 2).sum(), last=number == micro_batches - 1)
        return engine.step()

    def test_masters_hold_what_bf16_would_lose(self) -> None:
        """60 steps of 2e-5 each: every one is below the grain of the bf16 weight, together they are not."""
        ends = {}
        for dtype in (torch.float32, torch.bfloat16):
            layer = self.layer(dtype)
            begin = layer.weight.detach().float().clone()
            engine = PlainEngine(layer, self.settings(learning_rate=2e-5, total_steps=10_000))
            for _ in range(60):
                self.take_step(engine, layer)
            ends[dtype] = engine.masters.masters[0].detach() - begin
            assert layer.weight.dtype == dtype
        exact = ends[torch.float32]
        assert exact.abs().min() > 5e-4
        torch.testing.assert_close(ends[torch.bfloat16], exact, rtol=0.05, atol=1e-5)

    def test_gradients_add_up_in_fp32(self) -> None:
        """In bf16 the 200th would be rounded against the sum of those before it."""
        layer = self.layer(torch.bfloat16)
        engine = PlainEngine(layer, self.settings())
        expected = torch.zeros(3, 4)
        for number in range(200):
            x = torch.full((1, 4), 1 + number / 256, dtype=torch.bfloat16)
            expected += x.float()
            engine.backward(layer(x).sum(), last=number == 199)
        assert torch.equal(engine.masters.masters[0].grad, expected)

    def test_weights_are_the_rounded_masters(self) -> None:
        layer = self.layer(torch.bfloat16)
        engine = PlainEngine(layer, self.settings(learning_rate=0.1))
        self.take_step(engine, layer)
        assert torch.equal(layer.weight, engine.masters.masters[0].to(torch.bfloat16))
        assert layer.weight.grad is None and engine.masters.masters[0].grad is None

    def test_fp32_weights_are_their_own_masters(self) -> None:
        layer = self.layer()
        assert MasterWeights(layer).masters[0] is layer.weight

    def test_frozen_weights_stay(self) -> None:
        model = nn.Sequential(self.layer(), nn.Linear(3, 3, bias=False))
        model[0].requires_grad_(False)
        assert MasterWeights(model).names == ("1.weight",)

    @pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
    def test_gradients_of_micro_batches_are_clipped_together(self, dtype: torch.dtype) -> None:
        clipped, free = (self.layer(dtype), self.layer(dtype))
        first = PlainEngine(clipped, self.settings(clip_norm=0.01))
        second = PlainEngine(free, self.settings(clip_norm=0.0))
        norms = [self.take_step(engine, layer) for engine, layer in ((first, clipped), (second, free))]
        assert norms[0] == norms[1] > 1
        # AdamW divides by the size of the gradient: its first moment shows what it was given.
        seen = [next(iter(engine.optimizer.state.values()))["exp_avg"].norm() / 0.1 for engine in (first, second)]
        assert float(seen[0]) == pytest.approx(0.01, rel=1e-3) and float(seen[1]) == pytest.approx(norms[1], rel=1e-3)

    def test_the_rate_rises_over_the_warm_up_and_falls_to_zero(self) -> None:
        layer = self.layer()
        engine = PlainEngine(layer, self.settings(learning_rate=1.0, warmup_ratio=0.2, total_steps=10))
        rates = []
        for _ in range(10):
            rates.append(engine.optimizer.param_groups[0]["lr"])
            self.take_step(engine, layer)
        assert rates == pytest.approx([0, 0.5, 1, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125])
        assert engine.optimizer.param_groups[0]["lr"] == 0
        assert engine.optimizer.defaults["betas"] == (0.9, 0.95)

    @pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
    def test_a_state_goes_through_the_disk_to_another_engine(self, dtype: torch.dtype, tmp_path: Path) -> None:
        settings = self.settings(learning_rate=0.1, warmup_ratio=0.5, weight_decay=0.1)
        layers = self.layer(dtype), self.layer(dtype)
        first, second = (PlainEngine(layer, settings) for layer in layers)
        for _ in range(3):
            self.take_step(first, layers[0])
        save_state(tmp_path, {"fingerprint": {}, "engine": first.state()})
        second.load_state(load_state(tmp_path, {})["engine"])
        for engine, layer in zip((first, second), layers, strict=True):
            self.take_step(engine, layer)
        assert torch.equal(first.masters.masters[0], second.masters.masters[0])
        assert torch.equal(layers[0].weight, layers[1].weight)


def test_a_state_of_another_run_names_every_difference(tmp_path: Path) -> None:
    save_state(tmp_path, {"fingerprint": {"seed": 1, "beta": 0.1, "rows": "a"}})
    assert load_state(tmp_path, {"seed": 1, "beta": 0.1, "rows": "a"}) is not None
    with pytest.raises(UserError, match="cannot resume .*resume.pt: beta was 0.1, is 0.5; extra was None, is 2; rows"):
        load_state(tmp_path, {"seed": 1, "beta": 0.5, "rows": "b", "extra": 2})
    assert load_state(tmp_path / "elsewhere", {}) is None


def test_a_state_may_tell_more_of_how_a_run_was_computed(tmp_path: Path) -> None:
    save_state(tmp_path, {"fingerprint": {"seed": 1, "token_budget": 0}})  # as earlier versions wrote it
    assert load_state(tmp_path, {"seed": 1}) is not None


UNREADABLE = {
    "empty": lambda whole: b"",
    "no state at all": lambda whole: b"state",
    "cut": lambda whole: whole[: len(whole) // 2],
    "a pickle of another thing": lambda whole: pickle.dumps(["state"]),
    "overwritten in the middle": lambda whole: whole[:200] + bytes(800) + whole[1000:],
}


@pytest.mark.parametrize("kind", UNREADABLE)
def test_a_damaged_state_is_one_line(kind: str, tmp_path: Path) -> None:
    train(small_rows()[:4], tmp_path, epochs=1)
    path = tmp_path / STATE_FILE
    path.write_bytes(UNREADABLE[kind](path.read_bytes()))
    with pytest.raises(UserError, match="resume.pt is damaged or of another version of this program .*--resume False"):
        train(small_rows()[:4], tmp_path, resume=True)


OTHER_LAYOUTS = {
    "no fingerprint": lambda state: state.pop("fingerprint"),
    "a fingerprint in words": lambda state: state.update(fingerprint="42"),
    "progress of an older version": lambda state: state["progress"].update(steps=3),
    "no progress": lambda state: state.update(progress=None),
    "weights of another model": lambda state: state["engine"].update(weights={"a": torch.zeros(1)}),
    "weights of another size": lambda state: state["engine"].update(
        weights={name: torch.zeros(1, 77) for name in state["engine"]["weights"]}
    ),
    "no moments": lambda state: state["engine"].pop("moments"),
}


@pytest.mark.parametrize("kind", OTHER_LAYOUTS)
def test_a_state_of_another_layout_is_one_line(kind: str, tmp_path: Path) -> None:
    train(small_rows()[:4], tmp_path, epochs=1)
    state = torch.load(tmp_path / STATE_FILE, weights_only=True)
    OTHER_LAYOUTS[kind](state)
    save_state(tmp_path, state)
    with pytest.raises(UserError, match="resume.pt is damaged or of another version of this program") as error:
        train(small_rows()[:4], tmp_path, resume=True)
    assert "\n" not in str(error.value)


def test_steps_of_an_epoch() -> None:
    assert [steps_in_epoch(rows, 32) for rows in (1, 32, 33, 64)] == [1, 1, 2, 2]
    assert math.isinf(Progress().best_score)
