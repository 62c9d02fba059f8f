"""The report on a file that was read: who speaks how often, what was left out, how doubtful parts were taken."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal

from basics.errors import as_line
from basics.words import counted
from dialogue_files.names import name_key, reads_like_sentence

MOST_NAMES = 10_000  # speakers of a file that are counted
MOST_REMARKS = 8  # remarks on a file that are told
MOST_COUNTED = 10_000  # turns of a dialogue whose order is watched
# The number of a turn; larger ones are ids of a database or a network, and need not ascend.
_PLACE_OF_TURN = re.compile(r"\s*(\d{1,6})(?:\.0)?\s*")
# A time in seconds, by a clock, or with a date. The last is compared as text, so fractions of a second, which may have
# any number of digits, are left off.
_MOMENT = re.compile(
    r"\s*(?:(?P<seconds>\d{1,19}(?:\.\d{1,9})?)|(?P<clock>(?:\d{1,3}:)?\d{1,2}:\d\d[.,]\d{1,3})"
    r"|(?P<day>\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d)?)?)(?:(?<=:\d\d)\D.*)?)\s*"
)
# Numbers in a name that may be the time of its turn.
_CHANGING = re.compile(r"\d+s?(?:[.:,/hH-]\d+s?)+|\d+s\b")
FEWEST_ALIKE = 4  # names that differ only in numbers, from which on these may count turns
EMPTY = "empty turns"


@dataclass(frozen=True)
class LeftOut:
    """A part of a file that was left out, as it is no speech. kind: 'notices', 'times', ...; line: from 1."""

    kind: str
    line: int


@dataclass(frozen=True)
class Remark:
    """A line on how a file is read where it could be read otherwise. of_file: on the whole file, so always told."""

    text: str
    of_file: bool = False


@dataclass(frozen=True)
class Header:
    """The header of a table. names: of the columns; line: from 1."""

    names: tuple[str, ...]
    line: int


@dataclass(frozen=True)
class SplitSaid:
    """A column or key of a file that names the split of a turn or dialogue. line: where first, from 1."""

    name: str
    line: int


@dataclass
class Counted:
    """Counts something. first: the line where it was first met, from 1; 0: not known."""

    first: int
    count: int = 0


@dataclass
class Order:
    """Checks whether the numbers or times of turns ascend in each dialogue. fault: text on the first that does not.

    A number that was there before is no fault: such columns count by scene or by speaker.
    """

    fault: str = ""
    part: int = -1
    last: int | Decimal | str = 0
    seen: set[int | Decimal | str] = field(default_factory=set)

    def follow(self, part: int, name: str, written: str, line: int, is_time: bool = False) -> None:
        """Takes the next turn. part: its dialogue. name: of the column or key. written: its value there.

        is_time: whether that is a time.
        """
        number = None if self.fault else _place_of(written, is_time)
        if number is None:
            return
        if part != self.part or type(number) is not type(self.last):
            self.part, self.last, self.seen = part, number, set()
        if number < self.last and number not in self.seen and len(self.seen) < MOST_COUNTED:
            fall = f"{name[:60]!r} falls from {self.last} to {number} within a dialogue"
            self.fault = f"line {line}: {fall}: turns are taken in the order of the file, not of {name[:60]!r}"
        self.last = number
        if len(self.seen) < MOST_COUNTED:
            self.seen.add(number)


def _place_of(written: str, is_time: bool) -> int | Decimal | str | None:
    """The value by which a turn's number or time is compared; None: it is neither."""
    found = (_MOMENT if is_time else _PLACE_OF_TURN).fullmatch(written)
    if not found:
        return None
    if not is_time:
        return int(found[1])
    return found["day"] or _seconds(found["seconds"] or found["clock"].replace(",", "."))


def _seconds(clock: str) -> Decimal:
    seconds = Decimal(0)
    for part in clock.split(":"):
        seconds = 60 * seconds + Decimal(part)
    return seconds


@dataclass
class Report:
    """Collects what is told of a file while it is read; only so many names and remarks are held."""

    left_out: dict[str, Counted] = field(default_factory=dict)
    remarks: dict[str, None] = field(default_factory=dict)
    speakers: dict[str, tuple[str, Counted]] = field(default_factory=dict)  # name_key -> (first spelling, turns)
    order: Order = field(default_factory=Order)
    header: Header | None = None
    split: SplitSaid | None = None  # the first
    has_more: bool = False  # remarks that are not held

    def note(self, one: LeftOut | Remark | Header | SplitSaid) -> None:
        """Takes up a part that was left out, a remark, the header, or a column or key of splits."""
        if isinstance(one, SplitSaid):
            self.split = self.split or one
        elif isinstance(one, Header):
            self.header = one
        elif isinstance(one, LeftOut):
            self.left_out.setdefault(one.kind, Counted(one.line)).count += 1
        elif one.of_file or len(self.remarks) < MOST_REMARKS:
            self.remarks[one.text] = None
        elif one.text not in self.remarks:
            self.has_more = True

    def spelling(self, speaker: str) -> str:
        """The spelling in which the file first has a name."""
        found = self.speakers.get(name_key(speaker))
        return found[0] if found else speaker

    def speak(self, speaker: str, line: int) -> None:
        """Counts a turn of a speaker."""
        key = name_key(speaker)
        if key in self.speakers or len(self.speakers) < MOST_NAMES:
            self.speakers.setdefault(key, (speaker, Counted(line)))[1].count += 1

    def told_left_out(self) -> str:
        """'notices 3 (first in line 1), empty turns 1 (line 7)'; empty: nothing."""
        parts = []
        for kind, one in self.left_out.items():
            place = f" (line {one.first})" if one.count == 1 else f" (first in line {one.first})"
            parts.append(f"{kind} {one.count:,}{place if one.first else ''}")
        return ", ".join(parts)

    def lines(self) -> Iterator[str]:
        """The lines that the user is told: remarks, what was left out, warnings of doubtful order and names."""
        yield from map(as_line, self.remarks)
        if self.has_more:
            yield f"and more remarks like these, of which {MOST_REMARKS} are told"
        if self.left_out:
            yield f"left out: {self.told_left_out()}"
        if self.order.fault:
            yield f"warning: {self.order.fault}"
        yield from self._changing_names()
        doubtful = [
            (name, one.first) for name, one in self.speakers.values() if one.count == 1 and reads_like_sentence(name)
        ]
        for name, line in doubtful[:3]:
            yield (
                f"warning: line {line}: {name[:60]!r} is taken for a speaker, speaks once and reads like the beginning "
                "of a sentence"
            )
        if len(doubtful) > 3:
            yield f"warning: more names like these: {len(doubtful) - 3:,}"

    def _changing_names(self) -> Iterator[str]:
        """A warning where names differ only in numbers that may be times, or may count turns."""
        first: dict[str, str] = {}
        for key, (name, _) in self.speakers.items():
            bare = _CHANGING.sub("0", key)
            other = first.setdefault(bare, name) if bare != key and any(map(str.isalpha, bare)) else name
            if other != name:
                yield f"warning: {other[:60]!r} and {name[:60]!r} are taken for two people: are the numbers times?"
                return
        names = [name for name, _ in self.speakers.values()]
        alike = {re.sub(r"\d+", "", key) for key in self.speakers}
        are_turns = all(one.count == 1 and not reads_like_sentence(name) for name, one in self.speakers.values())
        if are_turns and len(alike) * 2 <= len(names) >= FEWEST_ALIKE:
            told = f"warning: {names[0][:60]!r}, {names[1][:60]!r} and so on are taken for {len(names):,} people"
            yield f"{told}, each of whom speaks once: are the numbers those of turns?"

    def speaker_lines(self) -> Iterator[str]:
        """Lines such as 'Ruth Hale: 12 turns', those with most turns first."""
        ranked = sorted(self.speakers.values(), key=lambda pair: -pair[1].count)
        for name, one in ranked[:100]:
            yield f"{as_line(name)}: {counted(one.count, 'turn')}"
        if len(ranked) > 100:
            yield f"and {counted(len(ranked) - 100, 'more speaker')}"
