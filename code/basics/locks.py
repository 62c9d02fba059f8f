"""Locks between programs, on a folder or a file; the lock of a program that is killed is free again at once.

On a file system without locks nothing is locked, and the user sees to it that one program writes at a time.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from basics.errors import UserError

# How they are opened: a folder that is gone is not made a file of its name.
FOLDER, FILE = os.O_RDONLY | os.O_DIRECTORY, os.O_RDWR | os.O_CREAT


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Holds the lock of an existing folder, once others have given it back; FileNotFoundError where it is gone."""
    with _closing(_take(folder, FOLDER, fcntl.LOCK_EX)):
        yield


@contextmanager
def locked_by(file: Path) -> Iterator[None]:
    """Holds the lock of a file, once others have given it back; the file is made where it lacks, and stays."""
    with _closing(_take(file, FILE, fcntl.LOCK_EX)):
        yield


@contextmanager
def alone_in(folder: Path, what: str) -> Iterator[None]:
    """Holds the lock of an existing folder without waiting. what: named in the error, as what is written there.

    Raises:
        UserError: another program holds it, or has just moved or removed the folder.
    """
    with _closing(_take_at_once(folder, FOLDER, what)):
        yield


@contextmanager
def alone_at(file: Path, what: str) -> Iterator[None]:
    """Holds the lock of a file without waiting; the file is made, and removed at the end. what: as for `alone_in`.

    Raises:
        UserError: another program holds it.
    """
    with _closing(_take_at_once(file, FILE, what)) as descriptor:
        try:
            yield
        finally:
            if is_at(descriptor, file):
                file.unlink(missing_ok=True)


def lock_beside(folder: Path) -> Path:
    """The file beside a folder to lock with `alone_at`, where the folder itself, and so its lock, is to be replaced."""
    return folder.with_name(f".{folder.name}.lock")


def _take_at_once(path: Path, kind: int, what: str) -> int:
    try:
        return _take(path, kind, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if not isinstance(error, BlockingIOError) and not (kind == FOLDER and isinstance(error, FileNotFoundError)):
            raise
        raise UserError(f"another program is writing {what}: wait for its end, or name another place") from None


def _take(path: Path, kind: int, how: int) -> int:
    """A descriptor that holds the lock of what has the name now: whoever held it may have taken that away meanwhile."""
    while True:
        descriptor = os.open(path, kind, 0o666)
        try:
            _lock(descriptor, how)
            if is_at(descriptor, path):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _lock(descriptor: int, how: int) -> None:
    try:
        fcntl.flock(descriptor, how)
    except BlockingIOError:
        raise
    except OSError:  # the file system knows no locks
        return


@contextmanager
def _closing(descriptor: int) -> Iterator[int]:
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def is_at(descriptor: int, path: Path) -> bool:
    """Whether an open file or folder still has this name."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


def remove_abandoned(path: Path) -> None:
    """Remove a file that its writer locks, if nobody holds it; it stays where that cannot be told."""
    # Opened for writing, as network shares ask of who locks.
    with suppress(OSError), open(path, "r+b") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Held until it is gone: a writer that has just made it, and waits for the lock, then sees that it is.
        if is_at(stream.fileno(), path):
            path.unlink()
