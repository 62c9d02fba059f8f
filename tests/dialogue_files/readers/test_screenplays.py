"""Screenplays: which files are some, by shouts, times and names with a colon; and whose speech a line is."""

import pytest

from corpora import said_in
from dialogue_files.reading import find_text_form

SCENE = "RUTH\nSee you then.\n\n"


@pytest.mark.parametrize(
    ("text", "form"),
    [
        (SCENE * 2, "screenplay"),
        (SCENE, "text"),  # one shout
        (f"{SCENE * 3}Ann: a\nBen: b\n", "screenplay"),
        (f"{SCENE * 2}Ann: a\nBen: b\n", "text"),
        (f"Present: Ann\nApologies: Ben\n{SCENE * 2}", "screenplay"),
        (f"Scene 1: a boat\nNote: it rains\n{SCENE * 2}", "screenplay"),
        (f"{SCENE * 2}Lunch 7:30\n", "screenplay"),  # one time may be said
        (f"{SCENE * 9}Lunch 7:30\nrice\nTea 8:30\nmilk\n", "screenplay"),
        (f"{SCENE * 8}Lunch 7:30\nrice\nTea 8:30\nmilk\n", "headings"),
    ],
)
def test_how_many_shouts_make_a_screenplay(text: str, form: str) -> None:
    assert find_text_form(text) == form


def test_blanks_around_lines_of_a_screenplay_are_nothing() -> None:
    text = "INT. BOAT\n\nRUTH ^\nYou are\nlate.\n\n(They go.)\nSTOP! ^\nPAUL (softly)\nYes.\n"
    padded = "".join(f" \t{line} \n" for line in text.splitlines())
    assert find_text_form(padded) == find_text_form(text) == "screenplay"
    assert said_in("screenplay", padded) == said_in("screenplay", text)
    assert said_in("screenplay", text) == [
        *("directions", ("RUTH", "You are late."), "directions", "directions", ("PAUL", "Yes."))
    ]


@pytest.mark.parametrize("scene", ["INT KITCHEN - DAY", "EXT. BOAT", "I/E CAR", "FADE OUT SLOWLY", "THE END OF IT"])
def test_a_scene_is_no_speaker(scene: str) -> None:
    assert said_in("screenplay", f"RUTH\nGo.\n\n{scene}\nruth goes.\n") == [("RUTH", "Go."), "directions", "directions"]


def test_who_is_there_before_the_first_speaks_is_no_speaker() -> None:
    assert said_in("screenplay", f"PRESENT\nruth, paul\n\n{SCENE}PRESENT\nyes!\n") == [
        *("directions", "directions", ("RUTH", "See you then."), ("PRESENT", "yes!"))
    ]


def test_blanks_behind_times_below_names_in_capitals_make_no_screenplay() -> None:
    assert find_text_form("DANA FOX\n10:02 am \nWho?\nSAM LEE\n10:03 am \nMe.\n") == "headings"


def test_numbers_of_questions_are_of_names_in_a_screenplay() -> None:
    assert said_in("screenplay", "Q1\nWhere?\n\nA1\nHere.\n") == [("Q1", "Where?"), ("A1", "Here.")]
