"""Results files -> the tables and the chart of README.md; equal results give equal text."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from basics.files import find_repository, write_atomically
from basics.markdown import replace_section
from benchmarks.chart import CHART, draw_speeds
from benchmarks.figures_of_merit import Result
from benchmarks.gpu.case import render_gpu
from benchmarks.gpu.profile_table import render_gpu_profile
from benchmarks.gpu.runs import render_gpu_runs
from benchmarks.sections.grouping import render_grouping
from benchmarks.sections.neighbours import render_neighbours
from benchmarks.sections.profile import render_profile
from benchmarks.sections.prompts import render_prompts
from benchmarks.sections.retrieval import render_retrieval
from benchmarks.sections.scoring import render_scoring
from benchmarks.sections.training import render_training
from benchmarks.sections.trees import render_trees

HOME = find_repository() / "benchmarks"
RESULTS = HOME / "results"
README = HOME / "README.md"


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


# Section -> its part of README.md, in this order.
RENDERERS: Mapping[str, Callable[[Result], list[str]]] = {
    "training": render_training,
    "profile": render_profile,
    "neighbours": render_neighbours,
    "scoring": render_scoring,
    "trees": render_trees,
    "prompts": render_prompts,
    "grouping": render_grouping,
    "retrieval": render_retrieval,
    "gpu": render_gpu,
    "gpu_profile": render_gpu_profile,
    "gpu_runs": render_gpu_runs,
}
