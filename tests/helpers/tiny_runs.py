"""Runs of main_new.py over a tiny base and its rows, and of the training loop alone."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

from torch import nn

import main_new
from bases.adapters import add_lora
from commands import call_script
from engine.batching import EncodedRow
from engine.packing import packer_for
from tiny_models import PAD, main_command, save_base, save_rows, tiny_model
from training.engines import OptimizerSettings, PlainEngine
from training.loop import Callbacks, Progress, Trainer, TrainingSettings, steps_in_epoch


class Place:
    """A base, rows, and the runs over them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.base, self.rows = save_base(folder / "base"), save_rows(folder)

    def call(self, run: str, **flags: object) -> CompletedProcess[str]:
        """One run in a folder of its own, one epoch unless told otherwise."""
        flags = {"num_train_epochs": 1, "save_steps": 0} | flags
        return call_script(main_new.main, *main_command(self.base, self.rows, self.folder / run, **flags))

    def finish(self, run: str, **flags: object) -> CompletedProcess[str]:
        result = self.call(run, **flags)
        assert result.returncode == 0, result.stderr
        return result

    def score(self, run: str, checkpoint: str = "none", **flags: object) -> CompletedProcess[str]:
        """A run that only scores test; where adapters sit is the checkpoint's, unless told otherwise."""
        start = checkpoint if checkpoint == "none" else self.model(checkpoint)
        flags = {"lora_module_name": None} | flags
        return self.finish(run, do_train=False, checkpoint_dir=start, **flags)

    def model(self, run: str) -> Path:
        return self.folder / run / "model"

    def results(self, run: str) -> dict[str, Any]:
        return json.loads(self.path(run, "results.json").read_text(encoding="utf-8"))

    def predictions(self, run: str) -> bytes:
        return self.path(run, "predictions.jsonl").read_bytes()

    def scores(self, run: str) -> dict[str, dict[str, float]]:
        rows = map(json.loads, self.predictions(run).splitlines())
        return {row["id"]: row["scores"] for row in rows}

    def path(self, run: str, file: str) -> Path:
        return self.folder / run / "results" / file


def train(
    rows: Sequence[EncodedRow],
    folder: Path,
    model: nn.Module | None = None,
    scores: Callable[[float], float] = lambda epoch: 0.0,
    **settings: Any,
) -> tuple[Progress, list[dict[str, Any]], list[str]]:
    """Trains a tiny model; what was recorded, and the calls in their order. average: of weights, the engine's."""
    model = model or add_lora(tiny_model("llama"), 4, 8, 0.1, "all")
    chosen = {"epochs": 2, "batch_size": 7, "rows_per_dialogue": 3, "token_budget": 300, "micro_steps": 1}
    chosen |= {"seed": 42, "save_steps": 0, "resume": False} | settings
    average = chosen.pop("average", 0.0)
    steps = steps_in_epoch(len(rows), chosen["batch_size"]) * chosen["epochs"]
    engine = PlainEngine(model, OptimizerSettings(3e-3, 0.1, 0.0, 1.0, steps, average=average))
    records: list[dict[str, Any]] = []
    calls: list[str] = []

    def evaluate(epoch: float) -> dict[str, float]:
        calls.append(f"evaluate {epoch}")
        return {"score": scores(epoch)}

    callbacks = Callbacks(evaluate, lambda: calls.append("keep"), records.append)
    packer = packer_for(model, "tree", PAD)
    trainer = Trainer(model, engine, rows, packer, TrainingSettings(**chosen), callbacks, folder, {"seed": 42})
    return trainer.run(), records, calls


def losses(records: Sequence[dict[str, Any]]) -> list[float]:
    return [record["loss"] for record in records if record["kind"] == "step"]
