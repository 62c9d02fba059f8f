"""Texts seen are those that the scored weights were trained on: mixes, stages, starts from another set's checkpoint."""

import json
import pickle
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import main_new
from basics.errors import UserError
from commands import assert_one_line_error, call_script
from corpora import corpus_of, one_hot
from data_utils.examples import RowSettings
from data_utils.mixing import MixSettings, one_after_the_other, prepare_mixed_folder
from data_utils.row_folders import prepare_folder
from data_utils.texts import digest_text
from tiny_models import main_command, save_base
from training.arguments import NOTHING
from training.erc_config import ERC_CONFIG_FILE
from training.rows.trained_texts import (
    TRAINED_TEXTS_FILE,
    find_trained_texts,
    read_trained_texts,
    render_trained_texts,
)

SETS = ("EmoryNLP", "dailydialog")
SAID = {
    "EmoryNLP": {"train": ["Great!", "Fine."], "valid": ["Fine."], "test": ["great! ", "Run!", "No way!"]},
    "dailydialog": {"train": ["Run!", "Calm down."], "valid": ["Fine."], "test": ["Great!", "Calm down.", "He died."]},
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a base, and the pickles of `SAID` below original/."""
    folder = tmp_path_factory.mktemp("texts")
    save_base(folder / "base")
    for dataset, said in SAID.items():
        path = folder / "original" / dataset / f"{dataset}.pkl"
        path.parent.mkdir(parents=True)
        path.write_bytes(pickle.dumps(corpus_of(said, one_hot(0) if dataset == "EmoryNLP" else "0")))
    return folder


def mixed(place: Path, **settings: Any) -> list[Path]:
    wanted = MixSettings(SETS, historical_window=1, check_counts=False, **settings)
    stages = [wanted] if settings else one_after_the_other(wanted)
    return [prepare_mixed_folder(one, place / "original", place / "data") for one in stages]


def own(place: Path, dataset: str) -> Path:
    settings = RowSettings(dataset, historical_window=1, check_counts=False)
    return prepare_folder(settings, place / "original", place / "data")


def run(place: Path, name: str, rows: Path, **flags: Any) -> dict[str, Any]:
    """results.json of a run of one epoch, and what it printed."""
    flags = {"num_train_epochs": 1, "save_steps": 0, "dataset": rows.parent.name} | flags
    result = call_script(main_new.main, *main_command(place / "base", rows, place / name, **flags))
    assert result.returncode == 0, result.stderr
    written = json.loads((place / name / "results" / "results.json").read_text(encoding="utf-8"))
    return written | {"printed": result.stdout}


def digests(*texts: str) -> set[str]:
    return set(map(digest_text, texts))


def test_stages_of_a_sequence_are_all_trained_on(place: Path) -> None:
    first, second = mixed(place)
    results = run(place, "stage 1", first)
    assert results["seen_rows"] == ["EmoryNLP/test/0", "dailydialog/test/0"]
    assert (results["seen_text"]["rows"], results["unseen_text"]["rows"], results["texts_trained_on"]) == (2, 4, 2)
    results = run(place, "stage 2", second, checkpoint_dir=place / "stage 1" / "model")
    everything = ["EmoryNLP/test/0", "EmoryNLP/test/1", "dailydialog/test/0", "dailydialog/test/1"]
    assert results["seen_rows"] == everything and results["texts_trained_on"] == 4
    assert read_trained_texts(place / "stage 2" / "model") == digests("Great!", "Fine.", "Run!", "Calm down.")
    alone = run(place, "the second alone", second)
    assert alone["seen_rows"] == ["EmoryNLP/test/1", "dailydialog/test/1"]
    (mix,) = mixed(place, mix="total")
    assert run(place, "at once", mix)["seen_rows"] == everything


def test_a_start_from_another_sets_checkpoint_counts(place: Path) -> None:
    run(place, "first set", own(place, "EmoryNLP"))
    start = {"checkpoint_dir": place / "first set" / "model"}
    further = run(place, "further", own(place, "dailydialog"), **start)
    assert further["seen_rows"] == ["dailydialog/test/0", "dailydialog/test/1"]
    assert further["texts_trained_on"] == 4
    scored = run(place, "scored", own(place, "dailydialog"), do_train=False, lora_module_name=None, **start)
    assert scored["seen_rows"] == ["dailydialog/test/0"] and scored["texts_trained_on"] == 2
    assert "the 2 utterances whose text was not trained on" in scored["printed"]


def test_a_base_as_it_is_was_trained_on_no_row(place: Path) -> None:
    results = run(place, "zero-shot", own(place, "EmoryNLP"), do_train=False, zero_shot=True, lora=False)
    assert (results["seen_rows"], results["seen_text"], results["texts_trained_on"]) == ([], None, 0)
    assert results["unseen_text"]["rows"] == 3 and "unseen" not in results["printed"]


def test_a_base_that_was_exported_tells_what_it_was_trained_on(place: Path, tmp_path: Path) -> None:
    base = Path(shutil.copytree(place / "base", tmp_path / "base"))
    (base / TRAINED_TEXTS_FILE).write_text(render_trained_texts(digests("Run!")), encoding="ascii")
    flags = {"do_train": False, "zero_shot": True, "lora": False, "model_name_or_path": base}
    assert run(place, "exported", own(place, "EmoryNLP"), **flags)["seen_rows"] == ["EmoryNLP/test/1"]


def test_a_base_that_was_exported_without_its_texts_is_unknown(place: Path, tmp_path: Path) -> None:
    arguments = (SimpleNamespace(checkpoint_dir=NOTHING), None, SimpleNamespace(do_train=True))
    row_sets = SimpleNamespace(trained_texts=digests("Run!"))
    assert find_trained_texts(arguments, str(tmp_path), row_sets) == digests("Run!")
    (tmp_path / ERC_CONFIG_FILE).write_text("{}")
    assert find_trained_texts(arguments, str(tmp_path), row_sets) is None
    (tmp_path / TRAINED_TEXTS_FILE).write_text(render_trained_texts(digests("Stay!")), encoding="ascii")
    assert find_trained_texts(arguments, str(tmp_path), row_sets) == digests("Run!") | digests("Stay!")


def test_what_a_checkpoint_does_not_tell_stays_unknown(place: Path, tmp_path: Path) -> None:
    run(place, "told", own(place, "EmoryNLP"), do_eval=False)
    start = Path(shutil.copytree(place / "told" / "model", tmp_path / "silent"))
    (start / TRAINED_TEXTS_FILE).unlink()
    results = run(place, "from silent", own(place, "dailydialog"), checkpoint_dir=start)
    assert (results["seen_rows"], results["texts_trained_on"]) == ("unknown", "unknown")
    assert results["seen_text"] is results["unseen_text"] is None
    assert "the checkpoint does not tell what it was trained on" in results["printed"]
    assert read_trained_texts(place / "from silent" / "model") is None


@pytest.mark.parametrize(
    "content", ["", "0123456789abcdef\nHello there.\n", "0123456789abcdef\n\n", "0123456789ABCDEF\n"]
)
def test_a_file_that_training_did_not_write_is_one_line(place: Path, tmp_path: Path, content: str) -> None:
    (tmp_path / TRAINED_TEXTS_FILE).write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match=f"{TRAINED_TEXTS_FILE} line [12]: no digest of a text"):
        read_trained_texts(tmp_path)
    shutil.copy(place / "base" / "config.json", tmp_path)
    flags = {"dataset": "EmoryNLP", "checkpoint_dir": tmp_path, "lora_module_name": None, "do_train": False}
    rows = own(place, "EmoryNLP")
    command = main_command(place / "base", rows, place / "refused", **flags)
    assert_one_line_error(call_script(main_new.main, *command), "no digest of a text")


def test_the_file_reads_back() -> None:
    assert render_trained_texts(["b" * 16, "a" * 16]) == f"{'a' * 16}\n{'b' * 16}\n"
