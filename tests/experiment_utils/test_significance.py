"""Intervals and tests against closed forms, results worked out by hand, and rows that depend on each other."""

from collections.abc import Sequence

import numpy as np
import pytest
from scipy.stats import binom, norm, t, ttest_1samp

from basics.errors import UserError
from data_utils.labels import MICRO_F1_WITHOUT_NEUTRAL, WEIGHTED_F1
from experiment_utils import significance
from experiment_utils.dialogue_counts import Counts
from experiment_utils.significance import (
    Interval,
    Paired,
    compare_runs,
    holm,
    label_intervals,
    permutation_p,
    points_interval,
    score_interval,
)

LABELS = ("neutral", "joyful", "sad")
PAIR = ("joyful", "sad")
WRONG = {"joyful": "sad", "sad": "joyful"}


def make_counts(answers: Sequence[tuple[str, str]], labels: Sequence[str] = LABELS, copies: int = 1) -> Counts:
    """A dialogue for each (label, answer), said `copies` times in it."""
    return Counts.of(((f"d{number:04}", *answer, copies) for number, answer in enumerate(answers)), labels)


def permuted_p(*pairs: Sequence[Counts]) -> float:
    """p of two systems on one dataset, a pair for each seed."""
    return permutation_p([Paired([(first, second) for first, second in pairs], WEIGHTED_F1)])


def draw_counts(seed: int, right: float, dialogues: int = 60) -> Counts:
    """Gold labels are the same for every seed, five utterances a dialogue."""
    gold = np.random.default_rng(0).choice(LABELS, (dialogues, 5))
    random = np.random.default_rng(seed)
    said = np.where(random.random(gold.shape) < right, gold, random.choice(LABELS, gold.shape))
    pairs = [(f"d{d}", str(g), str(s), 1) for d in range(dialogues) for g, s in zip(gold[d], said[d], strict=True)]
    return Counts.of(pairs, LABELS)


def test_the_interval_of_a_share_is_the_binomial_one() -> None:
    """With one label in the gold, micro F1 over the two labels is 2p / (1 + p), and p is binomial."""
    counts = make_counts([("joyful", "joyful")] * 240 + [("joyful", "neutral")] * 160, ("neutral", "joyful"))
    found = score_interval([counts], MICRO_F1_WITHOUT_NEUTRAL)
    bounds = binom.ppf([0.025, 0.975], 400, 0.6) / 400
    low, high = 100 * 2 * bounds / (1 + bounds)
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.6)


def test_utterances_said_again_in_their_dialogue_make_nothing_surer() -> None:
    """Nine copies of each utterance are nine times as many rows and not one dialogue more."""
    answers = [(gold, gold if number % 3 else WRONG[gold]) for number, gold in enumerate(PAIR * 40)]
    alone = make_counts(answers, PAIR)
    again = make_counts(answers, PAIR, copies=9)
    assert again.rows == 9 * alone.rows
    once, often = (score_interval([counts], WEIGHTED_F1) for counts in (alone, again))
    assert (often.low, often.high) == pytest.approx((once.low, once.high), abs=1e-9)
    better = make_counts([(gold, gold) for gold, _ in answers], PAIR, copies=9)
    p = permuted_p((alone, make_counts([(gold, gold) for gold, _ in answers], PAIR)))
    assert permuted_p((again, better)) == p


def test_resamples_that_are_kept_are_those_that_are_drawn_anew(monkeypatch) -> None:
    counts = draw_counts(seed=1, right=0.6)
    kept = score_interval([counts], WEIGHTED_F1)
    monkeypatch.setattr(significance, "MOST_KEPT", len(counts.dialogues) - 1)
    assert kept == score_interval([counts], WEIGHTED_F1)


def test_a_run_that_is_always_right_has_no_spread() -> None:
    found = score_interval([make_counts([(label, label) for label in PAIR * 20])], WEIGHTED_F1)
    assert (found.low, found.high) == (100.0, 100.0)


def test_one_dialogue_says_nothing_of_others() -> None:
    """However alike its seeds are: a difference of 20 points in one dialogue had p 0 and an interval of no width."""
    right, wrong = (Counts.of([("d", "joyful", said, 8), ("d", "sad", "sad", 8)], PAIR) for said in PAIR)
    assert score_interval([right], WEIGHTED_F1) == score_interval([wrong] * 3, WEIGHTED_F1) == Interval(0.0, 100.0)
    assert {interval for _, interval in label_intervals([wrong])} == {Interval(0.0, 100.0)}
    found = compare_runs(dict.fromkeys(range(3), wrong), dict.fromkeys(range(3), right), WEIGHTED_F1)
    assert found.mean > 20 and found.interval is None and found.p is None
    pairs = Paired([(wrong, right)] * 3, WEIGHTED_F1)
    assert points_interval([pairs]) is None and permutation_p([pairs]) == 1.0


def test_an_interval_ends_where_scores_do() -> None:
    """One dialogue of twenty is right, or wrong: less than two standard errors from nothing, or from all."""
    gold = PAIR * 10
    right, wrong = ([(g, of.get(g, g)) for g in gold] for of in ({}, WRONG))
    few, most = (
        score_interval([make_counts(said, PAIR)], WEIGHTED_F1)
        for said in ([right[0], *wrong[1:]], [wrong[0], *right[1:]])
    )
    assert few.low == 0.0 and few.high < 20 and most.low > 80 and most.high == 100.0


def test_the_interval_of_the_mean_of_two_runs_is_narrower_than_of_one() -> None:
    """Accuracy of two labels: what varies over dialogues is half of each run's errors."""
    gold = PAIR * 200
    errors = np.random.default_rng(3).random((2, 400)) < 0.3
    runs = [make_counts([(g, WRONG[g] if e else g) for g, e in zip(gold, of, strict=True)], PAIR) for of in errors]
    found = score_interval(runs, WEIGHTED_F1)
    halves = (~errors).mean(axis=0)
    deviation = halves.std() / np.sqrt(400)
    expected = [100 * (halves.mean() + norm.ppf(p) * deviation) for p in (0.025, 0.975)]
    assert [found.low, found.high] == pytest.approx(expected, abs=0.5)


def test_from_three_seeds_on_the_spread_between_seeds_counts() -> None:
    """Runs that are right in all dialogues but the third's: between dialogues nothing varies but in the third."""
    gold = PAIR * 30
    runs = [make_counts([(g, g) for g in gold], PAIR)] * 2 + [make_counts([(g, "joyful") for g in gold], PAIR)]
    two = score_interval(runs[:2], WEIGHTED_F1)
    three = score_interval(runs, WEIGHTED_F1)
    assert (two.low, two.high) == (100.0, 100.0)
    assert three.low < 50 and three.high == 100.0


def test_the_interval_of_a_label_is_that_of_the_metric_that_counts_it_alone() -> None:
    labels, random = ("neutral", "joyful"), np.random.default_rng(5)
    runs = [make_counts(list(zip(labels * 40, random.choice(labels, 80), strict=True)), labels) for _ in range(2)]
    found = label_intervals(runs)
    for (mean, interval), other in zip(found, reversed(labels), strict=True):
        metric = f"micro_f1_without_{other}"
        assert mean == pytest.approx(np.mean([run.score(metric) for run in runs]))
        expected = score_interval(runs, metric)
        assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high))


def test_without_spread_over_dialogues_it_is_the_t_test_of_the_seeds() -> None:
    """Every dialogue alike: one utterance of each label, so that resamples of dialogues score the same."""
    gold = [(f"d{d}", label) for d in range(30) for label in PAIR]

    def scoring(copies_right: int) -> Counts:
        rows = [(d, g, g, copies_right) for d, g in gold] + [(d, g, WRONG[g], 10 - copies_right) for d, g in gold]
        return Counts.of(rows, PAIR)

    first = dict.fromkeys((1, 2, 3), scoring(5))
    found = compare_runs(
        first, {seed: scoring(right) for seed, right in zip((1, 2, 3), (6, 7, 9), strict=True)}, WEIGHTED_F1
    )
    apart = list(found.differences.values())
    expected = ttest_1samp(apart, 0.0)
    assert apart == pytest.approx([10.0, 20.0, 40.0]) and found.p == pytest.approx(expected.pvalue)
    bounds = expected.confidence_interval()
    assert (found.interval.low, found.interval.high) == pytest.approx((bounds.low, bounds.high))


@pytest.mark.parametrize("by_dialogue", [(10, 30), (0, 10, 30, 20, 50, 10)], ids=len)
@pytest.mark.parametrize("by_seed", [(0, 0, 0), (0, 10, 30)], ids=["seeds alike", "seeds apart"])
def test_both_parts_of_chance_by_hand(by_dialogue: Sequence[int], by_seed: Sequence[int]) -> None:
    """Points by which the second is better: of the dialogue and of the seed, added. As many of each label are right, so
    that the score is the share of right answers.
    """

    def scoring(points: Sequence[int]) -> Counts:
        rows = [(f"d{d}", g, g, 10 + p // 10) for d, p in enumerate(points) for g in PAIR]
        return Counts.of(
            rows + [(f"d{d}", g, WRONG[g], 10 - p // 10) for d, p in enumerate(points) for g in PAIR], PAIR
        )

    first = dict.fromkeys(range(3), scoring([0] * len(by_dialogue)))
    second = {seed: scoring([points + more for points in by_dialogue]) for seed, more in enumerate(by_seed)}
    found = compare_runs(first, second, WEIGHTED_F1)
    dialogues, seeds = np.array(by_dialogue) / 2, np.array(by_seed) / 2
    assert [*found.differences.values()] == pytest.approx(dialogues.mean() + seeds)
    parts = [of.var(ddof=1) / len(of) for of in (dialogues, seeds)]
    freedom = sum(parts) ** 2 / sum(part**2 / (len(of) - 1) for part, of in zip(parts, (dialogues, seeds), strict=True))
    error = np.sqrt(sum(parts))
    assert found.p == pytest.approx(2 * t.sf(found.mean / error, freedom), rel=0.04)
    reach = t.ppf(0.975, freedom) * error
    assert (found.interval.low, found.interval.high) == pytest.approx(
        (found.mean - reach, found.mean + reach), rel=0.04
    )


def test_where_nothing_varies_there_is_no_doubt() -> None:
    def scoring(right: int) -> dict[int, Counts]:
        said = [(g, *one) for g in PAIR for one in ((g, right), (WRONG[g], 1000 - right))]
        return dict.fromkeys(range(3), Counts.of([(f"d{d}", *one) for d in range(5) for one in said], PAIR))

    alike, apart = (compare_runs(scoring(900), scoring(right), WEIGHTED_F1) for right in (900, 901))
    assert (alike.mean, alike.p) == (0.0, 1.0) and apart.mean == pytest.approx(0.1) and apart.p == 0.0
    assert (apart.interval.low, apart.interval.high) == pytest.approx((0.1, 0.1))
    pairs = [(scoring(900)[seed], scoring(901)[seed]) for seed in range(3)]
    assert points_interval([Paired(pairs, WEIGHTED_F1)] * 2) == apart.interval


def test_a_difference_of_few_seeds_has_neither_interval_nor_p() -> None:
    first = {seed: draw_counts(seed, 0.4) for seed in (1, 2, 9)}
    second = {seed: draw_counts(seed + 10, 0.9) for seed in (1, 2)}
    found = compare_runs(first, second, WEIGHTED_F1)
    expected = {seed: second[seed].score(WEIGHTED_F1) - first[seed].score(WEIGHTED_F1) for seed in (1, 2)}
    assert found.differences == expected and found.mean == pytest.approx(sum(expected.values()) / 2)
    assert found.interval is None and found.p is None and found.left_out == (9,)


def test_seeds_that_disagree_prove_nothing() -> None:
    """The mean of +20, +1 and -3 points is 6 above 0, and any of the seeds might be the rule."""
    gold = PAIR * 100

    def better_by(points: int) -> Counts:
        right = 100 + 2 * points
        return make_counts([(g, g if number < right else WRONG[g]) for number, g in enumerate(gold)], PAIR)

    first = dict.fromkeys((1, 2, 3), better_by(0))
    disagreeing, agreeing = (
        compare_runs(first, dict(zip((1, 2, 3), map(better_by, points), strict=True)), WEIGHTED_F1)
        for points in ((20, 1, -3), (20, 20, 20))
    )
    assert disagreeing.p is not None and agreeing.p is not None
    assert disagreeing.p > 0.05 > 0.01 > agreeing.p
    assert disagreeing.interval.low < 0 < agreeing.interval.low


def test_permuting_dialogues_is_the_sign_test_where_dialogues_are_single_utterances() -> None:
    """Accuracy apart: one alone is right 4 times, the other 12: 2 x P(X <= 4) of 16 fair coins."""
    gold = PAIR * 50
    first = [WRONG[g] if number < 12 else g for number, g in enumerate(gold)]
    second = [WRONG[g] if 12 <= number < 16 else g for number, g in enumerate(gold)]
    pair = [make_counts(list(zip(gold, said, strict=True)), PAIR) for said in (first, second)]
    assert permuted_p(pair) == pytest.approx(2 * binom.cdf(4, 16, 0.5), abs=0.01)
    assert permuted_p((pair[0], pair[0])) == 1.0


@pytest.mark.parametrize("metric", [WEIGHTED_F1, MICRO_F1_WITHOUT_NEUTRAL])
def test_a_draw_has_the_points_of_runs_whose_answers_are_swapped(metric: str) -> None:
    pairs = [(draw_counts(seed, 0.4, 6), draw_counts(seed + 10, 0.8, 6)) for seed in range(2)]
    draws = np.array([[0] * 6, [1] * 6, [1, 0, 0, 1, 1, 0], [0, 0, 1, 0, 0, 0]])

    def swapped(pair: tuple[Counts, Counts], draw: np.ndarray) -> tuple[Counts, ...]:
        tables = [one.table for one in pair]
        sides = (np.where(draw[:, None, None], other, own) for own, other in (tables, tables[::-1]))
        return tuple(Counts(pair[0].dialogues, LABELS, side) for side in sides)

    expected = [Paired([swapped(pair, draw) for pair in pairs], metric).mean for draw in draws]
    assert expected[0] == -expected[1] > 0
    assert Paired(pairs, metric).permuted(draws) == pytest.approx(expected)


def test_seeds_that_agree_make_nothing_surer_and_datasets_do() -> None:
    """Three seeds that say the same are one; two datasets, on which a system gains as much, are twice the evidence."""
    pair = (draw_counts(1, 0.6), draw_counts(1, 0.62))
    alone = permuted_p(pair)
    assert 0.02 < alone < 0.5
    assert permuted_p(pair, pair, pair) == alone
    one, other = Paired([pair], WEIGHTED_F1), Paired([pair[::-1]], WEIGHTED_F1)
    assert permutation_p([one, one]) < alone
    assert permutation_p([one, other]) == 1.0
    assert one.mean == -other.mean == pair[1].score(WEIGHTED_F1) - pair[0].score(WEIGHTED_F1)
    assert Paired([pair, pair[::-1]], WEIGHTED_F1).mean == 0


def test_points_over_datasets_vary_less_than_over_one() -> None:
    """As many points on three datasets alike: a third of the variance. A dataset of two seeds leaves it open."""
    pairs = [(draw_counts(seed, 0.6), draw_counts(seed + 10, 0.66)) for seed in range(3)]
    one = Paired(pairs, WEIGHTED_F1)
    alone, together = points_interval([one]), points_interval([one] * 3)
    assert alone is not None and together is not None
    both = compare_runs(*({seed: pair[side] for seed, pair in enumerate(pairs)} for side in (0, 1)), WEIGHTED_F1)
    assert both.interval == alone and both.mean == one.mean
    middles = [(found.low + found.high) / 2 for found in (alone, together)]
    assert middles == pytest.approx([one.mean] * 2)
    assert (together.high - together.low) < (alone.high - alone.low) / 3**0.5
    assert points_interval([one, Paired(pairs[:2], WEIGHTED_F1)]) is None


@pytest.mark.parametrize("of", [10, 1_000])
def test_how_little_varies_does_not_change_the_degrees_of_freedom(of: int) -> None:
    """Seeds are better by 1, 2 and 4 answers of 10 or 1,000, in all dialogues alike: 2 degrees for each dataset."""

    def scoring(right: int) -> Counts:
        said = [(g, *one) for g in PAIR for one in ((g, right), (WRONG[g], of - right))]
        return Counts.of([(f"d{d}", *one) for d in range(5) for one in said], PAIR)

    one = Paired([(scoring(5), scoring(5 + more)) for more in (1, 2, 4)], WEIGHTED_F1)
    points = 100 / of * np.array([1, 2, 4])
    for datasets in (1, 2):
        reach = t.ppf(0.975, 2 * datasets) * points.std(ddof=1) / np.sqrt(3 * datasets)
        found = points_interval([one] * datasets)
        assert found is not None
        expected = (points.mean() - reach, points.mean() + reach)
        assert (found.low, found.high) == pytest.approx(expected, rel=1e-6)


def test_holm_by_hand() -> None:
    """0.01 x 3, 0.03 x 2, then not below: 0.04 -> 0.06."""
    assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0] and holm([]) == []


def test_runs_that_cannot_be_compared() -> None:
    counts = draw_counts(1, 0.5)
    with pytest.raises(UserError, match="no seed in common"):
        compare_runs({1: counts}, {2: counts}, WEIGHTED_F1)
    with pytest.raises(UserError, match="20 dialogues in one of them alone"):
        compare_runs({1: counts}, {1: draw_counts(1, 0.5, dialogues=40)}, WEIGHTED_F1)
    with pytest.raises(UserError, match="labels neutral, joyful, sad and joyful, sad: compare"):
        permuted_p((make_counts([("sad", "sad")], PAIR), make_counts([("sad", "sad")])))
    others = [make_counts([(gold, "sad")]) for gold in PAIR]
    for compare in (permuted_p, lambda runs: score_interval(runs, WEIGHTED_F1)):
        with pytest.raises(UserError, match="the same rows: they differ in gold labels$"):
            compare(others)
    of_others = [
        (draw_counts(seed, 0.5, dialogues), draw_counts(seed, 0.6, dialogues)) for seed, dialogues in ((1, 40), (2, 60))
    ]
    with pytest.raises(UserError, match="20 dialogues in one of them alone"):
        permuted_p(*of_others)


def test_as_many_resamples_are_drawn_as_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """In batches of which the last may be smaller."""
    drawn, plain = [], significance.score_by

    def noting(metric: str):
        def score(sums: np.ndarray, labels: Sequence[str]) -> np.ndarray:
            drawn.append(len(sums))
            return plain(metric)(sums, labels)

        return score

    monkeypatch.setattr(significance, "RESAMPLES", 7)
    monkeypatch.setattr(significance, "BATCH", 3)
    monkeypatch.setattr(significance, "score_by", noting)
    counts = draw_counts(1, 0.5)
    score_interval([counts], WEIGHTED_F1)
    assert drawn == [3, 3, 1]
    assert permuted_p((counts, counts)) == 1.0, "more draws at or beyond 0 than are asked for would make it larger"


@pytest.mark.parametrize("dialogues", [10, 50])
@pytest.mark.parametrize("seeds", [3, 5])
@pytest.mark.parametrize("spread", [0.0, 0.05])
def test_where_nothing_differs_but_chance_p_is_small_as_often_as_it_says(
    seeds: int, spread: float, dialogues: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """spread: of the share of right answers between seeds. Two recipes of one mean, each better on dialogues of its
    own, which are drawn anew.
    """
    monkeypatch.setattr(significance, "RESAMPLES", 200)
    random = np.random.default_rng([seeds, int(100 * spread), dialogues])
    gold = np.tile(PAIR, (dialogues, 4))

    def train(easy: np.ndarray) -> Counts:
        right = random.random(gold.shape) < np.clip(random.normal(0.6, spread) + easy, 0, 1)
        told = np.where(right, gold, np.vectorize(WRONG.get)(gold))
        return Counts.of(
            [(f"d{d}", str(g), str(s), 1) for d in range(dialogues) for g, s in zip(gold[d], told[d], strict=True)],
            PAIR,
        )

    values = []
    for _ in range(300):
        first, second = (random.normal(0, 0.15, (dialogues, 1)) for _ in "ab")
        runs = [{number: train(easy) for number in range(seeds)} for easy in (first, second)]
        values.append(compare_runs(*runs, WEIGHTED_F1).p)
    assert np.mean(np.array(values) < 0.05) <= 0.08 and np.mean(np.array(values) < 0.4) >= 0.15
