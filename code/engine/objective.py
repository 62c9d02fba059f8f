"""What training minimises where it is not the usual: labels held against each other, classes that weigh more."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class LabelLoss:
    """Cross-entropy over all labels of a row's task: of softmax over log p(label | prompt), by which labels are scored.

    choices: task -> label -> its token ids, the end of the answer among them. smoothing: the share of what is wanted
    that all labels of the task get alike, the right one too; the right one gets the rest.
    """

    choices: Mapping[str, Mapping[str, tuple[int, ...]]]
    smoothing: float = 0.0

    def continuations(self, task: str) -> tuple[tuple[int, ...], ...]:
        """The token ids of every label, in the order of the prompt."""
        return tuple(self.choices[task].values())

    def wanted(self, task: str, label: str) -> tuple[float, ...]:
        """What each of them is to get; the sum is 1."""
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
    """Label -> its share among `labels` to the power of -`power`, times what makes the mean over `labels` 1."""
    shares = {label: count / len(labels) for label, count in Counter(labels).items()}
    mean = sum(share ** (1 - power) for share in shares.values())
    return {label: share**-power / mean for label, share in shares.items()}
