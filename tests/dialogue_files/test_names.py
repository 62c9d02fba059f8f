"""What before a colon is a name and what is speech, and which spellings are one person."""

import pytest

from dialogue_files.names import (
    fold_label,
    has_doubtful_aside,
    is_label,
    is_name,
    lists_people,
    name_key,
    reads_like_sentence,
    without_aside,
)


@pytest.mark.parametrize(
    "name",
    [
        *("The truth is", "I told him", "Ruth said", "Man in a hat", "a big dog", "Well. so", "Who?", "“Ann", "A; B"),
        *("A B C D E F", "Nora Bell, he said", "I told him, Nora", "Nora, my dear", "Nora Bell, dear", "Big red dog"),
    ],
)
def test_beginnings_of_sentences(name: str) -> None:
    assert reads_like_sentence(name) and not is_name(name, 9, lower_names=True)


@pytest.mark.parametrize(
    "name",
    [
        *("Ruth", "A Waiter", "A B C D E", "Ludwig van Beethoven", "Man in the Hat", "Nora Bell, Tim Rowe"),
        *("A B C D E ", "Dr. Smith", "ARTHUR THE KING", "van Dyck"),
    ],
)
def test_names_that_speak_once(name: str) -> None:
    assert is_name(name, 1) and not reads_like_sentence(name) and not is_label(name)


@pytest.mark.parametrize("name", ["ruth", "Ruth speaking", "the waiter", "ana cruz"])
def test_names_in_lower_case_speak_again_or_beside_others(name: str) -> None:
    assert (is_name(name, 1), is_name(name, 2), is_name(name, 1, lower_names=True)) == (False, True, True)


def test_four_words_of_which_the_first_is_in_lower_case_are_speech() -> None:
    assert is_name("our Big Red", 9) and not is_name("our Big Red Dog", 9, lower_names=True)


def test_what_introduces_speech_is_a_name_when_it_comes_again() -> None:
    for word in ("Answer", "Question", "OK", "P.S."):
        assert (is_name(word, 1), is_name(word, 2)) == (False, True)
    assert is_name("Answer Man", 1) and not is_name("", 9)


@pytest.mark.parametrize(
    "name",
    ["Note", " scene 2", "INT. KITCHEN", "ext. x", "Fade in", "FADE OUT", "Cut to x", "Note\t"]
    + ["ACT IV", "Scene #3b: the yard", "Act two", "Stage directions", "Title card", "Scene 2 - KITCHEN", "Scene x"]
    + ["CAST OF CHARACTERS", "Date of interview", "Time started", "Note to self", "Scene 1.2", "ACT ONE, SCENE TWO"]
    + ["TIME OF DAY", "SCENE TWENTY", "Scene 1-3", "Episode S01E05", "SUMMARY KEYWORDS", "Summary"]
    + ["Session 1", "Conversation 2", "DIALOGUE 3b", "Part Two", "Chapter IV", "Agenda", "Minutes of the meeting"]
    + ["Intro"],
)
def test_headings_of_scripts_are_nobody(name: str) -> None:
    assert is_label(name) and not is_name(name, 9)


@pytest.mark.parametrize(
    "name",
    ["Stage Manager", "Stage Xavier", "Scene Partner", "CAST MEMBER", "Note Taker", "Location Scout"]
    + ["Session Musician", "Minutes Secretary", "Interviewer", "Participant 1", "Speaker 2", "Chair", "Dialogue Coach"]
    + ["Interview Participant 1", "Conversation Partner B", "Session Leader II"],
)
def test_people_may_be_called_as_headings_begin(name: str) -> None:
    assert not is_label(name) and not lists_people(name) and is_name(name, 1)


@pytest.mark.parametrize("name", ["Participants", "PRESENT", "Attendees (online)", "Apologies for absence", "Speakers"])
def test_lists_of_people_are_none(name: str) -> None:
    assert lists_people(name) and not is_label(name)


def test_asides_of_scripts_are_taken_off() -> None:
    for name in (
        "Paul (laughing)",
        "Paul [softly]",
        "Paul (V.O.)",
        "Paul ( cont'd )",
        "Paul (VO )",
        f"Paul ({'a' * 40})",
        *("Paul [Laughs]", "Paul (LAUGHING HARD)", "Paul (Angrily)", "Paul (To Ann)", "Paul [sighs, then laughs]"),
        *("Paul (Sobbing)", "Paul (Laughter)", "Paul (V.O.) (CONT'D)", "Paul(Cries.)"),
    ):
        assert without_aside(name) == "Paul"
    for name in (
        "Anna (Sales)",
        "Anna (Marketing)",
        "Anna (Singer)",
        "Anna (Tom Bell)",
        "Anna (Emily)",
        "Paul (",
        "(softly)",
        "Paul (softly) Bell",
        f"Paul ({'a' * 41})",
    ):
        assert without_aside(name) == name


def test_three_asides_are_taken_off() -> None:
    name = f"Paul{' (softly)' * 3}"
    assert without_aside(name) == "Paul" and without_aside(f"{name} (softly)") == "Paul (softly)"


def test_asides_that_may_tell_people_apart() -> None:
    for name in (
        "Sam (tenant)",
        "Sam [landlord]",
        "Speaker (male)",
        "Sam (from the shop)",
        "Sam (tenant) (laughing)",
        "Sam (iPad)",
    ):
        assert has_doubtful_aside(name)
    for name in ("Sam", "Sam (laughing)", "Sam (very quietly)", "Sam (to Ann)", "Sam (v.o.)", "Anna (Sales)"):
        assert not has_doubtful_aside(name)


def test_spellings_of_one_person() -> None:
    assert name_key("RUTH  Hale") == name_key("Ruth Hale") == name_key("ruth hale")
    assert name_key("Al") == name_key("AL")
    assert name_key("Ilgın") != name_key("Ilgin") and name_key("Groß") == name_key("GROSS")
    assert name_key("A") != name_key("a") and name_key("e\u0301va") == name_key("Éva")
    assert fold_label(" a\u200b \t b\ufeff") == "a b" and fold_label("e\u0301") == "é"
