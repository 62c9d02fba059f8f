"""The rows of one run: what is loaded, and what is refused before anything is trained."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from basics.errors import UserError
from basics.files import sha256_of
from corpora import small_corpus
from data_utils.examples import RowSettings
from data_utils.row_folders import prepare_folder
from data_utils.row_sets import RowSets, load_row_sets


@pytest.fixture
def prepare(write_corpus: Callable[..., Path], tmp_path: Path) -> Callable[[str], Path]:
    """Prepare a folder of the small corpus, below tmp_path/data."""

    def run(kind: str) -> Path:
        settings = RowSettings("EmoryNLP", kind=kind, check_counts=False)
        return prepare_folder(settings, write_corpus(small_corpus()), tmp_path / "data")

    return run


def load(*folders: Path) -> RowSets:
    return load_row_sets(",".join(map(str, folders)), "EmoryNLP")


def change_row(folder: Path, split: str, number: int, **changes: str) -> Path:
    """Change a row of a folder and leave its manifest as it is."""
    path = folder / f"{split}.json"
    lines = path.read_text(encoding="utf-8").splitlines()
    lines[number] = json.dumps(json.loads(lines[number]) | changes)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def vouch_for(path: Path) -> None:
    """Make the manifest tell of a file as it is now."""
    manifest = json.loads((path.parent / "manifest.json").read_text(encoding="utf-8"))
    manifest["sha256"][path.name] = sha256_of(path)
    (path.parent / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")


@pytest.mark.parametrize("split", ["train", "valid", "test"])
def test_a_file_that_is_not_the_manifests_is_refused(prepare: Callable[[str], Path], split: str) -> None:
    folder = prepare("window")
    assert len(load(folder).train) == 3
    path = change_row(folder, split, 0, input="another prompt")
    with pytest.raises(UserError, match=f"^{path} is not the file .* data_process.py writes it anew$"):
        load(folder)
    vouch_for(path)
    load(folder)


def test_a_file_that_the_manifest_does_not_name_is_refused(prepare: Callable[[str], Path]) -> None:
    folder = prepare("window")
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    del manifest["sha256"]["valid.json"]
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    with pytest.raises(UserError, match="valid.json is not the file"):
        load(folder)


def test_a_row_given_twice_is_refused(prepare: Callable[[str], Path], tmp_path: Path) -> None:
    folder = prepare("window")
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    with pytest.raises(UserError) as caught:
        load(folder, copy)
    message = str(caught.value)
    assert message.startswith("row EmoryNLP/a/0 (emotion_recognition) stands twice in train.json")
    assert str(folder) in message and str(copy) in message and "\n" not in message


def test_one_turn_may_have_a_row_of_each_task(prepare: Callable[[str], Path]) -> None:
    row_sets = load(prepare("speaker"), prepare("predict"))
    assert len(row_sets.train) == 9
    assert {row.task for row in row_sets.scored["test"]} == {"emotion_recognition"}
    speakers = load(prepare("speaker"))
    assert speakers.labels[0] == "Speaker_0" and len(speakers.labels) == 9


@pytest.mark.parametrize(
    ("kind", "split", "number", "place"),
    [
        ("window", "train", 1, "row EmoryNLP/a/1 (emotion_recognition)"),
        ("predict", "train", 1, "row EmoryNLP/a/0 (emotion_prediction)"),
        ("speaker", "train", 2, "row EmoryNLP/a/2 (speaker_identification)"),
        ("window", "valid", 0, "row EmoryNLP/c/0 (emotion_recognition)"),
    ],
)
def test_a_target_that_is_no_answer_is_refused(
    prepare: Callable[[str], Path], kind: str, split: str, number: int, place: str
) -> None:
    folder = prepare(kind)
    vouch_for(change_row(folder, split, number, target="Bored"))
    with pytest.raises(UserError) as caught:
        load(folder)
    message = str(caught.value)
    assert message.startswith(f"{place}: the target 'Bored' is no label, allowed are ")
    assert message.endswith("Speaker_8" if kind == "speaker" else "Scared")


def change_manifest(folder: Path, **changes: object) -> None:
    path = folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | changes), encoding="utf-8")


def test_rows_of_another_version_of_the_code_are_refused(prepare: Callable[[str], Path]) -> None:
    folder = prepare("window")
    change_manifest(folder, rows_version=1)
    with pytest.raises(UserError, match="of another version of this program; data_process.py writes it anew"):
        load(folder)


def test_rows_of_different_parts_of_train_are_refused(prepare: Callable[[str], Path]) -> None:
    speakers, emotions = prepare("speaker"), prepare("window")
    assert len(load(speakers, emotions).train) == 6
    arguments = json.loads((emotions / "manifest.json").read_text(encoding="utf-8"))["arguments"]
    change_manifest(emotions, arguments=arguments | {"draw": {"fraction": 0.5, "seed": 7}})
    with pytest.raises(UserError, match="different parts of train, --data_percent 0.5 --seed 7 and --data_percent 1 "):
        load(speakers, emotions)


def test_a_comma_may_stand_in_the_path_of_a_folder(prepare: Callable[[str], Path], tmp_path: Path) -> None:
    window, speaker = prepare("window"), prepare("speaker")
    apart = load(speaker, window)
    moved = [Path(shutil.copytree(folder, tmp_path / "a, b" / folder.name)) for folder in (speaker, window)]
    together = load(*moved)
    assert (together.train, together.scored, together.digests) == (apart.train, apart.scored, apart.digests)
    with pytest.raises(UserError, match=f"^{tmp_path}/a is no folder of rows"):
        load(tmp_path / "a, c")


def test_no_row_to_train_on_is_refused(prepare: Callable[[str], Path]) -> None:
    folder = prepare("window")
    (folder / "train.json").write_text("", encoding="utf-8")
    vouch_for(folder / "train.json")
    with pytest.raises(UserError, match="train.json has no row: nothing to train on"):
        load(folder)


def test_texts_seen_are_those_of_the_rows_that_are_given(prepare: Callable[[str], Path]) -> None:
    """Of "Hello.", "Go away!" and "Oh." the test split says "Oh." and the valid split "Hello."."""
    folder = prepare("window")
    rows = load(folder)
    assert rows.seen("test", rows.trained_texts) == {"EmoryNLP/b/0"}
    assert rows.seen("valid", rows.trained_texts) == {"EmoryNLP/c/1"}
    lines = (folder / "train.json").read_text(encoding="utf-8").splitlines(keepends=True)
    (folder / "train.json").write_text("".join(lines[:2]), encoding="utf-8")
    vouch_for(folder / "train.json")
    rows = load(folder)
    assert not rows.seen("test", rows.trained_texts) and rows.seen("valid", rows.trained_texts)
