"""log.jsonl, which grows while a run goes on, and hands its records to the trackers of --report_to.

Every line is written when the call returns, so that nothing is lost to SIGKILL, and a full disk is an error of the
training loop. A power cut loses no line from before the last saved state.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from basics.errors import UserError, disk_named
from basics.files import make_folder, sync_file, sync_folder, write_atomically
from basics.json_files import parse_json

LOG_FILE = "log.jsonl"


class RunLog:
    """Appends records to the log of a run in `folder`, and to its reports; OSError names the file.

    A record has a `kind`, the `step` it was made at, and numbers. reports: from `open_trackers`.
    """

    def __init__(self, folder: Path, reports: Sequence[Callable[[Mapping[str, Any]], None]] = ()) -> None:
        self.folder, self.reports = folder, reports

    def record(self, values: dict[str, Any]) -> None:
        """Writes one line; ValueError for a number that is not finite, which JSON cannot hold."""
        append(self.folder / LOG_FILE, (json.dumps(values, allow_nan=False) + "\n").encode())
        for report in self.reports:
            report(values)


def append(path: Path, data: bytes) -> None:
    """Appends bytes to a file; the file and its folder are made where they are missing."""
    make_folder(path.parent)
    with disk_named(path), open(path, "ab") as stream:
        stream.write(data)


def sync_log(folder: Path) -> None:
    """Returns once all lines of the log are on the disk."""
    if (folder / LOG_FILE).exists():
        sync_file(folder / LOG_FILE)
        sync_folder(folder)


def read_records(path: Path) -> list[dict[str, Any]]:
    """The records of a log, without a last one that is incomplete; none where there is no file.

    Raises:
        UserError: a complete line is no record.
    """
    lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    whole = (line for line in lines if line.endswith(b"\n"))
    return [_parse_record(path, number, line) for number, line in enumerate(whole, start=1)]


def keep_records(path: Path, keep: Callable[[dict[str, Any]], bool]) -> None:
    """Rewrites a log with only the records that `keep` accepts, without an incomplete last one; see `read_records`."""
    if path.exists():
        kept = (json.dumps(record, allow_nan=False) + "\n" for record in read_records(path) if keep(record))
        write_atomically(path, "".join(kept))


def _parse_record(path: Path, number: int, line: bytes) -> dict[str, Any]:
    try:
        record = parse_json(line)
        if (
            not isinstance(record, dict)
            or type(record.get("step")) is not int
            or not isinstance(record.get("kind"), str)
        ):
            raise ValueError("not an object with a kind and a step")
        json.dumps(record, allow_nan=False)
    except ValueError as error:
        raise UserError(
            f"{path} line {number}: no line that training wrote ({error}); take it out, or remove the file"
        ) from None
    return record
