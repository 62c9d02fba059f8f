"""What trees save and what they cost to build, and what is lost by dealing."""

import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from basics.markdown import render_table
from benchmarks.figures_of_merit import Result
from benchmarks.inputs import DATASET, KINDS, Inputs
from benchmarks.rounds import say
from benchmarks.workload import ROWS_PER_DIALOGUE, ROWS_PER_STEP, SEED, count_work
from data_utils.draws import Draw, draw_rows
from engine.batching import TOKEN_BUDGETS, EncodedRow, plan_steps, training_batches
from engine.dealing import Dealing, measure_dealing
from experiment_utils.conditions import BENCHMARKS

WHOLE = 1 << 20  # more rows than any dialogue has
ROWS_PER_DIALOGUE_COMPARED = {"1": 1, "8": ROWS_PER_DIALOGUE, "whole": WHOLE}
PROCESSES_COMPARED = (2, 4, 8)
FRACTIONS = {"1/8": 1 / 8, "1/4": 1 / 4, "1/2": 1 / 2, "1": 1.0}
KIND_TITLES = {"window": "window 12", "predict": "with the prediction task"}


def measure_trees(inputs: Inputs) -> dict[str, Any]:
    """All tables, for all the rows that are there."""
    say("building trees")
    rows = {kind: inputs.train_rows(DATASET, kind) for kind in KINDS}
    return {
        "fractions": {
            kind: {name: build_trees(draw_rows(rows[kind], Draw(share, SEED))) for name, share in FRACTIONS.items()}
            for kind in KINDS
        },
        "sharing": {
            dataset: {
                kind: _tokens_per_node(inputs.train_rows(dataset, kind)) for kind in KINDS if inputs.has(dataset, kind)
            }
            for dataset in BENCHMARKS
        },
        "dealing": {
            dataset: deal_epoch(inputs.train_rows(dataset, KINDS[0]))
            for dataset in BENCHMARKS
            if inputs.has(dataset, KINDS[0])
        },
    }


def deal_epoch(rows: Sequence[EncodedRow]) -> dict[str, dict[str, int]]:
    """Number of processes -> what it costs to deal the steps of an epoch to them, in nodes."""
    plan = plan_steps(rows, ROWS_PER_STEP, ROWS_PER_DIALOGUE, SEED, epoch=0)
    steps = [[rows[index] for index in step] for step in plan]
    return {str(count): asdict(measure_dealing(steps, True, count)) for count in PROCESSES_COMPARED}


def build_trees(rows: Sequence[EncodedRow]) -> dict[str, float]:
    """Plans an epoch over the rows and builds all of its trees, in one thread; seconds and sizes."""
    began = time.perf_counter()
    plan = plan_steps(rows, ROWS_PER_STEP, ROWS_PER_DIALOGUE, SEED, epoch=0)
    steps = [[rows[index] for index in step] for step in plan]
    nodes = 0
    for step in steps:
        for batch in training_batches(step, TOKEN_BUDGETS["cpu"], share_prefixes=True):
            nodes += len(batch.tree())
    seconds = time.perf_counter() - began
    work = count_work(steps)
    # nodes: those of whole steps, as everywhere; computed: with the paths that micro-batches repeat.
    return {
        "rows": work.rows,
        "tokens": work.tokens,
        "nodes": work.nodes,
        "computed": nodes,
        "seconds": seconds,
    }


def _tokens_per_node(rows: Sequence[EncodedRow]) -> dict[str, float]:
    """Rows of a dialogue that stay together -> tokens per distinct token over an epoch."""
    ratios = {}
    for name, together in ROWS_PER_DIALOGUE_COMPARED.items():
        plan = plan_steps(rows, ROWS_PER_STEP, together, SEED, epoch=0)
        ratios[name] = count_work([[rows[index] for index in step] for step in plan]).tokens_per_node
    return ratios


def render_trees(results: Result) -> list[str]:
    """Tokens per distinct token, and how long building trees takes."""
    section = results["trees"]
    return [
        "### What rows share\n\nTokens per distinct token over an epoch of optimizer steps of 32 rows, "
        "by how many rows of a dialogue stay together (`--rows_per_dialogue`):",
        _render_sharing(section["sharing"]),
        *(_render_dealing(section["dealing"]) if "dealing" in section else []),
        _building_line(section),
    ]


def _render_sharing(sharing: Result) -> str:
    rows = [
        [dataset, KIND_TITLES[kind], *[f"{ratio:.2f}" for ratio in ratios.values()]]
        for dataset, kinds in sharing.items()
        for kind, ratios in kinds.items()
    ]
    names = next((list(ratios) for kinds in sharing.values() for ratios in kinds.values()), [])
    return render_table(["dataset", "rows", *names], rows, numbers=True)


def _render_dealing(dealing: Result) -> list[str]:
    rows = []
    for dataset, counts in dealing.items():
        for found in (Dealing(**counted) for counted in counts.values()):
            shares = [f"{found.repeated:.1%}", f"{found.behind:.1%}", f"{found.times:.2f}"]
            rows.append([dataset, str(found.processes), *shares])
    header = ["dataset", "processes", "tokens more than in one", "slowest above the mean", "times as fast"]
    return [
        "### Rows dealt to processes\n\nBy count, over an epoch of steps of 32 rows (window 12): how many more tokens "
        "the processes compute together than one would, by how much the slowest has more than the mean, and how many "
        "times as fast steps could be if nothing but tokens took time.",
        render_table(header, rows, numbers=True),
    ]


def _building_line(section: Result) -> str:
    took = [
        f"{part['seconds']:.2f} s for the {part['rows']:,} rows of MELD's train, {KIND_TITLES[kind]}"
        for kind, parts in section["fractions"].items()
        for part in [parts["1"]]
    ]
    processor = section["machine"]["processor"]
    return f"Planning, splitting and building all trees of an epoch takes one thread {'; '.join(took)} ({processor})."
