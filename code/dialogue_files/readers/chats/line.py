"""Reads chats that LINE saves on phones, in any of its languages: a line of day, then lines of time, name and text."""

import re
from collections.abc import Iterator, Sequence
from typing import BinaryIO

from dialogue_files.readers.chats.messages import ATTACHMENTS, CLOCK, NOTICES, Message, unmarked
from dialogue_files.report import LeftOut
from dialogue_files.turns import LineError, Read, ReadTurn, read_lines

# '2024/05/01(Wed)', '2024/05/01（水）', '2024.05.01 Wednesday', 'Wed, 5/1/2024'
_DAY = re.compile(
    r"\d{4}[./]\d{1,2}[./]\d{1,2}(?:\s?[(（][^\s\d()]{1,10}[)）]|\s[^\s\d.:]{1,15})"
    r"|[^\s\d,]{1,12}, \d{1,2}[./]\d{1,2}[./]\d{4}"
)
# Behind the time two tabs, or one alone, stand before what LINE itself says.
_HEAD = re.compile(rf"{CLOCK}\t(?:(?P<name>[^\t]{{0,100}})\t)?(?P<text>.*)", re.DOTALL)
# What stands in the place of what is no text, in the words of the app's language; a file's name may follow.
_WORDS = (
    "Sticker|Photo|Video|Voice message|File|Location|Contact|Albums?|Notes?|Poll|Gift"
    "|スタンプ|写真|動画|ボイスメッセージ|ファイル|位置情報|連絡先|アルバム|ノート|投票|プレゼント"
    "|貼圖|贴图|照片|影片|视频|語音訊息|语音消息|檔案|文件|位置資訊|聯絡資訊|相簿|記事本"
    "|스티커|사진|동영상|음성 메시지|파일|สติกเกอร์|รูปภาพ|วิดีโอ|ไฟล์|Stiker|Foto"
)
_ATTACHED = re.compile(
    rf"\[(?:{_WORDS})\]|\[(?:File|Albums?|Location|Contact|ファイル|アルバム|位置情報|連絡先|檔案|相簿)\][^\n]*"
)
_CALL = "☎"
# Of computers: a time, then name and text. 'Name: text' is another form; a colon of an address has no blank behind it.
_WITHOUT_TABS = re.compile(rf"{CLOCK} [^\s:](?:[^:\t]|:(?!\s|\Z))*")


def is_line(lines: Sequence[str]) -> bool:
    """Whether a line of day stands above a message and somebody is named, or above what is refused."""
    days = [at for at, line in enumerate(lines[:-1]) if _DAY.fullmatch(unmarked(line))]
    if any(_HEAD.fullmatch(lines[at + 1]) for at in days):
        return any(_name_in(_HEAD.fullmatch(line)) for line in lines)
    return bool(days) and _lacks_tabs(lines[days[0] :])


def _name_in(head: re.Match[str] | None) -> str:
    """Who writes; empty: LINE itself, or it is no head."""
    return (head["name"] or "").strip() if head else ""


def _lacks_tabs(lines: Sequence[str]) -> bool:
    """Whether more than half of the lines that are no day are a time and more, without tabs, and two at least."""
    said = [line for line in lines if not _DAY.fullmatch(unmarked(line))]
    timed = sum(_WITHOUT_TABS.fullmatch(line) is not None for line in said)
    return timed > 1 and timed * 2 > len(said)


def read_line(stream: BinaryIO) -> Iterator[Read]:
    """Messages of a chat; of several lines where these stand in quotes, or without a time.

    LineError where no tabs stand between name and text, as in what computers save.
    """
    message, has_tabs = None, False
    for number, line in read_lines(stream):
        line = line.rstrip("\r\n")
        head = _HEAD.fullmatch(line)
        name = _name_in(head)
        is_open = message is not None and _is_open(message.text)
        if (name or not is_open) and (head or _DAY.fullmatch(unmarked(line))):
            if message is not None:
                yield _item(message)
            message = Message(name or None, head["text"], number) if head else None
            has_tabs = has_tabs or head is not None
        elif message is not None:
            message.add(line, number)
        elif _WITHOUT_TABS.fullmatch(line) and not has_tabs:
            raise LineError(number, "no tab ends the name, allowed is what LINE saves on a phone, not on a computer")
        elif line.strip():
            yield LeftOut(NOTICES, number)  # the title, when it was saved
    if message is not None:
        yield _item(message)


def _is_open(text: str) -> bool:
    """Whether a text of several lines has begun with a quote that has not ended."""
    return text.startswith('"') and text.count('"') % 2 == 1


def _item(message: Message) -> Read:
    text = message.text.strip()
    if message.speaker is None or text.startswith(_CALL):
        return LeftOut(NOTICES, message.line)
    if _ATTACHED.fullmatch(text):
        return LeftOut(ATTACHMENTS, message.line)
    if "\n" in text and text[0] == text[-1] == '"':
        text = text[1:-1].replace('""', '"')
    return ReadTurn(0, None, message.speaker, text, message.line)
