"""A condition and a seed as a command of the three scripts, and the folder where its results go."""

import os
import re
import shlex
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from basics.errors import UserError
from basics.files import find_repository
from experiment_utils.conditions import Condition

# Knobs that say where and how a run is computed, not what it comes to: they may be set from outside.
_FLAGS = ("token_budget", "eval_batch_size", "compile_layers", "gradient_checkpointing")
_FLAGS += ("offload_optimizer", "save_steps")
PASSED_ON = frozenset({"ERC_ORIGINAL_DATA", "ERC_PYTHON", "ERC_TORCH", "NPROC", "HOSTFILE", *_FLAGS})
# The pipeline adds DeepSpeed's file by itself, as the machine has it; a run that asks for one bears it in its name.
_PASSED_ON_FLAG = re.compile(rf" --(?:{'|'.join(_FLAGS)}|deepspeed_config) [^\s)]+")
_PROGRAM = re.compile(r"code/\w+\.py .*")
_KNOB = re.compile(r'^ +"(\w+) +\w+ +\S+ +\S+"$', re.MULTILINE)
_OTHER_NAMES = re.compile(r"^declare -A other_name=\((.*)\)$", re.MULTILINE)


@dataclass(frozen=True)
class Job:
    """One run. name: of the condition and the seed, for people."""

    condition: Condition
    seed: int

    @property
    def name(self) -> str:
        return f"{self.condition.name}, seed {self.seed}"

    @property
    def settings(self) -> dict[str, str]:
        return {**self.condition.settings, "seed": str(self.seed)}

    @property
    def script(self) -> str:
        return f"code/train_and_inference_{self.condition.script}.sh"

    @property
    def command(self) -> str:
        """What to paste into a shell, in the repository."""
        settings = (f"{name}={shlex.quote(value)}" for name, value in self.settings.items())
        return " ".join([*settings, "bash", self.script])


@dataclass(frozen=True)
class Plan:
    """What a job would do.

    folder: of its results. steps: its commands without what says how to compute, equal for jobs that are one run.
    """

    folder: Path
    steps: tuple[str, ...]


def comparable_steps(lines: Iterable[str]) -> tuple[str, ...]:
    """The lines that run a program of code/, without the launcher and the flags that say how to compute."""
    found = (_PROGRAM.search(line) for line in lines)
    return tuple(_PASSED_ON_FLAG.sub("", match.group()) for match in found if match)


def read_knobs(settings: Path | None = None) -> list[str]:
    """Names of all knobs of code/settings.sh, other names of theirs with them."""
    text = (settings or find_repository() / "code" / "settings.sh").read_text(encoding="utf-8")
    others = re.findall(r"=(\w+)", " ".join(_OTHER_NAMES.findall(text)))
    return _KNOB.findall(text) + others


def job_environment(job: Job, **more: str) -> dict[str, str]:
    """The caller's environment without any knob that would make it another experiment."""
    hidden = set(read_knobs()) - PASSED_ON
    return {name: value for name, value in os.environ.items() if name not in hidden} | job.settings | more


def plan_job(job: Job) -> Plan:
    """Ask the script what it would do, which checks the settings too; UserError holds what it refuses."""
    knobs = read_knobs()
    unknown = [name for name in job.settings if name not in knobs]
    if unknown:
        raise UserError(f"{job.name}: no setting is called {', '.join(unknown)}; code/settings.sh has them all")
    done = subprocess.run(
        ["bash", job.script],
        cwd=find_repository(),
        env=job_environment(job, DRY_RUN="1"),
        capture_output=True,
        text=True,
    )
    if done.returncode:
        reasons = "; ".join(line.removeprefix("error: ") for line in done.stderr.splitlines())
        raise UserError(f"{job.name}: {reasons}")
    words = shlex.split(done.stdout)
    last = len(words) - 1 - words[::-1].index("--output_dir")
    return Plan(find_repository() / words[last + 1], comparable_steps(done.stdout.splitlines()))
