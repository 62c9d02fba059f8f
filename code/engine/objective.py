"""Losses beside the usual one of each target: cross-entropy over the labels of a task, and weights of classes."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class LabelLoss:
    """Cross-entropy over all labels of a row's task, after a softmax over the log p(label | prompt) that scoring uses.

    choices: task -> label -> its token ids, the end of the answer among them. smoothing: label smoothing, the
    probability that is spread evenly over all labels of the task, the right one too; the right one gets the rest.
    """

    choices: Mapping[str, Mapping[str, tuple[int, ...]]]
    smoothing: float = 0.0

    def continuations(self, task: str) -> tuple[tuple[int, ...], ...]:
        """The token ids of every label, in the order of the prompt."""
        return tuple(self.choices[task].values())

    def wanted(self, task: str, label: str) -> tuple[float, ...]:
        """The target probability of every label, in the order of the prompt; `label` is the right one."""
        labels = self.choices[task]
        spread = self.smoothing / len(labels)
        return tuple(spread + (1 - self.smoothing) * (one == label) for one in labels)


def log_shares(log_p: Tensor, rows: Tensor) -> Tensor:
    """(sequences,) log softmax of log p over the sequences of each row.

    log_p: (sequences,) finite. rows: (sequences,) int64, the row of each, below the number of sequences.
    """
    most = torch.full_like(log_p, -torch.inf).scatter_reduce(0, rows, log_p.detach(), "amax")
    above = log_p - most[rows]
    totals = torch.zeros_like(log_p).index_add(0, rows, above.exp())
    return above - totals[rows].log()


def class_factors(labels: Sequence[str], power: float) -> dict[str, float]:
    """Label -> its weight: its share among `labels` to the power of -`power`, scaled to a mean of 1 over `labels`."""
    shares = {label: count / len(labels) for label, count in Counter(labels).items()}
    mean = sum(share ** (1 - power) for share in shares.values())
    return {label: share**-power / mean for label, share in shares.items()}
