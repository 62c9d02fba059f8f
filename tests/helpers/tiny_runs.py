"""Runs of main_new.py over a tiny base and its rows."""

import json
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import main_new
from commands import call_script
from tiny_models import main_command, save_base, save_rows


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
