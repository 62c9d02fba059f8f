"""A model's layers in fewer passes over memory: LoRA fused into the matrix products, and compiled layers.

PEFT computes base, A, B, scaling and sum as five operations that autograd records one by one. Here B's product
is added inside the matrix product, and the backward pass keeps nothing but x and the rank-16 product. Where many rows
are scored in fp32, A and B are merged into the base for as long as that takes.

All layers of a model share one compiled graph, for any number of tokens, but the last, which computes what is read
alone (last_layer.py), and the first where nothing before it is trained. The attention over prefix trees stays out of
it: its buckets change with every batch. Compiling takes half a minute or more, so `auto` does it only
for runs that are long enough to earn it back.
"""

import os
import platform
import shutil
import sys
import sysconfig
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import torch
from torch import Tensor, nn

from basics.errors import UserError
from basics.files import sha256_of_text
from engine.attention import tree_attention

MOST_HELD_TWICE = 2 << 30  # bytes of weights
ROWS_THAT_PAY = 8_000  # rows of a whole run; on two CPU cores compiling costs about as much as 700 rows
# Device -> (variable that may name a compiler, compilers): of what PyTorch writes for a CPU, Triton for a GPU.
COMPILERS = {"cpu": ("CXX", "clang++" if sys.platform == "darwin" else "g++"), "cuda": ("CC", "gcc", "clang")}


class LoraProduct(torch.autograd.Function):
    """x W' + bias + scale * d A' B', where d is x after dropout (None: x itself); W and bias are frozen."""

    @staticmethod
    def forward(context, x: Tensor, dropped: Tensor | None, weight, bias, a: Tensor, b: Tensor, scale: float) -> Tensor:
        rows = x.reshape(-1, x.shape[-1])
        adapted = rows if dropped is None else dropped.reshape_as(rows)
        output, inner = lora_forward(rows, adapted, weight, bias, a, b, scale)
        context.save_for_backward(adapted, inner, weight, a, b)
        context.scale, context.dropped = scale, dropped is not None
        return output.view(*x.shape[:-1], -1)

    @staticmethod
    def backward(context, gradient: Tensor):
        adapted, inner, weight, a, b = context.saved_tensors
        rows = gradient.reshape(-1, gradient.shape[-1])
        if not context.needs_input_grad[0]:
            _, d_a, d_b = lora_backward(rows, adapted, inner, weight, a, b, context.scale, False)
            return None, None, None, None, d_a, d_b, None
        shape = (*gradient.shape[:-1], -1)
        d_x, d_a, d_b = lora_backward(rows, adapted, inner, weight, a, b, context.scale, not context.dropped)
        if context.dropped:
            return (rows @ weight).view(shape), d_x.view(shape), None, None, d_a, d_b, None
        return d_x.view(shape), None, None, None, d_a, d_b, None


# Operators of their own: a compiler that looked inside would copy the output instead of adding to it in place.
@torch.library.custom_op("instruct_erc::lora_forward", mutates_args=())
def lora_forward(
    rows: Tensor, adapted: Tensor, weight: Tensor, bias: Tensor | None, a: Tensor, b: Tensor, scale: float
) -> tuple[Tensor, Tensor]:
    """(rows W' + bias + scale * inner B', inner = adapted A')."""
    inner = adapted @ a.t()
    output = rows @ weight.t() if bias is None else torch.addmm(bias, rows, weight.t())
    return output.addmm_(inner, b.t(), alpha=scale), inner


@lora_forward.register_fake
def _(rows, adapted, weight, bias, a, b, scale):
    return rows.new_empty(rows.shape[0], weight.shape[0]), rows.new_empty(rows.shape[0], a.shape[0])


@torch.library.custom_op("instruct_erc::lora_backward", mutates_args=())
def lora_backward(
    gradient: Tensor, adapted: Tensor, inner: Tensor, weight: Tensor, a: Tensor, b: Tensor, scale: float, whole: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of the input of A, of A and of B. whole: the first includes the gradient through W."""
    d_inner = (gradient @ b).mul_(scale)
    d_a = d_inner.t() @ adapted
    d_b = (inner.t() @ gradient).mul_(scale).t().contiguous()  # wide times narrow is faster this way round
    d_adapted = (gradient @ weight).addmm_(d_inner, a) if whole else d_inner @ a
    return d_adapted, d_a, d_b


@lora_backward.register_fake
def _(gradient, adapted, inner, weight, a, b, scale, whole):
    return torch.empty_like(adapted), torch.empty_like(a), torch.empty_like(b)


def use_fast_lora(model: nn.Module) -> int:
    """Gives every plain LoRA layer the fused product; returns how many.

    Layers that PEFT treats otherwise (DoRA, quantized or merged bases, several adapters, other types than the
    base's) keep PEFT's own forward.
    """
    from peft.tuners.lora import Linear

    layers = [layer for layer in model.modules() if type(layer) is Linear and _is_plain(layer)]
    for layer in layers:
        # Another class, no bound method in the layer itself: that circle would keep a whole model from being freed.
        layer.__class__ = _fused_linear()
    return len(layers)


@cache
def _fused_linear() -> type:
    """PEFT's LoRA layer with the fused product; made on first use, as PEFT is slow to import."""
    from peft.tuners.lora import Linear

    return type("FusedLinear", (Linear,), {"forward": _fused_forward})


def _is_plain(layer) -> bool:
    base = layer.base_layer
    names = list(layer.lora_A)
    return (
        type(base) is nn.Linear
        and len(names) == 1
        and not any(weight.requires_grad for weight in base.parameters())
        and not layer.fan_in_fan_out
        and not getattr(layer, "lora_variant", None)
        and not getattr(layer, "lora_bias", {}).get(names[0], False)
        and layer.lora_A[names[0]].weight.dtype == base.weight.dtype
    )


def _fused_forward(layer, x: Tensor, *args, **kwargs) -> Tensor:
    if layer.merged and not (layer.disable_adapters or args or kwargs):
        return layer.base_layer(x)
    active = layer.active_adapters
    if layer.disable_adapters or layer.merged or len(active) != 1 or active[0] not in layer.lora_A or args or kwargs:
        return super(_fused_linear(), layer).forward(x, *args, **kwargs)
    name = active[0]
    dropout = layer.lora_dropout[name]
    dropped = dropout(x) if layer.training and not isinstance(dropout, nn.Identity) else None
    base, a, b = layer.base_layer, layer.lora_A[name].weight, layer.lora_B[name].weight
    return LoraProduct.apply(x, dropped, base.weight, base.bias, a, b, layer.scaling[name])


def shared_weights(model: nn.Module) -> set[int]:
    """id() of the weights that a model uses in several places, such as a head tied to the embeddings."""
    places = Counter(id(weight) for _, weight in model.named_parameters(remove_duplicate=False))
    return {weight for weight, count in places.items() if count > 1}


@contextmanager
def merged_adapters(model: nn.Module) -> Iterator[None]:
    """Inside, A and B of fused LoRA layers in fp32 are merged into the base weight; results differ by rounding only.

    Afterwards every weight is the tensor that it was before. Not merged are: other layers; weights that are used
    elsewhere too (a head tied to the embeddings); layers below fp32, where the change would be rounded away; and all
    layers, where their weights together exceed `MOST_HELD_TWICE`.
    """
    shared = shared_weights(model)
    layers = [layer for layer in model.modules() if isinstance(layer, _fused_linear()) and _can_merge(layer)]
    frozen = [(one, one.base_layer.weight.data) for one in layers if id(one.base_layer.weight) not in shared]
    if sum(weight.nbytes for _, weight in frozen) > MOST_HELD_TWICE:
        frozen = []
    try:
        for layer, weight in frozen:
            (name,) = layer.active_adapters
            a, b = layer.lora_A[name].weight, layer.lora_B[name].weight
            layer.base_layer.weight.data = torch.addmm(weight, b.detach(), a.detach(), alpha=layer.scaling[name])
            layer.merged_adapters.append(name)
        yield
    finally:
        for layer, weight in frozen:
            layer.base_layer.weight.data = weight
            layer.merged_adapters.clear()


def _can_merge(layer) -> bool:
    fp32 = layer.base_layer.weight.dtype == torch.float32
    return fp32 and not layer.merged and not layer.disable_adapters and list(layer.lora_A) == layer.active_adapters


def should_compile(wanted: str, rows: int, device: torch.device) -> bool:
    """Whether to compile for a run over `rows` rows in all; `auto` asks whether it pays and is possible.

    Raises:
        UserError: `wanted` is True, and this machine cannot compile.
    """
    if wanted == "False" or (wanted == "auto" and rows < ROWS_THAT_PAY):
        return False
    missing = missing_for_compiling(device)
    if missing and wanted == "True":
        raise UserError(f"--compile_layers True: {missing}; install it, or choose False")
    if missing:
        print(f"layers are not compiled: {missing}", file=sys.stderr)
    return not missing


def missing_for_compiling(device: torch.device) -> str:
    """What this machine lacks, in words; empty when it can compile. GPUs need a compiler of the host too."""
    variable, *compilers = COMPILERS[device.type]
    named = os.environ.get(variable)
    if not any(map(shutil.which, [named] if named else compilers)):
        return f"no compiler, neither one that {variable} names nor {' or '.join(compilers)}"
    header = Path(sysconfig.get_path("include")) / "Python.h"
    return "" if header.is_file() else f"no {header}, which comes with Python's development files"


def compile_layers(model: nn.Module) -> None:
    """Compiles the decoder layers of a model; the first forward and backward pass then take longer."""
    from transformers import AttentionInterface

    AttentionInterface.register(tree_attention.NAME, torch.compiler.disable(tree_attention.tree_attention))
    tell_caches_apart()
    layers = decoder_layers(model)
    for layer in layers:
        layer.compile(dynamic=True)
    print(f"{len(layers)} layers will be compiled on their first use, once for all", file=sys.stderr)


def tell_caches_apart() -> None:
    """From now on, cached compiled code is used only if it was made for this processor.

    PyTorch does not check that: in a home that machines share, code for wider vectors silently gives other numbers.
    """
    torch.compiler.config.cache_key_tag = identify_processor()


def identify_processor() -> str:
    """A text that differs for processors with other vector instructions, and on Linux for other models too."""
    told = Path("/proc/cpuinfo")
    lines = told.read_text(encoding="utf-8", errors="replace").splitlines() if told.exists() else []
    of_one = {line for line in lines if line.startswith(("model name", "flags", "Features"))}
    parts = (platform.machine(), torch.backends.cpu.get_cpu_capability(), *sorted(of_one))
    return sha256_of_text("\n".join(parts))[:16]


def decoder_layers(model: nn.Module) -> nn.ModuleList:
    """The longest list of equal blocks in a model: its decoder layers. An empty one where there is none."""
    lists = [module for module in model.modules() if isinstance(module, nn.ModuleList)]
    return max(lists, key=len, default=nn.ModuleList())
