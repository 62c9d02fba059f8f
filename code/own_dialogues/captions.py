"""Dialogues in subtitles, WebVTT and SRT, that say who speaks: `<v Name>` or `Name:`. A file is one dialogue.

A cue of two voices is two turns. A cue that names nobody is a turn of whoever spoke last.
"""

import html
import re
from collections.abc import Iterator
from typing import BinaryIO

from own_dialogues.turns import LineError, ReadTurn, read_lines

_VOICE = re.compile(r"<v(?:\.[^\s>]*)?[ \t]+([^>]*)>")
_TAG = re.compile(r"<[^<>]*>|\{\\[^{}]*\}")
# At most four words: what stands before a colon is often no name.
_NAMED_LINE = re.compile(r"(?:-\s*)?([^\s:：-][^\s:：]*(?:[ ][^\s:：]+){0,3})\s*[:：](?!\d)\s*(.*)")
_NO_CUES = ("WEBVTT", "NOTE", "STYLE", "REGION")

Block = list[tuple[int, str]]  # (line number, line) up to a blank line


def read_captions(stream: BinaryIO) -> Iterator[ReadTurn]:
    """Turns of a file of subtitles; LineError where a block is no cue, or nobody has been named yet."""
    speaker = None
    for block in _blocks(stream):
        for line, name, text in _voices(_spoken_lines(block)):
            speaker = name or speaker
            if not text:
                continue
            if speaker is None:
                raise LineError(line, "nobody has been named yet, allowed are '<v Name>text' and 'Name: text'")
            yield ReadTurn(0, None, speaker, text, line)


def _blocks(stream: BinaryIO) -> Iterator[Block]:
    block: Block = []
    for number, line in read_lines(stream):
        if line.strip():
            block.append((number, line.strip()))
        elif block:
            yield block
            block = []
    if block:
        yield block


def _spoken_lines(block: Block) -> Block:
    """The lines after the times; none for a block that is no cue and is allowed."""
    timing = next((place for place, (_, line) in enumerate(block[:2]) if "-->" in line), None)
    if timing is not None:
        return block[timing + 1 :]
    number, first = block[0]
    if first.startswith(_NO_CUES) or (len(block) == 1 and first.isdigit()):
        return []
    raise LineError(number, f"no cue begins with {first[:60]!r}, allowed is a line of times with '-->'")


def _voices(lines: Block) -> Iterator[tuple[int, str | None, str]]:
    """(line, name if one is given, text) of each voice of a cue."""
    name, spoken, last = None, [], 0
    for number, line in lines:
        for new_name, text in _pieces(line):
            if new_name:
                yield last, name, " ".join(spoken)
                name, spoken = new_name, []
            spoken += [text] if text else []
            last = number
    yield last, name, " ".join(spoken)


def _pieces(line: str) -> Iterator[tuple[str | None, str]]:
    """(name if one is given, text) of each part of a line."""
    before, *voices = _VOICE.split(line)
    if voices:
        yield None, _plain(before)
        for name, text in zip(voices[::2], voices[1::2], strict=True):
            yield _plain(name), _plain(text)
        return
    plain = _plain(line)
    named = _NAMED_LINE.fullmatch(plain)
    yield (named[1], named[2]) if named else (None, plain)


def _plain(text: str) -> str:
    return html.unescape(_TAG.sub("", text)).strip()
