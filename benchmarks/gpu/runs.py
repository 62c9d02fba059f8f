"""Whole runs on a GPU beside what plan.py says of them: results/gpu_runs.json, which keep.py adds to."""

from typing import Any

import torch

from basics.markdown import render_table
from benchmarks.figures_of_merit import Result
from engine.batching import TOKEN_BUDGETS
from planning.data import GIB, TEXTS
from planning.estimate import Workload, plan_base

HEADER = ("run", "GPU", "trained rows", "seconds of training", "peak, GiB", "plan.py says, GiB", "weighted F1")


def describe(results: Result, base: str, way: str) -> dict[str, Any]:
    """What is kept of a run: where, how much, how long, its peak, and the peak that its plan has for it."""
    asked = results["arguments"]
    load = Workload(
        texts=TEXTS[asked["dataset"]],
        token_budget=asked["token_budget"] or TOKEN_BUDGETS["cuda"],
        device=torch.device("cuda"),
        rank=asked["lora_dim"],
        dropout=asked["lora_dropout"],
        modules=asked["lora_module_name"],
    )
    (planned,) = [one for one in plan_base(base, load) if one.way.name == way]
    return {
        "device": results["device"],
        "torch": results["versions"]["torch"],
        "commit": results["commit"],
        "rows": sum(results["training_rows"].values()),
        "epochs": len(results["epochs"]),
        "seconds": results["seconds"]["training_steps"],
        "peak_gib": results["gpu_peak_memory_mib"] / 1024,
        "planned_gib": planned.total / GIB,
        "weighted_f1": results["weighted_f1"],
    }


def render_gpu_runs(results: Result) -> list[str]:
    """A line for each run."""
    rows = [
        [
            name,
            f"{run['device']}, torch {run['torch']}",
            f"{run['rows']:,} x {run['epochs']}",
            f"{run['seconds']:.0f}",
            f"{run['peak_gib']:.1f}",
            f"{run['planned_gib']:.1f}",
            "random weights" if run["weighted_f1"] is None else f"{run['weighted_f1']:.2f}",
        ]
        for name, run in results["gpu_runs"].items()
    ]
    return ["### Whole runs on a GPU", render_table(HEADER, rows, numbers=True)]
