"""demo/app.py in headless Chromium: a dialogue is typed, emotions are read off the page, hostile input is harmless.

It stands behind a proxy, below a path; test_page_looks.py and test_crowd.py find it where it is by itself.

Skipped where there is no browser. ERC_SCREENSHOTS=<folder> keeps the screenshots.
"""

import csv
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from commands import find_browser
from page_input import MOST_TURNS, read_histories
from served_page import proxied, served
from tiny_models import LABELS

DIALOGUE = "Ann: Great!\nBen: He died.\nAnn: Run!"


@pytest.fixture(scope="module")
def address(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The page as in conftest.py, as a proxy passes it on."""
    find_browser()
    log, model = tmp_path_factory.mktemp("app") / "log.txt", trained / "run" / "model"
    with (
        served(log, "--checkpoint", model, slowly=True, GRADIO_ROOT_PATH="/emotions") as port,
        proxied(port, "/emotions") as front,
    ):
        yield f"{front}/emotions/"


@pytest.fixture(scope="module")
def visitor(browser) -> Iterator[object]:
    """A browser that keeps what all of its windows load, and has compiled it."""
    context = browser.new_context(viewport={"width": 1000, "height": 1200})
    yield context
    context.close()


@pytest.fixture
def tab(visitor, address: str) -> Iterator[object]:
    """The page in a new window; what it says with alert() is kept in `alerts`, what it loads in `asked`."""
    window = visitor.new_page()
    window.alerts = []
    window.asked = []
    window.on("request", lambda request: window.asked.append(request.url))
    window.on("dialog", lambda dialog: (window.alerts.append(dialog.message), dialog.dismiss()))
    window.goto(address)
    window.wait_for_selector("#dialogue textarea")
    yield window
    window.close()


def keep(window, name: str, tmp_path: Path) -> bytes:
    folder = Path(os.environ.get("ERC_SCREENSHOTS") or tmp_path)
    folder.mkdir(parents=True, exist_ok=True)
    return window.screenshot(path=folder / f"{name}.png", full_page=True)


def test_a_typed_dialogue_is_answered(tab, address: str, tmp_path: Path) -> None:
    tab.fill("#dialogue textarea", DIALOGUE)
    tab.click("#find")
    tab.wait_for_selector("#result img")
    emotions = tab.locator("#result .what").all_inner_texts()
    assert len(emotions) == 3 and all(one.split()[0] in LABELS for one in emotions)
    assert "3 turns, labels of EmoryNLP" in tab.inner_text("#status")
    assert "scenes of the series Friends" in tab.inner_text("#about") and "Peaceful" in tab.inner_text("#about")
    assert "on its own:" in tab.inner_text("#result .alone")
    tab.locator("#result summary").first.click()
    assert "Now you are expert" in tab.locator("#result pre").first.inner_text()
    with tab.expect_download() as download:
        tab.click("#result a[download='emotions.csv']")
    assert Path(download.value.path()).read_text(encoding="utf-8").count("\n") == 4
    # Nothing is asked of anybody else.
    assert [url for url in tab.asked if not url.startswith((address, "data:", "blob:"))] == []
    assert keep(tab, "answered", tmp_path).startswith(b"\x89PNG")


def press_tab_to(window, part: str, key: str = "Tab") -> None:
    """Press a key until the focus is in a part of the page; it never is where the keyboard does not lead."""
    for _ in range(30):
        window.keyboard.press(key)
        if window.evaluate("part => document.activeElement.closest(part) !== null", part):
            return
    pytest.fail(f"30 times {key} did not lead to {part}")


def test_the_keyboard_is_enough(tab) -> None:
    press_tab_to(tab, "#dialogue")
    tab.keyboard.press("Control+A")
    tab.keyboard.type(DIALOGUE)
    press_tab_to(tab, "#who")
    tab.keyboard.type("Ben")
    press_tab_to(tab, "#what")
    tab.keyboard.type("Fine.")
    tab.keyboard.press("Enter")
    tab.wait_for_selector("#result img")
    assert tab.locator("#result .what").count() == 4
    assert tab.input_value("#dialogue textarea") == f"{DIALOGUE}\nBen: Fine."
    press_tab_to(tab, "#dialogue", key="Shift+Tab")
    tab.keyboard.press("Control+A")
    tab.keyboard.type(f"{DIALOGUE}\nBen: Fine.\nAnn: Great!")
    press_tab_to(tab, "#find")
    tab.keyboard.press("Enter")
    tab.wait_for_function("document.querySelectorAll('#result .what').length == 5")


def test_hostile_and_long_input_is_answered_in_words(tab, tmp_path: Path) -> None:
    hostile = "<img src=x onerror=alert(1)><script>alert(2)</script>"
    tab.fill("#dialogue textarea", f"{hostile}: {hostile} ${{alert(3)}} {{{{alert(4)}}}}")
    tab.click("#find")
    tab.wait_for_selector("#result .what")
    assert hostile in tab.inner_text("#result .who") and tab.locator("#result script").count() == 0
    tab.wait_for_selector("#result img")
    assert tab.alerts == []
    many = f"more than {MOST_TURNS} turns"
    refused = {"A: b\n" * 1000: many, "A: " + "x" * 100_000: "100,003 characters", "nobody": "line 1"}
    for text, told in refused.items():
        tab.fill("#dialogue textarea", text)
        tab.click("#find")
        tab.wait_for_function("told => document.querySelector('#status').innerText.includes(told)", arg=told)
    keep(tab, "refused", tmp_path)


def test_dialogues_to_click_end_in_the_same_words(tab) -> None:
    for title, text in list(read_histories().items())[:2]:
        tab.locator("#histories button").filter(has_text=title).click()
        tab.wait_for_function("text => document.querySelector('#dialogue textarea').value === text", arg=text)
        tab.wait_for_selector("#result img")
        last = tab.locator("#result li").last.inner_text()
        assert last.startswith("Jon: I can't believe it.") and tab.locator("#result li").count() == 4


TABLE = """dialogue,speaker,utterance
first,=1+1,Great!
first,Ben,@SUM(A1)
second,Cem,Run!
second,Ann,
"""


def test_a_file_is_shown_before_the_model_is_asked(tab, tmp_path: Path) -> None:
    path = tmp_path / "<b>talk.csv"
    path.write_text(TABLE, encoding="utf-8")
    with tab.expect_file_chooser() as chooser:
        tab.click("#open")
    chooser.value.set_files(path)
    tab.wait_for_selector("#result table")
    told = tab.inner_text("#result")
    for line in ("3 utterances, 2 dialogues", "=1+1: 1 turn", "left out: empty turns 1 (line 5)", "@SUM(A1)", "csv"):
        assert line in told
    assert tab.input_value("#dialogue textarea") == "=1+1: Great!\nBen: @SUM(A1)"
    assert tab.locator("#result .what").count() == 0 and "not been asked" in tab.inner_text("#status")
    tab.click("#find")
    tab.wait_for_selector("#result img")
    with tab.expect_download() as download:
        tab.click("#result a[download='emotions.csv']")
    with open(download.value.path(), encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["dialogue"], row["speaker"], row["text"]) for row in rows] == [
        ("first", "'=1+1", "Great!"),
        ("first", "Ben", "'@SUM(A1)"),
    ]
    tab.click("#chooser input")
    tab.click("text=second: 1 turn")
    tab.wait_for_function("document.querySelector('#dialogue textarea').value === 'Cem: Run!'")


def test_a_file_that_cannot_be_read_leaves_the_dialogue_alone(tab, tmp_path: Path) -> None:
    path = tmp_path / "talk.csv"
    path.write_text("a,b\n1,2\n", encoding="utf-8")
    tab.fill("#dialogue textarea", DIALOGUE)
    tab.set_input_files("input[type=file]", path)
    tab.wait_for_selector("#status [role=alert]")
    told = tab.inner_text("#status")
    assert "talk.csv, read as csv, line 1: the header names no speaker" in told and "/" not in told.partition(",")[0]
    assert tab.input_value("#dialogue textarea") == DIALOGUE


def long_dialogue(turns: int) -> str:
    return "\n".join(f"{'Ann' if turn % 3 else 'Ben'}: Run {turn}" for turn in range(turns))


def test_a_long_dialogue_shows_its_progress_stops_and_goes_on(tab) -> None:
    turns = MOST_TURNS
    tab.fill("#dialogue textarea", long_dialogue(turns))
    tab.click("#find")
    tab.wait_for_selector("#result .what")
    bar = tab.locator("#status progress")
    assert bar.get_attribute("max") == str(turns) and 0 < int(bar.get_attribute("value")) < turns
    tab.click("#stop")
    tab.wait_for_function("document.querySelector('#status').innerText.includes('Stopped')")
    tab.wait_for_timeout(2000)
    assert "Stopped" in tab.inner_text("#status"), "a step that had come before is written over it"
    found = tab.locator("#result .what").count()
    assert 0 < found < turns
    tab.fill("#dialogue textarea", long_dialogue(found + 1))
    tab.click("#find")
    tab.wait_for_selector("#result img")
    assert tab.locator("#result .what").count() == found + 1


def test_a_turn_that_cannot_be_added_leaves_the_answer(tab) -> None:
    tab.fill("#dialogue textarea", DIALOGUE)
    tab.click("#find")
    tab.wait_for_selector("#result img")
    tab.fill("#who input, #who textarea", "Ben:")
    tab.fill("#what input, #what textarea", "Fine.")
    tab.click("#add")
    tab.wait_for_selector("#status [role=alert]")
    assert "a name without a colon" in tab.inner_text("#status")
    assert tab.locator("#result .what").count() == 3 and tab.input_value("#dialogue textarea") == DIALOGUE
    assert tab.input_value("#what input, #what textarea") == "Fine."


def test_what_is_typed_while_an_answer_comes_stays(tab) -> None:
    tab.fill("#dialogue textarea", long_dialogue(99))
    tab.fill("#who input, #who textarea", "Ben")
    tab.fill("#what input, #what textarea", "Fine.")
    tab.click("#add")
    tab.wait_for_selector("#result .what")
    tab.fill("#what input, #what textarea", "Really fine.")
    tab.fill("#dialogue textarea", DIALOGUE)
    tab.wait_for_selector("#result img")
    assert tab.input_value("#what input, #what textarea") == "Really fine."
    assert tab.input_value("#dialogue textarea") == DIALOGUE


def test_whoever_asks_for_something_else_gets_that_alone(tab) -> None:
    """Whatever they ask with, and though the answer to what they asked before has not ended."""
    for _ in range(2):
        tab.fill("#dialogue textarea", long_dialogue(MOST_TURNS))
        tab.click("#find")
        tab.wait_for_selector("#status progress")
        tab.wait_for_selector("#result .what")
        tab.locator("#histories button").first.click()
        tab.wait_for_selector("#result img")
        tab.wait_for_timeout(2000)
        assert tab.locator("#result li").count() == 4 and "4 turns, labels of" in tab.inner_text("#status")
    tab.fill("#dialogue textarea", long_dialogue(MOST_TURNS))
    tab.click("#find")
    tab.wait_for_selector("#status progress")
    tab.fill("#dialogue textarea", DIALOGUE)
    tab.click("#find")
    tab.wait_for_selector("#result img")
    tab.wait_for_timeout(2000)
    assert tab.locator("#result li").count() == 3 and "3 turns, labels of" in tab.inner_text("#status")


def test_stop_ends_what_was_asked_last(tab) -> None:
    for turns in (MOST_TURNS, MOST_TURNS - 1):
        tab.fill("#dialogue textarea", long_dialogue(turns))
        tab.click("#find")
        tab.wait_for_selector(f"#status progress[max='{turns}']")
    tab.wait_for_timeout(2000)
    tab.click("#stop")
    tab.wait_for_function("document.querySelector('#status').innerText.includes('Stopped')")
    tab.wait_for_timeout(2000)
    assert "Stopped" in tab.inner_text("#status")


def test_nobody_waits_for_the_whole_of_anothers_dialogue(tab, browser, address: str) -> None:
    other = browser.new_page()
    other.goto(address)
    other.fill("#dialogue textarea", DIALOGUE)
    tab.fill("#dialogue textarea", long_dialogue(MOST_TURNS))
    tab.click("#find")
    tab.wait_for_selector("#result .what")
    other.click("#find")
    other.wait_for_selector("#result img")
    assert tab.locator("#status progress").count() == 1, "the long one was answered first"
    other.close()
    tab.click("#stop")


def test_a_checkpoint_is_chosen_by_its_name(tab) -> None:
    tab.click("#checkpoint input")
    tab.click("text=sample, weighted F1 86.8")
    tab.wait_for_function("document.querySelector('#about').innerText.includes('431 utterances of sample')")
    assert "Weighted F1 86.84 on test (116 utterances)" in tab.inner_text("#about")
