"""Measures training, scoring and what stands around them side by side, writes results and renders the pages from them.

bash benchmarks/run.sh            # set-up, rows, base, and then this
PYTHONPATH=code:. python -m benchmarks.measure --effort quick --data data
"""

import os
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from bases.load import resolve_base
from basics.errors import UserError
from basics.scripts import run_script
from benchmarks.arguments import BASE, parse_arguments
from benchmarks.efforts import PLANS, Plan
from benchmarks.flops import ModelShape
from benchmarks.inputs import DATASET, Inputs
from benchmarks.machine import describe_machine, native_precision, slug_of
from benchmarks.report import HOME, RESULTS, SHARED, read_sections, render, write_pages, write_results
from benchmarks.rounds import say
from benchmarks.sections.cost import measure_epochs
from benchmarks.sections.first_command import measure_first_command
from benchmarks.sections.grouping import measure_grouping
from benchmarks.sections.neighbours import measure_neighbours
from benchmarks.sections.processing import measure_processing
from benchmarks.sections.products import measure_products
from benchmarks.sections.profile import measure_profile
from benchmarks.sections.prompts import measure_prompts
from benchmarks.sections.retrieval import measure_retrieval
from benchmarks.sections.scoring import ScoringSection
from benchmarks.sections.training import TrainingSection, llama_shape
from benchmarks.sections.trees import measure_trees
from benchmarks.sections.trl_search import fastest_options, measure_trl
from benchmarks.sections.windows import measure_windows
from benchmarks.worker import describe, stop_on_signals
from benchmarks.workload import draw_workload

QUICK_RESULTS = HOME / "quick"
LOGS = QUICK_RESULTS / "logs"
Section = Callable[[], Mapping[str, Any]]


def main() -> None:
    arguments = parse_arguments()
    stop_on_signals()
    plan = PLANS[arguments.effort]
    inputs = Inputs(resolve_base(arguments.base), arguments.data)
    if not inputs.has(DATASET, "window"):
        raise UserError(f"{arguments.data / DATASET / 'window'} holds no rows: benchmarks/run.sh writes them")
    # The pages name one base.
    results = RESULTS if arguments.effort != "quick" and Path(inputs.base).name == BASE else QUICK_RESULTS
    machine = describe_machine("cpu")  # before results change files that git knows
    own = results / slug_of(machine)
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["TMPDIR"] = scratch  # what a stopped contender leaves behind goes with it
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = f"{scratch}/compiled"  # all contenders compile, for these vectors
        measurement = Measurement(plan, inputs, native_precision(), machine, own, Path(scratch), arguments.contenders)
        say(
            f"effort {arguments.effort}: about {plan.minutes} minutes on two quiet CPU cores; all in {measurement.told}"
        )
        names = arguments.sections or plan.sections
        failed = [name for name in names if not measurement.keep(name, results if name in SHARED else own)]
    if results == RESULTS:
        write_pages(RESULTS)
    sys.stdout.write(render(results) + "\n")
    if failed:
        again = f"bash benchmarks/run.sh --sections {' '.join(failed)}"
        raise UserError(f"{', '.join(failed)}: not measured, see above; what was is kept. Once it is mended: {again}")


class Measurement:
    """What the sections have in common.

    native: the precision of this processor; machine: what results say of it; own: the folder of its results. only: the
    contenders that train beside this engine, none for all.
    """

    def __init__(
        self,
        plan: Plan,
        inputs: Inputs,
        native: str,
        machine: Mapping[str, Any],
        own: Path,
        scratch: Path,
        only: Sequence[str] = (),
    ) -> None:
        self.plan, self.inputs, self.native, self.machine, self.own = plan, inputs, native, machine, own
        self.scratch, self.only = scratch, only

    @property
    def told(self) -> str:
        """The precision, and why."""
        return "bf16" if self.native == "bf16" else "fp32, as this processor does not multiply in bf16"

    @cached_property
    def shape(self) -> ModelShape:
        from transformers import AutoConfig

        return llama_shape(AutoConfig.from_pretrained(self.inputs.base))

    @cached_property
    def sections(self) -> dict[str, Section]:
        """Name of a results file -> what measures it."""
        plan, inputs, native, scratch = self.plan, self.inputs, self.native, self.scratch
        return {
            "trees": partial(measure_trees, inputs),
            "prompts": partial(measure_prompts, inputs.encoder),
            "processing": partial(measure_processing, scratch, plan.training.repetitions),
            "retrieval": partial(measure_retrieval, LOGS, plan.searches),
            "trl_search": partial(measure_trl, inputs, native, LOGS, plan.compiled),
            "training": self._train,
            "profile": lambda: measure_profile(inputs, native, self.shape, LOGS),
            "products": lambda: measure_products(self.shape, native, LOGS),
            "windows": partial(measure_windows, inputs, native, plan.training, LOGS),
            "neighbours": partial(measure_neighbours, inputs, native, plan.training, LOGS),
            "scoring": lambda: ScoringSection(
                inputs, self.shape, plan.scoring, native, LOGS, scratch / "adapter"
            ).measure(),
            "first_command": partial(measure_first_command, inputs, scratch),
            "epochs": partial(measure_epochs, inputs, native, LOGS),
            "grouping": partial(measure_grouping, inputs, scratch),
        }

    def keep(self, name: str, folder: Path) -> bool:
        """Measures a section and writes its results to the folder; whether that went well.

        A section that fails says why and costs its own results alone: the others have taken most of an hour.
        """
        began = time.perf_counter()
        try:
            measured = self.sections[name]()
        except Exception as error:
            if not isinstance(error, UserError):
                traceback.print_exc()
            say(f"{name} failed: {describe(error)}")
            return False
        seconds = round(time.perf_counter() - began)
        say(f"{name} took {seconds} seconds")
        write_results(folder / f"{name}.json", {**measured, "machine": self.machine, "took": seconds})
        return True

    def _train(self) -> dict[str, Any]:
        """TRL with the settings that were fastest on this processor, where they have been searched for."""
        searched = read_sections(self.own).get("trl_search")
        trl = fastest_options(searched) if searched and self.plan.training.compiles else {}
        return {"workloads": {kind: self._section_of(kind).measure(trl) for kind in self.plan.kinds}}

    def _section_of(self, kind: str) -> TrainingSection:
        effort = self.plan.training
        workload = draw_workload(self.inputs.train_rows(DATASET, kind), effort.steps, effort.rows_per_step)
        return TrainingSection(self.inputs.base, workload, self.shape, effort, self.native, LOGS / kind, self.only)


if __name__ == "__main__":
    run_script(main)
