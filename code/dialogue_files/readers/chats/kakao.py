"""Reads chats that KakaoTalk saves on computers: a rule with the day, then lines of '[name] [time] text'.

Those of phones look like WhatsApp's and are read as these.
"""

import re
from collections.abc import Iterator, Sequence
from typing import BinaryIO

from dialogue_files.readers.chats.messages import ATTACHMENTS, CLOCK, DELETED, NOTICES, Message, unmarked
from dialogue_files.report import LeftOut
from dialogue_files.turns import Read, ReadTurn, read_lines

_RULE = re.compile(r"-{5,}\s[^-]{1,60}\s-{5,}")
_HEAD = re.compile(rf"\[(?P<name>[^\s\n](?:.{{0,98}}?\S)??)\] \[{CLOCK}\](?: (?P<text>.*))?", re.DOTALL)
_ATTACHED = re.compile(
    r"사진(?: \d+장)?|동영상|이모티콘|음성메시지|파일: .*|photos?(?: \d+)?|video|emoticons?|voice message|file: .*",
    re.I,
)
_DELETED = re.compile(r"(?:삭제된 메시지입니다|this message was deleted|the message has been deleted)\.?", re.I)
_CALL = re.compile(r"(?:보이스톡|페이스톡|라이브톡|voice call|video call|live talk)\b.{0,30}", re.I)
# Somebody came, left or was invited; the app or who runs the room has hidden a message.
_DONE = re.compile(
    r".{1,200}님(?:이 (?:들어왔습니다|나갔습니다)|을 .{0,150}(?:초대|내보).{0,20})\.?"
    r"|채팅방 관리자가 메시지를 가렸습니다\."
    r"|.{1,100} (?:(?:joined|left)(?: (?:this|the) chat(?:room)?)?|invited .{1,100})\."
)


def is_kakao(lines: Sequence[str]) -> bool:
    """Whether there are a rule with a day and a message behind it."""
    plain = [unmarked(line) for line in lines]
    first = next((at for at, line in enumerate(plain) if _RULE.fullmatch(line)), len(plain))
    return any(_HEAD.fullmatch(line) for line in plain[first:])


def read_kakao(stream: BinaryIO) -> Iterator[Read]:
    """Messages of a chat, those of several lines too."""
    message = None
    for number, line in read_lines(stream):
        line = line.strip()
        head = _HEAD.fullmatch(line)
        is_notice = _RULE.fullmatch(line) or _DONE.fullmatch(line)
        if head or is_notice or message is None:
            if message is not None:
                yield _item(message)
            message = Message(head["name"], head["text"] or "", number) if head else None
            if not head and line and not _RULE.fullmatch(line):
                yield LeftOut(NOTICES, number)
        else:
            message.add(line, number)
    if message is not None:
        yield _item(message)


def _item(message: Message) -> Read:
    text = message.text.strip()
    kinds = ((_ATTACHED, ATTACHMENTS), (_DELETED, DELETED), (_CALL, NOTICES))
    kind = next((kind for pattern, kind in kinds if pattern.fullmatch(text)), None)
    return LeftOut(kind, message.line) if kind else ReadTurn(0, None, message.speaker, text, message.line)
