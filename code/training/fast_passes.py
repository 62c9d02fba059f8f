"""Chooses what is fastest on the device of a run: the attention over shared prefixes, and CUDA graphs."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch

from bases.table import NO_QUANTIZATION
from basics.errors import UserError
from engine.attention.tree_ways import DENSE
from engine.attention.way_choice import choose_way
from engine.batching import MicroBatch
from engine.packing import Packer
from engine.replay import can_replay
from training.arguments import Arguments


def fastest_packer(
    model,
    packer: Packer,
    plan: Callable[[], Sequence[MicroBatch]],
    arguments: Arguments,
    device: torch.device,
    compiles: bool,
    alone: bool,
) -> Packer:
    """The packer with its way of attention (--tree_attention, or the fastest), and whether CUDA graphs replay passes.

    plan: returns the micro-batches of the run, of which the largest is timed. compiles: whether the run is long enough
    for compiling to pay. alone: whether one process trains without DeepSpeed.

    Raises:
        UserError: the way that --tree_attention names does not run here, or its result differs from that of the dense
            mask, or the base cannot use it.
    """
    model_arguments, _, training = arguments
    refuse_unread_way(training.tree_attention, packer)
    asks = packer.takes_ways and (training.tree_attention != "auto" or device.type == "cuda")
    if asks and (batches := plan()):
        largest = max(batches, key=MicroBatch.tokens)
        try:
            packer, tried = choose_way(model, packer, largest, device, training.tree_attention, compiles)
        except ValueError as error:
            raise UserError(f"--tree_attention {training.tree_attention}: {error}") from None
        told = "; ".join(map(str, tried))
        print(f"attention over shared prefixes: {packer.way} ({told})", file=sys.stderr)
    plain = alone and model_arguments.quantize == NO_QUANTIZATION and not model_arguments.gradient_checkpointing
    wanted = plain and training.cuda_graphs == "auto" and device.type == "cuda"
    return replace(packer, replays=wanted and can_replay(model, packer))


def refuse_unread_way(wanted: str, packer: Packer) -> None:
    """UserError when --tree_attention names a way of attention that the base cannot use."""
    if wanted == "auto" or packer.takes_ways or (wanted == DENSE and packer.shares_prefixes):
        return
    told = "takes dense masks alone: choose dense" if packer.shares_prefixes else "shares no prefixes: leave it out"
    raise UserError(f"--tree_attention {wanted}: this base {told}")
