"""TRL's SFTTrainer on the benchmark's rows, token ids and optimizer steps as they are."""

import tempfile
import time
from collections.abc import Sequence
from typing import Any

from bases.load import load_tokenizer
from benchmarks.ceiling import synchronize
from benchmarks.contenders.definition import (
    CLIP_NORM,
    LEARNING_RATE,
    Outcome,
    Repetition,
    Setting,
    load_weights,
    wrap_in_lora,
)
from benchmarks.workload import SEED
from engine.batching import EncodedRow


def build_trl(setting: Setting) -> Repetition:
    """options: size (rows a micro-step), compile, padding_free, targets_only, adapted (layers)."""
    from trl import SFTTrainer

    options, device = setting.options, setting.torch_device
    if options.get("targets_only"):
        score_targets_only()
    model = load_weights(setting.base, setting.dtype, device)
    model = wrap_in_lora(model, options.get("adapted"))
    trainer = SFTTrainer(
        model=model,
        args=_configure(setting, tempfile.mkdtemp()),
        train_dataset=_make_dataset(setting.workload.steps),
        processing_class=load_tokenizer(setting.base),
    )
    clock = _make_clock(device)
    trainer.add_callback(clock)

    def run(steps: int) -> Outcome:
        trainer.args.max_steps = steps
        clock.tokens = 0
        trainer.train()
        logs = [line for line in trainer.state.log_history if "loss" in line]
        return Outcome(
            seconds=clock.ended - clock.began,
            losses=tuple(line["loss"] for line in logs),
            norms=tuple(float(line["grad_norm"]) for line in logs),
            tokens=clock.tokens,
        )

    _count_tokens(trainer, clock)
    return run


def score_targets_only() -> None:
    """Makes TRL's language-model head score the target tokens alone, as it does by itself on a GPU.

    Without it, the head computes the logits of every position on a CPU, forward and backward.
    """
    from trl.trainer import utils

    utils._use_triton = lambda device: True


def _configure(setting: Setting, folder: str):
    """SFTConfig at its fastest: no gradient checkpointing, no padding to multiples, nothing saved."""
    from trl import SFTConfig

    options = setting.options
    on_cpu = setting.device == "cpu"
    return SFTConfig(
        output_dir=folder,
        use_cpu=on_cpu,
        bf16=False,  # no autocast: all weights are of the contender's precision
        torch_compile=options.get("compile", False),
        per_device_train_batch_size=options["size"],
        gradient_accumulation_steps=setting.workload.rows_per_step // options["size"],
        padding_free=options.get("padding_free", False),
        pad_to_multiple_of=None,
        completion_only_loss=True,
        max_length=None,
        gradient_checkpointing=False,
        train_sampling_strategy="sequential",
        learning_rate=LEARNING_RATE,
        lr_scheduler_type="constant",
        weight_decay=0.0,
        max_grad_norm=CLIP_NORM,
        adam_beta2=0.95,
        seed=SEED,
        max_steps=len(setting.workload.steps),
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        dataloader_pin_memory=not on_cpu,
    )


def _make_dataset(steps: Sequence[Sequence[EncodedRow]]):
    """Rows of token ids in the order of the steps, sorted by length inside each, so that little is padded."""
    from datasets import Dataset

    ordered = [row for step in steps for row in sorted(step, key=lambda row: len(row.prompt) + len(row.target))]
    return Dataset.from_list(
        [
            {
                "input_ids": [*row.prompt, *row.target],
                "completion_mask": [0] * len(row.prompt) + [1] * len(row.target),
            }
            for row in ordered
        ]
    )


def _make_clock(device):
    """A callback that notes when the first batch is asked for and when the last step is done."""
    from transformers import TrainerCallback

    class Clock(TrainerCallback):
        began = ended = 0.0
        tokens = 0

        def on_epoch_begin(self, *_: Any, **__: Any) -> None:
            synchronize(device)
            self.began = time.perf_counter()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            synchronize(device)
            self.ended = time.perf_counter()

    return Clock()


def _count_tokens(trainer, clock) -> None:
    """Adds up the size of every batch that the collator makes."""
    collate = trainer.data_collator

    def count(rows):
        batch = collate(rows)
        clock.tokens += batch["input_ids"].numel()
        return batch

    trainer.data_collator = count
