"""Runs main_new.py many times over in forked processes that end at chosen moments; the libraries load once.

Their figures have the bytes of an empty one: a tiny run spends much of its time on them.
Reads JSON lists of `ForkedRun` fields from stdin, a line each, runs them one after the other, and prints their exit
codes. With flags it is main_new.py, whose other processes are forks of it (`fork_others`). How they are started for
real: engine/processes/test_processes.py, test_a_run_of_two_ends_as_one_of_one.
"""

import atexit
import gc
import json
import os
import resource
import runpy
import select
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache, partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import psutil

REPOSITORY = Path(__file__).resolve().parents[2]
MAIN = REPOSITORY / "code" / "main_new.py"
PATIENCE = 900  # seconds, for all runs that are asked for at once
OPEN_FILES = 4096  # more than a process of the tests has


@dataclass(frozen=True)
class ForkedRun:
    """One process: its flags, where stdout and stderr go, and what befalls it.

    killed_at: (audit event of Python, file name, which time): `number` just before that happens to that file, SIGKILL
    unless told otherwise.
    largest_file: bytes; writing more fails as on a full disk.
    program: another than main_new.py that needs what it imports; it prints 64 KiB at most.
    """

    command: list[str]
    output: str
    killed_at: tuple[str, str, int] | None = None
    largest_file: int | None = None
    number: int = signal.SIGKILL
    program: str = str(MAIN)


def run_all(runs: Sequence[ForkedRun]) -> list[int]:
    """Exit codes; minus the number of the signal for a killed one."""
    forking = start_forking()
    forking.stdin.write(json.dumps([asdict(run) for run in runs]) + "\n")
    forking.stdin.flush()
    answered = select.select([forking.stdout], [], [], PATIENCE)[0]
    codes = answered and forking.stdout.readline()
    if not codes:
        start_forking.cache_clear()
        end_with_forks(forking)
        raise AssertionError("what forks has ended, with what is on stderr" if answered else "the runs take too long")
    return json.loads(codes)


@cache
def start_forking() -> subprocess.Popen:
    """This script, for all that this process asks of it; it ends when this process does."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(MAIN.parent)}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    forking = subprocess.Popen([sys.executable, __file__], text=True, env=environment, **pipes)
    atexit.register(end_with_forks, forking)
    return forking


def end_with_forks(process: subprocess.Popen) -> None:
    """Kill a process that has not ended, and all that it has started."""
    if process.poll() is None:
        forks = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        for fork in forks:
            with suppress(psutil.NoSuchProcess):
                fork.kill()
    process.communicate()


def run_forked(run: ForkedRun) -> int:
    """The exit code of one run in a process of its own."""
    # Not a file: the limit on files would hold for it too. A pipe takes 64 KiB until it is read.
    reading, writing = os.pipe()
    sys.stdout.flush()
    child = os.fork()
    if child:
        os.close(writing)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        with open(reading, "rb") as stream:
            Path(run.output).write_bytes(stream.read())
        return code
    code = 1
    try:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(writing, 1)
        os.dup2(writing, 2)
        code = run_main(run)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def run_main(run: ForkedRun) -> int:
    if run.largest_file:
        resource.setrlimit(resource.RLIMIT_FSIZE, (run.largest_file, run.largest_file))
    if run.killed_at:
        die_at(*run.killed_at, run.number)
    sys.argv = [run.program, *run.command]
    try:
        runpy.run_path(run.program, run_name="__main__")
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def die_at(event: str, name: str, times: int, number: int) -> None:
    """The signal just before `event` happens to a file called `name` for the `times`-th time."""
    left = times

    def watch(happening: str, arguments: tuple[Any, ...]) -> None:
        nonlocal left
        if happening == event and changed_file(happening, arguments) == name:
            left -= 1
            if not left:
                os.kill(os.getpid(), number)

    sys.addaudithook(watch)


def changed_file(event: str, arguments: tuple[Any, ...]) -> str | None:
    """Name of the file that an audit event is about to change."""
    if event == "open" and not (isinstance(arguments[1], str) and set(arguments[1]) & set("wa")):
        return None
    path = arguments[1] if event == "os.rename" else arguments[0]
    return Path(path).name if isinstance(path, str | Path) else None


def fork_others(again: Callable[[], object]) -> None:
    """From now on the others of a crew that this process starts are forks of it, which call `again` and end."""
    from engine import processes

    class Fork(subprocess.Popen):
        """Has its input, its output and its process group by the time that it would become another program."""

        def __init__(self, command: list[str], *, env: dict[str, str], **options: Any) -> None:
            super().__init__(command, preexec_fn=partial(become_another, again, env), **options)

    processes.subprocess = SimpleNamespace(**vars(subprocess) | {"Popen": Fork})


def become_another(again: Callable[[], object], environment: dict[str, str]) -> NoReturn:
    """In a fork: has what a new process would have, and ends as it would."""
    os.environ.update(environment)
    os.closerange(3, OPEN_FILES)  # one of them tells Popen that another program has begun
    atexit._clear()
    code = 1
    try:
        again()
        code = 0
    except SystemExit as end:
        code = int(end.code or 0)
    except BaseException:
        traceback.print_exc()
    finally:
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    sys.path.insert(0, str(MAIN.parent))
    # Before large libraries, as in scripts.
    import basics.scripts  # noqa: F401

    # isort: split
    # Whatever a run imports, before it is forked.
    from matplotlib.figure import Figure
    from transformers.conversion_mapping import get_checkpoint_conversion_mapping

    import tiny_models  # noqa: F401
    from bases.load import know_own_architectures
    from basics.files import write_atomically
    from commands import import_program
    from results import figures, summary

    import_program()
    know_own_architectures()
    get_checkpoint_conversion_mapping("llama")  # each run would put the whole table together anew
    empty = figures.to_png(Figure(), figures.DOTS_PER_INCH)
    summary.draw_learning_curve = summary.draw_confusion_matrix = lambda path, *_: write_atomically(path, empty)
    gc.freeze()  # each run collects once, and would look through the libraries
    if sys.argv[1:]:
        again = partial(runpy.run_path, str(MAIN), run_name="__main__")
        fork_others(again)
        again()
    for line in () if sys.argv[1:] else sys.stdin:
        print(json.dumps([run_forked(ForkedRun(**fields)) for fields in json.loads(line)]), flush=True)
