"""The filter over label transitions: by hand, by its properties, and beside its own turn-by-turn form."""

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from basics.errors import UserError
from data_utils.labels import MICRO_F1_WITHOUT_NEUTRAL, WEIGHTED_F1
from scoring.metrics import Prediction, evaluate_predictions, score_numbers
from scoring.transitions import (
    GRID,
    SMOOTHING,
    TransitionFilter,
    Transitions,
    count_transitions,
    decode_with,
    decode_without,
    fit_filter,
    order_turns,
    read_filter,
)

LABELS = ("calm", "mad")
STICKY = ((8, 2), (2, 8))
EVEN = ((5, 5), (5, 5))
NEVER = ((0, 0), (0, 0))


def log_shares(*rows: float) -> np.ndarray:
    """Shares of the first of two labels -> (rows, 2) log p."""
    first = np.array(rows)
    return np.log(np.stack([first, 1 - first], axis=1))


def test_order_is_of_each_dialogue_and_speaker() -> None:
    order = order_turns("xxyxyx", "ABAABB")
    assert order.dialogue.tolist() == [-1, 0, -1, 1, 2, 3]
    assert order.own.tolist() == [-1, -1, -1, 0, -1, 1]
    assert order.depth.tolist() == [0, 1, 0, 2, 1, 3]
    unknown = order_turns("xxx", [None, "A", None])
    assert unknown.own.tolist() == [-1, -1, -1] and unknown.dialogue.tolist() == [-1, 0, 1]


def test_labels_are_counted_after_the_turns_before() -> None:
    targets = ["calm", "mad", "calm", "calm", "mad"]
    counted = count_transitions(targets, order_turns("xxxyy", "ABAAA"), LABELS)
    assert counted == Transitions(LABELS, own=((1, 1), (0, 0)), dialogue=((0, 2), (1, 0)))
    with pytest.raises(ValueError, match="glad"):
        count_transitions(["glad"], order_turns("x", "A"), LABELS)


def test_ratios_by_hand() -> None:
    assert SMOOTHING == 10
    # Both labels stand in half of the pairs; (8 + 5) / 20 = 0.65 of what follows `calm` is `calm`.
    np.testing.assert_allclose(Transitions(LABELS, STICKY, NEVER).own_ratios, [[1.3, 0.7], [0.7, 1.3]])
    # 14 / 32 and 18 / 32 anyway: (8 + 4.375) / 20 is 0.61875 after `calm`, (5 + 4.375) / 30 is 0.3125 after `mad`.
    wanted = [[0.61875 / 0.4375, 0.38125 / 0.5625], [0.3125 / 0.4375, 0.6875 / 0.5625]]
    np.testing.assert_allclose(Transitions(LABELS, ((8, 2), (5, 15)), NEVER).own_ratios, wanted)
    # What never followed anything says nothing.
    np.testing.assert_allclose(Transitions(LABELS, STICKY, NEVER).dialogue_ratios, np.ones((2, 2)))


def test_beliefs_by_hand() -> None:
    order = order_turns("xxx", "ABA")
    log_p = log_shares(0.8, 0.5, 0.5)
    transitions = Transitions(LABELS, STICKY, STICKY)
    # 0.8 x 1.3 + 0.2 x 0.7 = 1.18 and 0.82, of both 0.59; then 0.59 x 1.3 + 0.41 x 0.7 = 1.054 and 0.946.
    found = TransitionFilter(transitions, dialogue_weight=1).beliefs(log_p, order)
    np.testing.assert_allclose(found[:, 0], [0.8, 0.59, 1.054 / 2])
    # B has no own turn before; A's is the first one.
    found = TransitionFilter(transitions, own_weight=2).beliefs(log_p, order)
    np.testing.assert_allclose(found[:, 0], [0.8, 0.5, 1.18**2 / (1.18**2 + 0.82**2)])
    # Roots of 0.8 and 0.2 are as 2 to 1; 2/3 x 1.3 + 1/3 x 0.7 = 1.1 and 0.9. Both turns speak for the third.
    found = TransitionFilter(transitions, 2.0, own_weight=1, dialogue_weight=1).beliefs(log_p, order)
    last = 1.1 * (0.55 * 1.3 + 0.45 * 0.7), 0.9 * (0.45 * 1.3 + 0.55 * 0.7)
    np.testing.assert_allclose(found[:, 0], [2 / 3, 0.55, last[0] / sum(last)])


def test_a_belief_is_handed_on_and_no_answer() -> None:
    transitions = Transitions(LABELS, NEVER, STICKY)
    found = TransitionFilter(transitions, dialogue_weight=1)
    for share in (0.51, 0.99):  # the same answer
        second = found.beliefs(log_shares(share, 0.5), order_turns("xx", "AB"))[1, 0]
        assert second == pytest.approx((share * 1.3 + (1 - share) * 0.7) / 2)


@st.composite
def scored_dialogues(draw):
    """(log p, order, filter) of a few dialogues with three labels."""
    lengths = draw(st.lists(st.integers(1, 6), min_size=1, max_size=4))
    dialogues = [number for number, length in enumerate(lengths) for _ in range(length)]
    speakers = draw(st.lists(st.integers(0, 2), min_size=len(dialogues), max_size=len(dialogues)))
    numbers = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    log_p = numbers.normal(scale=draw(st.floats(0.01, 300)), size=(len(dialogues), 3))
    own, dialogue = (tuple(map(tuple, numbers.integers(0, 50, (3, 3)).tolist())) for _ in range(2))
    setting = draw(st.sampled_from(GRID.tolist()))
    return log_p, dialogues, speakers, TransitionFilter(Transitions(("a", "b", "c"), own, dialogue), *setting)


@settings(deadline=None)
@given(scored_dialogues())
def test_beliefs_are_shares_and_weights_of_nothing_change_nothing(case) -> None:
    log_p, dialogues, speakers, found = case
    order = order_turns(dialogues, speakers)
    beliefs = found.beliefs(log_p, order)
    assert (beliefs >= 0).all()
    np.testing.assert_allclose(beliefs.sum(axis=1), 1)
    plain = TransitionFilter(found.transitions)
    assert plain.answers(log_p, order).tolist() == log_p.argmax(axis=1).tolist()
    first = order.depth == 0
    assert found.answers(log_p, order)[first].tolist() == log_p[first].argmax(axis=1).tolist()


@settings(deadline=None)
@given(scored_dialogues(), st.data())
def test_no_turn_sees_a_later_one_or_another_dialogue(case, data) -> None:
    log_p, dialogues, speakers, found = case
    place = data.draw(st.integers(0, len(log_p) - 1))
    before = found.beliefs(log_p, order_turns(dialogues, speakers))
    sees = [other for other in range(len(log_p)) if dialogues[other] == dialogues[place] and other >= place]
    changed = log_p.copy()
    changed[place] = -log_p[place] + [0, 5, -5]
    others = list(speakers)
    others[place] = 7
    after = found.beliefs(changed, order_turns(dialogues, others))
    kept = [other for other in range(len(log_p)) if other not in sees]
    np.testing.assert_allclose(after[kept], before[kept], rtol=1e-12)
    # A prefix of the file gives the same beliefs as the whole.
    part = found.beliefs(log_p[: place + 1], order_turns(dialogues[: place + 1], speakers[: place + 1]))
    np.testing.assert_allclose(part, before[: place + 1], rtol=1e-12)


def test_a_later_turn_is_changed_by_an_earlier_one() -> None:
    found = TransitionFilter(Transitions(LABELS, STICKY, STICKY), 1.0, 1.0, 1.0)
    order = order_turns("xx", "AA")
    one, other = (found.beliefs(log_shares(share, 0.5), order) for share in (0.2, 0.8))
    assert one[1, 0] < 0.5 < other[1, 0]


@settings(deadline=None)
@given(scored_dialogues(), st.randoms())
def test_the_order_of_dialogues_is_no_matter(case, random) -> None:
    log_p, dialogues, speakers, found = case
    shuffled = sorted(set(dialogues))
    random.shuffle(shuffled)
    moved = sorted(range(len(dialogues)), key=lambda place: (shuffled.index(dialogues[place]), place))
    there = found.beliefs(log_p, order_turns(dialogues, speakers))
    order = order_turns([dialogues[place] for place in moved], [speakers[place] for place in moved])
    np.testing.assert_allclose(found.beliefs(log_p[moved], order), there[moved], rtol=1e-12)


@settings(deadline=None)
@given(scored_dialogues())
def test_step_by_step_is_the_same(case) -> None:
    log_p, dialogues, speakers, found = case
    last: dict = {}
    steps = []
    for row, dialogue, speaker in zip(log_p, dialogues, speakers, strict=True):
        steps.append(found.step(row, last.get((dialogue, speaker)), last.get(dialogue)))
        last[dialogue, speaker] = last[dialogue] = steps[-1]
    np.testing.assert_allclose(steps, found.beliefs(log_p, order_turns(dialogues, speakers)), rtol=1e-12, atol=1e-300)


def fitted(log_p: np.ndarray, gold: list[int], transitions: Transitions) -> TransitionFilter:
    """Fitted on one dialogue of one speaker."""
    order = order_turns("x" * len(gold), "A" * len(gold))
    return fit_filter(transitions, log_p, order, partial(score_numbers, gold, labels=LABELS, metric=WEIGHTED_F1))


def test_what_scores_best_is_chosen_and_of_equals_the_plainest() -> None:
    gold = [0, 0, 0, 1, 1, 1]
    right = fitted(log_shares(0.9, 0.9, 0.9, 0.1, 0.1, 0.1), gold, Transitions(LABELS, STICKY, STICKY))
    assert (right.temperature, right.own_weight, right.dialogue_weight) == (1, 0, 0)
    assert right.score == right.score_without == 100
    unsure = log_shares(0.9, 0.48, 0.9, 0.1, 0.52, 0.1)
    helped = fitted(unsure, gold, Transitions(LABELS, STICKY, EVEN))
    assert helped.score == 100 and helped.score_without == pytest.approx(200 / 3)
    assert (helped.temperature, helped.own_weight, helped.dialogue_weight) == (1, 0.25, 0)
    # Only the last turn of the dialogue tells anything here.
    other = fitted(unsure, gold, Transitions(LABELS, NEVER, STICKY))
    assert (other.temperature, other.own_weight, other.dialogue_weight) == (1, 0, 0.25)


def test_plainer_settings_come_first() -> None:
    """By the sum of the weights, then the temperature, then the weight of the own turn."""
    plain = [[1, 0, 0], [1.5, 0, 0], [2, 0, 0], [3, 0, 0], [5, 0, 0]]
    assert GRID[:8].tolist() == [*plain, [1, 0, 0.25], [1, 0.25, 0], [1.5, 0, 0.25]]
    assert len(GRID) == len(set(map(tuple, GRID.tolist()))) == 5 * 6 * 6
    assert GRID[-2:].tolist() == [[3, 1.5, 1.5], [5, 1.5, 1.5]] and set(GRID[:, 1]) == {0, 0.25, 0.5, 0.75, 1, 1.5}


def test_the_number_that_is_searched_by_is_the_headline() -> None:
    labels, gold, said = ("neutral", "glad", "mad"), [0, 1, 2, 2, 1], [0, 1, 1, 2, 0]
    rows = [Prediction(str(n), "", labels[g], labels[s]) for n, (g, s) in enumerate(zip(gold, said, strict=True))]
    for metric in (WEIGHTED_F1, MICRO_F1_WITHOUT_NEUTRAL):
        assert score_numbers(gold, said, labels, metric) == evaluate_predictions(rows, labels, metric).score


def test_predictions_keep_their_log_p() -> None:
    rows = [
        Prediction(f"s/x/{turn}", "t", "mad", "calm", dict(zip(LABELS, log_p, strict=True)))
        for turn, log_p in enumerate(log_shares(0.1, 0.55).tolist())
    ]
    found = TransitionFilter(Transitions(LABELS, STICKY, STICKY), 1.0, 1.0, 0.0)
    decoded = decode_with(found, rows, order_turns("xx", "AA"))
    assert [row.label for row in decoded] == ["mad", "mad"]
    assert [row.scores for row in decoded] == [row.scores for row in rows]
    assert [row.label for row in decode_without(decoded)] == ["mad", "calm"]
    assert decode_with(found, [], order_turns("", "")) == []


def test_a_filter_comes_back_from_its_file(tmp_path: Path) -> None:
    found = TransitionFilter(Transitions(LABELS, STICKY, EVEN), 1.5, 0.25, 0.75, 61.2, 60.0)
    path = tmp_path / "transitions.json"
    path.write_text(found.render())
    assert read_filter(path) == found
    assert json.loads(path.read_text())["dialogue_weight"] == 0.75
    most = TransitionFilter(Transitions(("ruhig", "wütend"), ((10**12, 0), (0, 10**12)), NEVER))
    path.write_text(most.render(), encoding="utf-8")
    assert read_filter(path) == most and "wütend" in most.render()
    nothing_followed = TransitionFilter(Transitions(LABELS, NEVER, NEVER))
    path.write_text(nothing_followed.render())
    assert read_filter(path) == nothing_followed
    assert most.chosen == {
        "temperature": 1.0,
        **dict.fromkeys(("own_weight", "dialogue_weight", "score", "score_without"), 0.0),
    }


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"version": 2}, "version 2"),
        ({"own": [[1, 2]]}, "do not fit"),
        ({"labels": ["calm"]}, "do not fit"),
        ({"labels": ["calm", 1]}, "do not fit"),
        ({"labels": [], "own": [], "dialogue": []}, "do not fit"),
        ({"temperature": 0}, "out of range"),
        ({"own_weight": float("nan")}, "out of range"),
        ({"dialogue": [[1, 2], [3, -1]]}, "out of range"),
        ({"own": [[1, 2], [3, 10**12 + 1]]}, "out of range"),
        ({"score": None}, "TypeError"),
    ],
)
def test_another_file_is_refused_in_one_line(tmp_path: Path, change: dict, told: str) -> None:
    content = json.loads(TransitionFilter(Transitions(LABELS, STICKY, EVEN)).render()) | change
    path = tmp_path / "transitions.json"
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match=told) as caught:
        read_filter(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)
    for text in ("[]", "{", "null"):
        path.write_text(text)
        with pytest.raises(UserError, match="transitions.json"):
            read_filter(path)
    with pytest.raises(UserError, match="--decode transitions writes it"):
        read_filter(tmp_path / "missing.json")
