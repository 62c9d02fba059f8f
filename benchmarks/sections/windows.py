"""IEMOCAP with a window that moves every six turns beside one that moves every turn: this engine, rows a second."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from basics.markdown import render_table
from benchmarks.contenders.definition import Contender, Setting
from benchmarks.contenders.training import our_contender
from benchmarks.figures_of_merit import Spread
from benchmarks.inputs import Inputs
from benchmarks.rounds import Rounds
from benchmarks.sections.prompts import STEPS
from benchmarks.sections.training import Effort
from benchmarks.tables import in_range, machine_line
from benchmarks.workload import Workload, count_work, draw_workload
from data_utils.dialogues import find_original_data, load_dialogues
from data_utils.examples import RowSettings, build_examples
from data_utils.labels import DATASETS

COMPARED = "iemocap"


def measure_windows(inputs: Inputs, native: str, effort: Effort, logs: Path, dataset: str = COMPARED) -> dict[str, Any]:
    """A record of every step of the window: its work and the seconds of every round.

    Raises:
        UserError: there is no pickle of the dataset here.
    """
    ours = our_contender(native, effort.compiles)
    workloads = {f"window_step_{step}": _draw(inputs, dataset, step, effort) for step in STEPS}

    def setting(contender: Contender) -> Setting:
        return Setting(inputs.base, workloads[contender.name], contender.precision, "cpu", contender.options)

    rounds = Rounds([replace(ours, name=name) for name in workloads], setting, logs)
    rounds.run(1, effort.steps, effort.repetitions, lambda: None)
    return {
        "dataset": dataset,
        "precision": ours.precision,
        "windows": [
            rounds.describe(name)
            | {"window_step": step, "work": asdict(count_work(workload.steps)), "epoch": asdict(workload.epoch)}
            for step, (name, workload) in zip(STEPS, workloads.items(), strict=True)
        ],
    }


def _draw(inputs: Inputs, dataset: str, step: int, effort: Effort) -> Workload:
    """Steps that are as usual in an epoch of these rows."""
    examples = build_examples(
        RowSettings(dataset, window_step=step), load_dialogues(dataset, find_original_data(dataset))
    )
    rows = inputs.encoder(dataset).encode(examples["train"], DATASETS[dataset].labels)
    return draw_workload(rows, effort.steps, effort.rows_per_step)


def render_windows(results: Mapping[str, Any]) -> list[str]:
    """A table, and how many times as fast the other windows are, round by round."""
    section = results["windows"]
    ran = [one for one in section["windows"] if "error" not in one]
    speeds = [[one["work"]["rows"] / seconds for seconds in one["seconds"]] for one in ran]
    lines = [
        [
            str(one["window_step"]),
            f"{one['work']['nodes'] / one['work']['rows']:.1f}",
            f"{one['epoch']['nodes'] / one['epoch']['rows']:.1f}",
            str(Spread.of(rates)),
        ]
        for one, rates in zip(ran, speeds, strict=True)
    ]
    header = ["window_step", "distinct tokens a row", "in the epoch", "rows/s (range)"]
    parts = [
        f"#### A window that moves every six turns\n\n{machine_line(section)}",
        f"Training on {section['dataset']}, window 12, this engine in {section['precision']}:",
        render_table(header, lines, numbers=True),
    ]
    for one, rates in zip(ran[1:], speeds[1:], strict=True):
        times = Spread.of([rate / plain for rate, plain in zip(rates, speeds[0], strict=True)])
        parts.append(
            f"With `window_step={one['window_step']}` it trains **{times.median:.1f} times** ({in_range(times)}) as "
            "fast; other prompts, another condition."
        )
    return parts
