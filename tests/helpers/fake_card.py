"""Parts of a run on a card that is not there: fake tensors know shapes and devices, not numbers.

    python tests/helpers/fake_card.py '[["train", "llama", "tree", "lora", false], ...]'

For test_fake_card.py, in a process of its own, since a device once made cannot be taken back: a fork of one that has
imported what it needs and has made no backward pass, after which autograd learns of no further device. A case names a
part of a run (`PARTS`), a kind of base, a packing, what is trained, and whether something is left on the CPU on
purpose. A tensor left there beside one on the card raises, as it would on a GPU. Prints what each case came to, "fine"
or the error, as JSON.
"""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

sys.path[:0] = [str(Path(__file__).resolve().parents[2] / "code"), str(Path(__file__).parent)]

# Before large libraries, as in scripts.
import basics.scripts  # noqa: E402, F401

# isort: split
import torch  # noqa: E402
from torch import nn  # noqa: E402
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode  # noqa: E402
from torch.utils.backend_registration import (  # noqa: E402
    _DummyBackendModule,
    _setup_privateuseone_for_python_backend,
)


class CardModule(_DummyBackendModule):
    """What checkpointed layers ask of a device."""

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16]


# cuda's own fake tensors have no backward pass without CUDA.
_setup_privateuseone_for_python_backend("card", CardModule())

from bases.adapters import add_lora  # noqa: E402
from engine.attention.tree_ways import SEGMENTS, usual_way  # noqa: E402
from engine.batching import EncodedRow, RowEncoder, scoring_batches  # noqa: E402
from engine.packing import PackedBatch, Packer, packer_for  # noqa: E402
from scoring import label_scoring  # noqa: E402
from scoring.label_scoring import DecodeSettings, predict_labels  # noqa: E402
from scoring.self_check import packer_that_agrees, prompts_together  # noqa: E402
from tiny_models import CPU, LABELS, PAD, character_tokenizer, small_examples, tiny_model  # noqa: E402
from training.engines import OptimizerSettings, PlainEngine  # noqa: E402
from training.loop import Callbacks, Trainer, TrainingSettings  # noqa: E402

CARD = torch.device("card", 0)
# Steps of the optimizer, and micro-batches of each: a second one has nothing to do with the kind of base.
STEPS = {"llama": 2}
TOKEN_BUDGET = 4096  # as many micro-batches a step as `micro_steps` asks for
TENSOR = torch.tensor


class NumbersUnknown(FakeTensorMode):
    """Fake tensors, of which Python may ask a number: each is 0, 1 or True, as if all went well."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func is torch.ops.aten._local_scalar_dense.default and args[0].constant is None:
            kind = args[0].dtype
            return True if kind == torch.bool else 0.0 if kind.is_floating_point else 1
        if func is torch.ops.aten._to_copy.default:
            moved = args[0] if isinstance(args[0], FakeTensor) else self.from_tensor(args[0])
            moved.constant = None  # else the numbers that are known were copied to a card that is not there
            args = (moved,)
        return super().__torch_dispatch__(func, types, args, kwargs)


def move_to_card(model: nn.Module) -> None:
    """Fake parameters and buffers of the same shapes on the card in place of the model's."""
    for module in model.modules():
        for name, weight in list(module._parameters.items()):
            if weight is not None:
                module._parameters[name] = nn.Parameter(on_card(weight), requires_grad=weight.requires_grad)
        for name, buffer in list(module._buffers.items()):
            if buffer is not None:
                module._buffers[name] = on_card(buffer)


def tensor_there(data: Any, device: torch.device | None = None, **options: Any) -> torch.Tensor:
    """torch.tensor, which makes nothing on a device of this kind by itself."""
    made = TENSOR(data, **options)
    made.constant = None
    return made if device is None else made.to(device)


def on_card(tensor: torch.Tensor) -> torch.Tensor:
    """One of the same shape there, of no numbers."""
    return torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device=CARD)


@dataclass(frozen=True)
class Case:
    """What a part runs on."""

    model: Any
    encoder: RowEncoder
    packer: Packer
    steps: int
    trained: list[EncodedRow]
    asked: list[EncodedRow]  # with prompts without content


def build_case(kind: str, packing: str, way: str) -> Case:
    """Before there is a card: the model, and rows."""
    model = tiny_model(kind).to(torch.bfloat16)
    if way != "all":
        model = add_lora(model, 4, 4, 0.05, "all", dora=way == "dora")
    if way == "checkpointing":
        model.gradient_checkpointing_enable()
    encoder = RowEncoder(character_tokenizer(), 1024, {"emotion_prediction": 0.3})
    trained = encoder.encode(small_examples("predict", window=2, count=2, turns=4))
    asked = encoder.encode(small_examples("window", window=2, count=2, turns=4)[:6], LABELS, calibrate=True)
    packer = packer_on_card(model, packing)
    packer = replace(packer, way=SEGMENTS) if way == "segments" else packer
    return Case(model, encoder, packer, STEPS.get(kind, 1), trained, asked)


def packer_on_card(model, packing: str) -> Packer:
    """As one for a model that is there already."""
    packer = packer_for(model, packing, PAD)
    return replace(packer, way=usual_way(CARD)) if packer.takes_ways else packer


def train(case: Case) -> None:
    """An epoch of the real loop: packed ahead, losses, gradients, masters, clipping, schedule, AdamW; not its end."""
    size = -(-len(case.trained) // case.steps)
    engine = PlainEngine(case.model, OptimizerSettings(1e-3, 0.1, 0.01, 1.0, case.steps))
    settings = TrainingSettings(1, size, 4, TOKEN_BUDGET, case.steps, seed=1, save_steps=0, resume=False)
    lines: list[dict[str, Any]] = []
    calls = Callbacks(evaluate=lambda epoch: {}, keep_best=lambda: None, record=lines.append)
    trainer = Trainer(case.model.train(), engine, case.trained, case.packer, settings, calls, Path(), {})
    trainer._score_if_due = lambda: None
    trainer._run_epoch(SimpleNamespace(set_postfix=lambda **_: None, update=lambda _: None))
    moments = [tensor for state in engine.optimizer.state.values() for tensor in state.values() if tensor.ndim]
    assert len(lines) == case.steps and len(moments) >= 2 and {one.device for one in moments} == {CARD}


def score(case: Case) -> None:
    """log p of every label, with the bias of a prompt without content taken away."""
    found = predict_labels(case.model, case.encoder, case.asked, LABELS, DecodeSettings(case.packer, calibrate=True))
    assert [len(one.scores) for one in found] == [len(LABELS)] * 6


def generate(case: Case) -> None:
    """Greedy answers of several prompts, padded on the left, with a cache of keys and values."""
    settings = DecodeSettings(case.packer, "generate", eval_batch_size=len(case.asked), max_new_tokens=2)
    found = predict_labels(case.model, case.encoder, case.asked, LABELS, settings)
    assert [type(one.response) for one in found] == [str] * 6


def check(case: Case, device: torch.device = CARD) -> None:
    """The check of a run: rows alone, packed rows, and prompts padded for `generate`."""
    labels = [case.encoder.encode_label(label) for label in LABELS]

    def plan(share_prefixes: bool) -> list[list]:
        return [scoring_batches(case.asked, labels, 1024, share_prefixes)]

    kind = case.packer.kind
    assert packer_that_agrees(case.model, plan, kind, PAD, device) == case.packer
    assert prompts_together(case.model, plan(True)[0], 4, PAD, device) == 4


@contextmanager
def calibration_stays() -> Iterator[None]:
    """The batches of prompts without content stay on the CPU."""
    real = label_scoring.score_without_content

    def planted(*arguments):
        with BATCH_STAYS():
            return real(*arguments)

    with patch.object(label_scoring, "score_without_content", planted):
        yield


@contextmanager
def weights_stay(name: str, case: Case) -> Iterator[None]:
    """The weights of the modules that have this in their name stay on the CPU."""
    for path, module in case.model.named_modules():
        if name in path and module._parameters:
            module.weight = nn.Parameter(torch.empty(module.weight.shape, dtype=module.weight.dtype))
    yield


def depths_stay(case: Case):
    """Of the nodes of a tree, which prepare_attention has BLOOM read off the mask."""
    module, read = case.model.transformer, case.model.transformer.build_alibi_tensor
    return patch.object(module, "build_alibi_tensor", lambda *inputs, **named: read(*inputs, **named).cpu())


BATCH_STAYS = partial(patch.object, PackedBatch, "to", lambda batch, device: batch)
PARTS: dict[str, Callable[[Case], None]] = {"train": train, "score": score, "generate": generate, "check": check}
# (part, way) -> what leaves something on the CPU.
PLANTED: dict[tuple[str, str], Callable[[Case], Any]] = {
    ("train", "lora"): lambda case: BATCH_STAYS(),
    ("score", "lora"): lambda case: BATCH_STAYS(),
    ("score", "all"): lambda case: calibration_stays(),
    ("generate", "lora"): partial(weights_stay, "model.norm"),  # its inputs transformers moves itself
    ("check", "lora"): lambda case: patch.dict(PARTS, check=partial(check, device=CPU)),
    ("train", "dora"): partial(weights_stay, "magnitude"),
    ("train", "all"): depths_stay,
}


def run_case(part: str, kind: str, packing: str, way: str, planted: bool) -> str:
    """ "fine", or what stopped it."""
    case = build_case(kind, packing, way)
    with NumbersUnknown(allow_non_fake_inputs=True), patch.object(torch, "tensor", tensor_there):
        move_to_card(case.model)
        with PLANTED[part, way](case) if planted else nullcontext():
            try:
                PARTS[part](case)
            except Exception as error:
                return f"{type(error).__name__}: {' '.join(str(error).split())}"
    return "fine"


if __name__ == "__main__":
    print(json.dumps([run_case(*case) for case in json.loads(sys.argv[1])]))
