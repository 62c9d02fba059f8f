"""Reads Discord: copied out of its window, or exported by DiscordChatExporter as text or as a table."""

import re
from collections.abc import Iterator, Sequence
from typing import BinaryIO

from dialogue_files.readers.chats.messages import (
    ATTACHMENTS,
    BOTS,
    CLOCK,
    DATE,
    NOTICES,
    REACTIONS,
    Message,
    count_heads,
)
from dialogue_files.readers.lines import DAY_IN_WORDS, without_times
from dialogue_files.readers.tables import fold_name, read_table
from dialogue_files.report import LeftOut
from dialogue_files.turns import Read, ReadTurn, read_lines

_DAY = rf"(?:{DATE}|{DAY_IN_WORDS}|\d\d-[A-Z][a-z]{{2}}-\d\d)"  # as of old: 01-May-24
_WHEN = rf"—\s++(?:{DATE},?\s|(?:Today|Yesterday) at\s)?{CLOCK}"
_HEAD = re.compile(
    rf"(?:\[{_DAY},?\s{CLOCK}\]\s(?P<name>[^:]{{1,100}}?)(?:\s\(pinned\))?"
    rf"|(?P<pasted>[^\s:](?:[^:]{{0,98}}?[^\s:])??)\s++{_WHEN})"
)
# Where something is shown beside a name, it and the time stand on lines of their own: 'MEE6', 'APP', '— 10:01 AM'.
_TIME = re.compile(_WHEN)
_BOT = "\tBOT"  # behind the name of a program, where both are put on one line
_TAG = re.compile(r"APP|BOT|OP|\[[^\[\]]{1,8}\]")
_BESIDE = re.compile(r":\w+:|\s\[[^\[\]]{1,8}\],\Z")  # a picture, the tag of a server
# What DiscordChatExporter writes for somebody.
_DONE = re.compile(
    r"(?:Joined the server|Started a (?:call.*|thread)|Pinned a message|Left the group|Added .* to the group"
    r"|Removed .* from the group|(?:Added|Removed) a recipient|Changed the channel icon|A poll has closed)\."
    r"|Changed the channel name(?:\.|: .*)"
)
# The same in the window, behind a line with the name: 'started a call that lasted 2 minutes. \u2014 10:01 AM'.
_EVENT = re.compile(
    r"(?:started a (?:call|thread)|pinned a message|changed the channel|added .* to the (?:group|thread)"
    r"|removed .* from the (?:group|thread)|left the group|boosted the server)\b.*"
)
_COLUMNS = {"author_id", "author", "date", "content", "attachments"}
_FILE = re.compile(r"Attachment file type: \w+")  # then lines of its name and its size
_PART = re.compile(r"\{(?:Attachments|Embed|Stickers|Reactions)\}")


def read_discord_text(stream: BinaryIO) -> Iterator[Read]:
    """Messages of DiscordChatExporter's plain text, or copied out of Discord: a line of name and time, then text."""
    message, inside, of_file = None, True, 0
    for number, line in _lines(stream):
        head = _HEAD.fullmatch(line)
        if head and head["pasted"] and _EVENT.match(head["pasted"]):
            if message is not None:  # the last line was the name
                message.text = message.text.rpartition("\n")[0]
            yield from _items(message)
            message = None
            yield LeftOut(NOTICES, number)
        elif head:
            yield from _items(message)
            name = head["name"] or head["pasted"]
            is_bot = name.endswith(_BOT)
            message = Message(_BESIDE.sub("", name).strip(), "", number, is_bot=is_bot)
            inside, of_file = True, 0
        elif line.startswith("=" * 20) or message is None:
            yield from _items(message)  # a footer
            message = None
            if line.strip("= "):
                yield LeftOut(NOTICES, number)
        elif _PART.fullmatch(line):
            message.speaker, inside = message.speaker if message.text.strip() else None, False
            yield LeftOut(REACTIONS if "Reactions" in line else ATTACHMENTS, number)
        elif line == "Image" or _FILE.fullmatch(line):
            message.attached, of_file = True, 0 if line == "Image" else 2
            yield LeftOut(ATTACHMENTS, number)
        elif of_file:
            of_file -= 1
        elif inside:
            message.add(without_times(line), number)
    yield from _items(message)


def is_discord_text(lines: Sequence[str]) -> bool:
    """Whether more than an eighth of the lines begin a message of `read_discord_text`."""
    return (count_heads(lines, _HEAD) + count_heads(lines, _TIME)) * 8 > len(lines)


def _lines(stream: BinaryIO) -> Iterator[tuple[int, str]]:
    """(number, line) of lines that are not blank; a name and a time of several lines as one line: 'ann — 10:01 AM'."""
    held: list[tuple[int, str]] = []
    for number, line in read_lines(stream):
        line = line.strip()
        if held and _TIME.fullmatch(line) and not _HEAD.fullmatch(held[-1][1]):
            tag = held.pop()[1] if len(held) > 1 and _TAG.fullmatch(held[-1][1]) else ""
            name = _BESIDE.sub("", held.pop()[1])
            yield from held
            yield number, f"{name}{_BOT * (tag in ('APP', 'BOT'))} {line}"
            held = []
        elif line:
            yield from held[:-1]
            held = [*held[-1:], (number, line)]
    yield from held


def _items(message: Message | None) -> Iterator[Read]:
    """The message, if there is one and anything was said in it."""
    if message is None or message.speaker is None or (message.attached and not message.text.strip()):
        return
    if message.is_bot:
        yield LeftOut(BOTS, message.line)
    elif _DONE.fullmatch(message.text.strip()):
        yield LeftOut(NOTICES, message.line)
    else:
        yield ReadTurn(0, None, message.speaker, message.text, message.line)


def is_discord_table(lines: Sequence[str]) -> bool:
    """Whether the first line is the header of DiscordChatExporter's CSV."""
    header = lines[0].replace('"', "").split(",") if lines else []
    return {fold_name(name) for name in header} >= _COLUMNS


def read_discord_table(stream: BinaryIO) -> Iterator[Read]:
    """Messages of DiscordChatExporter's CSV."""
    for one in read_table(stream, ","):
        is_notice = isinstance(one, ReadTurn) and _DONE.fullmatch(one.text.strip())
        yield LeftOut(NOTICES, one.line) if is_notice else one
