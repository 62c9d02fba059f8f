"""Intervals and p-values of scores and differences. Dialogues are resampled, as the utterances of one are dependent.

Fewer than three seeds say nothing about other seeds: their intervals take the trained models as given, and a difference
between them gets neither interval nor p. From three on a mean over seeds has two levels of chance: its variance is that
over dialogues (bootstrap) plus that between the seeds, divided by their number. Both are estimated from few, the sample
has ten dialogues: variances are of one less, and intervals are Student's t with the degrees of freedom of both parts
together (Satterthwaite 1946, Biometrics Bulletin 2). How often p is below 0.05 where nothing differs is held by a test.
One dialogue says nothing about others: a score may then be any, and a difference has neither interval nor p.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Self

import numpy as np

from basics.errors import UserError
from basics.words import counted
from experiment_utils.dialogue_counts import PERCENT, Counts, Scorer, f1_of_labels, score_by, sum_up

RESAMPLES = 10_000
SEED = 0  # of the draws here; elsewhere, seeds are those of runs
CONFIDENCE = 0.95
SEEDS_FOR_A_TEST = 3
ROUNDING = 1e-9  # points
BATCH = 1_000  # resamples at once: of MELD's 7 labels, 0.2 MB of sums a run
MOST_KEPT = 1_000  # dialogues whose resamples are kept, in 10 MB


@dataclass(frozen=True)
class Interval:
    """A 95% interval, in percent or points."""

    low: float
    high: float


@dataclass(frozen=True)
class Paired:
    """Answers of two systems on one dataset: for each seed a pair of counts on the same dialogues."""

    pairs: Sequence[tuple[Counts, Counts]]
    metric: str

    @property
    def differences(self) -> list[float]:
        """Points by which the second system is better, for each seed."""
        return [second.score(self.metric) - first.score(self.metric) for first, second in self.pairs]

    @property
    def mean(self) -> float:
        """Their mean over seeds."""
        return float(np.mean(self.differences))

    @property
    def says_of_others(self) -> bool:
        """Whether seeds and dialogues are enough to say something of others."""
        return len(self.pairs) >= SEEDS_FOR_A_TEST and len(self.pairs[0][0].dialogues) > 1

    def check(self) -> None:
        """UserError where not all counts are of the same dialogues, labels and gold labels."""
        _check_paired([counts for pair in self.pairs for counts in pair])

    def permuted(self, swapped: np.ndarray) -> np.ndarray:
        """(draws, dialogues) of 0 and 1 -> (draws,) mean points, answers to dialogues of 1 swapped in all seeds."""
        found = np.zeros(len(swapped))
        for first, second in self.pairs:
            apart = sum_up(second.table - first.table).reshape(len(first.dialogues), -1).astype(float)
            moved = (swapped @ apart).reshape(-1, *first.sums.shape)
            sides = [score_by(self.metric)(side, first.labels) for side in (first.sums + moved, second.sums - moved)]
            found += sides[1] - sides[0]
        return found / len(self.pairs)


@dataclass(frozen=True)
class Comparison:
    """One condition against another on the same dialogues, over the seeds that both have.

    differences: seed -> points by which the second is better. interval, p: of their mean, p two-sided; None with fewer
    than three seeds, or one dialogue. left_out: seeds that only one of them has.
    """

    differences: Mapping[int, float]
    interval: Interval | None
    p: float | None
    left_out: tuple[int, ...] = ()

    @property
    def mean(self) -> float:
        """Points by which the second is better, the mean over seeds."""
        return float(np.mean(list(self.differences.values())))


def score_interval(runs: Sequence[Counts], metric: str) -> Interval:
    """95% interval of the mean score of runs that answered the same dialogues, a run for each seed.

    Raises:
        UserError: the runs are of other dialogues or gold labels.
    """
    values = [run.score(metric) for run in runs]
    return _interval_of(values, _scores_of_resamples(runs, score_by(metric)), runs)


def label_intervals(runs: Sequence[Counts]) -> list[tuple[float, Interval]]:
    """F1 of every label in percent, the mean over runs, with its interval as of `score_interval`."""
    resamples = _scores_of_resamples(runs, lambda sums, labels: f1_of_labels(sums))
    values = np.array([f1_of_labels(run.sums) for run in runs])  # (runs, labels)
    return [
        (float(values[:, place].mean()), _interval_of(values[:, place], resamples[..., place], runs))
        for place in range(values.shape[1])
    ]


def _interval_of(values: Sequence[float], resamples: np.ndarray, runs: Sequence[Counts]) -> Interval:
    """The interval of the mean of runs' scores, see `_Mean.of`; of one dialogue all that a score can be."""
    if len(runs[0].dialogues) == 1:
        return Interval(0.0, PERCENT)
    found = _Mean.of(values, resamples, len(runs[0].dialogues)).interval
    return Interval(max(found.low, 0.0), min(found.high, PERCENT))


def compare_runs(first: Mapping[int, Counts], second: Mapping[int, Counts], metric: str) -> Comparison:
    """Compares two conditions, each given as seed -> counts.

    Raises:
        UserError: no seed in common, or other dialogues, labels or gold labels.
    """
    seeds, left_out = sorted(set(first) & set(second)), tuple(sorted(set(first) ^ set(second)))
    if not seeds:
        raise UserError(f"no seed in common: {sorted(first)} and {sorted(second)}")
    paired = Paired([(first[number], second[number]) for number in seeds], metric)
    differences = dict(zip(seeds, paired.differences, strict=True))
    if not paired.says_of_others:
        paired.check()
        return Comparison(differences, None, None, left_out)
    found = _Mean.of_differences(paired)
    return Comparison(differences, found.interval, found.p, left_out)


def points_interval(datasets: Sequence[Paired]) -> Interval | None:
    """95% interval of the points by which the second system is better, in the mean over datasets and seeds.

    Datasets count as independent. None where one has fewer than three seeds, or one dialogue.

    Raises:
        UserError: the systems answered other dialogues, or their seeds did.
    """
    if not all(paired.says_of_others for paired in datasets):
        return None
    return _Mean.together([_Mean.of_differences(paired) for paired in datasets]).interval


@dataclass(frozen=True)
class _Mean:
    """A mean over seeds, its standard error and the degrees of freedom of that, all in points."""

    value: float
    error: float
    freedom: float

    @classmethod
    def of(cls, values: Sequence[float], resamples: np.ndarray, dialogues: int) -> Self:
        """values: of each seed. resamples: (seeds, resamples) of the same, over that many dialogues (two or more) drawn
        anew.

        What is peculiar to a seed on a dialogue counts in both parts: where there is much of it, the error is too large
        rather than too small. Of fewer than three seeds the part of the seeds is left out.
        """
        seeds = len(values)
        between = float(np.var(values, ddof=1)) / seeds if seeds >= SEEDS_FOR_A_TEST else 0.0
        within = float(np.var(resamples.mean(axis=0))) * dialogues / (dialogues - 1)
        doubt = between**2 / max(seeds - 1, 1) + within**2 / (dialogues - 1)
        freedom = (between + within) ** 2 / doubt if doubt > 0 else 1.0  # nothing varies: any number will do
        return cls(float(np.mean(values)), float(np.sqrt(between + within)), freedom)

    @classmethod
    def of_differences(cls, paired: Paired) -> Self:
        """The mean of the points by which the second system is better."""
        runs = [pair[side] for side in (0, 1) for pair in paired.pairs]
        firsts, seconds = np.split(_scores_of_resamples(runs, score_by(paired.metric)), 2)
        return cls.of(paired.differences, seconds - firsts, len(runs[0].dialogues))

    @classmethod
    def together(cls, parts: Sequence[Self]) -> Self:
        """The mean of several independent means."""
        variances = np.array([part.error**2 for part in parts])
        doubt = float((variances**2 / np.array([part.freedom for part in parts])).sum())
        freedom = float(variances.sum()) ** 2 / doubt if doubt > 0 else 1.0
        value = float(np.mean([part.value for part in parts]))
        return cls(value, float(np.sqrt(variances.sum())) / len(parts), freedom)

    @property
    def interval(self) -> Interval:
        from scipy.special import stdtrit  # slow to import, and what only lists conditions does without

        reach = float(stdtrit(self.freedom, (1 + CONFIDENCE) / 2)) * self.error
        return Interval(self.value - reach, self.value + reach)

    @property
    def p(self) -> float:
        """The two-sided p that the mean is 0; 1 where nothing differs and nothing varies."""
        from scipy.special import stdtr

        if self.error <= ROUNDING:
            return 1.0 if abs(self.value) <= ROUNDING else 0.0
        return float(2 * stdtr(self.freedom, -abs(self.value) / self.error))


def permutation_p(datasets: Sequence[Paired]) -> float:
    """Two-sided p that two systems, given as trained, score alike, by the mean of the points over datasets.

    The answers to a dialogue are swapped with probability 1/2, those of all seeds together, as they are dependent. With
    one dataset and one seed, it is the test of two given models.

    Raises:
        UserError: the systems answered other dialogues, or their seeds did.
    """
    for paired in datasets:
        paired.check()
    random = np.random.default_rng(SEED)
    observed = abs(np.mean([paired.mean for paired in datasets]))
    beyond = 0
    for start in range(0, RESAMPLES, BATCH):
        draws = min(BATCH, RESAMPLES - start)
        sides = [random.integers(0, 2, (draws, len(paired.pairs[0][0].dialogues))) for paired in datasets]
        means = [paired.permuted(swapped) for paired, swapped in zip(datasets, sides, strict=True)]
        beyond += int((np.abs(np.mean(means, axis=0)) >= observed - ROUNDING).sum())
    return (beyond + 1) / (RESAMPLES + 1)


def holm(values: Sequence[float]) -> list[float]:
    """p-values of one family corrected by Holm's method, in their order; none above 1."""
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
            what = f"{counted(alone, 'dialogue')} in one of them alone" if alone else "they differ in gold labels"
            raise UserError(f"the runs are not of the same rows: {what}")


def _scores_of_resamples(runs: Sequence[Counts], score: Scorer) -> np.ndarray:
    """(runs, resamples[, labels]) scores; a resample has the same dialogues for all runs."""
    _check_paired(runs)
    count = len(runs[0].dialogues)
    sums = np.stack([sum_up(run.table) for run in runs], axis=1)  # (dialogues, runs, 3, labels)
    flat = sums.reshape(count, -1).astype(float)
    draw = _kept_draws if count <= MOST_KEPT else _draw_dialogues
    parts = [
        score((drawn.astype(float) @ flat).reshape(-1, *sums.shape[1:]), runs[0].labels)
        for drawn in draw(count, RESAMPLES)
    ]
    return np.ascontiguousarray(np.concatenate(parts).swapaxes(0, 1))


def _draw_dialogues(count: int, resamples: int) -> Iterator[np.ndarray]:
    """Batches of (resamples, dialogues): how often a resample has each dialogue."""
    random = np.random.default_rng(SEED)
    for start in range(0, resamples, BATCH):
        # Each about once: one byte is enough.
        yield random.multinomial(count, [1 / count] * count, min(BATCH, resamples - start)).astype(np.uint8)


@lru_cache(maxsize=96)  # a report needs those of three datasets and of their parts, hundreds of times each
def _kept_draws(count: int, resamples: int) -> tuple[np.ndarray, ...]:
    return tuple(_draw_dialogues(count, resamples))
