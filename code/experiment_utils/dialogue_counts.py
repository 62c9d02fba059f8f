"""Answers of a run as counts for each dialogue: enough for scores and intervals, and without any text."""

import csv
import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Self

import numpy as np

from basics.errors import UserError
from data_utils.labels import MICRO_F1_WITHOUT_NEUTRAL, WEIGHTED_F1
from scoring.metrics import PERCENT, EvalResult, Prediction, evaluate_predictions, find_neutral, unique_predictions

COLUMNS = ("dialogue", "label", "answer", "count")
NO_LABEL = ""  # the answer of an utterance that was given no label
MOST_COUNTED = 1_000_000  # of one answer in a dialogue
MOST_CELLS = 10_000_000  # of a table


@dataclass(frozen=True)
class Counts:
    """How often each gold label got each answer, by dialogue.

    dialogues: their names, sorted. labels: in the order of the prompt. table: (dialogues, labels, labels + 1) counts of
    gold label and answer; the last answer is one without a label.
    """

    dialogues: tuple[str, ...]
    labels: tuple[str, ...]
    table: np.ndarray

    @classmethod
    def of(cls, answers: Iterable[tuple[str, str, str | None, int]], labels: Sequence[str]) -> Self:
        """From (dialogue, label, answer, how often); UserError for a word that is not among the labels."""
        index: dict[str | None, int] = {label: number for number, label in enumerate(labels)}
        answers = list(answers)
        dialogues = tuple(sorted({answer[0] for answer in answers}))
        places = {name: number for number, name in enumerate(dialogues)}
        if len(dialogues) * len(labels) * (len(labels) + 1) > MOST_CELLS:
            raise UserError(f"{len(labels):,} labels in {len(dialogues):,} dialogues are more than are counted")
        table = np.zeros((len(dialogues), len(labels), len(labels) + 1), dtype=np.int64)
        for dialogue, label, said, count in answers:
            for word in (label, said):
                if word not in index and word is not None:
                    raise UserError(f"{dialogue}: '{word}' is not among the labels {', '.join(labels)}")
            table[places[dialogue], index[label], len(labels) if said is None else index[said]] += count
        return cls(dialogues, tuple(labels), table)

    @classmethod
    def of_predictions(cls, predictions: Sequence[Prediction], labels: Sequence[str]) -> Self:
        """The counts of predictions; a row's id up to the last slash is its dialogue."""
        rows = unique_predictions(predictions)
        return cls.of(((row.id.rpartition("/")[0], row.target, row.label, 1) for row in rows), labels)

    @classmethod
    def read(cls, text: str, labels: Sequence[str]) -> Self:
        """Reads what `write` wrote; UserError for other columns or labels, or counts that are no whole numbers."""
        lines = csv.DictReader(io.StringIO(text))
        try:
            if tuple(lines.fieldnames or ()) != COLUMNS:
                raise UserError(f"the columns are {', '.join(lines.fieldnames or ())}, not {', '.join(COLUMNS)}")
            found = [(of["dialogue"], of["label"], of["answer"] or None, int(of["count"])) for of in lines]
        except (TypeError, ValueError, csv.Error) as error:
            raise UserError(f"line {lines.line_num}: {error}") from error
        if not all(1 <= count <= MOST_COUNTED for *_, count in found):
            raise UserError(f"a count is not between 1 and {MOST_COUNTED:,}")
        return cls.of(found, labels)

    @classmethod
    def sum_of(cls, parts: Iterable[Self]) -> Self:
        """The sum of counts with the same labels; a dialogue may be in several."""
        parts = list(parts)
        labels = parts[0].labels
        places = ((part, *place) for part in parts for place in np.argwhere(part.table))
        said = (*labels, None)
        return cls.of(
            ((part.dialogues[d], labels[t], said[s], part.table[d, t, s]) for part, d, t, s in places), labels
        )

    def write(self) -> str:
        """CSV, a line for each count above 0, dialogues in their order and labels in theirs."""
        answers = (*self.labels, NO_LABEL)
        places = np.argwhere(self.table)
        rows = ((self.dialogues[d], self.labels[t], answers[s], self.table[d, t, s]) for d, t, s in places)
        stream = io.StringIO()
        csv.writer(stream, lineterminator="\n").writerows([COLUMNS, *rows])
        return stream.getvalue()

    def evaluate(self) -> EvalResult:
        """All scores, as of one prediction for every answer."""
        answers = (*self.labels, None)
        rows = [
            Prediction(f"{self.dialogues[d]}/{t}/{s}/{copy}", "", self.labels[t], answers[s])
            for d, t, s in np.argwhere(self.table)
            for copy in range(self.table[d, t, s])
        ]
        return evaluate_predictions(rows, self.labels)

    @property
    def confusion(self) -> np.ndarray:
        """(labels, labels + 1) counts over all dialogues."""
        return self.table.sum(axis=0)

    @property
    def sums(self) -> np.ndarray:
        """(3, labels) over all dialogues, see `sum_up`."""
        return sum_up(self.confusion)

    @property
    def rows(self) -> int:
        """How many utterances were answered."""
        return int(self.table.sum())

    def is_paired_with(self, other: "Counts") -> bool:
        """Whether both are of the same dialogues with the same gold labels."""
        same = (self.dialogues, self.labels) == (other.dialogues, other.labels)
        return same and bool((self.table.sum(axis=2) == other.table.sum(axis=2)).all())

    def score(self, metric: str) -> float:
        """The score by a metric, in percent, over all dialogues."""
        return float(score_by(metric)(self.sums, self.labels))


def sum_up(confusion: np.ndarray) -> np.ndarray:
    """(..., labels, labels + 1) counts -> (..., 3, labels): how often each label is gold, is the answer, is both.

    All scores follow from them, and what is resampled is less than half as large.
    """
    square = confusion[..., :-1]
    return np.stack([confusion.sum(-1), square.sum(-2), np.diagonal(square, axis1=-2, axis2=-1)], axis=-2)


def f1_of_labels(sums: np.ndarray) -> np.ndarray:
    """(..., 3, labels) sums -> (..., labels) F1 in percent, 0 for a label that is never gold nor answer."""
    support, said, hits = _apart(sums)
    return PERCENT * _divide(2 * hits, support + said)


def weighted_f1(sums: np.ndarray, labels: Sequence[str]) -> np.ndarray:
    """(..., 3, labels) sums -> (...) weighted F1 in percent; equals scikit-learn's."""
    support, _, _ = _apart(sums)
    return _divide((support * f1_of_labels(sums)).sum(-1), support.sum(-1))


def macro_f1(sums: np.ndarray) -> np.ndarray:
    """Mean F1 in percent of the labels that occur in the gold."""
    support, _, _ = _apart(sums)
    occurs = support > 0
    return _divide((f1_of_labels(sums) * occurs).sum(-1), occurs.sum(-1))


def micro_f1_without_neutral(
    sums: np.ndarray, labels: Sequence[str], metric: str = MICRO_F1_WITHOUT_NEUTRAL
) -> np.ndarray:
    """DailyDialog's score in percent, or one like it; equals scikit-learn's."""
    neutral = find_neutral(labels, metric)
    kept = [number for number, label in enumerate(labels) if label != neutral]
    support, said, hits = (of[..., kept].sum(-1) for of in _apart(sums))
    return PERCENT * _divide(2 * hits, support + said)


# (..., 3, labels) sums, labels -> (...) score in percent.
Scorer = Callable[[np.ndarray, Sequence[str]], np.ndarray]


def score_by(metric: str) -> Scorer:
    """The function that computes a metric from sums."""
    return weighted_f1 if metric == WEIGHTED_F1 else partial(micro_f1_without_neutral, metric=metric)


def _apart(sums: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(how often each label is gold, is the answer, is both)."""
    return sums[..., 0, :], sums[..., 1, :], sums[..., 2, :]


def _divide(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """0 where the denominator is 0, as scikit-learn with zero_division=0."""
    return np.divide(numerator, denominator, out=np.zeros(numerator.shape), where=denominator > 0)
