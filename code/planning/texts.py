"""The rows of a corpus of one's own, counted as `data.TEXTS` has those of the datasets."""

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

from data_utils.corpora.registry import find_own
from data_utils.dialogues import count_labels, find_original_data, load_dialogues
from data_utils.examples import RowSettings, build_examples
from data_utils.labels import DATASETS
from planning.data import PLAIN_TEXTS, TEXTS, Texts

if TYPE_CHECKING:  # it takes torch, which the known texts do not need
    from engine.batching import EncodedRow

COUNTED_IN = "SmolLM2-135M"  # whose tokens are counted
BATCH, TOGETHER, BUDGET = 32, 8, 4096  # rows of a step, of a dialogue in it, tokens of a micro-batch


def texts_of(dataset: str, plain: bool = False) -> Texts:
    """The rows of an epoch of a dataset, counted where they are of a corpus of one's own. plain: utterances alone.

    Raises:
        UserError: there is no corpus of the name, or it cannot be read, or the base that counts tokens is not there.
    """
    known = PLAIN_TEXTS if plain else TEXTS
    return known[dataset] if dataset in known else _counted(dataset, "plain" if plain else "window")


def utterances_of(dataset: str) -> dict[str, int]:
    """Split -> its labelled utterances; UserError where there is no corpus of the name, or it cannot be read."""
    if dataset in DATASETS:
        return {split: counts.utterances for split, counts in DATASETS[dataset].expected.items()}
    dialogues = load_dialogues(dataset, find_original_data(dataset))
    return {split: count_labels(of_split).total() for split, of_split in dialogues.items()}


@cache
def _counted(dataset: str, kind: str) -> Texts:
    from bases.load import load_tokenizer, resolve_base
    from engine.batching import RowEncoder

    spec, settings = find_own(dataset).spec, RowSettings(dataset, kind)
    dialogues = load_dialogues(dataset, find_original_data(dataset))
    rows = build_examples(settings, dialogues, spec)["train"]
    encoder = RowEncoder(load_tokenizer(resolve_base(COUNTED_IN)), spec.max_length)
    return count_encoded(encoder.encode(rows, spec.labels))


def count_encoded(rows: "Sequence[EncodedRow]") -> Texts:
    """The tokens of prompts, and how many they share where a few of a dialogue stand in a batch."""
    from engine.batching import plan_steps, training_batches

    steps = plan_steps(rows, BATCH, TOGETHER, seed=0, epoch=0)
    batches = [batch for step in steps for batch in training_batches([rows[at] for at in step], BUDGET, True)]
    lengths, nodes = sum(sum(one.lengths()) for one in batches), sum(one.tokens() for one in batches)
    prompts = sum(len(row.prompt) for row in rows)
    return Texts(len(rows), round(prompts / len(rows), 1), round(lengths / nodes, 2))
