"""score_with_evidence.py --together: the seeds of a model as one, by the mean of their log p."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import score_with_evidence as script
from commands import assert_one_line_error, call_script, cells
from corpora import LetterCounts
from data_utils.dialogues import name_utterances
from data_utils.labels import DATASETS
from experiment_utils.beyond import together
from experiment_utils.beyond.together import mean_answers
from experiment_utils.conditions import EXPERIMENTS
from experiment_utils.evidence import read_corpus
from experiment_utils.records import Records
from scoring.beside import KINDS
from scoring.metrics import Prediction
from scoring.prediction_files import write_predictions

LABELS = DATASETS["sample"].labels


@pytest.fixture(autouse=True)
def letters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bases.encoder.SentenceEncoder", lambda name, cache: LetterCounts())


def judge(name: str, gold: str, log_p: dict[str, float]) -> Prediction:
    return Prediction(name, "", gold, max(log_p, key=log_p.__getitem__), log_p)


def test_the_mean_is_of_log_p_and_sums_to_one() -> None:
    """By hand: sqrt(0.9 x 0.2) and sqrt(0.1 x 0.8) stand as 0.6 to 0.4; the first model's log p need not sum to 1."""
    first = judge("a/d/0", "sad", {"joyful": float(np.log(0.9)) - 3, "sad": float(np.log(0.1)) - 3})
    second = judge("a/d/0", "sad", {"joyful": float(np.log(0.2)), "sad": float(np.log(0.8))})
    (row,) = mean_answers([[first], [second]])
    assert {label: float(np.exp(value)) for label, value in row.scores.items()} == pytest.approx(
        {"joyful": 0.6, "sad": 0.4}
    )
    assert (row.id, row.target, row.label) == ("a/d/0", "sad", "joyful")
    (again,) = mean_answers([[second], [first]])
    assert again.scores == pytest.approx(row.scores) and again.label == "joyful"
    with pytest.raises(ValueError, match="shorter"):
        mean_answers([[first], []])


def write_seed(folder: Path, split: str, sure_of: str | None) -> None:
    """Answers that are sure of one label, or of each gold label."""
    utterances = name_utterances("sample", read_corpus("sample")[split])
    said = [(name, one.label, sure_of or one.label) for name, one in utterances]
    sure = 4.5 if sure_of is None else 4.0
    rows = [judge(name, gold, {label: -sure * (label != answer) for label in LABELS}) for name, gold, answer in said]
    write_predictions(folder / split, rows)


def test_seeds_answer_as_one_with_evidence_and_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One seed is right and a bit surer, the other says one label: the mean is right, and evidence moves it."""
    run = next(run for run in Records.read(EXPERIMENTS).runs if run.condition == "sample/window/sample")
    for seed, sure_of in ((1, None), (2, LABELS[0])):
        for split in ("valid", "test"):
            write_seed(tmp_path / str(seed), split, sure_of)
    lone = replace(run, condition="sample/plain/sample", seed=1)
    monkeypatch.setattr(together, "comparable_runs", lambda *_: [replace(run, seed=1), lone, replace(run, seed=2)])

    def lies_in(split: str):
        return lambda folder, run, dataset: tmp_path / str(run.seed) / split / "predictions.jsonl"

    monkeypatch.setattr(together, "valid_answers_file", lies_in("valid"))
    monkeypatch.setattr(together, "answers_file", lies_in("test"))
    page = tmp_path / "page.md"
    page.write_text("<!-- together: begin -->\n<!-- together: end -->\n")
    done = call_script(script.main, "--datasets", "sample", "--together", "--output", page)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() in page.read_text(encoding="utf-8")
    header, rule, *lines = map(cells, done.stdout.splitlines())
    told = f"with {KINDS['linear_models'].called}"
    assert header[:8] == ["answers of", "dataset", "seeds", "split", "each (W-F1)", "together", "points", "p"]
    assert header[8:10] == [f"each, {told}", f"together, {told}"]
    assert header[10:] == ["its 95% interval", f"points, {told}", f"p, {told}", "with transitions too"]
    assert rule == ["---", *["---:"] * (len(header) - 1)]
    named = [dict(zip(header, line, strict=True)) for line in lines]
    assert [(line["answers of"], line["seeds"], line["split"]) for line in named] == [
        ("sample/window", "1, 2", "valid"),
        ("sample/window", "1, 2", "test"),
    ]
    # Each by itself: on valid as it answered in its file, on test as its record counts, of which log p is a rounding.
    assert 50 < float(named[0]["each (W-F1)"]) < 70 and named[1]["each (W-F1)"] == "89.48"
    for line in named:
        each = float(line["each (W-F1)"])
        assert line["together"] == "100.00" and float(line["p"]) < 0.05
        assert float(line["points"]) == pytest.approx(100 - each, abs=0.011)
        each, together_told = float(line[f"each, {told}"]), float(line[f"together, {told}"])
        low, high = map(float, line["its 95% interval"].split(" to "))
        assert 60 < each < 90 < low < together_told < high and together_told < 99
        assert float(line[f"points, {told}"]) == pytest.approx(together_told - each, abs=0.011)
        assert float(line[f"p, {told}"]) < 0.05
        assert 90 < float(line["with transitions too"]) != together_told


def test_what_has_no_two_seeds_is_one_line(tmp_path: Path) -> None:
    assert_one_line_error(call_script(script.main, "--datasets", "sample", "--together"), "no model here has 2 seeds")
    kept = call_script(script.main, "--datasets", "sample", "--together", "--keep")
    assert_one_line_error(kept, "--together is of committed answers")
