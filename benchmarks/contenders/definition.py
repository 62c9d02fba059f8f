"""What a contender is, what it is given, and what one measured repetition of it says."""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from bases.load import DTYPES
from benchmarks.ceiling import synchronize
from benchmarks.contenders.drawn import draw_b
from benchmarks.workload import SEED, Workload

LORA_RANK = 16
LORA_ALPHA = 16
ALL_LAYERS = "all"  # as main_new.py calls every linear layer but the head
CLIP_NORM = 1.0
# Weights stay where they are, so that every step of every contender has the same loss to show. The optimizer
# computes all that it computes at any other rate.
LEARNING_RATE = 0.0
NATIVE = "native"  # the precision that this processor, or this card, multiplies in


@dataclass(frozen=True)
class Outcome:
    """One repetition. losses and norms: of every optimizer step, the gradient norm before clipping.

    tokens: that the model computed, padding included.
    """

    seconds: float
    losses: tuple[float, ...]
    norms: tuple[float, ...]
    tokens: int


Repetition = Callable[[int], Outcome]  # told how many optimizer steps to run, from the first


@dataclass(frozen=True)
class Contender:
    """A row of a table of contenders.

    precision: a name of bases/load.py, or NATIVE until `in_precision` has settled it. reduction: what its loss averages
    over, `row` (the mean of a row's tokens, then of rows) or `token`. build: `module:function`, which takes a Setting
    and returns a Repetition. options: passed to it.
    """

    name: str
    title: str
    precision: str
    reduction: str
    build: str
    options: Mapping[str, Any] = field(default_factory=dict)

    def in_precision(self, native: str) -> "Contender":
        """With its precision settled, which its name ends with."""
        precision = native if self.precision == NATIVE else self.precision
        return replace(self, name=f"{self.name}_{precision}", precision=precision)


def settle(table: Iterable[Contender], native: str) -> tuple[Contender, ...]:
    """The contenders of a processor: where that has no bf16, two rows that differ in nothing else are one."""
    settled = (contender.in_precision(native) for contender in table)
    return tuple({contender.name: contender for contender in settled}.values())


def ours(native: str) -> str:
    """The name of the contender whose speed is divided by the others'."""
    return f"engine_{native}"


@dataclass(frozen=True)
class Setting:
    """What a training contender is built from."""

    base: str  # folder of the base
    workload: Workload
    precision: str
    device: str
    options: Mapping[str, Any]

    @property
    def torch_device(self) -> torch.device:
        return torch.device(self.device)

    @property
    def dtype(self) -> torch.dtype:
        return DTYPES[self.precision]


class Stopwatch:
    """Wall-clock seconds of what runs inside `with`, the device's work included."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.seconds = 0.0

    def __enter__(self) -> "Stopwatch":
        synchronize(self.device)
        self.began = time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        synchronize(self.device)
        self.seconds = time.perf_counter() - self.began


def load_weights(base: str, dtype: torch.dtype, device: torch.device):
    """The base as transformers loads it; random weights where the folder holds a configuration alone."""
    from transformers import AutoConfig, AutoModelForCausalLM

    if any(Path(base).glob("*.safetensors")):
        model = AutoModelForCausalLM.from_pretrained(base, dtype=dtype, attn_implementation="sdpa")
        return model.to(device)
    config = AutoConfig.from_pretrained(base)
    torch.manual_seed(SEED)
    # Drawn in fp32 and rounded, so that a model is the same one in every precision.
    with device:
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32, attn_implementation="sdpa")
    return model.to(dtype)


def wrap_in_lora(model, adapted: str | None):
    """PEFT's own LoRA layers on those in a comma list, or on all; A and B are drawn alike for every contender."""
    from peft import LoraConfig, get_peft_model

    names = adapted.split(",") if adapted else "all-linear"
    config = LoraConfig(
        r=LORA_RANK, lora_alpha=LORA_ALPHA, lora_dropout=0.0, target_modules=names, task_type="CAUSAL_LM"
    )
    torch.manual_seed(SEED)
    return draw_b(get_peft_model(model, config, autocast_adapter_dtype=False), SEED)
