"""A few of the kills and full disks of kill.py and disk.py, over some of their jobs: none may leave a trace."""

import os
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
    """Training is killed at chosen moments in training/test_resume.py."""
    names = ("rows", "predict", "convert")
    lines = befall(tmp_path, "kill.py", "--times", 2, *jobs(*names))
    assert [line.partition(":")[0] for line in lines] == list(names)
    assert all("; ended 2 times with -9" in line for line in lines)


def test_a_full_disk_is_one_line_and_nothing_is_lost(tmp_path: Path) -> None:
    (line,) = befall(tmp_path, "disk.py", "--how", "full", "--step", 7, *jobs("rows"))
    assert int(re.search(r"(\d+) times with 2", line)[1]) > 5


def test_the_clock_goes_back_at_a_change(tmp_path: Path) -> None:
    """What disk.py --how clock rests on."""
    under, library, counter = tmp_path / "under", tmp_path / "changes.so", tmp_path / "changes"
    under.mkdir()
    counter.write_bytes(bytes(8))
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, FAULTS / "changes.c", "-ldl"], check=True)
    told = {"FAULTS_UNDER": under, "FAULTS_COUNT": counter, "FAULTS_AT": 3, "FAULTS_ERROR": 0, "FAULTS_BACK": 3600}
    program = "import time; now = time.time; began = now()\nfor name in 'abc': open(name, 'w'); print(now() - began)"
    environment = os.environ | {name: str(value) for name, value in told.items()} | {"LD_PRELOAD": str(library)}
    done = subprocess.run([sys.executable, "-c", program], cwd=under, env=environment, capture_output=True, text=True)
    assert not done.returncode, done.stderr
    first, second, third = map(float, done.stdout.split())
    assert 0 <= first <= second < 60 and -3600 <= third < -3500
    assert {path.name for path in under.iterdir()} == {"a", "b", "c"}
