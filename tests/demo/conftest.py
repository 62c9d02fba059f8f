"""The page as tests in a browser find it, served once."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from commands import find_browser
from served_page import served


@pytest.fixture(scope="package")
def address(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The page, served by a process of its own, with a tiny checkpoint; it takes its time for more than 50 turns."""
    find_browser()
    log = tmp_path_factory.mktemp("app") / "log.txt"
    with served(log, "--checkpoint", trained / "run" / "model", slowly=True) as port:
        yield f"http://127.0.0.1:{port}"
