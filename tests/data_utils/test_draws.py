"""A drawn share of train is the one train: rows of every task, demonstrations, texts seen, counts and the manifest."""

import random
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from basics.errors import UserError
from basics.files import find_repository
from commands import assert_one_line_error
from corpora import LetterCounts
from data_utils.dialogues import load_dialogues
from data_utils.draws import Draw, draw_rows
from data_utils.examples import RowSettings
from data_utils.mixing import MixSettings, prepare_mixed_folder
from data_utils.retrieval import RetrievalSettings
from data_utils.row_files import PREDICTION, RECOGNITION, Example, read_manifest, read_rows
from data_utils.row_folders import prepare_folder

SAMPLE = find_repository() / "original_data"
QUARTER = Draw(0.25, 7)
LETTERS = RetrievalSettings("letters", balance=False)


def prepare(data: Path, kind: str, draw: Draw = QUARTER, retrieval: RetrievalSettings | None = None) -> Path:
    settings = RowSettings("sample", kind, retrieval=retrieval, draw=draw)
    return prepare_folder(settings, SAMPLE, data, embed=LetterCounts())


@pytest.fixture(scope="module")
def utterances() -> dict[str, str]:
    """Id -> text of all of train."""
    return {
        f"sample/{dialogue.dialogue_id}/{turn}": one.text
        for dialogue in load_dialogues("sample", SAMPLE)["train"]
        for turn, one in enumerate(dialogue.utterances)
    }


@pytest.fixture(scope="module")
def drawn(utterances: dict[str, str]) -> set[str]:
    """As main_new.py drew them when it still did: the same fraction and seed are the same utterances."""
    return set(random.Random("fraction/7").sample(list(utterances), round(431 * 0.25)))


@pytest.mark.parametrize("kind", ["window", "predict", "speaker", "plain"])
def test_rows_of_every_task_are_of_the_same_utterances(kind: str, drawn: set[str], tmp_path: Path) -> None:
    folder = prepare(tmp_path, kind)
    rows = read_rows(folder / "train.json")
    assert {row.id for row in rows} == drawn
    whole = read_rows(prepare(tmp_path, kind, Draw()) / "train.json")
    assert rows == [row for row in whole if row.id in drawn]
    assert sum(read_manifest(folder)["counts"]["train"].values()) == len(rows)
    assert read_manifest(folder)["counts"]["test"] == {rows[0].task: 116}


def test_demonstrations_are_of_what_is_drawn(drawn: set[str], tmp_path: Path) -> None:
    folder = prepare(tmp_path, "predict", retrieval=LETTERS)
    assert folder.name == "predict_data_0.25_seed_7_demonstrations_all_unbalanced_letters"
    for split in ("train", "valid", "test"):
        shown = {one.id for row in read_rows(folder / f"{split}.json") for one in row.demonstrations}
        assert shown and shown <= drawn
    whole = read_rows(prepare(tmp_path, "predict", Draw(), LETTERS) / "test.json")
    assert not {one.id for row in whole for one in row.demonstrations} <= drawn


def test_texts_seen_are_those_of_what_is_drawn(utterances: dict[str, str], drawn: set[str], tmp_path: Path) -> None:
    manifest = read_manifest(prepare(tmp_path, "window"))
    known = {utterances[name].strip().lower() for name in drawn}
    test = load_dialogues("sample", SAMPLE)["test"]
    seen = [
        f"sample/{dialogue.dialogue_id}/{turn}"
        for dialogue in test
        for turn, one in enumerate(dialogue.utterances)
        if one.text.strip().lower() in known
    ]
    assert manifest["seen_in_train"]["test"] == seen
    assert set(manifest["texts"]["train"]) == drawn
    assert len(seen) < len(read_manifest(prepare(tmp_path, "window", Draw()))["seen_in_train"]["test"])


def test_the_folder_tells_and_all_of_train_keeps_its_name(tmp_path: Path) -> None:
    named = {
        Draw(): "window_5_clean",
        Draw(1.0, 7): "window_5_clean",
        Draw(0.0625): "window_5_clean_data_0.0625",
        Draw(0.0625, 43): "window_5_clean_data_0.0625_seed_43",
        Draw(1 / 3): "window_5_clean_data_0.3333333333333333",
    }
    for draw, name in named.items():
        assert RowSettings("sample", historical_window=5, clean_text=True, draw=draw).folder_name == name
    assert MixSettings(("sample",), draw=Draw(0.5, 7)).folder_name == "total_sample_0.5_seed_7"


def test_another_seed_leaves_rows_of_all_of_train_alone(tmp_path: Path) -> None:
    for make in (
        lambda seed: prepare(tmp_path, "window", Draw(1.0, seed)),
        lambda seed: prepare_mixed_folder(MixSettings(("sample",), draw=Draw(1.0, seed)), None, tmp_path),
    ):
        before = (make(42) / "manifest.json").stat().st_mtime_ns
        assert (make(43) / "manifest.json").stat().st_mtime_ns == before


def test_a_draw_is_of_utterances_whatever_other_rows_they_have() -> None:
    alone = [Example(f"meld/d/{turn}", RECOGNITION, "a prompt", "sad") for turn in range(40)]
    also = [Example(row.id, PREDICTION, "a prompt", "sad") for row in alone[1:]]
    drawn, both = draw_rows(alone, Draw(0.25, 7)), draw_rows([*alone, *also], Draw(0.25, 7))
    assert len(drawn) == 10 and drawn == sorted(drawn, key=alone.index)
    assert [row for row in both if row.task == RECOGNITION] == drawn
    assert {row.id for row in both if row.task == PREDICTION} == {row.id for row in drawn} - {"meld/d/0"}
    assert draw_rows(alone, Draw(0.25, 8)) != drawn and draw_rows(also, Draw(1.0, 7)) == also
    with pytest.raises(UserError, match="^--data_percent 0.001 of 40 training utterances leaves none; choose a larger"):
        draw_rows(alone, Draw(0.001))


Run = Callable[..., CompletedProcess[str]]


def test_the_writer_draws_for_all_of_its_folders(run_code: Run, drawn: set[str], tmp_path: Path) -> None:
    flags = ["--dataset", "sample", "--speaker_task", "True", "--data_percent", "0.25", "--seed", "7"]
    result = run_code("code/data_process.py", *flags, "--data", tmp_path)
    folders = [tmp_path / "sample" / f"{kind}_data_0.25_seed_7" for kind in ("speaker", "window")]
    assert (result.returncode, result.stdout) == (0, ",".join(map(str, folders)) + "\n"), result.stderr
    assert all({row.id for row in read_rows(folder / "train.json")} == drawn for folder in folders)
    plain = run_code("code/data_process_plain.py", "--dataset", "sample", *flags[4:], "--data", tmp_path)
    assert plain.stdout == f"{tmp_path}/sample/plain_data_0.25_seed_7\n"
    none = run_code("code/data_process.py", "--dataset", "sample", "--data_percent", "0.001", "--data", tmp_path)
    assert_one_line_error(none, "--data_percent 0.001 of 431 training utterances leaves none")
