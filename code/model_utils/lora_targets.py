"""Where LoRA adapters sit: as the user says, as the table of bases says, or found by looking at the model."""

import re
from collections.abc import Sequence

from torch import nn

from data_utils.errors import UserError
from model_utils.base_lookup import AUTO, find_row

ALL = "all"
FUSED = "query_key_value"
# How architectures call the module whose linear layers make queries, keys, values and the way out.
ATTENTION = re.compile(r"att(n|ention)", re.IGNORECASE)


def choose_targets(model: nn.Module, wanted: str, base: str) -> tuple[str, str]:
    """(the value of --lora_module_name that counts, who says so); `auto` asks the base's row, else the model.

    base: as it is loaded. A row whose modules the model lacks, being that of another model of its name, is not heard.
    """
    if wanted != AUTO:
        return wanted, "as given"
    row = find_row(base)
    if row and row.lora_targets == ALL:
        return ALL, f"the table's for {row.name}"
    if row and set(row.lora_targets) & set(linear_names(model)):
        return ",".join(row.lora_targets), f"the table's for {row.name}"
    return ",".join(find_targets(model)) or ALL, "found by inspection, the base is not in the table"


def find_targets(model: nn.Module) -> list[str]:
    """The fused projection where there is one, else every linear layer of the attention; empty without attention."""
    names = linear_names(model)
    if FUSED in names:
        return [FUSED]
    return [name for name, paths in names.items() if any(ATTENTION.search(path) for path in paths)]


def present_targets(model: nn.Module, wanted: Sequence[str]) -> list[str]:
    """Those of the names that the base has: the paper's list names modules of several architectures.

    Raises:
        UserError: it has none of them.
    """
    names = linear_names(model)
    present = [name for name in wanted if name in names]
    if not present:
        raise UserError(
            f"--lora_module_name {','.join(wanted)}: the base has none of these; "
            f"choose from {', '.join(sorted(names))}, {ALL} or {AUTO}"
        )
    return present


def linear_names(model: nn.Module) -> dict[str, list[str]]:
    """Last name of each linear layer but the head -> the paths of the modules that hold one."""
    from transformers.pytorch_utils import Conv1D

    head = model.get_output_embeddings() if hasattr(model, "get_output_embeddings") else None
    names: dict[str, list[str]] = {}
    for path, module in model.named_modules():
        if isinstance(module, nn.Linear | Conv1D) and module is not head:
            parent, _, name = path.rpartition(".")
            names.setdefault(name, []).append(parent)
    return names
