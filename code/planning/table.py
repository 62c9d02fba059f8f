"""Estimates as text: one base's plan, and the README's table of all bases."""

from collections.abc import Callable, Iterable, Sequence

import torch

from bases.table import SHAPES, Base
from basics.markdown import render_table
from planning.data import GIB, TEXTS
from planning.estimate import Estimate, Workload

COLUMNS = ("way", "trained", "weights", "gradients", "optimizer", "activations", "in all", "PFLOP", "hours", "knobs")
README_COLUMNS = (
    "base",
    "architecture",
    "trained by LoRA",
    "prefixes shared",
    "GiB: LoRA",
    "QLoRA",
    "all parameters",
    "verified",
)
# What the README's estimates are for: one GPU with the defaults of the scripts.
README_LOAD = Workload(TEXTS["meld"], 4096, device=torch.device("cuda"))
SHOWN_WAYS = ("LoRA", "QLoRA", "all parameters")


def render_plan(title: str, estimates: Sequence[Estimate], memory_gib: float | None, seconds_per_flop: float) -> str:
    """A line for each way to train, then which of them fit into `memory_gib`; None: that line is left out."""
    rows = [COLUMNS, *(_plan_row(one, seconds_per_flop) for one in estimates)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [f"{title}. Estimates, memory in GiB of one process, operations and hours of an epoch."]
    for name, *numbers, knobs in rows:
        aligned = (number.rjust(width) for number, width in zip(numbers, widths[1:], strict=False))
        lines.append("  ".join([name.ljust(widths[0]), *aligned, knobs]).rstrip())
    lines += [
        f"{one.way.name}: {one.main_memory / GIB:.1f} GiB more in main memory" for one in estimates if one.main_memory
    ]
    states = {f"{one.saved_state / GIB:.1f} GiB" for one in estimates if one.way.lora}
    states |= {f"{one.saved_state / GIB:.1f} GiB for all parameters" for one in estimates if not one.way.lora}
    lines.append(
        f"The state to resume from: {', '.join(sorted(states, key=len))}; on disk, and in the main memory of the first "
        "process while it is written."
    )
    return "\n".join([*lines, *([] if memory_gib is None else [name_fitting(estimates, memory_gib)])])


def _plan_row(one: Estimate, seconds_per_flop: float) -> tuple[str, ...]:
    parts = (one.weights, one.gradients, one.optimizer, one.activations, one.total)
    hours = one.flops * seconds_per_flop / 3600
    sizes = (f"{part / GIB:.2f}" for part in parts)
    return (one.way.name, f"{one.trainable:,}", *sizes, f"{one.flops / 1e15:,.2f}", f"{hours:.2f}", one.way.knobs)


def name_fitting(estimates: Sequence[Estimate], memory_gib: float) -> str:
    """The line that names the ways that fit; where none does, the one that takes least, and how much it takes."""
    fitting = [one.way.name for one in estimates if one.total <= memory_gib * GIB]
    if fitting:
        return f"fits {memory_gib:g} GiB: {'; '.join(fitting)}"
    least = min(estimates, key=lambda one: one.total)
    return (
        f"nothing fits {memory_gib:g} GiB: the least is {least.way.name} with {least.total / GIB:.1f}; "
        "choose a smaller base, or a smaller --token_budget"
    )


def render_bases(bases: Iterable[Base], plan: Callable[[str, Workload], Sequence[Estimate]]) -> str:
    """The README's table of bases, in Markdown; a base whose shape is not known has no estimates. plan: `plan_base`."""
    rows = []
    for base in bases:
        found = {one.way.name: one for one in plan(base.name, README_LOAD)} if base.name in SHAPES else {}
        sizes = [f"{found[name].total / GIB:.1f}" if found else "-" for name in SHOWN_WAYS]
        trained = f"{found['LoRA'].trainable:,}" if found else "-"
        shared = "yes" if base.shares_prefixes else "no"
        rows.append((f"`{base.name}`", base.architecture, trained, shared, *sizes, base.verified))
    return render_table(README_COLUMNS, rows)
