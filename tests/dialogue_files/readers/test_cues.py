"""Cues of subtitles: which lines are times, which are marks of cues, and what is refused."""

import pytest

from corpora import said_in
from dialogue_files.turns import LineError

TIMES = "00:00:01,000 --> 00:00:02,000"


@pytest.mark.parametrize("line", ["0:00:01 - 0:00:05 is how long", "0:00:01-0:00:05: never", "at 00:00:01 - 00:00:05"])
def test_times_among_words_are_said(line: str) -> None:
    assert said_in("srt", f"1\n{TIMES}\nAnn: a\n{line}\n") == [("Ann", f"a {line}")]


@pytest.mark.parametrize("line", [f"{TIMES}x", "0:00:01 - 0:00:05", f"{TIMES[:12]} → {TIMES[:12]}"])
def test_times_that_are_malformed_are_refused(line: str) -> None:
    with pytest.raises(LineError, match="line 5: .* are no times, allowed are such as 00:00:01,000 -->"):
        said_in("srt", f"1\n{TIMES}\nAnn: a\n\n{line}\nb\n")


def test_a_file_without_cues_is_refused() -> None:
    with pytest.raises(LineError, match="line 1: no cue begins with 'Kitchen', allowed is a line of times with '-->'"):
        said_in("srt", "Kitchen\n")


@pytest.mark.parametrize("begin", ["0:00:01.50", "0:00:01.50x", "x0:00:01.50", ""])
def test_what_is_no_time_in_substation_alpha_is_passed_over(begin: str) -> None:
    content = f"Format: Start, End, Name, Text\n  Dialogue: {begin},0:02,Ann,a  \n"
    assert said_in("ass", content) == [("Ann", "a")]


def test_a_number_is_said_where_cues_have_none() -> None:
    assert said_in("srt", f"{TIMES}\nAnn: a\n5\n{TIMES}\nb\n\n7\n") == [("Ann", "a 5"), ("Ann", "b 7")]
    assert said_in("srt", f"1\n{TIMES}\nAnn: a\n5\n{TIMES}\nb\n\n7\n") == [("Ann", "a"), ("Ann", "b")]


def test_a_number_before_the_first_cue_may_stand_alone_but_no_words() -> None:
    cues = f"{TIMES}\nAnn: a\n5\n{TIMES}\nb\n"
    assert said_in("srt", f"1\n\n{cues}") == [("Ann", "a 5"), ("Ann", "b")]
    assert said_in("srt", f"1\n\n2\n{cues}") == [("Ann", "a"), ("Ann", "b")]
    with pytest.raises(LineError, match="line 1: no cue begins with 'Kitchen'"):
        said_in("srt", f"Kitchen\n\n{cues}")


@pytest.mark.parametrize("column", ["Name", "Actor"])
def test_who_speaks_in_substation_alpha_stands_in_either_column(column: str) -> None:
    assert said_in("ass", f"Format: Start, End, {column}, Text\nDialogue: 0:01,0:02,Ann,a\n") == [("Ann", "a")]


def test_a_cue_of_substation_alpha_has_a_thousand_lines_at_most() -> None:
    head = "Format: Start, End, Name, Text\nDialogue: 0:01,0:02,Ann,"
    assert said_in("ass", head + r"\N".join("a" * 1000)) == [("Ann", " ".join("a" * 1000))]
    with pytest.raises(LineError, match="line 2: a cue of 1,001 lines, allowed are 1,000"):
        said_in("ass", head + r"\N".join("a" * 1001))


def test_two_lines_of_a_cue_have_ten_thousand_characters_at_most() -> None:
    first, second = "a" * 4995, "b" * 5000
    assert said_in("srt", f"1\n{TIMES}\nAnn: {first}\n{second}\n") == [("Ann", f"{first} {second}")]
    with pytest.raises(LineError, match="line 4: a cue does not end"):
        said_in("srt", f"1\n{TIMES}\nAnn: {first}\n{second}b\n")
