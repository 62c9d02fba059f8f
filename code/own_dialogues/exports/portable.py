"""What transformers 5 writes -> what transformers 4, vLLM and other readers of its folders take as well.

Everything that transformers 5 reads stays; what others look for under older names stands beside it.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bases.table import ADAPTER_CONFIG, PLAIN_TOKENIZER_CLASS, TOKENIZER_NOTES
from basics.files import write_atomically
from basics.json_files import read_json
from training.erc_config import TOKENIZER_CONFIG

# A class of transformers 5 alone -> one that 4 has as well, and that obeys tokenizer.json in both.
OLDER_CLASSES = {"TokenizersBackend": PLAIN_TOKENIZER_CLASS}


def make_portable(folder: Path) -> None:
    """Rewrites the configurations in a folder of a model or an adapter."""
    changes = {"config.json": with_older_names, TOKENIZER_CONFIG: with_older_tokenizer, ADAPTER_CONFIG: without_nulls}
    for name, change in changes.items():
        path = folder / name
        if path.is_file():
            changed = change(read_json(path))
            write_atomically(path, json.dumps(changed, ensure_ascii=False, indent=2) + "\n")


def with_older_names(config: Mapping[str, Any]) -> dict[str, Any]:
    """A config.json with `torch_dtype`, and with positions as transformers 4 has them: rope_theta, rope_scaling."""
    older: dict[str, Any] = {"torch_dtype": config["dtype"]} if "dtype" in config else {}
    rope = config.get("rope_parameters") or {}
    if "full_attention" in rope:  # Gemma 3: layers with a window turn by another base
        local = rope.get("sliding_attention") or {}
        older |= {"rope_local_base_freq": local["rope_theta"]} if "rope_theta" in local else {}
        rope = rope["full_attention"]
    older |= {name: rope[name] for name in ("rope_theta", "partial_rotary_factor") if name in rope}
    if rope.get("rope_type", "default") != "default":
        older["rope_scaling"] = {name: value for name, value in rope.items() if name != "rope_theta"}
    return {**older, **config}


def with_older_tokenizer(config: Mapping[str, Any]) -> dict[str, Any]:
    """A tokenizer_config.json whose class exists in transformers 4, with further marks under their older name."""
    changed = {name: value for name, value in config.items() if name not in TOKENIZER_NOTES}
    if (named := config.get("tokenizer_class")) in OLDER_CLASSES:
        changed["tokenizer_class"] = OLDER_CLASSES[named]
    if isinstance(config.get("extra_special_tokens"), list):
        changed["additional_special_tokens"] = changed.pop("extra_special_tokens")
    return changed


def without_nulls(config: Mapping[str, Any]) -> dict[str, Any]:
    """An adapter_config.json without settings that are not set: older PEFT does not know many of them."""
    return {name: value for name, value in config.items() if value is not None}
