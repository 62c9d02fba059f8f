"""Turns without a label: others hear them, and nothing asks about them, learns from them or counts them."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from auditing.findings import audit
from basics.errors import UserError
from corpora import COLUMNS, SAID, TURNS, LetterCounts, rows_of, write_own_corpus, write_table
from data_utils.corpora.reading import describe, read_corpus
from data_utils.corpora.registry import find_dataset
from data_utils.dialogues import Dialogue, count_split, load_dialogues, previous_of_speakers
from data_utils.examples import RowSettings, build_examples
from data_utils.labels import SPLITS
from data_utils.mixing import MixSettings, prepare_mixed_folder
from data_utils.retrieval import RetrievalSettings
from data_utils.row_files import read_rows
from data_utils.row_folders import prepare_folder
from experiment_utils.breakdowns import describe_split
from experiment_utils.report_page import browse_runs
from scoring.baselines import measure_baselines
from scoring.contenders import Task
from scoring.metrics import Prediction
from scoring.vector_baselines import vectors_by_speaker

BARE = (1, 3)  # turns of each dialogue
KEPT = [turn for turn in range(TURNS) if turn not in BARE]
SIZES = {"train": 12, "valid": 3, "test": 3}


def bare_rows(split: str) -> list[Sequence[str]]:
    rows = enumerate(rows_of(split, SIZES[split]))
    return [(*row[:3], " " if place % TURNS in BARE else row[3]) for place, row in rows]


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    folder = write_own_corpus(tmp_path / "mine")
    for split in SPLITS:
        write_table(folder / f"{split}.csv", bare_rows(split))
    return folder


@pytest.fixture
def dialogues(corpus: Path) -> Mapping[str, Sequence[Dialogue]]:
    return load_dialogues("mine", corpus.parent)


def turns_in(names: Sequence[str]) -> list[int]:
    return [int(name.rpartition("/")[2]) for name in names]


def test_how_many_is_told(corpus: Path) -> None:
    told = (
        "train: 12 dialogues, 60 utterances, 24 of them without a label, which are heard and not asked about: awe 8 ("
    )
    assert any(line.startswith(told) for line in describe(read_corpus(corpus)))


def test_in_json_a_missing_key_null_and_an_empty_text_are_no_label(corpus: Path) -> None:
    known = load_dialogues("mine", corpus.parent)
    for number, split in enumerate(SPLITS):
        lines = []
        for place, row in enumerate(bare_rows(split)):
            said = dict(zip(COLUMNS, row, strict=True))
            if place % TURNS in BARE:
                said |= {"emotion": (None, "", [])[number]}
            if place % TURNS == BARE[0]:
                del said["emotion"]
            lines.append(json.dumps(said))
        (corpus / f"{split}.csv").unlink()
        (corpus / f"{split}.jsonl").write_text("\n".join(lines), "utf-8")
    assert load_dialogues("mine", corpus.parent) == known


@pytest.mark.parametrize("kind", ["window", "predict", "speaker", "plain"])
def test_no_row_asks_about_them_and_the_history_has_them(kind: str, corpus: Path, dialogues) -> None:
    rows = build_examples(RowSettings("mine", kind), dialogues, find_dataset("mine", corpus.parent))
    for split in SPLITS:
        assert {*turns_in([row.id for row in rows[split]])} == {*KEPT}
    for row in rows["test"] if kind == "window" else ():
        (turn,) = turns_in([row.id])
        assert row.target in SAID and row.input.count("Speaker_") == turn + 2  # the target stands twice


def test_rows_in_unified_labels_leave_them_out_too(corpus: Path, tmp_path: Path) -> None:
    folder = prepare_mixed_folder(MixSettings(("mine",)), corpus.parent, tmp_path / "data")
    rows = read_rows(folder / "test.json")
    assert turns_in([row.id for row in rows]) == KEPT * SIZES["test"]
    assert rows[1].input.count("Speaker_") == KEPT[1] + 2


def test_none_of_them_demonstrates(corpus: Path, tmp_path: Path) -> None:
    settings = RowSettings("mine", retrieval=RetrievalSettings("letters"))
    folder = prepare_folder(settings, corpus.parent, tmp_path / "data", embed=LetterCounts())
    shown = [one.id for split in SPLITS for row in read_rows(folder / f"{split}.json") for one in row.demonstrations]
    assert shown and {*turns_in(shown)} == {*KEPT}


def test_baselines_hear_them(corpus: Path, dialogues) -> None:
    spec = find_dataset("mine", corpus.parent)
    task = Task("mine", dialogues, spec.labels, spec.metric, 2, spec.neutral)
    assert [len(shown) for _, shown in task.turns("test")] == [0, 2, 2] * SIZES["test"]
    assert len(task.gold("test")) == len(KEPT) * SIZES["test"] and None not in task.gold("test")
    # Nobody's label is known right before any of them.
    assert (task.orders["test"].dialogue == -1).all() and (task.orders["test"].own == -1).all()
    features, width = vectors_by_speaker(task, "test", LetterCounts()), 128
    texts = [one.text for dialogue in dialogues["test"] for _, one in dialogue.labelled]
    np.testing.assert_array_equal(features[:, :width], LetterCounts()(texts))
    assert features[0, width:].sum() == 0 and (features[1::3, width:].sum(axis=1) > 0).all()
    found = {one.name: one for one in measure_baselines(task)}
    assert found["words"].results["test"].rows == len(texts)


def test_reports_and_the_audit_leave_them_out(corpus: Path, dialogues) -> None:
    labelled = [f"mine/test{number}/{turn}" for number in range(SIZES["test"]) for turn in KEPT]
    assert list(describe_split("mine", dialogues, "test")) == labelled
    assert count_split(dialogues["test"], tuple(SAID)).utterances == len(labelled)
    said = [Prediction(name, "", "awe", "calm") for name in labelled]
    turns = browse_runs("mine", dialogues["test"], {"window": said})["dialogues"][0]["turns"]
    assert [(turn["label"], turn["said"]) for turn in turns[:2]] == [("awe", ["calm"]), ("", [])]
    found = audit({"mine": dialogues}, {"mine": find_dataset("mine", corpus.parent)})
    assert all(sum(one.shares.values()) == pytest.approx(1) for one in found.labels)
    assert {one.inertia.previous_turn for one in found.labels} == {None}
    assert [one.found.utterances for one in found.repeated] == [SIZES[split] * len(KEPT) for split in ("valid", "test")]
    (first, *_) = dialogues["test"]
    speakers = [None if one is None else one.speaker for one in previous_of_speakers(first)]
    assert len(speakers) == len(KEPT)


@pytest.mark.parametrize("one_file", [True, False])
def test_a_split_without_any_label_is_refused(one_file: bool, corpus: Path) -> None:
    bare = [(*row[:3], "") for row in bare_rows("test")]
    write_table(corpus / "test.csv", bare)
    told = r"test\.csv line 2: no turn has an emotion, allowed is a label in the column"
    if one_file:
        for split in SPLITS:
            (corpus / f"{split}.csv").unlink()
        only = [row if row[0] == "train0" else (*row[:3], "") for row in rows_of("train", 12)]
        write_table(corpus / "all.csv", only)
        told = r"all\.csv: no turn of the \d+ dialogues? drawn for (train|valid) has an emotion, allowed is one"
    with pytest.raises(UserError, match=told):
        read_corpus(corpus)
