"""What a reader may do with a file: return, or refuse it in one line; within a second of the processor and 200 MB."""

import resource
import signal
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from basics.errors import UserError
from basics.files import find_repository

SECONDS = 1.0  # of the processor, so that a busy machine finds no faults
MEGABYTES = 200
LONGEST_LINE = 5_000  # characters of a refusal
RESULT, REFUSED, FAULT = "result", "refused", "fault"
Read = Callable[[Path, bytes], object]


class TooSlow(BaseException):
    """A reader took more than its second. No Exception, so that no reader takes it for a fault of the file."""


@dataclass(frozen=True)
class Outcome:
    """How an input ended. told: the refusal, or what the fault is. where: it is raised, empty of what is none."""

    kind: str
    told: str = ""
    where: str = ""


def try_input(read: Read, folder: Path, data: bytes) -> Outcome:
    """Let a reader read one input; call it `within_limits`."""
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        read(folder, data)
        return Outcome(RESULT)
    except (Exception, TooSlow) as error:
        _free(error)
        return _judge_refusal(error) if isinstance(error, UserError | OSError) else _as_fault(error)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def _free(error: BaseException) -> None:
    """What the reader holds, which may be all memory that there is: none would be left to judge it."""
    for one in _chain(error):
        traceback.clear_frames(one.__traceback__)


def _judge_refusal(error: Exception) -> Outcome:
    """As `basics.scripts.run_script` takes it: an OSError is a line only where it names its file."""
    if isinstance(error, OSError) and not (error.filename and error.strerror):
        return _as_fault(error)
    if any(isinstance(one, MemoryError) for one in _chain(error)):
        return Outcome(FAULT, f"more than {MEGABYTES} MB, refused as: {str(error)[:200]}", _place(error))
    told = str(error) if isinstance(error, UserError) else str(UserError(f"{error.filename}: {error.strerror}"))
    told = " ".join(told.split())
    if not told or len(told) > LONGEST_LINE:
        return Outcome(FAULT, f"a refusal of {len(told):,} characters", _place(error))
    return Outcome(REFUSED, told)


def _as_fault(error: BaseException) -> Outcome:
    return Outcome(FAULT, f"{type(error).__name__}: {str(error)[:200]}", _place(error))


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _place(error: BaseException) -> str:
    """The last line of the program that led there."""
    code = f"{find_repository()}/"
    frames = [one for one in traceback.extract_tb(error.__traceback__) if one.filename.startswith(code)]
    own = [one for one in frames if "/tests/" not in one.filename]
    return f"{own[-1].filename.removeprefix(code)}:{own[-1].lineno}" if own else "outside of the program"


@contextmanager
def within_limits() -> Iterator[None]:
    """Ends what takes too long, and what takes more memory than there was at the beginning and 200 MB."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    handler = signal.signal(signal.SIGPROF, _end)
    resource.setrlimit(resource.RLIMIT_AS, (_taken_bytes() + MEGABYTES * 10**6, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
        signal.signal(signal.SIGPROF, handler)


def _end(number: int, frame: FrameType | None) -> None:
    raise TooSlow(f"more than {SECONDS:g} s")


def _taken_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    return pages * resource.getpagesize()
