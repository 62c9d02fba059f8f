"""Jobs whose disk is full or read-only from a change on, or whose folder is taken away: told in one line and gone on;
jobs whose clock is set back, and jobs that somebody starts once more while they run.

    python tests/faults/disk.py --job train --how full            # at every change in turn: no space is left from it on
    python tests/faults/disk.py --job train --how read-only       # nothing below the job's folder can be changed
    python tests/faults/disk.py --job train --how gone --times 20 # a folder that it made is removed at a random moment
    python tests/faults/disk.py --job set-up --how small          # on a disk of 4 KiB, of 8, ...; as root
    python tests/faults/disk.py --job train --how clock           # at every change in turn the clock goes back a day
    python tests/faults/disk.py --job train --how twice           # the same is started again at a random moment

The jobs are those of kill.py. Each has to end with exit code 2 and one line on stderr that says what is wrong, or
rightly; what is then there has to be what was there before, or whole: started again by the same command with the disk
as it should be, it comes to what a job left alone comes to, byte by byte. A clock is no reason to end: there the job
comes to it at once. Of two that are started one has to; the other may wait for it, or is refused in that line.
"""

import argparse
import errno
import json
import os
import random
import shutil
import subprocess
import time
import traceback
from collections.abc import Callable, Iterator, Sequence, Set
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path

from kill import Attempt, Trial, differences, make_parser, run_jobs
from kill_forks import End, Program, run

Way = Callable[[Trial, random.Random, argparse.Namespace], Iterator[Attempt]]
DAY = 86_400  # seconds
KIB = 4  # between two sizes of a small disk
LARGEST_KIB = 4096


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--how", choices=WAYS, default="full", help="(default: %(default)s)")
    arguments = parser.parse_args()
    way = WAYS[arguments.how]
    run_jobs(arguments, lambda trial, draw: trial.report(way(trial, draw, arguments)))


def meet(error: int) -> Way:
    """At every `step`-th change, and at all after it, a disk refuses with an error number."""
    return lambda trial, _, asked: trial.strike(trial.every_change(asked.step, error), find_trouble)


def find_trouble(end: End) -> list[str]:
    """What is wrong with the way in which a program ended."""
    if end.code == 0:
        return []
    errors = [line for line in end.told.splitlines() if line.startswith("error: ")]
    lines = end.told.splitlines()
    fine = end.code == 2 and len(errors) == 1 and lines[-1] == errors[0] and "Traceback" not in end.told
    return [] if fine else [f"ended with {end.code}: {end.told}"]


def set_back(trial: Trial, step: int) -> Iterator[Attempt]:
    """Sets the clock back a day at every `step`-th change, each in a run of its own; what is there is compared at once.

    Files have the times that the disk gives them, which is not set back.
    """
    for (fault,) in trial.every_change(step, back=DAY):
        end = trial.start(trial.begin(), fault)
        wrong = [f"ended with {end.code}: {end.told}"] * bool(end.code) + differences(trial.expected, trial.look())
        yield Attempt(f"a day back at change {fault.change}", [end.code], wrong)


def take_away(trial: Trial, draw: random.Random, times: int) -> Iterator[Attempt]:
    """Removes what the job has made so far, at random moments."""
    known = {path.name for path in trial.inputs.iterdir()}
    for _ in range(times):
        programs, seconds = trial.begin(), draw.uniform(0, trial.alone.seconds)
        do_later(seconds, lambda: remove_others(trial.place, known))
        end = trial.start(programs)
        wrong = find_trouble(end) + trial.find_difference(programs)
        yield Attempt(f"what was gone after {seconds:.2f} s", [end.code], wrong)


def start_twice(trial: Trial, draw: random.Random, times: int) -> Iterator[Attempt]:
    """Starts the same job a second time while it runs, at random moments."""
    beside = trial.beside.with_name("second")
    ended, left = beside / "end.json", times
    while left:
        programs, seconds = trial.begin(), draw.uniform(0, trial.alone.seconds)
        ended.unlink(missing_ok=True)
        do_later(seconds, partial(run_aside, programs, beside, trial.place, ended))
        first = trial.start(programs)  # which waits for the other as well
        second = End(**json.loads(ended.read_text()))
        left -= seconds < first.seconds  # else it began when the first had ended, and another moment is drawn
        wrong = [line for end in (first, second) for line in find_trouble(end)]
        wrong += [] if 0 in (first.code, second.code) else ["neither came to its end"]
        wrong += differences(trial.expected, trial.look()) + trial.find_difference(programs)
        yield Attempt(f"a second one after {seconds:.2f} s", [first.code, second.code], wrong)


def run_aside(programs: Sequence[Program], beside: Path, place: Path, ended: Path) -> None:
    """Runs programs, and writes to a file how they ended."""
    ended.write_text(json.dumps(asdict(run(programs, beside, place))))


def do_later(seconds: float, act: Callable[[], None]) -> None:
    """Does something after so many seconds, in a process: this one has more to fork, and so has no threads."""
    if os.fork():
        return
    try:
        time.sleep(seconds)
        act()
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(0)


def remove_others(folder: Path, kept: Set[str]) -> None:
    """Removes all that lies in a folder under other names."""
    for path in folder.iterdir():
        if path.name not in kept:
            shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)


def fill(trial: Trial, step: int) -> Iterator[Attempt]:
    """Runs the job on ever larger disks, until one is large enough."""
    size, code = 0, None
    while code != 0:
        size += step
        with small_disk(trial, size) as programs:
            if programs is None:
                continue
            end = trial.start(programs)
            code, wrong = end.code, find_trouble(end)
            mount("-o", f"remount,size={LARGEST_KIB}k", str(trial.place))
            wrong += trial.find_difference(programs)
        yield Attempt(f"a disk of {size} KiB", [code], wrong)


@contextmanager
def small_disk(trial: Trial, kib: int) -> Iterator[Sequence[Program] | None]:
    """The job's folder on a disk of its own, and its programs; None where not even its inputs have room."""
    trial.begin()
    remove_others(trial.place, frozenset())
    mount("-t", "tmpfs", "-o", f"size={kib}k", "tmpfs", str(trial.place))
    try:
        shutil.copytree(trial.inputs, trial.place, symlinks=True, dirs_exist_ok=True)
        yield trial.job.programs(trial.place)
    except shutil.Error:
        yield None
    finally:
        subprocess.run(["umount", str(trial.place)], check=True)


def mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True)


WAYS: dict[str, Way] = {
    "full": meet(errno.ENOSPC),
    "read-only": meet(errno.EROFS),
    "gone": lambda trial, draw, asked: take_away(trial, draw, asked.times),
    "small": lambda trial, _, asked: fill(trial, asked.step * KIB),
    "clock": lambda trial, _, asked: set_back(trial, asked.step),
    "twice": lambda trial, draw, asked: start_twice(trial, draw, asked.times),
}

if __name__ == "__main__":
    main()
