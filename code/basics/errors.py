"""The one error a user is meant to see, a Python that is too old, and a full disk by the name of its file."""

import errno
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# Every script comes by here first; an older Python would stop further on, where nothing tells why.
if sys.version_info < (3, 11):  # noqa: UP036
    sys.stderr.write("error: {} is Python {}.{}.{}: use 3.11 or newer\n".format(sys.executable, *sys.version_info))
    sys.exit(2)

NO_SPACE_ERRNOS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class UserError(Exception):
    """Something the user can put right: one line saying what is wrong, where, and which values are allowed."""


def raise_together(problems: list[str]) -> None:
    """Raise one UserError that holds every problem, in order; do nothing when there is none."""
    if problems:
        raise UserError("; ".join(problems))


@contextmanager
def full_disk_named(path: Path) -> Iterator[None]:
    """Raises OSError with `path` where a library tells of a full disk in an exception of its own."""
    try:
        yield
    except Exception as error:
        number = _find_no_space(error)
        if number is None or (isinstance(error, OSError) and error.filename):
            raise
        raise OSError(number, os.strerror(number), str(path)) from error


def _find_no_space(error: BaseException | None) -> int | None:
    """The error number of a full disk in an exception or what led to it, as Python and Rust tell it."""
    while error is not None:
        told = re.search(r"\(os error (\d+)\)", str(error))
        number = error.errno if isinstance(error, OSError) else int(told[1]) if told else None
        if number in NO_SPACE_ERRNOS:
            return number
        error = error.__cause__ or error.__context__
    return None
