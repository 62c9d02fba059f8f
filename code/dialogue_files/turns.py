"""Turns of one's own dialogues, from whatever file: names and texts are cleaned and checked, speakers numbered."""

import html
import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

from basics.files import is_unicode
from dialogue_files.names import UNSEEN, name_key
from dialogue_files.report import EMPTY, Header, LeftOut, Remark, Report, SplitSaid

# The limits of a turn: a file beyond them hardly holds dialogues, and memory stays bounded.
LONGEST_LINE = 8 << 20  # bytes
LONGEST_NAME = 100  # characters, of a speaker or a dialogue
LONGEST_UTTERANCE = 10_000  # characters
MOST_SPEAKERS = 1_000  # of a dialogue
MOST_MARKS = 1_000  # characters of a name, invisible ones and combining marks among them
# Letters of scripts that write no blanks between words: Thai, Lao, Burmese, Khmer, kana and Chinese characters.
WITHOUT_BLANKS = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
NAMES_REMEMBERED = 65_536  # the latest dialogues, whose names may not come back

UTF8 = "allowed is UTF-8"
AS_UTF8 = (
    ": save it so ('CSV UTF-8' in a spreadsheet, 'encoding' in an editor's 'save as'), or say --encoding cp1252, or "
    "what else it is in"
)
_LONG_REFERENCE = re.compile(r"&#[0-9]{8,};?")
_LINE_BREAKS = re.compile(r"[\r\n\t\v\f]+")


class LineError(Exception):
    """A line (from 1) cannot be read; becomes a UserError where the name of the file is known.

    problem: why, and what is allowed. in_files: advice that is appended, except for lines that come through a pipe.
    """

    def __init__(self, line: int, problem: str, in_files: str = "") -> None:
        super().__init__(f"line {line}: {problem}{in_files}")
        self.line, self.problem = line, problem


@dataclass(frozen=True, slots=True)
class ReadTurn:
    """A turn as a reader finds it.

    part: number of its dialogue in the file, from 0. dialogue: its name, None where the file gives none. line: where
    the turn ends in the file, from 1; 0: it comes from no file. emotion: its label, None where the file has none. turn:
    (column or key that counts turns, value there); None: there is none. is_timed: whether that value is a time.
    """

    part: int
    dialogue: str | None
    speaker: str
    text: str
    line: int = 0
    emotion: str | None = None
    turn: tuple[str, str] | None = None
    is_timed: bool = False


@dataclass(frozen=True, slots=True)
class SpokenTurn:
    """A turn that was cleaned, checked and numbered.

    part, line, emotion: see `ReadTurn`. dialogue: its name, or its number from 1. turn: number of the turn in it, from
    0. number: of the speaker, from 0 in order of appearance in the dialogue, as the corpora number them.
    """

    part: int
    dialogue: str
    turn: int
    speaker: str
    number: int
    text: str
    line: int = 0
    emotion: str | None = None


Read = ReadTurn | LeftOut | Remark | Header | SplitSaid  # what a reader yields: turns, and what the report takes


def read_lines(stream: BinaryIO) -> Iterator[tuple[int, str]]:
    r"""(number from 1, line with its end) of UTF-8 text; only \n ends a line. LineError: no UTF-8, or too long."""
    number = 0
    while line := stream.readline(LONGEST_LINE + 1):
        number += 1
        yield number, decode_line(number, line)


def decode_line(number: int, line: bytes) -> str:
    """A line as text, without a byte order mark in line 1. number: from 1. LineError: it is no UTF-8, or too long."""
    if len(line) > LONGEST_LINE:
        raise LineError(number, f"longer than {LONGEST_LINE:,} bytes, allowed are shorter lines")
    if b"\0" in line:
        told = f"not UTF-8 text (zero bytes: UTF-16 without its mark, or no text), {UTF8}"
        raise LineError(number, told, AS_UTF8)
    try:
        return line.decode("utf-8").lstrip("\ufeff" if number == 1 else "")
    except UnicodeDecodeError as error:
        raise LineError(number, f"not UTF-8 text ({error.reason}), {UTF8}", AS_UTF8) from None


def number_turns(items: Iterable[Read], report: Report | None = None) -> Iterator[SpokenTurn]:
    """The turns with clean names and texts, turns and speakers numbered in each dialogue; the rest goes to `report`.

    Names that differ only in Unicode form or case are one person, shown as the file first has the name.

    Raises:
        LineError: a name is empty, or a name or text too long or no Unicode; a dialogue has too many speakers, or its
            turns do not stand together.
    """
    counter = TurnCounter(Report() if report is None else report)
    for one in items:
        if (turn := counter.take(one)) is not None:
            yield turn


class TurnCounter:
    """Numbers turns one by one, see `number_turns`; one that raises LineError does not change the numbers of others."""

    def __init__(self, report: Report) -> None:
        self.report = report
        self._part, self._dialogue, self._place = -1, "", 0
        self._numbers: dict[str, tuple[int, str]] = {}
        self._begun: dict[str, None] = {}

    def take(self, one: Read) -> SpokenTurn | None:
        """The numbered turn; None where `one` is none or empty, and went to the report. LineError as `number_turns`."""
        turn = self._number(one)
        self._note(one, turn)
        return turn

    def take_all(self, items: Iterable[Read]) -> list[SpokenTurn]:
        """The numbered turns of a line; where one of them raises LineError, none is counted."""
        before, read = (self._part, self._dialogue, self._place, dict(self._numbers)), list(items)
        try:
            turns = list(map(self._number, read))
        except LineError:
            while self._begun and next(reversed(self._begun)) != before[1]:
                self._begun.popitem()
            self._part, self._dialogue, self._place, self._numbers = before
            raise
        for one, turn in zip(read, turns, strict=True):
            self._note(one, turn)
        return [turn for turn in turns if turn is not None]

    def _number(self, one: Read) -> SpokenTurn | None:
        if not isinstance(one, ReadTurn) or not one.text.strip():
            return None
        is_next = one.part != self._part
        dialogue = self._name_dialogue(one) if is_next else self._dialogue
        speaker = clean(one.speaker, "speaker", LONGEST_NAME, one.line)
        text = clean(one.text, "utterance", LONGEST_UTTERANCE, one.line)
        numbers = {} if is_next else self._numbers
        number, shown = numbers.get(name_key(speaker)) or (len(numbers), self.report.spelling(speaker))
        if number >= MOST_SPEAKERS:
            raise LineError(one.line, f"speaker {number + 1} of a dialogue, allowed are {MOST_SPEAKERS:,}")
        if is_next:
            self._begin(one.part, dialogue)
        self._numbers[name_key(speaker)] = number, shown
        self._place += 1
        return SpokenTurn(one.part, dialogue, self._place - 1, shown, number, text, one.line, one.emotion)

    def _name_dialogue(self, one: ReadTurn) -> str:
        told = str(one.part + 1) if one.dialogue is None else one.dialogue
        dialogue = clean(told, "dialogue", LONGEST_NAME, one.line)
        if dialogue in self._begun:
            told = f"dialogue {dialogue!r} begins a second time, allowed are turns that stand together"
            raise LineError(one.line, told)
        return dialogue

    def _begin(self, part: int, dialogue: str) -> None:
        self._part, self._dialogue, self._place, self._numbers = part, dialogue, 0, {}
        self._begun[dialogue] = None
        if len(self._begun) > NAMES_REMEMBERED:
            del self._begun[next(iter(self._begun))]

    def _note(self, one: Read, turn: SpokenTurn | None) -> None:
        if turn is None:
            self.report.note(LeftOut(EMPTY, one.line) if isinstance(one, ReadTurn) else one)
            return
        is_same = one.speaker == turn.speaker
        speaker = turn.speaker if is_same else clean(one.speaker, "speaker", LONGEST_NAME, one.line)
        if turn.speaker != speaker:
            self.report.note(Remark(f"{speaker!r} is taken for {turn.speaker!r}"))
        self.report.speak(turn.speaker, one.line)
        if one.turn:
            self.report.order.follow(one.part, *one.turn, one.line, one.is_timed)


def clean(text: str, what: str, longest: int, line: int) -> str:
    """A text without outer blanks and line breaks; a name also in NFC and without invisible characters.

    what: "speaker", "dialogue" or "utterance", for errors. longest: in characters.

    Raises:
        LineError: nothing is left, or it is too long, or has half a surrogate pair.
    """
    cleaned = _LINE_BREAKS.sub(" ", text.strip())
    # NFC sorts the marks of a letter, in a time that grows with the square of their number.
    if what == "speaker" and len(cleaned) <= MOST_MARKS:
        cleaned = unicodedata.normalize("NFC", UNSEEN.sub("", cleaned)).strip()
    if not cleaned:
        raise LineError(line, f"the {what} is empty, allowed is a text")
    if len(cleaned) > longest:
        raise LineError(line, f"the {what} has {len(cleaned):,} characters, allowed are {longest:,}")
    refuse_halves(cleaned, what, line)
    return cleaned


def refuse_halves(text: str, what: str, line: int) -> None:
    """LineError where a text has half a surrogate pair, which cannot be written as UTF-8."""
    if not is_unicode(text):
        raise LineError(line, f"the {what} holds half of a surrogate pair, allowed is Unicode text")


def unescape(text: str) -> str:
    """The text with HTML references replaced by their characters; numbers of 8 digits or more become U+FFFD."""
    return html.unescape(_LONG_REFERENCE.sub("\N{REPLACEMENT CHARACTER}", text))
