"""What one program at a time may do: who comes second waits or is refused, and a killed one holds nothing."""

import fcntl
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from basics.errors import UserError
from basics.files import open_atomically, write_atomically
from basics.locks import alone_at, alone_in, lock_beside, locked, locked_by, remove_abandoned


@pytest.fixture
def beside() -> Iterator[Callable[[Callable[[], None]], int]]:
    """Starts another process that does something and then waits to be killed; its number, once it waits."""
    started = []

    def start(act: Callable[[], None]) -> int:
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            os.close(reading)
            act_and_wait(act, writing)
        os.close(writing)
        assert os.read(reading, 1) == b"x"
        os.close(reading)
        started.append(child)
        return child

    yield start
    for child in started:
        kill(child)


def act_and_wait(act: Callable[[], None], writing: int) -> None:
    try:
        act()
        os.write(writing, b"x")
        time.sleep(3600)  # until it is killed
    finally:
        os._exit(0)


def kill(child: int) -> None:
    try:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    except (ProcessLookupError, ChildProcessError):
        return


def enter(block) -> Callable[[], None]:
    """Enters a block and stays in it."""
    return lambda: KEPT.append(block.__enter__())


KEPT: list[object] = []


@pytest.mark.parametrize("is_folder", [False, True])
def test_the_second_is_refused_until_the_first_is_killed(beside, tmp_path: Path, is_folder: bool) -> None:
    path = tmp_path if is_folder else lock_beside(tmp_path / "model")
    alone = alone_in if is_folder else alone_at
    child = beside(enter(alone(path, "--model_dir model")))
    with pytest.raises(UserError, match="^another program is writing --model_dir model: wait for its end"):
        alone(path, "--model_dir model").__enter__()
    kill(child)
    with alone(path, "--model_dir model"):
        remove_abandoned(path)
        assert path.exists()
    assert list(tmp_path.iterdir()) == []


def test_a_lock_that_its_holder_has_taken_away_is_taken_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between opening and locking the file; else two would hold locks on two files of one name."""
    path, lock, taken = tmp_path / ".lock", fcntl.flock, []

    def take(descriptor: int, how: int) -> None:
        if not taken:
            path.unlink()
        taken.append(descriptor)
        lock(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", take)
    with alone_at(path, "x"):
        assert len(taken) == 2 and path.exists()


def test_what_is_removed_is_held_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else its writer, who has opened it a moment ago, locks it, finds it there, and writes what is then removed."""
    path, unlink, could_lock = tmp_path / ".tmp", Path.unlink, []

    def try_to_lock(removed: Path) -> None:
        with open(removed, "r+b") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                could_lock.append(False)
        unlink(removed)

    path.touch()
    monkeypatch.setattr(Path, "unlink", try_to_lock)
    remove_abandoned(path)
    assert could_lock == [False] and not path.exists()


@pytest.mark.parametrize("of_file", [False, True])
def test_who_waited_for_what_was_made_anew_meanwhile_waits_for_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, of_file: bool
) -> None:
    """Else two would be inside, each with the lock of another folder, or file, of one name."""
    path, lock, taken = tmp_path / "data", fcntl.flock, []
    make, remove = (path.touch, path.unlink) if of_file else (path.mkdir, path.rmdir)

    def take(descriptor: int, how: int) -> None:
        if not taken:
            remove()
            make()
        taken.append(descriptor)
        lock(descriptor, how)

    make()
    monkeypatch.setattr(fcntl, "flock", take)
    with (locked_by if of_file else locked)(path):
        assert len(taken) == 2 and os.path.samestat(os.fstat(taken[-1]), path.stat())


def test_a_folder_that_is_gone_is_not_made_a_file(tmp_path: Path) -> None:
    """As when another program has given it its name a moment ago."""
    with pytest.raises(UserError, match="another program is writing --model_dir"):
        alone_in(tmp_path / "gone", "--model_dir model").__enter__()
    with pytest.raises(FileNotFoundError):
        locked(tmp_path / "gone").__enter__()
    assert not list(tmp_path.iterdir())


def test_a_failure_inside_leaves_no_lock(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), alone_at(tmp_path / ".lock", "x"):
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_who_waits_comes_in_when_the_first_is_killed(beside, tmp_path: Path) -> None:
    child = beside(enter(locked(tmp_path)))
    if not (killer := os.fork()):
        time.sleep(0.2)
        os.kill(child, signal.SIGKILL)
        os._exit(0)
    with locked(tmp_path):
        assert os.waitpid(child, 0)[0] == child
    os.waitpid(killer, 0)


def test_what_a_killed_writer_left_goes_with_the_next_and_what_another_writes_stays(beside, tmp_path: Path) -> None:
    path = tmp_path / "file"
    children = [beside(enter(open_atomically(path))) for _ in range(2)]
    foreign = tmp_path / ".file.of-mine.tmp"
    foreign.write_text("kept")
    kill(children[0])
    assert len(list(tmp_path.iterdir())) == 3
    write_atomically(path, "whole")
    assert len(list(tmp_path.iterdir())) == 3, "one of a living writer, the foreign one, the file"
    kill(children[1])
    write_atomically(path, "again")
    assert sorted(one.name for one in tmp_path.iterdir()) == [foreign.name, path.name]
    assert path.read_text() == "again"


def test_a_file_that_another_writer_took_away_before_it_was_locked_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = []

    def flock(stream: object, operation: int) -> None:
        if not taken:
            taken.extend(tmp_path.iterdir())
            taken[0].unlink()

    monkeypatch.setattr(fcntl, "flock", flock)
    write_atomically(tmp_path / "file", "text")
    assert len(taken) == 1 and [path.name for path in tmp_path.iterdir()] == ["file"]
