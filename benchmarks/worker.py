"""A contender in a process of its own, so that its peak memory is its own; it computes only when asked to.

All contenders of a section are alive at once and take turns, so that a slow minute of the machine meets all. None
outlives the program that started it, however that ends: one left behind would compute beside the next measurement.
"""

import ctypes
import importlib
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any

BYTES_PER_KIBIBYTE = 1024
LEAVING_SECONDS = 60
STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


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
            self.process.kill()  # it has nothing to save
            self.process.join()

    def ready(self) -> None:
        """Waits until the contender is built; raises ContenderFailed."""
        self._receive()

    def run(self, *arguments: Any) -> Any:
        """What the contender returns for these arguments; raises ContenderFailed."""
        return self._ask(arguments)

    def peak_memory(self) -> int:
        """Peak resident bytes of the process since the contender was built; raises ContenderFailed."""
        return self._ask(None)

    def _ask(self, arguments: tuple | None) -> Any:
        with suppress(BrokenPipeError):  # it has ended since its last answer, as for want of memory: see below
            self.connection.send(arguments)
        return self._receive()

    def _receive(self) -> Any:
        try:
            succeeded, value = self.connection.recv()
        except (EOFError, ConnectionResetError):
            self.process.join()
            raise ContenderFailed(f"its process ended with code {self.process.exitcode}") from None
        if not succeeded:
            raise ContenderFailed(value)
        return value


def _serve(connection: Connection, build: str, setting: Any, log: str) -> None:
    """The contender's end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; the caller's end decides
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _print_into(log)
    try:
        contender = _build(build, setting)
        peak = getattr(contender, "peak_memory", _peak_memory)  # one that computes in a program of its own knows
        _forget_peak()
        connection.send((True, None))
        while True:
            arguments = connection.recv()
            value = peak() if arguments is None else contender(*arguments)
            _give_back_memory()
            connection.send((True, value))
    except EOFError:
        return
    except Exception as error:
        import traceback

        traceback.print_exc()
        connection.send((False, describe(error)))


def _end_with_parent() -> None:
    """Even a caller that was killed takes this process with it, in the middle of whatever it computes."""
    multiprocessing.parent_process().join()
    os._exit(1)


def stop_on_signals() -> None:
    """SIGINT, SIGTERM and SIGHUP end this program by way of its `finally`, which ends what it has started.

    A program in the background is started with SIGINT ignored. A second signal, as a closing terminal sends them, does
    not interrupt the first one's work.
    """

    def stop(received: int, frame: object) -> None:
        for number in STOPPING:
            signal.signal(number, signal.SIG_IGN)
        if received == signal.SIGINT:
            raise KeyboardInterrupt
        sys.exit(128 + received)

    for number in STOPPING:
        signal.signal(number, stop)


def run_to_end(command: Sequence[str | Path], **options: Any) -> subprocess.CompletedProcess[str]:
    """Runs a program and returns what it wrote to stdout; if this one is stopped, it ends, with all that it started.

    Raises:
        CalledProcessError: it failed; what it says of that is on stderr.
    """
    # A pipe would be waited for as long as any of its children lives.
    with tempfile.TemporaryFile("w+", encoding="utf-8") as written:
        process = subprocess.Popen(command, stdout=written, start_new_session=True, **options)
        try:
            process.wait()
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        written.seek(0)
        stdout = written.read()
    done = subprocess.CompletedProcess(command, process.returncode, stdout)
    done.check_returncode()
    return done


def describe(error: Exception) -> str:
    """One line of an exception."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"


def _build(build: str, setting: Any) -> Any:
    builder = load_builder(build)
    if torch := sys.modules.get("torch"):  # which takes a second to load: contenders that need it have it by now
        torch.set_num_threads(usable_cores())
    return builder(setting)


def load_builder(build: str) -> Callable[[Any], Callable]:
    """The function that `module:function` names."""
    module, _, function = build.partition(":")
    return getattr(importlib.import_module(module), function)


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
