"""Dialogues in JSON, read value by value, and in JSON Lines.

A value is an utterance (`{"speaker": "Ann", "text": "Hi."}`, with a key for its dialogue if there are several), a
list of utterances, or an object that holds such a list and perhaps an id. A file is an array of values, one
dialogue, or an object of dialogues by name or of a list of them. Of an array one value is held at a time; a file that
is one object is one value, and so held as a whole.
"""

import codecs
import json
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

from own_dialogues.tables import PartCounter, find_name, fold_name
from own_dialogues.turns import LineError, ReadTurn, read_lines

BLOCK = 1 << 16  # bytes
LARGEST_VALUE = 32 << 20  # characters
TOO_LARGE = (
    f", or a value of more than {LARGEST_VALUE >> 20} Mi characters, and each is held as a whole (a file that is one "
    "object is one value): write JSON Lines, a dialogue on each line"
)
TURN_LISTS = ("utterances", "turns", "messages", "conversation", "conversations", "dialogue", "dialog", "lines")
DIALOGUE_LISTS = ("dialogues", "dialogs", "data")
FORMS = (
    "allowed are utterances (an object with speaker and text), lists of them, and objects that hold such a list "
    "under utterances, turns or messages"
)


def read_json_lines(stream: BinaryIO) -> Iterator[ReadTurn]:
    """Turns of a file with one value on each line; blank lines are skipped."""
    parts = PartCounter()
    for number, line in read_lines(stream):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise LineError(number, f"not JSON ({_reason(error)}), allowed is one value on each line") from None
        yield from turns_of(value, parts, number)


def read_json(stream: BinaryIO) -> Iterator[ReadTurn]:
    """Turns of a JSON file; of an array only one element is held at a time."""
    text, parts = _Text(stream), PartCounter()
    if text.next_character() != "[":
        value, line = text.decode()
        text.expect_end()
        yield from _turns_of_whole(value, parts, line)
        return
    text.skip()
    if text.next_character() == "]":
        text.skip()
        return text.expect_end()
    mark = ","
    while mark == ",":
        value, line = text.decode()
        yield from turns_of(value, parts, line)
        mark = text.next_character()
        text.skip()
    if mark != "]":
        raise LineError(text.line, "not JSON, allowed is ',' or ']' after an element")
    text.expect_end()


def _turns_of_whole(value: Any, parts: PartCounter, line: int) -> Iterator[ReadTurn]:
    """A file that is one object: a dialogue, a list of them, or dialogues by name."""
    if not isinstance(value, dict) or _turn_list(value) is not None or _is_utterance(value):
        yield from turns_of(value, parts, line)
        return
    listed = next((value[name] for name in DIALOGUE_LISTS if isinstance(value.get(name), list)), None)
    if listed is not None:
        for one in listed:
            yield from turns_of(one, parts, line)
        return
    for name, one in value.items():
        turns = one if isinstance(one, list) else _turn_list(one) if isinstance(one, dict) else None
        if turns is None:
            raise LineError(line, f"{name!r} is no dialogue, {FORMS}")
        yield from _turns_of_list(turns, name, parts.of_dialogue(), line)


def turns_of(value: Any, parts: PartCounter, line: int) -> Iterator[ReadTurn]:
    """Turns of one value; LineError when it is nothing that holds any."""
    if isinstance(value, list):
        yield from _turns_of_list(value, None, parts.of_dialogue(), line)
    elif isinstance(value, dict) and (turns := _turn_list(value)) is not None:
        names = {fold_name(key): key for key in value if not isinstance(value[key], list)}
        key = names.get("id", find_name("dialogue", names))
        name = None if key is None or value[key] is None else str(value[key])
        yield from _turns_of_list(turns, name, parts.of_dialogue(), line)
    elif isinstance(value, dict):
        key = find_name("dialogue", {fold_name(key): key for key in value})
        name = None if key is None or value[key] is None else str(value[key])
        yield _turn(value, parts.of_turn(name), name, line)
    else:
        raise LineError(line, f"holds {_shown(value)}, {FORMS}")


def _turns_of_list(values: list, name: str | None, part: int, line: int) -> Iterator[ReadTurn]:
    for value in values:
        if not isinstance(value, dict):
            raise LineError(line, f"a turn is {_shown(value)}, {FORMS}")
        yield _turn(value, part, name, line)


def _turn(value: Mapping[str, Any], part: int, name: str | None, line: int) -> ReadTurn:
    keys = {fold_name(key): key for key in value}
    found = {}
    for meaning, kinds in (("speaker", (str, int)), ("utterance", (str,))):
        key = find_name(meaning, keys)
        if key is None or not isinstance(value[key], kinds):
            told = f"has no {meaning}" if key is None else f"has the {meaning} {_shown(value[key])}"
            raise LineError(line, f"a turn {told}, {FORMS}")
        found[meaning] = str(value[key])
    return ReadTurn(part, name, found["speaker"], found["utterance"], line)


def _turn_list(value: Mapping[str, Any]) -> list | None:
    keys = {fold_name(key): key for key in value}
    lists = (value[keys[name]] for name in TURN_LISTS if name in keys)
    return next((turns for turns in lists if isinstance(turns, list)), None)


def _is_utterance(value: Mapping[str, Any]) -> bool:
    keys = {fold_name(key): key for key in value}
    return all(isinstance(value.get(find_name(meaning, keys)), (str, int)) for meaning in ("speaker", "utterance"))


def _shown(value: Any) -> str:
    return f"a {type(value).__name__}" if isinstance(value, (list, dict)) else repr(value)[:60]


def _reason(error: Exception) -> str:
    return "nested too deeply" if isinstance(error, RecursionError) else getattr(error, "msg", str(error))[:100]


class _Text:
    """A stretch of a JSON file that moves on. line: of the character that is read next, from 1."""

    def __init__(self, stream: BinaryIO) -> None:
        self.stream, self.decoder = stream, codecs.getincrementaldecoder("utf-8-sig")()
        self.text, self.at, self.line, self.ended = "", 0, 1, False

    def decode(self) -> tuple[Any, int]:
        """The next value, and the line where it ends."""
        self.next_character()
        while True:
            try:
                value, end = _DECODER.raw_decode(self.text, self.at)
            except json.JSONDecodeError as error:
                if self.ended or len(self.text) - self.at > LARGEST_VALUE:
                    line = self.line + self.text.count("\n", self.at, error.pos)
                    raise LineError(line, f"not JSON ({_reason(error)}){'' if self.ended else TOO_LARGE}") from None
            except (ValueError, RecursionError) as error:
                raise LineError(self.line, f"not JSON ({_reason(error)})") from None
            else:
                if end < len(self.text) or self.ended:  # else a number could go on
                    self.skip(end - self.at)
                    return value, self.line
            self._read_on()

    def next_character(self) -> str:
        """The next one that is no blank, "" at the end; it stays."""
        while True:
            while self.at < len(self.text) and self.text[self.at] in " \t\r\n":
                self.skip()
            if self.at < len(self.text) or self.ended:
                return self.text[self.at : self.at + 1]
            self._read_on()

    def skip(self, count: int = 1) -> None:
        """Leave characters behind."""
        self.line += self.text.count("\n", self.at, self.at + count)
        self.at += count

    def expect_end(self) -> None:
        """LineError when anything but blanks follows."""
        if self.next_character():
            raise LineError(self.line, "more follows after the end of the JSON value, allowed is one value")

    def _read_on(self) -> None:
        # As much again as is waiting: a large value is then tried a few times, not once a block.
        block = self.stream.read(max(BLOCK, len(self.text) - self.at))
        self.ended = not block
        try:
            self.text = self.text[self.at :] + self.decoder.decode(block, final=not block)
        except UnicodeDecodeError as error:
            raise LineError(self.line, f"not UTF-8 text from here on ({error.reason}), allowed is UTF-8") from None
        self.at = 0


_DECODER = json.JSONDecoder()
