"""README's command that trains and scores the sample corpus, in a fresh copy of the checkout: minutes to a score."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from shutil import copyfile
from typing import Any

from basics.files import find_repository
from basics.words import counted
from benchmarks.inputs import Inputs
from benchmarks.rounds import say
from benchmarks.tables import machine_line
from benchmarks.worker import run_to_end

SCRIPT = "code/train_and_inference_Uni.sh"


def measure_first_command(inputs: Inputs, scratch: Path, settings: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Seconds from its start to its end, what its own record says of them, and the score.

    The environment is this one and the base is there: neither is fetched. settings: of the command; by default none.
    """
    checkout = scratch / "checkout"
    copy_checkout(checkout)
    base = Path(inputs.base).absolute()
    (checkout / "LLM_bases" / base.name).symlink_to(base)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    fresh = scratch / "temporary"  # where PyTorch keeps what it has compiled: the contenders have left much there
    fresh.mkdir()
    environment |= {"TMPDIR": str(fresh), "ERC_PYTHON": sys.executable, "MODEL_NAME": base.name, **(settings or {})}
    say(f"running {SCRIPT} on the sample corpus")
    began = time.perf_counter()
    run_to_end(["bash", checkout / SCRIPT], env=environment)
    seconds = time.perf_counter() - began
    (results,) = (checkout / "experiments").glob("*/**/results.json")
    found = json.loads(results.read_text(encoding="utf-8"))
    return {
        "seconds": seconds,
        "parts": found["seconds"],
        "rows": sum(found["training_rows"].values()),
        "epochs": len(found["epochs"]),
        "weighted_f1": found["weighted_f1"],
    }


def copy_checkout(target: Path) -> None:
    """The files that git knows of, as they stand here, without what runs have left beside them."""
    root = find_repository()
    listed = subprocess.run(["git", "-C", root, "ls-files", "-z"], check=True, capture_output=True, text=True).stdout
    for name in filter(None, listed.split("\0")):
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        copyfile(root / name, target / name)


def render_first_command(results: Mapping[str, Any]) -> list[str]:
    """One sentence: minutes in all and of training, rows, score."""
    section = results["first_command"]
    parts = ", ".join(f"{name.replace('_', ' ')} {seconds:.0f} s" for name, seconds in section["parts"].items())
    told = (
        f"`bash {SCRIPT}` took **{section['seconds'] / 60:.1f} minutes** on the sample corpus "
        f"({section['rows']:,} rows, {counted(section['epochs'], 'epoch')}; {parts}) and reached a weighted F1 of "
        f"{section['weighted_f1']:.2f} on its test."
    )
    return [f"#### From a set-up checkout to a score\n\n{machine_line(section)}", told]
