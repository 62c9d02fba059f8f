"""The machine that is measured: its processor, what that multiplies in, its cores, and the versions that run there."""

import os
import platform
import re
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from basics.files import find_repository
from benchmarks.worker import usable_cores

LIBRARIES = ("torch", "transformers", "peft", "trl", "lm_eval", "triton")
# Flag of the processor -> what its widest products are called; the first that it has. A name alone says too little: in
# a virtual machine "AMD EPYC" may be with or without products in bf16.
UNITS = {"amx_bf16": "AMX", "avx512_bf16": "AVX-512 bf16", "avx512f": "AVX-512", "avx2": "AVX2"}
LIMIT = "ONEDNN_MAX_CPU_ISA"  # a narrower unit that the user holds the processor to
WITHOUT_MEANING = re.compile(r"\((?:r|tm)\)|\b(?:processor|cpu|with radeon graphics)\b|@.*|\d+-core")


def describe_machine(device: str) -> dict[str, Any]:
    """Processor, cores or GPU, versions and commit."""
    import torch

    found = {
        "processor": _processor(),
        "unit": _unit(),
        "cores": usable_cores(),
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in LIBRARIES},
        "commit": _commit(),
    }
    if device == "cuda":
        found["gpu"] = torch.cuda.get_device_name()
    return found


def slug_of(machine: dict[str, Any]) -> str:
    """The name of a folder: the processor and its unit, in small letters and hyphens."""
    name = WITHOUT_MEANING.sub(" ", machine["processor"].lower())
    return "-".join(re.findall(r"[a-z0-9]+", f"{name} {machine['unit'] or ''}".lower()))


def native_precision() -> str:
    """`bf16` where this CPU multiplies in it, else `fp32`: what the scripts choose, and then every contender."""
    import torch

    from bases.load import DTYPES, choose_precision

    chosen = choose_precision("auto", torch.device("cpu"))
    return next(name for name, dtype in DTYPES.items() if dtype == chosen)


def _cpu_lines() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def _processor() -> str:
    names = [line.partition(":")[2].strip() for line in _cpu_lines() if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _unit() -> str | None:
    flags = next((set(line.split()) for line in _cpu_lines() if line.startswith("flags")), set())
    widest = next((title for flag, title in UNITS.items() if flag in flags), None)
    return f"{widest} held to {os.environ[LIMIT]}" if LIMIT in os.environ else widest


def _version(library: str) -> str | None:
    try:
        return version(library)
    except PackageNotFoundError:
        return None


def _commit() -> str | None:
    command = ["git", "-C", str(find_repository()), "describe", "--always", "--dirty"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
