"""What chats that are saved as text share: how a message begins and grows, what of it is left out."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from dialogue_files.turns import LONGEST_UTTERANCE, LineError

NOTICES, ATTACHMENTS, DELETED, REACTIONS = "notices", "attachments", "deleted messages", "reactions"
BOTS = "messages of bots"
# Marks of writing direction that phones put around names and notices.
DIRECTION_MARKS = re.compile("[\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]")
DATE = r"(?:\d{1,4}[./-] ?\d{1,2}[./-] ?\d{1,4}\.?|\d{4}[年년] ?\d{1,2}[月월] ?\d{1,2}[日일])"
# Halves of the day behind a time: English, Spanish; Arabic, Persian, Hebrew, Greek, Bulgarian, Ukrainian, Czech,
# Slovene, Finnish, Swedish, Vietnamese, Malay, as CLDR has them. Others stand before it, 'du. 7:35' in Hungarian.
_HALF = (
    r"(?:[AaPp]\.?\s?[Mm]\.?|[صم]|[قب]\.ظ\.|(?:לפנה|אחה)[״\"]צ|[πμ]\.μ\.|(?:пр|сл)\.об\.|[дп]п|(?:do|od|po)p\."
    r"|[ai]p\.|[fe]m|SA|CH|PG|PTG)"
)
CLOCK = rf"(?:[^\W\d]{{1,4}}\.?\s?)?\d{{1,2}}[:.]\d{{2}}(?:[:.]\d{{2}})?(?:\s?{_HALF})?"


@dataclass
class Message:
    """A message that grows by lines.

    speaker: None for a notice. by_phone: the phone says it in the person's name. attached: with a picture or a file.
    written: what an iPhone has written behind the text. is_bot: of a program.
    """

    speaker: str | None
    text: str
    line: int
    by_phone: bool = False
    attached: bool = False
    written: str = ""
    is_bot: bool = False

    def add(self, text: str, line: int) -> None:
        """One more line; LineError when the message becomes too long."""
        self.text, self.line = f"{self.text}\n{text}".lstrip("\n"), line
        if self.speaker is not None and len(self.text) > LONGEST_UTTERANCE:
            raise LineError(line, f"a message of {self.speaker!r} has more than {LONGEST_UTTERANCE:,} characters")
        self.text = self.text if self.speaker is not None else ""


def count_heads(lines: Sequence[str], pattern: re.Pattern[str]) -> int:
    """How many lines begin a message."""
    return sum(pattern.fullmatch(unmarked(line)) is not None for line in lines)


def unmarked(line: str) -> str:
    """A line without marks of direction, and without blanks at its ends."""
    return DIRECTION_MARKS.sub("", line).strip()
