"""Turns as they come through a pipe, a line at a time: a line that cannot be read is left out, and the rest goes on."""

import re
from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import BinaryIO

from basics.errors import UserError
from dialogue_files.names import is_name, lists_people
from dialogue_files.readers.headings import TIMED_HEADINGS, heading_name
from dialogue_files.readers.json_dialogues import LiveJson
from dialogue_files.readers.layouts import find_layout, layout_of_first
from dialogue_files.readers.lines import is_named_line, nobodys_kind, split_name
from dialogue_files.readers.transcripts import LiveText
from dialogue_files.report import EMPTY, LeftOut, Remark, Report
from dialogue_files.turns import LONGEST_LINE, LineError, Read, ReadTurn, SpokenTurn, TurnCounter, decode_line

# In these a line is a turn, or a dialogue, and can be read before the next one is there.
LIVE_FORMATS = ("text", "jsonl")
UNREADABLE = "lines that cannot be read"
MOST_AT_FIRST = 20  # such lines before any turn; after these it is another form, and so will be all that comes
# '[0:05] Ann:', '[They laugh.]' and '{They laugh.}' are text; what has single quotes is meant as JSON, and none.
_OBJECT = re.compile(r"\s*(?:\[\s*)?\{\s*[\"']")
_JSON = re.compile(r"\s*(?:\{\s*(?:[\"'}]|$)|\[\s*(?:[\[{\"'\]]|$))")


class LiveLines:
    """The turns of a stream. form: one of `LIVE_FORMATS`; None: that of the first line in which a turn is found.

    tell: gets a line for each line that is left out.
    """

    def __init__(self, stream: BinaryIO, form: str | None, report: Report, tell: Callable[[str], None]) -> None:
        is_file = stream.seekable() and form != "jsonl"
        text = LiveText(find_layout(stream)) if is_file else PipedText()
        for remark in text.layout.remarks:
            report.note(remark)
        self.stream, self.form, self.report, self.tell = stream, form, report, tell
        self.is_asked, self.has_turn = form is not None, False
        self.readers = {"text": text, "jsonl": LiveJson()}
        self.counter = TurnCounter(report)

    def turns(self) -> Iterator[SpokenTurn]:
        """Each before the next line is read.

        Raises:
            UserError: no line to come will be read either: it is no UTF-8, or none of the first lines could be read.
        """
        for number, line in _lines(self.stream):
            try:
                turns = self._read(number, line)
            except LineError as error:
                self._leave_out(error, b"\0" in line)
                continue
            self.has_turn |= bool(turns)
            yield from turns
        for one in self.readers[self.form or "text"].end():
            self.report.note(one)

    def _read(self, number: int, line: bytes) -> list[SpokenTurn]:
        text = decode_line(number, line)
        if not self.has_turn and not self.is_asked:
            self.form = "jsonl" if _JSON.match(text) else "text"
        elif not self.is_asked and self.form == "text" and _OBJECT.match(text):
            told = "JSON among lines of text, allowed is 'Name: utterance'"
            raise LineError(number, f"{told}; --input_format jsonl reads JSON alone")
        before = deepcopy(self.readers[self.form])
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


class PipedText(LiveText):
    """Lines of text of which none is known before it comes: the first that says anything tells how they are marked.

    Where that is a name, above another line, each line below a name is a turn, and blank lines end no dialogue.
    """

    def __init__(self) -> None:
        super().__init__(layout_of_first(""))
        self.above, self.heading, self.is_timed, self.is_headed, self.is_plain = "", 0, False, False, False

    def read(self, number: int, line: str) -> Iterator[Read]:
        """What a line is; LineError when it is no turn and nothing else."""
        text = line.strip()
        if self.is_plain or nobodys_kind(text):
            yield from super().read(number, line)
        elif (name := heading_name(text)) is not None and not lists_people(name):
            self.above, self.heading = name, number
            self.is_timed = any(heading_name(text, kind) for kind in TIMED_HEADINGS)
        elif self.above and text and ((self.is_headed and self.is_timed) or not _is_named(text)):
            if not self.is_headed:
                yield Remark("names are taken to stand above the text: each line below one is a turn")
            self.is_headed = True
            yield from super().read(number, f"{self.above}: {text}")
        elif self.is_headed:
            self.above = split_name(text)[0] if text else self.above
            yield from super().read(number, line) if text else ()
        else:
            yield from self._read_plain(number, line)

    def _read_plain(self, number: int, line: str) -> Iterator[Read]:
        """A line of text without headings; what looked like one said nothing."""
        if line.strip() and self.above:
            yield LeftOut(UNREADABLE if self.is_timed else EMPTY, self.heading)
        if not self.is_plain and (layout := layout_of_first(line.strip())).remarks:
            self.set_layout(layout)
            yield from layout.remarks
        read = list(super().read(number, line))
        self.is_plain = any(isinstance(one, ReadTurn) for one in read)
        yield from read


def _is_named(text: str) -> bool:
    return is_named_line(text) and is_name(split_name(text)[0], 1)


def _lines(stream: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """(number from 1, line); of one that is too long a part, which is too long as well."""
    number = 0
    while line := stream.readline(LONGEST_LINE + 1):
        number += 1
        yield number, line
        while len(line) > LONGEST_LINE and not line.endswith(b"\n"):
            line = stream.readline(LONGEST_LINE + 1) or b"\n"
