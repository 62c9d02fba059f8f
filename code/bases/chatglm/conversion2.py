"""A published ChatGLM2 or 3 folder -> a folder of transformers' own GLM architecture, which needs no remote code.

The two compute the same: multi-query attention, rotary positions on half of each head, RMSNorm, a gated SiLU MLP.
"""

import json
import pickle
import re
import shutil
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from bases.chatglm.layout import conversion_folder, is_published_chatglm2, read_config
from bases.find import WHOLE_OR_INDEX, list_weights, need_space, remove
from basics.errors import UserError, disk_named
from basics.files import make_folder, replace_durably, sync_file, sync_tree
from basics.json_files import parse_json
from basics.locks import alone_at, lock_beside, locked, remove_abandoned

# Settings that are fixed in GLM -> the value that they must have, if they are there.
BUILT_IN = {
    "add_bias_linear": False,
    "apply_residual_connection_post_layernorm": False,
    "multi_query_attention": True,
    "original_rope": True,
    "post_layer_norm": True,
    "rmsnorm": True,
    # The 32k versions stretch the rotations, each generation in a way of its own.
    "rope_ratio": 1,
    "quantization_bit": 0,
    "pre_seq_len": None,
}
ROLE_TOKENS = ("<|system|>", "<|user|>", "<|assistant|>", "<|observation|>")
RECORD_FILE = "conversion.json"
ROTARY_BASE = 10_000.0
RENAMED = {
    "transformer.embedding.word_embeddings.weight": "model.embed_tokens.weight",
    "transformer.encoder.final_layernorm.weight": "model.norm.weight",
    "transformer.output_layer.weight": "lm_head.weight",
}
# Published name in a layer -> new names; for several, the rows are those of the first, then of the second, ...
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


def convert_chatglm2(source: Path, target: Path) -> Path:
    """Converts a published folder to `target` and returns it; a conversion that was stopped goes on.

    Only one shard is in memory at a time. `target` appears when it is complete; one made from the same files is
    kept. Of two conversions to the same folder at once, one waits.

    Raises:
        UserError: this is no published ChatGLM2 or 3, a file is missing or broken, there is too little disk, or
            `target` is something else, or another folder is being converted to it.
    """
    published = read_config(source)
    settings = native_settings(published, source)
    shards = find_shards(source)
    record = describe_source(source, shards)
    if not target.exists():
        make_folder(target.parent)
        with locked(source), alone_at(lock_beside(target), str(target)), disk_named(conversion_folder(target)):
            if not target.exists():  # another one was faster
                _convert(source, target, record, settings, shards)
    remove_abandoned(lock_beside(target))  # of one that was killed once `target` was whole
    return _checked_target(target, record)


def _convert(
    source: Path, target: Path, record: Mapping[str, Any], settings: dict[str, Any], shards: list[Path]
) -> None:
    work, published = _open_work(target, record), read_config(source)
    names = [f"model-{number:05}-of-{len(shards):05}.safetensors" for number in range(1, len(shards) + 1)]
    wanted = [(shard, work / name) for shard, name in zip(shards, names, strict=True) if not is_whole(work / name)]
    need_space(work, 1.02 * sum(shard.stat().st_size for shard, _ in wanted), f"the conversion of {source.name}")
    for shard, path in wanted:
        convert_shard(shard, path, attention_rows(published))
    _finish(source, work, settings, [work / name for name in names])
    sync_tree(work)
    replace_durably(work, target)


def native_settings(published: Mapping[str, Any], source: Path) -> dict[str, Any]:
    """The settings of an equivalent GlmConfig.

    Raises:
        UserError: these are no settings of ChatGLM2 or 3, or of a variant that GLM cannot compute.
    """
    if not is_published_chatglm2(published):
        raise UserError(f"{source} is not ChatGLM2 or 3 as published: its config.json is of another model")
    wrong = [name for name, value in BUILT_IN.items() if published.get(name) not in (value, None)]
    if wrong:
        named = ", ".join(f"{name} {published[name]!r}, not {BUILT_IN[name]!r}" for name in wrong)
        raise UserError(f"{source} cannot be converted, its config.json says {named}")
    try:
        return {
            "vocab_size": published["padded_vocab_size"],
            "hidden_size": published["hidden_size"],
            "intermediate_size": published["ffn_hidden_size"],
            "num_hidden_layers": published["num_layers"],
            "num_attention_heads": published["num_attention_heads"],
            "num_key_value_heads": published["multi_query_group_num"],
            "head_dim": published["kv_channels"],
            "rms_norm_eps": published["layernorm_epsilon"],
            "max_position_embeddings": published["seq_length"],
            "attention_dropout": published.get("attention_dropout", 0.0),
            "attention_bias": published.get("add_qkv_bias", False),
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": ROTARY_BASE,
                "partial_rotary_factor": 0.5,
            },
            "tie_word_embeddings": False,
            "bos_token_id": None,
            "eos_token_id": published.get("eos_token_id", 2),
            "pad_token_id": published.get("pad_token_id", 0),
            "dtype": published.get("torch_dtype", "float16"),
            "architectures": ["GlmForCausalLM"],
        }
    except KeyError as error:
        raise UserError(f"{source / 'config.json'} has no {error.args[0]}") from None


def attention_rows(published: Mapping[str, Any]) -> tuple[int, int, int]:
    """Rows of query, key and value in `query_key_value`: all heads, then one key and one value for each group."""
    size, groups = published["kv_channels"], published["multi_query_group_num"]
    return published["num_attention_heads"] * size, groups * size, groups * size


def describe_source(source: Path, shards: list[Path]) -> dict[str, Any]:
    """What a conversion was made from: file -> its size and modification time."""
    files = [source / "config.json", source / "tokenizer.model", *shards]
    if missing := [path.name for path in files if not path.is_file()]:
        raise UserError(f"{source} lacks {', '.join(missing)}")
    return {"files": {path.name: [path.stat().st_size, path.stat().st_mtime_ns] for path in files}}


def special_tokens_of(source: Path, published: Mapping[str, Any]) -> tuple[str, ...]:
    """The tokens that ChatGLM3 has after those of ChatGLM2; () for ChatGLM2, by tokenizer_config.json or the name."""
    path = source / "tokenizer_config.json"
    told = path.read_text(encoding="utf-8") if path.is_file() else ""
    named = f"{published.get('_name_or_path', '')} {source.name}".lower()
    return ROLE_TOKENS if ROLE_TOKENS[1] in told or "chatglm3" in named else ()


def _checked_target(target: Path, record: Mapping[str, Any]) -> Path:
    if _read_record(target) != record:
        raise UserError(f"{target} is there and was made from something else: move it away, or give --output_dir")
    return target


def _open_work(target: Path, record: Mapping[str, Any]) -> Path:
    """The work folder beside `target`; it keeps what an earlier conversion of the same files has done."""
    work = conversion_folder(target)
    if _read_record(work) != record:
        remove(work)
        work.mkdir(parents=True)
        (work / RECORD_FILE).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    for left in work.glob(".*tmp*"):  # of a save that was ended; those of safetensors have names of its own
        left.unlink()
    return work


def _read_record(folder: Path) -> dict[str, Any] | None:
    try:
        return parse_json((folder / RECORD_FILE).read_bytes())
    except (OSError, ValueError):
        return None


def _finish(source: Path, work: Path, settings: dict[str, Any], shards: list[Path]) -> None:
    """Writes index, configuration, tokenizer and licences into a folder that has the weights."""
    from transformers import GlmConfig, GlmForCausalLM
    from transformers.utils import SAFE_WEIGHTS_INDEX_NAME

    from bases.chatglm.tokenizer2 import convert_tokenizer

    config = GlmConfig(**settings)
    with torch.device("meta"):
        expected = {name: tuple(value.shape) for name, value in GlmForCausalLM(config).state_dict().items()}
    write_index(shards, expected, work / SAFE_WEIGHTS_INDEX_NAME)
    further = special_tokens_of(source, read_config(source))
    convert_tokenizer(source / "tokenizer.model", further).save_pretrained(work)
    for licence in source.glob("*LICENSE*"):
        shutil.copy2(licence, work)
    config.save_pretrained(work)


def find_shards(folder: Path) -> list[Path]:
    """The weight files of a published folder, in order; UserError when there is none, or one is missing."""
    shards = list_weights(folder)
    if not shards:
        raise UserError(f"{folder} holds no weights: neither {' nor '.join(WHOLE_OR_INDEX)} nor their shards")
    if missing := [path.name for path in shards if not path.is_file()]:
        raise UserError(f"{folder} lacks {', '.join(missing)}: fetch it again, a download goes on where it stopped")
    return shards


def convert_shard(shard: Path, target: Path, part_rows: tuple[int, int, int]) -> None:
    """Writes the weights of one shard under their new names; `target` appears when it is whole.

    part_rows: rows of query, key and value in `query_key_value`.
    """
    converted: dict[str, Tensor] = {}
    for name, tensor in read_shard(shard).items():
        converted |= rename(name, tensor, part_rows, shard)
    temporary = target.with_name(f".{target.name}.tmp")
    try:
        with disk_named(target):
            save_file(converted, temporary, metadata={"format": "pt"})
            sync_file(temporary)
        replace_durably(temporary, target)
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
