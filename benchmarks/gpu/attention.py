"""Ways to attend over a prefix tree on a GPU: forward and backward passes over the same packed steps."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch

from bases.adapters import add_lora
from bases.load import prepare_attention
from benchmarks.contenders.definition import LORA_ALPHA, LORA_RANK, SEED, Setting, Stopwatch, load_weights
from engine.attention.tree_ways import BLOCKS, DENSE, FLEX, SEGMENTS
from engine.batching import TOKEN_BUDGETS, training_batches
from engine.packing import PackedBatch, batch_loss, packer_for

VARIANTS = {
    DENSE: "dense mask, SDPA",
    SEGMENTS: "runs of the tree, flash attention",
    BLOCKS: "blocks that gather their path",
    FLEX: "FlexAttention with a block mask",
}


@dataclass(frozen=True)
class AttentionOutcome:
    """seconds: of one step, of every repetition. loss: mean over the steps."""

    seconds: tuple[float, ...]
    loss: float
    peak_memory: int


def build_attention(setting: Setting) -> Callable[[str, int], AttentionOutcome]:
    """options: adapted (layers). Returns a function of a way's name and a number of repetitions."""
    device = setting.torch_device
    model = load_weights(setting.base, setting.dtype, device)
    prepare_attention(model)
    model.config.use_cache = False
    torch.manual_seed(SEED)
    model = add_lora(model, LORA_RANK, LORA_ALPHA, 0.0, setting.options["layers"]).train()
    steps = setting.workload.steps
    budget = TOKEN_BUDGETS[device.type]
    batches = [training_batches(step, budget, share_prefixes=True) for step in steps]

    def run(name: str, repetitions: int) -> AttentionOutcome:
        packer = replace(packer_for(model, "tree", model.config.pad_token_id or 0), way=name)
        packed = [[packer.pack(batch).to(device) for batch in step] for step in batches]
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
