"""compare_predictions.py: two files of predictions -> the share of equal labels and the rows apart."""

from collections.abc import Sequence
from pathlib import Path

import pytest

import compare_predictions
from commands import assert_one_line_error, call_script
from scoring.metrics import Prediction
from scoring.prediction_files import write_predictions

Row = tuple[str, str, str | None]  # id, target, label
ROWS = [
    ("meld/0/0", "sad", "sad"),
    ("meld/0/1", "fear", "angry"),
    ("meld/1/0", "neutral", None),
    ("meld/2/9", "sad", "sad"),
]


def write(folder: Path, rows: Sequence[Row], task: str = "emotion_recognition") -> Path:
    return write_predictions(folder, [Prediction(row, task, target, label) for row, target, label in rows])


def test_the_share_and_the_rows_apart(tmp_path: Path, run_code) -> None:
    changes = {"meld/0/1": "fear", "meld/1/0": "sad", "meld/2/9": None}
    others = [(row, target, changes.get(row, label)) for row, target, label in ROWS]
    result = run_code("code/compare_predictions.py", write(tmp_path / "a", ROWS), write(tmp_path / "b", others[::-1]))
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.splitlines() == [
        "same label: 25.00% (1 of 4 rows)",
        "id\ttarget\tlabel A\tlabel B",
        "meld/0/1\tfear\tangry\tfear",
        "meld/1/0\tneutral\tinvalid\tsad",
        "meld/2/9\tsad\tsad\tinvalid",
    ]


def test_equal_files_have_no_list(tmp_path: Path) -> None:
    path = write(tmp_path, ROWS)
    assert call_script(compare_predictions.main, path, path).stdout == "same label: 100.00% (4 of 4 rows)\n"


@pytest.mark.parametrize(
    ("rows", "parts"),
    [
        (ROWS[1:], ["1 stand in one only (meld/0/0)"]),
        ([*ROWS[1:], ("meld/7/7", "sad", "sad")], ["2 stand in one only (meld/0/0, meld/7/7)"]),
        ([("meld/0/0", "fear", "sad"), *ROWS[1:]], ["meld/0/0 has two targets"]),
        ([*ROWS, ROWS[0]], ["meld/0/0 stands there twice"]),
        ([], ["holds no rows"]),
    ],
    ids=["fewer", "others", "targets", "twice", "empty"],
)
def test_other_rows_are_refused(rows: list[Row], parts: list[str], tmp_path: Path) -> None:
    result = call_script(compare_predictions.main, write(tmp_path / "a", ROWS), write(tmp_path / "b", rows))
    assert_one_line_error(result, *parts, "predictions.jsonl")


def test_rows_of_another_task_are_other_rows(tmp_path: Path) -> None:
    paths = write(tmp_path / "a", ROWS), write(tmp_path / "b", ROWS, task="speaker_identification")
    assert_one_line_error(call_script(compare_predictions.main, *paths), "8 stand in one only")


def test_bad_files_and_flags(tmp_path: Path) -> None:
    good = write(tmp_path / "good", ROWS)
    broken = tmp_path / "broken.jsonl"
    broken.write_text(good.read_text() + '{"id": "meld/3/0"\n')
    for arguments, parts in (
        ((good, tmp_path / "none.jsonl"), ["none.jsonl", "No such file"]),
        ((broken, good), ["broken.jsonl line 5"]),
        ((good,), ["second is missing: predictions.jsonl of another run"]),
        ((good, good, "--fast"), ["--fast"]),
    ):
        assert_one_line_error(call_script(compare_predictions.main, *arguments), *parts)
