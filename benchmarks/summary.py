"""What README.md says of speed: a chart and the factors of every processor, and the fastest whole run on a GPU."""

from collections.abc import Mapping
from typing import Any

from benchmarks.chart import CHART
from benchmarks.contenders import scoring, training
from benchmarks.contenders.definition import ours
from benchmarks.figures_of_merit import Result, factors
from benchmarks.tables import in_range

WIDTH = 430  # pixels of a chart


def render_summary(processors: Mapping[str, Mapping[str, Any]], shared: Mapping[str, Any]) -> str:
    """Markdown; of what was not measured nothing is said.

    processors: folder -> sections. shared: section -> what no CPU changes.
    """
    shown = {name: sections for name, sections in processors.items() if {"training", "scoring"} <= sections.keys()}
    charts = [
        f'<img src="benchmarks/results/{name}/{CHART}" width="{WIDTH}" alt="Samples a second of every contender on an '
        f'{sections["training"]["machine"]["processor"]}">'
        for name, sections in shown.items()
    ]
    lines = [*map(_describe, shown.values()), *_on_a_gpu(shared.get("gpu_runs", {}))]
    return "\n\n".join([" ".join(charts), "\n".join(f"- {line}" for line in lines)])


def _describe(sections: Mapping[str, Any]) -> str:
    machine, trained = sections["training"]["machine"], sections["training"]["workloads"]["window"]
    scored = sections["scoring"]
    parts = [
        f"training goes {_listed(trained, training)}",
        f"scoring {_listed(scored, scoring)}",
    ]
    commits = " and ".join(dict.fromkeys(sections[name]["machine"]["commit"] for name in ("training", "scoring")))
    where = ", ".join(filter(None, (machine["processor"], machine["unit"], f"{machine['cores']} cores")))
    told = f"{where}, {trained['precision']}: {'; '.join(parts)}"
    return f"{told} (MELD; medians of the rounds, and their range; commit {commits})."


def _listed(section: Result, table) -> str:
    found = factors(section, ours(section["precision"]), table.rivals(section["precision"]))
    told = [f"**{of.median:.1f}** times ({in_range(of)}) as fast as {title}" for title, of in found.items()]
    return ", ".join(told)


def _on_a_gpu(runs: Mapping[str, Any]) -> list[str]:
    """The run with a score that took least time a row."""
    scored = [run for run in runs.values() if run["weighted_f1"] is not None]
    if not scored:
        return []
    best = min(scored, key=lambda run: run["seconds"] / run["rows"] / run["epochs"])
    return [
        f"{best['device']}: {best['epochs']} epochs of MELD's {best['rows']:,} rows in {best['seconds']:.0f} seconds."
    ]
