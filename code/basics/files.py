"""Files that are either whole or not there, also after a power cut, and their SHA-256."""

import contextlib
import errno
import fcntl
import hashlib
import os
import re
import secrets
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from basics.locks import is_at, remove_abandoned
from basics.stopping import in_one_go

TOKEN_BYTES = 8
READ_BLOCK_BYTES = 1 << 20
# What file systems answer that cannot write out a folder by itself: network shares, for one.
NO_FOLDER_SYNC = frozenset({errno.EINVAL, errno.ENOTSUP, errno.EACCES})


def find_repository() -> Path:
    """Return the folder above `code/`."""
    return Path(__file__).resolve().parents[2]


@contextlib.contextmanager
def open_atomically(path: Path) -> Iterator[BinaryIO]:
    """Open a file for writing bytes; a reader sees the old content or the new, never a part.

    The folder is made if it is missing. On failure the temporary file beside `path` is removed and the
    exception goes on to the caller, an OSError with `path` as its file name. What killed writers of the same file left
    there is removed.
    """
    path = Path(path)
    make_folder(path.parent)
    _remove_abandoned(path)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(TOKEN_BYTES)}.tmp")
    try:
        with _open_held(temporary) as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
            replace_durably(temporary, path)
    except OSError as error:
        # A failed write() does not know which file it was for.
        error.filename = str(path)
        raise
    finally:
        temporary.unlink(missing_ok=True)


def _open_held(temporary: Path) -> BinaryIO:
    """A new file, locked until it is closed: by this others know that somebody is still writing it."""
    while True:
        stream = open(temporary, "xb")  # noqa: SIM115 - whoever asked for it closes it
        with contextlib.suppress(OSError):
            fcntl.flock(stream, fcntl.LOCK_EX)
        if is_at(stream.fileno(), temporary):
            return stream
        stream.close()  # another writer has found it before it was locked, and taken it away


def _remove_abandoned(path: Path) -> None:
    name = re.compile(rf"\.{re.escape(path.name)}\.[0-9a-f]{{{2 * TOKEN_BYTES}}}\.tmp")
    with contextlib.suppress(OSError):
        for left in filter(name.fullmatch, os.listdir(path.parent)):
            remove_abandoned(path.with_name(left))


def write_atomically(path: Path, data: str | bytes) -> None:
    """Write a whole file the way of `open_atomically`; text is UTF-8."""
    with open_atomically(path) as stream:
        stream.write(data.encode("utf-8") if isinstance(data, str) else data)


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, where they are missing, so that a power cut takes none of them back."""
    folder = Path(folder)
    if not folder.is_dir():
        make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        sync_folder(folder.parent)


def is_pipe_or_device(path: Path) -> bool:
    """Whether a path is there, and is neither a file nor a folder, nor leads to one."""
    return path.exists() and not path.is_file() and not path.is_dir()


def behind_links(path: Path) -> Path:
    """What a path leads to: renaming a file to there leaves a link a link. A pipe or a device keeps its name."""
    return Path(os.path.realpath(path)) if path.is_symlink() and not is_pipe_or_device(path) else path


def replace_durably(source: Path, target: Path) -> None:
    """Rename as `os.replace` does, and return once the new name is on the disk."""
    os.replace(source, target)
    sync_folder(Path(target).parent)


def put_in_place(new: Path, folder: Path, aside: Path) -> None:
    """Rename a folder to where another may be, which goes to `aside`; return once that is on the disk.

    No signal comes between the two, and if the second fails the first is undone.
    """
    is_taken = folder.exists() or folder.is_symlink()
    with in_one_go():
        if is_taken:
            os.replace(folder, aside)
        try:
            os.replace(new, folder)
        except OSError:
            if is_taken:
                os.replace(aside, folder)
            raise
    sync_folder(folder.parent)


def sync_file(path: Path) -> None:
    """Return once the content of a file is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        error.filename = str(path)  # it knows a number alone
        raise
    finally:
        os.close(descriptor)


def sync_folder(folder: Path) -> None:
    """Return once the names in a folder are on the disk, where its file system can be asked for that."""
    try:
        sync_file(folder)
    except OSError as error:
        if error.errno not in NO_FOLDER_SYNC:
            raise


def sync_tree(folder: Path) -> None:
    """Return once a folder is on the disk with all that lies below it."""
    for path in sorted(Path(folder).rglob("*")):
        if path.is_dir():
            sync_folder(path)
        elif path.is_file():
            sync_file(path)
    sync_folder(folder)


def sha256_of_each(paths: Iterable[Path]) -> str:
    """The SHA-256 of files in their order, joined by commas."""
    return ",".join(map(sha256_of, paths))


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        while block := stream.read(READ_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def is_unicode(text: str) -> bool:
    """Whether a text can be written: it has no half of a surrogate pair."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def sha256_of_text(text: str) -> str:
    """Return the SHA-256 of a text in UTF-8 as 64 hexadecimal digits."""
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def shown_path(value: str) -> str:
    """A path inside the repository as seen from it: what users pass on should not name their machine.

    Of several joined by commas each. Others stay whole, also those that have the repository's path in their middle.
    """
    return re.sub(rf"(?<![^,]){re.escape(str(find_repository()))}/", "", value)


def public_path(value: str) -> str:
    """A path as others may read it: inside the repository as seen from it, elsewhere its last part alone.

    Several joined by commas are each shown so; what is no path stays as it is.
    """
    shown = shown_path(value).split(",")  # a comma may stand in the repository's own path
    return ",".join(Path(part).name if Path(part).is_absolute() else part for part in shown)
