"""The report's page in headless Chromium, opened from disk: dialogues are browsed, errors filtered, text is text."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from data_utils.dialogues import Dialogue, Utterance
from experiment_utils.report_page import browse_runs, write_page
from scoring.metrics import Prediction

HOSTILE = "</script><script>document.title = 'run'</script>"
DIALOGUES = (
    Dialogue("calm", (Utterance(0, "Hello.", "neutral"), Utterance(1, "Hello, it\x92s you.", "joyful"))),
    Dialogue("loud", (Utterance(0, HOSTILE, "angry"), Utterance(1, "No.", "sad"))),
)
SAID = {"window": ("neutral", "joyful", "angry", None), "plain": ("neutral", "joyful", "sad", "sad")}


def predictions(said: tuple[str | None, ...]) -> list[Prediction]:
    gold = [(f"meld/{one.dialogue_id}/{turn}", of.label) for one in DIALOGUES for turn, of in enumerate(one.utterances)]
    return [Prediction(name, "", label, answer) for (name, label), answer in zip(gold, said, strict=True)]


@pytest.fixture
def page(browser: Any, tmp_path: Path) -> Iterator[Any]:
    browsed = [browse_runs("meld", DIALOGUES, {name: predictions(said) for name, said in SAID.items()})]
    write_page(tmp_path / "index.html", "# Report\n\n| a |\n|---|\n| b |\n", tmp_path, browsed)
    opened = browser.new_page(viewport={"width": 900, "height": 700})
    opened.goto((tmp_path / "index.html").as_uri())
    yield opened
    opened.close()


def rows_of(page: Any) -> list[list[str]]:
    return [row.locator("td").all_inner_texts() for row in page.locator("#turns tr").all()]


def test_dialogues_and_what_was_said_are_browsed(page: Any) -> None:
    page.select_option("#filter", "all")
    assert page.inner_text("#count") == "2 dialogues"
    assert rows_of(page)[1] == ["1", "Speaker_1", "Hello, it’s you.", "joyful", "joyful", "joyful"]
    page.click("#after")
    assert rows_of(page) == [
        ["0", "Speaker_0", HOSTILE, "angry", "angry", "sad"],
        ["1", "Speaker_1", "No.", "sad", "(no label)", "sad"],
    ]
    assert [cell.get_attribute("class") for cell in page.locator("#turns tr").nth(1).locator("td").all()][4:] == [
        "wrong",
        "right",
    ]
    assert page.title() != "run", "an utterance was run as a program"
    page.click("#before")
    assert rows_of(page)[0][2] == "Hello."


def test_only_dialogues_with_errors_are_shown_when_asked(page: Any) -> None:
    others = [option.get_attribute("value") for option in page.locator("#filter option").all()]
    page.select_option("#filter", next(value for value in others if value != "all"))
    assert page.inner_text("#count") == "1 dialogue"
    assert page.locator("#dialogue option").all_inner_texts() == ["loud (2 of 2 wrong)"]


def test_dialogues_are_found_by_gold_label_and_by_words(page: Any) -> None:
    page.select_option("#filter", "all")
    assert page.locator("#gold option").all_inner_texts() == ["any", "angry", "joyful", "neutral", "sad"]
    page.select_option("#gold", "joyful")
    assert page.locator("#dialogue option").all_inner_texts() == ["calm (0 of 2 wrong)"]
    page.fill("#words", "HELLO, it")
    assert page.inner_text("#count") == "1 dialogue"
    page.fill("#words", "no.")
    assert page.inner_text("#count") == "0 dialogues" and rows_of(page) == [], "of one turn, not of the dialogue"
    page.select_option("#gold", "")
    assert page.locator("#dialogue option").all_inner_texts() == ["loud (2 of 2 wrong)"]
