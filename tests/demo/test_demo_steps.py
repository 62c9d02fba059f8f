"""What the demo's notebook asks and tells, with a tiny model."""

import json
from pathlib import Path

import pytest

import demo_steps as steps
from commands import REPOSITORY
from tiny_models import LABELS


def test_the_steps_of_the_notebook(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ERC_CHECKPOINT", str(trained / "run" / "model"))
    recognizer = steps.open_recognizer()
    assert steps.introduce().endswith(f"\nIt answers with one of: {', '.join(LABELS)}.")
    assert steps.show_scores() is None, "no score lies beside this checkpoint"
    rows = steps.ask(recognizer, "Ann: Great!\nBen: Run!")
    alone = steps.forget_history(recognizer, rows)
    lines = steps.by_turn_and_alone(rows, alone)
    assert list(lines) == ["0 Ann: Great!", "0 by itself", "1 Ben: Run!", "1 by itself"]
    # Nothing stands before the first turn, so it is the same with and without.
    assert lines["0 by itself"] == pytest.approx(lines["0 Ann: Great!"], rel=1e-4)
    changed = [row for row, bare in zip(rows, alone, strict=True) if row.emotion != bare.emotion]
    assert steps.tell_changes(rows, alone).startswith(f"The history changes the label of {len(changed)} of 2 turns")
    shown = steps.show(steps.by_turn(rows), LABELS)
    assert shown.data.startswith(b"\x89PNG")
    assert shown.alt.startswith(f"0 Ann: Great!: {rows[0].emotion} {rows[0].probability:.2f}; 1 Ben: Run!: ")


def test_a_change_is_told_by_its_turn(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ERC_CHECKPOINT", str(trained / "run" / "model"))
    rows = steps.ask(steps.open_recognizer(), "Ann: Great!\nBen: Run!\nAnn: No way!")
    other = [row if row.turn.turn != 1 else steps.replace(row, emotion="another") for row in rows]
    assert steps.tell_changes(rows, [*other[:2], steps.replace(rows[2], emotion="another")]).endswith("(turns 1, 2).")
    assert steps.tell_changes(rows, rows) == "The history changes the label of 0 of 3 turns."
    assert steps.tell_changes(rows, other) == "The history changes the label of 1 of 3 turns (turn 1)."


def test_the_score_that_lies_beside_a_checkpoint_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ERC_CHECKPOINT", "sample")
    per_label = json.loads((REPOSITORY / "demo/adapter/results.json").read_bytes())["per_label"]
    shown = steps.show_scores()
    assert shown.data.startswith(b"\x89PNG") and f"; joyful: {per_label['joyful']['f1']:.0f}; " in shown.alt


def test_a_prompt_is_wrapped_line_by_line() -> None:
    assert steps.wrap("a " * 60 + "b\nc").splitlines() == [" ".join("a" * 50), " ".join("a" * 10) + " b", "c"]
