"""Where the time of a training step goes: the engine's operations by kind, as PyTorch's profiler counts them."""

from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from basics.markdown import render_table
from benchmarks.contenders.definition import Setting
from benchmarks.contenders.engine_loop import build_engine
from benchmarks.contenders.training import our_contender
from benchmarks.flops import ModelShape, training_flops
from benchmarks.inputs import DATASET, Inputs
from benchmarks.rounds import say
from benchmarks.tables import TERA, machine_line
from benchmarks.worker import Worker
from benchmarks.workload import count_work, draw_workload

STEPS = 2
PROFILED = "benchmarks.sections.profile:build_profiled"
OTHER = "everything else: dispatch, guards, the optimizer"
# Kind -> how the names of its operations begin.
KINDS: Mapping[str, tuple[str, ...]] = {
    "products of the linear layers, LoRA's with them": ("aten::mm", "aten::addmm"),
    "attention: the C++ operator, or products": ("KernelAttention", "aten::bmm", "aten::baddbmm"),
    "softmax, of attention in Python and of the logits": ("aten::_softmax", "aten::logsumexp", "aten::exp"),
    "norms, rotations, activations, sums (compiled)": ("## Call CompiledFxGraph", "aten::mul", "aten::add"),
    "moving rows of queries, keys and values": (
        "aten::index_select",
        "aten::_embedding_bag",
        "aten::copy_",
        "aten::gather",
        "aten::fill_",
    ),
}


def build_profiled(setting: Setting) -> Callable[[int], dict[str, float]]:
    """A worker that trains and returns seconds by kind; the first call warms up."""
    run = build_engine(setting)

    def profiled(steps: int) -> dict[str, float]:
        from torch.profiler import profile

        with profile() as found:
            run(steps)
        seconds: dict[str, float] = defaultdict(float)
        for event in found.key_averages():
            seconds[kind_of(event.key)] += event.self_cpu_time_total / 1e6
        return dict(seconds)

    return profiled


def kind_of(operation: str) -> str:
    """The kind that an operation of the profiler counts as."""
    return next((kind for kind, names in KINDS.items() if operation.startswith(names)), OTHER)


def measure_profile(inputs: Inputs, native: str, shape: ModelShape, logs: Path) -> dict[str, Any]:
    """Kind -> seconds, of the same steps that are measured beside the others."""
    workload = draw_workload(inputs.train_rows(DATASET, "window"), STEPS)
    contender = our_contender(native)
    setting = Setting(inputs.base, workload, contender.precision, "cpu", contender.options)
    say("profiling the engine")
    with Worker(PROFILED, setting, logs / "profile.log") as worker:
        worker.ready()
        worker.run(STEPS)
        seconds = worker.run(STEPS)
    work = count_work(workload.steps)
    products = training_flops(shape, work)
    return {"seconds": seconds, "steps": STEPS, "nodes": work.nodes, "flops": products, "precision": native}


def render_profile(results: Mapping[str, Any]) -> list[str]:
    """A table of shares, and what the products alone would take at the ceiling."""
    section = results["profile"]
    seconds, total = section["seconds"], sum(section["seconds"].values())
    rows = [
        [kind, f"{seconds[kind]:.2f}", f"{seconds[kind] / total:.0%}"]
        for kind in sorted(seconds, key=seconds.__getitem__, reverse=True)
    ]
    parts = [
        f"#### Where the time goes\n\n{machine_line(section)}",
        f"{section['steps']} steps of this engine ({section['nodes']:,} distinct tokens) under PyTorch's profiler, "
        f"which slows them down itself: {total:.1f} s.",
        render_table(["operations", "seconds", "share"], rows, numbers=True),
    ]
    training = results.get("training", {}).get("workloads", {}).get("window")
    if training:
        ceiling = max(training["ceiling"][section["precision"]].values())
        parts.append(
            f"At the ceiling of {ceiling / TERA:.2f} TFLOP/s every product that these steps need would take "
            f"{section['flops'] / ceiling:.1f} s."
        )
    return parts
