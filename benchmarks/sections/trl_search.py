"""The settings of TRL that are fastest here: batch, padding and compiling crossed, for its own head and the patched.

TRL compiles whole models, which takes more than a minute each time: the usual benchmark compiles the fastest of each
head alone, the full one all.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

from basics.errors import UserError
from basics.markdown import render_table
from benchmarks.contenders.definition import Contender, Outcome, Setting
from benchmarks.contenders.reference import check_against_reference, compute_reference
from benchmarks.contenders.training import TRL
from benchmarks.figures_of_merit import Result
from benchmarks.inputs import DATASET, Inputs
from benchmarks.rounds import say
from benchmarks.tables import machine_line
from benchmarks.worker import ContenderFailed, Worker
from benchmarks.workload import draw_workload

ROWS = 16  # of the one step that is timed, after one that warms up: a setting is judged in seconds
SIZES = (4, 8, 16)
CHOICES = {"size": SIZES, "padding_free": (False, True), "targets_only": (False, True), "compile": (False, True)}
HEADS = {False: "its own head", True: "head patched"}


def crossed() -> list[dict[str, Any]]:
    """Every combination, as options of the contender."""
    return [dict(zip(CHOICES, values, strict=True)) for values in product(*CHOICES.values())]


def measure_trl(inputs: Inputs, native: str, logs: Path, compiled: int) -> Result:
    """Seconds of one step of every combination; what failed, or has another loss, has its error instead.

    compiled: how many combinations of each head are compiled too, those that are fastest without.
    """
    workload = draw_workload(inputs.train_rows(DATASET, "window"), 1, ROWS)
    setting = Setting(inputs.base, workload, native, "cpu", {})
    expected = compute_reference(setting, logs)["token"]
    plain = [_try(replace(setting, options=one), expected, logs) for one in crossed() if not one["compile"]]
    leading = [one for head in CHOICES["targets_only"] for one in _ranked(plain, head)[:compiled]]
    return {
        "precision": native,
        "rows": len(workload.rows),
        "tried": plain + [_try(replace(setting, options=_options(one, True)), expected, logs) for one in leading],
    }


def _try(setting: Setting, expected: Outcome, logs: Path) -> dict[str, Any]:
    """The options with the seconds of a step, or with an error."""
    options = setting.options
    say(f"TRL, {', '.join(f'{name} {value}' for name, value in options.items())}")
    contender = Contender("trl", "TRL", setting.precision, "token", TRL, options)
    try:
        with Worker(TRL, setting, logs / "trl_search.log") as worker:
            worker.ready()
            worker.run(1)
            outcome = worker.run(1)
        check_against_reference(contender, outcome, expected)
    except (ContenderFailed, UserError) as error:
        say(f"TRL: {error}")
        return {**options, "error": str(error)}
    return {**options, "seconds": outcome.seconds}


def _ranked(tried: Sequence[Result], targets_only: bool) -> list[Result]:
    """Of one head, what ran, the fastest first."""
    ran = [one for one in tried if "seconds" in one and one["targets_only"] == targets_only]
    return sorted(ran, key=lambda one: one["seconds"])


def _options(one: Result, compiled: bool) -> dict[str, Any]:
    return {name: one[name] for name in CHOICES} | {"compile": compiled}


def fastest_options(section: Result) -> dict[bool, dict[str, Any]]:
    """targets_only -> the options that took least time, of those that ran."""
    ranked = {head: _ranked(section["tried"], head) for head in HEADS}
    return {head: _options(found[0], found[0]["compile"]) for head, found in ranked.items() if found}


def render_trl(results: Result) -> list[str]:
    """A table of rows a second: a line for each batch, a column for each head, compiled or not."""
    section = results["trl_search"]
    found = {(one["size"], one["padding_free"], one["compile"], one["targets_only"]): one for one in section["tried"]}
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
        "fastest of each head is the contender above. Compiled was what led without.",
        render_table(header, lines, numbers=True),
    ]


def _cell(one: Result | None, section: Result) -> str:
    return f"{section['rows'] / one['seconds']:.2f}" if one and "seconds" in one else "-"
