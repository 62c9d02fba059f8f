"""What trees save and what they cost to build; the cost of an epoch against the rows in it."""

import time
from collections.abc import Sequence
from typing import Any

from benchmarks.inputs import DATASET, KINDS, Inputs
from benchmarks.rounds import say
from benchmarks.workload import ROWS_PER_DIALOGUE, ROWS_PER_STEP, SEED, count_work
from data_utils.row_sets import draw_fraction
from engine.batching import EncodedRow, plan_steps, training_batches
from training.run import TOKEN_BUDGETS

DATASETS_COMPARED = ("iemocap", "meld", "EmoryNLP")
WHOLE = 1 << 20  # more rows than any dialogue has
ROWS_PER_DIALOGUE_COMPARED = {"1": 1, "8": ROWS_PER_DIALOGUE, "whole": WHOLE}
FRACTIONS = {"1/8": 1 / 8, "1/4": 1 / 4, "1/2": 1 / 2, "1": 1.0}


def measure_trees(inputs: Inputs, kinds: Sequence[str] = KINDS) -> dict[str, Any]:
    """Both tables, for all the rows that are there."""
    say("building trees")
    rows = {kind: inputs.train_rows(DATASET, kind) for kind in kinds}
    return {
        "fractions": {
            kind: {name: build_trees(draw_fraction(rows[kind], share, SEED)) for name, share in FRACTIONS.items()}
            for kind in kinds
        },
        "sharing": {
            dataset: {
                kind: _tokens_per_node(inputs.train_rows(dataset, kind)) for kind in kinds if inputs.has(dataset, kind)
            }
            for dataset in DATASETS_COMPARED
        },
    }


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
