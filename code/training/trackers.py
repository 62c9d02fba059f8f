"""The trackers of --report_to, which get the records of log.jsonl too: TensorBoard, Weights & Biases, MLflow.

Each is imported when it is asked for. When W&B or MLflow fails while a run goes on, one warning is printed and the
training goes on without it. A resumed run continues its runs there: `report_runs.json` beside the log has their names.
"""

import importlib
import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from basics.errors import UserError
from basics.files import write_atomically
from basics.json_files import read_json
from training.log import LOG_FILE, append, read_records

EVENTS_FOLDER = "tensorboard"
EVENTS = "events.out.tfevents"
NO_CURVES = frozenset({"kind", "step"})
NONE, PROJECT, RUNS_FILE = "none", "instructerc", "report_runs.json"

Record = Callable[[Mapping[str, Any]], None]
# (folder of the run, name of the run in the tracker or None, settings) -> (function that takes a record, that name)
Opener = Callable[[Path, str | None, Mapping[str, Any]], tuple[Record, str | None]]


def open_tensorboard(folder: Path, known: str | None, settings: Mapping[str, Any]) -> tuple[Record, None]:
    """Events in the run's folder; a resumed run hides those of steps that it repeats."""
    return EventFile(folder).record, None


def open_wandb(folder: Path, known: str | None, settings: Mapping[str, Any]) -> tuple[Record, str]:
    """A run of the project `instructerc`; WANDB_PROJECT, WANDB_MODE and the like are respected."""
    import wandb

    place = {"project": os.environ.get("WANDB_PROJECT", PROJECT), "name": _shown_name(folder), "dir": str(folder)}
    run = wandb.init(**place, id=known, resume="allow" if known else None, config=dict(settings))
    run.define_metric("*", step_metric="step")  # W&B's own step never falls, but a resumed run goes back
    return lambda values: run.log(numbers_of(values) | {"step": values["step"]}), run.id


def open_mlflow(folder: Path, known: str | None, settings: Mapping[str, Any]) -> tuple[Record, str]:
    """A run of the experiment `instructerc`; MLFLOW_TRACKING_URI, MLFLOW_EXPERIMENT_NAME and the like are respected."""
    import mlflow

    mlflow.set_experiment(os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT))
    run = mlflow.start_run(run_id=known) if known else mlflow.start_run(run_name=_shown_name(folder))
    if not known:
        mlflow.log_params(dict(settings))
    return lambda values: mlflow.log_metrics(numbers_of(values), step=values["step"]), run.info.run_id


OPENERS: Mapping[str, Opener] = {"tensorboard": open_tensorboard, "wandb": open_wandb, "mlflow": open_mlflow}


def numbers_of(values: Mapping[str, Any]) -> dict[str, float]:
    """'<kind>/<name>' -> number, for each number in a record but its step."""
    return {
        f"{values['kind']}/{name}": value
        for name, value in values.items()
        if isinstance(value, int | float) and name not in NO_CURVES
    }


def check_trackers(report_to: str) -> None:
    """UserError when a package is missing that --report_to asks for."""
    for name in _names_in(report_to):
        try:
            importlib.import_module(name)
        except ImportError:
            raise UserError(
                f"--report_to {name}: its package is not installed here: `pip install {name}`, or leave it out"
            ) from None


def _runs_there(path: Path) -> Mapping[str, str]:
    known = read_json(path)
    if not isinstance(known, dict) or not all(isinstance(run, str) for run in known.values()):
        raise UserError(f"{path}: holds no names of runs, allowed is the file that training wrote")
    return known


def open_trackers(report_to: str, folder: Path, settings: Mapping[str, Any], resume: bool) -> list[Record]:
    """A function that takes records for each name in `report_to`. settings: sent to trackers that show them.

    Raises:
        UserError: a tracker cannot be opened, or report_runs.json is not ours.
    """
    path = folder / RUNS_FILE
    known = _runs_there(path) if resume and path.is_file() else {}
    records, runs = [], {}
    for name in _names_in(report_to):
        try:
            record, run = OPENERS[name](folder, known.get(name), settings)
        except Exception as error:  # of many kinds: no account, no server, no network
            reason = " ".join(str(error).split())[:200]
            raise UserError(f"--report_to {name}: {reason}; log in there, or leave it out") from error
        runs |= {name: run} if run else {}
        # TensorBoard's events are files of the run, as its log is.
        records.append(record if name == "tensorboard" else _kept_from_harm(name, record))
    if runs:
        write_atomically(path, json.dumps(runs, indent=2) + "\n")
    return records


def _names_in(report_to: str) -> list[str]:
    return [name for name in report_to.split(",") if name != NONE]


def _shown_name(folder: Path) -> str:
    """The last parts of the folder: base, dataset, kind of rows."""
    return "/".join(folder.resolve().parts[-3:])


def _kept_from_harm(name: str, record: Record) -> Record:
    """A function that hands records on until one fails; that is one warning, and later records are dropped."""
    failed = False

    def take(values: Mapping[str, Any]) -> None:
        nonlocal failed
        if failed:
            return
        try:
            record(values)
        except Exception as error:
            failed = True
            reason = " ".join(str(error).split())[:200]
            print(f"warning: --report_to {name} takes no more curves of this run: {reason}", file=sys.stderr)

    return take


class EventFile:
    """Appends records to a file of TensorBoard's events; written when the call returns, unlike by its own writer.

    The first record hides what earlier starts of the run have left from its step on; records of that step that stay
    in the log, such as of a step that was scored only after resuming, are written again.
    """

    def __init__(self, folder: Path) -> None:
        # TensorBoard reads files in the order of their names, so numbers must grow even if the clock was set back.
        earlier = (path.name.split(".")[3] for path in (folder / EVENTS_FOLDER).glob(f"{EVENTS}.*.*"))
        number = max([time.time_ns(), *(int(one) + 1 for one in earlier if one.isdecimal())])
        self.path, self.log = folder / EVENTS_FOLDER / f"{EVENTS}.{number}.{os.getpid()}", folder / LOG_FILE

    def record(self, values: Mapping[str, Any]) -> None:
        """Appends one event with all numbers of a record; OSError names the file."""
        if not self.path.exists():
            append(self.path, _start_events(values["step"]))
            for line in read_records(self.log):
                if line["step"] == values["step"] and line != values:
                    append(self.path, _scalar_event(line))
        append(self.path, _scalar_event(values))


def _start_events(step: int) -> bytes:
    """The version of the format, and the step from which on earlier files no longer count."""
    from tensorboard.compat.proto.event_pb2 import Event, SessionLog

    start = SessionLog(status=SessionLog.START)
    first = Event(wall_time=time.time(), file_version="brain.Event:2")
    return _framed(first) + _framed(Event(wall_time=time.time(), step=step, session_log=start))


def _scalar_event(values: Mapping[str, Any]) -> bytes:
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary

    curves = [Summary.Value(tag=name, simple_value=value) for name, value in numbers_of(values).items()]
    return _framed(Event(wall_time=time.time(), step=values["step"], summary=Summary(value=curves)))


def _framed(event) -> bytes:
    """An event as TensorBoard stores it: length, data, and checksums of both."""
    from io import BytesIO

    from tensorboard.summary.writer.record_writer import RecordWriter

    stream = BytesIO()
    RecordWriter(stream).write(event.SerializeToString())
    return stream.getvalue()
