"""The DeepSpeed configuration of a run: a file for what only DeepSpeed knows, the flags for everything else."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from basics.errors import UserError
from training.arguments import NOTHING, TrainingArguments

DEFAULT_CONFIG = Path(__file__).resolve().parents[1] / "data_utils" / "deepspeed_config.json"
AUTOMATIC = "auto"  # how the files of other trainers mark what the trainer fills in
NEVER = 1 << 60


def wants_deepspeed(training: TrainingArguments) -> bool:
    """Whether the flags ask for DeepSpeed even in one process."""
    return training.deepspeed_config != NOTHING or training.offload_optimizer


def shards_weights(config: dict[str, Any] | None) -> bool:
    """Whether each process will hold a part of every weight (ZeRO-3); None: no DeepSpeed."""
    return bool(config) and config["zero_optimization"]["stage"] == 3


def deepspeed_config(training: TrainingArguments, dtype: torch.dtype) -> dict[str, Any]:
    """The file of `--deepspeed_config` (ours without one), completed by the flags.

    The micro-batches and the end of a step are the trainer's, so DeepSpeed is told 1 and 1.

    Raises:
        UserError: the file is no JSON object, or says otherwise than a flag; every such place, in one line.
    """
    path = DEFAULT_CONFIG if training.deepspeed_config == NOTHING else Path(training.deepspeed_config)
    config = _read(path)
    zero = config.setdefault("zero_optimization", {})
    stage = zero.setdefault("stage", 0)
    if problems := list(_contradictions(config, training, dtype)):
        raise UserError(f"--deepspeed_config {path}: {'; '.join(problems)}")
    if training.offload_optimizer:
        zero.setdefault("offload_optimizer", {"device": "cpu", "pin_memory": torch.cuda.is_available()})
    if stage:
        config.setdefault("data_types", {"grad_accum_dtype": "fp32"})
    for section in ("optimizer", "scheduler", "train_batch_size"):
        config.pop(section, None)
    return config | {
        "train_micro_batch_size_per_gpu": 1,
        "gradient_accumulation_steps": 1,
        "gradient_clipping": training.clip_norm,
        "bf16": {**config.get("bf16", {}), "enabled": dtype == torch.bfloat16},
        "fp16": {**config.get("fp16", {}), "enabled": dtype == torch.float16},
        # PyTorch's fused AdamW runs on CPUs too; DeepSpeed's own would have to be compiled first.
        "zero_force_ds_cpu_optimizer": False,
        "steps_per_print": config.get("steps_per_print", NEVER),
    }


def _read(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"--deepspeed_config {path} cannot be read as JSON: {error}") from error
    if not isinstance(config, dict):
        raise UserError(f"--deepspeed_config {path} holds no JSON object")
    return _without_automatic(config)


def _without_automatic(config: dict[str, Any]) -> dict[str, Any]:
    return {
        name: _without_automatic(value) if isinstance(value, dict) else value
        for name, value in config.items()
        if value != AUTOMATIC
    }


def _contradictions(config: dict[str, Any], training: TrainingArguments, dtype: torch.dtype) -> Iterator[str]:
    """One line for each value of the file that a flag sets otherwise, naming both."""
    precision = f"--precision, which made the weights {str(dtype).removeprefix('torch.')}"
    offload = "cpu" if training.offload_optimizer else "none"
    derived = {
        "train_batch_size": (training.batch_size, f"--batch_size {training.batch_size}"),
        "train_micro_batch_size_per_gpu": (AUTOMATIC, "--token_budget, which alone sizes the micro-batches"),
        "gradient_accumulation_steps": (
            training.gradient_accumulation_steps,
            f"--gradient_accumulation_steps {training.gradient_accumulation_steps}",
        ),
        "gradient_clipping": (training.clip_norm, f"--clip_norm {training.clip_norm}"),
        "bf16.enabled": (dtype == torch.bfloat16, precision),
        "fp16.enabled": (dtype == torch.float16, precision),
        "optimizer.type": ("AdamW", "--learning_rate, which is AdamW's"),
        "optimizer.params.lr": (training.learning_rate, f"--learning_rate {training.learning_rate}"),
        "optimizer.params.weight_decay": (training.weight_decay, f"--weight_decay {training.weight_decay}"),
        "scheduler.type": (AUTOMATIC, "--warmup_ratio, whose schedule is linear"),
        "zero_optimization.offload_optimizer.device": (
            offload,
            f"--offload_optimizer {training.offload_optimizer}",
        ),
    }
    for place, (expected, flag) in derived.items():
        given: Any = config
        for key in place.split("."):
            given = given.get(key) if isinstance(given, dict) else None
        if given is not None and given != expected:
            yield f"{place} {given} contradicts {flag}"
    if training.offload_optimizer and not config["zero_optimization"]["stage"]:
        yield "zero_optimization.stage 0 leaves nothing that --offload_optimizer True could move: choose 1, 2 or 3"
    if training.compile_layers == "True" and config["zero_optimization"]["stage"] == 3:
        yield "zero_optimization.stage 3 contradicts --compile_layers True, which needs whole weights"
