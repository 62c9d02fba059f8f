"""Dialogues as people and transcription services write them down: a name before a colon, or above the text."""

import re
from collections import Counter
from collections.abc import Collection, Generator, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
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
from dialogue_files.turns import LONGEST_NAME, LONGEST_UTTERANCE, LineError, Read, ReadTurn, read_lines

DIRECTIONS, NOTICES, TIMES = "directions", "notices", "lines of times"
HEAD_LINES = 500  # by which it is decided how names stand
SHOUTS_PER_HEADING = 4  # lines in capitals for each name with a time, above which they are the names of a screenplay
NUMBERED = Remark("numbers before names are taken for those of the lines, and left out")
FEW = 5  # dialogues for each with two speakers, from which on blank lines seem to stand between speakers
_CLOCK = r"(?:\d{1,2}:)?\d{1,2}:\d{2}(?:[.,]\d{1,3})?(?:\s?(?:[AaPp]\.?\s?[Mm]|Uhr)\b\.?)?+"
_DAY = r"\d{1,4}[./-]\d{1,2}[./-]\d{1,4}"
_TIME = rf"(?:\[{_CLOCK}\]|\({_CLOCK}\)|{_CLOCK})"
_RANGE = rf"{_TIME}(?:\s*(?:-->|-|–|to)\s*{_TIME})?"
# What follows the first character of a name, which ends in what is no blank: so a long row of blanks is looked at once.
_REST = rf"(?:[^:：]{{0,{LONGEST_NAME - 2}}}?[^\s:：])??"
_NAMED = re.compile(rf"([^\s:：]{_REST})\s*+[:：](?!//|(?<=\d[:：])\d)\s*(.*)", re.DOTALL)
_TIME_BEFORE = re.compile(rf"{_RANGE}[\s\-–|]*(?=[^\s\d:：\-–|])")
_TIME_AFTER_NAME = re.compile(
    rf"([^\s:：\[(](?:[^:：\[(]{{0,{LONGEST_NAME - 2}}}?[^\s:：\[(])??)"
    rf"(?:\s*+(?:\[{_CLOCK}\]|\({_CLOCK}\))\s*+[:：]\s*+|\s++{_CLOCK}\s*+[:：]\s++)(\S.*)"
)
_TIME_AFTER_COLON = re.compile(rf"(?:\[{_CLOCK}\]|\({_CLOCK}\))\s*")
_ONLY_TIMES = re.compile(rf"{_RANGE}")
_BOLD = re.compile(
    r"(\*\*?|__?)\s*+([^\s*_:：](?:[^*:：]*?[^\s*:：])??)\s*+(?:[:：]\s*+\1|\1\s*+[:：])\s*(.*)", re.DOTALL
)
_BRACKETS = re.compile(r"\[([^\[\]]+)\]")
# What stands before a time where it is no name but the day, or speech.
_NO_NAME_BEFORE_TIME = re.compile(
    rf"(?:\w+,\s+)?(?:\w+\.?\s+\d{{1,2}}(?:st|nd|rd|th)?|\d{{1,2}}\.?\s+(?:de\s+)?\w+\.?)(?:,?\s+(?:de\s+)?\d{{4}})(?:,?\s+at)?"
    rf"|(?:\w+,?\s+)?{_DAY}|today|yesterday|(?:mon|tues|wednes|thurs|fri|satur|sun)day"
    r"|(?:it['’]s|it is)(?:\s+\w+)?|about|after|around|at|before|by|from|until",
    re.I,
)
_DATED = re.compile(rf"(?:{_NO_NAME_BEFORE_TIME.pattern}),?\s+{_CLOCK}(?:\s*\(.*\))?", re.I)
# What a name has and a dash has not: a letter, or a telephone's number or an emoji.
_OF_A_NAME = re.compile(r"[^\W\d_]|\+\d|[\u2600-\u27bf\U0001f000-\U0010ffff]")
_NAME_AND_COLON = re.compile(rf"(?P<name>[^\s:：]{_REST})\s*+[:：]")
# A line that is nothing but a name, with a time before or after it, or with a colon at its end.
_HEADINGS = (
    re.compile(rf"(?P<name>[^\s:：\[(](?:[^:：]{{0,{LONGEST_NAME - 2}}}?[^\s:：,\-–|])??)[\s,\-–|]++{_RANGE}\s*[:：]?"),
    re.compile(rf"{_RANGE}[\s\-–|]++(?P<name>[^\s\d:：\[(]{_REST})\s*+[:：]?"),
    re.compile(rf"\[(?P<name>[^\s\]][^\]]{{0,{LONGEST_NAME - 1}}})\]\s+{_RANGE}\s*"),
    _NAME_AND_COLON,
    re.compile(rf"(?P<name>[^\s:：\[(]{_REST}),?\s++\[{_DAY},?\s{_CLOCK}\]\s*[:：]?"),
)
_TIMED_HEADINGS = [kind for kind, pattern in enumerate(_HEADINGS) if pattern is not _NAME_AND_COLON]
_FOOTER = re.compile(
    r"(?:transcribed|transcript|captions?|subtitles|generated|recorded)\b.*\b(?:by|with)\b.*"
    r"|transcription ended after .*|.* (?:started|stopped) transcription"
    r"|this editable transcript was computer generated.*",
    re.I,
)
_LISTED = re.compile(r"(?:[-*•–]|>+)\s+(?=\S)")  # before each line of a list, or of what is quoted
_NUMBER = re.compile(
    r"(?:#?(\d{1,5})[.)]?|\((\d{1,5})\)|\[(\d{1,5})\])\s+(?=\S)"
)  # before each line of some transcripts
_CAPITALS = re.compile(r"[^\W\d_a-z][^a-z:：]{0,38}")
_SCENE = re.compile(
    r"(?:INT|EXT|INT\./EXT|I/E)[. ]|.*\b(?:CUT|FADE|DISSOLVE|SMASH)\b.*(?:TO|IN|OUT)\b.*[:.]?$|THE END\b|ACT\b|SCENE\b"
)
_MARKDOWN_HEADING = re.compile(r"#{1,6}\s")
_WORD = re.compile(r"[^\W_]")
_NO_TURN = (
    "is no turn, allowed is 'Name: utterance' on one line (a name has at most "
    f"{LONGEST_NAME} characters and no colon), with a blank line between dialogues"
)


class Asides:
    """What stands in brackets behind names, by a key of the name: where it differs, there may be two of the name."""

    def __init__(self) -> None:
        self._first: dict[str, str] = {}

    def take_off(self, name: str) -> Generator[Remark, None, str]:
        """The name without it; a remark where it may have told two people apart, once for each name."""
        bare = without_aside(name)
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
    lines = LiveText(stream.seekable() and is_numbered(stream))
    if lines.is_numbered:
        yield NUMBERED
    for number, line in read_lines(stream):
        yield from lines.read(number, line)
    yield from lines.end()


class LiveText:
    """The same of lines that come one by one. is_numbered: their numbers stand before the names."""

    def __init__(self, is_numbered: bool = False) -> None:
        self.is_numbered, self.asides = is_numbered, Asides()
        self.part, self.alone, self.speakers = 0, 0, frozenset()  # speakers: of this dialogue, two at most

    def read(self, number: int, line: str) -> Iterator[Read]:
        """What a line is; LineError when it is no turn and nothing else."""
        text = _without(_NUMBER, line.strip()) if self.is_numbered else line.strip()
        if not text:
            self._end_dialogue()
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


def is_numbered(stream: BinaryIO) -> bool:
    """Whether turns have numbers that ascend, up to a blank line; where they do not, '1. Witch' is somebody's name."""
    start = stream.tell()
    try:
        return _are_numbered(islice(read_lines(stream), HEAD_LINES))
    finally:
        stream.seek(start)


def _are_numbered(lines: Iterator[tuple[int, str]]) -> bool:
    last, in_block, with_number, without, names = -1, 0, 0, 0, set()
    with suppress(LineError):
        for _, line in lines:
            text = line.strip()
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
    if _ONLY_TIMES.fullmatch(text):
        return LeftOut(TIMES, number)
    if _FOOTER.fullmatch(text):
        return LeftOut(NOTICES, number)
    named = split_name(text)
    is_turn = named is not None and not is_label(named[0])
    if is_turn and not opened and lists_people(named[0]):
        is_turn = begun and not _is_list(named[1])
    if not is_turn and (
        named or _SCENE.match(text[:LONGEST_NAME]) or _MARKDOWN_HEADING.match(text) or not _WORD.search(text)
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


def heading_name(line: str, kind: int | None = None) -> str | None:
    """The name of a line that holds nothing but a name and perhaps a time, of a kind or any; None: another line."""
    for pattern in _HEADINGS if kind is None else _HEADINGS[kind : kind + 1]:
        found = pattern.fullmatch(line)
        name = found["name"].strip() if found else ""
        is_none = reads_like_sentence(name) or is_label(name) or _NO_NAME_BEFORE_TIME.fullmatch(name)
        if name and not is_none and (pattern is _NAME_AND_COLON or _OF_A_NAME.search(name)):
            return name
    return None


def commonest_heading(lines: Sequence[str]) -> int:
    """The kind of heading that most lines are of."""
    return max(range(len(_HEADINGS)), key=lambda kind: sum(heading_name(line, kind) is not None for line in lines))


def has_headings(lines: Sequence[str]) -> bool:
    """Whether names stand on lines above the text, rather than before it."""
    stripped = [line.strip() for line in lines]
    kind = commonest_heading(stripped)
    others = [line for line in stripped if heading_name(line, kind) is None]
    headings, named = len(stripped) - len(others), sum(map(is_named_line, others))
    if headings <= named or not others:
        return False
    return _HEADINGS[kind] is not _NAME_AND_COLON or _are_people(stripped, kind)


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


def is_named_line(line: str) -> bool:
    """Whether a line is 'Name: utterance' and the name is a person's, and no beginning of a sentence."""
    named = split_name(line)
    if named is None or not named[1]:
        return False
    return not (reads_like_sentence(named[0]) or is_label(named[0]) or lists_people(named[0]))


def read_headed(stream: BinaryIO) -> Iterator[Read]:
    """Turns whose name stands on a line of its own, above the text. The file is one dialogue."""
    head = [line.strip() for _, line in islice(read_lines(stream), HEAD_LINES) if line.strip()]
    kind = commonest_heading(head)
    with_colon = _HEADINGS[kind] is _NAME_AND_COLON
    known = {
        name_key(without_aside(name)) for line in head if with_colon and (name := heading_name(line, kind)) is not None
    }
    stream.seek(0)
    turn, asides = _GrowingTurn(), Asides()
    for number, line in read_lines(stream):
        line = line.strip()
        name = heading_name(line, kind) if line else None
        named = split_name(line) if with_colon and line and name is None else None
        if name is not None and (turn.speaker is not None or not lists_people(name)):
            yield from turn.end()
            turn.begin((yield from asides.take_off(name)), number)
        elif not line:
            continue
        elif turn.speaker is None or _FOOTER.fullmatch(line):
            yield LeftOut(NOTICES, number)
        elif is_direction(line) or _is_label_line(line, with_colon):
            yield LeftOut(DIRECTIONS, number)
        elif _ONLY_TIMES.fullmatch(line):
            yield LeftOut(TIMES, number)
        elif named and _is_somebody(named[0], known):
            yield from turn.end()
            name = yield from asides.take_off(named[0])
            if name_key(name) not in known:
                yield Remark(f"{name!r} is taken for a speaker, though the text stands beside it and not below")
            turn.begin(name, number)
            turn.add(named[1], number)
        else:
            turn.add(line, number)
    yield from turn.end()


def _is_somebody(name: str, known: Collection[str]) -> bool:
    """Whether what stands before a colon and text is a name, where others stand above; known: keys of those."""
    return len(name) <= LONGEST_NAME and (is_name(name, 1) or name_key(without_aside(name)) in known)


def _is_label_line(line: str, with_text: bool) -> bool:
    """Whether a line is 'Session 2:', said by nobody; with_text: or 'Session 2: the boat'."""
    named = split_name(line)
    return named is not None and is_label(named[0]) and (with_text or not named[1])


class _GrowingTurn:
    """A turn whose lines come one by one."""

    def __init__(self) -> None:
        self.speaker, self.text, self.line = None, "", 0

    def begin(self, speaker: str, line: int) -> None:
        """The next turn is of this speaker."""
        self.speaker, self.text, self.line = speaker, "", line

    def add(self, text: str, line: int) -> None:
        """One more line of it; LineError when it becomes too long."""
        self.text, self.line = f"{self.text} {text}".strip(), line
        if len(self.text) > LONGEST_UTTERANCE:
            told = f"the turn of {self.speaker!r} has more than {LONGEST_UTTERANCE:,} characters: is a name missing?"
            raise LineError(line, told)

    def end(self) -> Iterator[ReadTurn]:
        """The turn, if one has begun."""
        if self.speaker is not None:
            yield ReadTurn(0, None, self.speaker, self.text, self.line)
        self.speaker = None


def is_cue_name(line: str) -> bool:
    """Whether a line of a screenplay is a speaker's name: in capitals, alone, no scene and no cut."""
    bare = without_aside(line.strip())
    if not _CAPITALS.fullmatch(bare) or _SCENE.match(bare) or bare.endswith((".", "!", "?", "-")):
        return False
    return not is_label(bare)


def is_screenplay(lines: Sequence[str]) -> bool:
    """Whether names stand in capitals above the speech; of `Name: utterance` and of names with times there is little.

    A time that is said ('At 7:30') looks like a name with one, what is shouted like a name in capitals.
    """
    pairs = zip(lines, lines[1:], strict=False)
    cues = sum(is_cue_name(line) and not lists_people(line) and _has_lower(after) for line, after in pairs)
    if cues < 2 or cues <= sum(is_named_line(line.strip()) for line in lines):
        return False
    timed = max(sum(heading_name(line.strip(), kind) is not None for line in lines) for kind in _TIMED_HEADINGS)
    return timed < 2 or timed * SHOUTS_PER_HEADING < cues


def _has_lower(line: str) -> bool:
    return any(map(str.islower, line))


def read_screenplay(stream: BinaryIO) -> Iterator[Read]:
    """Turns of a screenplay: a name in capitals, the speech below it up to a blank line; the rest is directions."""
    turn, asides, begun = _GrowingTurn(), Asides(), False
    for number, line in read_lines(stream):
        line = line.strip()
        if not line:
            if turn.text:
                yield from turn.end()
                turn.text = ""
        elif turn.speaker is None and is_cue_name(line) and (begun or not lists_people(line)):
            begun = True
            turn.begin((yield from asides.take_off(line)), number)
        elif turn.speaker is None or is_direction(line):
            yield LeftOut(DIRECTIONS, number)
        else:
            turn.add(line, number)
    yield from turn.end()
