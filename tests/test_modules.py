"""Modules together, from rows to scores, on a tiny base: speakers, prediction, demonstrations, several datasets."""

import json
import pickle
from pathlib import Path

import pytest
from conftest import call_script
from letter_counts import LetterCounts
from tiny_models import DATASET, main_command, save_base, save_rows

import main_new
from data_utils.examples import RowSettings
from data_utils.labels import UNIFIED_PROMPT_LABELS
from data_utils.mixing import MixSettings, prepare_mixed_folder
from data_utils.retrieval import RetrievalSettings
from data_utils.row_folders import prepare_folder

OTHER = "dailydialog"  # the same dialogues in its format


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a base, and pickles of two datasets below original/."""
    folder = tmp_path_factory.mktemp("modules")
    save_base(folder / "base")
    save_rows(folder)
    speakers, *slots = pickle.loads((folder / "original" / DATASET / f"{DATASET}.pkl").read_bytes())
    speakers = {name: [str(int(row[0] == 0)) for row in rows] for name, rows in speakers.items()}
    path = folder / "original" / OTHER / f"{OTHER}.pkl"
    path.parent.mkdir()
    path.write_bytes(pickle.dumps([speakers, *slots]))
    return folder


def rows_of(place: Path, kind: str, retrieval: RetrievalSettings | None = None) -> Path:
    window = 0 if kind == "speaker" else 2
    settings = RowSettings(DATASET, kind, historical_window=window, check_counts=False, retrieval=retrieval)
    return prepare_folder(settings, place / "original", place / "data", embed=LetterCounts())


def run(place: Path, name: str, rows: object, **flags: object) -> dict:
    """results.json of one run of one epoch, everything printed on stdout in `printed`."""
    flags = {"num_train_epochs": 1, "save_steps": 0, "data_dir": rows} | flags
    result = call_script(main_new.main, *main_command(place / "base", rows, place / name, **flags))
    assert result.returncode == 0, result.stderr
    written = json.loads((place / name / "results" / "results.json").read_text(encoding="utf-8"))
    return written | {"printed": result.stdout}


def test_both_kinds_of_rows_in_one_stage(place: Path) -> None:
    results = run(place, "one_stage", f"{rows_of(place, 'speaker')},{rows_of(place, 'window')}")
    assert results["training_rows"] == {"emotion_recognition": 27, "speaker_identification": 27}
    assert results["rows"] == 13  # emotions choose the epoch and make the headline
    speakers = results["other_tasks"]["speaker_identification"]
    assert speakers["rows"] == 13 and set(speakers["per_label"]) == {f"Speaker_{number}" for number in range(9)}


@pytest.mark.parametrize("pairing", ["paper", "all"])
def test_retrieval_two_stages_and_prediction_in_one_chain(place: Path, pairing: str) -> None:
    first = run(place, f"{pairing}_1", rows_of(place, "speaker"))
    assert first["training_rows"] == {"speaker_identification": 27} and first["rows"] == 13
    retrieval = RetrievalSettings("letters", pairing=pairing, balance=False)
    rows = rows_of(place, "predict", retrieval)
    stage_1 = place / f"{pairing}_1" / "model"
    second = run(place, f"{pairing}_2", rows, checkpoint_dir=stage_1, beta=0.3)
    assert second["training_rows"] == {"emotion_recognition": 27, "emotion_prediction": 27}
    assert second["rows"] == 13 and second["packing"] == "tree"
    again = run(place, f"{pairing}_3", rows, beta=0.3)
    assert again["epochs"][0]["train_loss"] != second["epochs"][0]["train_loss"]  # it did start from stage 1


def test_few_shot_needs_no_training(place: Path) -> None:
    rows = rows_of(place, "window", RetrievalSettings("letters", count=2, balance=False))
    results = run(place, "few_shot", rows, do_train=False, zero_shot=True, lora=False)
    assert results["rows"] == 13 and results["selection"] == "no training"


@pytest.mark.parametrize(("mix", "trained"), [("total", None), ("ratio", None), ("single", OTHER)])
def test_several_datasets_are_scored_one_by_one(place: Path, mix: str, trained: str | None) -> None:
    settings = MixSettings((DATASET, OTHER), mix, trained, historical_window=2, check_counts=False)
    folder = prepare_mixed_folder(settings, place / "original", place / "data")
    results = run(place, f"mix_{mix}", folder, dataset="unified")
    assert results["training_rows"] == {"emotion_recognition": 27 if trained else 54}
    by_dataset = results["by_dataset"]
    assert {name: scores["rows"] for name, scores in by_dataset.items()} == {DATASET: 13, OTHER: 13}
    assert [by_dataset[name]["metric"] for name in (DATASET, OTHER)] == ["weighted_f1", "micro_f1_without_neutral"]
    assert set(results["per_label"]) == set(UNIFIED_PROMPT_LABELS)
    epoch = results["epochs"][0]
    assert epoch["score"] == pytest.approx((epoch[f"valid_{DATASET}"] + epoch[f"valid_{OTHER}"]) / 2)
    assert "mean of the sets" in results["printed"] and f"micro F1 of {OTHER}" in results["printed"]


def test_stage_of_another_base_is_one_line(place: Path) -> None:
    run(place, "small", rows_of(place, "speaker"))
    save_base(place / "other", seed=1)
    rows = rows_of(place, "window")
    flags = {"checkpoint_dir": place / "small" / "model", "num_train_epochs": 1}
    result = call_script(main_new.main, *main_command(place / "other", rows, place / "wrong", **flags))
    assert (result.returncode, result.stderr.count("\n")) == (2, 1) and "is an adapter of" in result.stderr
    assert not (place / "wrong" / "results").exists()
