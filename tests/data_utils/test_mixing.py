"""Rows in unified labels: what they say, how they are drawn, and how they are scored set by set."""

import json
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

import data_process_mixed
from basics.errors import UserError
from basics.files import find_repository
from commands import assert_one_line_error, call_script
from corpora import corpus_of, one_hot, write_own_corpus
from data_utils.dialogues import load_dialogues
from data_utils.draws import Draw
from data_utils.examples import RowSettings, build_examples
from data_utils.labels import DATASETS, SPLITS, UNIFIED_PROMPT_LABELS
from data_utils.mixing import MixSettings, mix_training_rows, one_after_the_other, prepare_mixed_folder, unified_rows
from data_utils.row_files import RECOGNITION, Example, read_manifest, read_rows
from data_utils.row_folders import describe_folder
from data_utils.row_sets import load_row_sets
from data_utils.scenes import count_repeated, long_turns, share_scenes
from scoring.metrics import Prediction, evaluate_by_dataset, mean_score

SAMPLE = find_repository() / "original_data"
SETS = ("iemocap", "meld", "EmoryNLP")
SIZES = {"iemocap": 40, "meld": 80, "EmoryNLP": 20}


# The feeling wheel as the method states it, index by index, and its numbering of the speakers: written out once more,
# so that no table is tested against itself. The sample corpus has MELD's labels.
OF_MELD = ("neutral", "powerful", "fear", "sad", "joyful", "disgust", "mad")
WHEEL = {
    "iemocap": ("joyful", "sad", "neutral", "mad", "excited", "fear"),
    "meld": OF_MELD,
    "EmoryNLP": ("joyful", "mad", "peaceful", "neutral", "sad", "powerful", "fear"),
    "sample": OF_MELD,
}
WHEEL_LABELS = "joyful, sad, neutral, mad, excited, fear, disgust, peaceful, powerful"
OFFSETS = {"iemocap": 0, "meld": 2, "EmoryNLP": 10, "sample": 21}  # the sample's is ours: after all others


def translate(row: Example, dataset: str) -> Example:
    """A row of the dataset's own, as it reads in unified labels; by text replacement alone."""
    labels, offset = DATASETS[dataset].labels, OFFSETS[dataset]
    own, unified = ", ".join(labels), dict(zip(labels, WHEEL[dataset], strict=True))
    speakers = re.compile(r'((?:\t |< )Speaker_)(\d+)(?=:")')
    text = speakers.sub(lambda match: f"{match[1]}{int(match[2]) + offset}", row.input)
    assert text.endswith(f"> from <{own}>:")
    text = text.removesuffix(f"<{own}>:") + f"<{WHEEL_LABELS}>:"
    return Example(row.id, row.task, text, unified[row.target])


@pytest.mark.parametrize("dataset", WHEEL)
def test_tables_are_the_methods(dataset: str) -> None:
    assert tuple(DATASETS[dataset].unified_labels[label] for label in DATASETS[dataset].labels) == WHEEL[dataset]
    assert DATASETS[dataset].speaker_offset == OFFSETS[dataset]
    assert ", ".join(UNIFIED_PROMPT_LABELS) == WHEEL_LABELS


def assert_translated(dataset: str, folder: Path, window: int, step: int = 1) -> None:
    dialogues = load_dialogues(dataset, folder)
    own = build_examples(RowSettings(dataset, historical_window=window, window_step=step), dialogues)
    unified = unified_rows(DATASETS[dataset], dialogues, window, step)
    for split in SPLITS:
        assert [row.worded() for row in unified[split]] == [translate(row, dataset) for row in own[split]]


@pytest.mark.parametrize(("window", "step"), [(0, 1), (3, 1), (12, 1), (3, 4)])
def test_unified_rows_are_the_sets_own_translated(window: int, step: int) -> None:
    assert_translated("sample", SAMPLE, window, step)


def test_a_folder_holds_the_rows_of_its_window(tmp_path: Path) -> None:
    settings = MixSettings(("sample",), historical_window=3, window_step=4, prompt="compact")
    folder = prepare_mixed_folder(settings, SAMPLE, tmp_path)
    planned = unified_rows(DATASETS["sample"], load_dialogues("sample", SAMPLE), 3, 4, "compact")["test"]
    expected = [row.worded() for row in planned]
    assert read_rows(folder / "test.json") == expected and folder.name == "total_sample_window_3_step_4_compact"
    assert expected[0].input.endswith(" Emotion:") and f"from <{WHEEL_LABELS}>:" in expected[0].input


@pytest.mark.real_data
@pytest.mark.parametrize("dataset", SETS)
def test_published_rows_are_translated_whole(dataset: str, original_data: Path) -> None:
    assert_translated(dataset, original_data, 12)


def rows_of(sizes: dict[str, int]) -> dict[str, list[Example]]:
    return {
        name: [Example(f"{name}/d{number}/0", RECOGNITION, "text", "joyful") for number in range(size)]
        for name, size in sizes.items()
    }


def drawn(mix: str, fraction: float, seed: int = 1, trained: str | None = None, sizes=SIZES) -> list[Example]:
    return mix_training_rows(rows_of(sizes), MixSettings(SETS, mix, trained, Draw(fraction, seed)))


def count_sets(rows: list[Example]) -> Counter[str]:
    return Counter(row.id.split("/")[0] for row in rows)


def test_what_each_mix_draws() -> None:
    everything = [row for rows in rows_of(SIZES).values() for row in rows]
    assert drawn("total", 1) == drawn("ratio", 1) == everything
    assert count_sets(drawn("ratio", 0.25)) == {"iemocap": 10, "meld": 20, "EmoryNLP": 5}
    assert len(drawn("total", 0.25)) == 35
    assert count_sets(drawn("single", 0.25, trained="meld")) == {"meld": 20}
    assert [row for row in everything if row in drawn("total", 0.5)] == drawn("total", 0.5)


def test_draws_follow_the_seed() -> None:
    for mix in ("total", "ratio"):
        assert drawn(mix, 0.5) == drawn(mix, 0.5) != drawn(mix, 0.5, seed=2)


@pytest.mark.parametrize(
    ("mix", "fraction", "sizes", "named"),
    [
        ("ratio", 1 / 64, SIZES, "EmoryNLP"),
        ("total", 0.01, SIZES, "iemocap|EmoryNLP"),
        ("total", 1, SIZES | {"meld": 0}, "meld"),
    ],
)
def test_a_set_without_rows_is_refused(mix: str, fraction: float, sizes: dict[str, int], named: str) -> None:
    with pytest.raises(UserError, match=f"--data_percent {fraction}: {mix} mix leaves no training row of .*({named})"):
        drawn(mix, fraction, sizes=sizes)


def test_sequence_is_each_set_alone() -> None:
    folders = one_after_the_other(MixSettings(SETS))
    assert [one.trained for one in folders] == list(SETS) and len({one.folder_name for one in folders}) == 3
    assert {one.datasets for one in folders} == {SETS}


def test_folder_is_made_once_and_loads(tmp_path: Path) -> None:
    folder = prepare_mixed_folder(MixSettings(("sample",), draw=Draw(0.5)), None, tmp_path)
    assert folder == tmp_path / "unified" / "total_sample_0.5"
    before = (folder / "manifest.json").stat().st_mtime_ns
    assert prepare_mixed_folder(MixSettings(("sample",), draw=Draw(0.5)), None, tmp_path) == folder
    assert (folder / "manifest.json").stat().st_mtime_ns == before
    rows = load_row_sets(str(folder), "unified")
    assert rows.labels == UNIFIED_PROMPT_LABELS and len(rows.train) == round(431 / 2)
    assert rows.scored["test"] == tuple(read_rows(folder / "test.json"))


def test_rows_tell_where_the_speakers_of_each_own_corpus_begin(tmp_path: Path) -> None:
    """A checkpoint of the second one numbers the speakers of what it is asked as its rows have."""
    for name in ("first", "second"):
        write_own_corpus(tmp_path / name)
    sets = ("first", "second")
    folder = prepare_mixed_folder(MixSettings(sets, "single", "second"), tmp_path, tmp_path / "data")
    own = load_row_sets(str(folder), "unified").own
    assert {name: (spec.speaker_offset, spec.speakers) for name, spec in own.items()} == {
        "first": (30, 12),
        "second": (42, 12),
    }
    assert "Speaker_42:" in read_rows(folder / "train.json")[0].input


# What each set says, turn by turn: of its own and of the other's train.
SAID = {
    "EmoryNLP": {"train": ["Great!", "Fine."], "valid": ["Fine.", "So?"], "test": ["great! ", "Run!", "No way!"]},
    "dailydialog": {"train": ["Run!", "Calm down."], "valid": ["Fine."], "test": ["Great!", "Calm down.", "He died."]},
}


@pytest.fixture
def two_sets(write_corpus: Callable[..., Path]) -> Path:
    """The folder of the pickles of `SAID`."""
    for dataset, said in SAID.items():
        folder = write_corpus(corpus_of(said, one_hot(0) if dataset == "EmoryNLP" else "0"), dataset)
    return folder


@pytest.mark.parametrize(
    ("mix", "trained", "seen"),
    [
        ("total", None, ["EmoryNLP/test/0", "EmoryNLP/test/1", "dailydialog/test/0", "dailydialog/test/1"]),
        ("ratio", None, ["EmoryNLP/test/0", "EmoryNLP/test/1", "dailydialog/test/0", "dailydialog/test/1"]),
        ("single", "EmoryNLP", ["EmoryNLP/test/0", "dailydialog/test/0"]),
        ("single", "dailydialog", ["EmoryNLP/test/1", "dailydialog/test/1"]),
    ],
)
def test_texts_seen_are_those_of_all_that_is_trained_on(
    two_sets: Path, tmp_path: Path, mix: str, trained: str | None, seen: list[str]
) -> None:
    settings = MixSettings(tuple(SAID), mix, trained, historical_window=0, check_counts=False)
    folder = prepare_mixed_folder(settings, two_sets, tmp_path / "data")
    assert read_manifest(folder)["seen_in_train"]["test"] == seen
    rows = load_row_sets(str(folder), "unified")
    assert rows.seen("test", rows.trained_texts) == set(seen)


SCENE = ["Where have you been?", "At my mother's place.", "All night long?"]
WITH_SCENES = {
    "EmoryNLP": {
        "train.of the other's test": [*SCENE, "Oh."],
        "train.of its own": ["Oh.", "This is not his.", "It never was mine!"],
        "train.of valid": ["the door is locked", "Who has the key?"],
        "train.alone": ["Where have you been?", "Nowhere at all.", "Oh."],
        "valid": ["This is not his...", "It never was mine."],
        "test": ["Some other words here.", "Oh."],
    },
    "dailydialog": {
        "train.alone": ["Nothing is like this.", "Is it not?"],
        "train.of the other's valid": ["THIS IS NOT HIS", "It never was mine!", "Oh.", "Oh.", "And so on."],
        "valid": ["The door is locked.", "Who has the key?"],
        "test": ["Well, well.", *SCENE[:2], "And many more words."],
    },
}


@pytest.mark.parametrize(
    ("mix", "trained", "left_out"),
    [
        ("total", None, {"EmoryNLP": (3, 9), "dailydialog": (1, 5)}),
        ("ratio", None, {"EmoryNLP": (3, 9), "dailydialog": (1, 5)}),
        ("single", "EmoryNLP", {"EmoryNLP": (3, 9)}),
    ],
)
def test_shared_scenes_are_left_out_of_every_train(
    write_corpus: Callable[..., Path], tmp_path: Path, mix: str, trained: str | None, left_out: dict
) -> None:
    for dataset, said in WITH_SCENES.items():
        place = write_corpus(corpus_of(said, one_hot(0) if dataset == "EmoryNLP" else "0"), dataset)
    settings = MixSettings(
        tuple(WITH_SCENES), mix, trained, historical_window=0, check_counts=False, without_shared_scenes=True
    )
    folder = prepare_mixed_folder(settings, place, tmp_path / "data")
    assert folder.name.startswith(
        f"{mix}_{'' if trained is None else 'EmoryNLP_of_'}EmoryNLP+dailydialog_without_shared_sc"
    )
    names = Counter(row.id.rsplit("/", 1)[0] for row in read_rows(folder / "train.json"))
    assert names == {f"{dataset}/train.alone": 3 if dataset == "EmoryNLP" else 2 for dataset in left_out}
    manifest = read_manifest(folder)
    assert manifest["left_out"] == {
        name: {"dialogues": dialogues, "utterances": utterances} for name, (dialogues, utterances) in left_out.items()
    }
    assert manifest["counts"]["test"] == {RECOGNITION: 6} and set(manifest["texts"]["train"]) == {
        f"{name}/{turn}" for name, turns in names.items() for turn in range(turns)
    }
    assert f"left out of train for a scene that is scored: EmoryNLP {left_out['EmoryNLP'][0]}" in describe_folder(
        folder
    )
    whole = prepare_mixed_folder(replace(settings, without_shared_scenes=False), place, tmp_path / "data")
    assert whole != folder and "left_out" not in read_manifest(whole)


def test_a_share_is_drawn_of_what_is_left(write_corpus: Callable[..., Path], tmp_path: Path) -> None:
    for dataset, said in WITH_SCENES.items():
        place = write_corpus(corpus_of(said, one_hot(0) if dataset == "EmoryNLP" else "0"), dataset)
    settings = MixSettings(tuple(WITH_SCENES), "ratio", draw=Draw(0.5), check_counts=False, without_shared_scenes=True)
    rows = read_rows(prepare_mixed_folder(settings, place, tmp_path / "data") / "train.json")
    assert {row.id.rsplit("/", 1)[0] for row in rows} == {"EmoryNLP/train.alone", "dailydialog/train.alone"}
    assert len(rows) == round(3 / 2) + round(2 / 2)


def test_a_set_without_a_scene_of_its_own_is_refused(write_corpus: Callable[..., Path], tmp_path: Path) -> None:
    place = write_corpus(corpus_of({"train": SCENE, "valid": ["Oh."], "test": SCENE}, one_hot(0)))
    settings = MixSettings(("EmoryNLP",), check_counts=False, without_shared_scenes=True)
    with pytest.raises(UserError, match="^--without_shared_scenes True leaves no training dialogue of EmoryNLP"):
        prepare_mixed_folder(settings, place, tmp_path / "data")


@pytest.mark.real_data
def test_no_scene_of_the_published_sets_is_left(original_data: Path, tmp_path: Path) -> None:
    settings = MixSettings(SETS, historical_window=0, without_shared_scenes=True)
    folder = prepare_mixed_folder(settings, original_data, tmp_path)
    left_out = read_manifest(folder)["left_out"]
    assert {name: of["dialogues"] for name, of in left_out.items()} == {"iemocap": 48, "meld": 49, "EmoryNLP": 81}
    kept = {row.id.rsplit("/", 1)[0] for row in read_rows(folder / "train.json")}
    splits = {name: load_dialogues(name, original_data) for name in SETS}
    train = [one for name in SETS for one in splits[name]["train"] if f"{name}/{one.dialogue_id}" in kept]
    scored = [one for name in SETS for split in ("valid", "test") for one in splits[name][split]]
    assert len(train) == 60 + 989 + 578 and share_scenes(train, scored) == {}
    repeated, _ = count_repeated(scored, {turn for one in train for turn in long_turns(one)})
    assert repeated == 1  # of 106 before: by turns from several dialogues


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("mix", "trained", "expected"),
    [
        ("total", None, {"iemocap": 308, "meld": 585, "EmoryNLP": 254}),
        ("single", "meld", {"iemocap": 135, "meld": 328, "EmoryNLP": 232}),
    ],
)
def test_texts_seen_of_the_published_sets(
    original_data: Path, tmp_path: Path, mix: str, trained: str | None, expected: dict[str, int]
) -> None:
    settings = MixSettings(SETS, mix, trained, historical_window=0)
    manifest = read_manifest(prepare_mixed_folder(settings, original_data, tmp_path))
    assert Counter(name.split("/")[0] for name in manifest["seen_in_train"]["test"]) == expected


FOLDERS = {
    "--mode sequence": ["single_sample_of_sample"],
    "--mix ratio --data_percent 0.25 --seed 7": ["ratio_sample_0.25_seed_7"],
    "--mix single --train_on sample --historical_window 3": ["single_sample_of_sample_window_3"],
    "--window_step 6 --historical_window 3": ["total_sample_window_3_step_6"],
    "--without_shared_scenes True --data_percent 0.5": ["total_sample_without_shared_scenes_0.5"],
    "--without_shared_scenes True --mode sequence": ["single_sample_of_sample_without_shared_scenes"],
}


@pytest.mark.parametrize("flags", FOLDERS)
def test_script_prints_the_folders_alone(flags: str, tmp_path: Path) -> None:
    result = call_script(data_process_mixed.main, "--datasets", "sample", "--data", tmp_path, *flags.split())
    assert result.returncode == 0, result.stderr
    folders = [str(tmp_path / "unified" / name) for name in FOLDERS[flags]]
    assert result.stdout == ",".join(folders) + "\n"
    assert json.loads(Path(folders[0], "manifest.json").read_text())["dataset"] == "unified"


BAD_FLAGS = {
    "--data_percent 0": "--data_percent: '0' is not allowed, give a number above 0 and up to 1",
    "--datasets sample,friends": "--datasets: 'friends' is not allowed, allowed are sample, iemocap, meld",
    "--datasets sample,sample": "--datasets: 'sample,sample' is not allowed, give each of sample iemocap meld",
    "--datasets sample --mix single": "--train_on : mix=single trains on one of sample",
    "--datasets sample --train_on sample": "--train_on sample: only mix=single reads it",
    "--datasets sample --mode sequence --mix ratio": "--mix ratio: mode=sequence draws of each set in turn",
    "--datasets sample --data_percent 0.0001": "leaves none; choose a larger share",
}


@pytest.mark.parametrize("flags", BAD_FLAGS)
def test_bad_flags_are_one_line(flags: str, tmp_path: Path) -> None:
    result = call_script(data_process_mixed.main, *flags.split(), "--data", tmp_path / "data")
    assert_one_line_error(result, BAD_FLAGS[flags])
    assert not (tmp_path / "data").exists()


def test_each_set_is_scored_by_its_own_metric_and_counts_the_same() -> None:
    said = {
        "meld/a/0": ("sad", "sad"),
        "meld/a/1": ("neutral", "neutral"),
        "meld/a/2": ("joyful", "sad"),
        "dailydialog/b/0": ("neutral", "neutral"),
        "dailydialog/b/1": ("sad", "joyful"),
    }
    predictions = [Prediction(name, RECOGNITION, target, label) for name, (target, label) in said.items()]
    found = evaluate_by_dataset(predictions, UNIFIED_PROMPT_LABELS, "weighted_f1")
    assert list(found) == ["meld", "dailydialog"]
    # meld: sad 2/3, neutral 1, joyful 0; dailydialog: micro F1 without neutral of one wrong answer.
    assert found["meld"].score == pytest.approx(100 * (2 / 3 + 1) / 3)
    assert found["dailydialog"].score == 0
    assert mean_score(found) == pytest.approx(100 * (2 / 3 + 1) / 6)
