"""Chooses the fastest way to attend over trees on a device, by trying each on a micro-batch of the run.

Answers and gradients of each way, on queries, keys and values of the model, are compared with a dense mask in fp32: the
error may be `TIMES_AS_FAR` that of the dense mask in the model's own precision. Ways that agree are timed.
"""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from basics.errors import describe_error
from engine.attention.tree_ways import DENSE, FLEX, KERNEL, WAYS, Plan
from engine.batching import MicroBatch
from engine.packing import Packer, packed_with
from engine.prefix_tree import PrefixTree

TIMES_AS_FAR = 4.0  # times the error of the dense mask in the same precision
LEAST = 1e-5  # relative error that anything may have
REPETITIONS = 7
COMPILED = frozenset({FLEX})  # tried only where a run is long enough for compiling to pay


@dataclass(frozen=True)
class Asked:
    """The inputs of a layer's attention: query (nodes, heads, d), key, value (nodes, kv heads, .), all contiguous."""

    query: Tensor
    key: Tensor
    value: Tensor
    scale: float
    window: int | None

    def to(self, dtype: torch.dtype) -> "Asked":
        return replace(self, **{name: getattr(self, name).to(dtype) for name in ("query", "key", "value")})


@dataclass(frozen=True)
class Tried:
    """The outcome of a way. seconds: of forward and backward, over the kinds of layers; None: refused, see `why`."""

    way: str
    seconds: float | None
    why: str = ""

    def __str__(self) -> str:
        return f"{self.way} {self.why}" if self.seconds is None else f"{self.way} {1000 * self.seconds:.2f} ms"


class DensePlan:
    """The dense mask as a plan, with which the others are compared."""

    def __init__(self, tree: PrefixTree) -> None:
        self.tree, self.device = tree, torch.device("cpu")
        self.masks: dict[int | None, Tensor] = {}

    def to(self, device: torch.device) -> "DensePlan":
        self.device = device
        return self

    def attend(self, query: Tensor, key: Tensor, value: Tensor, scale: float, window: int | None) -> Tensor:
        group = query.shape[1] // key.shape[1]
        key, value = (x.repeat_interleave(group, 1) if group > 1 else x for x in (key, value))
        by_head = (x.transpose(0, 1)[None] for x in (query, key, value))
        answer = torch.nn.functional.scaled_dot_product_attention(*by_head, attn_mask=self._mask(window), scale=scale)
        return answer[0].transpose(0, 1)

    def _mask(self, window: int | None) -> Tensor:
        if window not in self.masks:
            self.masks[window] = torch.from_numpy(self.tree.visibility(window))[None, None].to(self.device)
        return self.masks[window]


class Listening(DensePlan):
    """The dense mask; records the first inputs of each kind of layer."""

    def __init__(self, tree: PrefixTree) -> None:
        super().__init__(tree)
        self.asked: dict[tuple, Asked] = {}

    def attend(self, query: Tensor, key: Tensor, value: Tensor, scale: float, window: int | None) -> Tensor:
        kind = (window, query.shape, key.shape, value.shape)
        self.asked.setdefault(kind, Asked(query.detach(), key.detach(), value.detach(), scale, window))
        return super().attend(query, key, value, scale, window)


def choose_way(
    model, packer: Packer, batch: MicroBatch, device: torch.device, wanted: str, compiles: bool
) -> tuple[Packer, list[Tried]]:
    """(the packer with the fastest way that agrees, the outcome of each that was tried).

    wanted: `auto`, or the one way to try. compiles: whether a way that has to be compiled first is tried too.

    Raises:
        ValueError: the wanted way does not run, or does not agree.
    """
    tree = batch.tree()
    listening = Listening(tree)
    with torch.no_grad():
        model(**packed_with(batch, listening).to(device).inputs, logits_to_keep=1, use_cache=False)
    asked = list(listening.asked.values())
    names = [wanted]
    if wanted == "auto":
        names = [way for way in WAYS if way != KERNEL and (compiles or way not in COMPILED)]
    plans: dict[str, Callable[[], Plan]] = {DENSE: lambda: DensePlan(tree)}
    plans |= {name: lambda name=name: WAYS[name](tree, packer) for name in names if name != DENSE}
    exact = [take(DensePlan(tree).to(device), one.to(torch.float32)) for one in asked]
    tried = try_out(plans, asked, exact, device)
    if wanted != "auto":
        found = next(one for one in tried if one.way == wanted)
        if found.seconds is None:
            raise ValueError(f"{wanted} {found.why}")
        return replace(packer, way=wanted), [found]
    best = min((one for one in tried if one.seconds is not None), key=lambda one: one.seconds)
    return replace(packer, way=best.way), tried


def try_out(
    plans: dict[str, Callable[[], Plan]], asked: Sequence[Asked], exact: Sequence[list[Tensor]], device: torch.device
) -> list[Tried]:
    """Tries each way; the first is the dense mask, by whose error the others are judged."""
    tried: list[Tried] = []
    allowed = [[float("inf")] * len(one) for one in exact]
    for name, make in plans.items():
        try:
            plan = make().to(device)
            errors = [list(map(_error, take(plan, ask), truth)) for ask, truth in zip(asked, exact, strict=True)]
            if not tried:
                allowed = [[TIMES_AS_FAR * error + LEAST for error in every] for every in errors]
            if _within(errors, allowed):
                tried.append(Tried(name, sum(_seconds_of(plan, ask, device) for ask in asked)))
            else:
                worst = max(error for every in errors for error in every)
                tried.append(Tried(name, None, f"differs from the dense mask, by {worst:.1%}"))
        except Exception as error:  # whatever a kernel does not take, or a compiler lacks
            tried.append(Tried(name, None, f"does not run ({describe_error(error)})"))
    return tried


def _within(errors: Sequence[Sequence[float]], allowed: Sequence[Sequence[float]]) -> bool:
    """Whether every error is at most what is allowed; NaN is not."""
    pairs = zip(errors, allowed, strict=True)
    return all(error <= most for found, limits in pairs for error, most in zip(found, limits, strict=True))


def take(plan: Plan, asked: Asked) -> list[Tensor]:
    """The answer, and the gradients of query, key and value for one gradient of the answer."""
    inputs = [x.detach().requires_grad_() for x in (asked.query, asked.key, asked.value)]
    with torch.enable_grad():
        answer = plan.attend(*inputs, asked.scale, asked.window)
        return [answer.detach(), *torch.autograd.grad(answer, inputs, _upstream(answer))]


def _upstream(answer: Tensor) -> Tensor:
    """A made-up gradient of the answer, the same for every way, with both signs."""
    numbers = torch.arange(answer.numel(), device=answer.device, dtype=torch.float32)
    return numbers.mul_(12.9898).sin_().view(answer.shape).to(answer.dtype)


def _error(found: Tensor, exact: Tensor) -> float:
    return float((found.float() - exact).norm() / exact.norm().clamp_min(1e-30))


def _seconds_of(plan: Plan, asked: Asked, device: torch.device) -> float:
    """The median time of some forward and backward passes, after one to warm up; waits for the device."""
    take(plan, asked)
    return statistics.median(_seconds(lambda: take(plan, asked), device) for _ in range(REPETITIONS))


def _seconds(run: Callable[[], object], device: torch.device) -> float:
    if device.type != "cuda":
        began = time.perf_counter()
        run()
        return time.perf_counter() - began
    start, stop = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize(device)
    start.record()
    run()
    stop.record()
    stop.synchronize()
    return start.elapsed_time(stop) / 1000
