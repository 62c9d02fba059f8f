"""What turns a loss into a step: plain PyTorch for one process or several on a CPU, DeepSpeed on GPUs or for ZeRO.

Both take micro-step losses that already carry their share of the step (they are summed, not averaged),
clip the gradient norm, follow a linear schedule with warm-up, and hold fp32 master weights.
"""

import math
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from engine.averages import MovingAverage
from engine.distributed import World

ALONE = World()


@dataclass(frozen=True)
class OptimizerSettings:
    """AdamW with betas 0.9 and 0.95, as in the released scripts; linear decay to 0 after the warm-up.

    average: decay per step of the moving average of the weights, which is then scored and saved; 0: no average.
    """

    learning_rate: float
    warmup_ratio: float
    weight_decay: float
    clip_norm: float
    total_steps: int
    betas: tuple[float, float] = (0.9, 0.95)
    average: float = 0.0

    def schedule(self, optimizer: torch.optim.Optimizer) -> torch.optim.lr_scheduler.LRScheduler:
        from transformers import get_linear_schedule_with_warmup

        return get_linear_schedule_with_warmup(optimizer, round(self.warmup_ratio * self.total_steps), self.total_steps)


class Engine(Protocol):
    """The part of training that differs between one process and several."""

    rank: int
    world_size: int
    model: Any  # what to call for a forward pass that `backward` follows
    learning_rate: float  # of the step that comes next
    overflows_at_times: bool  # whether gradients may be infinite at times, as the loss is then scaled less
    in_lockstep: bool  # whether all processes must run equally many micro-steps

    def backward(self, loss: Tensor, last: bool) -> None:
        """Adds the gradient of one micro-step; `last` marks the end of the step's micro-steps."""

    def step(self) -> float:
        """Updates the weights; returns the gradient norm before clipping, and changes nothing if it is not finite."""

    def sum_over_ranks(self, value: Tensor) -> Tensor:
        """The elementwise sum of `value` over all processes."""

    def state(self) -> dict[str, Any]:
        """What a resumed run needs, beside the number of steps done; the same for any number of processes."""

    def load_state(self, state: dict[str, Any]) -> None: ...

    def scored_weights(self) -> AbstractContextManager[None]:
        """Inside, the model has the weights that are scored and saved: its own, or their average."""

    def close(self) -> None:
        """Releases the model, so that its memory can be freed."""


class MasterWeights:
    """fp32 copies of trainable weights in lower precision, so that updates smaller than bf16 can hold are not lost."""

    def __init__(self, model: nn.Module) -> None:
        self.names, self.weights = zip(*((n, p) for n, p in model.named_parameters() if p.requires_grad), strict=True)
        self.masters = [w if w.dtype == torch.float32 else w.detach().float() for w in self.weights]
        self.apart = [(m, w) for m, w in zip(self.masters, self.weights, strict=True) if m is not w]
        self.scratch: list[Tensor] = []  # fp32 buffers for gradients, where `hold_sums` was called
        self.met: set[int] = set()  # numbers of the weights that have had a gradient since then

    @torch.no_grad()
    def collect_gradients(self) -> None:
        """Adds the gradients of one micro-step to the fp32 sums, and clears them."""
        if self.scratch:
            self._add_at_once()
            return
        for master, weight in self.apart:
            if weight.grad is None:
                continue
            if master.grad is None:
                master.grad = weight.grad.float()
            else:
                master.grad += weight.grad
            weight.grad = None

    def _add_at_once(self) -> None:
        """The same for sums that are held, in as few kernels as possible."""
        grown = [(m, w, s) for (m, w), s in zip(self.apart, self.scratch, strict=True) if w.grad is not None]
        if grown:
            masters, weights, scratch = zip(*grown, strict=True)
            torch._foreach_copy_(list(scratch), [weight.grad for weight in weights])
            torch._foreach_add_([master.grad for master in masters], list(scratch))
        self.forget_micro_step()

    @torch.no_grad()
    def sum_over(self, world: World) -> None:
        """Sums the gradients over all processes, in one message; a process without a gradient of a weight adds nothing.

        A weight without a gradient in any process gets none, and so is neither updated nor decayed.
        """
        if world.size == 1:
            return
        parts = [m.new_zeros(m.numel()) if m.grad is None else m.grad.flatten() for m in self.masters]
        known = parts[0].new_tensor([m.grad is not None for m in self.masters])
        message = world.sum_up(torch.cat([*parts, known]))
        *sums, known = message.split([*map(len, parts), len(known)])
        for master, total, counted in zip(self.masters, sums, known.tolist(), strict=True):
            master.grad = total.view_as(master) if counted else None

    def hold_sums(self) -> list[Tensor]:
        """Keeps the sums of gradients at fixed addresses from now on, zero at first; returns these tensors."""
        for master in self.masters:
            master.grad = torch.zeros_like(master)
        self.scratch = [torch.empty_like(master) for master, _ in self.apart]
        met = self.met  # and not self: that circle would keep a whole model from being freed
        for number, weight in enumerate(self.weights):
            weight.register_post_accumulate_grad_hook(lambda _, number=number: met.add(number))
        return [master.grad for master in self.masters]

    @contextmanager
    def only_met(self) -> Iterator[None]:
        """Inside, weights that have had no gradient have none, and no sum of zero: they are not decayed either."""
        held = [(one, one.grad) for number, one in enumerate(self.masters) if number not in self.met]
        for master, _ in held:
            master.grad = None
        yield
        for master, total in held:
            master.grad = total

    def forget_micro_step(self) -> None:
        """Drops gradients that are not in the sums, as after a micro-step that broke off."""
        for _, weight in self.apart:
            weight.grad = None

    @torch.no_grad()
    def publish(self) -> None:
        """Copies the masters, rounded, into the model's weights."""
        if self.apart:
            masters, weights = zip(*self.apart, strict=True)
            torch._foreach_copy_(list(weights), list(masters))

    def state(self) -> dict[str, Tensor]:
        return dict(zip(self.names, self.masters, strict=True))

    @torch.no_grad()
    def load_state(self, state: dict[str, Tensor]) -> None:
        for name, master in zip(self.names, self.masters, strict=True):
            master.copy_(state[name])
        self.publish()


class PlainEngine:
    """`Engine` with PyTorch alone: fused AdamW on fp32 masters; all processes make the same step, from equal sums."""

    overflows_at_times = False
    in_lockstep = False

    def __init__(self, model: nn.Module, settings: OptimizerSettings, world: World = ALONE) -> None:
        self.model, self.settings, self.world = model, settings, world
        self.rank, self.world_size = world.rank, world.size
        self.masters = MasterWeights(model)
        self.optimizer = torch.optim.AdamW(
            self.masters.masters,
            lr=settings.learning_rate,
            betas=settings.betas,
            weight_decay=settings.weight_decay,
            fused=True,
        )
        self.schedule = settings.schedule(self.optimizer)
        self.holds_sums = False
        self.average: MovingAverage | None = None
        if settings.average:
            held = self.masters
            self.average = MovingAverage(held.names, held.masters, held.weights, settings.average)

    @property
    def learning_rate(self) -> float:
        return self.optimizer.param_groups[0]["lr"]

    def backward(self, loss: Tensor, last: bool) -> None:
        loss.backward()
        self.masters.collect_gradients()

    def step(self) -> float:
        self.masters.sum_over(self.world)
        norm = float(nn.utils.clip_grad_norm_(self.masters.masters, self.settings.clip_norm or math.inf))
        if math.isfinite(norm):
            self.optimizer.step()
            self.schedule.step()
            self._publish()
        self.optimizer.zero_grad(set_to_none=not self.holds_sums)
        return norm

    def step_unread(self, loss: Tensor) -> Tensor:
        """`step` after `hold_sums`, without waiting for the GPU: no number is read back.

        Changes nothing if loss or norm is not finite. Returns the norm, on the device. The caller steps `schedule`.
        """
        norm = nn.utils.clip_grad_norm_(self.masters.masters, self.settings.clip_norm or math.inf)
        self.optimizer.grad_scale, self.optimizer.found_inf = None, (~(norm + loss).isfinite()).float()
        with self.masters.only_met():
            self.optimizer.step()
        self._publish()
        self.optimizer.zero_grad(set_to_none=False)
        return norm

    def _publish(self) -> None:
        self.masters.publish()
        if self.average:
            self.average.add_step()

    def scored_weights(self) -> AbstractContextManager[None]:
        return self.average.in_place() if self.average else nullcontext()

    def hold_sums(self) -> list[Tensor]:
        """See `MasterWeights.hold_sums`; passes that are replayed as CUDA graphs need it."""
        self.holds_sums = True
        return self.masters.hold_sums()

    def sum_over_ranks(self, value: Tensor) -> Tensor:
        return self.world.sum_up(value.clone())

    def state(self) -> dict[str, Any]:
        moments = self.optimizer.state_dict()["state"]
        named = {name: moments.get(index, {}) for index, name in enumerate(self.masters.names)}
        state = {"weights": self.masters.state(), "moments": named, "schedule": self.schedule.state_dict()}
        return state | ({"average": self.average.state()} if self.average else {})

    def load_state(self, state: dict[str, Any]) -> None:
        self.masters.load_state(state["weights"])
        current = self.optimizer.state_dict()
        current["state"] = {i: state["moments"][name] for i, name in enumerate(self.masters.names)}
        self.optimizer.load_state_dict(current)
        self.schedule.load_state_dict(state["schedule"])
        if self.average:
            self.average.load_state(state["average"])
        for group, rate in zip(self.optimizer.param_groups, self.schedule.get_last_lr(), strict=True):
            group["lr"] = rate

    def close(self) -> None:
        """Nothing to do: only this engine holds the model."""


def seed_draws(seed: int, *counters: int) -> None:
    """Seeds torch with a number that depends only on seed and counters, so that a resumed run draws the same."""
    for counter in counters:
        seed = (seed * 1_000_003 + counter) % (1 << 63)
    torch.manual_seed(seed)
