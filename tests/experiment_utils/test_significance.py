"""Intervals and tests against scikit-learn, closed forms and results worked out by hand."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binom, norm
from sklearn.metrics import f1_score

from basics.errors import UserError
from data_utils.labels import MICRO_F1_WITHOUT_NEUTRAL, WEIGHTED_F1
from experiment_utils.significance import (
    compare_runs,
    encode_answers,
    mcnemar,
    micro_f1_without_neutral,
    score_interval,
    weighted_f1,
)
from scoring.metrics import Prediction, evaluate_predictions

LABELS = ("neutral", "joyful", "sad")


def make_predictions(answers: list[tuple[str, str | None]]) -> list[Prediction]:
    return [Prediction(f"meld/d/{turn}", "emotion_recognition", *answer) for turn, answer in enumerate(answers)]


def draw_predictions(seed: int, rows: int, right: float) -> list[Prediction]:
    """Targets are the same for every seed."""
    targets = np.random.default_rng(0).choice(LABELS, rows)
    random = np.random.default_rng(seed)
    said = np.where(random.random(rows) < right, targets, random.choice([*LABELS, "nothing"], rows))
    pairs = zip(targets.tolist(), said.tolist(), strict=True)
    return make_predictions([(target, None if answer == "nothing" else answer) for target, answer in pairs])


@pytest.mark.parametrize("seed", range(5))
def test_scores_are_those_of_the_metrics(seed: int) -> None:
    rows = draw_predictions(seed, 60, 0.5)
    targets, said = encode_answers(rows, LABELS)
    result = evaluate_predictions(rows, LABELS)
    assert weighted_f1(targets, said, LABELS) == pytest.approx(result.weighted_f1, abs=1e-9)
    assert micro_f1_without_neutral(targets, said, LABELS) == pytest.approx(result.micro_f1_without_neutral, abs=1e-9)


def test_scores_of_many_resamples_at_once() -> None:
    targets, said = encode_answers(draw_predictions(1, 40, 0.5), LABELS)
    order = np.random.default_rng(2).integers(0, 40, (6, 40))
    expected = [f1_score(targets[o], said[o], labels=[0, 1, 2], average="weighted", zero_division=0) for o in order]
    assert weighted_f1(targets[order], said[order], LABELS) == pytest.approx(100 * np.array(expected))


def test_the_interval_of_a_share_is_the_binomial_one() -> None:
    """With one label in the gold, micro F1 over the two labels is 2p / (1 + p), and p is binomial."""
    rows = make_predictions([("joyful", "joyful")] * 240 + [("joyful", "neutral")] * 160)
    found = score_interval([rows], ("neutral", "joyful"), MICRO_F1_WITHOUT_NEUTRAL)
    bounds = binom.ppf([0.025, 0.975], 400, 0.6) / 400
    low, high = 100 * 2 * bounds / (1 + bounds)
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.6)


def test_a_run_that_is_always_right_has_no_spread() -> None:
    rows = make_predictions([("joyful", "joyful"), ("sad", "sad")] * 20)
    found = score_interval([rows], LABELS, WEIGHTED_F1)
    assert (found.low, found.high) == (100.0, 100.0)


def test_the_interval_of_a_mean_is_that_of_the_mean_of_its_runs() -> None:
    """Accuracy of two labels: the mean of two runs that err apart varies less over utterances than either."""
    labels, rows = ("joyful", "sad"), 400
    gold = ["joyful", "sad"] * (rows // 2)
    wrong = {"joyful": "sad", "sad": "joyful"}
    errors = np.random.default_rng(3).random((2, rows)) < 0.3
    runs = [make_predictions([(g, wrong[g] if e else g) for g, e in zip(gold, of, strict=True)]) for of in errors]
    found = score_interval(runs, labels, WEIGHTED_F1)
    halves = (~errors).mean(axis=0)
    deviation = halves.std() / np.sqrt(rows)
    expected = [100 * (halves.mean() + norm.ppf(p) * deviation) for p in (0.025, 0.975)]
    assert [found.low, found.high] == pytest.approx(expected, abs=0.5)
    alone = score_interval(runs[:1], labels, WEIGHTED_F1)
    assert found.high - found.low < alone.high - alone.low


def test_mcnemar_is_the_exact_binomial_test() -> None:
    """One alone is right 3 times, the other 11: 2 x P(X <= 3) for 14 fair coins = 2 x 470 / 16384."""
    targets = np.zeros(30, dtype=int)
    first = np.array([0] * 3 + [1] * 11 + [0] * 16)
    second = np.array([1] * 3 + [0] * 11 + [0] * 16)
    assert mcnemar(targets, first, second) == pytest.approx(2 * (1 + 14 + 91 + 364) / 2**14)
    assert mcnemar(targets, second, first) == mcnemar(targets, first, second)
    assert mcnemar(targets, first, first) == 1.0


def test_the_paired_interval_is_the_normal_one() -> None:
    """Accuracy apart: +1, 0, -1 on each utterance, of known variance (micro F1 of labels without neutral)."""
    labels = ("joyful", "sad")
    targets, only_second, only_first = 400, 90, 60
    gold = ["joyful", "sad"] * (targets // 2)
    wrong = {"joyful": "sad", "sad": "joyful"}
    first = [g if number >= only_second else wrong[g] for number, g in enumerate(gold)]
    second = [wrong[g] if only_second <= number < only_second + only_first else g for number, g in enumerate(gold)]
    pair = [{42: make_predictions(list(zip(gold, said, strict=True)))} for said in (first, second)]
    found = compare_runs(*pair, labels, WEIGHTED_F1)
    share = (only_second - only_first) / targets
    deviation = np.sqrt(((only_second + only_first) / targets - share**2) / targets)
    assert found.difference == pytest.approx(100 * share, abs=0.2)
    expected = [100 * (share + norm.ppf(p) * deviation) for p in (0.025, 0.975)]
    assert [found.interval.low, found.interval.high] == pytest.approx(expected, abs=0.5)
    assert found.p_bootstrap == pytest.approx(2 * norm.sf(share / deviation), abs=0.01)


def test_a_run_against_itself() -> None:
    runs = {seed: draw_predictions(seed, 50, 0.6) for seed in (1, 2)}
    found = compare_runs(runs, runs, LABELS, WEIGHTED_F1)
    assert (found.difference, found.p_bootstrap, found.p_mcnemar) == (0.0, 1.0, {1: 1.0, 2: 1.0})


def test_seeds_in_common_are_averaged_and_order_does_not_count() -> None:
    first = {1: draw_predictions(1, 80, 0.4), 2: draw_predictions(2, 80, 0.4), 9: draw_predictions(9, 80, 0.4)}
    second = {1: draw_predictions(3, 80, 0.9)[::-1], 2: draw_predictions(4, 80, 0.9)}
    found = compare_runs(first, second, LABELS, WEIGHTED_F1)
    before, after = (
        sum(evaluate_predictions(runs[seed], LABELS).score for seed in (1, 2)) / 2 for runs in (first, second)
    )
    assert found.difference == pytest.approx(after - before)
    assert found.p_bootstrap < 0.01 and set(found.p_mcnemar) == {1, 2}


def test_runs_that_cannot_be_compared() -> None:
    rows = draw_predictions(1, 10, 0.5)
    with pytest.raises(UserError, match="no seed in common"):
        compare_runs({1: rows}, {2: rows}, LABELS, WEIGHTED_F1)
    with pytest.raises(UserError, match="3 utterances"):
        compare_runs({1: rows}, {1: rows[3:]}, LABELS, WEIGHTED_F1)
    other = [Prediction(rows[0].id, rows[0].task, "sad" if rows[0].target != "sad" else "joyful", "sad"), *rows[1:]]
    with pytest.raises(UserError, match="labels mad: not among neutral, joyful, sad"):
        compare_runs({1: rows}, {1: [*rows[:-1], replace(rows[-1], label="mad")]}, LABELS, WEIGHTED_F1)
    with pytest.raises(UserError, match="gold"):
        compare_runs({1: rows}, {1: other}, LABELS, WEIGHTED_F1)
