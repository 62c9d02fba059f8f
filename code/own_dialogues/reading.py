"""One's own dialogues from files, turn by turn: the table of formats, and who reads which.

A turn is all that is held of a file (of JSON a value, of a dialogue its speakers' names), so its size does not matter.
"""

import io
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import BinaryIO

from basics.errors import UserError
from own_dialogues.captions import read_captions
from own_dialogues.json_dialogues import read_json, read_json_lines
from own_dialogues.tables import read_table
from own_dialogues.turns import LONGEST_NAME, LineError, ReadTurn, SpokenTurn, number_turns, read_lines

_NAMED_LINE = re.compile(rf"([^\s:：][^:：]{{0,{LONGEST_NAME - 1}}}?)\s*[:：]\s*(\S.*)", re.DOTALL)


def read_plain_text(stream: BinaryIO) -> Iterator[ReadTurn]:
    """Turns of `Name: utterance` lines; blank lines stand between dialogues."""
    part, inside = 0, False
    for number, line in read_lines(stream):
        if not line.strip():
            part, inside = part + inside, False
            continue
        named = _NAMED_LINE.fullmatch(line.strip())
        if not named:
            raise LineError(
                number,
                f"{line.strip()[:60]!r} is no turn, allowed is 'Name: utterance' (a name has at most {LONGEST_NAME} "
                "characters and no colon), with a blank line between dialogues",
            )
        inside = True
        yield ReadTurn(part, None, named[1], named[2], number)


@dataclass(frozen=True)
class DialogueFormat:
    """A way to write dialogues down: how its files end, what is in them, who reads them."""

    suffixes: tuple[str, ...]
    meaning: str
    read: Callable[[BinaryIO], Iterator[ReadTurn]]


FORMATS: Mapping[str, DialogueFormat] = MappingProxyType(
    {
        "text": DialogueFormat((".txt",), "'Name: utterance' lines, a blank line between dialogues", read_plain_text),
        "csv": DialogueFormat((".csv",), "columns dialogue, speaker, utterance", partial(read_table, delimiter=",")),
        "tsv": DialogueFormat((".tsv",), "the same with tabs", partial(read_table, delimiter="\t")),
        "json": DialogueFormat((".json",), "utterances or dialogues of speaker and text", read_json),
        "jsonl": DialogueFormat((".jsonl", ".ndjson"), "an utterance or a dialogue on each line", read_json_lines),
        "vtt": DialogueFormat((".vtt",), "WebVTT with <v Name> or Name:", read_captions),
        "srt": DialogueFormat((".srt",), "SubRip with Name:", read_captions),
    }
)
# In these a line is a turn, or a dialogue, and can be read before the next one is there.
LIVE_FORMATS = ("text", "jsonl")


def find_format(path: Path, wanted: str | None = None) -> str:
    """The format that is asked for, else the one that the file's name ends with; UserError: there is none."""
    if wanted:
        return wanted
    found = [name for name, one in FORMATS.items() if Path(path).suffix.lower() in one.suffixes]
    if not found:
        endings = ", ".join(suffix for one in FORMATS.values() for suffix in one.suffixes)
        raise UserError(f"{path}: the name says nothing about the format, allowed are {endings}, or --input_format")
    return found[0]


def read_turns(path: Path, name: str) -> Iterator[SpokenTurn]:
    """The turns of a file of the format `name`.

    Raises:
        UserError: the file cannot be opened or read, or a line of it is bad (file and line are named).
    """
    try:
        with open(path, "rb") as stream:
            yield from number_turns(FORMATS[name].read(stream))
    except LineError as error:
        raise UserError(f"{path} {error}") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None


def read_text(text: str) -> list[SpokenTurn]:
    """The turns of plain text that somebody has typed; UserError names the line of a bad one."""
    try:
        return list(number_turns(read_plain_text(io.BytesIO(text.encode("utf-8", "replace")))))
    except LineError as error:
        raise UserError(str(error)) from None


@dataclass(frozen=True)
class FileCounts:
    """Size of a file of dialogues. speakers: the most of any dialogue."""

    dialogues: int
    turns: int
    speakers: int


def count_turns(path: Path, name: str) -> FileCounts:
    """Read a file once from end to end, so that a bad line is found before hours are spent on those before it.

    Raises:
        UserError: see `read_turns`; or there is no utterance, or the file can be read only once.
    """
    path = Path(path)
    if path.exists() and not path.is_dir() and not path.is_file():
        raise UserError(f"{path}: is no regular file, and it is read twice: write it to a file first")
    turns = speakers = dialogues = 0
    for one in read_turns(path, name):
        turns, speakers, dialogues = turns + 1, max(speakers, one.number + 1), one.part + 1
    if not turns:
        raise UserError(f"{path}: holds no utterance, allowed is {name}: {FORMATS[name].meaning}")
    return FileCounts(dialogues, turns, speakers)


def warn_of_speakers(speakers: int, known: int, kind: str) -> None:
    """Say so when a dialogue has more speakers than training can have shown; plain prompts show none."""
    if kind != "plain" and speakers > known:
        print(
            f"warning: a dialogue has {speakers} speakers, training knew {known} at most: those that come later "
            f"are Speaker_{known} and so on to the model, names that it has never seen",
            file=sys.stderr,
        )
