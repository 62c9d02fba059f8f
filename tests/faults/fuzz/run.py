"""Let a reader of the program read one hostile file after another, and tell which ended otherwise than they may.

    python tests/faults/fuzz/run.py --list
    python tests/faults/fuzz/run.py --target pickle --inputs 200000 --seed 1
    python tests/faults/fuzz/run.py --target pickle --inputs 20000 --engine atheris

mutator: changes to good files, drawn by a seed, see mutations.py. atheris: guided by the lines that a file reaches, up
to the first fault; it has to be installed (tests/faults/requirements.txt). Both are judged by oracle.py. The exit code
is 1 where a fault was found; with --keep FOLDER its first input of each place is written there. The mutator's input
number n is drawn by the seed and n alone: with --first a run that was stopped goes on.
"""

import argparse
import contextlib
import hashlib
import os
import random
import shutil
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Collection
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[3]
sys.path[:0] = [str(REPOSITORY / part) for part in ("code", "demo", "tests/helpers", "")]
MEMORY = Path("/dev/shm")
STEP = 20_000  # inputs between lines that say how far it is


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--list", action="store_true", help="print the names of all targets and exit")
    parser.add_argument("--target", help="names of readers, joined by commas; 'all' are all")
    parser.add_argument("--inputs", type=int, default=200_000, help="how many files each reads (default: 200000)")
    parser.add_argument("--first", type=int, default=0, help="how many of them the mutator leaves out (default: 0)")
    parser.add_argument("--seed", type=int, default=1, help="of the changes (default: 1)")
    parser.add_argument("--engine", choices=("mutator", "atheris"), default="mutator")
    parser.add_argument("--keep", type=Path, help="folder for the inputs that ended in a fault")
    arguments = parser.parse_args()
    if not 0 <= arguments.first < arguments.inputs:
        parser.error(f"--first {arguments.first}: allowed are 0 to {arguments.inputs - 1}")
    if arguments.first and arguments.engine == "atheris":
        parser.error("--first is for the mutator: atheris begins anew")
    return arguments


class Trial:
    """A reader, and how its inputs ended."""

    def __init__(self, name: str, target, keep: Path | None) -> None:
        self.name, self.target, self.keep = name, target, keep
        self.ends: Counter[str] = Counter()
        self.faults: Counter[tuple[str, str]] = Counter()
        self.folder = Path(tempfile.mkdtemp(prefix=f"fuzz-{name}-", dir=MEMORY if MEMORY.is_dir() else None))

    def read(self, data: bytes) -> None:
        """One input."""
        from tests.faults.fuzz.oracle import FAULT, try_input

        outcome = try_input(self.target.read, self.folder, data)
        self.ends[outcome.kind] += 1
        if outcome.kind != FAULT:
            return
        kind = outcome.told.partition(":")[0], outcome.where
        self.faults[kind] += 1
        if self.faults[kind] == 1:
            print(f"{self.name}: FAULT {outcome.told} at {outcome.where}", flush=True)
            if self.keep:
                self.keep.mkdir(parents=True, exist_ok=True)
                (self.keep / f"{self.name}-{hashlib.sha256(data).hexdigest()[:8]}").write_bytes(data)

    def tell(self, began: float) -> None:
        """How far it is."""
        ends = ", ".join(f"{kind} {self.ends[kind]:,}" for kind in sorted(self.ends))
        print(f"{self.name}: {self.ends.total():,} inputs: {ends}; {time.monotonic() - began:.0f} s", flush=True)

    def close(self) -> None:
        """Remove what the inputs were written to."""
        shutil.rmtree(self.folder, ignore_errors=True)


def mutate_all(trial: Trial, numbers: range, seed: int) -> None:
    """By the mutator."""
    from tests.faults.fuzz.mutations import mutate
    from tests.faults.fuzz.oracle import within_limits

    seeds, began = trial.target.seeds(), time.monotonic()
    with within_limits():
        for number in numbers:
            rng = random.Random(f"{seed}/{number}")
            trial.read(seeds[number] if number < len(seeds) else mutate(rng, seeds, trial.target.tokens))
            if (number + 1) % STEP == 0 and number + 1 < numbers.stop:
                trial.tell(began)


def guide(trial: Trial, numbers: range, seed: int) -> None:
    """By atheris, up to the first fault: in a process of its own, as it never returns."""
    if child := os.fork():
        _, status = os.waitpid(child, 0)
        if status:
            trial.faults["told above", ""] += 1
        return
    import atheris

    from tests.faults.fuzz.oracle import within_limits

    began = time.monotonic()

    def read(data: bytes) -> None:
        trial.read(data)
        if trial.faults or trial.ends.total() == len(numbers):
            trial.tell(began)
            os._exit(int(bool(trial.faults)))

    corpus = trial.folder / "corpus"
    corpus.mkdir()
    for number, data in enumerate(trial.target.seeds()):
        (corpus / str(number)).write_bytes(data)
    atheris.Setup([sys.argv[0], f"-seed={seed}", "-max_len=8192", "-timeout=60", str(corpus)], read)
    with within_limits():
        atheris.Fuzz()


def load(engine: str, wanted: Collection[str]) -> dict:
    """Name -> target; with atheris the readers are compiled so that it sees the lines that they reach."""
    from tests.faults.fuzz.targets import load_targets

    with _instrumented() if engine == "atheris" else contextlib.nullcontext():
        return load_targets(wanted)


def _instrumented() -> contextlib.AbstractContextManager:
    import atheris

    parts = (
        "basics",
        "dialogue_files",
        "data_utils",
        "bases",
        "results",
        "training",
        "own_dialogues",
        "experiment_utils",
    )
    return atheris.instrument_imports(include=[*parts, "scoring", "page_input"])


def main() -> int:
    """Fuzz the targets one by one."""
    arguments = parse_arguments()
    os.environ["HF_HUB_OFFLINE"] = "1"
    warnings.simplefilter("ignore")
    wanted = ("all",) if arguments.list else arguments.target.split(",")
    targets = load(arguments.engine, wanted)
    if arguments.list:
        print("\n".join(targets))
        return 0
    names = list(targets) if "all" in wanted else wanted
    sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - for all that follows
    faults = 0
    run: Callable[[Trial, range, int], None] = guide if arguments.engine == "atheris" else mutate_all
    for name in names:
        trial, began = Trial(name, targets[name], arguments.keep), time.monotonic()
        run(trial, range(arguments.first, arguments.inputs), arguments.seed)
        if arguments.engine == "mutator":
            trial.tell(began)
        trial.close()
        faults += trial.faults.total()
    return int(faults > 0)


if __name__ == "__main__":
    sys.exit(main())
