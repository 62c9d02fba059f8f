"""The numbers of a run as TensorBoard events, on the disk when the call returns: its own writer works in a thread."""

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from training.log import append

EVENTS_FOLDER = "tensorboard"
NO_CURVES = frozenset({"kind", "step"})


class EventFile:
    """Appends records to a file of events; the first one hides what an earlier start has left from that step on."""

    def __init__(self, folder: Path) -> None:
        # TensorBoard reads the files of a folder in the order of their names.
        self.path = folder / EVENTS_FOLDER / f"events.out.tfevents.{time.time_ns()}.{os.getpid()}"

    def record(self, values: Mapping[str, Any]) -> None:
        """Writes one event a number; OSError names the file."""
        if not self.path.exists():
            append(self.path, _start_events(values["step"]))
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

    curves = [
        Summary.Value(tag=f"{values['kind']}/{name}", simple_value=value)
        for name, value in values.items()
        if isinstance(value, int | float) and name not in NO_CURVES
    ]
    return _framed(Event(wall_time=time.time(), step=values["step"], summary=Summary(value=curves)))


def _framed(event) -> bytes:
    """An event as TensorBoard stores it: length, data, and checksums of both."""
    from io import BytesIO

    from tensorboard.summary.writer.record_writer import RecordWriter

    stream = BytesIO()
    RecordWriter(stream).write(event.SerializeToString())
    return stream.getvalue()
