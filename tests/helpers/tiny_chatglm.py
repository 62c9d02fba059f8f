"""Tiny ChatGLM checkpoints in their published file layouts: weights by formula, SentencePiece models trained here."""

import io
import json
import math
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from sentencepiece import SentencePieceProcessor, SentencePieceTrainer, sentencepiece_model_pb2
from torch import Tensor

from tiny_models import LABELS, small_examples

MIXED = (
    "Are you happy? 你高兴吗？我很高兴。",
    "今天天气很好，我们去公园吧！",
    '他说：“我不知道。” And she said: "Neither do I."',
    "情感分析 means sentiment analysis; 3 + 4 = 7.",
    "\tTab, then  two blanks\nand a new line。",
)
SPECIAL = ("[MASK]", "[gMASK]", "[sMASK]", "<unused_0>", "<sop>", "<eop>", "<ENC>", "<dBLOCK>")
BLANKS = ("<|tab|>", *(f"<|blank_{length}|>" for length in range(2, 81)))
CONTROL, USER_DEFINED, BYTE = 3, 4, 6  # sentencepiece_model.proto
SIZE = {"hidden_size": 32, "num_attention_heads": 4, "num_layers": 2, "layernorm_epsilon": 1e-5}
CODE = "raise RuntimeError('code of a checkpoint was run')\n"


def train_pieces(vocab_size: int, **options: Any) -> bytes:
    """A SentencePiece model of prompts, labels, and English and Chinese together."""
    texts = [*(row.input for row in small_examples(count=4)), *LABELS, *MIXED * 3]
    lines = [line for text in texts for line in text.split("\n")]
    model = io.BytesIO()
    fixed = {"unk_id": 0, "bos_id": 1, "eos_id": 2, "character_coverage": 1.0, "num_threads": 1, "minloglevel": 2}
    SentencePieceTrainer.train(
        sentence_iterator=iter(lines), model_writer=model, vocab_size=vocab_size, **fixed, **options
    )
    return model.getvalue()


def chatglm_pieces() -> bytes:
    """As `ice_text.model`: NFKC, <pad> and <n>; behind the pieces special tokens, whitespace and bytes."""
    options = {"model_type": "unigram", "hard_vocab_limit": False, "normalization_rule_name": "nmt_nfkc"}
    trained = train_pieces(320, pad_id=3, user_defined_symbols=["<n>"], **options)
    model = sentencepiece_model_pb2.ModelProto.FromString(trained)
    kinds = (
        (SPECIAL, CONTROL),
        (BLANKS, USER_DEFINED),
        (tuple(f"<0x{byte:02X}>" for byte in range(256)), BYTE),
    )
    for pieces, kind in kinds:
        for piece in pieces:
            model.pieces.add(piece=piece, score=0.0, type=kind)
    model.trainer_spec.byte_fallback = True
    return model.SerializeToString()


def chatglm2_pieces(vocab_size: int = 560, **options: Any) -> bytes:
    """As ChatGLM2's `tokenizer.model`: BPE over unchanged text, bytes for what is in no piece."""
    usual = {"model_type": "bpe", "byte_fallback": True, "normalization_rule_name": "identity"}
    return train_pieces(vocab_size, **usual | {"remove_extra_whitespaces": False, "split_digits": True} | options)


def drawn(name: str, shape: Sequence[int], scale: float = 0.3) -> Tensor:
    """fp32 numbers between -scale and scale that only name and shape decide, on every machine."""
    place = torch.arange(1, math.prod(shape) + 1, dtype=torch.float64) + zlib.crc32(name.encode()) % 10_007
    wild = torch.sin(12.9898 * place) * 43_758.5453
    return ((wild - wild.floor()) * 2 - 1).mul(scale).float().reshape(*shape)


def norm(name: str, size: int) -> Tensor:
    """Weights of a norm, around 1."""
    return 1 + drawn(name, [size], 0.2)


def chatglm_config(vocab_size: int, first_special: int, **changes: Any) -> dict[str, Any]:
    """config.json of chatglm-6b, smaller; first_special: the id of [MASK]."""
    return {
        **SIZE,
        "architectures": ["ChatGLMModel"],
        "auto_map": {
            "AutoConfig": "configuration_chatglm.ChatGLMConfig",
            "AutoModel": "modeling_chatglm.ChatGLMForConditionalGeneration",
        },
        "bos_token_id": first_special + 4,
        "eos_token_id": first_special + 5,
        "mask_token_id": first_special,
        "gmask_token_id": first_special + 1,
        "pad_token_id": 3,
        "inner_hidden_size": 64,
        "max_sequence_length": 2048,
        "model_type": "chatglm",
        "position_encoding_2d": True,
        "torch_dtype": "float16",
        "use_cache": True,
        "vocab_size": vocab_size,
        **changes,
    }


def chatglm_weights(config: dict[str, Any]) -> dict[str, Tensor]:
    """Weights of chatglm-6b under their published names."""
    size, inner = config["hidden_size"], config["inner_hidden_size"]
    embeddings = drawn("embeddings", [config["vocab_size"], size])
    weights = {"transformer.word_embeddings.weight": embeddings, "lm_head.weight": embeddings.clone()}
    norms = ["transformer.final_layernorm"]
    for layer in (f"transformer.layers.{index}" for index in range(config["num_layers"])):
        norms += [f"{layer}.input_layernorm", f"{layer}.post_attention_layernorm"]
        shapes = {
            "attention.query_key_value": (3 * size, size),
            "attention.dense": (size, size),
            "mlp.dense_h_to_4h": (inner, size),
            "mlp.dense_4h_to_h": (size, inner),
        }
        for name, shape in shapes.items():
            weights[f"{layer}.{name}.weight"] = drawn(f"{layer}.{name}", shape)
            weights[f"{layer}.{name}.bias"] = drawn(f"{layer}.{name}.bias", shape[:1])
        weights[f"{layer}.attention.rotary_emb.inv_freq"] = torch.ones(2).half()
    for name in norms:
        weights |= {f"{name}.weight": norm(name, size), f"{name}.bias": drawn(f"{name}.bias", [size])}
    return weights


def chatglm2_config(vocab_size: int, **changes: Any) -> dict[str, Any]:
    """config.json of chatglm2-6b, smaller."""
    return {
        **SIZE,
        "_name_or_path": "THUDM/chatglm2-6b",
        "model_type": "chatglm",
        "architectures": ["ChatGLMModel"],
        "auto_map": {
            "AutoConfig": "configuration_chatglm.ChatGLMConfig",
            "AutoModelForCausalLM": "modeling_chatglm.ChatGLMForConditionalGeneration",
        },
        "add_bias_linear": False,
        "add_qkv_bias": True,
        "apply_query_key_layer_scaling": True,
        "apply_residual_connection_post_layernorm": False,
        "attention_dropout": 0.0,
        "eos_token_id": 2,
        "ffn_hidden_size": 48,
        "hidden_dropout": 0.0,
        "kv_channels": 8,
        "multi_query_attention": True,
        "multi_query_group_num": 2,
        "original_rope": True,
        "pad_token_id": 0,
        "padded_vocab_size": vocab_size,
        "post_layer_norm": True,
        "quantization_bit": 0,
        "rmsnorm": True,
        "seq_length": 32768,
        "tie_word_embeddings": False,
        "torch_dtype": "float16",
        "use_cache": True,
        "vocab_size": vocab_size,
        **changes,
    }


def chatglm2_weights(config: dict[str, Any]) -> dict[str, Tensor]:
    """Weights of chatglm2-6b under their published names."""
    size, inner, vocabulary = config["hidden_size"], config["ffn_hidden_size"], config["padded_vocab_size"]
    heads = config["num_attention_heads"] * config["kv_channels"]
    rows = heads + 2 * config["multi_query_group_num"] * config["kv_channels"]
    weights = {
        "transformer.embedding.word_embeddings.weight": drawn("embeddings", [vocabulary, size]),
        "transformer.output_layer.weight": drawn("head", [vocabulary, size]),
        "transformer.encoder.final_layernorm.weight": norm("final", size),
        "transformer.rotary_pos_emb.inv_freq": torch.ones(2).half(),
    }
    for layer in (f"transformer.encoder.layers.{index}" for index in range(config["num_layers"])):
        shapes = {
            "self_attention.query_key_value.weight": (rows, size),
            "self_attention.query_key_value.bias": (rows,),
            "self_attention.dense.weight": (size, heads),
            "mlp.dense_h_to_4h.weight": (2 * inner, size),
            "mlp.dense_4h_to_h.weight": (size, inner),
        }
        weights |= {f"{layer}.{name}": drawn(f"{layer}.{name}", shape) for name, shape in shapes.items()}
        for name in ("input_layernorm", "post_attention_layernorm"):
            weights[f"{layer}.{name}.weight"] = norm(f"{layer}.{name}", size)
    return weights


def save_shards(folder: Path, weights: dict[str, Tensor], suffix: str = "bin") -> None:
    """Two weight files and their index, as `save_pretrained` of the published program wrote them."""
    stem = {"bin": "pytorch_model", "safetensors": "model"}[suffix]
    names, half = list(weights), len(weights) // 2
    listed = {}
    for number, part in enumerate((names[:half], names[half:]), start=1):
        file = f"{stem}-{number:05}-of-00002.{suffix}"
        tensors = {name: weights[name] for name in part}
        torch.save(tensors, folder / file) if suffix == "bin" else save_file(tensors, folder / file)
        listed |= dict.fromkeys(part, file)
    (folder / f"{stem}.{suffix}.index.json").write_text(json.dumps({"metadata": {}, "weight_map": listed}))


def save_chatglm(folder: Path, **changes: Any) -> Path:
    """chatglm-6b as published, with code that must not be run."""
    folder.mkdir(parents=True)
    (folder / "ice_text.model").write_bytes(chatglm_pieces())
    pieces = SentencePieceProcessor(model_file=str(folder / "ice_text.model"))
    padded = -(-pieces.get_piece_size() // 32) * 32
    config = chatglm_config(padded, pieces.piece_to_id("[MASK]"), **changes)
    (folder / "config.json").write_text(json.dumps(config))
    tokens = {"bos_token": "<sop>", "eos_token": "<eop>", "end_token": "</s>", "gmask_token": "[gMASK]"}
    tokens |= {"mask_token": "[MASK]", "pad_token": "<pad>", "unk_token": "<unk>"}
    write_tokenizer_config(folder, {"num_image_tokens": 0, "name_or_path": "THUDM/chatglm-6b"} | tokens)
    save_shards(folder, chatglm_weights(config))
    return folder


def save_chatglm2(folder: Path, suffix: str = "bin", pieces: bytes | None = None, **changes: Any) -> Path:
    """chatglm2-6b as published, with code that must not be run."""
    folder.mkdir(parents=True)
    (folder / "tokenizer.model").write_bytes(pieces or chatglm2_pieces())
    loaded = SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))
    config = chatglm2_config(-(-(loaded.get_piece_size() + 9) // 32) * 32, **changes)
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "MODEL_LICENSE").write_text("The licence")
    write_tokenizer_config(folder, {})
    save_shards(folder, chatglm2_weights(config), suffix)
    return folder


def write_tokenizer_config(folder: Path, settings: dict[str, Any]) -> None:
    """tokenizer_config.json and the program that it names."""
    (folder / "tokenization_chatglm.py").write_text(CODE)
    fixed = {
        "remove_space": False,
        "do_lower_case": False,
        "tokenizer_class": "ChatGLMTokenizer",
        "auto_map": {"AutoTokenizer": ["tokenization_chatglm.ChatGLMTokenizer", None]},
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(fixed | settings))
