"""What every contender's loss and gradient norm have to equal, so that speed is never bought with another problem."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from basics.errors import UserError
from benchmarks.contenders.definition import Contender, Outcome, Setting, load_weights, wrap_in_lora
from benchmarks.worker import Worker
from engine.batching import EncodedRow, MicroBatch
from engine.packing import Packer, pair_log_probabilities

REFERENCE = "benchmarks.contenders.reference:build_reference"
ROWS_PER_PASS = 2
REDUCTIONS = ("row", "token")

# Relative difference from the reference: rounding stays below, another problem far above.
LOSS_TOLERANCES = {"fp32": 1e-3, "bf16": 0.02}
NORM_TOLERANCES = {"fp32": 0.01, "bf16": 0.1}


def build_reference(setting: Setting) -> Callable[[int], dict[str, Outcome]]:
    """Rows padded two by two, PEFT's layers, SDPA: reduction -> losses of all steps, norm of the first alone.

    `row` means over the tokens of a row, then over the rows of a step; `token` over all tokens of a step.
    """
    model = load_weights(setting.base, setting.dtype, setting.torch_device)
    model = wrap_in_lora(model, setting.options.get("adapted")).train()
    pad_token_id = model.config.pad_token_id or 0

    def run(steps: int) -> dict[str, Outcome]:
        chosen = setting.workload.steps[:steps]
        norms = _gradient_norms(model, chosen[0], pad_token_id)
        losses: dict[str, list[float]] = {name: [] for name in REDUCTIONS}
        with torch.no_grad():
            for step in chosen:
                parts = list(_partial_losses(model, step, pad_token_id))
                for name in REDUCTIONS:
                    losses[name].append(sum(float(part[name]) for part in parts))
        return {name: Outcome(0.0, tuple(losses[name]), (norms[name],), 0) for name in REDUCTIONS}

    return run


def compute_reference(setting: Setting, logs: Path) -> dict[str, Outcome]:
    """The same in fp32, in a process of its own; only the base and the rows of the setting count."""
    plain = replace(setting, precision="fp32", options={})
    with Worker(REFERENCE, plain, logs / "reference.log") as worker:
        worker.ready()
        return worker.run(len(setting.workload.steps))


def _partial_losses(model, step: Sequence[EncodedRow], pad_token_id: int) -> Iterator[Mapping[str, Tensor]]:
    """Reduction -> the part of the step's loss that a few of its rows make up."""
    packer = Packer("rows", pad_token_id)
    device = next(model.parameters()).device
    targets = sum(len(row.target) for row in step)
    for start in range(0, len(step), ROWS_PER_PASS):
        rows = tuple(step[start : start + ROWS_PER_PASS])
        batch = MicroBatch(rows, tuple((row.target,) for row in rows), (1 / len(step),) * len(rows))
        packed = packer.pack(batch).to(device)
        surprise = -pair_log_probabilities(model, packed)
        yield {"row": (packed.pair_weights * surprise).sum(), "token": surprise.sum() / targets}


def _gradient_norms(model, step: Sequence[EncodedRow], pad_token_id: int) -> dict[str, float]:
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    sums = {name: [torch.zeros_like(weight) for weight in weights] for name in REDUCTIONS}
    for part in _partial_losses(model, step, pad_token_id):
        for name in REDUCTIONS:
            gradients = torch.autograd.grad(part[name], weights, retain_graph=name != REDUCTIONS[-1])
            torch._foreach_add_(sums[name], gradients)
    return {name: float(torch.stack([g.float().norm() for g in sums[name]]).norm()) for name in REDUCTIONS}


def check_against_reference(contender: Contender, outcome: Outcome, reference: Outcome) -> None:
    """Raises UserError when a contender solves another problem: other losses or another first gradient."""
    comparisons = (
        ("losses", outcome.losses, reference.losses, LOSS_TOLERANCES),
        ("first gradient norm", outcome.norms[:1], reference.norms, NORM_TOLERANCES),
    )
    for what, found, expected, tolerances in comparisons:
        allowed = tolerances[contender.precision]
        if not all(abs(one - other) <= allowed * abs(other) for one, other in zip(found, expected, strict=True)):
            raise UserError(
                f"{contender.name}: {what} {_listed(found)} where the reference has {_listed(expected)}; "
                f"allowed is a difference of {allowed:.1%}"
            )


def _listed(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.4f}" for value in values)
