"""What may be said beside a model at the answer, by the same training utterances: the kinds of it, and how it counts.

InstructERC shows a model what was retrieved from train (arXiv 2309.11911, section 3.2), and a small one learns to copy
it. Here prompts and training stay as they are. What train has to say comes in at the answer, as evidence beside the
model's own,

    log p(label) + weight x log(P(label | what train says) / P(label)),

where P(label) is the label's share of train. So what says no more than the shares do says nothing, and rare labels
have as much to say as common ones. The weights were chosen on valid of MELD, EmoryNLP and IEMOCAP together, see
experiments/README.md. kNN-LM (arXiv 1911.00172) mixes the two probabilities instead.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from scoring.contenders import Task
from scoring.metrics import Prediction

NEIGHBOURS, LINEAR_MODELS = "neighbours", "linear_models"
PREFERRED = LINEAR_MODELS  # by valid of the three datasets together


@dataclass(frozen=True)
class Beside:
    """A kind of evidence. called: in tables; meaning: in a line; weight: of it beside the model's own log p."""

    called: str
    meaning: str
    weight: float


KINDS: Mapping[str, Beside] = {
    NEIGHBOURS: Beside("neighbours", "the labels of the nearest training utterances", 0.7),
    LINEAR_MODELS: Beside(
        "linear models", "two logistic regressions of train, over words and over sentence vectors with history", 1.4
    ),
}


def log_shares(task: Task) -> np.ndarray:
    """(labels,) log of the shares of train's labels, one utterance more of each."""
    counts = np.bincount(task.numbers["train"], minlength=len(task.labels))
    return np.log((counts + 1) / (counts.sum() + len(task.labels)))


def with_evidence(
    predictions: Sequence[Prediction], evidence: np.ndarray, labels: Sequence[str], weight: float
) -> list[Prediction]:
    """The predictions with log p of both together, and the label of which that is greatest; ties to the earlier one.

    evidence: (predictions, labels) log(P(label | what train says) / P(label)); the labels in prompt order.
    """
    return [_judged(row, told, labels, weight) for row, told in zip(predictions, evidence, strict=True)]


def _judged(row: Prediction, told: np.ndarray, labels: Sequence[str], weight: float) -> Prediction:
    together = np.array([row.scores[label] for label in labels]) + weight * told
    together -= np.logaddexp.reduce(together)
    return replace(row, label=labels[int(together.argmax())], scores=dict(zip(labels, together.tolist(), strict=True)))
