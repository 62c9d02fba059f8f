"""Whole epochs over parts of MELD's training rows, measured: only with --full."""

from pathlib import Path
from typing import Any

from benchmarks.contenders.definition import Setting
from benchmarks.contenders.training import BY_NAME, OURS
from benchmarks.inputs import DATASET, Inputs
from benchmarks.rounds import say
from benchmarks.sections.trees import FRACTIONS
from benchmarks.worker import Worker
from benchmarks.workload import SEED, Workload
from data_utils.row_sets import draw_fraction


def measure_epochs(inputs: Inputs, logs: Path) -> dict[str, Any]:
    """Fraction -> rows and seconds of one epoch with this engine, evaluation and saving left out."""
    rows = inputs.train_rows(DATASET, "window")
    contender = BY_NAME[OURS]
    measured = {}
    for name, share in FRACTIONS.items():
        workload = Workload(draw_fraction(rows, share, SEED))
        say(f"training on {len(workload.rows)} rows of {DATASET}")
        setting = Setting(inputs.base, workload, contender.precision, "cpu", contender.options)
        with Worker(contender.build, setting, logs / "epochs.log") as worker:
            worker.ready()
            outcome = worker.run(len(workload.steps))
        measured[name] = {"rows": len(workload.rows), "seconds": outcome.seconds}
    return measured
