"""The same optimizer steps with the machine to themselves, and beside one program that never rests."""

import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from basics.markdown import render_table
from benchmarks.contenders.definition import Setting
from benchmarks.contenders.training import our_contender
from benchmarks.figures_of_merit import Spread
from benchmarks.inputs import DATASET, Inputs
from benchmarks.rounds import say
from benchmarks.sections.training import Effort
from benchmarks.tables import in_range, machine_line
from benchmarks.worker import Worker, usable_cores
from benchmarks.workload import draw_workload

STEPS = 4  # the engine looks for neighbours between micro-batches: the first one is slow
BUSY = "while True: pass"


@contextmanager
def busy_program() -> Iterator[subprocess.Popen]:
    """A process in an endless loop, for as long as this lasts."""
    process = subprocess.Popen([sys.executable, "-c", BUSY])
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def measure_neighbours(inputs: Inputs, native: str, effort: Effort, logs: Path) -> dict[str, Any]:
    """Seconds of the same steps, alone and beside a busy program in turns."""
    contender = our_contender(native, effort.compiles)
    workload = draw_workload(inputs.train_rows(DATASET, "window"), STEPS, effort.rows_per_step)
    setting = Setting(inputs.base, workload, contender.precision, "cpu", contender.options)
    seconds: dict[str, list[float]] = {"alone": [], "beside": []}
    with Worker(contender.build, setting, logs / "neighbours.log") as worker:
        worker.ready()
        worker.run(1)
        for repetition in range(effort.repetitions):
            say(f"alone and beside a busy program, {repetition + 1} of {effort.repetitions}")
            seconds["alone"].append(worker.run(STEPS).seconds)
            with busy_program():
                seconds["beside"].append(worker.run(STEPS).seconds)
    return {"seconds": seconds, "steps": STEPS, "cores": usable_cores(), "precision": contender.precision}


def render_neighbours(results: Mapping[str, Any]) -> list[str]:
    """Medians with their range, and how many times slower."""
    section = results["neighbours"]
    seconds, steps, cores = section["seconds"], section["steps"], section["cores"]
    rows = [
        [name, f"{median(of) / steps:.2f} ({min(of) / steps:.2f} to {max(of) / steps:.2f})"]
        for name, of in (
            ("with the machine to itself", seconds["alone"]),
            ("beside one busy program", seconds["beside"]),
        )
    ]
    pairs = zip(seconds["beside"], seconds["alone"], strict=True)
    times = Spread.of([beside / alone for beside, alone in pairs])
    told = (
        f"On {cores} cores it is **{times.median:.1f} times** ({in_range(times)}) slower beside one busy program, in "
        f"{section['precision']}."
    )
    table = render_table(["this engine", "seconds a step (range)"], rows, numbers=True)
    return [f"#### Beside other programs\n\n{machine_line(section)}", table, told]
