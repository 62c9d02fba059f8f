"""What benchmarks/gpu/profile.py found, as tables."""

import statistics
from collections.abc import Iterator
from typing import Any

from basics.markdown import render_table
from benchmarks.figures_of_merit import Result
from benchmarks.tables import machine_line

STEP_HEADER = ("a step of 32 rows, SmolLM2-135M", "milliseconds", "first epoch of 24 steps or fewer, s", "peak, GiB")
STEPS = {
    "segments_plain": "runs of the tree, launched one by one",
    "segments_replayed": "runs of the tree, replayed",
    "dense_replayed": "dense mask, replayed",
    "compiled_dense": "dense mask, layers compiled",
    "compiled_segments": "runs of the tree, layers compiled",
    "compiled_replayed": "runs of the tree, layers compiled, replayed",
}
KERNELS = {"profiled_eager": "a step launched one by one", "profiled_replay": "a replayed pass"}
LAPS = ("pack", "copy", "forward", "backward", "optimizer")


def render_gpu_profile(results: Result) -> list[str]:
    """How a step is spent, how long it takes in each way, each way of attention alone; without parts that failed."""
    found = results["gpu_profile"]
    parts, launched = [f"### A step on a GPU\n\n{machine_line(found)}"], []
    if isinstance(found.get("split_eager"), dict):
        laps = ", ".join(f"{name} {statistics.median(found['split_eager'][name]):.1f}" for name in LAPS)
        launched.append(f"Launched one by one under a dense mask, ms: {laps}.")
    if isinstance(found.get("launches"), dict):
        launched.append(f"A launch takes {found['launches']['us_a_launch']:.0f} us here.")
    parts += [" ".join(launched)] if launched else []
    parts.append(render_table(STEP_HEADER, list(_steps(found)), numbers=True))
    if isinstance(found.get("ways"), list):
        parts.append(f"One layer's attention there and back: {'; '.join(found['ways'])}.")
    told = {name: found[key] for key, name in KERNELS.items() if isinstance(found.get(key), list)}
    return parts + [f"Kernels of {name}: {'; '.join(lines)}." for name, lines in told.items()]


def _steps(found: Result) -> Iterator[list[str]]:
    """A line for each way, and for each budget of tokens where there are several."""
    for name, title in STEPS.items():
        one = found.get(name)
        if not isinstance(one, dict):
            continue
        several = {f", {budget}": each for budget, each in one.items() if isinstance(each, dict)} or {"": one}
        for more, each in several.items():
            yield _step(title + more, each)


def _step(title: str, one: dict[str, Any]) -> list[str]:
    first = f"{one['seconds']:.1f}" if "seconds" in one else ""
    return [title, f"{one['ms']:.0f}", first, f"{one['peak_gib']:.1f}"]
