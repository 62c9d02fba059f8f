"""The engine of several processes: DeepSpeed, ZeRO stage 0 to 3.

ZeRO-3 begins with a model that every process has loaded whole, of which each then keeps its part: the base must
fit the memory of each process once. What it saves is gradients, moments, masters and, from then on, weights.
"""

import io
import os
import warnings
from contextlib import redirect_stdout
from typing import Any

import torch
from torch import Tensor, nn

from engine.deepspeed_state import adam_parameters, gather_state, restore_state
from training.engines import OptimizerSettings


class DeepSpeedEngine:
    """`engines.Engine` by `deepspeed.initialize`; the processes must have met before (`join_world`).

    DeepSpeed averages gradients over the processes, while the losses given to `backward` are to be summed: they
    are multiplied by the number of processes. DeepSpeed counts no micro-steps: it is told which one is the last.
    Without ZeRO, bf16 gradients of a step are summed in bf16; with it, and in `PlainEngine`, in fp32.
    """

    def __init__(self, model: nn.Module, settings: OptimizerSettings, config: dict[str, Any]) -> None:
        self.rank = torch.distributed.get_rank()
        self.world_size = torch.distributed.get_world_size()
        self.named = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
        self.model = start_deepspeed(model, self.named, settings, config)
        self.adam = self.model.basic_optimizer
        self.schedule = self.model.lr_scheduler

    def backward(self, loss: Tensor, last: bool) -> None:
        self.model.set_gradient_accumulation_boundary(last)
        self.model.backward(loss * self.world_size)

    def step(self) -> float:
        norm = None
        if self.model.optimizer is self.adam:  # nothing of DeepSpeed's is around AdamW that would know the norm
            norm = nn.utils.get_total_norm([w.grad for w in self.named.values() if w.grad is not None])
        self.model.step()
        return float(self.model.get_global_grad_norm() if norm is None else norm)

    def sum_over_ranks(self, value: Tensor) -> Tensor:
        total = value.clone()
        torch.distributed.all_reduce(total)
        return total

    def state(self) -> dict[str, Any]:
        """As `PlainEngine.state`, on the first process; without weights and moments on the others."""
        gathered = gather_state(self.named, self.adam, self.model.zero_optimization_stage())
        return {**gathered, "schedule": self.schedule.state_dict()}

    def load_state(self, state: dict[str, Any]) -> None:
        restore_state(self.named, self.model, state)
        self.schedule.load_state_dict(state["schedule"])
        for group, rate in zip(self.adam.param_groups, self.schedule.get_last_lr(), strict=True):
            group["lr"] = rate


def start_deepspeed(
    model: nn.Module, named: dict[str, nn.Parameter], settings: OptimizerSettings, config: dict[str, Any]
):
    """DeepSpeed's engine around a model and fused AdamW on the named parameters; it says nothing of its own.

    Raises:
        RuntimeError: it is no engine of DeepSpeed's, so something else would do its work.
    """
    os.environ.setdefault("DS_ACCELERATOR", "cuda" if torch.cuda.is_available() else "cpu")
    import deepspeed

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
    with redirect_stdout(io.StringIO()):
        engine, *_ = deepspeed.initialize(model=model, optimizer=adam, lr_scheduler=settings.schedule, config=config)
    if not isinstance(engine, deepspeed.runtime.engine.DeepSpeedEngine):
        raise RuntimeError(f"deepspeed.initialize returned {type(engine)}, which is no engine of DeepSpeed's")
    if config["zero_optimization"]["stage"] == 0:
        _forget_first_step(named, adam)
    return engine


@torch.no_grad()
def _forget_first_step(named: dict[str, nn.Parameter], adam: torch.optim.Optimizer) -> None:
    """Without ZeRO and in less than fp32, DeepSpeed makes a step without gradients to have AdamW's state.

    That step decays the masters and counts in the bias correction of all that follow.
    """
    for master, weight in zip(adam_parameters(adam), named.values(), strict=True):
        master.copy_(weight)
    adam.state.clear()
