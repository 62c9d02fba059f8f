"""Weights of ChatGLM2 and 3 under the names, and in the parts, that transformers' GLM has them. Shard by shard."""

import json
import os
import pickle
import re
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from basics.errors import UserError
from training.checkpoints import full_disk_named

# Index of shards -> the one file that there is without it; the first that exists counts.
WEIGHT_FILES = {
    "model.safetensors.index.json": "model.safetensors",
    "pytorch_model.bin.index.json": "pytorch_model.bin",
}
RENAMED = {
    "transformer.embedding.word_embeddings.weight": "model.embed_tokens.weight",
    "transformer.encoder.final_layernorm.weight": "model.norm.weight",
    "transformer.output_layer.weight": "lm_head.weight",
}
# In a layer; several names: the rows are those of the first, then those of the second, ...
IN_LAYER = {
    "input_layernorm.weight": ("input_layernorm.weight",),
    "self_attention.query_key_value.weight": tuple(f"self_attn.{part}_proj.weight" for part in "qkv"),
    "self_attention.query_key_value.bias": tuple(f"self_attn.{part}_proj.bias" for part in "qkv"),
    "self_attention.dense.weight": ("self_attn.o_proj.weight",),
    "post_attention_layernorm.weight": ("post_attention_layernorm.weight",),
    "mlp.dense_h_to_4h.weight": ("mlp.gate_up_proj.weight",),
    "mlp.dense_4h_to_h.weight": ("mlp.down_proj.weight",),
}
LAYER = re.compile(r"transformer\.encoder\.layers\.(\d+)\.(.+)")
COMPUTED = "rotary_pos_emb.inv_freq"  # made from the settings, not learned


def find_shards(folder: Path) -> list[Path]:
    """The weight files of a published folder, in order; UserError when there is none, or one is missing."""
    for index, single in WEIGHT_FILES.items():
        if (folder / index).is_file():
            try:
                names = sorted(set(json.loads((folder / index).read_text(encoding="utf-8"))["weight_map"].values()))
            except (ValueError, KeyError, AttributeError, TypeError) as error:
                raise UserError(f"{folder / index} does not list the weights: {error!r}") from error
        elif (folder / single).is_file():
            names = [single]
        else:
            continue
        if missing := [name for name in names if not (folder / name).is_file()]:
            raise UserError(f"{folder} lacks {', '.join(missing)}: fetch it again, a download goes on where it stopped")
        return [folder / name for name in names]
    raise UserError(f"{folder} holds no weights: neither {' nor '.join(WEIGHT_FILES.values())} nor their shards")


def convert_shard(shard: Path, target: Path, part_rows: tuple[int, int, int]) -> None:
    """Writes the weights of one shard under their new names; `target` appears when it is whole.

    part_rows: rows of query, key and value in `query_key_value`.
    """
    converted: dict[str, Tensor] = {}
    for name, tensor in read_shard(shard).items():
        converted |= rename(name, tensor, part_rows, shard)
    temporary = target.with_name(f".{target.name}.tmp")
    try:
        with full_disk_named(target):
            save_file(converted, temporary, metadata={"format": "pt"})
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def read_shard(path: Path) -> dict[str, Tensor]:
    """The tensors of a weight file, mapped into memory where its format allows; no code in it is run."""
    try:
        if path.suffix == ".safetensors":
            tensors = load_file(path)
        else:
            tensors = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{path} cannot be read as weights: {reason}") from error
    if not isinstance(tensors, dict) or not all(isinstance(tensor, Tensor) for tensor in tensors.values()):
        raise UserError(f"{path} holds something else than named tensors")
    return tensors


def rename(name: str, tensor: Tensor, part_rows: tuple[int, int, int], shard: Path) -> dict[str, Tensor]:
    """New name -> tensor, of one published tensor; empty for what is not learned."""
    if name.endswith(COMPUTED):
        return {}
    if name in RENAMED:
        return {RENAMED[name]: tensor.contiguous()}
    layer = LAYER.fullmatch(name)
    if layer is None or layer[2] not in IN_LAYER:
        raise UserError(f"{shard} holds {name}, which neither ChatGLM2 nor 3 has")
    names = [f"model.layers.{layer[1]}.{part}" for part in IN_LAYER[layer[2]]]
    if len(names) == 1:
        return {names[0]: tensor.contiguous()}
    if tensor.shape[0] != sum(part_rows):
        raise UserError(f"{shard}: {name} has {tensor.shape[0]} rows, not {sum(part_rows)} as its config.json says")
    # Copies: safetensors does not write tensors that share memory.
    return {part: rows.clone() for part, rows in zip(names, tensor.split(part_rows), strict=True)}


def list_tensors(shards: list[Path]) -> Iterator[tuple[str, tuple[int, ...], str]]:
    """(name, shape, file) of every tensor in safetensors files; their headers alone are read."""
    for path in shards:
        with safe_open(path, framework="pt") as tensors:
            for name in tensors.keys():  # noqa: SIM118 (no mapping)
                yield name, tuple(tensors.get_slice(name).get_shape()), path.name


def is_whole(path: Path) -> bool:
    """Whether a safetensors file is there and as long as its header says."""
    try:
        with safe_open(path, framework="pt"):
            return True
    except (OSError, SafetensorError):
        return False


def write_index(shards: list[Path], expected: Mapping[str, tuple[int, ...]], index: Path) -> None:
    """Writes which file holds which tensor.

    Raises:
        UserError: a tensor is missing, or has another shape than the configuration gives it.
    """
    found = {name: (shape, file) for name, shape, file in list_tensors(shards)}
    missing = sorted(expected.keys() - found.keys())
    wrong = sorted(name for name in expected.keys() & found.keys() if found[name][0] != expected[name])
    if missing or wrong or found.keys() - expected.keys():
        first = (missing or wrong or sorted(found.keys() - expected.keys()))[0]
        shapes = f"config.json: {expected.get(first, 'none')}, weights: {found.get(first, ('none',))[0]}"
        raise UserError(f"the weights do not fit config.json: {first} and others ({shapes})")
    sizes = {"total_size": sum(path.stat().st_size for path in shards)}
    content = {"metadata": sizes, "weight_map": {name: file for name, (_, file) in sorted(found.items())}}
    index.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
