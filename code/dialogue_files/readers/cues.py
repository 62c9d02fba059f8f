"""Cues of subtitles in WebVTT, SRT, SBV and ASS: when each is shown, and the lines that it shows.

A cue begins at its line of times, whatever blank lines stand around or in it.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

from dialogue_files.turns import LONGEST_UTTERANCE, LineError, read_lines

MOST_LINES = 1_000  # of a cue
_CLOCK = r"(?:\d+:)?\d{1,2}:\d{2}(?:[:.,]\d{1,3})?"
_TIMES = re.compile(rf"\s*(?P<begin>{_CLOCK})\s*-->\s*(?P<end>{_CLOCK})(?:\s.*)?")
_SBV_TIMES = re.compile(r"(?P<begin>\d+:\d\d:\d\d\.\d{3}),(?P<end>\d+:\d\d:\d\d\.\d{3})\s*")
_EXACT = r"\d+:\d\d:\d\d|\d\d:\d\d[.,]\d{3}"
# Lines that are meant as times of a cue, but are malformed.
_BAD_TIMES = re.compile(rf"\s*+({_EXACT})[^\s\-–—=→]*+\s*+(?:-++>?|–|—|=++>|→)\s*+({_EXACT})\S*+\s*+")
_NO_CUE = re.compile(r"NOTE(?:\s.*)?|STYLE\s*|REGION\s*")
_ASS_BLOCK = re.compile(r"(\{[^{}]*\})")
_DRAWS = re.compile(r"\\p(\d)")
# The name of a cue by Webex, which holds the speaker.
_SPEAKING_MARK = re.compile(r'\d+ "(?P<name>[^"]+)" \(\d+\)')


def is_clock(text: str) -> bool:
    """Whether a text is a time: '0:00:01.50'."""
    return re.fullmatch(_CLOCK, text) is not None


def is_timing(line: str) -> bool:
    """Whether a line is the times of a cue in WebVTT or SRT."""
    return _TIMES.fullmatch(line) is not None


@dataclass
class Cue:
    """A cue of a subtitle file.

    lines: (number in the file, text), blank ones too. speaker: from the cue's name, None where it does not tell. begin:
    when it is shown, in seconds from the beginning, None where that is no time. seconds: for how long.
    """

    line: int
    begin: float | None
    seconds: float
    speaker: str | None = None
    lines: list[tuple[int, str]] = field(default_factory=list)


def read_cues(stream: BinaryIO) -> Iterator[Cue]:
    """The cues of a file, one at a time; LineError for lines before the first cue that belong to no header."""
    head = _Head()
    cue, note, blank = None, False, True
    for number, line in read_lines(stream):
        line = line.rstrip("\r\n")
        times = (_TIMES if "-->" in line else _SBV_TIMES).fullmatch(line)
        if times:
            mark = head.mark if cue is None else head.take_mark(cue.lines)
            if cue is not None:
                yield cue
            head.counted |= cue is None and mark.isdigit()
            named = _SPEAKING_MARK.fullmatch(mark)
            begin = _seconds(times["begin"])
            cue, note = Cue(number, begin, _seconds(times["end"]) - begin, named["name"] if named else None), False
        elif note:
            note = bool(line.strip())
        elif head.webvtt and blank and _NO_CUE.fullmatch(line):
            note = True
        elif ("-->" in line and line.lstrip()[:1].isdigit()) or _BAD_TIMES.fullmatch(line):
            raise LineError(
                number, f"{line.strip()[:60]!r} are no times, allowed are such as 00:00:01,000 --> 00:00:02,500"
            )
        elif cue is None:
            head.read(number, line)
        else:
            cue.lines.append((number, line))
            if len(cue.lines) > MOST_LINES or sum(len(text) for _, text in cue.lines[-2:]) > LONGEST_UTTERANCE:
                raise LineError(number, "a cue does not end, allowed is a line of times with '-->' before each")
        blank = not line.strip()
    if cue is None:
        head.end()
    else:
        head.drop_orphans(cue.lines)
        yield cue


def _without_drawings(text: str) -> str:
    r"""A text without drawings, which stand between a block with `\p1` and one with `\p0`."""
    said, draws = [], False
    for one in _ASS_BLOCK.split(text):
        if one.startswith("{") and (scales := _DRAWS.findall(one)):
            draws = scales[-1] != "0"
        elif not draws:
            said.append(one)
    return "".join(said)


def read_ass_cues(stream: BinaryIO) -> Iterator[Cue]:
    """The cues of SubStation Alpha, .ass and .ssa; LineError for one without the columns that its head names."""
    columns: list[str] = []
    for number, line in read_lines(stream):
        kind, _, rest = line.lstrip().partition(":")
        if kind == "Format":
            columns = [name.strip() for name in rest.split(",")]
        elif kind == "Dialogue":
            cells = dict(zip(columns, (cell.strip() for cell in rest.split(",", len(columns) - 1)), strict=False))
            if not {"Start", "End", "Text"} <= cells.keys():
                raise LineError(
                    number, "a cue without its columns, allowed is a line 'Format:' with Start, End, Text before"
                )
            lines = [(number, text) for text in re.split(r"\\[Nn]", _without_drawings(cells["Text"]))]
            if len(lines) > MOST_LINES:
                raise LineError(number, f"a cue of {len(lines):,} lines, allowed are {MOST_LINES:,}")
            begin = _seconds(cells["Start"]) if is_clock(cells["Start"]) else None
            yield Cue(number, begin, 1.0, cells.get("Name") or cells.get("Actor") or None, lines)


class _Head:
    """The lines before the first cue, which show how cues are marked.

    counted: whether cues have numbers. mark: number or name of the first cue.
    """

    def __init__(self) -> None:
        self.webvtt, self.counted, self.mark, self._at, self._inside = False, False, "", 0, False

    def read(self, number: int, line: str) -> None:
        """Takes a line before the first cue; LineError when no such line is allowed there."""
        line = line.strip()
        if number == 1 and line.startswith("WEBVTT"):
            self.webvtt = self._inside = True
        elif not line:
            self._inside = False
            if not self.mark.isdigit():  # a number without a cue is allowed
                self.end()
            self.mark = ""
        elif not self._inside:
            self.end()
            self.mark, self._at = line, number

    def end(self) -> None:
        """LineError when a line was taken for the mark of a cue that did not come."""
        if self.mark:
            told = f"no cue begins with {self.mark[:60]!r}, allowed is a line of times with '-->'"
            raise LineError(self._at, told)

    def take_mark(self, lines: list[tuple[int, str]]) -> str:
        """Take the next cue's number or name off the end of a cue's lines."""
        mark = ""
        if lines and (last := lines[-1][1].strip()):
            after_blank = len(lines) > 1 and not lines[-2][1].strip()
            if (self.counted and last.isdigit()) or (self.webvtt and after_blank) or _SPEAKING_MARK.fullmatch(last):
                mark = last
                lines.pop()
        self.drop_orphans(lines)
        return mark

    def drop_orphans(self, lines: list[tuple[int, str]]) -> None:
        """Take blank lines, and numbers that no cue follows, off the end of a cue's lines."""
        while lines:
            if lines[-1][1].strip():
                after_blank = len(lines) > 1 and not lines[-2][1].strip()
                if not (self.counted and after_blank and lines[-1][1].strip().isdigit()):
                    return
            lines.pop()


def _seconds(clock: str) -> float:
    seconds = 0.0
    for part in clock.replace(",", ".").split(":"):
        seconds = 60 * seconds + float(part)
    return seconds
