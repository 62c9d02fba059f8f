"""Turns as they come, from stdin or another pipe: each is answered before the next is read."""

import sys
from dataclasses import dataclass
from typing import BinaryIO

from basics.errors import UserError
from dialogue_files.live import UNREADABLE, LiveLines
from dialogue_files.reading import FileCounts, warn_of_speakers
from dialogue_files.report import Report
from own_dialogues.recognizer import EmotionRecognizer
from own_dialogues.writing import OUTPUTS, printer

EXIT_INCOMPLETE = 1  # lines were left out; 2 says that nothing was answered, or nothing more could be
INVITATION = (
    "a turn a line, please: Name: utterance, with an empty line between dialogues, or a JSON object with speaker and "
    "text; Ctrl-D ends"
)


@dataclass(frozen=True)
class Followed:
    """What was answered. shortened: turns that were too long for the prompt."""

    counts: FileCounts
    shortened: int

    @property
    def is_whole(self) -> bool:
        """Whether every line could be read."""
        return UNREADABLE not in self.counts.report.left_out


def follow_stream(
    recognizer: EmotionRecognizer, stream: BinaryIO, input_format: str | None, output_format: str
) -> Followed:
    """Answer every turn of a stream on stdout as it comes, until the stream ends.

    A line that cannot be read is told on stderr and left out. input_format: one of `live.LIVE_FORMATS`; None: by how
    the stream begins.

    Raises:
        UserError: no line can be read; or there is no turn.
    """
    config = recognizer.config
    show = printer(sys.stdout, OUTPUTS[output_format], config.labels)
    turns = dialogues = speakers = shortened = 0
    report = Report()
    for (row,) in recognizer.predict_turns(LiveLines(stream, input_format, report, _tell).turns(), size=1):
        show([row])
        turns, dialogues, shortened = turns + 1, dialogues + (row.turn.turn == 0), shortened + row.shortened
        if speakers <= config.speakers < row.turn.number + 1:
            warn_of_speakers(row.turn.number + 1, config.speakers, config.kind, config.speaker_offset)
        speakers = max(speakers, row.turn.number + 1)
    if not turns:
        left_out = f" (left out: {report.told_left_out()})" if report.left_out else ""
        raise UserError(f"stdin holds no utterance{left_out}, allowed are lines of 'Name: utterance' or of JSON")
    return Followed(FileCounts(dialogues, turns, speakers, report), shortened)


def _tell(line: str) -> None:
    print(UserError(line), file=sys.stderr)
