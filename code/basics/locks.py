"""What one program at a time may do in a folder; a program that is killed gives its locks back by itself.

Where a file system knows no locks, one at a time is up to the user.
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
    """Waits until nobody else is inside. folder: is there; FileNotFoundError: it is no longer."""
    with _closing(_take(folder, FOLDER, fcntl.LOCK_EX)):
        yield


@contextmanager
def locked_by(file: Path) -> Iterator[None]:
    """Waits until nobody else is inside. file: is made, and stays."""
    with _closing(_take(file, FILE, fcntl.LOCK_EX)):
        yield


@contextmanager
def alone_in(folder: Path, what: str) -> Iterator[None]:
    """Nobody else writes `what` meanwhile. folder: is there.

    Raises:
        UserError: somebody else does, or has just put it elsewhere.
    """
    with _closing(_take_at_once(folder, FOLDER, what)):
        yield


@contextmanager
def alone_at(file: Path, what: str) -> Iterator[None]:
    """Nobody else writes `what` meanwhile. file: is made, and taken away.

    Raises:
        UserError: somebody else does.
    """
    with _closing(_take_at_once(file, FILE, what)) as descriptor:
        try:
            yield
        finally:
            if is_at(descriptor, file):
                file.unlink(missing_ok=True)


def lock_beside(folder: Path) -> Path:
    """A file for `alone_at` where the folder itself is to be replaced."""
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
