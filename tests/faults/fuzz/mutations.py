"""One hostile file after another out of good ones: cut, flipped, spliced, repeated, nested, with numbers blown up."""

import json
import random
import re
from collections.abc import Callable, Sequence
from typing import Any

LARGEST = 1 << 16  # bytes of a repeated slice
USUAL = 1 << 11
# What readers stumble over, whatever they read.
TOKENS = (
    *(b"\x00", b"\xff\xfe", b"\xef\xbb\xbf", b"\r", b"\n\n", b"\t", b"   ", b'"', b"'", b"\\", b",", b":", b"|", b";"),
    *(b"[", b"]", b"{", b"}", b"(", b")", b"<", b">", b"<v ", b"-->", b"&amp;", b"<<: *a", b"&a ", b"*a", b"!!set "),
    *(b"null", b"true", b"NaN", b"Infinity", b"-1", b"0", b"1e999", b"0x" + b"f" * 5000, b"9" * 400, b"9" * 5000),
    *("\ud800".encode("utf-8", "surrogatepass"), "\u2028".encode(), "\u0085".encode(), "\u202e".encode()),
    *(
        "\u00b2".encode(),
        "\u0663".encode(),
        "\u0300\u0316".encode() * 200,
        b"&#" + b"9" * 5000,
        b"\x1b[2J",
        b"../../x",
        b"$(touch x)",
    ),
    *(
        b"=cmd|' /C calc'!A0",
        b"<script>",
        b'\\ud800"',
        b'{"a":' * 60,
        b"[" * 2000,
        b"(" * 300,
        b"-" * 300,
        b"2020-99-99",
    ),
)
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2**31, 2**63, 10**400, 0.5, -0.0, float("inf"), float("nan"), 1e308, "", " ", "x"),
    *("\ud800", "\x00", "\u202e", "../../x", "9" * 50, "$(touch x)", [], {}, [[]], [None], {"": None}, [1, "a", {}]),
    *(["x"] * 50, {"id": []}, "a" * 20_000),
)


def mutate(rng: random.Random, seeds: Sequence[bytes], tokens: Sequence[bytes] = ()) -> bytes:
    """A file made out of one of `seeds` by a few changes; one in twenty is a seed as it is, read in another place."""
    data = rng.choice(seeds)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 5))):
        change = rng.choice(CHANGES)
        data = change(rng, data, seeds, (*TOKENS, *tokens))
    return data


def _place(rng: random.Random, data: bytes) -> tuple[int, int]:
    begin = rng.randint(0, len(data))
    return begin, min(len(data), begin + int(rng.paretovariate(0.7)))


def _cut(rng: random.Random, data: bytes, seeds: Sequence[bytes], tokens: Sequence[bytes]) -> bytes:
    return data[: rng.randint(0, len(data))]


def _flip(rng: random.Random, data: bytes, seeds: Sequence[bytes], tokens: Sequence[bytes]) -> bytes:
    changed = bytearray(data or b"x")
    for _ in range(rng.choice((1, 1, 2, 8))):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _drop(rng: random.Random, data: bytes, seeds: Sequence[bytes], tokens: Sequence[bytes]) -> bytes:
    begin, end = _place(rng, data)
    return data[:begin] + data[end:]


def _insert(rng: random.Random, data: bytes, seeds: Sequence[bytes], tokens: Sequence[bytes]) -> bytes:
    begin, end = _place(rng, data)
    return data[:begin] + rng.choice(tokens) + data[rng.choice((begin, end)) :]


def _splice(rng: random.Random, data: bytes, seeds: Sequence[bytes], tokens: Sequence[bytes]) -> bytes:
    other = rng.choice(seeds)
    begin, end = _place(rng, other)
    at = rng.randint(0, len(data))
    return data[:at] + other[begin : rng.choice((end, len(other)))] + data[at:]


def _repeat(rng: random.Random, data: bytes, seeds: Sequence[bytes], tokens: Sequence[bytes]) -> bytes:
    """Many times what stands there, or a token: what takes quadratic time shows."""
    begin, end = _place(rng, data)
    again = rng.choice((data[begin : min(end, begin + 40)], rng.choice(tokens), b" ", b"\t")) or b" "
    size = LARGEST if rng.random() < 0.03 else rng.choice((60, 300, USUAL))
    return data[:begin] + again * (size // len(again)) + data[begin:]


def _renumber(rng: random.Random, data: bytes, seeds: Sequence[bytes], tokens: Sequence[bytes]) -> bytes:
    numbers = list(re.finditer(rb"\d+", data))
    if not numbers:
        return data
    found = rng.choice(numbers)
    new = rng.choice((b"0", b"-1", b"99999999999999999999", b"9" * 5000, b"1e999", b"\xc2\xb2", b"2147483648", b"1.5"))
    return data[: found.start()] + new + data[found.end() :]


def _move_line(rng: random.Random, data: bytes, seeds: Sequence[bytes], tokens: Sequence[bytes]) -> bytes:
    lines = data.splitlines(keepends=True)
    if not lines:
        return data
    lines.insert(rng.randint(0, len(lines)), rng.choice(lines))
    if rng.random() < 0.5:
        del lines[rng.randrange(len(lines))]
    return b"".join(lines)


def _change_json(rng: random.Random, data: bytes, seeds: Sequence[bytes], tokens: Sequence[bytes]) -> bytes:
    """A value of a JSON file, or of one of its lines, as another one, gone, moved, or under its key twice."""
    lines = [data] if data.lstrip()[:1] in b"[{" and b"\n" not in data.strip() else data.splitlines(keepends=True)
    at = rng.randrange(len(lines)) if lines else 0
    for whole, begin, end in ((data, 0, len(lines)), (lines[at] if lines else b"", at, at + 1)):
        try:
            content = json.loads(whole)
        except (ValueError, RecursionError):
            continue
        changed = _dump(rng, _with_change(rng, content))
        return b"".join(lines[:begin]) + changed + b"\n" + b"".join(lines[end:])
    return _insert(rng, data, seeds, tokens)


def _with_change(rng: random.Random, content: Any) -> Any:
    value = content
    while isinstance(value, dict | list) and value and rng.random() < 0.85:
        key = rng.choice(list(value)) if isinstance(value, dict) else rng.randrange(len(value))
        if not isinstance(value[key], dict | list) or not value[key] or rng.random() < 0.3:
            _change_at(rng, value, key, content)
            return content
        value = value[key]
    return rng.choice(VALUES)


def _change_at(rng: random.Random, value: Any, key: Any, whole: Any) -> None:
    way = rng.random()
    if way < 0.15:
        del value[key]
    elif way < 0.3 and isinstance(value, dict):
        value[rng.choice(("id", "text", "speaker", "", "\ud800", "x", key + " ", key.upper()))] = value.pop(key)
    elif way < 0.4:
        value[key] = [value[key]] * rng.choice((0, 1, 3))
    elif way < 0.5:
        value[key] = json.loads(json.dumps(whole))
    else:
        value[key] = rng.choice(VALUES)


def _dump(rng: random.Random, content: Any) -> bytes:
    text = json.dumps(content, indent=rng.choice((None, 1)))
    if rng.random() < 0.2:  # the same key twice, which Python's decoder takes the last of
        keys = re.findall(r'"[^"\\]+":', text)
        if keys:
            again = json.dumps(rng.choice(VALUES))
            place = rng.choice([found.start() for found in re.finditer(re.escape(rng.choice(keys)), text)])
            text = f"{text[:place]}{rng.choice(keys)} {again}, {text[place:]}"
    return text.encode("utf-8", "surrogatepass")


Change = Callable[[random.Random, bytes, Sequence[bytes], Sequence[bytes]], bytes]
CHANGES: tuple[Change, ...] = (
    *(_cut, _flip, _drop, _insert, _insert, _splice, _repeat, _repeat, _renumber, _move_line, _change_json),
    _change_json,
)
