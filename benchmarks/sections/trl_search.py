"""The settings of TRL that are fastest here: batch, padding and compiling crossed, for its own head and the patched."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from basics.markdown import render_table
from benchmarks.contenders.definition import Setting
from benchmarks.contenders.training import TRL
from benchmarks.figures_of_merit import Result
from benchmarks.inputs import DATASET, Inputs
from benchmarks.rounds import say
from benchmarks.tables import machine_line
from benchmarks.worker import ContenderFailed, Worker
from benchmarks.workload import draw_workload

ROWS = 16  # of the one step that is timed, after one that warms up: a setting is judged in seconds
SIZES = (4, 8, 16)
CHOICES = {"size": SIZES, "padding_free": (False, True), "compile": (False, True), "targets_only": (False, True)}
HEADS = {False: "its own head", True: "head patched"}


def crossed(choices: Mapping[str, Sequence[Any]] = CHOICES) -> Iterator[dict[str, Any]]:
    """Every combination, as options of the contender."""
    for values in product(*choices.values()):
        yield dict(zip(choices, values, strict=True))


def measure_trl(inputs: Inputs, native: str, logs: Path, choices: Mapping[str, Sequence[Any]] = CHOICES) -> Result:
    """Seconds of one step of every combination; what failed has its error instead."""
    workload = draw_workload(inputs.train_rows(DATASET, "window"), 1, ROWS)
    tried = []
    for options in crossed(choices):
        say(f"TRL, {', '.join(f'{name} {value}' for name, value in options.items())}")
        setting = Setting(inputs.base, workload, native, "cpu", options)
        try:
            with Worker(TRL, setting, logs / "trl_search.log") as worker:
                worker.ready()
                worker.run(1)
                tried.append(options | {"seconds": worker.run(1).seconds})
        except ContenderFailed as error:
            say(f"TRL: {error}")
            tried.append(options | {"error": str(error)})
    return {"precision": native, "rows": len(workload.rows), "tried": tried}


def fastest_options(section: Result) -> dict[bool, dict[str, Any]]:
    """targets_only -> the options that took least time, of those that ran."""
    ran = sorted((one for one in section["tried"] if "seconds" in one), key=lambda one: -one["seconds"])
    return {one["targets_only"]: {name: one[name] for name in CHOICES} for one in ran}


def render_trl(results: Result) -> list[str]:
    """A table of rows a second: a line for each batch, a column for each head, compiled or not."""
    section = results["trl_search"]
    found = {tuple(one[name] for name in CHOICES): one for one in section["tried"]}
    columns = list(product(CHOICES["compile"], HEADS))
    header = ["rows a micro-step", *[f"{HEADS[head]}{', compiled' if compiled else ''}" for compiled, head in columns]]
    lines = [
        [
            f"{size}{', padding-free' if free else ''}",
            *[_cell(found.get((size, free, *one)), section) for one in columns],
        ]
        for size, free in dict.fromkeys((size, free) for size, free, *_ in found)
    ]
    return [
        f"#### The settings of TRL\n\n{machine_line(section)}",
        f"Rows a second in {section['precision']}, one step of {section['rows']} rows after one that warms up; the "
        "fastest of each head is the contender above.",
        render_table(header, lines, numbers=True),
    ]


def _cell(one: Result | None, section: Result) -> str:
    return f"{section['rows'] / one['seconds']:.2f}" if one and "seconds" in one else "-"
