"""Counts by dialogue: their scores are scikit-learn's, and they come back from their file as they were."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import f1_score

from basics.errors import UserError
from experiment_utils import dialogue_counts
from experiment_utils.breakdowns import read_breakdowns, write_breakdowns
from experiment_utils.dialogue_counts import (
    Counts,
    f1_of_labels,
    macro_f1,
    micro_f1_without_neutral,
    weighted_f1,
)
from scoring.metrics import Prediction, evaluate_predictions

LABELS = ("neutral", "joyful", "sad")


def draw_predictions(seed: int, rows: int = 60) -> list[Prediction]:
    """In six dialogues; an answer may hold no label."""
    random = np.random.default_rng(seed)
    targets, said = random.choice(LABELS, rows), random.choice([*LABELS, ""], rows)
    return [
        Prediction(f"meld/d{turn % 6}/{turn}", "emotion_recognition", str(target), str(answer) or None)
        for turn, (target, answer) in enumerate(zip(targets, said, strict=True))
    ]


@pytest.mark.parametrize("seed", range(5))
def test_scores_are_those_of_the_metrics(seed: int) -> None:
    rows = draw_predictions(seed)
    counts, result = Counts.of_predictions(rows, LABELS), evaluate_predictions(rows, LABELS)
    assert counts.confusion.tolist() == [list(row) for row in result.confusion]
    assert counts.score("weighted_f1") == pytest.approx(result.weighted_f1, abs=1e-9)
    assert counts.score("micro_f1_without_neutral") == pytest.approx(result.micro_f1_without_neutral, abs=1e-9)
    assert float(macro_f1(counts.sums)) == pytest.approx(result.macro_f1, abs=1e-9)
    assert f1_of_labels(counts.sums) == pytest.approx([one.f1 for one in result.per_label.values()], abs=1e-9)


def test_many_sums_are_scored_at_once() -> None:
    sums = np.stack([Counts.of_predictions(draw_predictions(seed), LABELS).sums for seed in range(4)])
    assert weighted_f1(sums, LABELS) == pytest.approx([float(weighted_f1(one, LABELS)) for one in sums])
    assert micro_f1_without_neutral(sums, LABELS).shape == (4,)


def test_macro_f1_is_over_the_labels_that_occur() -> None:
    """One label of three is in nobody's gold: the mean is of two, as scikit-learn's over the gold's labels."""
    answers = [("d", "joyful", "joyful", 3), ("d", "joyful", "sad", 1), ("d", "neutral", "neutral", 2)]
    counts = Counts.of(answers, LABELS)
    gold, said = ["joyful"] * 4 + ["neutral"] * 2, ["joyful"] * 3 + ["sad"] + ["neutral"] * 2
    expected = f1_score(gold, said, labels=["joyful", "neutral"], average="macro")
    assert float(macro_f1(counts.sums)) == pytest.approx(100 * expected)


def test_a_file_holds_counts_and_nothing_else() -> None:
    counts = Counts.of_predictions(draw_predictions(7), LABELS)
    text = counts.write()
    assert text.splitlines()[0] == "dialogue,label,answer,count"
    again = Counts.read(text, LABELS)
    assert again.is_paired_with(counts) and (again.table == counts.table).all() and again.write() == text
    assert sum(int(line.rpartition(",")[2]) for line in text.splitlines()[1:]) == counts.rows == 60


def test_what_is_no_file_of_counts() -> None:
    with pytest.raises(UserError, match="the columns are a, b"):
        Counts.read("a,b\n1,2\n", LABELS)
    with pytest.raises(UserError, match="line 2"):
        Counts.read("dialogue,label,answer,count\nd,sad,sad,many\n", LABELS)
    with pytest.raises(UserError, match="'mad' is not among the labels neutral, joyful, sad"):
        Counts.read("dialogue,label,answer,count\nd,sad,mad,1\n", LABELS)
    for count in (0, 1_000_001):
        with pytest.raises(UserError, match="a count is not between 1 and 1,000,000"):
            Counts.read(f"dialogue,label,answer,count\nd,sad,sad,{count}\n", LABELS)
    assert Counts.read("dialogue,label,answer,count\nd,sad,sad,1000000\n", LABELS).rows == 1_000_000


def test_no_more_is_counted_than_can_be_held(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two dialogues of three labels and four answers."""
    answers = [(name, "sad", "sad", 1) for name in "ab"]
    monkeypatch.setattr(dialogue_counts, "MOST_CELLS", 24)
    assert Counts.of(answers, LABELS).rows == 2
    monkeypatch.setattr(dialogue_counts, "MOST_CELLS", 23)
    with pytest.raises(UserError, match="3 labels in 2 dialogues are more than are counted"):
        Counts.of(answers, LABELS)


def test_a_single_utterance_has_all_scores() -> None:
    counts = Counts.of([("d", "sad", "sad", 1)], LABELS)
    scores = counts.score("weighted_f1"), counts.score("micro_f1_without_neutral"), float(macro_f1(counts.sums))
    assert scores == (100.0, 100.0, 100.0)


def test_parts_of_a_run_add_up_to_it() -> None:
    """Parts share the dialogues."""
    rows = draw_predictions(3)
    whole, *parts = (Counts.of_predictions(some, LABELS) for some in (rows, rows[:25], rows[25:]))
    for summed in (Counts.sum_of(parts), Counts.sum_of([whole])):
        assert summed.is_paired_with(whole) and (summed.table == whole.table).all()


@pytest.mark.parametrize("name", ["a\u2028b", "a\x85b", "a\x1eb", 'a,"b"'])
def test_a_dialogue_of_any_name_comes_back(name: str, tmp_path: Path) -> None:
    counts = Counts.of([(f"own/{name}", LABELS[0], None, 2), ("own/z", LABELS[1], LABELS[0], 1)], LABELS)
    write_breakdowns(tmp_path / "a.csv.gz", {"text": {"not in train": counts}})
    again = read_breakdowns(tmp_path / "a.csv.gz", LABELS)["text"]["not in train"]
    assert again.is_paired_with(counts) and (again.table == counts.table).all()
