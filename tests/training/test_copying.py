"""A model that says its demonstration's label whatever is asked is told so, and stopped if that is wanted."""

from types import SimpleNamespace

import pytest

from basics.errors import UserError
from data_utils.row_files import Demonstration, Example
from scoring.metrics import Prediction
from training.stages import look_for_copying


def make_rows(gold_is_shown: int, shown: bool = True) -> list[Example]:
    """Ten rows whose demonstration is sad; of the first `gold_is_shown` the target is too."""
    sad = (Demonstration("meld/t/0", "sad", 0.9),) if shown else ()
    return [
        Example(
            f"meld/d/{turn}",
            "emotion_recognition",
            "?",
            "sad" if turn < gold_is_shown else "joyful",
            demonstrations=sad,
        )
        for turn in range(10)
    ]


def make_run(rows: list[Example], stop: bool) -> SimpleNamespace:
    training = SimpleNamespace(select_on="valid", stop_on_copying=stop)
    return SimpleNamespace(
        arguments=(None, None, training),
        row_sets=SimpleNamespace(scored={"valid": rows}),
        world=SimpleNamespace(is_first=True),
    )


def answer(rows: list[Example], copied: int) -> list[Prediction]:
    return [Prediction(row.id, row.task, row.target, "sad" if n < copied else "joyful") for n, row in enumerate(rows)]


def test_copying_far_above_gold_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    rows = make_rows(gold_is_shown=2)
    assert look_for_copying(make_run(rows, stop=False), answer(rows, 9)) == {
        "valid_copied": 90.0,
        "valid_copied_gold": 20.0,
    }
    assert capsys.readouterr().err == (
        "warning: 90% of the answers on valid are the demonstration's label, which is right in 20%: the model copies\n"
    )


def test_a_run_stops_where_that_is_asked() -> None:
    rows = make_rows(gold_is_shown=2)
    with pytest.raises(UserError, match="stopped, as --stop_on_copying True asks"):
        look_for_copying(make_run(rows, stop=True), answer(rows, 9))


def test_a_little_copying_is_recorded_alone(capsys: pytest.CaptureFixture[str]) -> None:
    rows = make_rows(gold_is_shown=4)
    assert look_for_copying(make_run(rows, stop=True), answer(rows, 7))["valid_copied"] == 70.0
    assert look_for_copying(make_run(make_rows(4, shown=False), stop=True), answer(make_rows(4, shown=False), 7)) == {}
    assert capsys.readouterr().err == ""
