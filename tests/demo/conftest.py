"""The page as tests in a browser find it: served once, and a browser to look at it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from commands import find_browser
from served_page import served


@pytest.fixture(scope="package")
def address(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The page, served by a process of its own, with a tiny checkpoint."""
    find_browser()
    log = tmp_path_factory.mktemp("app") / "log.txt"
    with served(log, "--checkpoint", trained / "run" / "model") as port:
        yield f"http://127.0.0.1:{port}"


@pytest.fixture(scope="package")
def browser() -> Iterator[object]:
    """Headless Chromium; the test is skipped where there is none."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=find_browser(), args=["--no-sandbox"])
        yield opened
        opened.close()
