"""Ways to attend over a prefix tree on a GPU: forward and backward passes over the same packed steps."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from bases.adapters import add_lora
from benchmarks.contenders.definition import LORA_ALPHA, LORA_RANK, SEED, Setting, Stopwatch, load_weights
from engine.attention import tree_attention
from engine.batching import TOKEN_BUDGETS, MicroBatch, training_batches
from engine.packing import PackedBatch, batch_loss, packer_for

FLEX_ROUNDING = 256  # nodes of a pack are a multiple of it, so that few lengths have to be compiled


@dataclass(frozen=True)
class Variant:
    """attention: its name in transformers. pack: model and micro-batch -> what the model is called with."""

    title: str
    attention: Callable[[], str]
    pack: Callable[[Any, MicroBatch, torch.device], PackedBatch]


@dataclass(frozen=True)
class AttentionOutcome:
    """seconds: of one step, of every repetition. loss: mean over the steps."""

    seconds: tuple[float, ...]
    loss: float
    peak_memory: int


def pack_as_chosen(model, batch: MicroBatch, device: torch.device) -> PackedBatch:
    """The packer's own input for the model's attention: a dense mask or a plan of blocks."""
    return packer_for(model, "tree", model.config.pad_token_id or 0).pack(batch).to(device)


def pack_for_flex(model, batch: MicroBatch, device: torch.device) -> PackedBatch:
    """The same nodes with a block mask, padded with nodes that see themselves alone."""
    from torch.nn.attention.flex_attention import create_block_mask

    packed = pack_as_chosen(model, batch, torch.device("cpu"))
    tree = batch.tree()
    nodes = -(-len(tree) // FLEX_ROUNDING) * FLEX_ROUNDING
    end = torch.arange(1, nodes + 1)
    end[: len(tree)] = torch.from_numpy(tree.end)
    end = end.to(device)
    mask = create_block_mask(
        lambda _, __, query, key: (key <= query) & (query < end[key]), None, None, nodes, nodes, device=device
    )
    padding = (0, nodes - len(tree))
    inputs = {name: torch.nn.functional.pad(packed.inputs[name], padding) for name in ("input_ids", "position_ids")}
    return replace(packed, inputs=inputs | {"attention_mask": mask}).to(device)


VARIANTS = {
    "dense": Variant("dense mask, SDPA", lambda: "sdpa", pack_as_chosen),
    "path": Variant("blocks that gather their path", tree_attention.register, pack_as_chosen),
    "flex": Variant("FlexAttention with a block mask", lambda: "flex_attention", pack_for_flex),
}


def build_attention(setting: Setting) -> Callable[[str, int], AttentionOutcome]:
    """options: adapted (layers). Returns a function of a variant's name and a number of repetitions."""
    device = setting.torch_device
    model = load_weights(setting.base, setting.dtype, device)
    model.config.use_cache = False
    torch.manual_seed(SEED)
    model = add_lora(model, LORA_RANK, LORA_ALPHA, 0.0, setting.options["layers"]).train()
    steps = setting.workload.steps
    budget = TOKEN_BUDGETS[device.type]
    batches = [training_batches(step, budget, share_prefixes=True) for step in steps]

    def run(name: str, repetitions: int) -> AttentionOutcome:
        variant = VARIANTS[name]
        model.get_base_model().set_attn_implementation(variant.attention())
        packed = [[variant.pack(model, batch, device) for batch in step] for step in batches]
        losses = _pass_over(model, packed)  # warms up, compiles
        forget_peak(device)
        seconds = []
        for _ in range(repetitions):
            with Stopwatch(device) as watch:
                _pass_over(model, packed)
            seconds.append(watch.seconds / len(packed))
        return AttentionOutcome(tuple(seconds), sum(losses) / len(losses), peak_memory(device))

    return run


def _pass_over(model, steps: Sequence[Sequence[PackedBatch]]) -> list[float]:
    """Losses of the steps; their gradients are thrown away."""
    losses = []
    for step in steps:
        total = torch.zeros((), device=step[0].pair_rows.device)
        for packed in step:
            loss = batch_loss(model, packed)
            loss.backward()
            total += loss.detach()
        model.zero_grad()
        losses.append(total)
    return [float(loss) for loss in losses]


def forget_peak(device: torch.device) -> None:
    """Memory peaks of a GPU count from here on."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def peak_memory(device: torch.device) -> int:
    """Bytes that tensors took at most since `forget_peak`; 0 on a CPU, where it is not known."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else 0
