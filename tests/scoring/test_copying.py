"""How often an answer is the label of its nearest demonstration."""

import pytest

from data_utils.row_files import RECOGNITION, Demonstration, Example
from scoring.metrics import Copying, Prediction, measure_copying


def make_row(turn: int, target: str, *shown: str) -> Example:
    demonstrations = tuple(Demonstration(f"meld/9/{number}", label, 0.5) for number, label in enumerate(shown))
    return Example(f"meld/1/{turn}", RECOGNITION, "a prompt", target, demonstrations)


def answer(row: Example, label: str | None) -> Prediction:
    return Prediction(row.id, row.task, row.target, label, None, None)


def test_only_the_nearest_demonstration_counts_and_rows_without_one_do_not() -> None:
    rows = [
        make_row(0, "sad", "sad", "joyful"),
        make_row(1, "sad", "joyful", "sad"),
        make_row(2, "angry", "joyful"),
        make_row(3, "angry", "sad"),
        make_row(4, "sad"),
    ]
    answers = [answer(row, label) for row, label in zip(rows, ["sad", "joyful", "joyful", None, "sad"], strict=True)]
    assert measure_copying(rows, answers) == Copying(answered=75.0, gold=25.0, rows=4)


def test_without_demonstrations_there_is_nothing_to_copy() -> None:
    row = make_row(0, "sad")
    assert measure_copying([row], [answer(row, "sad")]) is None


def test_predictions_of_other_rows_are_refused() -> None:
    rows = [make_row(turn, "sad", "sad") for turn in (0, 1)]
    with pytest.raises(ValueError, match="not of these rows"):
        measure_copying(rows, [answer(row, "sad") for row in (rows[0], make_row(2, "sad"))])
