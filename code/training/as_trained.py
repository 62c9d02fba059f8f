"""A checkpoint to start from decides what its training decided: flags that are not said are its own, others refused."""

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
    """The arguments of a run, those of its checkpoint among them.

    Raises:
        UserError: flags were said otherwise than the checkpoint was trained, or it is not what it says of itself.
    """
    start = arguments[0].checkpoint_dir
    if start == NOTHING:
        return arguments
    config = find_erc_config(start)
    refuse_changed_files(start, config)
    decided = decided_by(start, config)
    if arguments[2].decode == "generate":
        decided.pop("calibrate", None)  # an answer that is generated has no probabilities to divide
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
        decided["lora"] = False  # nothing is put on it
    found = {name: value for name, value in decided.items() if name not in said}
    if config:
        found["precision"] = as_in_training(arguments[0].precision, config.precision, choose_device())
    return tuple(
        replace(group, **{name: value for name, value in found.items() if hasattr(group, name)}) for group in arguments
    )


def decided_by(start: str, config: ErcConfig | None) -> dict[str, Any]:
    """Flag -> its value, as far as a checkpoint decides it.

    How a whole model was quantized or adapted says nothing of the adapters that are put on it.
    """
    asked: Mapping[str, Any] = {}
    if config:
        asked = {name: getattr(config, name) for name in ("chat_template", "max_length", "calibrate")}
    if not is_adapter(start):
        return dict(asked)
    quantized = {"quantize": config.quantize} if config and config.quantize is not None else {}
    return {**asked, "lora": True, **read_adapter(start), **quantized}
