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


@pytest.fixture
def agreement_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """What ten seconds show, that SmolLM2-135M shares prefixes, is not asked again: a run of test_predict.py asks."""
    for module in ("own_dialogues.recognizer", "training.run"):
        monkeypatch.setattr(f"{module}.packer_that_agrees", believe)


def believe(model, plan: object, wanted: str, pad_token_id: int, device: object, kernel: bool = False) -> object:
    """The packer that is wanted."""
    from engine.packing import packer_for

    return packer_for(model, wanted, pad_token_id, kernel)
