"""The nearest utterances of train speak at the answer: what their labels say is added to a model's log p.

InstructERC shows retrieved utterances with their labels in the prompt (arXiv 2309.11911, section 3.2), and a small
model learns to copy them. Here the prompt stays as it is, and so does training. The retrieved labels come in as
evidence beside the model's own,

    log p(label) + weight x log(P(label | neighbours) / P(label)),

where P(label | neighbours) is the share of the nearest utterances' labels, weighed by likeness and smoothed towards
P(label), that of train. So where the neighbours are as train is they say nothing, and rare labels have as much to say
as common ones. kNN-LM (arXiv 1911.00172) mixes the two probabilities instead. The settings are fixed: they were chosen
on valid of MELD, EmoryNLP and IEMOCAP together, see experiments/README.md.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from data_utils.dialogues import Dialogue
from data_utils.retrieval import DemonstrationIndex, Embed, Entry, Match, entries_of
from scoring.metrics import Prediction


@dataclass(frozen=True)
class NeighbourSettings:
    """How neighbours are asked, and what they count for.

    count: nearest utterances that are asked, all where train has fewer. temperature: of their cosines, small: the
    nearest decide. smoothing: how many utterances of train's shares stand beside the neighbours. weight: of the
    evidence.
    """

    count: int = 32
    temperature: float = 0.1
    smoothing: float = 10.0
    weight: float = 0.7


USUAL = NeighbourSettings()


class NearestLabels:
    """The labelled utterances of train, to be asked what the labels of those nearest to another utterance say."""

    def __init__(
        self,
        dataset: str,
        dialogues: Mapping[str, Sequence[Dialogue]],
        labels: Sequence[str],
        embed: Embed,
        settings: NeighbourSettings = USUAL,
    ) -> None:
        base = entries_of(dataset, "train", dialogues["train"])
        self.labels, self.settings = tuple(labels), replace(settings, count=min(settings.count, len(base)))
        self.index = DemonstrationIndex(base, embed)
        counts = np.bincount([self.labels.index(entry.label) for entry in base], minlength=len(labels))
        self.shares = (counts + 1) / (counts.sum() + len(labels))
        self.log_shares = np.log(self.shares)

    def evidence(self, queries: Sequence[Entry]) -> np.ndarray:
        """(utterances, labels) log(P(label | neighbours) / P(label)); none of a query's own dialogue is asked.

        Raises:
            UserError: train has too few utterances beside those of a query's own dialogue.
        """
        found = self.index.search(queries, self.settings.count)
        return np.array([self._ratios(matches) for matches in found]).reshape(len(queries), len(self.labels))

    def _ratios(self, matches: Iterable[Match]) -> np.ndarray:
        likeness = np.zeros(len(self.labels))
        for match in matches:
            likeness[self.labels.index(match.entry.label)] += np.exp(match.similarity / self.settings.temperature)
        count, smoothing = self.settings.count, self.settings.smoothing
        smoothed = (count * likeness / likeness.sum() + smoothing * self.shares) / (count + smoothing)
        return np.log(smoothed) - self.log_shares


def with_evidence(
    predictions: Sequence[Prediction], evidence: np.ndarray, labels: Sequence[str], weight: float = USUAL.weight
) -> list[Prediction]:
    """The predictions with log p of both together, and the label of which that is greatest; ties to the earlier one.

    evidence: (predictions, labels), as of `NearestLabels.evidence`; the labels in prompt order.
    """
    return [_judged(row, told, labels, weight) for row, told in zip(predictions, evidence, strict=True)]


def _judged(row: Prediction, told: np.ndarray, labels: Sequence[str], weight: float) -> Prediction:
    together = np.array([row.scores[label] for label in labels]) + weight * told
    together -= np.logaddexp.reduce(together)
    return replace(row, label=labels[int(together.argmax())], scores=dict(zip(labels, together.tolist(), strict=True)))
