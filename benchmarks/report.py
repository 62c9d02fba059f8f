"""Results files -> the tables and the chart of README.md; equal results give equal text."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from basics.files import find_repository, write_atomically
from basics.markdown import render_table, replace_section
from benchmarks.chart import draw_speeds
from benchmarks.contenders import scoring as scoring_contenders
from benchmarks.contenders import training as training_contenders
from benchmarks.figures_of_merit import Result
from benchmarks.gpu.case import render_gpu
from benchmarks.sections.grouping import render_grouping
from benchmarks.sections.profile import render_profile
from benchmarks.sections.retrieval import render_retrieval
from benchmarks.sections.trees import render_trees
from benchmarks.tables import contender_rows, factor_lines, machine_line, training_table, work_line

HOME = find_repository() / "benchmarks"
RESULTS = HOME / "results"
README = HOME / "README.md"
CHART = HOME / "speed.png"
KIND_TITLES = {"window": "MELD, window 12", "predict": "MELD, window 12 with the prediction task"}
SCORING_HEADER = (
    "contender",
    "precision",
    "rows/s (range)",
    "useful tokens/s",
    "distinct tokens/s",
    "of the ceiling",
    "peak memory",
    "same label as ours",
    "right",
    "no label",
)


def write_results(path: Path, measured: Mapping[str, Any]) -> None:
    """One section as JSON."""
    write_atomically(path, json.dumps(measured, indent=2) + "\n")


def read_results(folder: Path) -> dict[str, Any]:
    """Section -> what was measured, of those that are there."""
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))}


def write_readme(folder: Path) -> None:
    """Puts the tables of `folder` between the markers of README.md and draws the chart beside it."""
    results = read_results(folder)
    if {"training", "scoring"} <= results.keys():
        draw_speeds(CHART, results)
    write_atomically(README, replace_section(README.read_text(encoding="utf-8"), render(folder)))


def render(folder: Path) -> str:
    """All tables of the results that are there, as Markdown."""
    results = read_results(folder)
    parts = [part for name, renderer in RENDERERS.items() if name in results for part in renderer(results)]
    return "\n\n".join(parts)


def _render_training(results: Result) -> list[str]:
    section = results["training"]
    chart = [f"![Samples a second of every contender]({CHART.name})"] if "scoring" in results else []
    parts = [f"### Training\n\n{machine_line(section)}", *chart]
    for kind, workload in section["workloads"].items():
        parts.append(work_line(KIND_TITLES[kind], workload))
        parts.append(training_table(workload))
        parts += factor_lines(workload, "trains", training_contenders.OURS, training_contenders.RIVALS)
        parts += _compile_lines(workload)
    return parts + _trl_lines(section["trl_settings"])


def _compile_lines(workload: Result) -> list[str]:
    """What compiling costs, once a run: the first step beside the others."""
    entry = workload["contenders"][training_contenders.OURS]
    if "error" in entry:
        return []
    return [f"Its first optimizer step, in which the layers are compiled, took {entry['warm_up']:.0f} s; once a run."]


def _trl_lines(settings: Mapping[str, float]) -> list[str]:
    listed = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in settings.items())
    return [f"Settings of TRL tried, one optimizer step each (bf16, head patched): {listed}."] if listed else []


def _render_scoring(results: Result) -> list[str]:
    section = results["scoring"]
    work, trained = section["work"], section["adapter"]

    def answers(entry: Result) -> list[str]:
        agreement = "" if entry["agreement"] is None else f"{entry['agreement']:.0%}"
        return [agreement, f"{entry['accuracy']:.0%}", str(entry["without_label"])]

    return [
        f"### Scoring\n\n{machine_line(section)}",
        f"{work['rows']} rows of MELD valid, {work['tokens']:,} tokens of prompts; {work['nodes']:,} distinct tokens, "
        f"all labels with them. The adapter was trained for {trained['steps']} steps before (loss "
        f"{trained['first_loss']:.2f} to {trained['last_loss']:.2f}), so that `generate` answers with labels and "
        "stops.",
        render_table(SCORING_HEADER, contender_rows(section, len(SCORING_HEADER), answers), numbers=True),
        *factor_lines(section, "scores", scoring_contenders.OURS, scoring_contenders.RIVALS),
    ]


# Section -> its part of README.md, in this order.
RENDERERS: Mapping[str, Callable[[Result], list[str]]] = {
    "training": _render_training,
    "profile": render_profile,
    "scoring": _render_scoring,
    "trees": render_trees,
    "grouping": render_grouping,
    "retrieval": render_retrieval,
    "gpu": render_gpu,
}
