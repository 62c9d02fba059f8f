"""Reads turns from a pipe, line by line; a line that cannot be read is left out, and reading goes on."""

import io
import re
from collections.abc import Callable, Iterator
from copy import copy
from itertools import chain
from typing import BinaryIO

from basics.errors import UserError
from dialogue_files.names import is_name, lists_people
from dialogue_files.readers.encodings import OLD_ENDS
from dialogue_files.readers.headings import heading_name, is_label_line
from dialogue_files.readers.json_dialogues import LiveJson
from dialogue_files.readers.layouts import Layout, find_layout, layout_of_first
from dialogue_files.readers.lines import is_named_line, nobodys_kind, split_name
from dialogue_files.readers.transcripts import LiveText
from dialogue_files.report import EMPTY, LeftOut, Remark, Report
from dialogue_files.turns import LONGEST_LINE, LineError, Read, ReadTurn, SpokenTurn, TurnCounter, decode_line

# Forms in which each line is a turn, or a dialogue, and can be read before the next line is there.
LIVE_FORMATS = ("text", "jsonl")
UNREADABLE = "lines that cannot be read"
MOST_AT_FIRST = 20  # unreadable lines before any turn; then it is taken for another form, and reading ends
# '[0:05] Ann:', '[They laugh.]' and '{They laugh.}' are text; with single quotes it is meant as JSON, but is none.
_OBJECT = re.compile(r"\s*(?:\[\s*)?\{\s*[\"']")
_JSON = re.compile(r"\s*(?:\{\s*(?:[\"'}]|$)|\[\s*(?:[\[{\"'\]]|$))")


class LiveLines:
    """Reads the turns of a stream. form: one of `LIVE_FORMATS`; None: told by the lines up to the first turn.

    tell: called with a warning for each line that is left out.
    """

    def __init__(self, stream: BinaryIO, form: str | None, report: Report, tell: Callable[[str], None]) -> None:
        is_file = stream.seekable() and form != "jsonl"
        self.ends = _LineFeeds(stream)
        stream = io.BufferedReader(self.ends)
        text = FollowedText(find_layout(stream) if is_file else None)
        for remark in text.layout.remarks:
            report.note(remark)
        self.stream, self.form, self.report, self.tell = stream, form, report, tell
        self.is_asked, self.has_turn = form is not None, False
        self.readers = {"text": text, "jsonl": LiveJson()}
        self.counter = TurnCounter(report)

    def turns(self) -> Iterator[SpokenTurn]:
        """Yields each turn before the next line is read.

        Raises:
            UserError: the stream is not UTF-8 text, or none of the first `MOST_AT_FIRST` lines could be read.
        """
        for number, line in _lines(self.stream):
            try:
                turns = self._read(number, line)
            except LineError as error:
                self._leave_out(error, b"\0" in line)
                continue
            self.has_turn |= bool(turns)
            yield from turns
        for one in chain.from_iterable(reader.end() for reader in self.readers.values()):
            self.report.note(one)
        if self.ends.are_old:
            self.report.note(OLD_ENDS)

    def _read(self, number: int, line: bytes) -> list[SpokenTurn]:
        text = decode_line(number, line)
        if not self.has_turn and not self.is_asked:
            self.form = "jsonl" if _JSON.match(text) else "text"
        elif not self.is_asked and self.form == "text" and _OBJECT.match(text):
            told = "JSON among lines of text, allowed is 'Name: utterance'"
            raise LineError(number, f"{told}; --input_format jsonl reads JSON alone")
        before = copy(self.readers[self.form])
        try:
            return self.counter.take_all(self.readers[self.form].read(number, text))
        except LineError:
            self.readers[self.form] = before
            raise

    def _leave_out(self, error: LineError, has_zeros: bool) -> None:
        told = f"stdin line {error.line}"
        if has_zeros and not self.has_turn:
            raise UserError(f"{told}: {error.problem}")
        self.report.note(LeftOut(UNREADABLE, error.line))
        self.tell(f"warning: {told} is left out: {error.problem}")
        if not self.has_turn and self.report.left_out[UNREADABLE].count == MOST_AT_FIRST:
            allowed = "lines of 'Name: utterance' or of JSON"
            raise UserError(f"{told}: none of {MOST_AT_FIRST} lines could be read, allowed are {allowed}")


class FollowedText(LiveText):
    """Lines of text that come one by one, with names before the text or on lines of their own.

    The line below the first 'Ann:' decides: where it is no 'Name: utterance', each line below a name is a turn, and
    blank lines end no dialogue. layout: None where nothing is known beforehand; the first turn then tells it.
    """

    def __init__(self, layout: Layout | None = None) -> None:
        super().__init__(layout or Layout())
        self.is_marked, self.is_headed = layout is not None, None  # None: not decided yet
        self.name, self.silent = "", 0  # the name above; its line as long as no text stands below it, else 0

    def read(self, number: int, line: str) -> Iterator[Read]:
        """What a line holds: turns, remarks, what is left out; LineError where it cannot be read."""
        text = line.strip()
        if self.is_headed is False or number <= self.layout.head:
            yield from super().read(number, line)
        elif name := _name_above(text):
            yield from self._end_silence()
            self.name, self.silent = name, number
        elif nobodys_kind(text) or is_label_line(text, with_text=True):
            yield from super().read(number, line)
        elif text:
            yield from self._read_said(number, text)

    def _read_said(self, number: int, text: str) -> Iterator[Read]:
        """A line with speech: text below a name, or 'Name: utterance'. The first one decides where names stand."""
        is_named = is_named_line(text) and is_name(split_name(text)[0], 1)
        is_below = bool(self.name) and not is_named
        if self.is_headed is None:
            yield from self._mark(f"{self.name}: " if is_below else text)
            if is_below:
                yield Remark("names are taken to stand above the text: each line below one is a turn")
        if is_below:
            self.silent = 0
        yield from self._end_silence()
        read = list(super().read(number, f"{self.name}: {text}" if is_below else text))
        if self.is_headed is None and any(isinstance(one, ReadTurn) for one in read):
            self.is_headed = is_below
        self.name = split_name(text)[0] if self.is_headed and is_named else self.name
        yield from read

    def _mark(self, line: str) -> Iterator[Remark]:
        if not self.is_marked and (layout := layout_of_first(line)).remarks:
            self.set_layout(layout)
            yield from layout.remarks

    def _end_silence(self) -> Iterator[LeftOut]:
        if self.silent:
            yield LeftOut(EMPTY, self.silent)
        self.silent = 0

    def end(self) -> Iterator[Read]:
        """What is left to report at the end of the stream."""
        yield from self._end_silence()
        yield from super().end()


def _name_above(text: str) -> str | None:
    """'Ann' of 'Ann:' or 'Ann (0:05):' alone on a line; None for others: without a colon it may be what is said."""
    name = heading_name(text) if text.endswith((":", "\uff1a")) else None
    return None if name is None or lists_people(name) else name


def _lines(stream: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """(number from 1, line); a line that is too long is cut, but still too long, so that it is refused."""
    number = 0
    while line := stream.readline(LONGEST_LINE + 1):
        number += 1
        yield number, line
        while len(line) > LONGEST_LINE and not line.endswith(b"\n"):
            line = stream.readline(LONGEST_LINE + 1) or b"\n"


class _LineFeeds(io.RawIOBase):
    """A stream whose lines end in line feeds: where the first line ends in CR alone, as on old Macs, all CRs become LF.

    are_old: whether that is so; None as long as no line has ended.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self.stream, self.are_old = stream, None

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return self.stream.seekable()

    def tell(self) -> int:
        return self.stream.tell()

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self.stream.seek(offset, whence)

    def readinto(self, buffer: memoryview) -> int:
        block = self.stream.read1(len(buffer) - 1)
        if self.are_old is None and block.endswith(b"\r"):
            block += self.stream.read1(1)  # perhaps a line feed
        if self.are_old is None and (b"\r" in block or b"\n" in block):
            self.are_old = b"\n" not in block
        buffer[: len(block)] = block.replace(b"\r", b"\n") if self.are_old else block
        return len(block)
