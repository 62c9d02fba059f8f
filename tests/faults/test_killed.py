"""A few of the kills and full disks of kill.py and disk.py, over some of their jobs: none may leave a trace."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from commands import REPOSITORY

FAULTS = REPOSITORY / "tests/faults"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="what watches changes of files is for Linux"),
    pytest.mark.skipif(not shutil.which("cc"), reason="there is no C compiler"),
]


def befall(folder: Path, program: str, *arguments: object) -> list[str]:
    """What a program says of its jobs, a line each; each came to what it comes to alone."""
    command = [sys.executable, str(FAULTS / program), "--folder", str(folder), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900)  # beside other work
    assert done.returncode == 0, done.stdout + done.stderr
    lines = [line for line in done.stdout.splitlines() if re.match(r"[\w-]+: ", line)]
    assert lines and all(line.endswith("0 went wrong") for line in lines)
    return lines


def jobs(*names: str) -> list[str]:
    return [word for name in names for word in ("--job", name)]


def test_killed_jobs_come_to_what_jobs_left_alone_come_to(tmp_path: Path) -> None:
    names = ("rows", "train", "predict", "report", "convert", "set-up")
    lines = befall(tmp_path, "kill.py", "--times", 2, *jobs(*names))
    assert [line.partition(":")[0] for line in lines] == list(names)
    assert sum(int(number) for line in lines for number in re.findall(r"(\d+) times with -9", line)) > len(names)


def test_a_full_disk_is_one_line_and_nothing_is_lost(tmp_path: Path) -> None:
    (line,) = befall(tmp_path, "disk.py", "--how", "full", "--step", 7, *jobs("rows"))
    assert int(re.search(r"(\d+) times with 2", line)[1]) > 5
