"""What a visitor gives the page: a text, one more turn, a file, a dialogue of the file; each with its limit."""

import argparse
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from basics.errors import UserError
from dialogue_files.readers.encodings import check_encoding
from dialogue_files.reading import FORMATS, count_turns, find_format, find_text_form, read_text, read_turns
from dialogue_files.report import Report
from dialogue_files.turns import SpokenTurn
from own_dialogues.preview import summary_lines

MOST_CHARACTERS = 60_000
MOST_TURNS = 500
MOST_DIALOGUES = 200  # of a file, to choose from
LARGEST_FILE = "20mb"
MORE = "`python code/predict.py` takes files of any size"
HISTORIES = Path(__file__).with_name("histories.csv")


@dataclass(frozen=True)
class OpenedFile:
    """A file as it was read. told: what `predict.py --preview True` says of it. dialogues: (name, turns) of each.

    There are `count` dialogues, and the first `MOST_DIALOGUES` are told.
    """

    path: Path
    form: str
    encoding: str | None
    told: tuple[str, ...]
    dialogues: tuple[tuple[str, int], ...]
    count: int

    def read(self, part: int) -> list[SpokenTurn]:
        """The turns of the dialogue of that number, from 0, as its reader finds them.

        Raises:
            UserError: they are more than this page takes; the file cannot be read any longer.
        """
        with _named(self.path):
            turns = (one for one in read_turns(self.path, self.form, self.encoding) if one.part == part)
            return [replace(one, part=0) for one in _within_limits(turns)]


def open_file(path: Path, form: str | None = None, encoding: str | None = None) -> OpenedFile:
    """Read a file as predict.py does; form, encoding: what it is said to be, None: as its name and beginning tell.

    Raises:
        UserError: it cannot be read, or nobody says anything in it.
    """
    path = Path(path)
    with _named(path):
        found = find_format(path, form, encoding)
        counts = count_turns(path, found, encoding)
        sizes: dict[int, tuple[str, int]] = {}
        for one in read_turns(path, found, encoding):
            if one.part < MOST_DIALOGUES:
                sizes[one.part] = one.dialogue, one.turn + 1
    told = f"{path.name}, read as {found} ({FORMATS[found].made_by})"
    told = told, *summary_lines(counts), *counts.report.lines()
    return OpenedFile(path, found, encoding, told, tuple(sizes.values()), counts.dialogues)


def known_encoding(name: str) -> str | None:
    """An encoding as Python has it, None for an empty name; UserError: there is none of this name."""
    try:
        return check_encoding(name.strip()) if name.strip() else None
    except argparse.ArgumentTypeError as error:
        raise UserError(f"Encoding: {error}") from None


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Faults name the file as its owner does, not where it lies on the server."""
    try:
        yield
    except UserError as error:
        raise UserError(str(error).replace(str(path), path.name)) from None


def read_dialogue(text: str, report: Report | None = None) -> list[SpokenTurn]:
    """The one dialogue of a text: `Name: utterance` lines, blank ones do not count, or a pasted chat or script.

    Raises:
        UserError: it is empty or too long, or a line is no turn.
    """
    if len(text) > MOST_CHARACTERS:
        raise UserError(f"The dialogue has {len(text):,} characters, this page takes {MOST_CHARACTERS:,}; {MORE}.")
    lines = [line for line in text.split("\n") if line.strip()]
    if not lines:
        raise UserError("There is no dialogue yet: write lines like 'Ann: I passed!', open a file, or add a turn.")
    turns = read_text("\n".join(lines) if find_text_form(text) == "text" else text, report)
    if not turns:
        raise UserError("Nobody says anything in it: write lines like 'Ann: I passed!'.")
    return [replace(one, line=0) for one in _within_limits(turns)]


def _within_limits(turns: Iterable[SpokenTurn]) -> list[SpokenTurn]:
    """The turns, of which one more than are allowed are held at most; UserError: they are too many."""
    held = list(islice(turns, MOST_TURNS + 1))
    if len(held) > MOST_TURNS:
        raise UserError(f"The dialogue has more than {MOST_TURNS} turns, which this page takes; {MORE}.")
    return held


def as_text(turns: Sequence[SpokenTurn]) -> str:
    """Turns as lines to edit; a colon in a name would end it, and is left out."""
    return "\n".join(f"{' '.join(one.speaker.replace(':', ' ').split())}: {one.text}" for one in turns)


def add_turn(text: str, name: str, utterance: str) -> str:
    """The dialogue with one more turn; UserError when that turn cannot be one."""
    name, utterance = " ".join(name.split()), " ".join(utterance.split())
    if not name or not utterance or ":" in name:
        raise UserError("A turn needs a name without a colon, and what is said.")
    if find_text_form(text) != "text":  # of a pasted chat or script the turns go on as lines
        text = as_text(read_dialogue(text))
    longer = "\n".join([*filter(None, [text.rstrip()]), f"{name}: {utterance}"])
    read_dialogue(longer)
    return longer


def describe(report: Report) -> str:
    """Who speaks how often, what is left out: what is shown before the model is asked."""
    return "; ".join((*report.speaker_lines(), *report.lines()))


def read_histories() -> dict[str, str]:
    """Title -> dialogue, of pairs that end in the same words after different ones: what a click shows."""
    found: dict[str, list[SpokenTurn]] = {}
    for one in read_turns(HISTORIES, "csv"):
        found.setdefault(one.dialogue, []).append(one)
    return {title: as_text(turns) for title, turns in found.items()}
