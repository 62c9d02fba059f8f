"""A loaded base -> the same with LoRA adapters, by the flags of main_new.py."""

import sys

from bases.adapters import ALL, choose_targets
from bases.load import add_lora
from bases.quantization import NO_QUANTIZATION
from training.arguments import ModelArguments


def adapt(model, arguments: ModelArguments, base: str, speaks: bool):
    """The model with new adapters, which alone are trainable; base: as it was loaded.

    speaks: whether this process says on stderr where they sit, and who decided that.

    Raises:
        UserError: the model has none of the modules that --lora_module_name names.
    """
    targets, says = choose_targets(model, arguments.lora_module_name, base)
    model = add_lora(
        model,
        arguments.lora_dim,
        arguments.lora_alpha,
        arguments.lora_dropout,
        targets,
        arguments.rslora,
        arguments.dora,
    )
    if speaks:
        where = "every linear layer" if targets == ALL else targets
        print(f"{name_way(arguments)}, rank {arguments.lora_dim}, on {where}: {says}", file=sys.stderr)
    return model


def name_way(arguments: ModelArguments) -> str:
    """How a model is trained, as tables and figures name it."""
    if not arguments.lora:
        return "all parameters"
    prefix = "Q" if arguments.quantize != NO_QUANTIZATION else "rs" if arguments.rslora else ""
    return prefix + ("DoRA" if arguments.dora else "LoRA")
