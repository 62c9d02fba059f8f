"""demo/app.py in headless Chromium: a dialogue is typed, emotions are read off the page, hostile input is harmless.

Skipped where there is no browser. ERC_SCREENSHOTS=<folder> keeps the screenshots.
"""

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from commands import REPOSITORY, find_browser
from tiny_models import LABELS

DIALOGUE = "Ann: Great!\nBen: He died.\nAnn: Run!"


@pytest.fixture(scope="module")
def address(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The page, served by a process of its own."""
    find_browser()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    model = trained / "run" / "model"
    command = [sys.executable, REPOSITORY / "demo" / "app.py", "--port", port, "--checkpoint", model]
    told = tmp_path_factory.mktemp("app") / "log.txt"
    with told.open("wb") as log:
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        process = subprocess.Popen(list(map(str, command)), stdout=log, stderr=log, env=environment)
    place = f"http://127.0.0.1:{port}"
    try:
        for _ in range(240):
            if process.poll() is not None:
                pytest.fail(told.read_text())
            try:
                urllib.request.urlopen(place, timeout=5).close()
                break
            except OSError:
                time.sleep(0.5)
        yield place
    finally:
        process.terminate()
        process.wait(timeout=30)


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=find_browser(), args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def tab(browser, address: str) -> Iterator[object]:
    """The page in a new window; what it says with alert() is kept in `alerts`, what it loads in `asked`."""
    window = browser.new_page(viewport={"width": 1000, "height": 1200})
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
    tab.wait_for_selector("#result img", timeout=60_000)
    emotions = tab.locator("#result .what").all_inner_texts()
    assert len(emotions) == 3 and all(one.split()[0] in LABELS for one in emotions)
    assert "3 turns, labels of EmoryNLP" in tab.inner_text("#status")
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
    tab.wait_for_selector("#result img", timeout=60_000)
    assert tab.locator("#result .what").count() == 4
    assert tab.input_value("#dialogue textarea") == f"{DIALOGUE}\nBen: Fine."
    press_tab_to(tab, "#dialogue", key="Shift+Tab")
    tab.keyboard.press("Control+End")
    tab.keyboard.type("\nAnn: Great!")
    press_tab_to(tab, "#find")
    tab.keyboard.press("Enter")
    tab.wait_for_function("document.querySelectorAll('#result .what').length == 5", timeout=60_000)


def test_hostile_and_long_input_is_answered_in_words(tab, tmp_path: Path) -> None:
    hostile = "<img src=x onerror=alert(1)><script>alert(2)</script>"
    tab.fill("#dialogue textarea", f"{hostile}: {hostile} ${{alert(3)}} {{{{alert(4)}}}}")
    tab.click("#find")
    tab.wait_for_selector("#result .what", timeout=60_000)
    assert hostile in tab.inner_text("#result .who") and tab.locator("#result script").count() == 0
    tab.wait_for_selector("#result img", timeout=60_000)
    assert tab.alerts == []
    refused = {"A: b\n" * 1000: "1,000 turns", "A: " + "x" * 100_000: "100,003 characters", "nobody": "line 1"}
    for text, told in refused.items():
        tab.fill("#dialogue textarea", text)
        tab.click("#find")
        tab.wait_for_function("told => document.querySelector('#status').innerText.includes(told)", arg=told)
    keep(tab, "refused", tmp_path)


def test_it_reads_on_a_phone(browser, address: str, tmp_path: Path) -> None:
    window = browser.new_page(viewport={"width": 375, "height": 720}, is_mobile=True, device_scale_factor=2)
    window.goto(address)
    window.wait_for_selector("#dialogue textarea")
    window.fill("#dialogue textarea", DIALOGUE)
    window.click("#find")
    window.wait_for_selector("#result img", timeout=60_000)
    assert window.evaluate("document.documentElement.scrollWidth") <= 375
    keep(window, "phone", tmp_path)
    window.close()
