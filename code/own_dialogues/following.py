"""Turns as they come, from stdin or another pipe: each is answered before the next is read."""

import codecs
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from basics.errors import UserError
from dialogue_files.reading import FORMATS, FileCounts, warn_of_speakers
from dialogue_files.report import Report
from dialogue_files.turns import LineError, SpokenTurn, number_turns
from own_dialogues.recognizer import EmotionRecognizer
from own_dialogues.writing import OUTPUTS, printer

INVITATION = (
    "a turn a line, please: Name: utterance, with an empty line between dialogues, or a JSON object with speaker and "
    "text; Ctrl-D ends"
)


@dataclass(frozen=True)
class Followed:
    """What was answered. shortened: turns that were too long for the prompt."""

    counts: FileCounts
    shortened: int


def detect_format(stream: BinaryIO) -> str:
    """`jsonl` where a stream, of which nothing has been read, begins with a JSON value, else `text`."""
    begin = stream.peek(1).removeprefix(codecs.BOM_UTF8).lstrip()
    return "jsonl" if begin[:1] in (b"{", b"[") else "text"


def follow_stream(
    recognizer: EmotionRecognizer, stream: BinaryIO, input_format: str | None, output_format: str
) -> Followed:
    """Answer every turn of a stream on stdout as it comes, until the stream ends.

    input_format: one of `reading.LIVE_FORMATS`; None: by how the stream begins.

    Raises:
        UserError: a line is bad, those before it have been answered; or there is no turn.
    """
    config = recognizer.config
    show = printer(sys.stdout, OUTPUTS[output_format], config.labels)
    turns = dialogues = speakers = shortened = 0
    report = Report()
    for (row,) in recognizer.predict_turns(_read(stream, input_format, report), size=1):
        show([row])
        turns, dialogues, shortened = turns + 1, dialogues + (row.turn.turn == 0), shortened + row.shortened
        if speakers <= config.speakers < row.turn.number + 1:
            warn_of_speakers(row.turn.number + 1, config.speakers, config.kind, config.speaker_offset)
        speakers = max(speakers, row.turn.number + 1)
    if not turns:
        raise UserError("stdin holds no utterance, allowed are lines of 'Name: utterance' or of JSON")
    return Followed(FileCounts(dialogues, turns, speakers, report), shortened)


def _read(stream: BinaryIO, input_format: str | None, report: Report) -> Iterator[SpokenTurn]:
    try:
        yield from number_turns(FORMATS[input_format or detect_format(stream)].read(stream), report)
    except LineError as error:
        raise UserError(f"stdin {error}") from None
