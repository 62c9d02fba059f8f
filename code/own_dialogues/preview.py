"""What would be judged, shown before any model is asked: the turns, who speaks how often, what was left out."""

import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from basics.json_files import json_line
from dialogue_files.reading import FileCounts, read_turns
from dialogue_files.turns import SpokenTurn
from own_dialogues.writing import turn_record


def render_turns(turns: Iterable[SpokenTurn], ascii_only: bool = False, file: str = "") -> Iterator[str]:
    """A line of JSON for each turn, as far as those of the answers are known before any model is asked.

    file: it begins with this name of the input; empty: it tells of none.
    """
    named = {"input_file": file} if file else {}
    for one in turns:
        record = named | turn_record(one)
        yield (json.dumps(record) if ascii_only else json_line(record)) + "\n"


def summary_lines(counts: FileCounts) -> Iterator[str]:
    """How much there is, each speaker's turns."""
    yield counts.told
    yield from counts.report.speaker_lines()


def print_preview(path: Path, form: str, encoding: str | None, counts: FileCounts, prefix: str = "") -> None:
    """The turns to stdout, who speaks to stderr. encoding: see `find_format`.

    prefix: of each line on stderr, where there are several files; the turns then tell theirs too.

    Raises:
        UserError: see `read_turns`.
    """
    ascii_only = "utf" not in (sys.stdout.encoding or "utf-8").lower()
    for line in render_turns(read_turns(path, form, encoding), ascii_only, str(path) if prefix else ""):
        sys.stdout.write(line)
    sys.stdout.flush()
    for line in summary_lines(counts):
        print(f"{prefix}{line}", file=sys.stderr)
