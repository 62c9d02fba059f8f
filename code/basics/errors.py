"""The one error a user is meant to see, a Python that is too old, a full or failing disk by the name of its file."""

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
# And what a disk says that fails, or that the system has made read-only since.
DISK_ERRNOS = NO_SPACE_ERRNOS | {errno.EROFS, errno.EIO}


LONGEST_LINE = 4_000  # characters of an error


class UserError(Exception):
    """Something the user can put right: one line saying what is wrong, where, and which values are allowed.

    It may quote what stands in a file: whatever that is, the line can be read, and no terminal obeys it.
    """

    def __init__(self, told: str) -> None:
        line = as_line(told)
        middle = f" ... ({len(line) - LONGEST_LINE:,} characters left out) ... "
        half = LONGEST_LINE // 2
        super().__init__(line if len(line) <= LONGEST_LINE else f"{line[:half]}{middle}{line[-half:]}")


def as_line(text: str) -> str:
    """A text as one line of a terminal or a log: blanks of any kind as they look, a mark for what shows nothing.

    Escape sequences, and marks that turn the direction of writing, are thus only seen.
    """
    return "".join(one if one.isprintable() else " " if one.isspace() else "\N{REPLACEMENT CHARACTER}" for one in text)


def describe_error(error: Exception) -> str:
    """The kind of an error and the first line that it tells, cut off: libraries tell pages."""
    return f"{type(error).__name__}: {''.join(str(error).splitlines()[:1])[:200]}"


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
