"""Flags that a checkpoint settles (--checkpoint_dir): its values count where nobody said any; others are refused."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from bases.adapters import read_adapter
from bases.load import as_in_training, choose_device
from basics.errors import raise_together
from training.arguments import NOTHING, Arguments, Said, values_of
from training.checkpoints import is_adapter
from training.erc_config import ErcConfig, find_erc_config, longest, refuse_changed_files

# The layers of an adapter can be named in several ways: they are compared where the model is there.
COMPARED_LATER = "lora_module_name"


def as_trained(arguments: Arguments, said: Said) -> Arguments:
    """The arguments of a run, with the checkpoint's values for the flags that it settles and that were not said.

    Raises:
        UserError: a flag was said that contradicts the checkpoint, or the checkpoint's files are not those it names.
    """
    start = arguments[0].checkpoint_dir
    if start == NOTHING:
        return arguments
    config = find_erc_config(start)
    refuse_changed_files(start, config)
    decided = decided_by(start, config)
    if arguments[2].decode == "generate":
        decided.pop("calibrate", None)  # only scores of labels can be calibrated
    given = values_of(arguments)
    given["max_length"] = longest(arguments[1])
    raise_together(
        [
            f"--{name} {given[name]}: {start} {'is a LoRA adapter' if name == 'lora' else f'has {value}'}; leave it out"
            for name, value in decided.items()
            if name in said and name != COMPARED_LATER and given[name] != value
        ]
    )
    if not is_adapter(start) and not arguments[2].do_train:
        decided["lora"] = False  # a whole model that is only scored gets no adapter
    found = {name: value for name, value in decided.items() if name not in said}
    if config:
        found["precision"] = as_in_training(arguments[0].precision, config.precision, choose_device())
    return tuple(
        replace(group, **{name: value for name, value in found.items() if hasattr(group, name)}) for group in arguments
    )


def decided_by(start: str, config: ErcConfig | None) -> dict[str, Any]:
    """Flag -> its value, for the flags that a checkpoint settles.

    Only an adapter settles those of LoRA and quantization: on a whole model, adapters of any kind may be put.
    """
    asked: Mapping[str, Any] = {}
    if config:
        asked = {name: getattr(config, name) for name in ("chat_template", "max_length", "calibrate")}
    if not is_adapter(start):
        return dict(asked)
    quantized = {"quantize": config.quantize} if config and config.quantize is not None else {}
    return {**asked, "lora": True, **read_adapter(start), **quantized}
