"""How many tokens a row costs by form of prompt and step of its window, and a turn that comes by itself: counted."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import groupby
from typing import Any

import numpy as np

from basics.errors import UserError
from basics.markdown import render_table
from benchmarks.figures_of_merit import Result
from benchmarks.rounds import say
from benchmarks.workload import ROWS_PER_DIALOGUE, ROWS_PER_STEP, SEED, count_work
from data_utils.dialogues import Dialogue, find_original_data, load_dialogues
from data_utils.examples import DEFAULT_STEP, RowSettings, build_examples
from data_utils.labels import DATASETS
from data_utils.prompts import COMPACT, FORMS, PAPER
from engine.batching import EncodedRow, RowEncoder, plan_steps
from engine.prefix_tree import PrefixTree
from engine.running_prompts import count_shared
from experiment_utils.conditions import BENCHMARKS

STEPS = (DEFAULT_STEP, 6)
NAMES = {PAPER: "the paper's", COMPACT: "compact"}


def measure_prompts(encoder_of: Callable[[str], RowEncoder], datasets: Sequence[str] = BENCHMARKS) -> dict[str, Any]:
    """Dataset -> a record for every form and step; datasets whose pickle is not there are left out.

    encoder_of: dataset -> what makes tokens of its rows.
    """
    found = {}
    for name in datasets:
        with suppress(UserError):
            say(f"counting the prompts of {name}")
            dialogues = load_dialogues(name, find_original_data(name))
            encoder = encoder_of(name)
            found[name] = [
                {"prompt": form, "window_step": step, **_count(name, dialogues, encoder, form, step)}
                for step in STEPS
                for form in FORMS
            ]
    return {"datasets": found}


def _count(
    dataset: str, dialogues: Mapping[str, Sequence[Dialogue]], encoder: RowEncoder, form: str, step: int
) -> dict[str, float]:
    """Means of train's rows in optimizer steps, and of test's turns that come one by one."""
    labels = DATASETS[dataset].labels
    rows = build_examples(RowSettings(dataset, window_step=step, prompt=form), dialogues)
    train, test = (encoder.encode(rows[split], labels) for split in ("train", "test"))
    plan = plan_steps(train, ROWS_PER_STEP, ROWS_PER_DIALOGUE, SEED, epoch=0)
    work = count_work([[train[index] for index in indices] for indices in plan])
    turns = list(count_turns(test, [encoder.encode_label(label) for label in labels]))
    anew, going_on = (float(np.mean(column)) for column in zip(*turns, strict=True))
    return {
        "tokens": work.tokens / work.rows,
        "distinct": work.nodes / work.rows,
        "turn_anew": anew,
        "turn_going_on": going_on,
    }


def count_turns(rows: Sequence[EncodedRow], choices: Sequence[tuple[int, ...]]) -> Iterator[tuple[int, int]]:
    """(tokens computed when its prompt is read anew, when it goes on from the turn before) of each turn, labels too.

    rows: of whole dialogues, in their order.
    """
    behind = len(PrefixTree.from_rows([(0,)], [choices])) - 1
    for _, dialogue in groupby(rows, lambda row: row.dialogue):
        before = np.empty(0, np.int64)
        for row in dialogue:
            prompt = np.asarray(row.prompt, np.int64)
            yield len(prompt) + behind, len(prompt) - count_shared(before, prompt) + behind
            before = prompt


def render_prompts(results: Result) -> list[str]:
    """One table: what a row costs in training, and a turn that is asked about as it comes."""
    rows = [
        [
            dataset,
            NAMES[one["prompt"]],
            str(one["window_step"]),
            *[f"{one[name]:.1f}" for name in ("tokens", "distinct")],
            f"{records[0]['distinct'] / one['distinct']:.2f}",
            *[f"{one[name]:.1f}" for name in ("turn_anew", "turn_going_on")],
        ]
        for dataset, records in results["prompts"]["datasets"].items()
        for one in records
    ]
    header = ["dataset", "prompt", "window_step", "tokens a row", "distinct", "times fewer", "a turn read anew"]
    return [
        "### What other prompts share\n\nMeans, window 12, in the tokens of SmolLM2-135M; counted, nothing runs. "
        f"Train's rows in optimizer steps of {ROWS_PER_STEP}, {ROWS_PER_DIALOGUE} rows of a dialogue together; test's "
        "turns one by one, each with all labels, as `predict.py --follow True` and the page's added turns ask. Other "
        "prompts are other conditions: [REPORT.md](../experiments/REPORT.md#all-systems) has what some of them score.",
        render_table([*header, "a turn that goes on"], rows, numbers=True),
    ]
