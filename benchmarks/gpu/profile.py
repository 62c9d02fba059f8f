"""Where the time of a training step goes on a GPU, and what each way of attention and each way to launch it takes.

    bash benchmarks/profile_gpu.sh

On real-shaped steps and random weights where the base has no others; writes results/gpu_profile.json and renders
README.md. Every part stands alone: one that fails is printed and the others go on. About five minutes.
"""

import json
import statistics
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from bases.adapters import add_lora
from bases.load import prepare_attention
from basics.files import find_repository
from basics.scripts import run_script
from benchmarks.ceiling import synchronize
from benchmarks.contenders.definition import CLIP_NORM, LORA_ALPHA, LORA_RANK, load_weights
from benchmarks.contenders.engine_loop import training_settings
from benchmarks.gpu.arguments import PROFILED, parse_profile
from benchmarks.gpu.attention import forget_peak, peak_memory
from benchmarks.inputs import DATASET, Inputs
from benchmarks.machine import describe_machine
from benchmarks.report import RESULTS, write_pages, write_results
from benchmarks.worker import describe
from benchmarks.workload import SEED, Workload, draw_workload
from engine.attention.tree_ways import DENSE, SEGMENTS
from engine.attention.way_choice import choose_way
from engine.batching import TOKEN_BUDGETS, training_batches
from engine.layers import compile_layers
from engine.packing import PackedBatch, Packer, batch_loss, packer_for
from engine.replay import Replayed, Sizes
from scoring.label_scoring import DecodeSettings, predict_labels
from training.engines import OptimizerSettings, PlainEngine
from training.log import RunLog
from training.loop import Callbacks, Trainer

DROPOUT = 0.05
STEPS, EPOCHS = 24, 5
PARTS: dict[str, Callable[["Bench"], Any]] = {}


def part(run: Callable[["Bench"], Any]) -> Callable[["Bench"], Any]:
    """Makes a function a part, in the order of the file."""
    PARTS[run.__name__] = run
    return run


@dataclass
class Bench:
    """What the parts share. found: part -> its numbers."""

    inputs: Inputs
    device: torch.device
    workload: Workload
    found: dict[str, Any] = field(default_factory=dict)
    model: Any = None
    is_compiled: bool = False

    def fresh_model(self) -> None:
        """A base with new adapters; the one before is let go."""
        self.model = None
        forget_peak(self.device)
        model = load_weights(self.inputs.base, torch.bfloat16, self.device)
        prepare_attention(model)
        model.config.use_cache = False
        torch.manual_seed(SEED)
        self.model = add_lora(model, LORA_RANK, LORA_ALPHA, DROPOUT, "all").train()

    def compile_once(self) -> None:
        """A fresh model with compiled layers, for this part and those after it."""
        if not self.is_compiled:
            self.fresh_model()
            compile_layers(self.model)
            self.is_compiled = True

    def packer(self, way: str = DENSE, replays: bool = False) -> Packer:
        return replace(packer_for(self.model, "tree", 0), way=way, replays=replays)

    def batches(self, count: int = STEPS) -> list:
        budget = TOKEN_BUDGETS[self.device.type]
        return [batch for step in self.workload.steps[:count] for batch in training_batches(step, budget, True)]

    def replayed(self) -> Replayed:
        """Passes of training that nothing steps after."""
        engine = PlainEngine(self.model, OptimizerSettings(0.0, 0.0, 0.0, CLIP_NORM, 100))

        def run(packed: PackedBatch) -> torch.Tensor:
            loss = batch_loss(self.model, packed)
            engine.backward(loss, True)
            return loss.detach()

        return Replayed(run, self.device, engine.hold_sums(), engine.masters.forget_micro_step)

    def trained(self, packer: Packer, steps: int = STEPS, epochs: int = EPOCHS, budget: int = 0) -> dict[str, Any]:
        """The trainer itself over so many steps, again and again. ms: of a step of the last epoch, the median.

        wall_ms: from one to the next, on average. seconds: of the first epoch, which compiles and captures.
        """
        forget_peak(self.device)
        lines: list[dict[str, Any]] = []
        callbacks = Callbacks(
            lambda epoch: {"score": 0.0}, lambda: None, lambda line: lines.append(line | {"clock": time.perf_counter()})
        )
        settings = replace(training_settings(self.device), epochs=epochs)
        settings = replace(settings, token_budget=budget or settings.token_budget)
        optimizer = OptimizerSettings(0.0, 0.0, 0.0, CLIP_NORM, steps * epochs)
        workload, began = self.workload.first(steps), time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            engine = PlainEngine(self.model, optimizer)
            Trainer(self.model, engine, workload.rows, packer, settings, callbacks, Path(folder), {}).run()
        made = [line for line in lines if line["kind"] == "step"]
        last = made[-steps:]
        return {
            "seconds": round(made[steps - 1]["clock"] - began, 1),
            "ms": round(1000 * statistics.median(line["seconds"] for line in last), 1),
            "wall_ms": round(1000 * (last[-1]["clock"] - last[0]["clock"]) / (steps - 1), 1),
            "slowest_ms": round(1000 * max(line["seconds"] for line in last), 1),
            "peak_gib": round(peak_memory(self.device) / 2**30, 2),
            "losses": [round(line["loss"], 4) for line in made[:4]],
        }


@part
def launches(bench: Bench) -> dict[str, float]:
    """Microseconds of one small operation after the other, to the host and to the device."""
    one = torch.zeros(1, device=bench.device)
    return {"us_a_launch": 1e6 * _timed(lambda: [one.add_(1) for _ in range(2000)], bench.device) / 2000}


@part
def split_eager(bench: Bench) -> dict[str, Any]:
    """A step of the dense mask, not compiled, part by part with the device waited for."""
    bench.fresh_model()
    return _split(bench, bench.packer())


@part
def ways(bench: Bench) -> list[str]:
    """Each way of attention held to the dense mask and timed."""
    largest = max(bench.batches(), key=lambda batch: batch.tokens())
    told = [f"{largest.tokens()} nodes"]
    for compiles in (False, True):
        began = time.perf_counter()
        packer, tried = choose_way(bench.model, bench.packer(), largest, bench.device, "auto", compiles)
        told += [f"chose {packer.way} in {time.perf_counter() - began:.1f} s", *map(str, tried)]
    return told


@part
def segments_plain(bench: Bench) -> dict[str, Any]:
    return bench.trained(bench.packer(SEGMENTS), 8, 2)


@part
def segments_replayed(bench: Bench) -> dict[str, Any]:
    """Also with room for a whole step in one pass."""
    packer = bench.packer(SEGMENTS, replays=True)
    return {f"budget {budget}": bench.trained(packer, budget=budget) for budget in (4096, 8192)}


@part
def dense_replayed(bench: Bench) -> dict[str, Any]:
    return bench.trained(bench.packer(DENSE, replays=True))


@part
def sizes(bench: Bench) -> dict[str, float]:
    """Milliseconds of a replayed pass by the size that a micro-batch is padded to."""
    replayed, packer = bench.replayed(), bench.packer(SEGMENTS, replays=True)
    found = {}
    for batch in sorted(bench.batches(), key=lambda batch: batch.tokens()):
        packed = packer.pack(batch)
        for _ in range(3):
            replayed(packed)
        size = Sizes.needed_by(packed).nodes
        found[f"{size} for {packed.tokens}"] = round(1000 * _timed(partial(replayed, packed), bench.device), 1)
    return found


@part
def scoring(bench: Bench) -> dict[str, Any]:
    """Rows a second of valid, plain and replayed; and how far apart their log p are at most."""
    examples = bench.inputs.valid_examples(DATASET, 600)
    rows, labels = bench.inputs.encode(DATASET, "window", examples), bench.inputs.labels(DATASET, "window")
    found, scores = {"rows": len(rows)}, {}
    cases = {"dense": (DENSE, False), "segments": (SEGMENTS, False), "segments replayed": (SEGMENTS, True)}
    for name, (way, replays) in cases.items():
        settings = DecodeSettings(bench.packer(way, replays), token_budget=TOKEN_BUDGETS["cuda"])
        encoder = bench.inputs.encoder(DATASET)
        for _ in range(2):
            began = time.perf_counter()
            answers = predict_labels(bench.model, encoder, rows, labels, settings)
            found[f"{name}, rows/s"] = len(rows) / (time.perf_counter() - began)
        scores[name] = torch.tensor([list(one.scores.values()) for one in answers])
        found[f"{name}, log p off by"] = float((scores[name] - scores["dense"]).abs().max())
    return found


@part
def optimizer(bench: Bench) -> dict[str, float]:
    """Milliseconds of the parts of an optimizer step, and of a line of the log."""
    engine = PlainEngine(bench.model, OptimizerSettings(0.0, 0.0, 0.0, 1.0, 100))
    engine.hold_sums()
    sums = [one.grad for one in engine.masters.masters]
    halves = [one.bfloat16() for one in sums]
    scratch = [one.clone() for one in sums]
    log = RunLog(Path("/tmp/profile_log"))
    line = {"kind": "step", "step": 1, "epoch": 1, "loss": 1.0, "gradient_norm": 1.0, "tokens": 1}
    parts = {
        "engine.step": engine.step,
        "clip": lambda: torch.nn.utils.clip_grad_norm_(engine.masters.masters, 1.0),
        "adamw": engine.optimizer.step,
        "publish": engine.masters.publish,
        "zero": lambda: engine.optimizer.zero_grad(set_to_none=False),
        "foreach add mixed": lambda: torch._foreach_add_(sums, halves),
        "foreach copy mixed": lambda: torch._foreach_copy_(scratch, halves),
        "line of the log": lambda: log.record(line),
    }
    return {name: 1000 * min(_timed(run, bench.device) for _ in range(5)) for name, run in parts.items()}


@part
def profiled_eager(bench: Bench) -> list[str]:
    return _profile(bench, bench.packer(SEGMENTS))


@part
def profiled_replay(bench: Bench) -> list[str]:
    """What the device does in a replayed step."""
    replayed = bench.replayed()
    packed = bench.packer(SEGMENTS).pack(bench.batches(1)[0])
    for _ in range(3):
        replayed(packed)
    told = [f"off: {replayed.is_off}", f"replay: {1000 * _timed(lambda: replayed(packed), bench.device):.2f} ms"]
    return told + _table(lambda: replayed(packed), bench.device, "self_cuda_time_total")


@part
def compiled_dense(bench: Bench) -> dict[str, Any]:
    bench.compile_once()
    return bench.trained(bench.packer(), 16, 2)


@part
def compiled_segments(bench: Bench) -> dict[str, Any]:
    bench.compile_once()
    return bench.trained(bench.packer(SEGMENTS), 16, 2)


@part
def compiled_replayed(bench: Bench) -> dict[str, Any]:
    bench.compile_once()
    return bench.trained(bench.packer(SEGMENTS, replays=True), 16, 4)


def _split(bench: Bench, packer: Packer) -> dict[str, Any]:
    engine = PlainEngine(bench.model, OptimizerSettings(0.0, 0.0, 0.0, 1.0, 100))
    found: dict[str, list[float]] = {}
    for batch in bench.batches(8):
        clock = _Clock(bench.device, found)
        packed = packer.pack(batch)
        clock.lap("pack")
        packed = packed.to(bench.device)
        clock.lap("copy")
        loss = batch_loss(bench.model, packed)
        clock.enqueued("forward enqueued")
        clock.lap("forward")
        engine.backward(loss, last=True)
        clock.enqueued("backward enqueued")
        clock.lap("backward")
        engine.step()
        clock.lap("optimizer")
    return {name: [round(1000 * one, 1) for one in every] for name, every in found.items()}


class _Clock:
    """Laps with the device waited for; what had been enqueued by then apart."""

    def __init__(self, device: torch.device, found: dict[str, list[float]]) -> None:
        synchronize(device)
        self.device, self.found, self.began = device, found, time.perf_counter()

    def enqueued(self, name: str) -> None:
        self.found.setdefault(name, []).append(time.perf_counter() - self.began)

    def lap(self, name: str) -> None:
        synchronize(self.device)
        self.enqueued(name)
        self.began = time.perf_counter()


def _timed(run: Callable[[], Any], device: torch.device) -> float:
    synchronize(device)
    began = time.perf_counter()
    run()
    synchronize(device)
    return time.perf_counter() - began


def _profile(bench: Bench, packer: Packer) -> list[str]:
    engine = PlainEngine(bench.model, OptimizerSettings(0.0, 0.0, 0.0, 1.0, 100))
    packed = packer.pack(bench.batches(1)[0]).to(bench.device)

    def step() -> None:
        engine.backward(batch_loss(bench.model, packed), True)
        engine.step()

    step()
    return _table(step, bench.device, "self_cpu_time_total")


def _table(run: Callable[[], Any], device: torch.device, order: str) -> list[str]:
    """How many kernels, and how long they keep the device busy, on one line; operation by operation it is printed."""
    from torch.profiler import ProfilerActivity, profile

    activities = [ProfilerActivity.CPU] + ([ProfilerActivity.CUDA] if device.type == "cuda" else [])
    with profile(activities=activities) as measured:
        run()
        synchronize(device)
    kernels = [event for event in measured.events() if event.device_type.name == "CUDA"]
    busy = sum(event.time_range.elapsed_us() for event in kernels)
    lines = measured.key_averages().table(sort_by=order, row_limit=22, max_name_column_width=60).splitlines()
    print("\n".join(line[:210] for line in lines))
    return [f"{len(kernels)} kernels, busy {busy / 1000:.1f} ms"]


def main() -> None:
    arguments = parse_profile()
    inputs = Inputs(arguments.base, find_repository() / "data")
    workload = draw_workload(inputs.train_rows(DATASET, "window"), STEPS)
    bench = Bench(inputs, torch.device(arguments.device), workload)
    bench.found["machine"] = describe_machine(arguments.device)
    bench.fresh_model()
    started = time.perf_counter()
    for name in arguments.parts:
        began = time.perf_counter()
        try:
            bench.found[name] = PARTS[name](bench)
        except Exception as error:  # the others go on
            bench.found[name] = describe(error)
            print(traceback.format_exc()[-1500:])
        print(f"== {name} ({time.perf_counter() - began:.1f} s)")
        print(json.dumps(bench.found[name], indent=1, default=str))
        write_results(arguments.output, bench.found | {"took": round(time.perf_counter() - started)})
    if arguments.output == PROFILED:
        write_pages(RESULTS)


if __name__ == "__main__":
    run_script(main)
