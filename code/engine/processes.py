"""The other processes of a run, started by the first one or a launcher; the run ends when one of them ends.

`Crew`: the first process starts the others with the same command. It alone prints, and gets Ctrl-C and SIGTERM. The
others hold the end of a pipe, and end when it closes, however the first one ended. Their output is kept, and shown when
one of them fails. One that is suspended (SIGSTOP) and not continued is killed, which ends the run. The first one may be
suspended (Ctrl-Z, then `fg`): the others wait for it.

`LaunchedCrew`: the launcher ends all processes when one has ended, but does not notice one that is suspended. So each
process watches the next.
"""

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

import psutil

from basics.errors import UserError
from basics.scripts import EXIT_USER_ERROR

STARTED_AS = "ERC_PROCESS"  # variable that the others get: their number, and the port where all meet
LEFT_ALONE = "another process of this run has ended"
SECONDS_TO_END = 10
LOOK_SECONDS, LOOKS_TO_GO_ON = 1.0, 30  # seconds between looks for suspended processes; looks before one is killed
LONGEST_WORDS = 200  # characters of the last line that a process has printed
STOPPED = "was stopped (SIGSTOP), did not go on and was ended"
EXIT_OF_FAULTS = 1  # Python's, after an exception that nobody catches
SAME_FOR_ALL = ("WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")  # variables of a launcher that all processes of a run share
CPUS = Path("/sys/devices/system/cpu")


class Crew:
    """The other processes of this run, seen from the first one; empty in the others.

    count: of all processes. port: where they meet on this machine.
    """

    def __init__(self, count: int = 1, port: int = 0) -> None:
        self.count = count
        self.logs: list[int] = []  # open files, each with what one of the others has printed
        self.others = [self._start(number, port) for number in range(1, count)]
        self.stopped: set[int] = set()  # numbers of those that were killed because they stayed suspended
        kill_those_that_stay_stopped(
            {number: psutil.Process(one.pid) for number, one in enumerate(self.others, 1)}, self.stopped.add
        )

    def _start(self, number: int, port: int) -> subprocess.Popen:
        with tempfile.TemporaryFile() as log:
            self.logs.append(os.dup(log.fileno()))
            return subprocess.Popen(
                [sys.executable, *sys.orig_argv[1:]],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=os.environ | {STARTED_AS: f"{number} {port}"},
                process_group=0,  # a terminal's Ctrl-C is the first one's to answer
            )

    def look(self) -> None:
        """UserError when a process has ended; to be called while all are needed."""
        ended = [number for number, one in enumerate(self.others, 1) if one.poll() is not None]
        if ended:
            self._tell(ended)

    def explain(self, error: Exception) -> NoReturn:
        """Raises a UserError if a process has ended, which explains a failed exchange; else `error` itself."""
        if not self.others:
            raise UserError(f"{LEFT_ALONE} ({error})") from error
        _look_for_a_while(self.look)
        raise error

    def _tell(self, ended: Sequence[int]) -> NoReturn:
        """UserError on the process that probably ended first: others may have ended because of it."""
        reasons = {number: self._reason(number) for number in ended}
        first = min(ended, key=lambda number: (LEFT_ALONE in reasons[number], self.others[number - 1].returncode))
        if self.others[first - 1].returncode == EXIT_OF_FAULTS:
            sys.stderr.write(self._said(first))  # a fault of the program keeps its traceback
        raise UserError(reasons[first]) from None

    def _reason(self, number: int) -> str:
        code, last = self.others[number - 1].returncode, last_words(self._said(number))
        if code == EXIT_USER_ERROR and last.startswith("error: "):
            return last.removeprefix("error: ")
        named = f"process {number + 1} of {self.count}"
        if code >= 0:
            return f"{named} ended with code {code}: {last}"
        if number in self.stopped:
            told = f"{named} {STOPPED}"
        else:
            why = ", as when memory is short" if -code == signal.SIGKILL else ""
            told = f"{named} was ended by {signal.Signals(-code).name}{why}"
        return told + (f"; its last words: {last[:LONGEST_WORDS]}" if last else "")

    def _said(self, number: int) -> str:
        log = self.logs[number - 1]
        return os.pread(log, os.fstat(log).st_size, 0).decode(errors="replace")

    def end(self) -> None:
        """Closes the pipe, so that the others end, and kills those that do not."""
        for one in self.others:
            one.stdin.close()
        for one in self.others:
            try:
                one.wait(SECONDS_TO_END)
            except subprocess.TimeoutExpired:
                one.kill()
                one.wait()
        while self.logs:
            os.close(self.logs.pop())


class LaunchedCrew:
    """The other processes of this run on this machine, seen from one that a launcher has started.

    When the next process stays suspended, this one kills it and itself, with one line: a process that waits for the
    suspended one may hear no signal for hours. The launcher then ends the rest.

    rank: of this process. size: of the whole run.
    """

    def __init__(self, rank: int, size: int) -> None:
        self.size, self.others = size, started_beside()
        after = [other for other in self.others if other > rank] or list(self.others)
        if after:
            kill_those_that_stay_stopped({min(after): self.others[min(after)]}, self._end_both)

    def _end_both(self, stopped: int) -> NoReturn:
        print(f"error: process {stopped + 1} of {self.size} {STOPPED}", file=sys.stderr, flush=True)
        with suppress(psutil.Error):
            self.others[stopped].kill()
        os._exit(EXIT_USER_ERROR)

    def look(self) -> None:
        """UserError when a process has ended; to be called while all are needed."""
        ended = [str(rank + 1) for rank, one in sorted(self.others.items()) if _has_ended(one)]
        if ended:
            raise UserError(f"process {' and '.join(ended)} of {self.size} has ended, and this one with it")

    def explain(self, error: Exception) -> NoReturn:
        """Raises a UserError that names the process that has ended; else `error` itself."""
        _look_for_a_while(self.look)
        raise error

    def end(self) -> None:
        """Nothing to do: the launcher ends the others."""


def started_beside() -> dict[int, psutil.Process]:
    """Rank -> process of the others that the same launcher has started on this machine for this run."""
    beside = {}
    launcher = psutil.Process().parent()
    for one in launcher.children() if launcher else ():
        with suppress(psutil.Error):  # it has ended, or belongs to another user
            told = one.environ()
            is_ours = all(told.get(name, "") == os.environ.get(name, "") for name in SAME_FOR_ALL)
            if is_ours and told.get("RANK", "").isdecimal() and one.pid != os.getpid():
                beside[int(told["RANK"])] = one
    return beside


def _look_for_a_while(look: Callable[[], None]) -> None:
    """Looks several times, as a broken connection may be noticed before the system reports the process as ended."""
    given_up = time.monotonic() + SECONDS_TO_END
    while time.monotonic() < given_up:
        look()
        time.sleep(0.05)


def last_words(printed: str) -> str:
    """The last line of what a process has printed that is not blank; empty: there is none."""
    return next((line.strip() for line in reversed(printed.splitlines()) if line.strip()), "")


def kill_those_that_stay_stopped(others: Mapping[int, psutil.Process], tell: Callable[[int], object]) -> None:
    """From now on, a process that is suspended and not continued is killed; `tell` is called with its number before.

    others: number -> process. Processes that wait for a suspended one notice nothing for hours but its death.
    """
    watched, looks = dict(others), Counter()

    def watch() -> None:
        # Looks are counted, and not time: if this process was suspended together with the others, it kills none.
        while watched:
            time.sleep(LOOK_SECONDS)
            for number, one in list(watched.items()):
                looks[number] = looks[number] + 1 if _is_stopped(one) else 0
                if looks[number] >= LOOKS_TO_GO_ON:
                    tell(number)
                    with suppress(psutil.Error):
                        one.kill()
                if looks[number] >= LOOKS_TO_GO_ON or not one.is_running():
                    del watched[number]

    if watched:
        threading.Thread(target=watch, daemon=True).start()


def _is_stopped(process: psutil.Process) -> bool:
    try:
        return process.status() == psutil.STATUS_STOPPED
    except psutil.Error:  # it has ended, or is not ours to ask about
        return False


def _has_ended(process: psutil.Process) -> bool:
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def started_as() -> tuple[int, int]:
    """(number of this process, port where all meet); (0, 0) in the first one."""
    number, _, port = os.environ.get(STARTED_AS, "").partition(" ")
    return (int(number), int(port)) if port else (0, 0)


def end_with_first() -> None:
    """From now on this process ends when the first one does."""

    def wait() -> None:
        while os.read(sys.stdin.fileno(), 1):
            pass
        os._exit(EXIT_USER_ERROR)

    threading.Thread(target=wait, daemon=True).start()


def stay_on_own_cores(number: int, count: int) -> None:
    """Binds threads that start from now on to an equal part of the cores, on one chip if possible.

    Memory is then near them, as Linux places it where it is first written. Nothing is done where there are fewer cores
    than processes, or the system cannot bind threads.
    """
    if not hasattr(os, "sched_setaffinity"):
        return
    cores = own_cores(sorted(os.sched_getaffinity(0)), number, count)
    if cores:
        os.sched_setaffinity(0, cores)


def own_cores(usable: Sequence[int], number: int, count: int, cpus: Path = CPUS) -> set[int]:
    """The processors of one process, among those that may be used; empty where there are fewer cores than processes.

    Processors of one core, which share its arithmetic, stay together.
    """
    cores: dict[tuple[int, int], set[int]] = {}
    for cpu in usable:
        cores.setdefault(_place(cpu, cpus / f"cpu{cpu}/topology"), set()).add(cpu)
    each = len(cores) // count
    mine = sorted(cores)[number * each : (number + 1) * each]
    return set().union(*(cores[place] for place in mine))


def _place(cpu: int, topology: Path) -> tuple[int, int]:
    """(chip, core) of a processor; where Linux does not tell, each counts as a core."""
    try:
        package, core = (int((topology / name).read_text()) for name in ("physical_package_id", "core_id"))
    except (OSError, ValueError):
        return 0, cpu
    return package, core
