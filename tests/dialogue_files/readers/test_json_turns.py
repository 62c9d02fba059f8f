"""Turns in JSON: one that is the whole file, one of several people, and keys that name splits."""

import io
import json
from pathlib import Path
from typing import Any

import pytest

from corpora import said_in
from dialogue_files.readers.forms import FORMATS
from dialogue_files.reading import find_format
from dialogue_files.report import SplitSaid
from dialogue_files.turns import ReadTurn

TURN = {"speaker": "Ann", "text": "a"}


def read(value: Any) -> list:
    return list(FORMATS["json"].read(io.BytesIO(json.dumps(value).encode())))


def test_a_file_that_is_one_turn_is_the_first_dialogue() -> None:
    assert read(TURN) == [ReadTurn(0, None, "Ann", "a", 1, is_timed=True)]


def test_two_people_who_say_two_letters_are_no_columns() -> None:
    (turn,) = read({"turns": [TURN | {"speaker": ["Ann", "Ben"], "text": "No"}]})
    assert (turn.speaker, turn.text) == ("Ann, Ben", "No")


def test_a_dialogue_may_be_called_as_a_key_of_turns_is() -> None:
    assert [one.dialogue for one in read({"text": [TURN], "kitchen": [TURN, TURN]})] == ["text", "kitchen", "kitchen"]


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"train": [TURN], "dev": [TURN]}, ["train, dev"]),
        ({"kitchen": [TURN], "dev": [TURN]}, []),
        ({"turns": [TURN | {"split": "train"}, TURN | {"split": ""}]}, ["split"]),
        ({"turns": [TURN | {"subset": "easy"}, TURN | {"Subset": "test"}]}, ["Subset"]),
    ],
)
def test_keys_that_name_splits_are_said(value: Any, said: list[str]) -> None:
    assert [one.name for one in read(value) if isinstance(one, SplitSaid)] == said


def test_a_conversation_of_google_chat_may_begin_with_a_message_of_nobody_any_longer(tmp_path: Path) -> None:
    path = tmp_path / "messages.json"
    gone = {"created_date": "Wednesday, May 1, 2024", "message_state": "DELETED"}
    said = {"creator": {"user_type": "Human"}, "created_date": "Wednesday, May 1, 2024", "text": "Hi"}
    path.write_text(json.dumps({"messages": [gone, said]}))
    assert find_format(path) == "google_chat"
    assert said_in("google_chat", path.read_text()) == ["deleted messages", ("unknown", "Hi")]
