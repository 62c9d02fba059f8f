"""Reads the chat that Zoom saves beside a recording."""

import re
from collections.abc import Iterator
from typing import BinaryIO

from dialogue_files.readers.chats.messages import NOTICES, REACTIONS, Message
from dialogue_files.report import LeftOut
from dialogue_files.turns import Read, ReadTurn, read_lines

HEAD = re.compile(
    r"(?:\d{4}-\d{2}-\d{2}\s+)?\d{1,2}:\d{2}:\d{2}\s++"
    r"(?:From\s++(?P<name>[^\s:](?:[^:]{0,98}?[^\s:])??)(?:\s++to\s++[^\s:](?:[^:]{0,198}?[^\s:])??)?\s*+:"
    r"(?:\s+(?P<text>.*))?"
    r"|(?P<short>[^\s:](?:[^:\t]{0,98}?[^\s:])??)\s*+(?<!\t):\t(?P<said>.*))",
    re.DOTALL | re.IGNORECASE,
)
_REACTION = re.compile(r"(?:Reacted to|Removed a .* reaction from)\s.*", re.DOTALL)
# What is quoted may hold quotes: it ends with its line, or with the dots of what is cut short; the newest Zoom writes a
# colon behind it.
_REPLY = re.compile(r"Replying to \"(?:[^\n]*\"(?=:?\n)|[^\n]*?\.\.\.\"|.*?\"(?=:?\n)|.*?\"):?\s*", re.DOTALL)
# The newest writes reactions below a message: 'Ann, Ben (he):\N{THUMBS UP SIGN}'.
_REACTED = re.compile(r"[^:]+:[^\w\s\x00-\u200c\u200e-\u203b]{1,20}")


def read_zoom_chat(stream: BinaryIO) -> Iterator[Read]:
    """Messages of the chat that Zoom saves beside a recording, of the old form (one line) and the new one (two)."""
    message = None
    for number, line in read_lines(stream):
        head = HEAD.fullmatch(line.strip())
        if head:
            if message is not None:
                yield from _items(message)
            name, text = (head["name"], head["text"]) if head["name"] else (head["short"], head["said"])
            message = Message(name, text or "", number)
        elif message is not None:
            message.add(line.strip(), number)
        elif line.strip():
            yield LeftOut(NOTICES, number)
    if message is not None:
        yield from _items(message)


def _items(message: Message) -> Iterator[Read]:
    """The message, behind the reactions that stand below it."""
    text = message.text.strip()
    if _REACTION.fullmatch(text):
        yield LeftOut(REACTIONS, message.line)
        return
    lines = text.split("\n")
    while len(lines) > 1 and _REACTED.fullmatch(lines[-1]):
        lines.pop()
        yield LeftOut(REACTIONS, message.line)
    yield ReadTurn(0, None, message.speaker, _without_reply("\n".join(lines)), message.line)


def _without_reply(text: str) -> str:
    found = _REPLY.match(text)
    return text[found.end() :] if found else text
