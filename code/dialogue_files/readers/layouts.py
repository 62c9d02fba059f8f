"""How a transcript marks its turns, by its first lines: with numbers, letters or times beside names."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import BinaryIO

from dialogue_files.names import is_label, name_key, without_aside
from dialogue_files.readers.lines import CLOCK, DAY, ONLY_TIMES, is_named_line, split_name
from dialogue_files.report import Remark
from dialogue_files.turns import LONGEST_NAME, LineError, read_lines

HEAD_LINES = 500  # the first lines of a file, by which its layout is decided
NAMES_STAND_IN = 1_000  # the first characters of a line, among which its name stands
# Texts beside a name that change with every turn and tell no people apart: seconds, a time with a dot or an h, a date.
_SECONDS = r"\d{1,6}(?:[.,hH]\d{1,6}(?:[.:]\d{1,3})?\s?s?|s)"
_STAMP = rf"(?:(?P<seconds>{_SECONDS})(?:(?:\s*(?:--?>|-|–|to|,)\s*|\s){_SECONDS})?|{DAY})"
_STAMP_BEFORE = re.compile(rf"\(?{_STAMP}\)?[\s\-–|,]+(?P<name>[^\s\d].*)")
_STAMP_AFTER = re.compile(rf"(?P<name>.*?[^\s(,\-–|])[\s\-–|,]+\(?{_STAMP}\)?[\s,]*")
_CERTAIN_DATE = re.compile(r"\d{1,2}/\d{1,2}/\d{2,4}|\d{4}([./-])\d{1,2}\1\d{1,2}|\d{1,2}([.-])\d{1,2}\2\d{4}")
NUMBER = re.compile(
    r"(?:#?(\d{1,5})[.)]?|\((\d{1,5})\)|\[(\d{1,5})\])\s+(?=\S)"
)  # before each line of some transcripts
_END_OF_HEAD = re.compile(r"(?!#)(?:.*[-–—]\s*+|[\W_]*+)transcript\s*+:?", re.I)  # of Markdown a heading is a direction
# But not those that Google Docs writes: the title, then the time of the first part, with its anchor perhaps.
_TITLE = re.compile(r"#{1,6}\s.*[-–—]\s*+transcript", re.I)
_PART = re.compile(rf"#{{1,6}}\s+{CLOCK}(?:\s+\{{#{CLOCK}\}})?")
_QUESTION = re.compile(r"(?:(?P<asked>q|question)|a|answer)(?:[ .#]{0,2}(?P<number>\d{1,5}))?", re.I)
_LETTER = re.compile(r"(?P<name>[QA]\d{0,5})(?:\.\s+|\.?(?:\t|\s{2,}))(?=\S)")


@dataclass(frozen=True)
class Layout:
    """How a file marks its turns, as its first lines show.

    is_numbered: with ascending numbers before names. question: the first of names like 'Q1', 'A1', 'Q2', which are two
    people; empty: there are none. head: number of lines at the head of minutes (title, date, who was there), up to
    'Transcript'. stamped: the first name with a time beside it that is written unusually, 'Ann 10.02'; empty: there is
    none. is_lettered: with 'Q.' and 'A.', without a colon. is_escaped: with a backslash before signs, as in Markdown.
    """

    is_numbered: bool = False
    question: str = ""
    head: int = 0
    stamped: str = ""
    is_lettered: bool = False
    is_escaped: bool = False

    @property
    def remarks(self) -> list[Remark]:
        """What the report says of this layout."""
        told = f"up to line {self.head} it is taken for the head of a transcript, below for one dialogue"
        head = [Remark(told)] if self.head else []
        numbers = [Remark("numbers before names are taken for those of the lines, and left out")] * self.is_numbered
        stamps = [Remark(f"numbers beside names, as in {self.stamped[:60]!r}, are taken for times")] * bool(
            self.stamped
        )
        letters = [Remark("Q and A before a dot or a gap are taken for speakers")] * self.is_lettered
        return head + numbers + stamps + letters + question_remarks(self.question)


def find_layout(stream: BinaryIO) -> Layout:
    """How the lines of a file are laid out, by those at its beginning that can be read; the stream is not moved."""
    start, lines = stream.tell(), []
    with suppress(LineError):
        lines.extend(line[:NAMES_STAND_IN].strip() for _, line in islice(read_lines(stream), HEAD_LINES))
    stream.seek(start)
    head = _find_head(lines)
    is_lettered = _are_lettered(lines[head:])
    named = [split_name(with_colon(line) if is_lettered else line) for line in lines[head:]]
    names = [one[0] for one in named if one]
    return Layout(
        is_numbered=_are_numbered(lines[head:]),
        question=find_question(names),
        head=head,
        stamped=_find_stamped(names),
        is_lettered=is_lettered,
        is_escaped=any(_is_title(lines, place) for place in range(head)),
    )


def layout_of_first(line: str) -> Layout:
    """The layout, as far as the first turn shows it: 'Q1: Where?' and 'Q. Where?' begin questions and answers."""
    is_lettered = line.startswith("Q") and _LETTER.match(line) is not None and not is_named_line(line)
    named = split_name(with_colon(line) if is_lettered else line)
    name = without_aside(named[0]) if named else ""
    question = _QUESTION.fullmatch(name)
    return Layout(
        question=name if question and question["asked"] and question["number"] else "", is_lettered=is_lettered
    )


def _are_lettered(lines: Iterable[str]) -> bool:
    """Whether two lines or more begin like 'Q. Where?', and two or more like 'A. Here.'."""
    begins = [_LETTER.match(line) for line in lines if not is_named_line(line)]
    counts = Counter(found["name"][0] for found in begins if found)
    return min(counts["Q"], counts["A"]) > 1


def with_colon(line: str) -> str:
    """'Q. Where?' -> 'Q: Where?'; other lines stay."""
    found = _LETTER.match(line)
    return f"{found['name']}: {line[found.end() :]}" if found else line


def without_stamp(name: str) -> tuple[str, float | None]:
    """(name without the time beside it, that time as a number that grows); None: there is no time, or it is a date."""
    found = _STAMP_BEFORE.fullmatch(name) or _STAMP_AFTER.fullmatch(name)
    if not found:
        return name, None
    seconds = re.split(r"\D+", found["seconds"] or "")
    return found["name"], float(f"{seconds[0]}.{''.join(seconds[1:])}") if seconds[0] else None


def _find_stamped(names: Iterable[str]) -> str:
    """The first name with a time beside it; empty where these numbers are no times.

    They are times where they never fall, two people or more have one, and somebody has several. So 'Witch 1.1' and
    'Witch 1.2' are two people if the first speaks again, or if only witches have numbers. '5/1/2024' is always a date.
    """
    first, last, times = "", 0.0, {}
    for name in names:
        bare, time = without_stamp(name)
        if bare == name:
            continue
        if time is None and _CERTAIN_DATE.search(name):
            return name
        if time is not None and time < last:
            return ""
        first, last = first or name, last if time is None else time
        times.setdefault(name_key(without_aside(bare)), set()).add(name)
    return first if len(times) > 1 and any(len(several) > 1 for several in times.values()) else ""


def _find_head(lines: Sequence[str]) -> int:
    """The number of lines at the head, see `Layout`; lines between 'Transcript' and the first turn belong to it."""
    named = [split_name(line) if is_named_line(line) else None for line in lines]
    names = [name_key(without_aside(one[0])) if one else "" for one in named]
    ends = [
        place
        for place, line in enumerate(lines)
        if _is_title(lines, place) or (_END_OF_HEAD.fullmatch(line) and not _says(line))
    ]
    ends = [place for place in ends if _may_stand_above(list(filter(None, names[:place])), names[place:])]
    if not ends:
        return 0
    below = range(ends[-1] + 1, len(lines))
    first = next(place for place in below if names[place] or ONLY_TIMES.fullmatch(lines[place]))
    return max(place for place in range(first) if lines[place]) + 1


def _is_title(lines: Sequence[str], place: int) -> bool:
    """Whether a line is the title above a transcript in Markdown by Google Docs."""
    return bool(_TITLE.fullmatch(lines[place]) and _PART.fullmatch(next(filter(None, lines[place + 1 :]), "")))


def _says(line: str) -> bool:
    named = split_name(line)
    return named is not None and bool(named[1])


def _may_stand_above(names: Sequence[str], below: Sequence[str]) -> bool:
    """Whether names may be those of a head: none is there twice, and there are fewer than below it."""
    return len(set(names)) == len(names) < sum(map(bool, below))


def find_question(names: Iterable[str]) -> str:
    """The first name of questions, where numbers beside Q and A count questions; else empty.

    They do where numbers of questions ascend, or begin anew, and each answer has the number of its question. Else
    'Q1', 'A1' and 'A2' are three people.
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
    """What the report says of `Layout.question`."""
    told = f"{question!r} and the like are taken for one who asks and one who answers, whose turns are numbered"
    return [Remark(told)] if question else []


def without_number(name: str) -> str:
    """'Q1' -> 'Q'; names that are no question and no answer stay."""
    found = _QUESTION.fullmatch(name)
    return name[: found.start("number")].rstrip(" .#") if found and found["number"] else name


def _are_numbered(lines: Iterable[str]) -> bool:
    """Whether numbers before names count lines: they ascend up to a blank line. Else '1. Witch' is a name."""
    last, in_block, with_number, without, names = -1, 0, 0, 0, set()
    for text in lines:
        if not text:
            last, in_block = -1 if in_block > 1 else last, 0
            continue
        found = NUMBER.match(text)
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
