"""Kills and stops processes of whole runs at chosen moments, goes on with another number of them, and prints what came.

    python tests/faults/ranks.py --trials 20 --seed 0
    python tests/faults/ranks.py --launched 4        # by DeepSpeed's launcher, ZeRO-3
    python tests/faults/ranks.py --unequal           # more processes than rows

A trial is good when the run ends within a minute of the fault with one line that names the process, no process is left,
and --resume True, in another number of processes and with micro-batches of another size, ends with the answers of a run
that nobody disturbed. Its first step has the same loss and gradient to rounding: rows that are counted otherwise show
there, and not in what AdamW makes of them. That divides by the size of a gradient, so that rounding may move a weight
of next to none: log p may lie apart by twice what one process comes to that adds up the same rows in another order.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPOSITORY / "code"), str(REPOSITORY / "tests/helpers")]

import psutil  # noqa: E402

from basics.ports import find_free_ports  # noqa: E402
from data_utils.examples import RowSettings  # noqa: E402
from data_utils.row_folders import prepare_folder  # noqa: E402
from tiny_models import DATASET, main_command, save_base, save_rows, small_dialogues, write_pickle  # noqa: E402

WITHIN = 60  # seconds from the fault to the end of the run
SCORES_WITHIN = 1e-4  # or twice what another order of sums does to them, if that is more
BUDGETS = (0, 100, 400)  # tokens of a micro-batch with which a run is gone on with; 0: as before
FIRST_STEP_WITHIN = 1e-5  # of its loss and its gradient norm
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""}
# No dropout: its draws are of each process. Nothing is compiled: each process would be long at it.
FLAGS = {"num_train_epochs": 2, "lora_dropout": 0.0, "compile_layers": False, "save_steps": 1}


@dataclass(frozen=True)
class Run:
    """A run in a folder of its own."""

    base: Path
    rows: Path
    folder: Path

    def start(self, processes: int, launched: bool = False, **flags: object) -> subprocess.Popen:
        ours = {} if launched else {"processes": processes}
        command = ["code/main_new.py", *main_command(self.base, self.rows, self.folder, **FLAGS | ours | flags)]
        launcher = ["-m", "deepspeed.launcher.runner", "--num_accelerators", str(processes)]
        command = [*launcher, "--master_port", str(find_free_ports(1)[0]), *command] if launched else command
        with self.folder.with_suffix(".log").open("w") as told:
            return subprocess.Popen(
                [sys.executable, *command],
                cwd=REPOSITORY,
                env=ENVIRONMENT,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=told,
                start_new_session=True,
            )

    @property
    def told(self) -> list[str]:
        return self.folder.with_suffix(".log").read_text(errors="replace").splitlines()

    def finish(self, processes: int, **flags: object) -> None:
        code = self.start(processes, **flags).wait(300)
        if code:
            raise SystemExit("\n".join(["a run that nobody disturbed failed:", *self.told]))

    @property
    def log(self) -> list[dict]:
        """Its whole lines."""
        log = self.folder / "results" / "log.jsonl"
        whole = log.read_text().rpartition("\n")[0] if log.exists() else ""
        return [json.loads(line) for line in whole.splitlines()]

    @property
    def kinds(self) -> list[str]:
        """Of the lines of its log: `step` or `epoch`."""
        return [line["kind"] for line in self.log]

    def answers(self) -> dict[str, dict]:
        lines = (self.folder / "results" / "predictions.jsonl").read_text().splitlines()
        return {row["id"]: row for row in map(json.loads, lines)}


def during_start(run: Run, draws: random.Random) -> Callable[[], bool]:
    at = time.monotonic() + draws.uniform(0.5, 8)
    return lambda: time.monotonic() > at


def during_step(run: Run, draws: random.Random) -> Callable[[], bool]:
    steps = draws.randrange(1, 8)
    return lambda: run.kinds.count("step") >= steps


def during_saving(run: Run, draws: random.Random) -> Callable[[], bool]:
    """While a state is written; or just after, where that was too quick to be seen."""
    after, seen = draws.randrange(0, 7), set()
    state = run.folder / "results" / "resume.pt"

    def ready() -> bool:
        with suppress(FileNotFoundError):
            seen.add(state.stat().st_mtime_ns)
        return len(seen) > after or (len(seen) == after and state.with_name(".resume.pt.new").exists())

    return ready


def during_scoring(run: Run, draws: random.Random) -> Callable[[], bool]:
    epochs = draws.randrange(2)
    return lambda: run.kinds.count("step") == 4 * (epochs + 1) and run.kinds.count("epoch") == epochs


def after_training(run: Run, draws: random.Random) -> Callable[[], bool]:
    return lambda: run.kinds.count("epoch") == FLAGS["num_train_epochs"]


MOMENTS = {
    "start-up": during_start,
    "a step": during_step,
    "saving": during_saving,
    "scoring": during_scoring,
    "after training": after_training,
}


def wait_for(ready: Callable[[], bool], process: subprocess.Popen) -> bool:
    """False: the run has ended before."""
    while not ready():
        if process.poll() is not None:
            return False
        time.sleep(0.0005)
    return True


def ranks_of(first: int, launched: bool) -> list[psutil.Process]:
    """The processes of a run, rank by rank, as far as they have begun."""
    process = psutil.Process(first)
    if not launched:
        return [process, *process.children()]
    below = {}
    for one in process.children(recursive=True):
        with suppress(psutil.Error):  # the launcher starts others too, which end soon
            below |= {word: one for word in one.cmdline() if word.startswith("--local_rank=")}
    return [below[word] for word in sorted(below)]


def disturb(run: Run, draws: random.Random, moment: str, processes: int, launched: bool, number: signal.Signals) -> str:
    """One run that a process of it is killed or stopped in: what is wrong with its end; empty: nothing."""
    process = run.start(processes, launched)
    ready = MOMENTS[moment](run, draws)
    everyone: list[psutil.Process] = []

    def all_here() -> bool:
        everyone[:] = ranks_of(process.pid, launched) if process.poll() is None else []
        return len(everyone) == processes

    if not (wait_for(all_here, process) and wait_for(ready, process)):
        return "it ended before"
    rank = draws.randrange(0 if launched else 1, processes)
    began = time.monotonic()
    everyone[rank].send_signal(number)
    try:
        code = process.wait(WITHIN)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        return f"still there after {WITHIN} s ({moment}, rank {rank})"
    seconds = time.monotonic() - began
    left = psutil.wait_procs(everyone, timeout=20)[1]
    for one in left:
        one.kill()
    named = any(f"process {rank + 1} of {processes} was" in line for line in run.told)
    named = named or (launched and number == signal.SIGKILL)  # of which the launcher tells
    print(f"  {number.name} {moment}, rank {rank} of {processes}: code {code} after {seconds:.0f} s: {run.told[-1]}")
    if code == 0:
        return "" if moment == "after training" else "it ended well"
    problems = [f"code {code}"] * (code != 2 and not launched) + ["processes left"] * bool(left)
    problems += ["a traceback"] * any("Traceback" in line for line in run.told)
    return "; ".join(problems + ["no line that names it"] * (not named))


def compare(run: Run, undisturbed: Run, within: float = SCORES_WITHIN) -> str:
    """What differs in the first step or in the answers, log p by more than `within`; empty: nothing."""
    for quantity in ("loss", "gradient_norm"):
        found, wanted = run.log[0][quantity], undisturbed.log[0][quantity]
        if abs(found - wanted) > FIRST_STEP_WITHIN * wanted:
            return f"step 1: {quantity} {found}, not {wanted}"
    found, wanted = run.answers(), undisturbed.answers()
    if list(found) != list(wanted):
        return "other rows"
    for name, row in wanted.items():
        if found[name]["label"] != row["label"]:
            return f"{name}: another label"
        if (apart := furthest(found[name], row)) > within:
            return f"{name}: log p differs by {apart:.1e}, allowed is {within:.1e}"
    return ""


def furthest(row: dict, other: dict) -> float:
    """How far log p of a label of two answers lie apart."""
    return max(abs(other["scores"][label] - score) for label, score in row["scores"].items())


def leave_undisturbed(base: Path, rows: Path, folder: Path) -> tuple[Run, float]:
    """A run of one process, and how far from it log p may lie."""
    run, in_parts = Run(base, rows, folder / "undisturbed"), Run(base, rows, folder / "in_parts")
    run.finish(1)
    in_parts.finish(1, gradient_accumulation_steps=2)
    answers = run.answers()
    apart = max(furthest(row, answers[name]) for name, row in in_parts.answers().items())
    return run, max(SCORES_WITHIN, 2 * apart)


def try_faults(folder: Path, trials: int, seed: int, moments: Sequence[str], launched: bool) -> Counter:
    base, rows = save_base(folder / "base"), save_rows(folder)
    undisturbed, within = leave_undisturbed(base, rows, folder)
    found: Counter = Counter()
    config = folder / "zero3.json"
    config.write_text(json.dumps({"zero_optimization": {"stage": 3, "stage3_param_persistence_threshold": 0}}))
    if launched:
        FLAGS["deepspeed_config"] = config
    for trial in range(trials):
        draws = random.Random(f"{seed}/{trial}")
        moment = moments[trial % len(moments)]
        number = signal.SIGSTOP if trial // len(moments) % 2 else signal.SIGKILL
        number = draws.choice((signal.SIGKILL, signal.SIGSTOP)) if launched else number
        run = Run(base, rows, folder / f"trial{trial}")
        processes = 2 if launched else draws.choice((2, 3))
        wrong = disturb(run, draws, moment, processes, launched, number)
        if not wrong:
            others = draws.choice([count for count in (1, 2, 3) if count != processes])
            budget = draws.choice(BUDGETS)
            flags = {"deepspeed_config": "none"} if launched else {}
            run.finish(others, resume=True, token_budget=budget, **flags)
            wrong = compare(run, undisturbed, within)
            wrong = wrong and f"gone on in {others}, {budget} tokens a micro-batch: {wrong}"
        found[number.name, moment, wrong or "good"] += 1
        if wrong:
            print(f"  trial {trial}: {wrong}", *run.told[-5:], sep="\n    ")
    return found


def try_unequal(folder: Path) -> Counter:
    """Three processes where there are fewer rows, or fewer dialogues, than processes."""
    base, found = save_base(folder / "base"), Counter()
    for name, sizes in {
        "one row each": {"train": (1, 1), "valid": (1, 1), "test": (1, 1)},
        "two rows to train on": {"train": (1, 2), "valid": (1, 1), "test": (5, 2)},
        "one long dialogue": {"train": (1, 9), "valid": (1, 9), "test": (1, 9)},
        "nine rows in steps of eight": {"train": (1, 9), "valid": (2, 1), "test": (4, 1)},
    }.items():
        own = folder / name.replace(" ", "_")
        write_pickle(own / "original", {split: small_dialogues(split, *size) for split, size in sizes.items()})
        settings = RowSettings(DATASET, historical_window=2, check_counts=False)
        rows = prepare_folder(settings, own / "original", own / "data")
        alone, within = leave_undisturbed(base, rows, own)
        for processes in (2, 3):
            together = Run(base, rows, own / f"of{processes}")
            together.finish(processes)
            found["none", f"{name}, {processes} processes", compare(together, alone, within) or "good"] += 1
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=0, help="runs that start their processes by themselves")
    parser.add_argument("--launched", type=int, default=0, help="runs that DeepSpeed's launcher starts")
    parser.add_argument("--unequal", action="store_true", help="more processes than rows or dialogues")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--at", nargs="+", choices=MOMENTS, default=list(MOMENTS), help="moments, in turn")
    arguments = parser.parse_args()
    found: Counter = Counter()
    with tempfile.TemporaryDirectory() as folder:
        if arguments.unequal:
            found += try_unequal(Path(folder) / "unequal")
        for name, trials, launched in (("own", arguments.trials, False), ("launched", arguments.launched, True)):
            if trials:
                found += try_faults(Path(folder) / name, trials, arguments.seed, arguments.at, launched)
    for (fault, moment, came), count in sorted(found.items()):
        print(f"| {fault} | {moment} | {count} | {came} |")
    sys.exit(any(came not in ("good", "it ended before") for _, _, came in found))


if __name__ == "__main__":
    main()
