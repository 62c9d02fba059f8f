"""The browser in which pages are tried out."""

import os
import shutil

import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def find_browser() -> str:
    """The path of a browser; the test is skipped, or in CI fails, where there is none."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        if os.environ.get("ERC_BROWSER") == "1":
            pytest.fail(f"none of {', '.join(BROWSERS)} is there")
        pytest.skip("no Chromium")
    return found
