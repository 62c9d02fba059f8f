"""How sure a score is: bootstrap intervals, the paired bootstrap and McNemar's test between two runs; by SciPy."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import binomtest, bootstrap

from basics.errors import UserError
from data_utils.labels import MICRO_F1_WITHOUT_NEUTRAL, WEIGHTED_F1
from scoring.metrics import NEUTRAL, Prediction, unique_predictions

RESAMPLES = 2000
CONFIDENCE = 0.95
BATCH = 100  # resamples at once: 100 x 2,610 utterances of MELD are 2 MB a label


@dataclass(frozen=True)
class Interval:
    """Bounds of a percentile bootstrap over utterances, in percent or points."""

    low: float
    high: float


@dataclass(frozen=True)
class Comparison:
    """One run against another on the same utterances, averaged over the seeds that both have.

    difference: points by which the second is better. interval: of the difference. p_bootstrap: two-sided, the
    share of resamples on the other side of 0, doubled. p_mcnemar: seed -> exact two-sided McNemar test of who is
    right more often.
    """

    difference: float
    interval: Interval
    p_bootstrap: float
    p_mcnemar: Mapping[int, float]


def encode_answers(predictions: Sequence[Prediction], labels: Sequence[str]) -> np.ndarray:
    """(2, utterances) indices of labels: targets, and what was said, len(labels) for an answer without a label."""
    index: dict[str | None, int] = {label: number for number, label in enumerate(labels)} | {None: len(labels)}
    rows = unique_predictions(predictions)
    unknown = sorted({str(word) for row in rows for word in (row.target, row.label) if word not in index})
    if unknown:
        raise UserError(
            f"labels {', '.join(unknown)}: not among {', '.join(labels)}; compare runs of one set of labels"
        )
    return np.array([[index[row.target] for row in rows], [index[row.label] for row in rows]])


def weighted_f1(targets: np.ndarray, said: np.ndarray, labels: Sequence[str]) -> np.ndarray:
    """Weighted F1 in percent over the last axis (utterances); equals scikit-learn's."""
    total = np.zeros(np.broadcast_shapes(targets.shape, said.shape)[:-1])
    for number in range(len(labels)):
        is_target, is_said = targets == number, said == number
        support = is_target.sum(-1)
        hits = (is_target & is_said).sum(-1)
        total = total + support * _divide(2 * hits, support + is_said.sum(-1))
    return 100 * total / targets.shape[-1]


def micro_f1_without_neutral(targets: np.ndarray, said: np.ndarray, labels: Sequence[str]) -> np.ndarray:
    """DailyDialog's score in percent over the last axis; equals scikit-learn's."""
    kept = [number for number, label in enumerate(labels) if label.lower() != NEUTRAL]
    is_target, is_said = np.isin(targets, kept), np.isin(said, kept)
    hits = (is_target & (targets == said)).sum(-1)
    return 100 * _divide(2 * hits, is_target.sum(-1) + is_said.sum(-1))


SCORES = {WEIGHTED_F1: weighted_f1, MICRO_F1_WITHOUT_NEUTRAL: micro_f1_without_neutral}


def score_interval(runs: Sequence[Sequence[Prediction]], labels: Sequence[str], metric: str, seed: int = 0) -> Interval:
    """95% interval, over the choice of utterances, of the mean score of runs that answered the same ones.

    Raises:
        UserError: the runs are of other utterances.
    """
    answers = [_pair_answers(runs[0], run, labels) for run in runs]

    def statistic(targets: np.ndarray, *said: np.ndarray, axis: int) -> np.ndarray:
        moved = np.moveaxis(targets, axis, -1)
        return np.mean([SCORES[metric](moved, np.moveaxis(one, axis, -1), labels) for one in said], axis=0)

    data = (answers[0][0], *(one[2] for one in answers))
    return _bounds(_resample(data, statistic, seed).confidence_interval)


def compare_runs(
    first: Mapping[int, Sequence[Prediction]],
    second: Mapping[int, Sequence[Prediction]],
    labels: Sequence[str],
    metric: str,
    seed: int = 0,
) -> Comparison:
    """Two conditions, each seed -> predictions, over the seeds in common.

    Raises:
        UserError: no seed in common, other utterances, or other labels.
    """
    seeds = sorted(set(first) & set(second))
    if not seeds:
        raise UserError(f"no seed in common: {sorted(first)} and {sorted(second)}")
    answers = {number: _pair_answers(first[number], second[number], labels) for number in seeds}
    targets = answers[seeds[0]][0]
    said = [answers[number][side] for side in (1, 2) for number in seeds]

    def statistic(targets: np.ndarray, *said: np.ndarray, axis: int) -> np.ndarray:
        moved = np.moveaxis(targets, axis, -1)
        scores = [SCORES[metric](moved, np.moveaxis(one, axis, -1), labels) for one in said]
        return np.mean(scores[len(seeds) :], axis=0) - np.mean(scores[: len(seeds)], axis=0)

    result = _resample((targets, *said), statistic, seed)
    below, above = (result.bootstrap_distribution <= 0).sum(), (result.bootstrap_distribution >= 0).sum()
    return Comparison(
        difference=float(statistic(targets, *said, axis=-1)),
        interval=_bounds(result.confidence_interval),
        p_bootstrap=min(1.0, 2 * (min(below, above) + 1) / (RESAMPLES + 1)),
        p_mcnemar={number: mcnemar(*answers[number]) for number in seeds},
    )


def mcnemar(targets: np.ndarray, first: np.ndarray, second: np.ndarray) -> float:
    """Exact two-sided p that both are right equally often, from the utterances where one alone is right; 1 if none."""
    only_first = int(((first == targets) & (second != targets)).sum())
    only_second = int(((second == targets) & (first != targets)).sum())
    apart = only_first + only_second
    return float(binomtest(only_first, apart).pvalue) if apart else 1.0


def _pair_answers(
    first: Sequence[Prediction], second: Sequence[Prediction], labels: Sequence[str]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Targets, and what either said, of the utterances in the first one's order."""
    by_id = {(row.id, row.task): row for row in second}
    keys = [(row.id, row.task) for row in unique_predictions(first)]
    if set(keys) != set(by_id):
        raise UserError(f"{len(set(keys) ^ set(by_id))} utterances were scored by one of the two runs alone")
    targets, said = encode_answers(first, labels)
    others = encode_answers([by_id[key] for key in keys], labels)
    if (targets != others[0]).any():
        raise UserError("the two runs do not have the same gold labels")
    return targets, said, others[1]


def _resample(data: tuple[np.ndarray, ...], statistic, seed: int):
    return bootstrap(
        data,
        statistic,
        paired=True,
        vectorized=True,
        n_resamples=RESAMPLES,
        batch=BATCH,
        confidence_level=CONFIDENCE,
        method="percentile",
        rng=np.random.default_rng(seed),
    )


def _bounds(interval) -> Interval:
    return Interval(float(interval.low), float(interval.high))


def _divide(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """0 where the denominator is 0, as scikit-learn with zero_division=0."""
    return np.divide(numerator, denominator, out=np.zeros(np.shape(denominator)), where=np.asarray(denominator) > 0)
