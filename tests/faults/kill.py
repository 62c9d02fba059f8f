"""Kills jobs at random moments or at every change of a file, starts them again, and compares with one left alone.

    python tests/faults/kill.py --job train --times 20 --seed 1       # SIGKILL at random moments of its duration
    python tests/faults/kill.py --job rows --every-change             # SIGKILL in the middle of each change, in turn
    python tests/faults/kill.py --list

A job is a program, or several in turn, over tiny random bases (kill_jobs.py). Each time it is killed once, twice or
three times and started again by the same command until it ends. Every file below its folder is then compared, byte by
byte; of what tells of times (`TIMES`) the rest. The exit code is 1 when anything differs.
"""

import argparse
import json
import random
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kill_forks import End, Fault, Program, adopt_orphans, load_shim, run

# Of results, logs, manifests and records: when, how long it took, and how much memory this process has held.
TIMES = frozenset({"seconds", "mtime_ns", "date", "minutes", "peak_memory_mib"})
EVENTS = "events.out.tfevents."  # of TensorBoard: a file for each start, the curves go on
MOST_KILLS = 3
FOLDER = Path(tempfile.gettempdir()) / "killed"
SIGKILL = -9


def main() -> None:
    arguments = parse_arguments()
    load_shim(arguments.folder.absolute())
    from kill_jobs import JOBS

    if arguments.list:
        print("\n".join(f"{name}: {job.subject}" for name, job in JOBS.items()))
        return
    import_all()
    adopt_orphans()
    failed = False
    for name in arguments.job or JOBS:
        trial = Trial(arguments.folder.absolute() / name, JOBS[name])
        draw = random.Random(f"{arguments.seed}/{name}")
        faults = trial.every_change() if arguments.every_change else trial.moments(draw, arguments.times)
        failed |= trial.report(name, faults)
    sys.exit(failed)


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--job", action="append", help="only this one; may be repeated")
    parser.add_argument("--times", type=int, default=20, help="times that a job is killed (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the moments (default: %(default)s)")
    parser.add_argument("--every-change", action="store_true", help="kill once in the middle of every change")
    parser.add_argument(
        "--folder", type=Path, default=Path("/tmp/killed"), help="where jobs run (default: %(default)s)"
    )
    parser.add_argument("--list", action="store_true", help="print the jobs and stop")
    return parser.parse_args()


def import_all() -> None:
    """Whatever a job imports, before anything is forked."""
    import deepspeed  # noqa: F401
    import peft.tuners.lora  # noqa: F401
    import sklearn.metrics  # noqa: F401
    import transformers.models.glm.modeling_glm  # noqa: F401
    import transformers.models.llama.modeling_llama  # noqa: F401
    import transformers.optimization  # noqa: F401

    import export  # noqa: F401
    import main_new  # noqa: F401
    import own_dialogues.recognizer  # noqa: F401
    import training.deepspeed_engine  # noqa: F401


class Trial:
    """A job in a folder of its own: as it was left alone, and every time that something befell it."""

    def __init__(self, folder: Path, job: Any) -> None:
        self.job, self.place, self.inputs, self.beside = job, folder / "place", folder / "inputs", folder / "beside"
        shutil.rmtree(folder, ignore_errors=True)
        self.place.mkdir(parents=True)
        self._finish([Program(before=lambda: run_all(job.inputs(self.place)))])
        shutil.copytree(self.place, self.inputs, symlinks=True)
        self.alone = self._finish(job.programs(self.place))
        self.expected = snapshot(self.place)

    def _finish(self, programs: list[Program]) -> End:
        end = self.start(programs)
        if end.code:
            raise SystemExit(f"a job left alone ended with {end.code}:\n{end.told}")
        return end

    def start(self, programs: list[Program], fault: Fault | None = None) -> End:
        return run(programs, self.beside, self.place, fault)

    def begin(self) -> list[Program]:
        """Everything is as before the job, whose programs are returned."""
        shutil.rmtree(self.place)
        shutil.copytree(self.inputs, self.place, symlinks=True)
        return self.job.programs(self.place)

    def moments(self, draw: random.Random, times: int) -> Iterator[list[Fault]]:
        """Lists of faults, `times` in all: each befalls the job as it goes on after the one before."""
        while times:
            kills = min(times, draw.randint(1, MOST_KILLS))
            times -= kills
            yield [Fault(seconds=draw.uniform(0, self.alone.seconds)) for _ in range(kills)]

    def every_change(self) -> Iterator[list[Fault]]:
        """One fault at a time, at each change."""
        for number in range(1, self.alone.changes + 1):
            yield [Fault(change=number)]

    def report(self, name: str, trials: Iterator[list[Fault]]) -> bool:
        """Prints how often it was killed and what differed; whether anything did."""
        killed = ended = differed = 0
        for faults in trials:
            programs = self.begin()
            codes = [self.start(programs, fault).code for fault in faults]
            killed += codes.count(SIGKILL)
            ended += codes.count(0)
            last = self.start(programs)
            wrong = differences(self.expected, snapshot(self.place))
            wrong += [f"ended with {code}" for code in (*codes, last.code) if code not in (0, SIGKILL)]
            wrong += [last.told] if last.code else []
            if wrong:
                differed += 1
                print(f"{name}: after {faults}:", *wrong, sep="\n    ", flush=True)
        alone = f"{self.alone.seconds:.1f} s and {self.alone.changes} changes alone"
        print(f"{name}: {alone}; killed {killed} times, ended before {ended} times, {differed} differed", flush=True)
        return differed > 0


def run_all(programs: list[Program]) -> None:
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
    """The bytes; of JSON all but its times, of the log of reproduce.py all but its minutes."""
    data = path.read_bytes()
    try:
        if path.suffix == ".json":
            return timeless(json.loads(data))
        if path.suffix == ".jsonl":
            return [timeless(json.loads(line)) for line in data.splitlines()]
    except ValueError:
        return data
    return [line.rpartition(b"| ")[0] for line in data.splitlines()] if path.name == "LOG.md" else data


def curves_of(folder: Path) -> dict[str, Any]:
    """What TensorBoard shows of a folder: curve -> step and value of each point."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()
    tags = events.Tags()["scalars"]
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
