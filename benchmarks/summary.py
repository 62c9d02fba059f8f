"""What README.md says of speed: a chart and the factors of every processor, and the fastest whole run on a GPU."""

from collections.abc import Mapping, Sequence
from typing import Any

from basics.words import counted
from benchmarks.chart import CHART
from benchmarks.contenders import scoring, training
from benchmarks.contenders.definition import ours
from benchmarks.figures_of_merit import Result, Spread, factors
from benchmarks.tables import in_range

OURS_EARLIER = "this engine at"
WIDTH = 430  # pixels of a chart


def render_summary(processors: Mapping[str, Mapping[str, Any]], shared: Mapping[str, Any]) -> str:
    """Markdown; of what was not measured nothing is said.

    processors: folder -> sections. shared: section -> what no CPU changes.
    """
    shown = {name: sections for name, sections in processors.items() if {"training", "scoring"} <= sections.keys()}
    lines = [*filter(None, map(_describe, shown.values())), *_on_a_gpu(shared.get("gpu_runs", {}))]
    told = "\n".join(f"- {line}" for line in lines)
    if not shown:
        return told
    most = max(shown, key=lambda name: len(shown[name]))
    processor = shown[most]["training"]["machine"]["processor"]
    chart = f'<img src="benchmarks/results/{most}/{CHART}" width="{WIDTH}" '
    return f'{chart}alt="Samples a second of every contender on an {processor}">\n\n{told}'


def _describe(sections: Mapping[str, Any]) -> str:
    """Of a processor; empty where neither training nor scoring has a rival that ran."""
    machine, trained = sections["training"]["machine"], sections["training"]["workloads"]["window"]
    factors_of = {
        "training": _released_and_strongest(_rated(trained, training)),
        "scoring": _strongest(_rated(sections["scoring"], scoring)),
    }
    told = {name: ", ".join(found) for name, found in factors_of.items() if found}
    if not told:
        return ""
    verbs = {"training": "training goes", "scoring": "scoring"}
    parts = "; ".join(f"{verbs[name]} {found}" for name, found in told.items())
    commits = " and ".join(dict.fromkeys(sections[name]["machine"]["commit"] for name in told))
    where = ", ".join(filter(None, (machine["processor"], machine["unit"], counted(machine["cores"], "core"))))
    measured = f"MELD; medians of the rounds, and their range; commit {commits}"
    return f"{where}, {trained['precision']}: {parts} ({measured})."


def _rated(section: Result, table) -> list[tuple[str, Spread]]:
    """(rival, how many times as fast this engine is) of a section, without this engine as it was."""
    found = factors(section, ours(section["precision"]), table.rivals(section["precision"]))
    return [(title, of) for title, of in found.items() if not title.startswith(OURS_EARLIER)]


def _released_and_strongest(rated: Sequence[tuple[str, Spread]]) -> list[str]:
    """What is said of the released program's loop, where it ran, and of the strongest of the others."""
    released = [one for one in rated if one[0] == training.RELEASED_LOOP]
    return [*map(_told, released), *_strongest([one for one in rated if one not in released])]


def _strongest(rated: Sequence[tuple[str, Spread]]) -> list[str]:
    """What is said of the rival that comes nearest, where there is one."""
    found = sorted(rated, key=lambda pair: pair[1].median)
    return [f"{_told(one)}{', the strongest rival' * (len(found) > 1)}" for one in found[:1]]


def _told(rated: tuple[str, Spread]) -> str:
    title, of = rated
    return f"**{of.median:.1f}** times ({in_range(of)}) as fast as {title}"


def _on_a_gpu(runs: Mapping[str, Any]) -> list[str]:
    """The run with a score that took least time a row."""
    scored = [run for run in runs.values() if run["weighted_f1"] is not None]
    if not scored:
        return []
    best = min(scored, key=lambda run: run["seconds"] / run["rows"] / run["epochs"])
    return [
        f"{best['device']}: {best['epochs']} epochs of MELD's {best['rows']:,} rows in {best['seconds']:.0f} seconds."
    ]
