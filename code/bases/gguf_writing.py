"""A model and its tokenizer -> one GGUF file, which llama.cpp and what is built on it load."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from bases.gguf_vocabulary import add_vocabulary
from bases.table import GGUF_STORAGES
from basics.errors import UserError

# Name of an architecture, in transformers and llama.cpp -> whether llama.cpp wants rows of q and k interleaved.
ARCHITECTURES = {"llama": True, "qwen2": False, "qwen3": False}
BLOCK = 32  # numbers of a row that share a scale in Q8_0
TABLES_OF_ROPE = ("default", "linear", "llama3")  # kinds of RoPE that a factor for each frequency expresses


def write_gguf(model, tokenizer, path: Path, name: str, storage: str) -> None:
    """Writes weights, tokenizer and chat template as one file; matrices in `storage`, one of GGUF_STORAGES.

    Raises:
        UserError: llama.cpp would not read this architecture or this tokenizer as we do.
    """
    from gguf import GGUFWriter

    config = model.config
    refuse_other_models(config)
    writer = GGUFWriter(path, config.model_type)
    try:
        _add_shape(writer, config, name, storage)
        add_vocabulary(writer, tokenizer, config.vocab_size)
        tensors = list(_tensors_of(model, storage))
        for written, shape, kind, _ in tensors:
            writer.add_tensor_info(written, shape, np.dtype(np.float32), _size_of(shape, kind), raw_dtype=kind)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for _, _, kind, weight in tensors:
            writer.write_tensor_data(_stored(weight, kind, config))
    finally:
        writer.close()


def refuse_other_models(config) -> None:
    """UserError for a model that llama.cpp would compute otherwise, or not at all."""
    kind, problems = config.model_type, []
    if kind not in ARCHITECTURES:
        raise UserError(
            f"--kind gguf: a base of the architecture {kind} is not written here, only {', '.join(ARCHITECTURES)}; "
            "choose --kind merged, which llama.cpp's convert_hf_to_gguf.py reads for many others"
        )
    rope = config.rope_parameters["rope_type"]
    if rope not in TABLES_OF_ROPE or (rope != "default" and kind != "llama"):
        problems.append(f"positions of the kind {rope}")
    if getattr(config, "use_sliding_window", False):
        problems.append("a sliding window")
    if config.hidden_act != "silu" or (kind == "llama" and (config.attention_bias or config.mlp_bias)):
        problems.append("biases or an activation of its own")
    if problems:
        raise UserError(f"--kind gguf: this {kind} has {' and '.join(problems)}, which is not written here")


def _add_shape(writer, config, name: str, storage: str) -> None:
    from gguf import GGML_QUANT_VERSION, LlamaFileType

    head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    writer.add_type("model")
    writer.add_name(name)
    writer.add_file_type(LlamaFileType[GGUF_STORAGES[storage][1]])
    if storage == "q8_0":
        writer.add_quantization_version(GGML_QUANT_VERSION)
    writer.add_vocab_size(config.vocab_size)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(head)
    writer.add_value_length(head)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_dimension_count(head)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])


def _tensors_of(model, storage: str) -> Iterator[tuple[str, tuple[int, ...], int, tuple[str, torch.Tensor]]]:
    """Name in the file, shape, type, and (name of ours, weight) of everything that is stored; tied weights once."""
    from gguf import MODEL_ARCH, GGMLQuantizationType, get_tensor_name_map

    config = model.config
    architecture = MODEL_ARCH[config.model_type.upper()]
    names = get_tensor_name_map(architecture, config.num_hidden_layers)
    tied = set(model.all_tied_weights_keys) if config.tie_word_embeddings else set()
    for name, weight in model.state_dict().items():
        if name in tied:
            continue
        written = names.get_name(name, try_suffixes=(".weight", ".bias"))
        if written is None:
            raise UserError(f"--kind gguf: llama.cpp has no name for the weight {name}")
        kind = GGMLQuantizationType[GGUF_STORAGES[storage][0] if weight.ndim > 1 else "F32"]
        if kind == GGMLQuantizationType.Q8_0 and weight.shape[-1] % BLOCK:
            kind = GGMLQuantizationType.F16
        yield written, tuple(weight.shape), kind, (name, weight)
    if (factors := _rope_factors(model)) is not None:
        yield "rope_freqs.weight", tuple(factors.shape), GGMLQuantizationType.F32, ("rope_freqs", factors)


def _rope_factors(model) -> torch.Tensor | None:
    """How much slower each pair of a head turns than its plain frequency; None where they turn by that."""
    config = model.config
    if config.rope_parameters["rope_type"] == "default":
        return None
    actual = model.model.rotary_emb.inv_freq.float()
    steps = torch.arange(len(actual), dtype=torch.float32) / len(actual)
    return config.rope_parameters["rope_theta"] ** -steps / actual


def _size_of(shape: tuple[int, ...], kind) -> int:
    """Bytes of a tensor."""
    from gguf import GGML_QUANT_SIZES

    block, size = GGML_QUANT_SIZES[kind]
    return int(np.prod(shape)) // block * size


def _stored(named: tuple[str, torch.Tensor], kind, config) -> np.ndarray:
    """The numbers of a weight as the file holds them."""
    from gguf.quants import quantize

    name, weight = named
    if ARCHITECTURES[config.model_type]:
        heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
        count = next((count for part, count in heads.items() if name.endswith(f"{part}.weight")), None)
        weight = _interleaved(weight, count) if count else weight
    return quantize(np.ascontiguousarray(weight.detach().float().numpy()), kind)


def _interleaved(weight: torch.Tensor, heads: int) -> torch.Tensor:
    """(heads * size, in): the two halves of each head row by row in turn, as llama.cpp turns pairs of neighbours."""
    rows, columns = weight.shape
    return weight.reshape(heads, 2, rows // heads // 2, columns).swapaxes(1, 2).reshape(rows, columns)
