"""Evidence from the training utterances that is added to a model's scores of the labels: its kinds and their weights.

InstructERC puts utterances that were retrieved from train into the prompt (arXiv 2309.11911, section 3.2), and a small
model learns to copy their labels. Here prompts and training stay as they are. The evidence is added when the answer is
chosen, which is the label with the greatest

    log p(label) + weight x log(P(label | evidence) / P(label)),

where p is the model's and P(label) the label's share of train. Evidence that only repeats these shares adds nothing,
and rare labels gain as much by it as common ones. The weights were chosen on valid of MELD, EmoryNLP and IEMOCAP
together, see experiments/README.md. kNN-LM (arXiv 1911.00172) mixes the two probabilities instead.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from scoring.contenders import Task
from scoring.metrics import Prediction

NEIGHBOURS, LINEAR_MODELS = "neighbours", "linear_models"
PREFERRED = LINEAR_MODELS  # by valid of the three datasets together


@dataclass(frozen=True)
class EvidenceKind:
    """A kind of evidence. called: its name in tables; meaning: in a line; weight: its factor in that sum."""

    called: str
    meaning: str
    weight: float


KINDS: Mapping[str, EvidenceKind] = {
    NEIGHBOURS: EvidenceKind("neighbours", "the labels of the nearest training utterances", 0.7),
    LINEAR_MODELS: EvidenceKind(
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
    """The predictions with the evidence added to log p, and the label that is then greatest; of equals the first.

    evidence: (predictions, labels) log(P(label | evidence) / P(label)); the labels in prompt order.
    """
    return [_judged(row, told, labels, weight) for row, told in zip(predictions, evidence, strict=True)]


def _judged(row: Prediction, told: np.ndarray, labels: Sequence[str], weight: float) -> Prediction:
    together = np.array([row.scores[label] for label in labels]) + weight * told
    together -= np.logaddexp.reduce(together)
    return replace(row, label=labels[int(together.argmax())], scores=dict(zip(labels, together.tolist(), strict=True)))
