"""Transcripts as people and services write them: which form they are of, who speaks, what is said of them."""

import pytest

from dialogue_files.reading import find_text_form, read_text
from dialogue_files.report import Report


def read(text: str) -> tuple[str, list[tuple[str, str]]]:
    """The form that is found, and the turns as (speaker, text)."""
    return find_text_form(text), [(one.speaker, one.text) for one in read_text(text)]


def told(text: str) -> list[str]:
    """What is said of a text, but for what is left out."""
    report = Report()
    read_text(text, report)
    return list(report.remarks)


TIMED = "Dana Fox  00:03\nGood morning.\n{}\nSam Lee  00:12\nI am fine.\n{}\n"


@pytest.mark.parametrize(
    "head",
    [
        "Sync\nFri, Jan 05, 2024 9:12AM • 14:32\n\nSUMMARY KEYWORDS\nrice, pan\n\nSPEAKERS\nDana Fox, Sam Lee\n\n",
        "TRANSCRIPT\nWeekly sync\n\nATTENDEES\nDana Fox, Sam Lee\n\n",
    ],
)
def test_a_head_in_capitals_makes_no_screenplay(head: str) -> None:
    turns = [("Dana Fox", "Good morning."), ("Sam Lee", "I am fine.")]
    assert read(head + TIMED.format("", "")) == ("headings", turns)
    assert read(head + TIMED[: TIMED.index("Sam")].format("")) == ("headings", turns[:1])


def test_what_is_shouted_makes_no_screenplay() -> None:
    shouted = TIMED.format("I SAID GO\nand he went", "NO WAY\nhe did")
    assert read(shouted) == (
        "headings",
        [("Dana Fox", "Good morning. I SAID GO and he went"), ("Sam Lee", "I am fine. NO WAY he did")],
    )


@pytest.mark.parametrize("line", ["At 7:30", "It's 7:30\nat 7:30"])
def test_a_time_that_is_said_makes_no_heading_of_a_screenplay(line: str) -> None:
    scene = f"RUTH\nSee you then.\n{line}\n\nPAUL\nFine.\n\n"
    assert read(scene * 4)[0] == "screenplay" and read("RUTH\nAt 7:30\n\nPAUL\nFine.\n")[0] == "screenplay"
