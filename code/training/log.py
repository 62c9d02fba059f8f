"""What a run tells while it goes on: log.jsonl, and the same numbers as TensorBoard events.

Every line is written when the call returns: nothing is lost to SIGKILL, and a full disk is met in the loop.
TensorBoard's own writer works in a thread, where neither holds. A power cut takes no line of before the last state.
"""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from basics.errors import full_disk_named
from basics.files import make_folder, sync_file, sync_folder, write_atomically

LOG_FILE = "log.jsonl"
EVENTS_FOLDER = "tensorboard"
NO_CURVES = frozenset({"kind", "step"})


class RunLog:
    """Appends records to the log and the events of a run in `folder`; OSError names the file.

    A record has a `kind`, the `step` it was made at, and numbers. The first one after a start hides the events
    that an earlier start has left from that step on.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        # TensorBoard reads the files of a folder in the order of their names.
        name = f"events.out.tfevents.{time.time_ns()}.{os.getpid()}"
        self.events = folder / EVENTS_FOLDER / name

    def record(self, values: dict[str, Any]) -> None:
        """Writes one line and one event a number; ValueError for one that is not finite, which JSON cannot hold."""
        append(self.folder / LOG_FILE, (json.dumps(values, allow_nan=False) + "\n").encode())
        if not self.events.exists():
            append(self.events, _start_events(values["step"]))
        append(self.events, _scalar_event(values))


def append(path: Path, data: bytes) -> None:
    """Adds bytes to a file, which is made with its folder when it is not there."""
    make_folder(path.parent)
    with full_disk_named(path), open(path, "ab") as stream:
        stream.write(data)


def sync_log(folder: Path) -> None:
    """Returns once all lines of the log are on the disk."""
    if (folder / LOG_FILE).exists():
        sync_file(folder / LOG_FILE)
        sync_folder(folder)


def keep_lines(path: Path, keep: Callable[[dict[str, Any]], bool]) -> None:
    """Drops the lines of a log that `keep` refuses, and a last one that was not written whole."""
    if path.exists():
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        whole = [line for line in lines if line.endswith("\n")]
        write_atomically(path, "".join(line for line in whole if keep(json.loads(line))))


def _start_events(step: int) -> bytes:
    """The version of the format, and the step from which on earlier files no longer count."""
    from tensorboard.compat.proto.event_pb2 import Event, SessionLog

    start = SessionLog(status=SessionLog.START)
    first = Event(wall_time=time.time(), file_version="brain.Event:2")
    return _framed(first) + _framed(Event(wall_time=time.time(), step=step, session_log=start))


def _scalar_event(values: dict[str, Any]) -> bytes:
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary

    numbers = {name: value for name, value in values.items() if isinstance(value, int | float)}
    curves = [
        Summary.Value(tag=f"{values['kind']}/{name}", simple_value=value)
        for name, value in numbers.items()
        if name not in NO_CURVES
    ]
    return _framed(Event(wall_time=time.time(), step=values["step"], summary=Summary(value=curves)))


def _framed(event) -> bytes:
    """An event as TensorBoard stores it: length, data, and checksums of both."""
    from io import BytesIO

    from tensorboard.summary.writer.record_writer import RecordWriter

    stream = BytesIO()
    RecordWriter(stream).write(event.SerializeToString())
    return stream.getvalue()
