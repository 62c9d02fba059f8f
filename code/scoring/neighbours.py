"""Evidence of the labels of the nearest training utterances, to be added to a model's scores (scoring.beside).

InstructERC shows retrieved utterances with their labels in the prompt (arXiv 2309.11911, section 3.2). Here they come
in when the answer is chosen: P(label | neighbours) is the share of the nearest utterances' labels, weighed by likeness
and smoothed towards P(label), that of train. The settings are fixed: they were chosen on valid of MELD, EmoryNLP and
IEMOCAP together, see experiments/README.md.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from data_utils.retrieval import DemonstrationIndex, Embed, Entry, Match, entries_of
from scoring.beside import log_shares
from scoring.contenders import Task


@dataclass(frozen=True)
class NeighbourSettings:
    """How the labels of neighbours are weighed.

    count: number of nearest utterances, all where train has fewer. temperature: a neighbour weighs exp(cosine /
    temperature); with a small one the nearest decide. smoothing: number of utterances, with labels as in train, that
    are added to the neighbours.
    """

    count: int = 32
    temperature: float = 0.1
    smoothing: float = 10.0


USUAL = NeighbourSettings()


class NearestLabels:
    """An index of the labelled utterances of train, which gives the evidence of those nearest to others."""

    def __init__(self, task: Task, embed: Embed, settings: NeighbourSettings = USUAL) -> None:
        base = entries_of(task.dataset, "train", task.dialogues["train"])
        self.labels, self.settings = task.labels, replace(settings, count=min(settings.count, len(base)))
        self.index = DemonstrationIndex(base, embed)
        self.log_shares = log_shares(task)

    def evidence(self, queries: Sequence[Entry]) -> np.ndarray:
        """(utterances, labels) log(P(label | neighbours) / P(label)); no neighbour is of the query's dialogue.

        Raises:
            UserError: train has too few utterances outside of a query's dialogue.
        """
        found = self.index.search(queries, self.settings.count)
        return np.array([self._ratios(matches) for matches in found]).reshape(len(queries), len(self.labels))

    def _ratios(self, matches: Iterable[Match]) -> np.ndarray:
        likeness = np.zeros(len(self.labels))
        for match in matches:
            likeness[self.labels.index(match.entry.label)] += np.exp(match.similarity / self.settings.temperature)
        count, smoothing = self.settings.count, self.settings.smoothing
        smoothed = (count * likeness / likeness.sum() + smoothing * np.exp(self.log_shares)) / (count + smoothing)
        return np.log(smoothed) - self.log_shares


def neighbour_evidence(task: Task, splits: Iterable[str], embed: Embed) -> dict[str, np.ndarray]:
    """Split -> (utterances, labels), see `NearestLabels.evidence`. task.dialogues: of train and of the splits."""
    nearest = NearestLabels(task, embed)
    return {split: nearest.evidence(entries_of(task.dataset, split, task.dialogues[split])) for split in splits}
