"""The one error a user is meant to see, and a full or failing disk by the name of its file."""

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NO_SPACE_ERRNOS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
# And what a disk says that fails, or that the system has made read-only since.
DISK_ERRNOS = NO_SPACE_ERRNOS | {errno.EROFS, errno.EIO}


class UserError(Exception):
    """Something the user can put right: one line saying what is wrong, where, and which values are allowed."""


def raise_together(problems: list[str]) -> None:
    """Raise one UserError that holds every problem, in order; do nothing when there is none."""
    if problems:
        raise UserError("; ".join(problems))


@contextmanager
def disk_named(path: Path) -> Iterator[None]:
    """Raises OSError with `path` where the system does not name it, or a library tells of it in words of its own."""
    try:
        yield
    except Exception as error:
        number = _find_disk_error(error)
        if number is None or (isinstance(error, OSError) and error.filename):
            raise
        raise OSError(number, os.strerror(number), str(path)) from error


def _find_disk_error(error: BaseException | None) -> int | None:
    """The error number of a disk in an exception or what led to it, as Python and Rust tell it."""
    while error is not None:
        told = re.search(r"\(os error (\d+)\)", str(error))
        number = error.errno if isinstance(error, OSError) else int(told[1]) if told else None
        if number in DISK_ERRNOS:
            return number
        error = error.__cause__ or error.__context__
    return None
