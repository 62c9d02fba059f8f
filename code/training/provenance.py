"""The origin of a result, for results.json: commit, versions, machine, memory."""

import os
import platform
import resource
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

NOT_THE_PROGRAM = (":(exclude)experiments", ":(exclude)README.md")
LIBRARIES = ("torch", "transformers", "peft", "deepspeed", "scikit-learn")


def environment_report() -> dict[str, Any]:
    """Return versions, machine and the most memory this process has held so far, in MiB."""
    return {
        "versions": {"python": platform.python_version()} | _library_versions(),
        "platform": platform.platform(),
        "processors": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "peak_memory_mib": peak_memory_mib(),
    }


def peak_memory_mib(whose: int = resource.RUSAGE_SELF) -> float:
    """Return the largest resident size of this process so far, in MiB; its children are not in it.

    whose: with resource.RUSAGE_CHILDREN that of the largest of its children that have ended.
    """
    units_per_mib = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(whose).ru_maxrss / units_per_mib


def find_commit(repository: Path) -> str | None:
    """Return the checked-out commit, followed by `+changes` when the working tree differs from it.

    A file that git does not know counts as a change only inside code/, where it may take part in a run.
    What code/reproduce.py writes after every run, experiments/ and the README's results, counts as none.
    None when `repository` is not itself a git checkout with a commit, or there is no git.
    """
    top = _git(repository, "rev-parse", "--show-toplevel")
    commit = _git(repository, "rev-parse", "HEAD")
    if not top or not commit or Path(top).resolve() != Path(repository).resolve():
        return None
    changed = _git(repository, "status", "--porcelain", "--untracked-files=no", "--", ".", *NOT_THE_PROGRAM)
    unknown = _git(repository, "ls-files", "--others", "--exclude-standard", "--", "code")
    return commit + ("+changes" if changed or unknown else "")


def _git(repository: Path, *arguments: str) -> str | None:
    """Return what git prints, None when it fails or is not installed."""
    try:
        done = subprocess.run(["git", "-C", str(repository), *arguments], capture_output=True, text=True)
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _library_versions() -> dict[str, str]:
    versions = {}
    for name in LIBRARIES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions
