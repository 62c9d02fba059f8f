"""What grouping the products of the linear layers would bring: a step's, forward and backward, in four ways."""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bases.load import DTYPES
from basics.markdown import render_table
from benchmarks.contenders.lora_products import WAYS, Layer, Way
from benchmarks.figures_of_merit import Spread
from benchmarks.flops import ModelShape
from benchmarks.rounds import say
from benchmarks.tables import machine_line
from benchmarks.worker import Worker
from benchmarks.workload import SEED

# Layers that read the same: what could be one product.
GROUPS = (("q_proj", "k_proj", "v_proj"), ("o_proj",), ("gate_proj", "up_proj"), ("down_proj",))
NODES = (1024, 1536, 3072)  # of a micro-batch: of a step in two, and in one
REPETITIONS = 5
PRODUCTS = "benchmarks.sections.products:build_products"


def build_products(setting: tuple[ModelShape, str]) -> Callable[[int], dict[str, float]]:
    """A worker that computes all blocks in every way for a number of nodes; seconds of each way, warmed up before."""
    shape, precision = setting
    torch.manual_seed(SEED)
    dtype = DTYPES[precision]
    blocks = [
        [Layer.draw(*shape.linear[name], shape.rank, dtype) for name in group]
        for _ in range(shape.layers)
        for group in GROUPS
    ]
    ways = {name: [way(layers) for layers in blocks] for name, way in WAYS.items()}

    @torch.inference_mode()
    def measure(nodes: int) -> dict[str, float]:
        inputs = [_draw_inputs(layers, nodes) for layers in blocks[: len(GROUPS)]]
        return {name: _seconds(groups, inputs) for name, groups in ways.items()}

    return measure


def _draw_inputs(layers: Sequence[Layer], nodes: int) -> tuple[Tensor, Tensor]:
    """x and the gradient of what the layers give, as they read and leave them."""
    weight = torch.cat([layer.weight for layer in layers])
    x, gradient = (torch.randn(nodes, width).to(weight.dtype) for width in reversed(weight.shape))
    return x, gradient


def _seconds(groups: Sequence[Way], inputs: Sequence[tuple[Tensor, Tensor]]) -> float:
    """Seconds of one pass over the groups of all blocks, after the first block has warmed up."""
    prepared = [group.prepare(*pair) for group, pair in zip(groups, inputs, strict=False)]
    for group, one in zip(groups, prepared, strict=False):
        group.run(one)
    began = time.perf_counter()
    for place, group in enumerate(groups):
        group.run(prepared[place % len(prepared)])
    return time.perf_counter() - began


def measure_products(shape: ModelShape, native: str, logs: Path) -> dict[str, Any]:
    """Seconds of every repetition of every way, for each number of nodes."""
    measured = []
    with Worker(PRODUCTS, (shape, native), logs / "products.log") as worker:
        worker.ready()
        for nodes in NODES:
            say(f"products of {nodes:,} nodes")
            rounds = [worker.run(nodes) for _ in range(REPETITIONS)]
            measured.append({"nodes": nodes, "seconds": {name: [one[name] for one in rounds] for name in WAYS}})
    return {"precision": native, "products": measured}


def render_products(results: Mapping[str, Any]) -> list[str]:
    """A table: milliseconds of each way, and its share of the engine's."""
    section = results["products"]
    first, *others = WAYS
    rows = []
    for one in section["products"]:
        today = one["seconds"][first]
        cells = [f"{1000 * Spread.of(today).median:,.0f} ms"]
        for name in others:
            share = Spread.of([seconds / before for seconds, before in zip(one["seconds"][name], today, strict=True)])
            cells.append(str(share))
        rows.append([f"{one['nodes']:,}", *cells])
    return [
        f"#### Products of linear layers, grouped\n\n{machine_line(section)}",
        f"All linear layers of the base with LoRA on each, forward and backward, in {section['precision']}, nothing "
        f"else; {REPETITIONS} repetitions. Beside the engine's time the others' share of it.",
        render_table(["nodes a micro-batch", *WAYS], rows, numbers=True),
    ]
