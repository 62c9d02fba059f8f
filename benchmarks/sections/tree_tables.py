"""The tables about trees: how much rows share, what building costs, and the cost of an epoch against its rows."""

from collections.abc import Iterable, Mapping
from typing import Any

from basics.markdown import render_table
from benchmarks.contenders.training import OURS, RIVALS
from benchmarks.figures_of_merit import Merit, Result, merits

KIND_TITLES = {"window": "window 12", "predict": "with the prediction task"}


def render_trees(results: Result) -> list[str]:
    """Tokens per distinct token, then a table for each kind of rows."""
    section = results["trees"]
    return [
        "### What rows share\n\nTokens per distinct token over an epoch of optimizer steps of 32 rows, "
        "by how many rows of a dialogue stay together (`--rows_per_dialogue`):",
        _render_sharing(section["sharing"]),
        "### Cost against work\n\nParts of MELD's training rows, drawn as `--data_percent` draws them. Trees are "
        "planned, split and built in one thread, ahead of the model. Epochs follow from the rates above.",
        *[_render_fractions(kind, results) for kind in section["fractions"]],
    ]


def _render_sharing(sharing: Result) -> str:
    rows = [
        [dataset, KIND_TITLES[kind], *[f"{ratio:.2f}" for ratio in ratios.values()]]
        for dataset, kinds in sharing.items()
        for kind, ratios in kinds.items()
    ]
    names = next((list(ratios) for kinds in sharing.values() for ratios in kinds.values()), [])
    return render_table(["dataset", "rows", *names], rows, numbers=True)


def _render_fractions(kind: str, results: Result) -> str:
    """One row for each part: sizes, seconds of building, minutes of an epoch."""
    found = _merits_of(kind, results)
    measured = results.get("epochs", {}).get("fractions", {}) if kind == "window" else {}
    rivals = {title: _fastest(names, found) for title, names in RIVALS.items()}
    rivals = {title: merit for title, merit in rivals.items() if merit}
    header = [KIND_TITLES[kind], "rows", "tokens", "distinct", "building"]
    header += ["epoch, this engine"] if OURS in found else []
    header += ["measured"] if measured else []
    header += [f"epoch, {title}" for title in rivals]
    rows = []
    for name, part in results["trees"]["fractions"][kind].items():
        cells = [f"{name} of train", f"{part['rows']:,}", f"{part['tokens']:,}", f"{part['nodes']:,}"]
        cells.append(f"{part['seconds']:.1f} s")
        cells += [_minutes(part["nodes"] / found[OURS].nodes)] if OURS in found else []
        cells += [_minutes(measured[name]["seconds"])] if measured else []
        cells += [_minutes(part["rows"] / merit.samples.median) for merit in rivals.values()]
        rows.append(cells)
    return render_table(header, rows, numbers=True)


def _merits_of(kind: str, results: Result) -> Mapping[str, Merit]:
    workloads: Mapping[str, Any] = results.get("training", {}).get("workloads", {})
    return merits(workloads[kind]) if kind in workloads else {}


def _fastest(names: Iterable[str], found: Mapping[str, Merit]) -> Merit | None:
    return max((found[name] for name in names if name in found), key=lambda one: one.samples.median, default=None)


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.1f} min"
