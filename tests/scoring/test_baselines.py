"""Baselines on dialogues small enough to follow, on the sample, and the published leak bound."""

import json
from pathlib import Path

import numpy as np
import pytest

from basics.files import find_repository
from corpora import LetterCounts
from data_utils.dialogues import Dialogue, Utterance, load_dialogues
from data_utils.labels import DATASETS
from scoring import baselines
from scoring.baselines import (
    EMBEDDING,
    MAJORITY,
    PREVIOUS_LABEL,
    fit_and_answer,
    measure_baselines,
    previous_labels,
    score,
    utterance_features,
)
from scoring.metrics import baseline_majority

TURNS = [(0, "aa", "sad"), (1, "bb", "joyful"), (0, "cc", "angry"), (0, "dd", "sad"), (1, "ee", "sad")]
DIALOGUE = Dialogue("d", tuple(Utterance(*turn) for turn in TURNS))


def test_previous_label_is_the_same_speakers() -> None:
    said = previous_labels([DIALOGUE, DIALOGUE], otherwise="neutral")
    assert said == ["neutral", "neutral", "sad", "angry", "joyful"] * 2


def test_history_is_the_mean_of_the_turns_before_in_the_same_dialogue() -> None:
    vectors = LetterCounts()(["aa", "bb", "cc", "dd", "ee"])
    features = utterance_features([DIALOGUE, DIALOGUE], LetterCounts(), window=2)
    assert features.shape == (10, 256)
    np.testing.assert_array_equal(features[:5], features[5:])
    np.testing.assert_array_equal(features[:5, :128], vectors)
    assert not features[0, 128:].any()
    np.testing.assert_allclose(features[3, 128:], (vectors[1] + vectors[2]) / 2)


def test_regularisation_is_chosen_on_valid(monkeypatch: pytest.MonkeyPatch) -> None:
    # Under strong regularisation the commoner label wins; valid says which of the two was wanted.
    x = {"train": np.array([[1.0], [0.0], [0.0]]), "valid": np.array([[1.0]]), "test": np.array([[1.0], [0.0]])}
    monkeypatch.setattr(baselines, "STRENGTHS", (1e-4, 1e4))
    for wanted in ("rare", "common"):
        targets = {"train": ["rare", "common", "common"], "valid": [wanted]}
        assert fit_and_answer(x, targets, ("rare", "common"), "weighted_f1") == [wanted, "common"]


def test_measured_on_the_sample() -> None:
    dialogues, spec = load_dialogues("sample", find_repository() / "original_data"), DATASETS["sample"]
    found = measure_baselines(dialogues, spec.labels, spec.metric, LetterCounts(), 12)
    targets = [one.label for dialogue in dialogues["test"] for one in dialogue.utterances]
    train = [one.label for dialogue in dialogues["train"] for one in dialogue.utterances]
    assert found[MAJORITY] == baseline_majority(train, targets, spec.labels, spec.metric).result
    assert found[EMBEDDING].rows == len(targets) and found[EMBEDDING].score > found[MAJORITY].score
    assert list(found)[-1] == PREVIOUS_LABEL


@pytest.mark.real_data
def test_published_leak_bound(original_data: Path) -> None:
    test = load_dialogues("iemocap", original_data)["test"]
    targets = [one.label for dialogue in test for one in dialogue.utterances]
    found = score(targets, previous_labels(test, "neutral"), DATASETS["iemocap"].labels, "weighted_f1")
    assert round(found.score, 2) == 72.24


def test_script_without_its_encoder_is_one_line(run_code, tmp_path: Path) -> None:
    result = run_code("code/baselines.py", "--dataset", "sample", "--encoder", tmp_path, "--output", tmp_path / "out")
    assert (result.returncode, result.stdout, result.stderr.count("\n")) == (2, "", 1)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_script_prints_and_writes(run_code, tmp_path: Path) -> None:
    if not (find_repository() / "LLM_bases" / "all-MiniLM-L6-v2" / "SOURCE.json").is_file():
        pytest.skip("all-MiniLM-L6-v2 has not been fetched")
    command = ["--dataset", "sample", "--data", tmp_path / "data", "--output", tmp_path]
    result = run_code("code/baselines.py", *command)
    assert result.returncode == 0, result.stderr
    scores = {line.split()[0]: float(line.split()[1]) for line in result.stdout.splitlines()[1:]}
    written = json.loads((tmp_path / "sample.json").read_text())
    assert scores["majority"] == 25.97 < scores["embedding"]
    assert scores == {name: round(written[name]["score"], 2) for name in scores}
