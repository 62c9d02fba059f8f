"""Kills jobs at random moments or at every change of a file, starts them again, and compares with one left alone.

    python tests/faults/kill.py --job train --times 20 --seed 1       # SIGKILL at random moments of its duration
    python tests/faults/kill.py --job train --signal SIGTERM          # or another one, after which a program saves
    python tests/faults/kill.py --job rows --every-change             # SIGKILL in the middle of each change, in turn
    python tests/faults/kill.py --list

A job is a program, or several in turn, over tiny random bases (kill_jobs.py). Each time it is killed once, twice or
three times and started again by the same command until it ends. Every file below its folder is then compared, byte by
byte; of what tells of times (`TIMES`) the rest. The exit code is 1 when anything differs. disk.py does the same with
disks that are full or read-only, and with clocks.
"""

import argparse
import json
import logging
import random
import shutil
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kill_forks import End, Fault, Program, adopt_orphans, load_shim, run

# Of results, logs, manifests and records: when, how long it took, and how much memory this process has held.
TIMES = frozenset({"seconds", "mtime_ns", "date", "minutes", "peak_memory_mib"})
EVENTS = "events.out.tfevents."  # of TensorBoard: a file for each start, the curves go on
MOST_KILLS = 3
MOST_DRAWN = 50  # moments for each that is to come in time
SIGNALS = ("SIGKILL", "SIGTERM", "SIGINT")
FOLDER = Path(tempfile.gettempdir()) / "killed"


def main() -> None:
    arguments = parse_arguments()
    number = signal.Signals[arguments.signal]

    def befall(trial: "Trial", draw: random.Random) -> bool:
        changes = trial.every_change(arguments.step)
        faults = changes if arguments.every_change else trial.moments(draw, arguments.times, number)
        return trial.report(trial.strike(faults, lambda end: find_trouble(end, number)))

    run_jobs(arguments, befall)


def find_trouble(end: End, number: int) -> list[str]:
    """What is wrong with the way in which a program ended that was sent a signal; it may have been too late."""
    if end.code in (0, -number):
        return []
    last = (end.told.splitlines() or [""])[-1]
    told = end.code == 128 + number and last.startswith("stopped by ") and "Traceback" not in end.told
    return [] if told else [f"ended with {end.code}: {end.told}"]


def run_jobs(arguments: argparse.Namespace, befall: Callable[["Trial", random.Random], bool]) -> None:
    """Lets every job be befallen; ends this process, with 1 where anything was wrong."""
    load_shim(arguments.folder.absolute())
    import basics.scripts  # noqa: F401 - before large libraries, as in scripts

    # isort: split
    from kill_jobs import JOBS, LIGHT

    if arguments.list:
        print("\n".join(f"{name}: {job.subject}" for name, job in JOBS.items()))
        return
    asked = frozenset(arguments.job or JOBS)
    if not asked <= LIGHT:
        import_all(asked)
    adopt_orphans()
    wrong = False
    for name in arguments.job or JOBS:
        trial = Trial(name, arguments.folder.absolute() / name, JOBS[name])
        wrong |= befall(trial, random.Random(f"{arguments.seed}/{name}"))
    sys.exit(wrong)


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = make_parser(__doc__)
    parser.add_argument("--signal", choices=SIGNALS, default="SIGKILL", help="(default: %(default)s)")
    parser.add_argument("--every-change", action="store_true", help="kill once in the middle of every change")
    return parser.parse_args()


def make_parser(description: str) -> argparse.ArgumentParser:
    """What says which jobs are befallen, how often, and where."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--job", action="append", help="only this one; may be repeated")
    parser.add_argument("--times", type=int, default=20, help="times that a job is befallen (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the moments (default: %(default)s)")
    parser.add_argument("--step", type=int, default=1, help="only every STEP-th change (default: %(default)s)")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where jobs run (default: %(default)s)")
    parser.add_argument("--list", action="store_true", help="print the jobs and stop")
    return parser


def import_all(asked: frozenset[str]) -> None:
    """Whatever one of the jobs imports, before anything is forked."""
    if "deepspeed" in asked:
        import deepspeed  # noqa: F401
    import peft.tuners.lora  # noqa: F401
    import sklearn.metrics  # noqa: F401
    import transformers.models.glm.modeling_glm  # noqa: F401
    import transformers.models.llama.modeling_llama  # noqa: F401
    import transformers.optimization  # noqa: F401

    import export  # noqa: F401
    import main_new  # noqa: F401
    import own_dialogues.recognizer  # noqa: F401
    from commands import import_program

    import_program()


@dataclass(frozen=True)
class Attempt:
    """One time that a job was befallen: by what, how the programs ended that it befell, a line for each thing wrong."""

    by: str
    codes: Sequence[int]
    wrong: Sequence[str]


class Trial:
    """A job in a folder of its own: as it was left alone, and every time that something befell it."""

    def __init__(self, name: str, folder: Path, job: Any) -> None:
        self.name, self.job, self.beside = name, job, folder / "beside"
        self.place, self.inputs = folder / "place", folder / "inputs"
        self.codes: Counter[int] = Counter()  # of the programs that something befell
        shutil.rmtree(folder, ignore_errors=True)
        self.place.mkdir(parents=True)
        self._finish([Program(before=lambda: run_all(job.inputs(self.place)))])
        shutil.copytree(self.place, self.inputs, symlinks=True)
        self._finish(job.programs(self.place))
        self.expected = self.look()
        # Once more: the first time is no measure, and what differs by itself shows nothing.
        self.alone = self._finish(self.begin())
        if unsteady := differences(self.expected, self.look()):
            raise SystemExit(f"{name} differs from itself: {unsteady}")

    def look(self) -> dict[str, Any]:
        """All that counts of what there is now."""
        return {name: content for name, content in snapshot(self.place).items() if name not in self.job.notes}

    def _finish(self, programs: Sequence[Program]) -> End:
        end = self.start(programs)
        if end.code:
            raise SystemExit(f"a job left alone ended with {end.code}:\n{end.told}")
        return end

    def start(self, programs: Sequence[Program], fault: Fault | None = None) -> End:
        return run(programs, self.beside, self.place, fault)

    def begin(self) -> Sequence[Program]:
        """Everything is as before the job, whose programs are returned."""
        shutil.rmtree(self.place)
        shutil.copytree(self.inputs, self.place, symlinks=True)
        return self.job.programs(self.place)

    def moments(self, draw: random.Random, times: int, number: int) -> Iterator[list[Fault]]:
        """Lists of faults until `times` came in time: each befalls the job as it goes on after the one before.

        One that comes once the job has ended is drawn anew, as not to test less where jobs are quicker than they were.
        """
        for _ in range(MOST_DRAWN * times):
            if not (left := times - sum(ended for code, ended in self.codes.items() if code)):
                return
            kills = draw.randint(1, min(left, MOST_KILLS))
            yield [Fault(seconds=draw.uniform(0, self.alone.seconds), number=number) for _ in range(kills)]

    def every_change(self, step: int, error: int = 0, back: int = 0) -> Iterator[list[Fault]]:
        """One fault at a time, at every `step`-th change."""
        for number in range(1, self.alone.changes + 1, step):
            yield [Fault(change=number, error=error, back=back)]

    def strike(self, trials: Iterable[Sequence[Fault]], find_trouble: Callable[[End], list[str]]) -> Iterator[Attempt]:
        """Starts the job anew for every list of faults, whose first befalls it, whose next befalls it as it goes on."""
        for faults in trials:
            programs = self.begin()
            ends = [self.start(programs, fault) for fault in faults]
            wrong = [line for end in ends for line in find_trouble(end)] + self.find_difference(programs)
            yield Attempt(str(faults), [end.code for end in ends], wrong)

    def report(self, attempts: Iterable[Attempt]) -> bool:
        """Prints what went wrong as it does, and how often the job was befallen; whether anything did."""
        failed = 0
        for attempt in attempts:
            self.codes.update(attempt.codes)
            if attempt.wrong:
                failed += 1
                print(f"{self.name}: by {attempt.by}:", *attempt.wrong, sep="\n    ", flush=True)
        alone = f"alone {self.alone.seconds:.1f} s and {self.alone.changes} changes"
        print(f"{self.name}: {alone}; {describe(self.codes)}; {failed} went wrong", flush=True)
        return failed > 0

    def find_difference(self, programs: Sequence[Program]) -> list[str]:
        """What differs from the job left alone once it has been started again, and has come to its end."""
        last = self.start(programs)
        failed = [f"started again it ended with {last.code}: {last.told}"] if last.code else []
        return failed + differences(self.expected, self.look())


def describe(codes: Counter[int]) -> str:
    """How often programs ended with which code; minus the signal where one ended them."""
    return "ended " + ", ".join(f"{number} times with {code}" for code, number in sorted(codes.items()))


def run_all(programs: Sequence[Program]) -> None:
    for program in programs:
        if code := program.run():
            raise SystemExit(code)


def snapshot(folder: Path) -> dict[str, Any]:
    """Path -> content, of everything below a folder."""
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        if path.name.startswith(EVENTS):
            found[path.parent.relative_to(folder).as_posix()] = curves_of(path.parent)
            continue
        name = path.relative_to(folder).as_posix()
        found[name] = str(path.readlink()) if path.is_symlink() else "folder" if path.is_dir() else content_of(path)
    return found


def content_of(path: Path) -> Any:
    """The bytes; of JSON all but its times, of the log and the report of reproduce.py all but their minutes."""
    data = path.read_bytes()
    try:
        if path.suffix == ".json":
            return timeless(json.loads(data))
        if path.suffix == ".jsonl":
            return [timeless(json.loads(line)) for line in data.splitlines()]
    except ValueError:
        return data
    if path.name in ("LOG.md", "REPORT.md"):
        return without_minutes(data.decode())
    return data


def without_minutes(page: str) -> list[list[str]]:
    """The cells of each line but those of a column of minutes, which are those of runs that were not stopped."""
    place, lines = None, []
    for line in page.splitlines():
        cells = [cell.strip() for cell in line.split("|")]
        place = cells.index("minutes") if "minutes" in cells else place if line.startswith("|") else None
        lines.append([cell for number, cell in enumerate(cells) if number != place])
    return lines


def curves_of(folder: Path) -> dict[str, Any]:
    """What TensorBoard shows of a folder: curve -> step and value of each point."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    logging.getLogger("tensorboard").setLevel(logging.ERROR)  # it tells of every start that hides what was before
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()
    tags = [tag for tag in events.Tags()["scalars"] if tag.rpartition("/")[2] not in TIMES]
    return {tag: [(point.step, point.value) for point in events.Scalars(tag)] for tag in tags}


def timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: timeless(one) for name, one in value.items() if name not in TIMES}
    return [timeless(one) for one in value] if isinstance(value, list) else value


def differences(expected: Any, found: Any, name: str = "") -> list[str]:
    """A line for whatever is missing, is left over, or has another content; within JSON its place."""
    if isinstance(expected, dict) and isinstance(found, dict):
        names = sorted(expected.keys() | found.keys())
        lists = (differences(expected.get(one), found.get(one), f"{name}/{one}") for one in names)
        return [line for lines in lists for line in lines]
    if expected == found:
        return []
    return [f"left over: {name}" if expected is None else f"missing: {name}" if found is None else f"another: {name}"]


if __name__ == "__main__":
    main()
