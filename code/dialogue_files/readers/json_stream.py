"""JSON read element by element: of an array, or of the lists in a file that is one object, one is held at a time.

Python's own decoder reads the elements, as it takes what Python programs write (NaN, halves of surrogate pairs), which
the libraries that read JSON as a stream refuse or change.
"""

import codecs
import itertools
import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from basics.json_files import refuse_depth
from dialogue_files.turns import AS_UTF8, UTF8, LineError, read_lines

BLOCK = 1 << 16  # bytes
LARGEST_VALUE = 32 << 20  # characters
TOO_LARGE = (
    f", or a value of more than {LARGEST_VALUE >> 20} Mi characters, and each is held as a whole (an element of a "
    "list is one value): write JSON Lines, a dialogue on each line"
)
MOST_KEYS = 64  # of an object that are held
MOST_ELEMENTS = 200  # elements that are read to recognise a form
TELLING_LISTS = frozenset(("messages", "segments", "transcription", "chunks", "episodes", "scenes", "utterances"))
_DECODER = json.JSONDecoder()


@dataclass(frozen=True)
class Element:
    """A value of a file.

    key: its key in the file's object; None in an array. listed: whether it is an item of the list under that key.
    text: as the file has it. first, line: where it begins and ends, from 1.
    """

    key: str | None
    listed: bool
    value: Any
    line: int
    text: str = ""
    first: int = 1

    @property
    def kind(self) -> Any:
        """Its entry in `Outline.kinds`."""
        is_list = self.listed or isinstance(self.value, list)
        return "list" if is_list else "dict" if isinstance(self.value, dict) else self.value

    def lines(self, path: Sequence[str] = ()) -> Iterator[int]:
        """The line where each item of a list ends. path: keys that lead to the lists in the value; (): it is a list."""
        if "\n" not in self.text:
            return itertools.repeat(self.line)
        return self._counted(tuple(path))

    def _counted(self, path: tuple[str, ...]) -> Iterator[int]:
        line, at = self.first, 0
        for _, end in _spans(self.text, 0, path):
            line, at = line + self.text.count("\n", at, end), end
            yield line

    def line_of(self, key: str, path: Sequence[str] = (), place: int | None = None) -> int:
        """The line where the value under `key` begins.

        place: number of the item, from 0, as `lines(path)` counts, whose key it is; None: it is this value's own.
        """
        if "\n" not in self.text:
            return self.line
        at = 0 if place is None else next(itertools.islice(_spans(self.text, 0, tuple(path)), place, None))[0]
        begin = _begin_of(self.text, at, key)
        return self.first + self.text.count("\n", 0, begin)


def _spans(text: str, at: int, path: tuple[str, ...]) -> Iterator[tuple[int, int]]:
    """(begin, end) offsets of the items of the lists that a path of keys leads to."""
    at = _past_blanks(text, at)
    if text[at] == "[":
        for begin, end in _items_of(text, at):
            if path:
                yield from _spans(text, begin, path)
            else:
                yield begin, end
    elif text[at] == "{" and path and (begin := _begin_of(text, at, path[0])) is not None:
        yield from _spans(text, begin, path[1:])


def _begin_of(text: str, at: int, key: str) -> int | None:
    """Offset of the value under a key of the object at `at`; of a repeated key the last, as Python decodes it."""
    return {name: begin for name, begin, _ in _members_of(text, at)}.get(key)


def _items_of(text: str, at: int) -> Iterator[tuple[int, int]]:
    """(begin, end) offsets of each element of the array at `at`."""
    at = _past_blanks(text, at + 1)
    while text[at] != "]":
        end = _DECODER.raw_decode(text, at)[1]
        yield at, end
        at = _past_blanks(text, end)
        at = _past_blanks(text, at + 1) if text[at] == "," else at


def _members_of(text: str, at: int) -> Iterator[tuple[str, int, int]]:
    """(key, begin, end) of each value of the object at `at`, as offsets."""
    at = _past_blanks(text, at + 1)
    while text[at] != "}":
        key, at = _DECODER.raw_decode(text, at)
        at = _past_blanks(text, _past_blanks(text, at) + 1)
        end = _DECODER.raw_decode(text, at)[1]
        yield key, at, end
        at = _past_blanks(text, end)
        at = _past_blanks(text, at + 1) if text[at] == "," else at


def _past_blanks(text: str, at: int) -> int:
    while text[at] in " \t\r\n":
        at += 1
    return at


def stream_json(stream: BinaryIO, listed: Collection[str] | None = None) -> Iterator[Element]:
    """The elements of a file that is an array; for an object its values, with lists taken apart into their items.

    listed: the keys whose lists are taken apart; None: all. An empty list is one element.

    Raises:
        LineError: the file is no JSON, or a value is too large to be held.
    """
    stream.seek(0)
    text = _Text(stream)
    character = text.next_character()
    if character == "[":
        yield from text.elements(None, False)
    elif character == "{":
        yield from _members(text, listed)
    else:
        yield text.decode(None, False)
    text.expect_end()


def _members(text: "_Text", listed: Collection[str] | None) -> Iterator[Element]:
    text.skip()
    if text.next_character() == "}":
        return text.skip()
    mark = ","
    while mark == ",":
        if text.next_character() != '"':
            raise LineError(text.line, "not JSON, allowed is a key in quotes")
        key = text.decode(None, False).value
        if text.next_character() != ":":
            raise LineError(text.line, "not JSON, allowed is ':' after a key")
        text.skip()
        if text.next_character() == "[" and (listed is None or key in listed):
            elements = text.elements(key, True)
            first = next(elements, Element(key, False, [], text.line))
            yield first
            yield from elements
        else:
            yield text.decode(key, False)
        mark = text.next_character()
        text.skip()
    if mark != "}":
        raise LineError(text.line, "not JSON, allowed is ',' or '}' after a value")


def stream_json_lines(stream: BinaryIO) -> Iterator[Element]:
    """The values of a file, or of the rest of a pipe, with one on each line; blank lines are skipped."""
    if stream.seekable():
        stream.seek(0)
    for number, line in read_lines(stream):
        if line.strip():
            yield decode_json_line(number, line)


def decode_json_line(number: int, line: str) -> Element:
    """The value on a line (number from 1); LineError: it is no JSON."""
    try:
        value = json.loads(line)
        refuse_depth(value, line)
    except (ValueError, RecursionError) as error:
        told = f"not JSON ({_reason(error)}), allowed is one value on each line"
        raise LineError(number, told, "; --input_format json reads a file that is one value") from None
    return Element(None, False, value, number, "", number)


@dataclass
class Outline:
    """The beginning of a JSON file, by which its form is recognised.

    kinds: key of a file that is an object -> scalar value, "list" or "dict". first: the first object of a list.
    under: the key of that list, the last one that was reached; None: the file is an array, or has one value a line.
    """

    is_object: bool = False
    kinds: dict[str, Any] = field(default_factory=dict)
    first: dict[str, Any] = field(default_factory=dict)
    under: str | None = None

    def has(self, *keys: str) -> bool:
        """Whether the first object has all of these keys."""
        return all(key in self.first for key in keys)


def outline_of(elements: Iterator[Element]) -> Outline:
    """The outline of a file, up to its messages or segments, `MOST_ELEMENTS` elements, or what is no JSON."""
    outline = Outline()
    try:
        for one in itertools.islice(elements, MOST_ELEMENTS):
            if one.key is not None:
                outline.is_object = True
                outline.kinds.setdefault(one.key, one.kind)
            if isinstance(one.value, dict) and (one.key is None or (one.listed and one.key != outline.under)):
                outline.first, outline.under = one.value, one.key
                if one.key is None or one.key in TELLING_LISTS:
                    break
    except LineError:
        pass
    return outline


def _reason(error: Exception) -> str:
    return "nested too deeply" if isinstance(error, RecursionError) else getattr(error, "msg", str(error))[:100]


class _Text:
    """A window that moves over the text of a JSON file. line: of the next character, from 1."""

    def __init__(self, stream: BinaryIO) -> None:
        self.stream, self.decoder = stream, codecs.getincrementaldecoder("utf-8-sig")()
        self.text, self.at, self.line, self.ended = "", 0, 1, False

    def elements(self, key: str | None, listed: bool) -> Iterator[Element]:
        """The elements of the array that begins here."""
        self.skip()
        if self.next_character() == "]":
            return self.skip()
        mark = ","
        while mark == ",":
            yield self.decode(key, listed)
            mark = self.next_character()
            self.skip()
        if mark != "]":
            raise LineError(self.line, "not JSON, allowed is ',' or ']' after an element")

    def decode(self, key: str | None, listed: bool) -> Element:
        """Reads the next value."""
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
                    text, first = self.text[self.at : end], self.line
                    self._refuse_depth(value, text)
                    self.skip(end - self.at)
                    return Element(key, listed, value, self.line, text, first)
            self._read_on()

    def _refuse_depth(self, value: Any, text: str) -> None:
        try:
            refuse_depth(value, text)
        except ValueError as error:
            raise LineError(self.line, f"not JSON ({error})") from None

    def next_character(self) -> str:
        """Skips blanks and returns the next character without taking it; "" at the end."""
        while True:
            while self.at < len(self.text) and self.text[self.at] in " \t\r\n":
                self.skip()
            if self.at < len(self.text) or self.ended:
                return self.text[self.at : self.at + 1]
            self._read_on()

    def skip(self, count: int = 1) -> None:
        """Moves on by `count` characters."""
        self.line += self.text.count("\n", self.at, self.at + count)
        self.at += count

    def expect_end(self) -> None:
        """LineError when anything but blanks follows."""
        if self.next_character():
            told = "more follows after the end of the JSON value, allowed is one value"
            raise LineError(self.line, f"{told}; --input_format jsonl reads one on each line")

    def _read_on(self) -> None:
        # Doubles the text, so that a large value is tried a few times, and not once for each block.
        block = self.stream.read(max(BLOCK, len(self.text) - self.at))
        self.ended = not block
        try:
            self.text = self.text[self.at :] + self.decoder.decode(block, final=not block)
        except UnicodeDecodeError as error:
            raise LineError(self.line, f"not UTF-8 text from here on ({error.reason}), {UTF8}", AS_UTF8) from None
        self.at = 0
