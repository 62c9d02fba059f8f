"""What one program at a time may do in a folder; a program that is killed gives its locks back by itself.

Where a file system knows no locks, one at a time is up to the user.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from basics.errors import UserError


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Waits until nobody else is inside. path: a folder that is there, or a file, which is made and stays."""
    descriptor = _open(path)
    try:
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def alone_at(path: Path, what: str) -> Iterator[None]:
    """Nobody else writes `what` meanwhile. path: a folder that is there, or a file, which is made and taken away.

    Raises:
        UserError: somebody else does.
    """
    descriptor = _take(path, what)
    try:
        yield
    finally:
        if not path.is_dir() and is_at(descriptor, path):
            path.unlink()
        os.close(descriptor)


def lock_beside(folder: Path) -> Path:
    """A file for `alone_at` where the folder itself is to be replaced."""
    return folder.with_name(f".{folder.name}.lock")


def _take(path: Path, what: str) -> int:
    while True:
        descriptor = _open(path)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise UserError(f"another program is writing {what}: wait for its end, or name another place") from None
        except OSError:
            return descriptor
        if is_at(descriptor, path):
            return descriptor
        os.close(descriptor)  # whoever held it has taken the file away meanwhile


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


def _open(path: Path) -> int:
    return os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR | os.O_CREAT, 0o666)
