"""YAML of anybody: aliases, depth and numbers have bounds, and whatever is wrong is one kind of error."""

from typing import Any

import pytest

from basics.yaml_files import MOST_CHARACTERS, YamlError, parse_yaml

DOUBLING = "a: &a {x: 1}\n" + "".join(
    f"b{n}: &b{n} {{<<: [{', '.join([f'*b{n - 1}' if n else '*a'] * 9)}]}}\n" for n in range(9)
)


def keys_of(mapping: Any) -> list[str]:
    return [key.value for key, _ in mapping.value]


def test_aliases_and_merges_are_read() -> None:
    text = "a: &a {x: 1}\nb: *a\nc: {<<: *a, y: 2}\n"
    content, keys = parse_yaml(text, lambda root: [keys_of(root), keys_of(root.value[2][1])])
    assert content == {"a": {"x": 1}, "b": {"x": 1}, "c": {"x": 1, "y": 2}}
    assert keys == [["a", "b", "c"], ["<<", "y"]] and parse_yaml("") == (None, None), "as they are written"


@pytest.mark.parametrize(
    ("text", "line", "told"),
    [
        (DOUBLING, 6, "aliases make more than"),
        ("a: &a [*a]\n", 1, "nested too deeply"),
        ("[" * 60, None, "nested|expected"),
        ("[" * 5000, None, "nested too deeply"),
        ("a: 1\nb: 0x" + "f" * 5000, 2, "whole number of 5,002 characters"),
        ("a: 2020-99-99", None, "month"),
        ("a: !!timestamp x", None, "NoneType"),
        ("? {a: b}\n: c", 1, "unhashable"),
        ("a: !!python/name:os.system x", 1, "constructor"),
        ('a: "\\ud800"', 1, "half a character"),
        ("a: [", 1, "expected"),
        ("# " + "x" * MOST_CHARACTERS, None, "characters, allowed are"),
    ],
)
def test_what_is_refused_is_one_error(text: str, line: int | None, told: str) -> None:
    with pytest.raises(YamlError, match=told) as caught:
        parse_yaml(text)
    assert line is None or caught.value.line == line
