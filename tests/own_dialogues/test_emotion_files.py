"""Emotions as a table, JSON Lines and CSV."""

import csv
import io
import json
from dataclasses import replace

import pytest

from dialogue_files.turns import SpokenTurn
from own_dialogues.writing import OUTPUTS, ShownDemonstration, TurnEmotion, as_cell, csv_header

LABELS = ("sad", "joyful")


def made(
    dialogue: str = "a", turn: int = 0, speaker: str = "Ann", text: str = 'He said "no", so', **more
) -> TurnEmotion:
    spoken = SpokenTurn(more.pop("part", 0), dialogue, turn, speaker, 0, text, more.pop("line", 0))
    return TurnEmotion(spoken, "joyful", 0.7512345678, {"sad": 0.2487654322, "joyful": 0.7512345678}, **more)


def test_json_lines_hold_everything() -> None:
    shown = (ShownDemonstration("Yes!", "joyful", 0.5),)
    second = made(turn=1, text="Ö\u2028", line=7, demonstrations=shown, shortened=True)
    lines = OUTPUTS["jsonl"].render([made(), second]).split("\n")
    first, second = map(json.loads, lines[:2])
    assert lines[2:] == [""]
    assert first == {
        "dialogue": "a",
        "turn": 0,
        "speaker": "Ann",
        "text": 'He said "no", so',
        "emotion": "joyful",
        "probability": 0.751235,
        "probabilities": {"sad": 0.248765, "joyful": 0.751235},
    }
    assert second["demonstrations"] == [{"text": "Yes!", "label": "joyful", "similarity": 0.5}]
    assert second["input_line"] == 7 and second["shortened"] is True and second["text"] == "Ö\u2028"


def test_csv_can_be_read_back() -> None:
    text = OUTPUTS["csv"].head(LABELS) + OUTPUTS["csv"].render(
        [made(), made(line=7, demonstrations=(ShownDemonstration("x", "sad", 1.0),), shortened=True)]
    )
    first, second = csv.DictReader(io.StringIO(text))
    assert (first["shortened"], second["shortened"]) == ("", "true")
    assert (first["input_line"], second["input_line"]) == ("", "7")
    assert (first["text"], first["emotion"], first["p_sad"], first["demonstrations"]) == (
        'He said "no", so',
        "joyful",
        "0.248765",
        "",
    )
    assert json.loads(second["demonstrations"])[0]["text"] == "x"
    assert csv_header(LABELS).startswith("dialogue,turn,input_line,speaker,text,emotion,probability,p_sad,p_joyful,")


@pytest.mark.parametrize("sign", ["=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20"])
def test_no_cell_of_csv_begins_a_formula(sign: str) -> None:
    """By these a spreadsheet takes what somebody said for a formula, which may run or send something."""
    said = f"{sign}HYPERLINK(1)"
    row = replace(made(said, 0, said, said), emotion=said, probabilities={said: 1.0})
    (head, cells) = csv.reader(io.StringIO(OUTPUTS["csv"].head([said]) + OUTPUTS["csv"].render([row]), newline=""))
    assert not [cell for cell in (*head, *cells) if cell.startswith(sign)]
    assert [cells[place] for place in (0, 3, 4, 5)] == [f"'{said}"] * 4 and head[7] == f"p_{said}"
    assert as_cell(f" {said}") == f"' {said}" and as_cell(f"1{said}") == f"1{said}"


@pytest.mark.parametrize(("label", "cell"), [("-1", "-1"), ("+0.5", "+0.5"), ("-1+1", "'-1+1"), ("-", "'-")])
def test_a_label_that_is_a_number_stands_as_it_is(label: str, cell: str) -> None:
    """What was said stays a text, also where it is a number: a spreadsheet would show +1 as 1."""
    row = replace(made("-1", 0, "+1", "-1"), emotion=label, probabilities={label: 1.0})
    (read,) = csv.DictReader(io.StringIO(csv_header([label]) + OUTPUTS["csv"].render([row])))
    assert (read["emotion"], read[f"p_{label}"]) == (cell, "1.0")
    assert [read[name] for name in ("dialogue", "speaker", "text")] == ["'-1", "'+1", "'-1"]


def test_a_label_with_a_comma_is_one_column() -> None:
    (head,) = csv.reader(io.StringIO(csv_header(["sad, a little"])))
    assert head[7:] == ["p_sad, a little", "demonstrations", "shortened"]


def test_the_table_heads_each_dialogue_and_obeys_no_text() -> None:
    hostile = made("b", 0, "\x1b[31mRed\x07 and a long name", "clear\x1b[2J", part=1)
    table = OUTPUTS["table"].render([made(), made(turn=1, speaker="李明"), hostile])
    lines = table.splitlines()
    assert lines[0] == "dialogue a" and lines[3:5] == ["", "dialogue b"]
    assert lines[1] == '   0  Ann             joyful  0.75  He said "no", so'
    assert lines[2].startswith("   1  李明            joyful")  # wide characters count twice
    assert "\x1b" not in table and "\x07" not in table and "clear\ufffd[2J" in table
