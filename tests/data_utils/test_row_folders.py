"""Row folders: whole or not there, reused only while nothing they came from has changed."""

import errno
import fcntl
import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from basics import files
from basics.errors import UserError
from basics.files import sha256_of, sha256_of_text, write_atomically
from corpora import LetterCounts, small_corpus
from data_utils import row_folders
from data_utils.dialogues import find_original_data
from data_utils.draws import Draw
from data_utils.examples import ROWS_VERSION, RowSettings
from data_utils.labels import SPLITS
from data_utils.mixing import MixSettings, prepare_mixed_folder
from data_utils.retrieval import RetrievalSettings
from data_utils.row_files import read_manifest, read_rows
from data_utils.row_folders import describe_folder, prepare_folder

SETTINGS = RowSettings("EmoryNLP", check_counts=False)


@pytest.fixture
def prepare(write_corpus: Callable[..., Path], tmp_path: Path) -> Callable[..., Path]:
    """Prepare the folder of the small corpus, or of one given, below tmp_path/data."""

    def run(settings: RowSettings = SETTINGS, corpus: Any = None) -> Path:
        return prepare_folder(settings, write_corpus(corpus or small_corpus()), tmp_path / "data")

    return run


def list_tree(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def identity(folder: Path) -> tuple[int, ...]:
    """Inodes of the rows: equal only if the files were left alone."""
    return tuple((folder / f"{split}.json").stat().st_ino for split in ("train", "valid", "test"))


def test_what_a_folder_holds(prepare: Callable[..., Path], tmp_path: Path) -> None:
    folder = prepare()
    assert folder == tmp_path / "data" / "EmoryNLP" / "window"
    assert list_tree(tmp_path / "data" / "EmoryNLP") == [
        "window",
        *(f"window/{name}.json" for name in ("manifest", "test", "train", "valid")),
    ]
    manifest = read_manifest(folder)
    assert manifest["dataset"] == "EmoryNLP" and manifest["labels"][0] == "Joyful"
    assert manifest["arguments"]["historical_window"] == 12
    assert manifest["counts"]["train"] == {"emotion_recognition": 3}
    assert manifest["sha256"]["test.json"] == sha256_of(folder / "test.json")
    assert manifest["source_path"] == "EmoryNLP.pkl"
    assert manifest["source_sha256"] == sha256_of(tmp_path / "original" / "EmoryNLP" / "EmoryNLP.pkl")
    # "Oh." of test and "Hello." of valid stand in train too.
    assert manifest["seen_in_train"] == {"valid": ["EmoryNLP/c/1"], "test": ["EmoryNLP/b/0"]}
    assert manifest["rows_version"] == ROWS_VERSION
    assert {split: list(texts) for split, texts in manifest["texts"].items()} == {
        "train": ["EmoryNLP/a/0", "EmoryNLP/a/1", "EmoryNLP/a/2"],
        "valid": ["EmoryNLP/c/0", "EmoryNLP/c/1"],
        "test": ["EmoryNLP/b/0", "EmoryNLP/b/1"],
    }
    assert manifest["texts"]["train"]["EmoryNLP/a/2"] == manifest["texts"]["test"]["EmoryNLP/b/0"]
    assert describe_folder(folder).startswith("EmoryNLP/window: train 3 emotion_recognition; valid 2")


def test_an_unchanged_folder_is_reused(prepare: Callable[..., Path]) -> None:
    before = identity(prepare())
    assert identity(prepare()) == before


def harm_rows(folder: Path) -> None:
    (folder / "valid.json").write_text("{}\n", encoding="utf-8")


def harm_manifest(folder: Path) -> None:
    (folder / "manifest.json").write_text("{", encoding="utf-8")


def remove_manifest(folder: Path) -> None:
    (folder / "manifest.json").unlink()


def remove_rows(folder: Path) -> None:
    (folder / "test.json").unlink()


def change_template(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    write_atomically(folder / "manifest.json", json.dumps({**manifest, "template_sha256": "0" * 64}))


@pytest.mark.parametrize("harm", [harm_rows, harm_manifest, remove_manifest, remove_rows, change_template])
def test_a_harmed_folder_is_built_anew(prepare: Callable[..., Path], harm: Callable[[Path], None]) -> None:
    folder = prepare()
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    harm(folder)
    prepare()
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_another_source_replaces_the_rows(prepare: Callable[..., Path], tmp_path: Path) -> None:
    prepare()
    corpus = small_corpus()
    corpus[2]["b"][1] = "Not fine."
    folder = prepare(corpus=corpus)
    assert "Not fine." in read_rows(folder / "test.json")[1].input
    assert list_tree(folder.parent)[0] == "window"


def test_other_arguments_replace_the_rows(prepare: Callable[..., Path]) -> None:
    before = identity(prepare(RowSettings("EmoryNLP", kind="plain", check_counts=False)))
    after = RowSettings("EmoryNLP", kind="plain", historical_window=0, check_counts=False)
    assert identity(prepare(after)) != before


def test_what_is_not_ours_is_never_replaced(prepare: Callable[..., Path], tmp_path: Path) -> None:
    folder = tmp_path / "data" / "EmoryNLP" / "window"
    folder.mkdir(parents=True)
    (folder / "diary.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(UserError, match="diary.txt"):
        prepare()
    assert list_tree(folder) == ["diary.txt"]


@pytest.mark.parametrize("name", ["thesis.tex", "notes/of mine.txt"])
def test_what_is_not_ours_stays_beside_a_manifest_too(prepare: Callable[..., Path], name: str) -> None:
    """A note put into our own folder."""
    folder = prepare()
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text("{}", encoding="utf-8")
    (folder / "train.json").write_text("harmed", encoding="utf-8")
    with pytest.raises(UserError, match="no part of a folder of rows, so it is not replaced"):
        prepare()
    assert (folder / name).read_text(encoding="utf-8") == "{}"
    assert (folder / "train.json").read_text(encoding="utf-8") == "harmed"


def test_what_comes_into_a_folder_while_it_waits_for_others_stays(
    prepare: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    diary, lock = tmp_path / "data" / "EmoryNLP" / "window" / "diary.txt", fcntl.flock

    def late(descriptor: int, how: int) -> None:
        diary.parent.mkdir(exist_ok=True)
        diary.write_text("mine", encoding="utf-8")
        lock(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", late)
    with pytest.raises(UserError, match="diary.txt"):
        prepare()
    assert list_tree(diary.parent) == ["diary.txt"]


def test_a_folder_that_another_program_describes_is_left_alone(prepare: Callable[..., Path], tmp_path: Path) -> None:
    folder = tmp_path / "data" / "EmoryNLP" / "window"
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text('{"name": "a web page"}', encoding="utf-8")
    with pytest.raises(UserError, match="holds manifest.json, which is no part of a folder of rows"):
        prepare()
    assert list_tree(folder) == ["manifest.json"]


def test_of_two_builders_at_once_the_second_leaves_the_rows_of_the_first(
    prepare: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first builds while the second is making its rows."""
    build, made = row_folders.plan_rows, []

    def slow(settings: RowSettings, *others: object) -> object:
        if not made:
            made.append(None)
            made[0] = identity(prepare())
        return build(settings, *others)

    monkeypatch.setattr(row_folders, "plan_rows", slow)
    assert identity(prepare()) == made[0]


def test_rows_of_another_version_of_the_code_are_made_anew(
    prepare: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = identity(prepare())
    assert identity(prepare()) == before
    monkeypatch.setattr(row_folders, "ROWS_VERSION", ROWS_VERSION + 1)
    assert identity(prepare()) != before


# What version makes of the sample corpus: SHA-256 of train.json, valid.json and test.json in a row. A change here is a
# change of the rows: count ROWS_VERSION up.
ROWS_OF_VERSION = {
    2: {
        "window": "bb52aa086187acf9",
        "predict": "c2ca2ca45ba62c64",
        "speaker": "6acfe9221583fb97",
        "plain": "0e2c495b0496336f",
        "unified": "be56d275b9eabae1",
        "demonstrations": "5ccfb0aed13e9bd6",
        "drawn": "556248fdb941ee41",
    }
}


@pytest.mark.parametrize("kind", ROWS_OF_VERSION[ROWS_VERSION])
def test_the_rows_are_those_of_their_version(kind: str, tmp_path: Path) -> None:
    source = find_original_data("sample")
    if kind == "unified":
        folder = prepare_mixed_folder(MixSettings(("sample",)), source, tmp_path)
    else:
        retrieval = RetrievalSettings("letters", count=3) if kind == "demonstrations" else None
        draw = Draw(0.25) if kind == "drawn" else Draw()
        made = {"demonstrations": "window", "drawn": "predict"}.get(kind, kind)
        settings = RowSettings("sample", kind=made, retrieval=retrieval, draw=draw)
        folder = prepare_folder(settings, source, tmp_path, embed=LetterCounts())
    digest = sha256_of_text("".join(sha256_of(folder / f"{split}.json") for split in SPLITS))
    assert digest[:16] == ROWS_OF_VERSION[ROWS_VERSION][kind]


def test_bad_input_writes_nothing(prepare: Callable[..., Path], tmp_path: Path) -> None:
    corpus = small_corpus()
    corpus[1]["a"][0] = 99
    with pytest.raises(UserError):
        prepare(corpus=corpus)
    assert not (tmp_path / "data").exists()


def test_a_full_disk_leaves_the_old_rows_and_no_part(
    prepare: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = prepare()
    tree = list_tree(folder.parent)
    harm_rows(folder)

    def fail(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", fail)
    with pytest.raises(OSError) as caught:
        prepare()
    assert caught.value.errno == errno.ENOSPC and caught.value.filename.endswith("train.json")
    assert list_tree(folder.parent) == tree


def test_a_killed_build_leaves_no_folder_and_is_cleared_away(
    prepare: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What SIGKILL leaves: the part that was being built, no folder of the real name."""

    def die(folder: Path, *_rest: object) -> None:
        (folder / "train.json").write_text("half", encoding="utf-8")
        os._exit(9)

    monkeypatch.setattr(row_folders, "_fill", die)
    child = os.fork()
    if not child:
        prepare()
    os.waitpid(child, 0)
    monkeypatch.undo()
    (left,) = (tmp_path / "data" / "EmoryNLP").iterdir()
    assert left.name.startswith(".building-window-")
    prepare()
    assert [entry.name for entry in (tmp_path / "data" / "EmoryNLP").iterdir()] == ["window"]


def test_what_a_killed_build_had_replaced_goes_with_the_next_call(prepare: Callable[..., Path]) -> None:
    """It was killed when the new folder had its name."""
    folder = prepare()
    (folder / "replaced").mkdir()
    (folder / "replaced" / "train.json").touch()
    before = identity(folder)
    assert prepare() == folder and identity(folder) == before
    assert not (folder / "replaced").exists()


def test_atomic_writes_keep_the_old_content_on_failure(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomically(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_atomically(path, "\ud800")
    assert path.read_text(encoding="utf-8") == "old"
    assert list_tree(tmp_path) == ["file"]


def test_rows_do_not_depend_on_where_the_pickle_lies(tmp_path: Path) -> None:
    """The same rows and manifest from two folders: nothing in them names a place."""
    contents = []
    for name in ("here", "there"):
        source = tmp_path / name / "EmoryNLP"
        source.mkdir(parents=True)
        (source / "EmoryNLP.pkl").write_bytes(pickle.dumps(small_corpus()))
        folder = prepare_folder(SETTINGS, tmp_path / name, tmp_path / name / "data")
        contents.append({path.name: path.read_bytes() for path in folder.iterdir()})
    assert contents[0] == contents[1]
