"""This engine as it was at an earlier commit, on the same rows: what has been gained since, on the machine at hand.

Its code has the names of today's, so it runs in a program of its own, `earlier_program.py`, which finds no other; the
process here passes on what it is asked.
"""

import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from basics.errors import UserError
from basics.files import find_repository
from benchmarks.contenders.definition import Outcome, Setting
from benchmarks.workload import SEED

COMMIT = "0b48099"
PROGRAM = Path(__file__).with_name("earlier_program.py")
FOLDERS = ("code", "benchmarks")  # of the commit


def build_earlier(setting: Setting) -> "Earlier":
    """options: packing, compile.

    Raises:
        UserError: this is no checkout, or one without the commit.
        RuntimeError: the program ended.
    """
    checkout = Path(tempfile.mkdtemp())
    check_out(checkout)
    paths = [checkout / "code", checkout, PROGRAM.parent]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, paths))}
    process = subprocess.Popen(
        [sys.executable, "-P", PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    )
    earlier = Earlier(process)
    earlier.ask(
        {
            "base": setting.base,
            "rows": [[row.id, row.task, row.prompt, row.target, row.weight] for row in setting.workload.rows],
            "precision": setting.precision,
            "device": setting.device,
            "options": dict(setting.options),
            "seed": SEED,
        }
    )
    return earlier


@dataclass
class Earlier:
    """A Repetition whose work and memory are those of the program; that ends when this process does."""

    process: subprocess.Popen[str]
    peak: int = 0  # bytes

    def __call__(self, steps: int) -> Outcome:
        said = self.ask(steps)
        self.peak = said.pop("peak_memory")
        return Outcome(said["seconds"], tuple(said["losses"]), tuple(said["norms"]), said["tokens"])

    def peak_memory(self) -> int:
        """Of the program, in bytes, up to its last answer."""
        return self.peak

    def ask(self, question: Any) -> Any:
        """Its answer; RuntimeError when it ended instead."""
        self.process.stdin.write(json.dumps(question) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"the engine of {COMMIT} ended with code {self.process.wait()}")
        return json.loads(line)


def check_out(target: Path) -> None:
    """The commit's code, as git holds it; UserError where it does not."""
    command = ["git", "-C", find_repository(), "archive", COMMIT, *FOLDERS]
    try:
        archive = subprocess.run(command, check=True, capture_output=True).stdout
    except (OSError, subprocess.CalledProcessError):
        raise UserError(f"git has no commit {COMMIT} here: the engine of that time is in whole clones alone") from None
    with tarfile.open(fileobj=io.BytesIO(archive)) as packed:
        packed.extractall(target, filter="data")
