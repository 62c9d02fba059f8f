"""Reads one's own dialogues from files: finds the form of a file, and yields its turns.

Only a turn of a file is in memory at a time (of JSON a value), and the names of a dialogue's speakers, so its size does
not matter. The forms and their readers are in readers/forms.py; demo/FORMATS.md is made from that table.
"""

import io
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from basics.errors import UserError
from basics.words import counted
from dialogue_files.no_text import find_other
from dialogue_files.readers.encodings import as_utf8
from dialogue_files.readers.forms import FORMATS, NOT_READ, TEXT
from dialogue_files.readers.head import Head
from dialogue_files.report import Remark, Report
from dialogue_files.turns import LineError, SpokenTurn, number_turns

# Suffix of files that are no text -> what to do with one that is named as text.
WAYS_OUT = NOT_READ | {".json": "put it into a file .json, or .jsonl where each line is an object"}


def find_format(path: Path, wanted: str | None = None, encoding: str | None = None) -> str:
    """The name of a file's form: `wanted`, if given, else by its suffix and its beginning.

    UserError: there is none, or what is named as text is none.

    encoding: of the file; None: as `as_utf8` finds it.
    """
    if wanted:
        return wanted
    path = Path(path)
    suffix = path.suffix.lower()
    head = Head(path, encoding)
    found = _recognise(suffix, head)
    if found:
        if suffix in TEXT and (fault := _no_text(head, found)):
            raise UserError(f"{path}: {fault}; --input_format text reads it as text all the same")
        return found
    if path.is_dir():
        raise UserError(f"{path} is a folder, allowed is a file")
    if suffix in NOT_READ:
        raise UserError(f"{path}: {suffix} is not read: {NOT_READ[suffix]}")
    endings = dict.fromkeys(suffix for one in FORMATS.values() if not one.recognise for suffix in one.suffixes[:1])
    endings |= dict.fromkeys(suffix for one in FORMATS.values() for suffix in one.suffixes)
    raise UserError(
        f"{path}: the name says nothing about the format, allowed are {', '.join(endings)}, or --input_format"
    )


def find_text_form(text: str) -> str:
    """The name of the form of a text that was typed or pasted: one of those for .txt. UserError: it is no text."""
    head = Head.of_text(text)
    found = _recognise(".txt", head)
    if fault := _no_text(head, found):
        raise UserError(fault)
    return found


def _no_text(head: Head, name: str) -> str:
    """What is wrong with a text that is none, and what to do; empty: nothing. name: of its form, if it is text."""
    other = find_other(head.lines, name == "text")
    return f"it holds {other[0]}, allowed is text of 'Name: utterance' lines: {WAYS_OUT[other[1]]}" if other else ""


def _recognise(suffix: str, head: Head) -> str | None:
    """The first form with this suffix that recognises the beginning; None: no form has the suffix."""
    forms = ((name, one) for name, one in FORMATS.items() if suffix in one.suffixes)
    return next((name for name, one in forms if one.recognise is None or one.recognise(head)), None)


def read_turns(
    path: Path, name: str, encoding: str | None = None, report: Report | None = None
) -> Iterator[SpokenTurn]:
    """The turns of a file. name: of its form. encoding: see `find_format`. report: collects remarks and counts.

    Raises:
        UserError: the file cannot be opened or read, or a line of it is bad (file, form and line are named).
    """
    form, report = FORMATS[name], Report() if report is None else report
    try:
        with open(path, "rb") as opened:
            stream, remarks = as_utf8(opened, not form.is_json, encoding)
            for remark in remarks:
                report.note(remark)
            others = _others(path, name)
            if others:
                report.note(Remark(f"read as {name} ({form.made_by}); otherwise: --input_format {others}"))
            yield from number_turns(form.read(stream), report)
    except LineError as error:
        raise UserError(f"{path}, read as {name}, {error}{_way_out(path, name)}") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None


def _others(path: Path, name: str) -> str:
    """The form that takes any file of this suffix, where `name` is one that was recognised; else empty."""
    suffix = Path(path).suffix.lower()
    form = FORMATS[name]
    if form.recognise is None or suffix not in form.suffixes:
        return ""
    return next(other for other, one in FORMATS.items() if one.recognise is None and suffix in one.suffixes)


def _way_out(path: Path, name: str) -> str:
    others = _others(path, name)
    return f"; or read it as another form: --input_format {others}" if others else ""


def read_text(text: str, report: Report | None = None) -> list[SpokenTurn]:
    """The turns of a text that was typed or pasted; UserError names a bad line."""
    try:
        form = FORMATS[find_text_form(text)]
        return list(number_turns(form.read(io.BytesIO(text.encode("utf-8", "replace"))), report))
    except LineError as error:
        raise UserError(str(error)) from None


@dataclass(frozen=True)
class FileCounts:
    """Size of a file of dialogues, and the report on it. speakers: of the dialogue that has most."""

    dialogues: int
    turns: int
    speakers: int
    report: Report = field(default_factory=Report)

    @property
    def told(self) -> str:
        """'12 utterances, 1 dialogue'."""
        return f"{counted(self.turns, 'utterance')}, {counted(self.dialogues, 'dialogue')}"


def count_turns(path: Path, name: str, encoding: str | None = None) -> FileCounts:
    """Reads a file from end to end and counts, so that a bad line is found before any time is spent on prediction.

    encoding: see `find_format`.

    Raises:
        UserError: see `read_turns`; or there is no utterance, or the file can be read only once.
    """
    path = Path(path)
    if path.exists() and not path.is_dir() and not path.is_file():
        raise UserError(f"{path}: is no regular file, and it is read twice: write it to a file first")
    turns = speakers = dialogues = 0
    report = Report()
    for one in read_turns(path, name, encoding, report):
        turns, speakers, dialogues = turns + 1, max(speakers, one.number + 1), dialogues + (one.turn == 0)
    if not turns:
        left_out = f" (left out: {report.told_left_out()})" if report.left_out else ""
        told = f"{path}: holds no utterance{left_out}, allowed is {name}: {FORMATS[name].meaning}"
        raise UserError(f"{told}{_way_out(path, name)}")
    return FileCounts(dialogues, turns, speakers, report)


def warn_of_speakers(speakers: int, known: int, kind: str, offset: int = 0, prefix: str = "") -> None:
    """Warns on stderr when a dialogue has more speakers than training prompts can have had; not for plain prompts.

    offset: the number of the first speaker in prompts. prefix: of the line.
    """
    if kind != "plain" and speakers > known:
        print(
            f"{prefix}warning: a dialogue has {speakers} speakers, training knew {known} at most: those that come "
            f"later are Speaker_{known + offset} and so on to the model, names that it has never seen",
            file=sys.stderr,
        )
