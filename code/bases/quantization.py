"""Frozen 4-bit weights by bitsandbytes, under adapters (QLoRA): where they are possible, and whether they train."""

import logging
import sys
from collections.abc import Mapping
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

import torch
from torch import nn

from bases.table import NO_QUANTIZATION
from bases.weights import experts_of
from basics.errors import UserError

PACKAGE = "bitsandbytes"
NF4_SIZE = 0.53  # bytes of a parameter in 4 bits, with its share of the scales
TOLERANCE = 0.05  # of a gradient, as a part of its length: roundings to bf16 stay far below, what is lost is 1


def check_quantization(quantize: str, shards_weights: bool, needed_by: str = "") -> None:
    """UserError when 4-bit weights are wanted where they are not possible.

    shards_weights: under ZeRO-3. needed_by: the checkpoint that was trained over them, if that is why.
    """
    if quantize == NO_QUANTIZATION:
        return
    what, choice = f"--quantize {quantize}", ", or choose none"
    if needed_by:
        what, choice = f"{needed_by}, trained over weights in 4 bits ({quantize}),", ""
    if find_spec(PACKAGE) is None:
        raise UserError(f"{what} needs the package {PACKAGE}: pip install {PACKAGE}{choice}")
    if shards_weights:
        raise UserError(f"{what}: 4-bit weights cannot be sharded by ZeRO-3: choose stage 0, 1 or 2")


def quantized_options(quantize: str, dtype: torch.dtype, device: torch.device) -> dict[str, Any]:
    """Arguments of `from_pretrained`: 4-bit blocks whose scales are quantized too, products in `dtype`."""
    if quantize == NO_QUANTIZATION:
        return {}
    from transformers import BitsAndBytesConfig

    # It would advise a package for products that are turned off below.
    logging.getLogger(f"{PACKAGE}.backends.cpu.ops").setLevel(logging.ERROR)
    settings = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type=quantize,
        bnb_4bit_compute_dtype=dtype,
        bnb_4bit_use_double_quant=True,
    )
    return {"quantization_config": settings, "device_map": {"": device}}


def refuse_stored_otherwise(base: str, model: nn.Module, quantize: str) -> None:
    """UserError when a base was loaded in fewer bits than 16 because its files are, and --quantize does not say so.

    Nothing else here would know of it: not the check of its gradients, and not that only adapters can be trained.
    """
    if quantize == NO_QUANTIZATION and getattr(model, "is_quantized", False):
        raise UserError(describe_stored(base, model.config.quantization_config.to_dict()))


def describe_stored(base: str, stored: Mapping[str, Any]) -> str:
    """That a base is stored in fewer bits than 16, and what to do about it. stored: its quantization_config."""
    method = stored.get("quant_method", PACKAGE)  # older files of bitsandbytes do not name it
    helps = "add --quantize nf4, or give" if stored.get("load_in_4bit") else "give"
    return f"base {base} is stored quantized ({getattr(method, 'value', method)}): {helps} the base in 16 or 32 bits"


def check_quantized(model: nn.Module, quantize: str) -> None:
    """Makes the layers of a base in 4 bits compute in evaluation what they do in training, and says what stays whole.

    On a CPU with AVX512-BF16 they would lay out their weights anew in the first pass without gradients, for products
    that round to bf16 and, in training later on, lose the gradient of all that lies below.

    Raises:
        UserError: they lose it nevertheless; or there are none, as in a base whose files are in 8 bits.
    """
    from bitsandbytes.nn import Linear4bit

    layers = [layer for layer in model.modules() if isinstance(layer, Linear4bit)]
    if not layers:
        raise UserError(f"--quantize {quantize}: no layer of this base is in 4 bits: give it in 16 or 32 bits")
    for layer in layers:
        layer.support_avx512bf16_for_cpu = False
    if gradient_error(layers[0]) > TOLERANCE:
        raise UserError(
            f"--quantize {quantize}: {PACKAGE} {version(PACKAGE)} gives wrong gradients here once a base has been "
            "evaluated: choose none, or another version of it"
        )
    report_unquantized(model, quantize)


def gradient_error(layer: nn.Module) -> float:
    """|gradient of x - W'g| / |W'g| of a layer in 4 bits, after a pass of evaluation."""
    from bitsandbytes.functional import dequantize_4bit

    state = layer.weight.quant_state
    whole = dequantize_4bit(layer.weight.data, state).float()
    x = torch.ones(2, whole.shape[1], dtype=layer.compute_dtype, device=whole.device)
    was_training = layer.training
    with torch.inference_mode():
        layer.eval()(x)
    with torch.enable_grad():
        answer = layer.train()(x.requires_grad_())
        gradient = torch.zeros_like(x)
        if answer.requires_grad:
            (gradient,) = torch.autograd.grad(answer.sum(), x, materialize_grads=True)
    layer.train(was_training)
    expected = whole.sum(0)
    return float((gradient[0].float() - expected).norm() / expected.norm().clamp_min(1e-12))


def report_unquantized(model: nn.Module, quantize: str) -> None:
    """Says how many of the weights stay as they are: bitsandbytes knows linear layers, not experts in one tensor."""
    experts = sum(weight.numel() for weight in experts_of(model).values())
    if experts:
        print(f"--quantize {quantize}: {experts:,} parameters of experts stay in 16 bits", file=sys.stderr)
