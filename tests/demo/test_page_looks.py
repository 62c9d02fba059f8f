"""The looks of the page in headless Chromium, on a desktop and a phone, light and dark: width, contrast, keyboard."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from served_page import FOCUSED, MEASURE_CONTRAST, NUMBER_CONTROLS

DIALOGUE = "Ann: Great!\nBen: He died.\nAnn: Run!"
DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
LEAST_CONTRAST = 4.5  # WCAG 2.2 AA, 1.4.3, for text of any size


@pytest.fixture(
    scope="module",
    params=[(size, scheme) for size in ("desktop", "phone") for scheme in ("light", "dark")],
    ids=lambda pair: "_".join(pair),
)
def window(request, browser, address: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[object]:
    """The page with an answered dialogue; what is folded is open. One for all tests, of which the last types anew."""
    size, scheme = request.param
    opened = browser.new_page(
        viewport=DESKTOP if size == "desktop" else PHONE, is_mobile=size == "phone", color_scheme=scheme
    )
    opened.kind, opened.scheme = size, scheme
    opened.goto(address)
    opened.fill("#dialogue textarea", DIALOGUE)
    opened.click("#find")
    opened.wait_for_selector("#result img")
    opened.click("text=If a file is read wrongly")
    opened.locator("#result summary").first.click()
    folder = Path(os.environ.get("ERC_SCREENSHOTS") or tmp_path_factory.mktemp("screenshots"))
    folder.mkdir(parents=True, exist_ok=True)
    opened.screenshot(path=folder / f"{size}_{scheme}.png", full_page=True)
    yield opened
    opened.close()


def box_of(window, selector: str) -> dict[str, float]:
    return window.locator(selector).bounding_box()


def test_answers_stand_beside_the_text_or_below_it(window) -> None:
    text, answer = box_of(window, "#dialogue"), box_of(window, "#result")
    width = window.viewport_size["width"]
    assert window.evaluate("document.documentElement.scrollWidth") <= width
    if window.kind == "desktop":
        assert answer["x"] >= text["x"] + text["width"] and abs(box_of(window, "#about")["y"] - text["y"]) < 200
        assert text["x"] < 0.05 * width and answer["x"] + answer["width"] > 0.95 * width
        assert answer["width"] > 0.5 * width
    else:
        assert answer["y"] >= text["y"] + text["height"] and answer["width"] > 0.8 * width


def test_text_has_contrast(window) -> None:
    assert window.evaluate("document.body.classList.contains('dark')") == (window.scheme == "dark")
    measured = window.evaluate(MEASURE_CONTRAST)
    texts = {one["text"] for one in measured}
    assert {"Find emotions", "Timeline", "Ann", "emotions.csv"} <= texts and len(measured) > 60
    assert [one for one in measured if one["contrast"] < LEAST_CONTRAST] == []


def test_tab_leads_everywhere_and_is_seen(window) -> None:
    controls = window.evaluate(NUMBER_CONTROLS)
    assert len(controls) > 15
    window.evaluate("document.activeElement.blur()")
    reached: dict[int, float] = {}
    for _ in range(len(controls) + 10):
        window.keyboard.press("Tab")
        place, width = window.evaluate(FOCUSED)
        reached.setdefault(place, width)
    missed = [name for place, name in enumerate(controls) if place not in reached]
    unseen = [controls[place] for place, width in reached.items() if place >= 0 and width < 2]
    assert (missed, unseen) == ([], [])


def test_long_words_break(window) -> None:
    window.fill("#dialogue textarea", f"{'N' * 90}: {'x' * 900}")
    window.click("#find")
    window.wait_for_function("document.querySelector('#result .who')?.innerText.startsWith('NNN')")
    assert window.evaluate("document.documentElement.scrollWidth") <= window.viewport_size["width"]


def test_the_answer_comes_into_view(window) -> None:
    """On a page that is asked for the first time: no earlier answer is in view already."""
    window.reload()
    window.fill("#dialogue textarea", DIALOGUE)
    window.evaluate("window.scrollTo(0, 0)")
    window.click("#find")
    window.wait_for_function("document.querySelector('#result li')?.getBoundingClientRect().bottom < innerHeight")
