"""Reads chats that LINE saves on phones, in any of its languages: a line of day, then lines of time, name and text."""

import re
from collections.abc import Iterator, Sequence
from typing import BinaryIO

from dialogue_files.readers.chats.messages import ATTACHMENTS, CLOCK, NOTICES, Message, unmarked
from dialogue_files.report import LeftOut
from dialogue_files.turns import LineError, Read, ReadTurn, read_lines

# '2024/05/01(Wed)', '2024/05/01（水）', '2024.05.01 Wednesday', 'Wed, 5/1/2024'
_DAY = re.compile(
    r"\d{4}[./]\d{1,2}[./]\d{1,2}(?:\s?[(（][^\W\d]{1,9}\.?[)）]|\s[^\W\d]{1,12})"
    r"|[^\W\d]{1,12}\.?, \d{1,2}[./]\d{1,2}[./]\d{4}"
)
# Behind the time two tabs, or one alone, stand before what LINE itself says.
_HEAD = re.compile(rf"{CLOCK}\t(?:(?P<name>[^\t]{{0,100}})\t)?(?P<text>.*)", re.DOTALL)
# '[Sticker]', in the words of the app's language; of some kinds with words of the app or the name of a file behind it
_ATTACHED = re.compile(
    r"\[[^\W\d][^\[\]\n]{0,29}\]"
    r"|\[(?:File|Albums?|Location|Contact|ファイル|アルバム|位置情報|連絡先|檔案|相簿|位置資訊|聯絡資訊)\][^\n]*"
)
_CALL = "☎"
_WITHOUT_TABS = re.compile(rf"{CLOCK} [^\s:][^:\t]*")


def is_line(lines: Sequence[str]) -> bool:
    """Whether a line of day stands directly above a message, or above two of those that are refused."""
    days = [at for at, line in enumerate(lines[:-1]) if _DAY.fullmatch(unmarked(line))]
    return any(_HEAD.fullmatch(lines[at + 1]) for at in days) or _lacks_tabs(lines, days)


def _lacks_tabs(lines: Sequence[str], days: Sequence[int]) -> bool:
    """Whether all lines between the first two days are a time and more, without tabs: computers save them so."""
    first, end = [*days, len(lines), len(lines)][:2]
    said = lines[first + 1 : end]
    return len(said) > 1 and all(map(_WITHOUT_TABS.fullmatch, said))


def read_line(stream: BinaryIO) -> Iterator[Read]:
    """Messages of a chat; of several lines where these stand in quotes, or without a time.

    LineError where no tabs stand between name and text, as in what computers save.
    """
    message = None
    for number, line in read_lines(stream):
        line = line.rstrip("\r\n")
        head = _HEAD.fullmatch(line)
        if head or _DAY.fullmatch(unmarked(line)):
            if message is not None:
                yield _item(message)
            name = head and head["name"] and head["name"].strip()
            message = Message(name or None, head["text"], number) if head else None
        elif message is not None:
            message.add(line, number)
        elif _WITHOUT_TABS.fullmatch(line):
            raise LineError(number, "no tab ends the name, allowed is what LINE saves on a phone, not on a computer")
        elif line.strip():
            yield LeftOut(NOTICES, number)  # the title, when it was saved
    if message is not None:
        yield _item(message)


def _item(message: Message) -> Read:
    text = message.text.strip()
    if message.speaker is None or text.startswith(_CALL):
        return LeftOut(NOTICES, message.line)
    if _ATTACHED.fullmatch(text):
        return LeftOut(ATTACHMENTS, message.line)
    if "\n" in text and text[0] == text[-1] == '"':
        text = text[1:-1].replace('""', '"')
    return ReadTurn(0, None, message.speaker, text, message.line)
