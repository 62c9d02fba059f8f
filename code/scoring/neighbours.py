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
    """How neighbours are asked, and what they count for.

    count: nearest utterances that are asked, all where train has fewer. temperature: of their cosines, small: the
    nearest decide. smoothing: how many utterances of train's shares stand beside the neighbours.
    """

    count: int = 32
    temperature: float = 0.1
    smoothing: float = 10.0


USUAL = NeighbourSettings()


class NearestLabels:
    """The labelled utterances of train, to be asked what the labels of those nearest to another utterance say."""

    def __init__(self, task: Task, embed: Embed, settings: NeighbourSettings = USUAL) -> None:
        base = entries_of(task.dataset, "train", task.dialogues["train"])
        self.labels, self.settings = task.labels, replace(settings, count=min(settings.count, len(base)))
        self.index = DemonstrationIndex(base, embed)
        self.log_shares = log_shares(task)

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
        smoothed = (count * likeness / likeness.sum() + smoothing * np.exp(self.log_shares)) / (count + smoothing)
        return np.log(smoothed) - self.log_shares


def neighbour_evidence(task: Task, splits: Iterable[str], embed: Embed) -> dict[str, np.ndarray]:
    """Split -> (utterances, labels), see `NearestLabels.evidence`. task.dialogues: of train and of the splits."""
    nearest = NearestLabels(task, embed)
    return {split: nearest.evidence(entries_of(task.dataset, split, task.dialogues[split])) for split in splits}
