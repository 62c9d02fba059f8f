"""--report_to: curves in W&B and MLflow, with stand-ins for both packages, and beside them TensorBoard's as before."""

import json
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

import main_new
from basics.errors import UserError
from commands import assert_one_line_error, call_script
from tiny_models import main_command, save_base, save_rows
from training.log import RunLog
from training.trackers import RUNS_FILE, check_trackers, open_trackers

STEP = {"kind": "step", "step": 3, "epoch": 0, "loss": 1.5, "ids": ["a"]}


class StandIn(ModuleType):
    """wandb or mlflow, as far as they are used: notes what it is told."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.__spec__ = ModuleSpec(name, None)
        self.opened: list[dict] = []
        self.settings: list[dict] = []
        self.logged: list[tuple[int, dict]] = []
        self.info = SimpleNamespace(run_id=f"{name}-run")
        self.id = f"{name}-run"

    def init(self, config, **place):
        self.opened.append(place)
        self.settings.append(config)
        return self

    def define_metric(self, name, step_metric):
        assert (name, step_metric) == ("*", "step")

    def log(self, values):
        self.logged.append((values["step"], {name: value for name, value in values.items() if name != "step"}))

    def set_experiment(self, name):
        assert name == "instructerc"

    def start_run(self, **place):
        self.opened.append(place)
        return self

    def log_params(self, settings):
        self.settings.append(settings)

    def log_metrics(self, values, step):
        self.logged.append((step, values))


@pytest.fixture
def stand_ins(monkeypatch: pytest.MonkeyPatch) -> dict[str, StandIn]:
    for variable in ("WANDB_PROJECT", "MLFLOW_EXPERIMENT_NAME"):
        monkeypatch.delenv(variable, raising=False)
    found = {name: StandIn(name) for name in ("wandb", "mlflow")}
    for name, module in found.items():
        monkeypatch.setitem(sys.modules, name, module)
    return found


def test_a_run_reports_to_all_that_it_names(stand_ins: dict[str, StandIn], tmp_path: Path) -> None:
    flags = {"num_train_epochs": 1, "do_eval": False, "report_to": "tensorboard,wandb,mlflow"}
    command = main_command(save_base(tmp_path / "base"), save_rows(tmp_path), tmp_path / "run", **flags)
    result = call_script(main_new.main, *command)
    assert result.returncode == 0, result.stderr
    results = tmp_path / "run" / "results"
    lines = [json.loads(line) for line in (results / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    expected = [
        (
            line["step"],
            {f"{line['kind']}/{name}": value for name, value in line.items() if isinstance(value, int | float)},
        )
        for line in lines
    ]
    for _, values in expected:
        for name in [name for name in values if name.endswith("/step")]:
            del values[name]
    assert len(expected) > 3
    for module in stand_ins.values():
        assert module.logged == expected
        assert module.settings[0]["learning_rate"] == 2e-2
    assert list((results / "tensorboard").glob("events.*"))


def test_a_run_that_begins_anew_has_curves_of_its_own(stand_ins: dict[str, StandIn], tmp_path: Path) -> None:
    """Although it was to go on, beside the results of another one."""
    base, rows = save_base(tmp_path / "base"), save_rows(tmp_path)
    for flags in ({}, {"resume": True, "seed": 43}):
        flags = {"num_train_epochs": 1, "report_to": "wandb"} | flags
        result = call_script(main_new.main, *main_command(base, rows, tmp_path / "run", **flags))
        assert result.returncode == 0, result.stderr
    assert [place["id"] for place in stand_ins["wandb"].opened] == [None, None]


def test_a_resumed_run_goes_on_where_it_was(stand_ins: dict[str, StandIn], tmp_path: Path) -> None:
    for resume in (False, True, False):
        open_trackers("wandb,mlflow", tmp_path, {"seed": 1}, resume)[0](STEP)
    assert [place["id"] for place in stand_ins["wandb"].opened] == [None, "wandb-run", None]
    first, second, third = stand_ins["mlflow"].opened
    assert first == third == {"run_name": "/".join(tmp_path.parts[-3:])} and second == {"run_id": "mlflow-run"}
    assert json.loads((tmp_path / RUNS_FILE).read_text()) == {"wandb": "wandb-run", "mlflow": "mlflow-run"}
    assert stand_ins["wandb"].logged == [(3, {"step/epoch": 0, "step/loss": 1.5})] * 3


def test_a_failing_one_is_told_of_once_and_left(
    stand_ins: dict[str, StandIn], tmp_path: Path, monkeypatch, capsys
) -> None:
    def refuse(values: dict) -> None:
        raise ConnectionError("no way\nthere")

    monkeypatch.setattr(stand_ins["wandb"], "log", refuse)
    records = open_trackers("wandb,mlflow", tmp_path, {}, resume=False)
    for _ in range(2):
        for record in records:
            record(STEP)
    assert capsys.readouterr().err == "warning: --report_to wandb takes no more curves of this run: no way there\n"
    assert len(stand_ins["mlflow"].logged) == 2
    monkeypatch.setattr(stand_ins["wandb"], "init", lambda **_: refuse({}))
    with pytest.raises(UserError, match="--report_to wandb: no way there; log in there, or leave it out"):
        open_trackers("wandb", tmp_path, {}, resume=False)


def test_what_is_refused_before_anything_is_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)  # as where it is not installed
    base, rows = save_base(tmp_path / "base"), save_rows(tmp_path)
    missing = call_script(main_new.main, *main_command(base, rows, tmp_path / "run", report_to="mlflow"))
    assert_one_line_error(missing, "--report_to mlflow", "pip install mlflow")
    unknown = call_script(main_new.main, *main_command(base, rows, tmp_path / "run", report_to="wandb,comet"))
    assert_one_line_error(unknown, "report_to", "tensorboard wandb mlflow")
    check_trackers("none")
    assert open_trackers("none", tmp_path / "run", {}, resume=False) == [] and not (tmp_path / "run").exists()


def test_curves_go_on_where_they_were_though_the_clock_was_set_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TensorBoard reads the files of a folder in the order of their names, and what starts hides what comes after."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for now, steps in ((2_000, (1, 2, 3)), (1_000, (3, 4))):
        monkeypatch.setattr("training.trackers.time.time_ns", lambda now=now: now)
        (record,) = open_trackers("tensorboard", tmp_path, {}, resume=True)
        for step in steps:
            record({"kind": "step", "step": step, "loss": float(now)})
    shown = EventAccumulator(str(tmp_path / "tensorboard")).Reload().Scalars("step/loss")
    assert [(one.step, one.value) for one in shown] == [(1, 2000), (2, 2000), (3, 1000), (4, 1000)]


def test_a_step_that_was_made_before_it_was_scored_stays_a_point_of_its_curve(tmp_path: Path) -> None:
    """A run that is stopped in a scoring goes on with it: the first that it tells is of a step that was told before."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for kinds in (("step 1", "step 2"), ("epoch 2", "step 3")):
        log = RunLog(tmp_path, open_trackers("tensorboard", tmp_path, {}, resume=True))
        for kind, step in map(str.split, kinds):
            log.record({"kind": kind, "step": int(step), "loss": 10.0 * int(step)})
    shown = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    curves = {kind: [(one.step, one.value) for one in shown.Scalars(f"{kind}/loss")] for kind in ("step", "epoch")}
    assert curves == {"step": [(1, 10), (2, 20), (3, 30)], "epoch": [(2, 20)]}
