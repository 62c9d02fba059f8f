"""Numbers that are not finite: told before the step that they would spoil, and what was saved before stays."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

import main_new
from basics.errors import UserError
from commands import assert_one_line_error, call_script
from engine.packing import packer_for
from tiny_models import PAD, main_command, save_base, save_rows, small_rows, tiny_model
from training.checkpoints import STATE_FILE, load_state
from training.engines import OptimizerSettings, PlainEngine
from training.log import RunLog
from training.loop import Callbacks, Trainer, TrainingSettings

pytestmark = pytest.mark.numeric

SPOILED_STEP = 3
ROWS = small_rows()


def spoil_loss(model: nn.Module) -> None:
    """The forward pass of one step comes to nothing; each step has one micro-batch."""
    steps = []

    def hook(module, arguments, output):
        steps.append(output)
        return output * torch.nan if len(steps) == SPOILED_STEP else output

    model.lm_head.register_forward_hook(hook)


def spoil_gradient(model: nn.Module) -> None:
    """One gradient of one step is infinite, while the loss is fine."""
    steps = []

    def hook(gradient):
        steps.append(gradient)
        return gradient / 0 if len(steps) == SPOILED_STEP else gradient

    model.model.norm.weight.register_hook(hook)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("spoil", "told"), [(spoil_loss, "loss is nan"), (spoil_gradient, "gradient norm is ")])
def test_the_step_is_not_made(spoil: Callable, told: str, dtype: torch.dtype, tmp_path: Path) -> None:
    model = tiny_model("llama").to(dtype)
    spoil(model)
    engine = PlainEngine(model, OptimizerSettings(3e-3, 0.0, 0.1, 1.0, 6))
    settings = TrainingSettings(2, 5, 3, 10_000, 1, seed=42, save_steps=1, resume=False)
    callbacks = Callbacks(lambda epoch: {"score": 0.0}, lambda: None, RunLog(tmp_path).record)
    trainer = Trainer(model, engine, ROWS, packer_for(model, "tree", PAD), settings, callbacks, tmp_path, {})
    with pytest.raises(UserError) as error:
        trainer.run()
    line = str(error.value)
    assert line.startswith(f"step {SPOILED_STEP}: the {told}") and "\n" not in line
    assert "learning rate 0.002" in line and "--learning_rate" in line
    assert ("--precision fp32" in line) == (dtype != torch.float32)
    step = line.rpartition("its rows: ")[2].split(", ")
    assert 1 < len(step) <= 5 and set(step) <= {row.id for row in ROWS}
    state = load_state(tmp_path, {})
    assert state["progress"]["step"] == SPOILED_STEP - 1
    for weight, kept in zip(engine.masters.masters, state["engine"]["weights"].values(), strict=True):
        assert torch.equal(weight, kept) and kept.isfinite().all()
    logged = [json.loads(line)["step"] for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert logged == [1, 2]


def test_the_log_takes_no_number_that_json_has_not(tmp_path: Path) -> None:
    for value in (float("nan"), float("inf")):
        with pytest.raises(ValueError, match="JSON"):
            RunLog(tmp_path).record({"kind": "step", "step": 1, "loss": value})
    assert not (tmp_path / "log.jsonl").exists()


def test_a_step_that_fp16_leaves_out_is_logged_without_a_norm(tmp_path: Path) -> None:
    """DeepSpeed then scales the loss less and goes on, as long as it can."""
    model, records = tiny_model("llama"), []
    spoil_gradient(model)
    engine = PlainEngine(model, OptimizerSettings(3e-3, 0.0, 0.0, 1.0, 6))
    engine.overflows_at_times = True
    settings = TrainingSettings(1, 5, 3, 10_000, 1, seed=42, save_steps=0, resume=False)
    callbacks = Callbacks(lambda epoch: {"score": 0.0}, lambda: None, records.append)
    Trainer(model, engine, ROWS, packer_for(model, "tree", PAD), settings, callbacks, tmp_path, {}).run()
    norms = [record["gradient_norm"] for record in records if record["kind"] == "step"]
    assert norms[SPOILED_STEP - 1] is None and all(norms[: SPOILED_STEP - 1])


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("made")
    return save_base(folder / "base"), save_rows(folder)


def test_a_rate_that_is_far_too_high_is_one_line(made: tuple[Path, Path], tmp_path: Path) -> None:
    flags = {"lora": False, "learning_rate": 1e30, "warmup_ratio": 0, "save_steps": 1}
    result = call_script(main_new.main, *main_command(*made, tmp_path, **flags))
    assert result.returncode == 2 and "Traceback" not in result.stderr
    assert result.stderr.splitlines()[-1].startswith("error: step 2: the loss is nan at the learning rate ")
    assert (tmp_path / "results" / STATE_FILE).exists()


def test_fp16_is_not_trained_without_a_scaled_loss(
    made: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.run.choose_precision", lambda wanted, device: torch.float16)  # as on a GPU
    flags = {"precision": "fp16", "num_train_epochs": 1}
    result = call_script(main_new.main, *main_command(*made, tmp_path, **flags))
    assert_one_line_error(result, "--precision fp16", "bf16 or fp32", "--deepspeed_config")
    assert list(tmp_path.iterdir()) == []
