"""Names on lines of their own, above the text: what stands between them, and whose it is."""

import pytest

from corpora import said_in


@pytest.mark.parametrize("line", ["Wait: no.", "so: no.", "The truth is: no."])
def test_words_before_a_colon_are_said_below_a_name(line: str) -> None:
    assert said_in("headings", f"Ann:\nHi.\n{line}\nBen:\nOh.\n") == [("Ann", f"Hi. {line}"), ("Ben", "Oh.")]


def test_a_part_of_a_recording_is_told_as_left_out() -> None:
    talk = "Ann\n0:01\na\nBen\n0:02\nb\n"
    assert said_in("headings", f"Intro\n0:00\n{talk}Chapter 2\n0:03\n{talk}") == [
        *("notices", ("Ann", "a"), "directions", ("Ben", "b"), ("Ann", "a"), ("Ben", "b"))  # once a turn has ended
    ]


@pytest.mark.parametrize("day", ["Mittwoch, 01.05.2024", "mercredi 01/05/2024", "Miércoles, 1/5/2024"])
def test_a_day_of_the_week_before_a_date_is_nobody_in_other_languages(day: str) -> None:
    """Before a time alone 'Domingo' is somebody, as is 'Lena' before a date."""
    assert said_in("headings", f"{day} 10:00\nDomingo 10:01\na\nLena 01.05.2024 10:02\nb\n") == [
        *("notices", ("Domingo", "a"), ("Lena", "b"))
    ]


def test_speech_may_begin_with_a_time() -> None:
    said = "10:02 is too early."
    assert said_in("headings", f"Ann Fox 0:01\n{said}\n10:02\nBen Low 0:05\nOh.\n") == [
        *("lines of times", ("Ann Fox", said), ("Ben Low", "Oh."))
    ]
