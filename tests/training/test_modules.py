"""Modules together, from rows to scores, on a tiny base: speakers, prediction, demonstrations, several datasets."""

import json
import pickle
from contextlib import nullcontext
from pathlib import Path

import pytest

import main_new
from basics.errors import UserError
from commands import call_script
from corpora import LetterCounts
from data_utils.examples import RowSettings
from data_utils.labels import DATASETS, UNIFIED_PROMPT_LABELS
from data_utils.mixing import MixSettings, one_after_the_other, prepare_mixed_folder
from data_utils.retrieval import RetrievalSettings
from data_utils.row_folders import prepare_folder
from tiny_models import DATASET, character_tokenizer, main_command, save_base, save_rows
from training.erc_config import BASE_RECORDS, read_erc_config, refuse_other_base

OTHER = "dailydialog"  # the same dialogues in its format
LETTERS = RetrievalSettings("letters", balance=False)
CHAT = "{% for message in messages %}Ask: {{ message['content'] }} Say:{% endfor %}"


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


def test_who_speaks_is_scored_alike_on_every_dataset(place: Path) -> None:
    """Of speakers there is no neutral one that micro F1 could leave out."""
    settings = RowSettings(OTHER, "speaker", historical_window=0, check_counts=False)
    rows = prepare_folder(settings, place / "original", place / "data")
    results = run(place, "speakers_of_another", rows, dataset=OTHER, do_eval=True)
    assert DATASETS[OTHER].metric != "weighted_f1" == results["metric"]
    assert results["score"] == results["weighted_f1"] == results["by_dataset"].get(OTHER, results)["score"]


@pytest.mark.parametrize("kind", ["window", "predict"])
@pytest.mark.parametrize("retrieval", [None, LETTERS], ids=["no demonstrations", "demonstrations"])
def test_both_kinds_of_rows_in_one_stage(place: Path, kind: str, retrieval: RetrievalSettings | None) -> None:
    rows = f"{rows_of(place, 'speaker')},{rows_of(place, kind, retrieval)}"
    predicted, weights = ({"emotion_prediction": 27}, {"beta": 0.3}) if kind == "predict" else ({}, {})
    results = run(place, f"one_stage_{kind}_{bool(retrieval)}", rows, **weights)
    assert results["training_rows"] == {"emotion_recognition": 27, "speaker_identification": 27} | predicted
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
    voting = [trained] if trained else [DATASET, OTHER]  # what is not trained on has no say in the epoch
    assert epoch["score"] == pytest.approx(sum(epoch[f"valid_{name}"] for name in voting) / len(voting))
    assert epoch[f"valid_{DATASET}"] != epoch[f"valid_{OTHER}"]
    assert "mean of the sets" in results["printed"] and f"micro F1 of {OTHER}" in results["printed"]


def test_sequence_is_one_stage_after_the_other(place: Path) -> None:
    settings = one_after_the_other(MixSettings((DATASET, OTHER), historical_window=2, check_counts=False))
    first, second = (prepare_mixed_folder(one, place / "original", place / "data") for one in settings)
    run(place, "sequence_1", first, dataset="unified")
    start = place / "sequence_1" / "model"
    results = run(place, "sequence_2", second, dataset="unified", checkpoint_dir=start)
    assert results["training_rows"] == {"emotion_recognition": 27}
    assert {name: scores["rows"] for name, scores in results["by_dataset"].items()} == {DATASET: 13, OTHER: 13}
    epoch = results["epochs"][0]
    assert epoch["score"] == pytest.approx((epoch[f"valid_{DATASET}"] + epoch[f"valid_{OTHER}"]) / 2)
    alone = run(place, "sequence_alone", second, dataset="unified")
    assert alone["epochs"][0]["train_loss"] != results["epochs"][0]["train_loss"]  # it did start from the first


def test_chat_template_and_calibration_each_change_the_answers(place: Path) -> None:
    base = save_base(place / "chat")
    tokenizer = character_tokenizer()
    tokenizer.chat_template = CHAT
    tokenizer.save_pretrained(base)
    rows = rows_of(place, "window", LETTERS)
    shared = {"do_train": False, "zero_shot": True, "lora": False, "model_name_or_path": base}
    scores = {}
    for flags in ({}, {"chat_template": True}, {"calibrate": True}, {"chat_template": True, "calibrate": True}):
        name = "_".join(["asked", *flags])
        assert run(place, name, rows, **shared, **flags)["rows"] == 13
        lines = (place / name / "results" / "predictions.jsonl").read_text(encoding="utf-8").splitlines()
        scores[name] = [json.dumps(json.loads(line)["scores"]) for line in lines]
    assert len({tuple(found) for found in scores.values()}) == 4


@pytest.mark.parametrize("lora", [True, False])
def test_stage_of_another_base_is_one_line(place: Path, lora: bool) -> None:
    run(place, f"small_{lora}", rows_of(place, "speaker"), lora=lora)
    save_base(place / "other", seed=1)
    rows = rows_of(place, "window")
    flags = {"checkpoint_dir": place / f"small_{lora}" / "model", "num_train_epochs": 1, "lora": lora}
    result = call_script(main_new.main, *main_command(place / "other", rows, place / "wrong", **flags))
    assert (result.returncode, result.stderr.count("\n")) == (2, 1), result.stderr
    assert f"was trained on {place / 'base'}, but --model_name_or_path is {place / 'other'}" in result.stderr
    assert not (place / "wrong" / "results").exists()


def test_whole_models_of_a_chain_all_name_the_base(place: Path) -> None:
    start = {}
    for stage in ("first", "second", "third"):
        run(place, stage, rows_of(place, "window"), lora=False, **start)
        assert read_erc_config(place / stage / "model").base == str(place / "base")
        start = {"checkpoint_dir": place / stage / "model"}


BASES_OF_CHECKPOINTS = [
    ("owner/model", "owner/model", True),
    ("owner/model", "another/model", False),
    ("owner/model", "elsewhere/bases/model", True),  # fetched since, or moved: its own name is all there is
    ("/one/model", "/two/model", True),
    ("/one/model", "/one/model-2", False),
    (None, "owner/model", True),  # says nothing of where it comes from
]


@pytest.mark.parametrize(("trained_on", "base", "fits"), BASES_OF_CHECKPOINTS)
@pytest.mark.parametrize(("file", "key"), BASE_RECORDS.items())
def test_bases_are_compared_as_far_as_names_go(
    tmp_path: Path, file: str, key: str, trained_on: str | None, base: str, fits: bool
) -> None:
    (tmp_path / file).write_text(json.dumps({key: trained_on}), encoding="utf-8")
    with nullcontext() if fits else pytest.raises(UserError, match=f"was trained on {trained_on}, but .* is {base}"):
        refuse_other_base(str(tmp_path), base)


def test_a_record_that_is_no_object_is_one_line(tmp_path: Path) -> None:
    for content in ("[]", "{"):
        (tmp_path / "erc_config.json").write_text(content, encoding="utf-8")
        with pytest.raises(UserError, match="erc_config.json: not readable"):
            refuse_other_base(str(tmp_path), "owner/model")
