"""What was said to be saved is still there after a power cut: content before its name, then the name itself."""

import errno
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch

from basics import files
from basics.errors import disk_named
from basics.files import make_folder, put_in_place, replace_durably, sync_folder, write_atomically
from basics.stopping import Stopped, signals_raised
from tiny_models import character_tokenizer, tiny_model
from training.checkpoints import replaced_folder, save_model, save_state


@dataclass
class Disk:
    """What reached the disk, in order: ("sync", path) and ("rename", source, target)."""

    happened: list[tuple[str, ...]] = field(default_factory=list)

    def assert_durable(self, target: Path, content: tuple[str, ...] = ()) -> None:
        """`target` got its name after it and `content` below it were synced, and its folder was synced after that.

        content: files below `target`, where it is a folder.
        """
        (place,) = [
            number for number, what in enumerate(self.happened) if what[0] == "rename" and what[2] == str(target)
        ]
        source = self.happened[place][1]
        for path in (source, *(f"{source}/{name}" for name in content)):
            assert ("sync", path) in self.happened[:place], f"{path} was renamed before it was on the disk"
        assert ("sync", str(target.parent)) in self.happened[place:], "the new name may be lost"


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    seen = Disk()

    def noting(call: Callable, note: Callable[..., tuple[str, ...]]) -> Callable:
        def noted(*arguments):
            seen.happened.append(note(*arguments))
            return call(*arguments)

        return noted

    monkeypatch.setattr(os, "fsync", noting(os.fsync, lambda number: ("sync", os.readlink(f"/proc/self/fd/{number}"))))
    monkeypatch.setattr(os, "replace", noting(os.replace, lambda *paths: ("rename", *map(str, paths))))
    return seen


def test_a_file(disk: Disk, tmp_path: Path) -> None:
    write_atomically(tmp_path / "new" / "folder" / "file", "text")
    disk.assert_durable(tmp_path / "new" / "folder" / "file")
    for made in (tmp_path, tmp_path / "new"):
        assert ("sync", str(made)) in disk.happened, f"what was made in {made} may be lost"


def test_a_model(disk: Disk, tmp_path: Path) -> None:
    for _ in range(2):  # the second takes the place of the first
        disk.happened.clear()
        save_model(
            tiny_model("llama"), character_tokenizer(), tmp_path / "model", "base", lambda _: {"README.md": "card"}
        )
        disk.assert_durable(tmp_path / "model", ("model.safetensors", "config.json", "tokenizer.json", "README.md"))
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_state(disk: Disk, tmp_path: Path) -> None:
    save_state(tmp_path / "results", {"weights": torch.zeros(2)})
    disk.assert_durable(tmp_path / "results" / "resume.pt")


def test_folders_that_cannot_be_synced_are_left_to_their_file_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(number: int) -> None:
        raise OSError(refuse.errno, os.strerror(refuse.errno))

    monkeypatch.setattr(files.os, "fsync", refuse)
    (tmp_path / "file").touch()
    for refuse.errno in files.NO_FOLDER_SYNC:
        make_folder(tmp_path / "made" / str(refuse.errno))
        replace_durably(tmp_path / "file", tmp_path / "file")
    refuse.errno = 5
    with pytest.raises(OSError, match="Input/output error") as caught:
        sync_folder(tmp_path)
    assert caught.value.filename == str(tmp_path), "what has no name would be a fault of the program"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EIO])
def test_a_disk_that_fails_is_told_by_the_file(number: int, tmp_path: Path) -> None:
    told = f"{os.strerror(number)} (os error {number})"
    for error in (OSError(number, os.strerror(number)), RuntimeError(told)):
        with pytest.raises(OSError) as caught, disk_named(tmp_path):
            raise error
        assert (caught.value.errno, caught.value.filename) == (number, str(tmp_path))
    with pytest.raises(RuntimeError), disk_named(tmp_path):
        raise RuntimeError("another (os error 1)")


def make_folders(place: Path) -> tuple[Path, Path, Path]:
    """(new, folder, aside), the first two with a file that says which it is."""
    new, folder, aside = (place / name for name in ("new", "folder", "aside"))
    for one in (new, folder):
        one.mkdir()
        (one / "which").write_text(one.name)
    return new, folder, aside


def test_a_signal_finds_a_folder_in_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also one that comes when the old one is away and the new one is not there yet."""
    new, folder, aside = make_folders(tmp_path)
    replace = os.replace

    def stopped(source: Path, target: Path) -> None:
        replace(source, target)
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(os, "replace", stopped)
    with pytest.raises(Stopped), signals_raised():
        put_in_place(new, folder, aside)
    assert (folder / "which").read_text() == "new" and (aside / "which").read_text() == "folder"


def test_a_folder_that_cannot_be_replaced_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    new, folder, aside = make_folders(tmp_path)
    replace = os.replace

    def failing(source: Path, target: Path) -> None:
        if source == new:
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(target))
        replace(source, target)

    monkeypatch.setattr(os, "replace", failing)
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        put_in_place(new, folder, aside)
    assert (folder / "which").read_text() == "folder" and (new / "which").exists() and not aside.exists()


def test_a_model_is_there_whenever_a_signal_comes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And nothing else is."""
    folder, replace = tmp_path / "model", os.replace

    def stopped(source: Path, target: Path) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        replace(source, target)

    folder.mkdir()
    monkeypatch.setattr(os, "replace", stopped)
    with pytest.raises(Stopped), signals_raised(), replaced_folder(folder) as new:
        (new / "weights").touch()
    assert [one.name for one in tmp_path.iterdir()] == ["model"] and (folder / "weights").exists()


@pytest.mark.parametrize("is_there", [True, False])
def test_a_model_behind_a_link_is_replaced_where_it_lies(tmp_path: Path, is_there: bool) -> None:
    """Again and again; the weights may be meant for another disk, and the link stays."""
    place, link = tmp_path / "elsewhere" / "weights", tmp_path / "model"
    link.symlink_to(place)
    if is_there:
        place.mkdir(parents=True)
    for name in ("first", "second"):
        with replaced_folder(link) as new:
            (new / name).touch()
    assert link.is_symlink() and [one.name for one in place.iterdir()] == ["second"]
    assert sorted(one.name for one in tmp_path.iterdir()) == ["elsewhere", "model"]


def test_paths_outside_the_repository_are_shown_whole() -> None:
    """As of a copy of the disk; of several joined by commas each is looked at."""
    repository = files.find_repository()
    inside, outside = f"{repository}/data/meld", f"/backup{repository}/data/meld"
    assert files.shown_path(f"{outside},{inside}") == f"{outside},data/meld"
    assert files.public_path(f"{inside},{outside}") == "data/meld,meld"
