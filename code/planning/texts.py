"""Counts the rows and tokens of a corpus of one's own, as `data.TEXTS` has them for the datasets."""

import random
from collections.abc import Sequence
from dataclasses import replace
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from data_utils.corpora.registry import find_own
from data_utils.dialogues import Dialogue, count_labels, find_original_data, load_dialogues
from data_utils.examples import RowSettings, build_examples
from data_utils.labels import DATASETS
from planning.data import PLAIN_TEXTS, TEXTS, Texts

if TYPE_CHECKING:  # it takes torch, which the known texts do not need
    from engine.batching import EncodedRow

COUNTED_IN = "SmolLM2-135M"  # the base whose tokenizer counts
BATCH, TOGETHER, BUDGET = 32, 8, 4096  # rows of a step, rows of one dialogue in it, tokens of a micro-batch
ENOUGH = 10_000  # rows whose tokens are counted: more hardly change a mean, and take minutes and gigabytes


def texts_of(dataset: str, plain: bool = False) -> Texts:
    """The rows of an epoch of a dataset; those of a corpus of one's own are counted now. plain: of plain prompts.

    In a large train, tokens are counted in some dialogues only, which are drawn at random.

    Raises:
        UserError: there is no corpus of the name, or it cannot be read, or the base that counts tokens is not there.
    """
    known = PLAIN_TEXTS if plain else TEXTS
    return known[dataset] if dataset in known else _counted(dataset, "plain" if plain else "window")


def utterances_of(dataset: str) -> dict[str, int]:
    """Split -> number of its labelled utterances; UserError: there is no such corpus, or it cannot be read."""
    if dataset in DATASETS:
        return {split: counts.utterances for split, counts in DATASETS[dataset].expected.items()}
    dialogues = _read_own(dataset, find_original_data(dataset))
    return {split: count_labels(of_split).total() for split, of_split in dialogues.items()}


@lru_cache(maxsize=1)  # conditions of a corpus ask for its turns and for both kinds of its prompts
def _read_own(dataset: str, place: Path) -> dict[str, tuple[Dialogue, ...]]:
    return load_dialogues(dataset, place)


@cache
def _counted(dataset: str, kind: str) -> Texts:
    from bases.load import load_tokenizer, resolve_base
    from engine.batching import RowEncoder

    spec, settings = find_own(dataset).spec, RowSettings(dataset, kind)
    train = _read_own(dataset, find_original_data(dataset))["train"]
    rows = build_examples(settings, {"train": draw_enough(train), "valid": (), "test": ()}, spec)["train"]
    encoder = RowEncoder(load_tokenizer(resolve_base(COUNTED_IN)), spec.max_length)
    return replace(count_encoded(encoder.encode(rows, spec.labels)), rows=count_labels(train).total())


def draw_enough(dialogues: Sequence[Dialogue], enough: int = ENOUGH) -> list[Dialogue]:
    """All dialogues, or as many, drawn at random, as together have `enough` labelled turns or more.

    Drawn ones are cut after `enough` turns.
    """
    if count_labels(dialogues).total() <= enough:
        return list(dialogues)
    drawn, rows = [], 0
    for place in random.Random(0).sample(range(len(dialogues)), len(dialogues)):
        if rows >= enough:
            break
        drawn.append(replace(dialogues[place], utterances=dialogues[place].utterances[:enough]))
        rows += len(drawn[-1].labelled)
    return drawn


def count_encoded(rows: "Sequence[EncodedRow]") -> Texts:
    """The mean length of prompts, and how much they share when a few of each dialogue stand in a batch."""
    from engine.batching import plan_steps, training_batches

    steps = plan_steps(rows, BATCH, TOGETHER, seed=0, epoch=0)
    batches = [batch for step in steps for batch in training_batches([rows[at] for at in step], BUDGET, True)]
    lengths, nodes = sum(sum(one.lengths()) for one in batches), sum(one.tokens() for one in batches)
    prompts = sum(len(row.prompt) for row in rows)
    return Texts(len(rows), round(prompts / len(rows), 1), round(lengths / nodes, 2))
