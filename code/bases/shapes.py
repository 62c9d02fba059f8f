"""What the published configurations of the table's bases say of their size: enough to plan without a download.

Data, no logic, no torch. A test holds each to its published number of parameters. Of Gemma 3 4B: its text part.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any


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


TIED = {"tie_word_embeddings": True}
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
        "Gemma-3-1B": _decoder(262_144, 1152, 6912, 26, 4, 1, head_dim=256, sliding_window=512, **TIED),
        "Gemma-3-4B": _decoder(262_208, 2560, 10_240, 34, 8, 4, head_dim=256, sliding_window=1024, **TIED),
        "Mistral-7B": _decoder(32_768, 4096, 14_336, 32, 32, 8, head_dim=128, sliding_window=None),
        "GLM-4-9B": _decoder(151_552, 4096, 13_696, 40, 32, 2, head_dim=128, attention_bias=True),
    }
)
