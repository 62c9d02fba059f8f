"""Dialogues as people and transcription services write them down: a name before a colon and the utterance."""

import re
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice
from typing import BinaryIO

from dialogue_files.names import (
    has_doubtful_aside,
    is_label,
    is_name,
    lists_people,
    name_key,
    reads_like_sentence,
    without_aside,
)
from dialogue_files.report import MOST_NAMES, LeftOut, Remark
from dialogue_files.turns import LONGEST_NAME, LineError, Read, ReadTurn, read_lines

DIRECTIONS, NOTICES, TIMES = "directions", "notices", "lines of times"
HEAD_LINES = 500  # by which it is decided how names stand
NAMES_STAND_IN = 1_000  # characters, the first of a line
FEW = 5  # dialogues for each with two speakers, from which on blank lines seem to stand between speakers
CLOCK = r"(?:\d{1,2}:)?\d{1,2}:\d{2}(?:[.,]\d{1,3})?(?:\s?(?:[AaPp]\.?\s?[Mm]|Uhr)\b\.?)?+"
DAY = r"\d{1,4}[./-]\d{1,2}[./-]\d{1,4}"
_TIME = rf"(?:\[{CLOCK}\]|\({CLOCK}\)|{CLOCK})"
RANGE = rf"{_TIME}(?:\s*(?:-->|-|–|to)\s*{_TIME})?"
# What follows the first character of a name, which ends in what is no blank: so a long row of blanks is looked at once.
REST = rf"(?:[^:：]{{0,{LONGEST_NAME - 2}}}?[^\s:：])??"
_NAMED = re.compile(rf"([^\s:：]{REST})\s*+[:：](?!//|(?<=\d[:：])\d)\s*(.*)", re.DOTALL)
# With a dot or an h, as many write times, only before a name: elsewhere it is a number.
_DOTTED = r"\d{1,2}[.hH][0-5]\d(?:[.:][0-5]\d)?(?:\s?(?:[AaPp]\.?\s?[Mm]|Uhr)\b\.?)?+"
_TIME_BEFORE = re.compile(
    rf"(?:{RANGE}[\s\-–|]*|(?:\[{_DOTTED}\]|\({_DOTTED}\)|{_DOTTED}(?=\s))[\s\-–|]*)(?=[^\s\d:：\-–|])"
)
_TIME_AFTER_NAME = re.compile(
    rf"([^\s:：\[(](?:[^:：\[(]{{0,{LONGEST_NAME - 2}}}?[^\s:：\[(])??)"
    rf"(?:\s*+(?:\[{CLOCK}\]|\({CLOCK}\))\s*+[:：]\s*+|\s++{CLOCK}\s*+[:：]\s++)(\S.*)"
)
_TIME_AFTER_COLON = re.compile(rf"(?:\[{CLOCK}\]|\({CLOCK}\))\s*")
ONLY_TIMES = re.compile(rf"{RANGE}")
_BOLD = re.compile(
    r"(\*\*?|__?)\s*+([^\s*_:：](?:[^*:：]*?[^\s*:：])??)\s*+(?:[:：]\s*+\1|\1\s*+[:：])\s*(.*)", re.DOTALL
)
_BRACKETS = re.compile(r"\[([^\[\]]+)\]")
FOOTER = re.compile(
    r"(?:transcribed|transcript|captions?|subtitles|generated|recorded)\b.*\b(?:by|with)\b.*"
    r"|(?:transcription|meeting) ended after .*|.* (?:started|stopped) transcription"
    r"|this editable transcript was computer generated.*",
    re.I,
)
_LISTED = re.compile(r"(?:[-*•–]|>+)\s+(?=\S)")  # before each line of a list, or of what is quoted
_NUMBER = re.compile(
    r"(?:#?(\d{1,5})[.)]?|\((\d{1,5})\)|\[(\d{1,5})\])\s+(?=\S)"
)  # before each line of some transcripts
SCENE = re.compile(
    r"(?:INT|EXT|INT\./EXT|I/E)[. ]|.*\b(?:CUT|FADE|DISSOLVE|SMASH)\b.*(?:TO|IN|OUT)\b.*[:.]?$|THE END\b|ACT\b|SCENE\b"
)
_END_OF_HEAD = re.compile(r"(?!#)(?:.*[-–—]\s*+|[\W_]*+)transcript", re.I)  # of Markdown a heading is a direction
_QUESTION = re.compile(r"(?:(?P<asked>q|question)|a|answer)(?:[ .#]{0,2}(?P<number>\d{1,5}))?", re.I)
_MARKDOWN_HEADING = re.compile(r"#{1,6}\s")
_WORD = re.compile(r"[^\W_]")
_NO_TURN = (
    "is no turn, allowed is 'Name: utterance' on one line (a name has at most "
    f"{LONGEST_NAME} characters and no colon), with a blank line between dialogues"
)


class Asides:
    """What stands in brackets behind names, by a key of the name: where it differs, there may be two of the name.

    question: see `Layout`.
    """

    def __init__(self, question: str = "") -> None:
        self._question, self._first = question, {}

    def take_off(self, name: str) -> Generator[Remark, None, str]:
        """The name without it; a remark where it may have told two people apart, once for each name."""
        bare = without_number(without_aside(name)) if self._question else without_aside(name)
        if len(name) > LONGEST_NAME or len(self._first) > MOST_NAMES or not has_doubtful_aside(name):
            return bare
        first = self._first.setdefault(name_key(bare), name)
        if first and name_key(first) != name_key(name):
            yield Remark(f"{first!r} and {name!r} are taken for one person: without the brackets they are two")
            self._first[name_key(bare)] = ""
        return bare


def is_direction(line: str) -> bool:
    """Whether a whole line stands in brackets, as directions do: '[Scene: a kitchen]', '(They laugh.)'."""
    return (
        (line[0], line[-1]) in {("[", "]"), ("(", ")"), ("{", "}")} and "]" not in line[1:-1] and ")" not in line[1:-1]
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
    """The same of lines that come one by one; layout: of those that can be read before they are."""

    def __init__(self, layout: "Layout") -> None:
        self.layout, self.asides = layout, Asides(layout.question)
        self.part, self.alone, self.speakers = 0, 0, frozenset()  # speakers: of this dialogue, two at most

    def read(self, number: int, line: str) -> Iterator[Read]:
        """What a line is; LineError when it is no turn and nothing else."""
        text = _without(_NUMBER, line.strip()) if self.layout.is_numbered else line.strip()
        if not text:
            if not self.layout.head:
                self._end_dialogue()
            return
        if number <= self.layout.head:
            yield LeftOut(NOTICES, number)
            return
        one = _read_line(self.part, number, text, begun=self.part > 0, opened=bool(self.speakers))
        if isinstance(one, ReadTurn):
            one = replace(one, speaker=(yield from self.asides.take_off(one.speaker)))
            if len(self.speakers) < 2:
                self.speakers |= {name_key(one.speaker[:LONGEST_NAME])}
        yield one

    def end(self) -> Iterator[Read]:
        """What is to be said at the end."""
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


@dataclass(frozen=True)
class Layout:
    """How turns are marked, as the first lines show. is_numbered: by numbers before the names, which ascend.

    question: the first of 'Q1', 'A1', 'Q2', which are two people; empty where there are none. head: how many lines are
    that of a meeting, its title, its date and who was there, up to 'Transcript'.
    """

    is_numbered: bool = False
    question: str = ""
    head: int = 0

    @property
    def remarks(self) -> list[Remark]:
        """What is to be said of it."""
        told = f"up to line {self.head} it is taken for the head of a transcript, below for one dialogue"
        head = [Remark(told)] if self.head else []
        numbers = [Remark("numbers before names are taken for those of the lines, and left out")] * self.is_numbered
        return head + numbers + question_remarks(self.question)


def find_layout(stream: BinaryIO) -> Layout:
    """By what comes before a line that cannot be read; the stream stays where it is."""
    start, lines = stream.tell(), []
    with suppress(LineError):
        lines.extend(line[:NAMES_STAND_IN].strip() for _, line in islice(read_lines(stream), HEAD_LINES))
    stream.seek(start)
    head = _find_head(lines)
    names = [named[0] for line in lines[head:] if (named := split_name(line))]
    return Layout(_are_numbered(lines[head:]), find_question(names), head)


def _find_head(lines: Sequence[str]) -> int:
    """How many lines are the head, see `Layout`: what stands below 'Transcript' before the first turn is of it too."""
    named = [split_name(line) if is_named_line(line) else None for line in lines]
    names = [name_key(without_aside(one[0])) if one else "" for one in named]
    ends = [place for place, line in enumerate(lines) if _END_OF_HEAD.fullmatch(line) and split_name(line) is None]
    ends = [place for place in ends if _may_stand_above(list(filter(None, names[:place])), names[place:])]
    if not ends:
        return 0
    below = range(ends[-1] + 1, len(lines))
    first = next(place for place in below if names[place] or ONLY_TIMES.fullmatch(lines[place]))
    return max(place for place in range(first) if lines[place]) + 1


def _may_stand_above(names: Sequence[str], below: Sequence[str]) -> bool:
    """Whether lines with names are of a head: fewer than below it, and none of them twice, as those of turns are."""
    return len(set(names)) == len(names) < sum(map(bool, below))


def find_question(names: Iterable[str]) -> str:
    """The first name where numbers count questions: they ascend, or begin anew, and an answer has its question's.

    Else empty: 'Q1', 'A1' and 'A2' are three people.
    """
    first, last, numbers, has_answer = "", 0, set(), False
    for name in names:
        bare = without_aside(name)
        found = _QUESTION.fullmatch(bare)
        if not found or (found["asked"] and not found["number"]):
            continue
        number = int(found["number"] or last)
        if number != last and not (found["asked"] and (number > last or number == 1)):
            return ""
        first, last, has_answer = first or bare, number, has_answer or not found["asked"]
        numbers.add(number)
    return first if has_answer and len(numbers) > 1 else ""


def question_remarks(question: str) -> list[Remark]:
    """What is to be said of a `Layout.question`."""
    told = f"{question!r} and the like are taken for one who asks and one who answers, whose turns are numbered"
    return [Remark(told)] if question else []


def without_number(name: str) -> str:
    """'Q1' is Q; a name that is none of a question or an answer stays."""
    found = _QUESTION.fullmatch(name)
    return name[: found.start("number")].rstrip(" .#") if found and found["number"] else name


def _are_numbered(lines: Iterable[str]) -> bool:
    """Whether numbers before names ascend, up to a blank line; where they do not, '1. Witch' is somebody's name."""
    last, in_block, with_number, without, names = -1, 0, 0, 0, set()
    for text in lines:
        if not text:
            last, in_block = -1 if in_block > 1 else last, 0
            continue
        found = _NUMBER.match(text)
        named = split_name(text[found.end() :] if found else text)
        if named is None or is_label(named[0]):
            continue
        if not found:
            without += 1
            continue
        number = int(found[1] or found[2] or found[3])
        if number <= last:
            return False
        last, in_block, with_number = number, in_block + 1, with_number + 1
        names.add(name_key(without_aside(named[0][:LONGEST_NAME])))
    return with_number > without and len(names) > 1


def _read_line(part: int, number: int, text: str, begun: bool, opened: bool) -> Read:
    """What a line is. begun: dialogues stand before its own; opened: a turn of its own does."""
    if is_direction(text):
        return LeftOut(DIRECTIONS, number)
    if ONLY_TIMES.fullmatch(text):
        return LeftOut(TIMES, number)
    if FOOTER.fullmatch(text):
        return LeftOut(NOTICES, number)
    named = split_name(text)
    is_turn = named is not None and not is_label(named[0])
    if is_turn and not opened and lists_people(named[0]):
        is_turn = begun and not _is_list(named[1])
    if not is_turn and (
        named or SCENE.match(text[:LONGEST_NAME]) or _MARKDOWN_HEADING.match(text) or not _WORD.search(text)
    ):
        return LeftOut(DIRECTIONS, number)
    if not is_turn:
        raise LineError(number, f"{text[:60]!r} {_NO_TURN}")
    return ReadTurn(part, None, named[0], named[1], number)


def _is_list(text: str) -> bool:
    """Whether it is a list of names; an empty one too, whose names stand below."""
    return not text.strip() or ("," in text and all(is_name(one, 1) for one in text.split(",")))


def split_name(line: str) -> tuple[str, str] | None:
    """(name, what is said) of a line, without times and marks of bold type; None: no name stands in it."""
    line = _without(_TIME_BEFORE, _without(_LISTED, line))
    bold = _BOLD.fullmatch(line)
    if bold:
        return bold[2], bold[3]
    found = _TIME_AFTER_NAME.fullmatch(line) or _NAMED.fullmatch(line)
    if not found:
        return None
    said = found[2] if found.re is _TIME_AFTER_NAME else _without(_TIME_AFTER_COLON, found[2])
    bare = without_aside(found[1])
    return _BRACKETS.sub(r"\1", bare) + found[1][len(bare) :], said


def _without(pattern: re.Pattern[str], text: str) -> str:
    """The text without what the pattern finds at its beginning."""
    found = pattern.match(text)
    return text[found.end() :] if found else text


def is_named_line(line: str) -> bool:
    """Whether a line is 'Name: utterance' and the name is a person's, and no beginning of a sentence."""
    named = split_name(line)
    if named is None or not named[1]:
        return False
    return not (reads_like_sentence(named[0]) or is_label(named[0]) or lists_people(named[0]))
