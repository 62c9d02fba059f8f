"""The page as tests in a browser find it, served once."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from commands import find_browser
from served_page import served


@pytest.fixture(scope="package")
def page_log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the page of `address` prints."""
    return tmp_path_factory.mktemp("app") / "log.txt"


@pytest.fixture(scope="package")
def address(trained: Path, page_log: Path) -> Iterator[str]:
    """The page, served by a process of its own, with a tiny checkpoint; it takes its time for more than 50 turns."""
    find_browser()
    with served(page_log, "--checkpoint", trained / "run" / "model", slowly=True) as port:
        yield f"http://127.0.0.1:{port}"
