"""The table of baselines: name, meaning, the settings that valid chooses from, and a digest of what decides the result.

It does without the libraries that fit them, which take seconds to import, as reports need only the table.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from basics.errors import UserError
from basics.files import sha256_of_text
from data_utils.examples import DEFAULT_WINDOW
from scoring.contenders import Grid
from scoring.transitions import GRID, SMOOTHING

MAJORITY, PREVIOUS_LABEL = "majority", "previous_label"
VECTORS, FINE_TUNED = "vectors_history", "finetuned"
WITH_TRANSITIONS = "+transitions"
# Count it up with any change of the code that fits or chooses: records of older code are then stale.
BASELINES_VERSION = 2
PLAN_CHARACTERS = 16

# C: inverse regularisation. class_weight: whether rare labels weigh more in training.
REGRESSION: Grid = {"class_weight": (None, "balanced"), "C": (0.3, 1.0, 3.0, 10.0)}
# history_scale: factor of the columns of the history; those of the utterance have 1.
HISTORY_REGRESSION: Grid = {"history_scale": (1.0, 0.6, 0.3)} | REGRESSION
# alpha: count that is added for every word. The weights are factors of the counts of history and utterance: naive Bayes
# takes words for independent, so those of a long history would outvote the utterance.
BAYES: Grid = {
    "alpha": (0.1, 0.3, 1.0, 3.0),
    "history_weight": (0.0, 0.03, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0),
    "utterance_weight": (0.5, 0.7, 1.0),
}
EPOCHS: Grid = {"epochs": (1, 2, 3, 4)}


@dataclass(frozen=True)
class FineTuning:
    """How an encoder is fine-tuned.

    encoder: a folder, a name of LLM_bases or a hub id. max_length: tokens of an input; the oldest of the history are
    dropped first. head_rate: learning rate of the head, which is initialised at random. warmup: share of the steps.
    """

    encoder: str
    batch_size: int = 32
    learning_rate: float = 1e-4
    head_rate: float = 1e-3
    warmup: float = 0.1
    max_length: int = 128
    seed: int = 42


@dataclass(frozen=True)
class Contender:
    """A kind of baseline. grid: setting -> values that valid chooses from. precision: of its numbers, in torch's words.

    A fine-tuned encoder computes in bf16 where the machine does; its record tells.
    """

    meaning: str
    grid: Grid
    precision: str = "float64"


CONTENDERS: Mapping[str, Contender] = {
    MAJORITY: Contender("the commonest label of train", {}),
    "words": Contender("words of the utterance (TF-IDF), logistic regression", REGRESSION),
    "words_history": Contender("the same with words before it, by who said them", HISTORY_REGRESSION),
    "multinomial_bayes": Contender("counts of the same words, multinomial naive Bayes", BAYES),
    "complement_bayes": Contender("counts of the same words, complement naive Bayes", BAYES),
    VECTORS: Contender("sentence vectors, with those before by who spoke, logistic regression", REGRESSION, "float32"),
    FINE_TUNED: Contender("sentence encoder, fine-tuned with a linear head", EPOCHS, "float32"),
}
LEAK_MEANING = "LEAK BOUND: the gold label of the speaker's previous utterance"
MEANINGS = {name: contender.meaning for name, contender in CONTENDERS.items()} | {PREVIOUS_LABEL: LEAK_MEANING}


def name_finetuned(encoder: str) -> str:
    """The name of the baseline of a fine-tuned encoder, which has that of the encoder in it."""
    return f"{FINE_TUNED}_{Path(encoder).name}"


def bare_name(name: str) -> str:
    """The key in `CONTENDERS` of a baseline's name: without `+transitions` and the name of an encoder."""
    bare = name.removesuffix(WITH_TRANSITIONS)
    return FINE_TUNED if bare.startswith(f"{FINE_TUNED}_") else bare


def baseline_plan(name: str) -> str:
    """A digest of all settings that decide the scores of a baseline, beside its dataset.

    name: of one of `CONTENDERS` or the leak bound, with or without `+transitions`. UserError for another name.
    """
    bare = bare_name(name)
    if bare not in MEANINGS:
        raise UserError(f"baseline {name} is not known, allowed are {', '.join(MEANINGS)}")
    grid = {setting: list(values) for setting, values in CONTENDERS[bare].grid.items()} if bare in CONTENDERS else {}
    decoding = [GRID.tolist(), SMOOTHING] if name.endswith(WITH_TRANSITIONS) else []
    training = asdict(FineTuning("")) if bare == FINE_TUNED else {}
    identity = json.dumps([BASELINES_VERSION, name, grid, decoding, training, DEFAULT_WINDOW])
    return sha256_of_text(identity)[:PLAN_CHARACTERS]
