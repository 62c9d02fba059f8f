"""The engine of several GPUs, and of whoever asks for ZeRO: DeepSpeed, stage 0 to 3.

ZeRO-3 begins with a model that every process has loaded whole, of which each then keeps its part: the base must
fit the memory of each process once. What it saves is gradients, moments, masters and, from then on, weights.
"""

import io
import json
import math
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext, redirect_stdout
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bases.load import name_accelerator
from basics.errors import UserError, raise_together
from basics.json_files import parse_json
from engine.deepspeed_state import adam_parameters, gather_state, restore_state
from engine.distributed import World
from training.arguments import NO_AVERAGE, NOTHING, TrainingArguments
from training.engines import OptimizerSettings

DEFAULT_CONFIG = Path(__file__).resolve().parents[1] / "data_utils" / "deepspeed_config.json"
AUTOMATIC = "auto"  # in files of other trainers: a value that the trainer fills in
NEVER = 1 << 60
SECTIONS = ("zero_optimization", "bf16", "fp16", "optimizer", "scheduler", "data_types")
PARTS = ("zero_optimization.offload_optimizer", "optimizer.params")  # objects within the sections; they may be null
STAGES = (0, 1, 2, 3)
# Place in the file -> the only value allowed there, as the optimizer is this program's.
FIXED = {
    "optimizer.params.betas": [*OptimizerSettings.betas],
    "optimizer.params.eps": 1e-8,  # PyTorch's
    "optimizer.params.amsgrad": False,
    "optimizer.params.adam_w_mode": True,
    "optimizer.params.bias_correction": True,
    "optimizer.params.torch_adam": True,
    "optimizer.params.fused": True,
    "bf16.check_grad_overflow": True,
    "zero_force_ds_cpu_optimizer": False,
}


def wants_deepspeed(training: TrainingArguments) -> bool:
    """Whether the flags ask for DeepSpeed even in one process."""
    return training.deepspeed_config != NOTHING or training.offload_optimizer


def shards_weights(config: dict[str, Any] | None) -> bool:
    """Whether each process will hold a part of every weight (ZeRO-3). config: None without DeepSpeed."""
    return bool(config) and config["zero_optimization"]["stage"] == 3


def deepspeed_config(training: TrainingArguments, dtype: torch.dtype) -> dict[str, Any]:
    """The configuration for DeepSpeed: the file of `--deepspeed_config` (without one our own), completed by the flags.

    Its batch sizes are 1, since the trainer forms micro-batches itself and says which one ends a step.

    Raises:
        UserError: the file is no JSON object, or contradicts flags; all such places are named in one line.
    """
    path = DEFAULT_CONFIG if training.deepspeed_config == NOTHING else Path(training.deepspeed_config)
    config = _read(path)
    zero = config.setdefault("zero_optimization", {})
    stage = zero.setdefault("stage", 0)
    if problems := list(_contradictions(config, training, dtype)):
        raise UserError(f"--deepspeed_config {path}: {'; '.join(problems)}")
    zero.pop("cpu_offload", None)  # the old name of offload_optimizer; DeepSpeed refuses both together
    if training.offload_optimizer:
        offload = {"device": "cpu", "pin_memory": torch.cuda.is_available()}
        zero["offload_optimizer"] = offload | (zero.get("offload_optimizer") or {})
    if stage:
        config["data_types"] = {"grad_accum_dtype": "fp32"} | config.get("data_types", {})
    for section in ("optimizer", "scheduler", "train_batch_size"):
        config.pop(section, None)
    return config | {
        "train_micro_batch_size_per_gpu": 1,
        "gradient_accumulation_steps": 1,
        "gradient_clipping": training.clip_norm,
        # A step whose gradients are not finite is left out; `DeepSpeedEngine.step` then returns inf.
        "bf16": {**config.get("bf16", {}), "enabled": dtype == torch.bfloat16, "check_grad_overflow": True},
        "fp16": {**config.get("fp16", {}), "enabled": dtype == torch.float16},
        # PyTorch's fused AdamW runs on CPUs too; DeepSpeed's own would have to be compiled first.
        "zero_force_ds_cpu_optimizer": False,
        "steps_per_print": config.get("steps_per_print", NEVER),
    }


def _read(path: Path) -> dict[str, Any]:
    try:
        config = parse_json(path.read_bytes())
    except (OSError, ValueError) as error:
        raise UserError(f"--deepspeed_config {path} cannot be read as JSON: {error}") from error
    if not isinstance(config, dict):
        raise UserError(f"--deepspeed_config {path} holds no JSON object")
    config = _without_automatic(config)
    if problems := list(_misshapen(config)):
        raise UserError(f"--deepspeed_config {path}: {'; '.join(problems)}")
    return config


def _misshapen(config: dict[str, Any]) -> Iterator[str]:
    """One line for each place in the file whose value has the wrong type."""
    for section in SECTIONS:
        if not isinstance(config.get(section, {}), dict):
            yield f"{section} is {json.dumps(config[section])}, allowed is an object"
    for place in PARTS:
        if not isinstance(given := _value_at(config, place), dict | None):
            yield f"{place} is {json.dumps(given)}, allowed is an object"
    zero = config.get("zero_optimization", {})
    if isinstance(zero, dict) and (type(zero.get("stage", 0)) is not int or zero.get("stage", 0) not in STAGES):
        yield f"zero_optimization.stage is {json.dumps(zero['stage'])}, allowed are {', '.join(map(str, STAGES))}"


def _without_automatic(config: dict[str, Any]) -> dict[str, Any]:
    return {
        name: _without_automatic(value) if isinstance(value, dict) else value
        for name, value in config.items()
        if value != AUTOMATIC
    }


def _contradictions(config: dict[str, Any], training: TrainingArguments, dtype: torch.dtype) -> Iterator[str]:
    """One line for each value of the file that a flag or this program sets otherwise."""
    derived = _derived_from_flags(training, dtype)
    for place, (expected, flag) in derived.items():
        given = _value_at(config, place)
        if given is not None and given != expected:
            yield f"{place} {given} contradicts {flag}"
    for place, expected in FIXED.items():
        given = _value_at(config, place)
        if given is not None and given != expected:
            yield f"{place} is {json.dumps(given)}, allowed is {json.dumps(expected)}"
    for name in _value_at(config, "optimizer.params") or ():
        if (place := f"optimizer.params.{name}") not in derived.keys() | FIXED.keys():
            yield f"{place} is nothing of AdamW's: leave it out"
    if training.average_weights:
        yield f"--average_weights {training.average_weights}: {NO_AVERAGE}"
    if training.offload_optimizer and not config["zero_optimization"]["stage"]:
        yield "zero_optimization.stage 0 leaves nothing that --offload_optimizer True could move: choose 1, 2 or 3"
    if training.compile_layers == "True" and config["zero_optimization"]["stage"] == 3:
        yield "zero_optimization.stage 3 contradicts --compile_layers True, which needs whole weights"


def _derived_from_flags(training: TrainingArguments, dtype: torch.dtype) -> dict[str, tuple[Any, str]]:
    """Place in the file -> (what it may be, the flag that decides it)."""
    precision = f"--precision, which made the weights {str(dtype).removeprefix('torch.')}"
    schedule = "--warmup_ratio, whose schedule is linear"
    offload = f"--offload_optimizer {training.offload_optimizer}"
    steps = training.gradient_accumulation_steps
    return {
        "train_batch_size": (training.batch_size, f"--batch_size {training.batch_size}"),
        "train_micro_batch_size_per_gpu": (AUTOMATIC, "--token_budget, which alone sizes the micro-batches"),
        "gradient_accumulation_steps": (steps, f"--gradient_accumulation_steps {steps}"),
        "gradient_clipping": (training.clip_norm, f"--clip_norm {training.clip_norm}"),
        "bf16.enabled": (dtype == torch.bfloat16, precision),
        "fp16.enabled": (dtype == torch.float16, precision),
        "optimizer.type": ("AdamW", "--learning_rate, which is AdamW's"),
        "optimizer.params.lr": (training.learning_rate, f"--learning_rate {training.learning_rate}"),
        "optimizer.params.weight_decay": (training.weight_decay, f"--weight_decay {training.weight_decay}"),
        "scheduler.type": (AUTOMATIC, schedule),
        "scheduler.params": ({}, schedule),
        "zero_optimization.cpu_offload": (training.offload_optimizer, offload),  # as it was called once
        "zero_optimization.offload_optimizer.device": ("cpu" if training.offload_optimizer else "none", offload),
    }


def _value_at(config: dict[str, Any], place: str) -> Any:
    """The value at a place in the file, given as keys joined by dots; None: there is none."""
    given: Any = config
    for key in place.split("."):
        given = given.get(key) if isinstance(given, dict) else None
    return given


class DeepSpeedEngine:
    """`engines.Engine` by `deepspeed.initialize`; the processes must have met before (`join_world`).

    DeepSpeed averages gradients over the processes, while the losses given to `backward` are to be summed: they
    are multiplied by the number of processes. DeepSpeed counts no micro-steps: it is told which one is the last.
    Without ZeRO, bf16 gradients of a step are summed in bf16; with it, and in `PlainEngine`, in fp32.
    """

    in_lockstep = True

    def __init__(self, model: nn.Module, settings: OptimizerSettings, config: dict[str, Any]) -> None:
        self.world = World(torch.distributed.get_rank(), torch.distributed.get_world_size())
        self.rank, self.world_size = self.world.rank, self.world.size
        self.named = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
        self.model = start_deepspeed(model, self.named, settings, config)
        self.adam = self.model.basic_optimizer
        self.schedule = self.model.lr_scheduler

    def backward(self, loss: Tensor, last: bool) -> None:
        self.model.set_gradient_accumulation_boundary(last)
        self.model.backward(loss * self.world_size)

    @property
    def learning_rate(self) -> float:
        return self.adam.param_groups[0]["lr"]

    @property
    def overflows_at_times(self) -> bool:
        """True in fp16, as long as DeepSpeed can still lower the factor of the loss."""
        return self.model.fp16_enabled() and self.model.optimizer.loss_scale > 1

    def step(self) -> float:
        if self.model.optimizer is self.adam:  # DeepSpeed has not wrapped AdamW, and so computes no norm
            norm = float(nn.utils.get_total_norm([w.grad for w in self.named.values() if w.grad is not None]))
            if math.isfinite(norm):
                self.model.step()
            return norm
        self.model.step()
        return float(self.model.get_global_grad_norm()) if self.model.was_step_applied() else math.inf

    def sum_over_ranks(self, value: Tensor) -> Tensor:
        return self.world.sum_up(value.clone())

    def state(self) -> dict[str, Any]:
        """As `PlainEngine.state`, on the first process; without weights and moments on the others."""
        gathered = gather_state(self.named, self.adam, self.model.zero_optimization_stage())
        return {**gathered, "schedule": self.schedule.state_dict()}

    def load_state(self, state: dict[str, Any]) -> None:
        restore_state(self.named, self.model, state)
        self.schedule.load_state_dict(state["schedule"])
        for group, rate in zip(self.adam.param_groups, self.schedule.get_last_lr(), strict=True):
            group["lr"] = rate

    def scored_weights(self) -> AbstractContextManager[None]:
        return nullcontext()

    def close(self) -> None:
        """Removes hooks of ZeRO that keep the weights in memory, which Python's garbage collector cannot see."""
        with redirect_stdout(io.StringIO()):
            self.model.destroy()


def start_deepspeed(
    model: nn.Module, named: dict[str, nn.Parameter], settings: OptimizerSettings, config: dict[str, Any]
):
    """DeepSpeed's engine around a model, with fused AdamW on the named parameters; it prints nothing.

    Raises:
        UserError: DeepSpeed refuses a value of the configuration, or never reads one of its keys.
        RuntimeError: what it returns is no engine of DeepSpeed's.
    """
    name_accelerator()
    import deepspeed
    from pydantic import ValidationError

    deepspeed.utils.logger.setLevel("WARNING")
    # Used in inference only, and would be compiled first, which takes minutes.
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    warnings.filterwarnings("ignore", message="`torch.distributed", category=FutureWarning)
    adam = torch.optim.AdamW(
        list(named.values()),
        lr=settings.learning_rate,
        betas=settings.betas,
        weight_decay=settings.weight_decay,
        fused=True,
    )
    asked = _AskedConfig(config)
    try:
        with redirect_stdout(io.StringIO()):
            engine, *_ = deepspeed.initialize(model=model, optimizer=adam, lr_scheduler=settings.schedule, config=asked)
    except (ValidationError, deepspeed.runtime.config.DeepSpeedConfigError) as error:
        raise UserError(f"--deepspeed_config: DeepSpeed refuses it: {' '.join(str(error).split())[:300]}") from None
    raise_together(_unknown_keys(asked, deepspeed.__version__))
    if not isinstance(engine, deepspeed.runtime.engine.DeepSpeedEngine):
        raise RuntimeError(f"deepspeed.initialize returned {type(engine)}, which is no engine of DeepSpeed's")
    if config["zero_optimization"]["stage"] == 0:
        _forget_first_step(named, adam)
    return engine


class _AskedConfig(dict[str, Any]):
    """A configuration that notes which keys DeepSpeed reads, as it ignores others and has no list of keys."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__(config)
        self.asked: set[str] = set()

    def __contains__(self, key: object) -> bool:
        self.asked.add(key)
        return super().__contains__(key)

    def __getitem__(self, key: str) -> Any:
        self.asked.add(key)
        return super().__getitem__(key)

    def get(self, key: str, otherwise: Any = None) -> Any:
        self.asked.add(key)
        return super().get(key, otherwise)

    def keys(self) -> "_AskedConfig":
        """Itself, so that `key in config.keys()` is noted too."""
        return self


def _unknown_keys(config: _AskedConfig, version: str) -> list[str]:
    """One line for each key that DeepSpeed has not read, with the nearest that it has."""
    nearest = {key: get_close_matches(key, config.asked, n=1) for key in config if key not in config.asked}
    known = {key: f"did you mean {near[0]}?" if near else "leave it out" for key, near in nearest.items()}
    return [
        f"--deepspeed_config: {key} is no key that DeepSpeed {version} reads: {told}" for key, told in known.items()
    ]


@torch.no_grad()
def _forget_first_step(named: dict[str, nn.Parameter], adam: torch.optim.Optimizer) -> None:
    """Undoes the step without gradients that DeepSpeed makes at its start, without ZeRO and below fp32.

    It would decay the masters, and count in the bias correction of all later steps.
    """
    for master, weight in zip(adam_parameters(adam), named.values(), strict=True):
        master.copy_(weight)
    adam.state.clear()
