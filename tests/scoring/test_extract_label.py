"""The label found in a generated answer, against its definition."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scoring.metrics import edit_distance, extract_label

LABELS = ("neutral", "joyful", "mad")


@pytest.mark.parametrize(
    ("answer", "labels", "expected"),
    [
        (" joyful", LABELS, "joyful"),
        ("mad, or rather joyful", LABELS, "mad"),
        ("Joyful.", LABELS, None),
        ("", LABELS, None),
        ("nomad", ("mad", "nomad"), "nomad"),
        ("a madman", ("mad", "nomad"), "mad"),
        ("no mad", ("mad", "nomad"), "mad"),
        ("nomad", ("mad", "sad"), "mad"),
        ("Speaker_12", ("Speaker_1", "Speaker_12", "Speaker_2"), "Speaker_12"),
        ("sadness", ("sad", "sadness"), "sadness"),
        ("sadnes", ("sad", "sadness"), "sad"),
        ("a+b", ("a", "a+b", "aab"), "a+b"),
        ("what?\n\njoyful", LABELS, "joyful"),
    ],
)
def test_label_found_in_an_answer(answer, labels, expected):
    assert extract_label(answer, labels) == expected
    assert extract_label(answer, tuple(reversed(labels))) == expected


def find_by_definition(answer: str, labels: list[str]) -> str | None:
    """Every place from the left, at each the labels from the longest: the first that stands there."""
    for place in range(len(answer)):
        standing = [label for label in labels if answer[place : place + len(label)] == label]
        if standing:
            return max(standing, key=len)
    return None


SHORT = st.text("abA.", max_size=8)
LABEL_SETS = st.lists(st.text("abA.", min_size=1, max_size=4), min_size=1, max_size=5, unique=True)


@given(SHORT, LABEL_SETS)
@settings(max_examples=400)
def test_label_found_is_the_one_of_the_definition(answer, labels):
    expected = find_by_definition(answer, labels)
    assert extract_label(answer, labels) == expected
    if expected is not None:
        assert extract_label(answer, labels, repair=True) == expected


def distance_by_definition(first: str, second: str) -> int:
    if not first or not second:
        return len(first) + len(second)
    return min(
        distance_by_definition(first[1:], second) + 1,
        distance_by_definition(first, second[1:]) + 1,
        distance_by_definition(first[1:], second[1:]) + (first[0] != second[0]),
    )


@given(st.text("abc", max_size=5), st.text("abc", max_size=5))
@settings(max_examples=100, deadline=None)
def test_edit_distance_is_the_one_of_the_definition(first, second):
    assert edit_distance(first, second) == distance_by_definition(first, second)


def test_repair_takes_the_nearest_label_and_the_first_on_a_tie():
    assert edit_distance("kitten", "sitting") == 3
    assert extract_label("joyfull", LABELS) == "joyful"
    assert extract_label("Joyous", LABELS) is None
    assert extract_label("Joyous", LABELS, repair=True) == "joyful"
    assert extract_label("bad", ("sad", "mad"), repair=True) == "sad"
    assert extract_label("bad", ("mad", "sad"), repair=True) == "mad"
    assert extract_label("", LABELS, repair=True) == "mad"


@pytest.mark.parametrize("labels", [(), ("sad", "")])
def test_label_sets_that_cannot_be_searched_are_refused(labels):
    with pytest.raises(ValueError, match="non-empty"):
        extract_label("sad", labels)
