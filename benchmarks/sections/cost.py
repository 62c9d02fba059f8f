"""The cost of an epoch against its rows: from the rates that were measured, and measured itself with --full."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from basics.markdown import render_table
from benchmarks.contenders.definition import Setting, ours
from benchmarks.contenders.training import our_contender, rivals
from benchmarks.figures_of_merit import Result, fastest, merit_of, merits
from benchmarks.inputs import DATASET, Inputs
from benchmarks.rounds import say
from benchmarks.sections.trees import FRACTIONS, KIND_TITLES
from benchmarks.worker import Worker
from benchmarks.workload import SEED, Workload
from data_utils.draws import Draw, draw_rows


def measure_epochs(inputs: Inputs, native: str, logs: Path) -> dict[str, Any]:
    """Fraction -> rows and seconds of one epoch with this engine; evaluation, saving and compiling are left out."""
    rows = inputs.train_rows(DATASET, "window")
    contender = our_contender(native)
    measured = {}
    for name, share in FRACTIONS.items():
        workload = Workload(draw_rows(rows, Draw(share, SEED)))
        say(f"training on {len(workload.rows)} rows of {DATASET}")
        setting = Setting(inputs.base, workload, contender.precision, "cpu", contender.options)
        with Worker(contender.build, setting, logs / "epochs.log") as worker:
            worker.ready()
            worker.run(1)  # compiles, which the rates beside it leave out too
            outcome = worker.run(len(workload.steps))
        measured[name] = {"rows": len(workload.rows), "seconds": outcome.seconds}
    return {"fractions": measured}


def render_cost(results: Result) -> list[str]:
    """A table for each kind of rows whose rates were measured."""
    workloads = results["training"]["workloads"]
    counted: Mapping[str, Any] = results["trees"]["fractions"]
    tables = [_render_fractions(kind, results) for kind in counted if kind in workloads]
    return [
        "#### Cost against work\n\nParts of MELD's training rows, drawn as `--data_percent` draws them. Epochs follow "
        "from the rates above: of distinct tokens where a contender shares prefixes (the smaller a part, the more of "
        "them a row has), else of samples.",
        *tables,
    ]


def _render_fractions(kind: str, results: Result) -> str:
    """One row for each part: sizes, minutes of an epoch."""
    section = results["training"]["workloads"][kind]
    native, found = section["precision"], merits(section)
    measured = results.get("epochs", {}).get("fractions", {}) if kind == "window" else {}
    best = {title: fastest(names, found) for title, names in rivals(native).items()}
    against = {title: name for title, name in best.items() if name}
    own = ours(native) if ours(native) in found else None
    header = [KIND_TITLES[kind], "rows", "tokens", "distinct", *(["epoch, this engine"] if own else [])]
    header += ["measured"] if measured else []
    header += [f"epoch, {title}" for title in against]
    rows = []
    for name, part in results["trees"]["fractions"][kind].items():
        cells = [f"{name} of train", f"{part['rows']:,}", f"{part['tokens']:,}", f"{part['nodes']:,}"]
        cells += [_epoch(part, section, own)] if own else []
        cells += [_minutes(measured[name]["seconds"])] if measured else []
        cells += [_epoch(part, section, rival) for rival in against.values()]
        rows.append(cells)
    return render_table(header, rows, numbers=True)


def _epoch(part: Result, section: Result, name: str) -> str:
    """Minutes of a part: by its distinct tokens where the contender shares prefixes, else by its rows."""
    entry = section["contenders"][name]
    merit = merit_of(entry, section)
    shares = entry["options"].get("packing") == "tree"
    return _minutes(part["nodes"] / merit.nodes if shares else part["rows"] / merit.samples.median)


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.1f} min"
