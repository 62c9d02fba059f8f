"""Scripts called in this process or in one of their own, and the way every fault of a user must end."""

import io
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from basics.scripts import run_script

REPOSITORY = Path(__file__).resolve().parents[2]
# Beside some checkouts lie the published pickles and rows made by the released scripts.
SHARED = REPOSITORY.parent / "shared"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


PROGRAM = ("main_new", "results.card", "results.summary", "training.as_trained", "training.stages")
LIBRARIES = ("peft.tuners.lora", "sklearn.metrics", "torch.utils.tensorboard", "transformers.optimization")
LIBRARIES += ("transformers.models.llama.modeling_llama",)


def import_program() -> None:
    """What main_new.py imports once its flags are read, which many runs of one process then share."""
    for name in (*PROGRAM, *LIBRARIES):
        import_module(name)


def call_script(main: Callable[[], None], *arguments: Any) -> subprocess.CompletedProcess[str]:
    """Run a script's main function in this process, as `python script arguments` would; imports are not paid twice."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    command = ["script", *map(str, arguments)]
    with patch.object(sys, "argv", command), redirect_stdout(out), redirect_stderr(err):
        try:
            run_script(main)
        except SystemExit as end:
            code = end.code
    return subprocess.CompletedProcess(command, code, out.getvalue(), err.getvalue())


def assert_one_line_error(result: subprocess.CompletedProcess[str], *parts: str) -> None:
    """The way every fault of the user must end: exit code 2, one line that holds `parts`, no output."""
    lines = result.stderr.splitlines()
    assert (result.returncode, len(lines), result.stdout) == (2, 1, ""), result.stderr
    assert lines[0].startswith("error: ")
    for part in parts:
        assert part in lines[0], lines[0]


def find_browser() -> str:
    """The path of a browser; the test is skipped where there is none."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip("no Chromium")
    return found


def cells(line: str) -> list[str]:
    """The cells of a line of a Markdown table that was printed."""
    return [cell.strip() for cell in line.strip("|").split("|")]
