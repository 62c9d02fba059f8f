"""Results files -> what benchmarks/README.md and README.md say of speed, and the charts; equal results, equal text."""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from basics.files import find_repository, write_atomically
from basics.markdown import replace_section
from benchmarks.chart import CHART, draw_speeds
from benchmarks.figures_of_merit import Result
from benchmarks.gpu.case import render_gpu
from benchmarks.gpu.profile_table import render_gpu_profile
from benchmarks.gpu.runs import render_gpu_runs
from benchmarks.sections.cost import render_cost
from benchmarks.sections.first_command import render_first_command
from benchmarks.sections.grouping import render_grouping
from benchmarks.sections.neighbours import render_neighbours
from benchmarks.sections.processing import render_processing
from benchmarks.sections.products import render_products
from benchmarks.sections.profile import render_profile
from benchmarks.sections.prompts import render_prompts
from benchmarks.sections.retrieval import render_retrieval
from benchmarks.sections.scoring import render_scoring
from benchmarks.sections.training import render_training
from benchmarks.sections.trees import render_trees
from benchmarks.sections.trl_search import render_trl
from benchmarks.sections.windows import render_windows
from benchmarks.summary import render_summary

HOME = find_repository() / "benchmarks"
RESULTS = HOME / "results"
README, FRONT_PAGE = HOME / "README.md", find_repository() / "README.md"
SPEED = "speed"  # marks of the section in FRONT_PAGE
DRAWN = {"training", "scoring"}  # sections that a chart needs

Renderer = Callable[[Result], list[str]]
# What it needs -> a part of a processor's results, in this order; it is given the shared ones too.
OF_A_PROCESSOR: tuple[tuple[set[str], Renderer], ...] = (
    ({"training"}, render_training),
    ({"trl_search"}, render_trl),
    ({"training", "trees"}, render_cost),
    ({"profile"}, render_profile),
    ({"products"}, render_products),
    ({"windows"}, render_windows),
    ({"neighbours"}, render_neighbours),
    ({"scoring"}, render_scoring),
    ({"first_command"}, render_first_command),
    ({"processing"}, render_processing),
    ({"retrieval"}, render_retrieval),
)
# Section -> what no CPU changes, or what a GPU did: results/*.json.
SHARED: Mapping[str, Renderer] = {
    "trees": render_trees,
    "prompts": render_prompts,
    "grouping": render_grouping,
    "gpu": render_gpu,
    "gpu_profile": render_gpu_profile,
    "gpu_runs": render_gpu_runs,
}


def write_results(path: Path, measured: Mapping[str, Any]) -> None:
    """One section as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, json.dumps(measured, indent=2) + "\n")


def read_sections(folder: Path) -> dict[str, Any]:
    """Section -> what was measured, of those whose files lie in the folder itself."""
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))}


def read_processors(folder: Path) -> dict[str, dict[str, Any]]:
    """Name of its folder -> sections of every processor that was measured."""
    found = {path.name: read_sections(path) for path in sorted(folder.iterdir()) if path.is_dir()}
    return {name: sections for name, sections in found.items() if sections}


def write_pages(folder: Path) -> None:
    """Puts what `folder` holds between the marks of both pages, and draws the charts."""
    for name, sections in read_processors(folder).items():
        if sections.keys() >= DRAWN:
            draw_speeds(folder / name / CHART, sections)
    for page, marks, text in pages(folder):
        write_atomically(page, replace_section(page.read_text(encoding="utf-8"), text, name=page.name, marks=marks))


def pages(folder: Path) -> Iterator[tuple[Path, str, str]]:
    """(page, marks, the text between them)."""
    yield README, "results", render(folder)
    yield FRONT_PAGE, SPEED, render_summary(read_processors(folder), read_sections(folder))


def render(folder: Path) -> str:
    """All tables of the results that are there, as Markdown: processor by processor, then what they share."""
    shared = read_sections(folder)
    parts = []
    for name, sections in read_processors(folder).items():
        parts.append(f"### {title_of(sections)}")
        if sections.keys() >= DRAWN:
            parts.append(f"![Samples a second of every contender](results/{name}/{CHART})")
        results = shared | sections
        # What is shared alone says nothing of this processor.
        wanted = [of for needed, of in OF_A_PROCESSOR if needed <= results.keys() and needed & sections.keys()]
        parts += [part for renderer in wanted for part in renderer(results)]
    parts += [part for name, renderer in SHARED.items() if name in shared for part in renderer(shared)]
    return "\n\n".join(parts)


def title_of(sections: Mapping[str, Any]) -> str:
    """The processor that sections were measured on, and what it multiplies in."""
    machine = next(iter(sections.values()))["machine"]
    return ", ".join(filter(None, (machine["processor"], machine["unit"])))
