"""The one error a user is meant to see, and the frame every script runs in."""

import errno
import sys
from collections.abc import Callable

EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130

NO_SPACE_ERRNOS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class UserError(Exception):
    """Something the user can put right: one line saying what is wrong, where, and which values are allowed."""


def raise_together(problems: list[str]) -> None:
    """Raise one UserError that holds every problem, in order; do nothing when there is none."""
    if problems:
        raise UserError("; ".join(problems))


def run_script(main: Callable[[], None]) -> None:
    """Run a script's main function and turn what the user can put right into one line on stderr.

    UserError and a full disk end with exit code 2, Ctrl-C with 130. Every other exception keeps its
    traceback: it is a fault of the program.
    """
    try:
        main()
    except UserError as error:
        _leave_with_line(str(error))
    except OSError as error:
        if error.errno not in NO_SPACE_ERRNOS:
            raise
        _leave_with_line(f"no space left on the disk while writing {error.filename or 'a file'}")
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)


def _leave_with_line(message: str) -> None:
    print("error: " + " ".join(message.split()), file=sys.stderr)
    sys.exit(EXIT_USER_ERROR)
