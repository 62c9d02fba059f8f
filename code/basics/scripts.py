"""The frame that every script runs in, and what it shows while it works."""

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from basics.errors import NO_SPACE_ERRNOS, UserError

if TYPE_CHECKING:
    from tqdm import tqdm

EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130
LOG_FILE_INTERVAL_SECONDS = 30.0


def run_script(main: Callable[[], None]) -> None:
    """Run a script's main function and turn what the user can put right into one line on stderr.

    UserError, a full disk and any OSError that names a file (a folder that cannot be written to) end with exit code
    2, Ctrl-C with 130. When the reader of stdout has had enough (`| head -1`) the script ends, well and silently.
    Every other exception keeps its traceback: it is a fault of the program.
    """
    try:
        main()
        sys.stdout.flush()
    except UserError as error:
        _leave_with_line(str(error))
    except BrokenPipeError:
        _forget_stdout()
    except OSError as error:
        if error.errno in NO_SPACE_ERRNOS:
            _leave_with_line(f"no space left on the disk while writing {error.filename or 'a file'}")
        if not error.filename or not error.strerror:
            raise
        _leave_with_line(f"{os.fsdecode(error.filename)}: {error.strerror}")
    except KeyboardInterrupt:
        print("stopped by Ctrl-C", file=sys.stderr)
        sys.exit(EXIT_INTERRUPTED)


def _forget_stdout() -> None:
    """Python would complain of the closed pipe once more when it flushes at exit."""
    with suppress(OSError, ValueError):  # no file below it, as under a test
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _leave_with_line(message: str) -> None:
    print("error: " + " ".join(message.split()), file=sys.stderr)
    sys.exit(EXIT_USER_ERROR)


def progress_bar(total: int, description: str, unit: str, done: int = 0, silent: bool = False) -> "tqdm":
    """A bar on stderr that begins at `done`; in a log file it prints a line now and then, not ten a second."""
    from tqdm import tqdm

    interval = 0.2 if sys.stderr.isatty() else LOG_FILE_INTERVAL_SECONDS
    return tqdm(
        total=total,
        initial=done,
        desc=description,
        unit=unit,
        mininterval=interval,
        maxinterval=max(interval, 10.0),
        file=sys.stderr,
        disable=silent,
        dynamic_ncols=True,
    )
