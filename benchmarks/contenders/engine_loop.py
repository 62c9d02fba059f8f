"""This repository's own trainer, as main_new.py runs it, on the benchmark's rows."""

import contextlib
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from bases.adapters import add_lora
from bases.load import prepare_attention
from benchmarks.ceiling import synchronize
from benchmarks.contenders.definition import (
    ALL_LAYERS,
    CLIP_NORM,
    LEARNING_RATE,
    LORA_ALPHA,
    LORA_RANK,
    Outcome,
    Repetition,
    Setting,
    load_weights,
)
from benchmarks.contenders.drawn import draw_b
from benchmarks.workload import ROWS_PER_DIALOGUE, SEED, Workload
from engine.attention.way_choice import choose_way
from engine.batching import TOKEN_BUDGETS, MicroBatch, training_batches
from engine.layers import compile_layers
from engine.packing import Packer, packer_for
from training.engines import OptimizerSettings, PlainEngine
from training.loop import Callbacks, Trainer, TrainingSettings


def build_engine(setting: Setting) -> Repetition:
    """options: packing (`tree` or `rows`), attention (by default what main_new.py chooses), adapted, compile."""
    options, device = setting.options, setting.torch_device
    model = load_weights(setting.base, setting.dtype, device)
    if "attention" in options:
        model.set_attn_implementation(options["attention"])
    else:
        prepare_attention(model)
    pad_token_id = model.config.pad_token_id or 0
    model.config.use_cache = False
    torch.manual_seed(SEED)
    model = draw_b(add_lora(model, LORA_RANK, LORA_ALPHA, 0.0, options.get("adapted") or ALL_LAYERS), SEED)
    kernel = bool(options.get("compile")) and device.type == "cpu"
    packer = packer_for(model, options["packing"], pad_token_id, kernel)
    if packer.takes_ways and device.type == "cuda":
        packer = as_on_gpu(model, packer, setting.workload)
    if options.get("compile"):
        compile_layers(model)

    def run(steps: int) -> Outcome:
        return train_once(model, packer, setting.workload.first(steps), LEARNING_RATE)

    return run


def as_on_gpu(model, packer: Packer, workload: Workload) -> Packer:
    """With the way of attention that main_new.py would keep on this card.

    Passes are not replayed: capturing them takes as long as some steps, of which a repetition has a few. What steps
    take once a run has settled, gpu/profile.py measures.
    """
    device = next(model.parameters()).device
    batches = [batch for step in workload.steps for batch in training_batches(step, TOKEN_BUDGETS[device.type], True)]
    return choose_way(model, packer, max(batches, key=MicroBatch.tokens), device, "auto", compiles=True)[0]


def train_once(model, packer: Packer, workload: Workload, learning_rate: float) -> Outcome:
    """One epoch of the trainer over the workload's rows; the clock stops at its last optimizer step."""
    device = next(model.parameters()).device
    steps: list[dict[str, Any]] = []

    def record(values: dict[str, Any]) -> None:
        if values["kind"] == "step":
            synchronize(device)
            steps.append(values | {"clock": time.perf_counter()})

    callbacks = Callbacks(evaluate=lambda epoch: {"score": 0.0}, keep_best=lambda: None, record=record)
    optimizer = OptimizerSettings(learning_rate, 0.0, 0.0, CLIP_NORM, len(workload.steps))
    with tempfile.TemporaryDirectory() as folder, open(os.devnull, "w") as nowhere:
        synchronize(device)
        began = time.perf_counter()
        with contextlib.redirect_stderr(nowhere):  # the progress bar
            Trainer(
                model,
                PlainEngine(model, optimizer),
                workload.rows,
                packer,
                training_settings(device, workload.rows_per_step),
                callbacks,
                Path(folder),
                fingerprint={},
            ).run()
    return Outcome(
        seconds=steps[-1]["clock"] - began,
        losses=tuple(step["loss"] for step in steps),
        norms=tuple(step["gradient_norm"] for step in steps),
        tokens=sum(step["tokens"] for step in steps),
    )


def training_settings(device: torch.device, rows_per_step: int) -> TrainingSettings:
    """The trainer's defaults for one epoch."""
    return TrainingSettings(
        epochs=1,
        batch_size=rows_per_step,
        rows_per_dialogue=ROWS_PER_DIALOGUE,
        token_budget=TOKEN_BUDGETS[device.type],
        micro_steps=1,
        seed=SEED,
        save_steps=0,
        resume=False,
    )
