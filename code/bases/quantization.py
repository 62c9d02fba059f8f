"""QLoRA (arXiv 2305.14314): the frozen base in 4-bit NormalFloat blocks; the adapters stay as they are."""

from importlib.util import find_spec
from typing import Any

import torch

from basics.errors import UserError

NO_QUANTIZATION = "none"
NF4 = "nf4"
QUANTIZATIONS = (NO_QUANTIZATION, NF4)
PACKAGE = "bitsandbytes"


def check_quantization(quantize: str, device: torch.device, shards_weights: bool) -> None:
    """UserError when 4-bit weights are wanted where they cannot be had; shards_weights: under ZeRO-3."""
    if quantize == NO_QUANTIZATION:
        return
    if device.type != "cuda":
        raise UserError(f"--quantize {quantize} needs a CUDA GPU, and this machine shows none: choose none")
    if find_spec(PACKAGE) is None:
        raise UserError(f"--quantize {quantize} needs the package {PACKAGE}: pip install {PACKAGE}, or choose none")
    if shards_weights:
        raise UserError(f"--quantize {quantize}: 4-bit weights cannot be sharded by ZeRO-3: choose stage 0, 1 or 2")


def quantized_options(quantize: str, dtype: torch.dtype, device: torch.device) -> dict[str, Any]:
    """What `from_pretrained` is told: 4-bit blocks whose scales are quantized too, products in `dtype`."""
    if quantize == NO_QUANTIZATION:
        return {}
    from transformers import BitsAndBytesConfig

    settings = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type=quantize,
        bnb_4bit_compute_dtype=dtype,
        bnb_4bit_use_double_quant=True,
    )
    return {"quantization_config": settings, "device_map": {"": device}}
