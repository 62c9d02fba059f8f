"""One's own dialogues as a stream of turns, whatever file they come from: cleaned, checked, speakers numbered."""

import html
import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

from dialogue_files.names import UNSEEN, name_key
from dialogue_files.report import EMPTY, Header, LeftOut, Remark, Report

# What a turn may be at most; a file beyond these is hardly one of dialogues, and memory stays bounded.
LONGEST_LINE = 8 << 20  # bytes
LONGEST_NAME = 100  # characters, of a speaker or a dialogue
LONGEST_UTTERANCE = 10_000  # characters
MOST_SPEAKERS = 1_000  # of a dialogue
MOST_MARKS = 1_000  # characters of a name with what shows nothing
NAMES_REMEMBERED = 65_536  # dialogues among which a name may not come back

UTF8_ONLY = (
    "allowed is UTF-8: save it so ('CSV UTF-8' in a spreadsheet, 'encoding' in an editor's 'save as'), or say "
    "--encoding cp1252, or what else it is in"
)
_LONG_REFERENCE = re.compile(r"&#[0-9]{8,};?")
_LINE_BREAKS = re.compile(r"[\r\n\t\v\f]+")


class LineError(Exception):
    """A line (from 1) that cannot be read, and why; whoever knows the file's name makes a UserError of it."""

    def __init__(self, line: int, problem: str) -> None:
        super().__init__(f"line {line}: {problem}")
        self.line, self.problem = line, problem


@dataclass(frozen=True, slots=True)
class ReadTurn:
    """A turn as a reader finds it.

    part: counts the dialogues of a file from 0. dialogue: its name, None where the file gives none.
    line: where the turn ends in the file, from 1; 0: it comes from no file. emotion: its label in a corpus, None where
    the file has none. turn: the column or key that counts turns, and what stands there; None: there is none.
    """

    part: int
    dialogue: str | None
    speaker: str
    text: str
    line: int = 0
    emotion: str | None = None
    turn: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class SpokenTurn:
    """A turn that can be asked about.

    dialogue: its name, or its number from 1. turn: from 0. number: the speaker's, from 0 in order of appearance
    in the dialogue, as the corpora number them.
    """

    part: int
    dialogue: str
    turn: int
    speaker: str
    number: int
    text: str
    line: int = 0
    emotion: str | None = None


Read = ReadTurn | LeftOut | Remark | Header  # what a reader yields: turns, and what there is to say


def read_lines(stream: BinaryIO) -> Iterator[tuple[int, str]]:
    r"""(number from 1, line with its end) of UTF-8 text; only \n ends a line. LineError for what is no such text."""
    number = 0
    while line := stream.readline(LONGEST_LINE + 1):
        number += 1
        if len(line) > LONGEST_LINE:
            raise LineError(number, f"longer than {LONGEST_LINE:,} bytes, allowed are shorter lines")
        if b"\0" in line:
            raise LineError(number, f"not UTF-8 text (zero bytes: UTF-16 without its mark, or no text), {UTF8_ONLY}")
        try:
            yield number, line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise LineError(number, f"not UTF-8 text ({error.reason}), {UTF8_ONLY}") from None


def number_turns(items: Iterable[Read], report: Report | None = None) -> Iterator[SpokenTurn]:
    """The turns with clean names and texts, turns and speakers counted in each dialogue; the rest goes to the report.

    A name is one person's in whatever Unicode form and case, and is shown as the file first has it.

    Raises:
        LineError: a name is empty, a name or text is too long or no text; a dialogue has too many speakers; a
            dialogue's turns do not stand together.
    """
    report = Report() if report is None else report
    part, dialogue, place = -1, "", 0
    numbers: dict[str, tuple[int, str]] = {}
    begun: dict[str, None] = {}
    for one in items:
        if not isinstance(one, ReadTurn) or not one.text.strip():
            report.note(LeftOut(EMPTY, one.line) if isinstance(one, ReadTurn) else one)
            continue
        if one.part != part:
            part, place, numbers = one.part, 0, {}
            told = str(part + 1) if one.dialogue is None else one.dialogue
            dialogue = clean(told, "dialogue", LONGEST_NAME, one.line)
            _begin(dialogue, begun, one.line)
        speaker = clean(one.speaker, "speaker", LONGEST_NAME, one.line)
        text = clean(one.text, "utterance", LONGEST_UTTERANCE, one.line)
        number, shown = numbers.setdefault(name_key(speaker), (len(numbers), report.spelling(speaker)))
        if number >= MOST_SPEAKERS:
            raise LineError(one.line, f"speaker {number + 1} of a dialogue, allowed are {MOST_SPEAKERS:,}")
        if shown != speaker:
            report.note(Remark(f"{speaker!r} is taken for {shown!r}"))
        report.speak(shown, one.line)
        if one.turn:
            report.order.follow(part, *one.turn, one.line)
        yield SpokenTurn(part, dialogue, place, shown, number, text, one.line, one.emotion)
        place += 1


def _begin(dialogue: str, begun: dict[str, None], line: int) -> None:
    if dialogue in begun:
        raise LineError(line, f"dialogue {dialogue!r} begins a second time, allowed are turns that stand together")
    begun[dialogue] = None
    if len(begun) > NAMES_REMEMBERED:
        del begun[next(iter(begun))]


def clean(text: str, what: str, longest: int, line: int) -> str:
    """Outer blanks away, line breaks as one blank, names in NFC and without marks that show nothing.

    Raises:
        LineError: nothing is left, or too much, or half a surrogate pair.
    """
    cleaned = _LINE_BREAKS.sub(" ", text.strip())
    # To put the marks of one letter in order takes a time that grows with the square of their number.
    if what == "speaker" and len(cleaned) <= MOST_MARKS:
        cleaned = unicodedata.normalize("NFC", UNSEEN.sub("", cleaned)).strip()
    if not cleaned:
        raise LineError(line, f"the {what} is empty, allowed is a text")
    if len(cleaned) > longest:
        raise LineError(line, f"the {what} has {len(cleaned):,} characters, allowed are {longest:,}")
    refuse_halves(cleaned, what, line)
    return cleaned


def refuse_halves(text: str, what: str, line: int) -> None:
    """LineError for half a surrogate pair, which nothing can write."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise LineError(line, f"the {what} holds half of a surrogate pair, allowed is Unicode text") from None


def unescape(text: str) -> str:
    """Text without the references of HTML; of a number that no character has, as long as it may be, a mark."""
    return html.unescape(_LONG_REFERENCE.sub("\N{REPLACEMENT CHARACTER}", text))
