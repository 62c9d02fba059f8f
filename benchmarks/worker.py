"""A contender in a process of its own, so that its peak memory is its own; it computes only when asked to.

All contenders of a section are alive at once and take turns, so that a slow minute of the machine meets all.
"""

import ctypes
import multiprocessing
import os
import resource
import sys
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any

BYTES_PER_KIBIBYTE = 1024
LEAVING_SECONDS = 60


class ContenderFailed(Exception):
    """A contender raised an exception, or its process ended; the message is one line."""


class Worker:
    """The caller's end: builds the contender, runs it, says how much memory it took.

    build: `module:function`; setting: its argument; what it returns is called by `run`. log: where everything
    that the process prints goes.
    """

    def __init__(self, build: str, setting: Any, log: Path) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        log.parent.mkdir(parents=True, exist_ok=True)
        self.process = context.Process(target=_serve, args=(theirs, build, setting, str(log)))
        self.process.start()
        theirs.close()

    def __enter__(self) -> "Worker":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.connection.close()  # the other end leaves when it next listens
        self.process.join(LEAVING_SECONDS if kind is None else 0)
        if self.process.is_alive():
            self.process.terminate()
            self.process.join()

    def ready(self) -> None:
        """Waits until the contender is built; raises ContenderFailed."""
        self._receive()

    def run(self, *arguments: Any) -> Any:
        """What the contender returns for these arguments; raises ContenderFailed."""
        self.connection.send(arguments)
        return self._receive()

    def peak_memory(self) -> int:
        """Peak resident bytes of the process since the contender was built; raises ContenderFailed."""
        self.connection.send(None)
        return self._receive()

    def _receive(self) -> Any:
        try:
            succeeded, value = self.connection.recv()
        except EOFError:
            self.process.join()
            raise ContenderFailed(f"its process ended with code {self.process.exitcode}") from None
        if not succeeded:
            raise ContenderFailed(value)
        return value


def _serve(connection: Connection, build: str, setting: Any, log: str) -> None:
    """The contender's end."""
    _print_into(log)
    try:
        contender = _build(build, setting)
        _forget_peak()
        connection.send((True, None))
        while True:
            arguments = connection.recv()
            value = _peak_memory() if arguments is None else contender(*arguments)
            _give_back_memory()
            connection.send((True, value))
    except (EOFError, KeyboardInterrupt):
        return
    except Exception as error:
        import traceback

        traceback.print_exc()
        connection.send((False, describe(error)))


def describe(error: Exception) -> str:
    """One line of an exception."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"


def _build(build: str, setting: Any) -> Any:
    import torch

    from benchmarks.contenders.definition import load_builder

    torch.set_num_threads(usable_cores())
    return load_builder(build)(setting)


def usable_cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _print_into(log: str) -> None:
    stream = open(log, "w", buffering=1)  # noqa: SIM115 - it lives as long as the process
    for number in (1, 2):
        os.dup2(stream.fileno(), number)
    sys.stdout = sys.stderr = stream


def _give_back_memory() -> None:
    """What the allocator keeps would be missing to the others, who are alive too; only glibc can be asked to."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def _forget_peak() -> None:
    """Loading is over: from here on the peak counts. Only Linux can forget; elsewhere loading counts too."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _peak_memory() -> int:
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * BYTES_PER_KIBIBYTE
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * BYTES_PER_KIBIBYTE
