"""How sure a score or a difference is. What is drawn anew is the dialogue: utterances of one depend on each other.

Fewer than three seeds say nothing about other seeds: their intervals take the trained models as given, and a difference
between them gets neither interval nor p. From three on seeds are drawn too, as the upper of two levels.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from basics.errors import UserError
from experiment_utils.dialogue_counts import SCORES, Counts

RESAMPLES = 10_000
CONFIDENCE = 0.95
SEEDS_FOR_A_TEST = 3
ROUNDING = 1e-9  # points
BATCH = 1_000  # resamples at once: of MELD's 280 dialogues and 7 labels, half a megabyte of counts a run


@dataclass(frozen=True)
class Interval:
    """95% percentile bootstrap, in percent or points; over dialogues, and over seeds too where `over_seeds`."""

    low: float
    high: float
    over_seeds: bool


@dataclass(frozen=True)
class Comparison:
    """One condition against another on the same dialogues, over the seeds that both have.

    differences: seed -> points by which the second is better. interval, p: of their mean, by the two-level bootstrap
    (seeds, then dialogues), p two-sided: twice the share of resamples on the other side of 0; None with fewer than
    three seeds.
    """

    differences: Mapping[int, float]
    interval: Interval | None
    p: float | None

    @property
    def mean(self) -> float:
        """Points by which the second is better, the mean over seeds."""
        return float(np.mean(list(self.differences.values())))


def score_interval(runs: Sequence[Counts], metric: str, seed: int = 0) -> Interval:
    """95% interval of the mean score of runs that answered the same dialogues, a run for each seed.

    Raises:
        UserError: the runs are of other dialogues or gold labels.
    """
    return _bounds(_resample_means(_scores_of_resamples(runs, metric, seed), seed), len(runs))


def compare_runs(first: Mapping[int, Counts], second: Mapping[int, Counts], metric: str, seed: int = 0) -> Comparison:
    """Two conditions, each seed -> counts.

    Raises:
        UserError: no seed in common, or other dialogues, labels or gold labels.
    """
    seeds = sorted(set(first) & set(second))
    if not seeds:
        raise UserError(f"no seed in common: {sorted(first)} and {sorted(second)}")
    differences = {number: second[number].score(metric) - first[number].score(metric) for number in seeds}
    runs = [of[number] for of in (first, second) for number in seeds]
    if len(seeds) < SEEDS_FOR_A_TEST:
        _check_paired(runs)
        return Comparison(differences, None, None)
    scores = _scores_of_resamples(runs, metric, seed)
    means = _resample_means(scores[len(seeds) :] - scores[: len(seeds)], seed)
    return Comparison(differences, _bounds(means, len(seeds)), _share_beyond_zero(means))


def permutation_p(first: Counts, second: Counts, metric: str, seed: int = 0) -> float:
    """Two-sided p that two given models score alike: each dialogue's answers change sides with probability 1/2.

    Raises:
        UserError: the models answered other dialogues.
    """
    _check_paired([first, second])
    random = np.random.default_rng(seed)
    shape, sums = first.confusion.shape, [of.confusion.astype(float) for of in (first, second)]
    apart = (second.table - first.table).reshape(len(first.dialogues), -1).astype(float)
    observed = abs(second.score(metric) - first.score(metric))
    beyond = 0
    for start in range(0, RESAMPLES, BATCH):
        swapped = random.integers(0, 2, (min(BATCH, RESAMPLES - start), len(apart)))
        moved = (swapped @ apart).reshape(-1, *shape)
        sides = [SCORES[metric](side, first.labels) for side in (sums[0] + moved, sums[1] - moved)]
        beyond += int((np.abs(sides[1] - sides[0]) >= observed - ROUNDING).sum())
    return (beyond + 1) / (RESAMPLES + 1)


def holm(values: Sequence[float]) -> list[float]:
    """p-values of one group corrected by Holm's method, in their order; none above 1."""
    corrected = [0.0] * len(values)
    highest = 0.0
    for rank, place in enumerate(np.argsort(values, kind="stable")):
        highest = max(highest, min(1.0, (len(values) - rank) * values[place]))
        corrected[place] = highest
    return corrected


def _check_paired(runs: Sequence[Counts]) -> None:
    for run in runs[1:]:
        if run.labels != runs[0].labels:
            raise UserError(f"labels {', '.join(run.labels)} and {', '.join(runs[0].labels)}: compare runs of one set")
        if not runs[0].is_paired_with(run):
            alone = len(set(run.dialogues) ^ set(runs[0].dialogues))
            what = f"{alone} dialogues were scored by one of them alone" if alone else "they differ in gold labels"
            raise UserError(f"the runs are not of the same rows: {what}")


def _scores_of_resamples(runs: Sequence[Counts], metric: str, seed: int) -> np.ndarray:
    """(runs, resamples) scores, the dialogues of a resample the same for all runs."""
    _check_paired(runs)
    random = np.random.default_rng(seed)
    count, shape = len(runs[0].dialogues), runs[0].confusion.shape
    flat = [run.table.reshape(count, -1).astype(float) for run in runs]
    parts = []
    for start in range(0, RESAMPLES, BATCH):
        drawn = random.multinomial(count, [1 / count] * count, min(BATCH, RESAMPLES - start)).astype(float)
        parts.append([SCORES[metric]((drawn @ of).reshape(-1, *shape), runs[0].labels) for of in flat])
    return np.concatenate(parts, axis=1)


def _resample_means(values: np.ndarray, seed: int) -> np.ndarray:
    """(seeds, resamples) -> (resamples) means over seeds, which are drawn anew where there are enough of them."""
    seeds, resamples = values.shape
    if seeds < SEEDS_FOR_A_TEST:
        return values.mean(axis=0)
    drawn = np.random.default_rng([seed, seeds]).integers(0, seeds, (seeds, resamples))
    return np.take_along_axis(values, drawn, axis=0).mean(axis=0)


def _bounds(means: np.ndarray, seeds: int) -> Interval:
    low, high = np.quantile(means, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Interval(float(low), float(high), seeds >= SEEDS_FOR_A_TEST)


def _share_beyond_zero(means: np.ndarray) -> float:
    below, above = int((means <= 0).sum()), int((means >= 0).sum())
    return min(1.0, 2 * (min(below, above) + 1) / (len(means) + 1))
