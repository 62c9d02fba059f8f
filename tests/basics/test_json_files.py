"""JSON of anybody: what is refused is one kind of error, and what is read can be counted with, and written again."""

import json
from pathlib import Path

import pytest

from basics.errors import LONGEST_LINE, UserError, as_line
from basics.json_files import DEEPEST, MOST_DIGITS, json_line, parse_json, read_json


def nested(depth: int) -> str:
    return "[" * depth + "]" * depth


@pytest.mark.parametrize("text", ['{"a": [1, -2.5, "ö", null, true]}', b'\xef\xbb\xbf"\xc3\xb6"', "1" * MOST_DIGITS])
def test_what_is_fine_is_what_json_says(text: str | bytes) -> None:
    assert parse_json(text) == json.loads(text)


def test_depth_is_bounded_whatever_python_takes() -> None:
    assert parse_json(nested(DEEPEST)) and parse_json("[" + "[]," * 500 + "[]]")
    for depth in (DEEPEST + 1, 900, 100_000):
        with pytest.raises(ValueError, match="nested too deeply"):
            parse_json(nested(depth))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("1" * (MOST_DIGITS + 1), "301 digits"),
        ('{"a": -' + "9" * 5000 + "}", "digits"),
        ('["\\ud800"]', "surrogates"),
        ('["\\uDFFF"]', "surrogates"),
        (b'"\xed\xa0\x80"', "decode"),
        (b"\xff", "decode"),
        ("{", "Expecting"),
    ],
)
def test_what_is_refused_is_a_value_error(text: str | bytes, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        parse_json(text)


def test_a_pair_of_halves_is_a_character() -> None:
    assert parse_json('"\\ud83d\\ude00"') == "\N{GRINNING FACE}"


def test_files_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    with pytest.raises(UserError, match="a.json: cannot be read"):
        read_json(path)
    path.write_text(nested(500))
    with pytest.raises(UserError, match="a.json: not JSON .nested too deeply"):
        read_json(path)
    path.write_text("[1]")
    assert read_json(path) == [1]


def test_a_line_is_one_line_and_keeps_what_was_said() -> None:
    said = {"text": "a\u2028b\u0085c\x1b[2J\x9b1m\u202e\U0001f600\u200d ö"}
    line = json_line(said)
    assert line.isprintable() and json.loads(line) == said and "ö" in line and "\U0001f600" in line
    assert json_line({"a": "ö"}) == '{"a": "ö"}'


def test_an_error_is_one_line_that_can_be_read() -> None:
    assert str(UserError("a\n\x1b[2J\u202eb\u00a0c")) == "a \ufffd[2J\ufffdb c" == as_line("a\n\x1b[2J\u202eb\u00a0c")
    told = str(UserError("begin" + "x" * 100_000 + "end"))
    assert len(told) < LONGEST_LINE + 100 and told.startswith("begin") and told.endswith("end")
    assert "96,008 characters left out" in told
