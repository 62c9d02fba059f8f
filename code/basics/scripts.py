"""The frame that every script runs in, and what it shows while it works."""

import sys
from collections.abc import Callable

from tqdm import tqdm

from basics.errors import NO_SPACE_ERRNOS, UserError

EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130
LOG_FILE_INTERVAL_SECONDS = 30.0


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


def progress_bar(total: int, description: str, unit: str, done: int = 0, silent: bool = False) -> tqdm:
    """A bar on stderr that begins at `done`; in a log file it prints a line now and then, not ten a second."""
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
