"""Refuses a base whose weights were not all loaded from its files; and finds those of a text part in a larger base."""

import math
import re
from collections.abc import Iterable
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import nn

from bases.find import WHOLE_OR_INDEX, list_weights, shards_of
from bases.tensor_files import read_header
from basics.errors import UserError

NAMED = 3  # weights that a line names
# Tables that older versions of transformers wrote beside the weights, and newer ones compute.
OLD_TABLES = re.compile(r"\.(masked_bias|causal_mask|inv_freq|attn\.bias|attention\.bias)$")


def text_part(base: str, config) -> dict[str, Any]:
    """Arguments of from_pretrained that load only the text part of a base that also takes images or sound.

    Empty for other bases, and where the library loads the text part by itself.
    """
    from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, AutoModelForCausalLM

    text = config.get_text_config()
    whole_class, text_class = (MODEL_FOR_CAUSAL_LM_MAPPING.get(type(one), None) for one in (config, text))
    if text_class in (None, whole_class):
        return {}
    text.tie_word_embeddings = config.tie_word_embeddings  # the head is the whole's, and so is what it shares
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(text)
    return {"config": text, "key_mapping": names_in_whole(names_in_files(base), model)}


def names_in_whole(names: Iterable[str], model: nn.Module) -> dict[str, str]:
    """Prefix of names in the whole base, as a pattern -> that in its text part: `^model\\.text_model\\.` -> `model.`

    names: of the weights in the whole. model: the text part. For each of its branches (its blocks, its head) the names
    end alike in both; of several prefixes that are possible, the one under which the whole has most of them is taken.
    """
    names = set(names)
    mapping = {}
    for branch, _ in model.named_children():
        own = [name.removeprefix(f"{branch}.") for name in model.state_dict() if name.startswith(f"{branch}.")]
        ends = (f"{branch}." if branch != model.base_model_prefix else "") + own[0]
        ways = {name.removesuffix(ends) for name in names if name == ends or name.endswith(f".{ends}")}
        last = f"{branch}." if branch != model.base_model_prefix else ""
        if ways:
            way = max(sorted(ways), key=lambda way: sum(f"{way}{last}{name}" in names for name in own))
            mapping[f"^{re.escape(way + last)}"] = f"{branch}."
    return mapping


def names_in_files(base: str) -> set[str]:
    """What the weights are called in the files of a base; empty where there are none that can be read."""
    from safetensors import safe_open
    from transformers.utils import cached_file

    files = chain.from_iterable(WHOLE_OR_INDEX.items())
    found = (cached_file(base, file, _raise_exceptions_for_missing_entries=False) for file in files)
    path = next((Path(place) for place in found if place), None)
    if path is None:
        return set()
    if path.suffix == ".json":
        return set(shards_of(path))
    if path.suffix == ".bin":
        return set(torch.load(path, map_location="meta", weights_only=True, mmap=True))
    with safe_open(path, framework="pt") as tensors:
        return set(tensors.keys())


def count_parameters(base: str) -> int:
    """Numbers in the safetensors files that a base is loaded from; 0 where it has none, or is in no folder."""
    files = (path for path in list_weights(Path(base)) if path.suffix == ".safetensors" and path.is_file())
    return sum(math.prod(tensor["shape"]) for path in files for tensor in read_header(path)[0].values())


def refuse_other_weights(base: str, model: nn.Module, found: dict[str, Any], of_whole: bool) -> None:
    """UserError when a weight of the model is not in the files, or has another shape there, or one of them is not read.

    found: what transformers says of the loading, without tied weights and what an architecture ignores. of_whole: the
    files hold other parts too, which see or hear and are not read.
    """
    problems = []
    if found["missing_keys"]:
        problems.append(f"{_some(found['missing_keys'])} not in its files")
    if found["mismatched_keys"]:
        problems.append(f"{_some(name for name, *_ in found['mismatched_keys'])} there in another shape")
    if unread := [name for name in found["unexpected_keys"] if not _may_be_left(name, model, of_whole)]:
        problems.append(f"{_some(unread)} there, but not in this model")
    if problems:
        kind = type(model).__name__
        raise UserError(
            f"the weights of {base} are not those of a {kind}: {'; '.join(problems)}; get its files again, or the "
            "base whose config.json this is"
        )


def _some(names: Iterable[str]) -> str:
    names = sorted(names)
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return f"{', '.join(names[:NAMED])}{more} {'is' if len(names) == 1 else 'are'}"


def _may_be_left(name: str, model: nn.Module, of_whole: bool) -> bool:
    """Whether a weight of the files may go unread: a table that is computed, or a part beside the one that is loaded.

    A weight inside a block that the model has, such as a scale beside the numbers that it scales, may not.
    """
    if OLD_TABLES.search(name) or name in dict(model.named_buffers()):
        return True
    if not of_whole:
        return False
    around = name.rpartition(".")[0]
    while around and not _has(model, around):
        around = around.rpartition(".")[0]
    return around in ("", model.base_model_prefix)


def _has(model: nn.Module, path: str) -> bool:
    try:
        model.get_submodule(path)
    except AttributeError:
        return False
    return True


def experts_of(model: nn.Module) -> dict[str, nn.Parameter]:
    """The experts of a mixture that lie in one tensor, (experts, in, out): no linear layers, though they multiply."""
    return {
        f"{path}.{name}": weight
        for path, module in model.named_modules()
        if not isinstance(module, nn.Conv1d)
        for name, weight in module.named_parameters(recurse=False)
        if weight.ndim == 3 and min(weight.shape) > 1
    }
