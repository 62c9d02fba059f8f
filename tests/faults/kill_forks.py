"""Programs in forked processes, each in a group of its own that ends at a moment or at a change of a file.

What counts and refuses changes is changes.c, loaded before libc into this process and whatever comes of it.
"""

import ctypes
import os
import runpy
import shutil
import signal
import struct
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
SHIM = Path(__file__).with_name("changes.c")
SET_CHILD_SUBREAPER = 36  # <linux/prctl.h>
LONGEST_SECONDS = 300


@dataclass(frozen=True)
class Program:
    """A script of the repository with its arguments, or another command; of several the next runs if one ends well.

    before: what happens first, such as patches of what the script then imports; with no command, all that happens.
    variables: of its environment.
    """

    command: Sequence[object] = ()
    before: Callable[[], None] = lambda: None
    variables: Mapping[str, str] | None = None

    def run(self) -> int:
        """The exit code, in this process."""
        os.environ.update(self.variables or {})
        self.before()
        if not self.command:
            return 0
        script, *arguments = map(str, self.command)
        if not script.endswith(".py"):
            os.execvp(script, [script, *arguments])
        sys.argv = [script, *arguments]
        try:
            runpy.run_path(script, run_name="__main__")
        except SystemExit as end:
            return int(end.code or 0)
        return 0


@dataclass(frozen=True)
class Fault:
    """What befalls a program: at the `change`-th change below a folder SIGKILL, or refusal with an error number, or
    the clock is set back by so many seconds.

    seconds: after so many, `number` is sent to the group. change 0: only counts.
    """

    change: int = 0
    error: int = 0
    back: int = 0
    seconds: float | None = None
    number: int = signal.SIGKILL


@dataclass(frozen=True)
class End:
    """How programs ended. code: minus the signal where one ended them. changes: below the folder that was watched."""

    code: int
    told: str
    seconds: float
    changes: int


def load_shim(folder: Path) -> None:
    """Starts this program anew with the shim before libc, one thread and no hub; returns where that has been done."""
    library = folder / "changes.so"
    if os.environ.get("LD_PRELOAD") == str(library):
        return
    folder.mkdir(parents=True, exist_ok=True)
    command = ["cc", "-shared", "-fPIC", "-O1", "-o", str(library), str(SHIM), "-ldl"]
    subprocess.run(command, check=True)
    paths = [str(REPOSITORY / name) for name in ("code", "tests/helpers", "tests/faults")]
    told = {"LD_PRELOAD": str(library), "PYTHONPATH": os.pathsep.join(paths), "PYTHONDONTWRITEBYTECODE": "1"}
    told |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | told)


def adopt_orphans() -> None:
    """Whatever a killed program has left running becomes a child of this one, which can see it end."""
    if ctypes.CDLL(None).prctl(SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError("prctl refuses")


def run(programs: Sequence[Program], place: Path, under: Path, fault: Fault | None = None) -> End:
    """Runs programs one after the other in a group of their own, and ends it as `fault` says.

    place: where the output of the group and the count of its changes lie, outside of `under`, which is watched.
    """
    place.mkdir(parents=True, exist_ok=True)
    output, counter = place / "told.txt", place / "changes"
    counter.write_bytes(bytes(8))
    fault = fault or Fault()
    began = time.monotonic()
    sys.stdout.flush()
    child = os.fork()
    if not child:
        _become(programs, output, counter, under, fault)
    with suppress(PermissionError, ProcessLookupError):
        os.setpgid(child, child)  # whoever of the two comes first
    code = _wait(child, fault)
    changes = struct.unpack("q", counter.read_bytes())[0]
    return End(code, output.read_text(encoding="utf-8", errors="replace"), time.monotonic() - began, changes)


def _become(programs: Sequence[Program], output: Path, counter: Path, under: Path, fault: Fault) -> None:
    code = 1
    try:
        os.setpgid(0, 0)
        told = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(told, 1)
        os.dup2(told, 2)
        os.chdir(under)
        scratch = output.parent / "tmp"
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()
        os.environ |= {"FAULTS_UNDER": str(under), "FAULTS_COUNT": str(counter), "TMPDIR": str(scratch)}
        os.environ |= {"FAULTS_AT": str(fault.change), "FAULTS_ERROR": str(fault.error)}
        os.environ["FAULTS_BACK"] = str(fault.back)
        ctypes.CDLL(None).faults_arm()
        for program in programs:
            if code := program.run():
                break
    except BaseException:
        traceback.print_exc()
        code = 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _wait(child: int, fault: Fault) -> int:
    """The exit code, once every process of the group has ended."""
    deadline = time.monotonic() + (LONGEST_SECONDS if fault.seconds is None else fault.seconds)
    number = signal.SIGKILL if fault.seconds is None else fault.number
    while not (ended := os.waitpid(child, os.WNOHANG))[0]:
        if time.monotonic() >= deadline:
            os.killpg(child, number)
            deadline, number = time.monotonic() + LONGEST_SECONDS, signal.SIGKILL
        time.sleep(0.005)
    _see_to_rest(child)
    return os.waitstatus_to_exitcode(ended[1])


def _see_to_rest(group: int) -> None:
    """Kills what is left of a group, as its sender meant all of it, and waits for whatever else is left to end."""
    with suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)
    while True:
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return
