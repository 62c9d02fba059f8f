"""The frame that every script runs in, and what it shows while it works."""

import atexit
import codecs
import gc
import io
import os
import select
import sys
from collections.abc import Callable
from contextlib import nullcontext, redirect_stdout, suppress
from functools import wraps
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from basics.errors import NO_SPACE_ERRNOS, UserError
from basics.libraries import is_ours, say_missing
from basics.stopping import signals_raised, tell_stopped

if TYPE_CHECKING:
    from tqdm import tqdm

EXIT_USER_ERROR = 2
EXIT_CLOSED_PIPE = 141
LOG_FILE_INTERVAL_SECONDS = 30.0
UNPRINTABLE = "bytes of paths, else marks"  # a way to treat what an encoding does not have
# Python's collector would look through all that libraries make ten times while they are imported, and at the end once
# more: a third of a start's work. Rings of young objects, as of tensors, it finds as soon as ever.
MIDDLE_PER_FULL_COLLECTION = 1000


def _encode_unprintable(error: UnicodeEncodeError) -> tuple[str | bytes, int]:
    """A byte of a path that is no text as it is, so that whoever captures stdout finds the file; else a mark."""
    number = ord(error.object[error.start])
    is_byte = 0xDC80 <= number <= 0xDCFF  # as os.fsdecode writes it
    return bytes([number - 0xDC00]) if is_byte else "?", error.start + 1


codecs.register_error(UNPRINTABLE, _encode_unprintable)


def run_script(main: Callable[[], None]) -> None:
    """Run a script's main function and turn what the user can put right into one line on stderr.

    UserError, a library that is not installed, a full disk and any OSError that names a file (a folder that cannot be
    written to) end with exit code 2; Ctrl-C ends with 130, SIGTERM with 143, SIGHUP with 129. When the reader of stdout
    has had enough (`| head -1`) the script ends silently, with 141 as other programs do. Every other exception keeps
    its traceback: it is a fault of the program. What the encoding of stdout has no letter for is printed as a question
    mark.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors=UNPRINTABLE)
    # Not on import: a program that imports the recognizer has a collector of its own.
    gc.set_threshold(*gc.get_threshold()[:2], MIDDLE_PER_FULL_COLLECTION)
    atexit.register(gc.freeze)
    try:
        with signals_raised():
            main()
        sys.stdout.flush()
    except UserError as error:
        _leave_with_line(str(error))
    except ModuleNotFoundError as error:
        if is_ours(error):
            raise
        _leave_with_line(say_missing(error))
    except BrokenPipeError:
        if not _is_stdout_closed():
            raise
        _forget_stdout()
        sys.exit(EXIT_CLOSED_PIPE)
    except OSError as error:
        if error.errno in NO_SPACE_ERRNOS:
            _leave_with_line(f"no space left on the disk while writing {error.filename or 'a file'}")
        if not error.filename or not error.strerror:
            raise
        _leave_with_line(f"{os.fsdecode(error.filename)}: {error.strerror}")
    except KeyboardInterrupt as stop:
        sys.exit(tell_stopped(stop))


def _end_with_line(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """What Python calls for an exception that nobody catches: an interrupt is one line, and so is a missing library.

    SystemExit, which Python heeds here too: the exit code of a missing library.
    """
    if isinstance(error, KeyboardInterrupt):
        tell_stopped(error)
    elif isinstance(error, ModuleNotFoundError) and not is_ours(error):
        _leave_with_line(say_missing(error))
    else:
        sys.__excepthook__(kind, error, trace)


# Scripts import large libraries before they run: what happens meanwhile is one line too, from this import on.
sys.excepthook = _end_with_line


def _is_stdout_closed() -> bool:
    """Whether the reader of stdout has gone, and not that of another pipe."""
    poll = select.poll()
    try:
        poll.register(sys.stdout.fileno(), 0)
    except (OSError, ValueError):  # no file below it, as under a test
        return False
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))


def _forget_stdout() -> None:
    """Python would complain of the closed pipe once more when it flushes at exit."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def prints_folders(make: Callable[[], list[Path]]) -> Callable[[], None]:
    """Make a main function print the folders that it returns, joined by commas, as the one line on stdout.

    Whatever it or the libraries that it imports print goes to stderr: the caller of such a script captures stdout.
    """

    @wraps(make)
    def main() -> None:
        asks_for_help = {"-h", "--help"} & set(sys.argv)
        with nullcontext() if asks_for_help else redirect_stdout(sys.stderr):
            folders = make()
        print(",".join(map(str, folders)))

    return main


def _leave_with_line(message: str) -> None:
    print("error: " + " ".join(str(UserError(message)).split()), file=sys.stderr)
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
