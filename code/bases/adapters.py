"""LoRA adapters on a model: which layers get them (by flag, table, or model), and how they are made or loaded."""

import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from bases.find import AUTO, find_row
from bases.load import explained
from bases.table import ADAPTER_CONFIG
from bases.weights import experts_of
from basics.errors import UserError
from basics.json_files import parse_json
from engine.layers import use_fast_lora

ALL = "all"
FUSED = "query_key_value"
# Names of the attention module, whose linear layers make queries, keys, values and output.
ATTENTION = re.compile(r"att(n|ention)", re.IGNORECASE)


def choose_targets(model: nn.Module, wanted: str, base: str) -> tuple[str, str]:
    """(names of the modules that get adapters, in words why these).

    wanted: --lora_module_name; `auto` takes those of the base's row in the table, else those found in the model.
    base: its folder. A row whose modules the model lacks is ignored: it is of another model of that name.

    Raises:
        UserError: the model has none of the modules that are wanted; or they are all linear layers, but the experts of
            the base are no linear layers.
    """
    chosen = _chosen_targets(model, wanted, base)
    if chosen[0] == ALL:
        refuse_experts(model, wanted, auto_helps=_chosen_targets(model, AUTO, base)[0] != ALL)
    return chosen


def _chosen_targets(model: nn.Module, wanted: str, base: str) -> tuple[str, str]:
    if wanted == ALL:
        return ALL, "as given"
    if wanted != AUTO:
        names = wanted.split(",")
        present = present_targets(model, names)
        lacking = ", ".join(name for name in names if name not in present)
        return ",".join(present), f"as given; no such linear layer below the head: {lacking}" if lacking else "as given"
    row = find_row(base)
    if row and row.lora_targets == ALL:
        return ALL, f"the table's for {row.name}"
    if row and _names_in(model, row.lora_targets):
        return ",".join(row.lora_targets), f"the table's for {row.name}"
    return ",".join(find_targets(model)) or ALL, "found by inspection, the base is not in the table"


def find_targets(model: nn.Module) -> list[str]:
    """Names of the fused projection, if there is one, else of all linear layers of the attention; empty if it has none.

    A name that layers outside the attention have too is preceded by that of its module: `attn.c_proj`.
    """
    paths = linear_paths(model)
    inside = [path for path in paths if ATTENTION.search(path.rpartition(".")[0])]
    if FUSED in map(_last, inside):
        return [FUSED]
    elsewhere = {_last(path) for path in paths if path not in inside}
    parts = {_last(path): 2 if _last(path) in elsewhere else 1 for path in inside}
    return list(dict.fromkeys(".".join(path.split(".")[-parts[_last(path)] :]) for path in inside))


def present_targets(model: nn.Module, wanted: Sequence[str]) -> list[str]:
    """Those of the wanted names that the model has, as the paper's list has names of several architectures.

    Raises:
        UserError: the model has none of them.
    """
    present = _names_in(model, wanted)
    if not present:
        names = sorted({_last(path) for path in linear_paths(model)})
        raise UserError(
            f"--lora_module_name {','.join(wanted)}: the base has none of these; "
            f"choose from {', '.join(names)}, {ALL} or {AUTO}"
        )
    return present


def linear_paths(model: nn.Module) -> list[str]:
    """The path of each linear layer but the head."""
    head = model.get_output_embeddings() if hasattr(model, "get_output_embeddings") else None
    return [path for path, module in model.named_modules() if is_linear(module) and module is not head]


def is_linear(module: nn.Module) -> bool:
    """Whether a module is a linear layer of PyTorch's or GPT-2's kind; PEFT's layers around one are not."""
    from transformers.pytorch_utils import Conv1D

    return isinstance(module, nn.Linear | Conv1D)


def _names_in(model: nn.Module, names: Sequence[str]) -> list[str]:
    paths = [f".{path}" for path in linear_paths(model)]
    return [name for name in names if any(path.endswith(f".{name}") for path in paths)]


def _last(path: str) -> str:
    return path.rpartition(".")[2]


def add_lora(model, rank: int, alpha: int, dropout: float, modules: str, rslora: bool = False, dora: bool = False):
    """Wraps the model in LoRA adapters of the model's own precision; only these are trainable.

    modules: a comma list of module names, or `all` for every linear layer but the head. rslora: scaled by
    alpha / sqrt(rank) (arXiv 2312.03732). dora: a trained magnitude for each output (arXiv 2402.09353).

    Raises:
        UserError: no module of the base has one of the names, or they cannot be adapted; or `all` of a base with
            experts that are no linear layers.
    """
    from peft import LoraConfig, get_peft_model

    if modules == ALL:
        refuse_experts(model)
    names = "all-linear" if modules == ALL else present_targets(model, modules.split(","))
    config = LoraConfig(
        r=rank,
        lora_alpha=alpha,
        lora_dropout=dropout,
        target_modules=names,
        use_rslora=rslora,
        use_dora=dora,
        task_type="CAUSAL_LM",
    )
    try:
        with _less_warned():
            model = get_peft_model(model, config, autocast_adapter_dtype=False)
    except ValueError as error:
        raise UserError(f"--lora_module_name {modules}: PEFT does not adapt these here: {error}") from error
    use_fast_lora(model)
    return model


@contextmanager
def _less_warned() -> Iterator[None]:
    """Inside, a warning is off that no user can act on: PEFT reads a property that transformers has deprecated."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="`is_gradient_checkpointing` is deprecated", category=FutureWarning)
        yield


def refuse_experts(model: nn.Module, wanted: str = ALL, auto_helps: bool = False) -> None:
    """UserError when a mixture of experts has these in tensors of three dimensions.

    PEFT adapts them for some architectures, silently leaves them out for others, and has no dropout there. wanted: the
    value of --lora_module_name, for the error. auto_helps: whether `auto` would choose other layers.
    """
    if experts := list(experts_of(model)):
        names = sorted({_last(path) for path in linear_paths(model)})
        raise UserError(
            f"--lora_module_name {wanted}: the experts of this base ({experts[0]} and {len(experts) - 1} more) are no "
            f"linear layers; name the layers that shall have one, from {', '.join(names)}"
            f"{f', or give {AUTO}' if auto_helps else ''}"
        )


def load_adapter(model, folder: str, trainable: bool, in_fp32: bool = False):
    """The adapter saved in `folder` on top of its base, in the base's precision unless `in_fp32`.

    Raises:
        UserError: it does not fit this base, or lacks weights that its configuration implies.
    """
    from peft import PeftModel, get_peft_model_state_dict
    from peft.utils import load_peft_weights

    with explained(f"the adapter {folder} on this base"), _less_warned():
        model = PeftModel.from_pretrained(model, folder, is_trainable=trainable, autocast_adapter_dtype=in_fp32)
        saved = load_peft_weights(folder, device="cpu").keys()
    wanted = get_peft_model_state_dict(model, save_embedding_layers=False).keys()
    if lacking := sorted(wanted - saved):
        raise UserError(f"the adapter {folder} lacks {lacking[0]} and {len(lacking) - 1} more: it is not whole")
    if more := sorted(saved - wanted):
        raise UserError(
            f"the adapter {folder} holds {more[0]} and {len(more) - 1} more that adapt nothing here, as embeddings of "
            "its own: give one of linear layers alone"
        )
    use_fast_lora(model)
    return model


def read_adapter(folder: str | Path) -> dict[str, Any]:
    """An adapter's configuration, as flag -> value of the flags that make such an adapter.

    Raises:
        UserError: it cannot be read, or is not of LoRA.
    """
    path = Path(folder) / ADAPTER_CONFIG
    try:
        config = parse_json(path.read_bytes())
        if config["peft_type"] != "LORA":
            raise UserError(f"{folder} is an adapter of the kind {config['peft_type']}, allowed is LORA")
        targets = config["target_modules"]
        return {
            "lora_dim": config["r"],
            "lora_alpha": config["lora_alpha"],
            "lora_dropout": config.get("lora_dropout", 0.0),
            "lora_module_name": targets if isinstance(targets, str) else ",".join(sorted(targets)),
            "rslora": config.get("use_rslora", False),
            "dora": config.get("use_dora", False),
        }
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: not readable ({error}), allowed is the file that training wrote") from None


def refuse_other_layers(model, folder: str, wanted: str, base: str) -> None:
    """UserError when --lora_module_name names other layers than those of the adapter in `folder`."""
    there = read_adapter(folder)["lora_module_name"]
    if wanted == there:
        return
    named, has = _layers_of(model, _chosen_targets(model, wanted, base)[0]), _layers_of(model, there)
    if named != has:
        told = f"--lora_module_name {wanted}: the adapter {folder} sits on {there}"
        raise UserError(f"{told}; leave the flag out, it goes on as it is")


def _layers_of(model, names: str) -> set[str]:
    """The linear layers that a comma list of names means, or `all`, or a regular expression as PEFT takes one."""
    paths = linear_paths(model)
    endings = tuple(f".{name}" for name in names.split(","))
    found = {path for path in paths if names == ALL or f".{path}".endswith(endings)}
    return found or {path for path in paths if re.fullmatch(names, path)}


def count_trainable(model) -> tuple[int, int]:
    """(trainable, all) parameters; one that ZeRO-3 has sharded, or that is stored in 4 bits, counts in full."""
    sizes = [(p.requires_grad, _full_size(p)) for p in model.parameters()]
    return sum(size for trainable, size in sizes if trainable), sum(size for _, size in sizes)


def _full_size(parameter: torch.nn.Parameter) -> int:
    quantized = getattr(parameter, "quant_state", None)
    return quantized.shape.numel() if quantized else getattr(parameter, "ds_numel", parameter.numel())
