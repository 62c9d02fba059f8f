"""Reads transcripts by people and transcription services in which a name and a colon stand before each utterance."""

import re
from collections.abc import Generator, Iterator
from copy import copy
from dataclasses import replace
from typing import BinaryIO

from dialogue_files.names import has_doubtful_aside, is_label, is_name, lists_people, name_key, without_aside
from dialogue_files.readers.layouts import (
    NUMBER,
    Layout,
    find_layout,
    with_colon,
    without_number,
    without_stamp,
)
from dialogue_files.readers.lines import (
    DATE_ALONE,
    DIRECTIONS,
    NOTICES,
    SCENE,
    is_named_line,
    nobodys_kind,
    split_name,
    without_begin,
)
from dialogue_files.report import LeftOut, Remark
from dialogue_files.turns import LONGEST_NAME, MOST_SPEAKERS, LineError, Read, ReadTurn, read_lines

FEW = 5  # dialogues for each that has two speakers, from which on blank lines seem to separate turns, not dialogues
_OTHER_ENDS = re.compile("[\r\v\f\x85\u2028\u2029]+")
_MARKDOWN_HEADING = re.compile(r"#{1,6}\s")
_WORD = re.compile(r"[^\W_]")
_ESCAPED = re.compile(r"\\([!-/:-@\[-`{-~])")  # a sign of Markdown that stands for itself
_NO_TURN = (
    "is no turn, allowed is 'Name: utterance' on one line (a name has at most "
    f"{LONGEST_NAME} characters and no colon), with a blank line between dialogues"
)


def read_plain_text(stream: BinaryIO) -> Iterator[Read]:
    """Turns of `Name: utterance` lines; blank lines stand between dialogues, directions in brackets are left out.

    A time may stand before or after the name, a number before it where most lines have one.
    """
    lines = LiveText(find_layout(stream))
    yield from lines.layout.remarks
    for number, line in read_lines(stream):
        yield from lines.read(number, line)
    yield from lines.end()


class LiveText:
    """Reads `Name: utterance` lines one by one, as `read_plain_text` does. layout: as far as it is known beforehand."""

    def __init__(self, layout: Layout) -> None:
        self.set_layout(layout)
        self.part, self.alone, self.speakers = 0, 0, frozenset()  # speakers: the first two of this dialogue

    def __copy__(self) -> "LiveText":
        other = object.__new__(type(self))
        other.__dict__ |= self.__dict__ | {"asides": copy(self.asides)}
        return other

    def set_layout(self, layout: Layout) -> None:
        """Sets how lines are laid out, before the first turn is read."""
        self.layout, self.asides = layout, Asides(layout.question)

    def read(self, number: int, line: str) -> Iterator[Read]:
        """What a line holds: turns, remarks, what is left out; LineError where it cannot be read."""
        first, *others = _pieces(line)
        yield from self._read_piece(number, first)
        if others:
            yield Remark("marks other than a line feed are taken to end lines, where a name and a colon follow")
        for text in others:
            yield from self._read_piece(number, text)

    def _read_piece(self, number: int, text: str) -> Iterator[Read]:
        text = without_begin(NUMBER, text) if self.layout.is_numbered else text
        text = with_colon(text) if self.layout.is_lettered else text
        if not text:
            if not self.layout.head:
                self._end_dialogue()
            return
        if number <= self.layout.head:
            yield LeftOut(NOTICES, number)
            return
        one = _read_line(self.part, number, text, begun=self.part > 0, opened=bool(self.speakers))
        if isinstance(one, ReadTurn):
            speaker = without_stamp(one.speaker)[0] if self.layout.stamped else one.speaker
            one = replace(
                one, speaker=(yield from self.asides.take_off(self._plain(speaker))), text=self._plain(one.text)
            )
            if len(self.speakers) < 2:
                self.speakers |= {name_key(one.speaker[:LONGEST_NAME])}
        yield one

    def _plain(self, text: str) -> str:
        return _ESCAPED.sub(r"\1", text) if self.layout.is_escaped else text

    def end(self) -> Iterator[Read]:
        """What is left to report at the end."""
        self._end_dialogue()
        if self.part > 1 and (self.part - self.alone) * FEW <= self.part:
            yield Remark(
                f"in {self.alone:,} of {self.part:,} dialogues one person speaks alone, as blank lines stand between "
                "speakers: without these lines it is one dialogue",
                of_file=True,
            )

    def _end_dialogue(self) -> None:
        self.part, self.alone = self.part + bool(self.speakers), self.alone + (len(self.speakers) == 1)
        self.speakers = frozenset()


def _pieces(line: str) -> Iterator[str]:
    """A line, cut where a name follows a character that some programs end lines with, such as CR or U+2028.

    A line with one name is not cut, as that name may hold such a character.
    """
    pieces = [one.strip() for one in _OTHER_ENDS.split(line.strip())]
    named = [bool(one) and is_named_line(one) for one in pieces]
    several = sum(named) > 1
    waiting: list[str] = []
    for one, begins in zip(pieces, named, strict=True):
        if waiting and begins and several:
            yield " ".join(waiting).strip()
            waiting = []
        waiting.append(one)
    yield " ".join(waiting).strip()


def _read_line(part: int, number: int, text: str, begun: bool, opened: bool) -> Read:
    """What a line holds. begun: there are dialogues before its own. opened: its dialogue has a turn already."""
    if kind := nobodys_kind(text):
        return LeftOut(kind, number)
    named = split_name(text)
    is_turn = named is not None and not is_label(named[0])
    if is_turn and not opened and lists_people(named[0]):
        is_turn = begun and not _is_list(named[1])
    # Where blank lines stand between turns, 'Ben: 5/1/1990' is an answer, and 'Chat started: 5/1/2024' never is.
    if is_turn and not opened and DATE_ALONE.fullmatch(named[1]) and not (begun and is_name(named[0], 1)):
        return LeftOut(NOTICES, number)
    if not is_turn and (
        named or SCENE.match(text[:LONGEST_NAME]) or _MARKDOWN_HEADING.match(text) or not _WORD.search(text)
    ):
        return LeftOut(DIRECTIONS, number)
    if not is_turn:
        raise LineError(number, f"{text[:60]!r} {_NO_TURN}")
    return ReadTurn(part, None, named[0], named[1], number)


def _is_list(text: str) -> bool:
    """Whether a text is a list of names; an empty one counts, as the names may follow below."""
    return not text.strip() or ("," in text and all(is_name(one, 1) for one in text.split(",")))


class Asides:
    """Takes brackets off names, 'Ann (laughing)' -> 'Ann', and tells once where they may have kept two Anns apart.

    question: see `Layout`.
    """

    def __init__(self, question: str = "") -> None:
        self._question, self._first = question, {}

    def __copy__(self) -> "Asides":
        other = Asides(self._question)
        other._first |= self._first
        return other

    def take_off(self, name: str) -> Generator[Remark, None, str]:
        """The name without brackets; yields a remark, once for each name, where they may have told two people apart."""
        bare = without_number(without_aside(name)) if self._question else without_aside(name)
        if len(name) > LONGEST_NAME or len(self._first) > MOST_SPEAKERS or not has_doubtful_aside(name):
            return bare
        first = self._first.setdefault(name_key(bare), name)
        if first and name_key(first) != name_key(name):
            yield Remark(f"{first!r} and {name!r} are taken for one person: without the brackets they are two")
            self._first[name_key(bare)] = ""
        return bare
