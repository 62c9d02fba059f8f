"""Measures training, scoring and trees side by side, writes results/*.json and renders README.md from them.

bash benchmarks/run.sh            # set-up, rows, base, and then this
PYTHONPATH=code python -m benchmarks.measure --effort quick --data data
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from basics.errors import UserError
from basics.files import find_repository
from basics.scripts import run_script
from benchmarks.contenders.trl_loop import SETTINGS
from benchmarks.inputs import DATASET, KINDS, Inputs, describe_machine
from benchmarks.report import RESULTS, render, write_readme, write_results
from benchmarks.rounds import say
from benchmarks.sections.grouping import measure_grouping
from benchmarks.sections.neighbours import measure_neighbours
from benchmarks.sections.profile import measure_profile
from benchmarks.sections.prompts import measure_prompts
from benchmarks.sections.retrieval import measure_retrieval
from benchmarks.sections.scoring import ScoringEffort, ScoringSection
from benchmarks.sections.training import Effort, TrainingSection, llama_shape
from benchmarks.sections.trees import measure_epochs, measure_trees
from benchmarks.workload import draw_workload

ALWAYS = ("trees", "prompts", "retrieval", "training", "profile", "neighbours", "scoring")
ON_DEMAND = ("epochs", "grouping")


@dataclass(frozen=True)
class Plan:
    """One effort of the whole measurement. minutes: on two CPU cores, for the announcement."""

    minutes: int
    kinds: Sequence[str]
    training: Effort
    trl_settings: Sequence[str]
    scoring: ScoringEffort
    sections: Sequence[str] = ALWAYS


LITTLE = Effort(steps=1, repetitions=1), (), ScoringEffort(rows=8, repetitions=1, adapter_steps=2)
ENOUGH = Effort(steps=2, repetitions=3), tuple(SETTINGS), ScoringEffort(rows=96, repetitions=3, adapter_steps=40)
PLANS = {
    "quick": Plan(15, ("window",), *LITTLE),
    "default": Plan(60, KINDS, *ENOUGH),
    "full": Plan(150, KINDS, *ENOUGH, (*ALWAYS, *ON_DEMAND)),
}
QUICK_RESULTS = RESULTS / "quick"
LOGS = QUICK_RESULTS / "logs"
Section = Callable[[Path], dict[str, Any]]


def main() -> None:
    arguments = parse_arguments()
    plan = PLANS[arguments.effort]
    inputs = Inputs(_find_base(arguments.base), arguments.data)
    if not inputs.has(DATASET, "window"):
        raise UserError(f"{arguments.data / DATASET / 'window'} holds no rows: benchmarks/run.sh writes them")
    results = QUICK_RESULTS if arguments.effort == "quick" else RESULTS
    sections = sections_of(plan, inputs, arguments.sections)
    say(f"effort {arguments.effort}: about {plan.minutes} minutes on two quiet CPU cores")
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["TMPDIR"] = scratch  # what a stopped contender leaves behind goes with it
        for name, measure in sections.items():
            began = time.perf_counter()
            measured = measure(Path(scratch))
            seconds = round(time.perf_counter() - began)
            write_results(results / f"{name}.json", measured | {"machine": describe_machine("cpu"), "took": seconds})
    if results == RESULTS:
        write_readme(RESULTS)
    sys.stdout.write(render(results) + "\n")


def sections_of(plan: Plan, inputs: Inputs, wanted: Sequence[str]) -> dict[str, Section]:
    """Name of a results file -> what measures it, given a folder for what is thrown away."""
    shape = _shape_of(inputs.base)

    def prepare(kind: str) -> TrainingSection:
        workload = draw_workload(inputs.train_rows(DATASET, kind), plan.training.steps)
        return TrainingSection(inputs.base, workload, shape, plan.training, LOGS / kind)

    def train(_: Path) -> dict[str, Any]:
        settings = prepare(plan.kinds[0]).measure_trl_settings(plan.trl_settings)
        return {
            "trl_settings": settings,
            "workloads": {kind: prepare(kind).measure(settings) for kind in plan.kinds},
        }

    sections: dict[str, Section] = {
        "trees": lambda _: measure_trees(inputs, plan.kinds),
        "prompts": lambda _: measure_prompts(inputs.encoder),
        "retrieval": lambda _: measure_retrieval(LOGS),
        "training": train,
        "profile": lambda _: measure_profile(inputs, shape, LOGS),
        "neighbours": lambda _: measure_neighbours(inputs, plan.training.repetitions, LOGS),
        "scoring": lambda scratch: ScoringSection(inputs, shape, plan.scoring, LOGS, scratch / "adapter").measure(),
        "epochs": lambda _: {"fractions": measure_epochs(inputs, LOGS)},
        "grouping": lambda scratch: measure_grouping(inputs, scratch),
    }
    return {name: sections[name] for name in wanted or plan.sections}


def parse_arguments() -> argparse.Namespace:
    """Read and check the command line."""
    parser = argparse.ArgumentParser(description="Measure this engine beside other ways to train and score.")
    parser.add_argument("--effort", choices=PLANS, default="default", help="quick shows that it runs, no more")
    parser.add_argument("--base", default="SmolLM2-135M", help="name or folder of a base (default: %(default)s)")
    parser.add_argument("--data", type=Path, default=find_repository() / "data", help="folder of <dataset>/<kind>")
    parser.add_argument("--sections", nargs="*", default=(), choices=(*ALWAYS, *ON_DEMAND), help="only these")
    return parser.parse_args()


def _find_base(name: str) -> str:
    from bases.load import resolve_base

    return resolve_base(name)


def _shape_of(base: str):
    from transformers import AutoConfig

    return llama_shape(AutoConfig.from_pretrained(base))


if __name__ == "__main__":
    run_script(main)
