"""What a run tells while it goes on: log.jsonl, and the same numbers wherever else they are reported to.

Every line is written when the call returns: nothing is lost to SIGKILL, and a full disk is met in the loop. A power cut
takes no line of before the last state.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from basics.errors import disk_named
from basics.files import make_folder, sync_file, sync_folder, write_atomically

LOG_FILE = "log.jsonl"


class RunLog:
    """Appends records to the log of a run in `folder`, and hands them on; OSError names the file.

    A record has a `kind`, the `step` it was made at, and numbers. reports: of `open_trackers`.
    """

    def __init__(self, folder: Path, reports: Sequence[Callable[[Mapping[str, Any]], None]] = ()) -> None:
        self.folder, self.reports = folder, reports

    def record(self, values: dict[str, Any]) -> None:
        """Writes one line; ValueError for a number that is not finite, which JSON cannot hold."""
        append(self.folder / LOG_FILE, (json.dumps(values, allow_nan=False) + "\n").encode())
        for report in self.reports:
            report(values)


def append(path: Path, data: bytes) -> None:
    """Adds bytes to a file, which is made with its folder when it is not there."""
    make_folder(path.parent)
    with disk_named(path), open(path, "ab") as stream:
        stream.write(data)


def sync_log(folder: Path) -> None:
    """Returns once all lines of the log are on the disk."""
    if (folder / LOG_FILE).exists():
        sync_file(folder / LOG_FILE)
        sync_folder(folder)


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The lines of a log, none where there is none, without a last one that was not written whole."""
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def keep_lines(path: Path, keep: Callable[[dict[str, Any]], bool]) -> None:
    """Drops the lines of a log that `keep` refuses, and a last one that was not written whole."""
    if path.exists():
        kept = (json.dumps(line, allow_nan=False) + "\n" for line in read_lines(path) if keep(line))
        write_atomically(path, "".join(kept))
