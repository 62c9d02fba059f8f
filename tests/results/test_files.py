"""results.json and predictions.jsonl, written whole and read line by line."""

import json
import os

import pytest

from basics.errors import UserError
from results.files import write_results
from scoring.metrics import Prediction
from scoring.prediction_files import read_predictions, write_predictions

TASK = "emotion_recognition"
PREDICTIONS = [
    Prediction("small/d/0", TASK, "neutral", "neutral", {"neutral": -0.12345678, "joyful": -2.0}),
    Prediction("small/d/1", TASK, "neutral", "joyful", {"neutral": -3.5, "joyful": -0.5}),
    Prediction("small/d/2", TASK, "joyful", None, None, "so:\n\u0085\u2028\u00e9 \U0001f600 \x92"),
    Prediction("small/d/3", TASK, "joyful", "joyful", None, "joyful"),
    Prediction("small/d/4", TASK, "joyful", "joyful", None, "joyful"),
]


@pytest.fixture(params=["fsync", "replace"])
def failing_disk(request, monkeypatch):
    """A disk that turns out full at the end of writing, or a rename that is refused."""

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, request.param, fail)


def test_results_are_sorted_and_unrounded(tmp_path):
    results = {"weighted_f1": 100 / 3, "seed": 42, "arguments": {"b": "é", "a": None}}
    path = write_results(tmp_path / "new" / "folder", results)
    assert path == tmp_path / "new" / "folder" / "results.json"
    text = path.read_text(encoding="utf-8")
    assert json.loads(text) == results
    assert text == (
        '{\n  "arguments": {\n    "a": null,\n    "b": "é"\n  },\n'
        '  "seed": 42,\n  "weighted_f1": 33.333333333333336\n}\n'
    )
    write_results(tmp_path / "again", dict(reversed(results.items())))
    assert (tmp_path / "again" / "results.json").read_text(encoding="utf-8") == text


def test_results_that_json_cannot_hold_leave_the_old_file(tmp_path):
    path = write_results(tmp_path, {"seed": 1})
    with pytest.raises(ValueError, match="JSON"):
        write_results(tmp_path, {"loss": float("nan")})
    assert json.loads(path.read_text()) == {"seed": 1} and os.listdir(tmp_path) == ["results.json"]


def test_failed_writing_leaves_the_old_files_whole(tmp_path, failing_disk):
    (tmp_path / "results.json").write_text("old")
    (tmp_path / "predictions.jsonl").write_text("old")
    with pytest.raises(OSError, match="results.json"):
        write_results(tmp_path, {"seed": 1})
    with pytest.raises(OSError, match="predictions.jsonl"):
        write_predictions(tmp_path, PREDICTIONS)
    assert sorted(os.listdir(tmp_path)) == ["predictions.jsonl", "results.json"]
    assert {path.read_text() for path in tmp_path.iterdir()} == {"old"}


def test_predictions_are_written_and_read_back(tmp_path):
    path = write_predictions(tmp_path, PREDICTIONS)
    lines = path.read_bytes().decode("utf-8").split("\n")
    assert len(lines) == len(PREDICTIONS) + 1 and lines[-1] == ""
    first, third = json.loads(lines[0]), json.loads(lines[2])
    assert list(first) == ["id", "task", "target", "label", "scores"]
    assert first["scores"] == {"neutral": -0.123457, "joyful": -2.0}
    assert third["label"] is None and "scores" not in third
    assert third["response"] == PREDICTIONS[2].response
    back = read_predictions(path)
    assert back[1:] == PREDICTIONS[1:] and back[0].scores["neutral"] == -0.123457
    assert write_predictions(tmp_path / "again", back).read_bytes() == path.read_bytes()


def test_predictions_stand_as_given(tmp_path):
    turned = PREDICTIONS[::-1]
    written = read_predictions(write_predictions(tmp_path, turned))
    assert [row.id for row in written] == [row.id for row in turned]


def test_no_predictions_are_no_rows(tmp_path):
    assert read_predictions(write_predictions(tmp_path, [])) == []


@pytest.mark.parametrize(
    "line",
    [b'{"id": "a"', b"[1]", b"", b'{"id": "a", "task": "b"}', b'{"unknown": 1}', b"\xff", b"7"],
)
def test_an_unreadable_prediction_is_named_by_its_line(tmp_path, line):
    good = b'{"id": "a", "task": "b", "target": "c", "label": null}'
    path = tmp_path / "predictions.jsonl"
    path.write_bytes(b"\n".join([good, line, good, b""]))
    with pytest.raises(UserError, match=r"predictions\.jsonl line 2: "):
        read_predictions(path)


def test_a_missing_prediction_file_is_named(tmp_path):
    with pytest.raises(UserError, match="nowhere.jsonl: No such file"):
        read_predictions(tmp_path / "nowhere.jsonl")
