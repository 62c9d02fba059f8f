"""Transcripts in which names stand on lines of their own, above the text, as transcription services write them."""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import islice, pairwise
from typing import BinaryIO

from dialogue_files.names import (
    is_chapter,
    is_label,
    is_name,
    lists_people,
    name_key,
    reads_like_sentence,
    without_aside,
)
from dialogue_files.readers.layouts import HEAD_LINES, find_question, question_remarks
from dialogue_files.readers.lines import (
    CLOCK,
    DAY,
    DAY_IN_WORDS,
    DIRECTIONS,
    FOOTER,
    NOTICES,
    ONLY_TIMES,
    RANGE,
    REST,
    TIMES,
    is_direction,
    is_named_line,
    split_name,
    without_day,
    without_times,
)
from dialogue_files.readers.transcripts import Asides
from dialogue_files.report import LeftOut, Remark
from dialogue_files.turns import LONGEST_NAME, LONGEST_UTTERANCE, LineError, Read, ReadTurn, read_lines

# Texts before a time that are no name, but a day, or speech.
_NO_NAME_BEFORE_TIME = re.compile(
    rf"(?:\w+,\s+)?(?:\w+\.?\s+\d{{1,2}}(?:st|nd|rd|th)?|\d{{1,2}}\.?\s+(?:de\s+)?\w+\.?)(?:,?\s+(?:de\s+)?\d{{4}})(?:,?\s+at)?"
    rf"|(?!(?:domingo|domenica|sabato)(?:\s\d+:|\Z)){DAY_IN_WORDS}"  # people are called so
    r"|(?:it['’]s|it is)(?:\s+\w+)?|about|after|around|at|before|by|from|until",
    re.I,
)
_DATED = re.compile(rf"(?:{_NO_NAME_BEFORE_TIME.pattern}|\w+,?\s+{DAY}),?\s+{CLOCK}(?:\s*\(.*\))?", re.I)
# What a name must have, and a dash has not: a letter, a telephone number, or an emoji.
_OF_A_NAME = re.compile(r"[^\W\d_]|\+\d|[\u2600-\u27bf\U0001f000-\U0010ffff]")
_NAME_AND_COLON = re.compile(rf"(?P<name>[^\s:：]{REST})\s*+[:：]")
# A line that is nothing but a name, with a time before or after it, or with a colon at its end.
_HEADINGS = (
    re.compile(rf"(?P<name>[^\s:：\[(](?:[^:：]{{0,{LONGEST_NAME - 2}}}?[^\s:：,\-–|])??)[\s,\-–|]++{RANGE}\s*[:：]?"),
    re.compile(rf"{RANGE}[\s\-–|]++(?P<name>[^\s\d:：\[(]{REST})\s*+[:：]?"),
    re.compile(rf"\[(?P<name>[^\s\]][^\]]{{0,{LONGEST_NAME - 1}}})\]\s+{RANGE}\s*"),
    _NAME_AND_COLON,
    re.compile(rf"(?P<name>[^\s:：\[(]{REST}),?\s++\[{DAY_IN_WORDS},?\s{CLOCK}\]\s*[:：]?"),
)
FEWEST_STACKED = 2  # names above times; a single one may be a title
_TIME_LINE = re.compile(rf"[\s\-–—•·|]*+(?P<time>{RANGE})")
TIMED_HEADINGS = [kind for kind, pattern in enumerate(_HEADINGS) if pattern is not _NAME_AND_COLON]


def count_times_below(lines: Sequence[str]) -> int:
    """How many names stand on lines of their own above lines that hold only a time; 0: the file is not laid out so.

    lines: stripped, without blank ones. Where every line stands between two times, as in copied captions, it is 0.
    """
    lines = _without_chapters(lines)
    times, headings = sum(_TIME_LINE.fullmatch(line) is not None for line in lines), len(_names_above_times(lines))
    kind = commonest_heading(lines)
    others = max(sum(heading_name(line, kind) is not None for line in lines), sum(map(is_named_line, lines)))
    return headings if headings >= FEWEST_STACKED and headings * 2 > times and headings > others else 0


def _is_chapter_above(line: str, time: str) -> bool:
    return is_chapter(line) and _TIME_LINE.fullmatch(time) is not None


def _without_chapters(lines: Sequence[str]) -> list[str]:
    """Lines without headings of parts of a recording, 'Chapter 2', and the times below these."""
    chapters = {place for place, pair in enumerate(pairwise(lines)) if _is_chapter_above(*pair)}
    return [line for place, line in enumerate(lines) if chapters.isdisjoint((place, place - 1))]


def _names_above_times(lines: Sequence[str]) -> list[str]:
    """The names above lines of times; not lines between two times, which may be speech."""
    triples = zip(["", *lines], lines, lines[1:], strict=False)
    return [name for before, name, time in triples if _stacked(name, time) and not _TIME_LINE.fullmatch(before)]


def _stacked(name: str, time: str) -> str:
    """The heading that a name and a time on the line below make; empty where they do not."""
    found = _TIME_LINE.fullmatch(time)
    heading = f"{name} {found['time']}" if found else ""
    return heading if heading_name(heading, 0) is not None else ""


def _lines_of(lines: Iterable[tuple[int, str]], joined: Collection[str] | None = None) -> Iterator[tuple[int, str]]:
    """Lines that are not blank, stripped.

    joined: None, or keys of names: a name and the time below it then become one line. Right below such a line only
    names with these keys are joined, as another line may be a short message above the next time.
    """
    waiting, is_heading, below_heading = None, False, False
    for number, line in lines:
        line = line.strip()
        if not line:
            continue
        may_join = joined is not None and waiting and not is_heading
        if may_join and _is_chapter_above(waiting[1], line):
            yield number, f"{waiting[1]} {_TIME_LINE.fullmatch(line)['time']}"
            waiting, is_heading = None, False
            continue
        heading = _stacked(waiting[1], line) if may_join else ""
        if heading and (not below_heading or name_key(waiting[1]) in joined):
            waiting, is_heading = (number, heading), True
            continue
        if waiting:
            yield waiting
        waiting, is_heading, below_heading = (number, line), False, is_heading
    if waiting:
        yield waiting


def heading_name(line: str, kind: int | None = None) -> str | None:
    """The name on a line that holds only a name and perhaps a time; None: another line.

    kind: index of the pattern in `_HEADINGS`; None: any.
    """
    for pattern in _HEADINGS if kind is None else _HEADINGS[kind : kind + 1]:
        found = pattern.fullmatch(line)
        name = found["name"].strip() if found else ""
        name = name if pattern is _NAME_AND_COLON else without_day(name)
        is_none = reads_like_sentence(name) or is_label(name) or _NO_NAME_BEFORE_TIME.fullmatch(name)
        if name and not is_none and (pattern is _NAME_AND_COLON or _OF_A_NAME.search(name)):
            return name
    return None


def commonest_heading(lines: Sequence[str]) -> int:
    """The index in `_HEADINGS` of the pattern that most lines fit."""
    return max(range(len(_HEADINGS)), key=lambda kind: sum(heading_name(line, kind) is not None for line in lines))


def has_headings(lines: Sequence[str]) -> bool:
    """Whether names stand on lines above the text, rather than before it."""
    stripped = [line.strip() for line in lines]
    if count_times_below(stripped):
        return True
    kind = commonest_heading(stripped)
    others = [line for line in stripped if heading_name(line, kind) is None]
    headings, named = len(stripped) - len(others), sum(map(is_named_line, others))
    if headings <= named or not others or not _stand_above_text(stripped, kind):
        return False
    return _HEADINGS[kind] is not _NAME_AND_COLON or _are_people(stripped, kind)


def _stand_above_text(lines: Sequence[str], kind: int) -> bool:
    """Whether text stands below most headings but the last; '10:02 lena hello' only looks like a time and a name."""
    heads = [heading_name(line, kind) is not None for line in lines]
    return sum(head and not below for head, below in zip(heads, heads[1:], strict=False)) * 2 > sum(heads[:-1])


def _are_people(lines: Sequence[str], kind: int) -> bool:
    """Whether lines that end in a colon are names, not the 'Tapbacks:' of messages or the 'Action items:' of notes."""
    counts = Counter(without_aside(name) for line in lines if (name := heading_name(line, kind)) is not None)
    if sum(_DATED.fullmatch(line) is not None for line in lines) >= counts.total():
        return False
    lower = any(name[0].islower() for name, count in counts.items() if count > 1)
    people = sum(is_name(name, count, lower) for name, count in counts.items())
    if heading_name(lines[0], kind) is None:
        return people > 1
    return people > 0 or len(counts) > 1


def read_headed(stream: BinaryIO) -> Iterator[Read]:
    """Turns whose name stands on a line of its own, above the text. The file is one dialogue."""
    head = [line for _, line in _lines_of(islice(read_lines(stream), HEAD_LINES))]
    joins = count_times_below(head) > 0
    joined = set(map(name_key, _names_above_times(_without_chapters(head)))) if joins else None
    kind = 0 if joins else commonest_heading(head)
    with_colon = _HEADINGS[kind] is _NAME_AND_COLON
    known = {
        name_key(without_aside(name)) for line in head if with_colon and (name := heading_name(line, kind)) is not None
    }
    question = find_question(name for line in head if (name := heading_name(line, kind)) is not None)
    yield from question_remarks(question)
    stream.seek(0)
    turn, asides = GrowingTurn(), Asides(question)
    for number, line in _lines_of(read_lines(stream), joined):
        name = heading_name(line, kind)
        named = split_name(line) if with_colon and name is None else None
        if name is not None and (turn.speaker is not None or not lists_people(name)):
            yield from turn.end()
            turn.begin((yield from asides.take_off(name)), number)
        elif turn.speaker is None or FOOTER.fullmatch(line):
            yield LeftOut(NOTICES, number)
        elif is_direction(line) or is_label_line(line, with_colon) or _is_chapter_heading(line, kind):
            yield LeftOut(DIRECTIONS, number)
        elif ONLY_TIMES.fullmatch(line):
            yield LeftOut(TIMES, number)
        elif named and _is_somebody(named[0], known):
            yield from turn.end()
            name = yield from asides.take_off(named[0])
            if name_key(name) not in known:
                yield Remark(f"{name!r} is taken for a speaker, though the text stands beside it and not below")
            turn.begin(name, number)
            turn.add(named[1], number)
        else:
            turn.add(without_times(line), number)
    yield from turn.end()


def _is_somebody(name: str, known: Collection[str]) -> bool:
    """Whether the text before a colon is a name in a file whose other names stand above. known: keys of those."""
    return len(name) <= LONGEST_NAME and (is_name(name, 1) or name_key(without_aside(name)) in known)


def is_label_line(line: str, with_text: bool) -> bool:
    """Whether a line is a heading such as 'Session 2:'; with_text: 'Session 2: the boat' too."""
    named = split_name(line)
    return named is not None and is_label(named[0]) and (with_text or not named[1])


def _is_chapter_heading(line: str, kind: int) -> bool:
    """Whether a line is 'Chapter 2 0:05', in a file whose names stand with times like that."""
    found = _HEADINGS[kind].fullmatch(line)
    return found is not None and is_chapter(found["name"])


class GrowingTurn:
    """Builds a turn from lines that come one by one."""

    def __init__(self) -> None:
        self.speaker, self.text, self.line = None, "", 0

    def begin(self, speaker: str, line: int) -> None:
        """Begins the next turn."""
        self.speaker, self.text, self.line = speaker, "", line

    def add(self, text: str, line: int) -> None:
        """Adds a line to the turn; LineError when it becomes too long."""
        self.text, self.line = f"{self.text} {text}".strip(), line
        if len(self.text) > LONGEST_UTTERANCE:
            told = f"the turn of {self.speaker!r} has more than {LONGEST_UTTERANCE:,} characters: is a name missing?"
            raise LineError(line, told)

    def end(self) -> Iterator[ReadTurn]:
        """Ends the turn, and yields it, if one has begun."""
        if self.speaker is not None:
            yield ReadTurn(0, None, self.speaker, self.text, self.line)
        self.speaker = None
