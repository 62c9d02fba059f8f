"""Compiled layers: norms, rotations, activations and sums fused by torch.compile, layer by layer.

All layers of a model share one compiled graph, for any number of tokens. The attention over prefix trees stays
out of it: its buckets change with every batch. Compiling takes half a minute or more, so `auto` does it only
for runs that are long enough to earn it back.
"""

import os
import shutil
import sys

import torch
from torch import nn

from engine import tree_attention

ROWS_THAT_PAY = 8_000  # rows of a whole run; on two CPU cores compiling costs about as much as 700 rows
COMPILERS = ("g++", "clang++", "c++")


def should_compile(wanted: str, rows: int, device: torch.device) -> bool:
    """Whether to compile for a run over `rows` rows in all; `auto` asks whether it pays and is possible."""
    if wanted != "auto":
        return wanted == "True"
    has_compiler = device.type == "cuda" or any(map(shutil.which, [os.environ.get("CXX", ""), *COMPILERS]))
    return has_compiler and rows >= ROWS_THAT_PAY


def compile_layers(model: nn.Module) -> None:
    """Compiles the decoder layers of a model; the first forward and backward pass then take longer."""
    from transformers import AttentionInterface

    AttentionInterface.register(tree_attention.NAME, torch.compiler.disable(tree_attention.tree_attention))
    layers = decoder_layers(model)
    for layer in layers:
        layer.compile(dynamic=True)
    print(f"{len(layers)} layers will be compiled on their first use, once for all", file=sys.stderr)


def decoder_layers(model: nn.Module) -> nn.ModuleList:
    """The longest list of equal blocks in a model: its decoder layers."""
    lists = [module for module in model.modules() if isinstance(module, nn.ModuleList)]
    return max(lists, key=len)
