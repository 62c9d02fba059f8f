"""Training steps and scoring passes on a card that is not there: fake tensors know shapes and devices, not numbers.

    python tests/helpers/fake_card.py '[["llama", "tree", "lora"], ...]'

For test_fake_card.py, in a process of its own, since a device once made cannot be taken back. A tensor left on the
CPU beside one on the card raises, as it would on a GPU. Prints what each case came to, "fine" or the error, as JSON.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.backend_registration import _DummyBackendModule, _setup_privateuseone_for_python_backend


class CardModule(_DummyBackendModule):
    """What checkpointed layers ask of a device."""

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16]


# cuda's own fake tensors have no backward pass without CUDA.
_setup_privateuseone_for_python_backend("card", CardModule())
sys.path[:0] = [str(Path(__file__).resolve().parents[2] / "code"), str(Path(__file__).parent)]

from bases.adapters import add_lora  # noqa: E402
from engine.batching import training_batches  # noqa: E402
from engine.packing import (  # noqa: E402
    PackedBatch,
    Packer,
    batch_loss,
    packer_for,
    sequence_log_probabilities,
)
from tiny_models import PAD, small_rows, tiny_model  # noqa: E402
from training.engines import MasterWeights  # noqa: E402

CARD = torch.device("card", 0)
PLANTED = "planted"  # the case whose batch stays on the CPU


def move_to_card(model: nn.Module) -> None:
    """Fake parameters and buffers of the same shapes on the card in place of the model's."""
    for module in model.modules():
        for name, weight in list(module._parameters.items()):
            if weight is not None:
                module._parameters[name] = nn.Parameter(on_card(weight), requires_grad=weight.requires_grad)
        for name, buffer in list(module._buffers.items()):
            if buffer is not None:
                module._buffers[name] = on_card(buffer)


def on_card(tensor: torch.Tensor) -> torch.Tensor:
    """One of the same shape there, of no numbers."""
    return torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device=CARD)


def make_fake(value: Any, mode: FakeTensorMode) -> Any:
    """The tensors of a batch as fake ones, still on the CPU."""
    if isinstance(value, dict):
        return {name: make_fake(item, mode) for name, item in value.items()}
    return mode.from_tensor(value) if isinstance(value, torch.Tensor) else value


def run_case(kind: str, packing: str, way: str) -> str:
    """One training step and one scoring pass; "fine", or what stopped them."""
    model = tiny_model(kind, attention=ATTENTION.get(kind, "sdpa")).to(torch.bfloat16)
    if way != "all":
        model = add_lora(model, 4, 4, 0.05, "all")
    if way == "checkpointing":
        model.gradient_checkpointing_enable()
    rows = small_rows("predict", window=2, alpha=0.3, count=2, turns=4)
    packer: Packer = packer_for(model, packing, PAD)
    packed = packer.pack(training_batches(rows, 4096, packer.shares_prefixes)[0])
    with FakeTensorMode() as mode:
        move_to_card(model)
        batch = PackedBatch(**{name: make_fake(value, mode) for name, value in vars(packed).items()})
        batch = batch if way == PLANTED else batch.to(CARD)
        return _attempt(lambda: _step_and_score(model, batch))


def _step_and_score(model: nn.Module, batch: PackedBatch) -> None:
    masters = MasterWeights(model.train())
    batch_loss(model, batch).backward()
    masters.collect_gradients()
    assert {one.grad.device for one in masters.masters} == {CARD}
    torch.nn.utils.get_total_norm([one.grad for one in masters.masters])
    torch.optim.AdamW(masters.masters, lr=1e-3).step()
    masters.publish()
    with torch.inference_mode():
        scores = sequence_log_probabilities(model.eval(), batch)
    assert (scores.device, scores.shape) == (CARD, (batch.sequences,))


def _attempt(work: Callable[[], None]) -> str:
    try:
        work()
    except Exception as error:
        return f"{type(error).__name__}: {' '.join(str(error).split())}"
    return "fine"


ATTENTION = {"bloom": None, "gemma2": None}  # what the library chose: eager, with an additive mask

if __name__ == "__main__":
    print(json.dumps([run_case(*case) for case in json.loads(sys.argv[1])]))
