"""JSON as files hold it: whatever is wrong, it is one kind of error, and what is read can be written again."""

import json
import re
from pathlib import Path
from typing import Any

from basics.errors import UserError

DEEPEST = 100  # lists and objects in each other; Python gives up at some hundreds, which ones depends on its version
TOO_DEEP = "nested too deeply"
MOST_DIGITS = 300  # of a whole number; beyond, it is no float any more
_HALF_CHARACTER = re.compile(r"\\u[dD][89a-fA-F]")


def parse_json(text: str | bytes) -> Any:
    """What a text holds, or bytes in UTF-8.

    Raises:
        ValueError: it is no JSON, nested more than `DEEPEST` times, or holds a whole number of more than
            `MOST_DIGITS` or half a character (a lone surrogate), which cannot be written.
    """
    if isinstance(text, bytes):
        text = text.decode("utf-8-sig")
    try:
        content = _DECODER.decode(text)
    except RecursionError:
        raise ValueError(TOO_DEEP) from None
    refuse_depth(content, text)
    if _HALF_CHARACTER.search(text):
        json.dumps(content, ensure_ascii=False).encode("utf-8")
    return content


def refuse_depth(content: Any, text: str) -> None:
    """ValueError where lists and objects are in each other more than `DEEPEST` times; text: what it is read of."""
    # As many brackets as this are rare, and few of them are in each other.
    if text.count("[") + text.count("{") > DEEPEST and _is_deep(content):
        raise ValueError(TOO_DEEP)


def read_json(path: Path) -> Any:
    """What a file holds; UserError: it is not there, or `parse_json` refuses it."""
    try:
        return parse_json(Path(path).read_bytes())
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    except ValueError as error:
        raise UserError(f"{path}: not JSON ({error}), allowed is the file that this program wrote") from None


def json_line(content: Any) -> str:
    """A value on one line, in its own letters; what is not printable is written by its number.

    So no program takes a mark in a text for the end of the line, and no terminal obeys one.
    """
    line = json.dumps(content, ensure_ascii=False)
    return line if line.isprintable() else "".join(one if one.isprintable() else json.dumps(one)[1:-1] for one in line)


def _whole_number(digits: str) -> int:
    if len(digits) > MOST_DIGITS:
        raise ValueError(f"a whole number of {len(digits):,} digits")
    return int(digits)


# Made once: json.loads would make one for each row.
_DECODER = json.JSONDecoder(parse_int=_whole_number)


def _is_deep(content: Any) -> bool:
    level = [content]
    for _ in range(DEEPEST):
        level = [inner for one in level if isinstance(one, dict | list) for inner in _values_of(one)]
    return any(isinstance(one, dict | list) for one in level)


def _values_of(value: dict | list) -> list:
    return list(value.values()) if isinstance(value, dict) else value
