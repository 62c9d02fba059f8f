"""Reads chats that KakaoTalk saves on computers: a rule with the day, then lines of '[name] [time] text'.

Those of phones look like WhatsApp's and are read as these.
"""

import re
from collections.abc import Iterator, Sequence
from typing import BinaryIO

from dialogue_files.readers.chats.messages import ATTACHMENTS, CLOCK, DELETED, NOTICES, Message, unmarked
from dialogue_files.report import LeftOut
from dialogue_files.turns import Read, ReadTurn, read_lines

MOST_ABOVE = 4  # lines above the first rule, and it
_RULE = re.compile(r"-{5,}\s(?=[^-]*\d)[^-]{1,60}\s-{5,}")
_HEAD = re.compile(rf"\[(?P<name>[^\s\n](?:.{{0,98}}?\S)??)\] \[{CLOCK}\](?: (?P<text>.*))?", re.DOTALL)
_ATTACHED = re.compile(
    r"사진(?: \d+장)?|동영상|이모티콘|음성메시지|photos?(?: \d+)?|video|emoticons?|voice message"
    r"|(?:파일|file): .*\.\w{2,5}",
    re.I,
)
_DELETED = re.compile(
    r"(?:삭제된 메시지입니다|메시지가 삭제되었습니다|this message was deleted|the message has been deleted)\.?", re.I
)
_CALL = re.compile(
    r"(?:보이스톡|페이스톡|라이브톡)(?: (?:해요|취소|부재중|응답 없음|거절|종료))?(?: \d+:\d\d(?::\d\d)?)?"
    r"|(?:voice|video) call(?: (?:ended|canceled|missed|no answer))?(?: \d+:\d\d(?::\d\d)?)?",
    re.I,
)
# Somebody came, left, was invited or promoted; who runs the room has hidden a message or named the room.
_DONE = re.compile(
    r".{1,200}님(?:이 (?:들어왔습니다|나갔습니다)\..{0,150}|을 .{0,150}(?:초대|내보).{0,20}|이 부방장.{1,20}습니다\.)"
    r"|방장이 변경되었습니다\.|.{0,100}채팅방 이름을.{1,200}변경.{1,5}습니다\.|운영정책을 위반한 메시지로.{0,150}"
    r"|채팅방 관리자가 메시지를 가렸습니다\."
    r"|.{1,100} (?:(?:joined|left)|invited .{1,100} to) (?:this|the) chat ?room\."
)


def is_kakao(lines: Sequence[str]) -> bool:
    """Whether a rule with the day stands below a title at most, and above a message; notices may be between."""
    plain = [unmarked(line) for line in lines]
    first = next((at for at, line in enumerate(plain[:MOST_ABOVE]) if _RULE.fullmatch(line)), len(plain))
    below = (line for line in plain[first:] if not (_RULE.fullmatch(line) or _DONE.fullmatch(line)))
    return _HEAD.fullmatch(next(below, "")) is not None


def read_kakao(stream: BinaryIO) -> Iterator[Read]:
    """Messages of a chat, those of several lines too, among which a notice may stand."""
    message = None
    for number, line in read_lines(stream):
        line = line.strip()
        head = _HEAD.fullmatch(line)
        if head or _RULE.fullmatch(line):
            if message is not None:
                yield _item(message)
            message = Message(head["name"], head["text"] or "", number) if head else None
        elif _DELETED.fullmatch(line):
            yield LeftOut(DELETED, number)
        elif _DONE.fullmatch(line) or (message is None and line):
            yield LeftOut(NOTICES, number)
        elif message is not None:
            message.add(line, number)
    if message is not None:
        yield _item(message)


def _item(message: Message) -> Read:
    text = message.text.strip()
    kinds = ((_ATTACHED, ATTACHMENTS), (_DELETED, DELETED), (_CALL, NOTICES))
    kind = next((kind for pattern, kind in kinds if pattern.fullmatch(text)), None)
    return LeftOut(kind, message.line) if kind else ReadTurn(0, None, message.speaker, text, message.line)
