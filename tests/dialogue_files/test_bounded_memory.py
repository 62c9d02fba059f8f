"""Readers of long files hold no more than a little of them."""

import json
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dialogue_files.reading import FORMATS, find_format, read_turns

TURNS = 4_000
SAID = "word " * 40


def text(number: int) -> str:
    return f"Ann: {SAID}\n"


def csv(number: int) -> str:
    begin = "" if number else "speaker,text\n"
    return f"{begin}Ann,{SAID}\n"


def turn(number: int) -> str:
    return json.dumps({"speaker": "A", "text": SAID})


def array(number: int) -> str:
    return f"{',' if number else '['}{turn(number)}"


def srt(number: int) -> str:
    clock = f"{number // 3600:02}:{number // 60 % 60:02}:{number % 60:02}"
    return f"{number + 1}\n{clock},000 --> {clock},900\n{'' if number % 3 else 'Ruth: '}{SAID}\n\n"


def telegram(number: int) -> str:
    begin = "," if number else '{"name": "Lena", "type": "personal_chat", "messages": ['
    message = {"id": number, "type": "message", "date": "2024", "from": "Lena", "text": SAID}
    return f"{begin}{json.dumps(message)}\n"


def whatsapp(number: int) -> str:
    return f"6/13/23, 7:{number % 60:02} PM - Lena: {SAID}\n"


def convokit(number: int) -> str:
    place = {"id": str(number), "conversation_id": str(number % 9), "reply-to": None}
    return json.dumps(place | {"text": SAID, "speaker": "a"}) + "\n"


# Format -> what writes its pieces, and what stands behind the last.
PIECES: dict[str, tuple[Callable[[int], str], str]] = {
    "text": (text, ""),
    "csv": (csv, ""),
    "json": (array, "]"),
    "jsonl": (lambda number: turn(number) + "\n", ""),
    "srt": (srt, ""),
    "telegram": (telegram, "]}"),
    "whatsapp": (whatsapp, ""),
    "convokit": (convokit, ""),
}


@pytest.mark.parametrize("form", PIECES)
def test_memory_does_not_grow_with_the_file(tmp_path: Path, form: str) -> None:
    piece, end = PIECES[form]
    path = tmp_path / f"large{FORMATS[form].suffixes[0]}"
    with path.open("w", encoding="utf-8") as stream:
        stream.writelines(map(piece, range(TURNS)))
        stream.write(end)
    assert find_format(path) == form and path.stat().st_size > 800_000
    count, peak = count_peak(read_turns(path, form))
    assert count == TURNS and peak < 400_000, f"{peak:,} bytes"


def count_peak(turns: Iterator) -> tuple[int, int]:
    """How many there are, and the most bytes that were held at once while they were read."""
    tracemalloc.start()
    try:
        return sum(1 for _ in turns), tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
