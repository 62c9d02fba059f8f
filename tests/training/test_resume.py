"""Runs that are killed at any moment and resumed end as one left alone; a full disk is told in one line."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from forked_runs import ForkedRun, run_all
from scoring.prediction_files import VALID_FILE
from tiny_models import main_command, save_base, save_rows

pytestmark = pytest.mark.slow

# What a machine with less memory asks for, and one with other kernels.
COMPUTED_OTHERWISE = {
    "token_budget": 60,
    "gradient_accumulation_steps": 2,
    "gradient_checkpointing": True,
    "compile_layers": False,
    "tree_attention": "dense",
    "cuda_graphs": False,
}
# Four steps an epoch, three epochs; the state is saved after every second step and every epoch. Epoch 2 beats
# epoch 1, so that a saved model is replaced. Each run goes on where the one before was killed.
MOMENTS = {
    "first step, nothing saved": ("open", "log.jsonl", 1),
    "writing the first state": ("os.rename", "resume.pt", 1),
    "going on from it": ("open", "log.jsonl", 4),
    "making the first model": ("os.mkdir", ".model.new", 1),
    "first model written, not in place": ("os.rename", "model", 1),
    "first model in place, epoch not logged": ("open", "log.jsonl", 1),
    "epoch logged, its state not saved": ("os.rename", "resume.pt", 1),
    "step after the epoch": ("open", "log.jsonl", 2),
    "between two states": ("open", "log.jsonl", 4),
    "moving the first model away": ("os.rename", ".model.old", 1),
    "first model away, the second not in place": ("os.rename", "model", 1),
    "second model in place, the first still there": ("shutil.rmtree", ".model.old", 2),
    "state of the second epoch": ("os.rename", "resume.pt", 1),
    "rewriting the log": ("os.rename", "log.jsonl", 1),
    "state of the last epoch": ("os.rename", "resume.pt", 3),
    "scored, predictions not in place": ("os.rename", "predictions.jsonl", 1),
    "predictions there, results not": ("os.rename", "results.json", 1),
    "all there but the state is not discarded": ("os.remove", "resume.pt", 1),
}
SIGKILL = -9
STEPS, EPOCHS = 12, 3


@dataclass(frozen=True)
class Runs:
    """What the runs of this file left behind."""

    folder: Path
    codes: dict[str, int]

    def read(self, run: str, file: str) -> str:
        return (self.folder / run / "results" / file).read_text(encoding="utf-8")

    def log(self, run: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.read(run, "log.jsonl").splitlines()]

    def answers(self, run: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.read(run, "predictions.jsonl").splitlines()]

    def told(self, name: str) -> list[str]:
        """What a process wrote on stdout and stderr."""
        return (self.folder / f"{name}.txt").read_text(encoding="utf-8").splitlines()


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Runs:
    """All of them, in one process that forks."""
    folder = tmp_path_factory.mktemp("runs")
    base, rows = save_base(folder / "base"), save_rows(folder)
    planned: dict[str, ForkedRun] = {}

    def plan(name: str, run: str, killed_at=None, largest_file=None, **flags: object) -> None:
        command = main_command(base, rows, folder / run, **flags)
        planned[name] = ForkedRun(command, str(folder / f"{name}.txt"), killed_at, largest_file)

    plan("undisturbed", "undisturbed")
    for name, moment in MOMENTS.items():
        plan(name, "killed", moment, resume=True)
    plan("the last resumption", "killed", resume=True)
    plan("killed for good", "other", ("open", "log.jsonl", 4))
    plan("resumed with other flags", "other", resume=True, learning_rate=0.5, batch_size=9, save_steps=1)
    plan("begun anew", "other", resume=False)
    plan("left alone, without dropout", "alone", lora_dropout=0.0)
    plan("stopped, without dropout", "smaller", ("open", "log.jsonl", 7), lora_dropout=0.0)
    plan("gone on with, computed otherwise", "smaller", resume=True, lora_dropout=0.0, **COMPUTED_OTHERWISE)
    plan("no room for the state", "full", largest_file=30_000)
    plan("no room for the model", "full model", largest_file=30_000, save_steps=0, lora=False)
    plan("no room for the log", "full log", largest_file=100)  # less than the first line
    return Runs(folder, dict(zip(planned, run_all(list(planned.values())), strict=True)))


def test_every_run_was_killed_at_its_moment(runs: Runs) -> None:
    assert {name: runs.codes[name] for name in MOMENTS} == dict.fromkeys(MOMENTS, SIGKILL)
    assert (runs.codes["undisturbed"], runs.codes["the last resumption"]) == (0, 0), runs.told("the last resumption")


def test_predictions_are_those_of_a_run_left_alone(runs: Runs) -> None:
    found = runs.read("killed", "predictions.jsonl")
    assert found == runs.read("undisturbed", "predictions.jsonl") and found.count("\n") == 13
    killed, left_alone = (
        runs.folder / run / "model" / "adapter_model.safetensors" for run in ("killed", "undisturbed")
    )
    assert killed.read_bytes() == left_alone.read_bytes()


def test_the_log_has_every_step_and_epoch_once(runs: Runs) -> None:
    lines = runs.log("killed")
    assert [line["step"] for line in lines if line["kind"] == "step"] == list(range(1, STEPS + 1))
    assert [line["epoch"] for line in lines if line["kind"] == "epoch"] == list(range(1, EPOCHS + 1))
    timeless = [[{**line, "seconds": 0} for line in runs.log(run)] for run in ("killed", "undisturbed")]
    assert timeless[0] == timeless[1]


def test_results_are_those_of_a_run_left_alone(runs: Runs) -> None:
    kept = ("weighted_f1", "per_label", "confusion", "best_epoch", "epochs", "trainable_parameters", "row_digests")
    killed, undisturbed = (json.loads(runs.read(run, "results.json")) for run in ("killed", "undisturbed"))
    assert {key: killed[key] for key in kept} == {key: undisturbed[key] for key in kept}
    assert undisturbed["best_epoch"] == 2, "the moments above suppose that a model is replaced"
    of_valid, left_alone = (runs.read(run, VALID_FILE) for run in ("killed", "undisturbed"))
    assert of_valid == left_alone


def test_nothing_half_written_stays(runs: Runs) -> None:
    for run in ("killed", "undisturbed", "other"):
        assert {path.name for path in (runs.folder / run).rglob(".*")} == set()
    names = {path.name for path in (runs.folder / "killed" / "results").iterdir()}
    assert names == {path.name for path in (runs.folder / "undisturbed" / "results").iterdir()}


def test_other_settings_are_refused_and_the_difference_named(runs: Runs) -> None:
    assert runs.codes["killed for good"] == SIGKILL
    assert runs.codes["resumed with other flags"] == 2
    line = runs.told("resumed with other flags")[-1]
    assert line.startswith("error: cannot resume ")
    assert "learning_rate was 0.02, is 0.5" in line and "batch_size was 8, is 9" in line
    assert "save_steps" not in line and "seed" not in line


def test_a_run_begun_anew_forgets_the_killed_one(runs: Runs) -> None:
    assert runs.codes["begun anew"] == 0
    assert runs.read("other", "predictions.jsonl") == runs.read("undisturbed", "predictions.jsonl")
    assert [line["step"] for line in runs.log("other") if line["kind"] == "step"] == list(range(1, STEPS + 1))


def test_a_run_may_be_gone_on_with_where_it_has_to_be_computed_otherwise(runs: Runs) -> None:
    assert runs.codes["stopped, without dropout"] == SIGKILL
    name = "gone on with, computed otherwise"
    assert runs.codes[name] == 0, runs.told(name)
    (alone, once), (found, twice) = ((runs.answers(run), runs.log(run)) for run in ("alone", "smaller"))
    assert [row["label"] for row in found] == [row["label"] for row in alone]
    for one, other in zip(found, alone, strict=True):
        assert one["scores"] == pytest.approx(other["scores"], abs=1e-3)
    once, twice = ([line["loss"] for line in log if line["kind"] == "step"] for log in (once, twice))
    assert len(once) == STEPS and twice == pytest.approx(once, rel=1e-3)
    assert twice != once, "to the last digit the same: nothing was computed otherwise"


@pytest.mark.parametrize(
    ("name", "run", "file"),
    [
        ("no room for the state", "full", "resume.pt"),
        ("no room for the model", "full model", "model"),
        ("no room for the log", "full log", "log.jsonl"),
    ],
)
def test_a_full_disk_is_one_line(runs: Runs, name: str, run: str, file: str) -> None:
    assert runs.codes[name] == 2, runs.told(name)
    told = runs.told(name)
    assert told[-1].startswith("error: no space left on the disk while writing ") and told[-1].endswith(f"/{file}")
    assert not any("Traceback" in line for line in told)
    left = {path.name for path in (runs.folder / run).rglob("*") if path.is_file()}
    assert {file for file in left if not file.startswith("events.")} <= {"log.jsonl"}
