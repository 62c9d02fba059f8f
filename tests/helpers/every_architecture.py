"""Tries every causal architecture of transformers, tiny and random, through the check that every run makes:

    PYTHONPATH=code:tests/helpers python tests/helpers/every_architecture.py             # some minutes: the whole table
    PYTHONPATH=code:tests/helpers python tests/helpers/every_architecture.py gpt_neo mpt # some of them

The table is that of LLM_bases/README.md. An architecture is as its configuration's defaults say, but small, and with
windows that are shorter than the rows.
"""

import io
import logging
import sys
from collections import defaultdict
from collections.abc import Mapping
from contextlib import redirect_stderr
from typing import Any

import torch
from transformers import CONFIG_MAPPING, AutoModelForCausalLM
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES as NAMES

from bases.load import prepare_attention
from basics.errors import UserError
from basics.markdown import render_table
from engine.attention import tree_ways
from engine.batching import MicroBatch
from scoring.self_check import packer_that_agrees
from tiny_models import BOS, EOS, PAD, VOCABULARY_SIZE, small_rows

CPU = torch.device("cpu")
LARGEST = 20_000_000  # parameters
SIZES: Mapping[Any, tuple[str, ...]] = {
    VOCABULARY_SIZE + 1: ("vocab_size", "vocab_size_per_layer_input"),
    32: ("hidden_size", "d_model", "n_embd", "dim", "emb_dim", "embedding_size"),
    2: ("num_hidden_layers", "n_layer", "n_layers", "num_layers", "decoder_layers", "encoder_layers"),
    4: ("num_attention_heads", "n_head", "n_heads", "decoder_attention_heads", "encoder_attention_heads", "num_heads"),
    48: ("intermediate_size", "n_inner", "decoder_ffn_dim", "encoder_ffn_dim", "ffn_dim", "d_ff", "dff", "d_inner"),
}
WINDOWS = ("sliding_window", "window_size", "attention_window_size", "local_attention", "sliding_window_size")
WINDOWS += ("attention_chunk_size", "keep_window_size")
SMALL: dict[str, Any] = {name: size for size, names in SIZES.items() for name in names} | dict.fromkeys(WINDOWS, 40)
SMALL |= {"num_key_value_heads": 2, "head_dim": 8, "v_head_dim": 8, "qk_rope_head_dim": 4, "qk_nope_head_dim": 4}
SMALL |= {"q_lora_rank": 16, "kv_lora_rank": 16, "hidden_size_per_layer_input": 8, "rotary_dim": 4, "index_topk": 16}
SMALL |= dict.fromkeys(("num_experts", "num_local_experts", "n_routed_experts"), 4) | {"num_experts_per_tok": 2}
SMALL |= dict.fromkeys(("moe_intermediate_size", "shared_expert_intermediate_size"), 16) | {"n_shared_experts": 1}
SMALL |= {"n_group": 1, "topk_group": 1, "pad_token_id": PAD, "bos_token_id": BOS, "eos_token_id": EOS}
SMALL |= {"initializer_range": 0.15, "init_std": 0.15, "index_block_size": 16, "index_topk_blocks": 2}
LATENT = {"head_dim": 4, "num_key_value_heads": 4}  # keys that are wider than values
MAMBA = {"mamba_n_heads": 8, "mamba_d_head": 8, "mamba_d_state": 16}
BLOCKS = {"layers_block_type": ["linear_attention", "hybrid"]}
LATENT_TYPES = ("axk1", "axk2", "deepseek_v3", "deepseek_v32", "glm4_moe_lite", "glm_moe_dsa", "longcat_flash", "youtu")
SPECIAL: dict[str, dict[str, Any]] = dict.fromkeys(LATENT_TYPES, LATENT) | {
    "bamba": MAMBA,
    "blenderbot": {"max_position_embeddings": 512},
    "gemma3n_text": {"num_kv_shared_layers": 0, "activation_sparsity_pattern": [0.0, 0.0]},
    "gpt_neo": {"attention_types": [[["local", "global"], 1]]},
    "granitemoehybrid": MAMBA,
    "lfm2_moe": {"layer_types": ["conv", "full_attention"], "num_dense_layers": 1},
    "mamba2": {"num_heads": 8, "head_dim": 8, "n_groups": 1, "state_size": 16},
    "zamba": BLOCKS | {"attention_hidden_size": 64, "attention_head_dim": 16, "mamba_dt_rank": 4},
    "zamba2": BLOCKS | {"n_mamba_heads": 8, "mamba_headdim": 8, "mamba_d_state": 16},
    "zaya": {"num_experts_per_tok": 1},
}
NO_DROPOUT = {"attention_dropout": 0.0, "attn_pdrop": 0.0}
# What the defaults leave out, by name in the table.
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "falcon (ALiBi)": ("falcon", {"alibi": True}),
    "gemma4_text (other heads in global layers)": (
        "gemma4_text",
        {
            "num_global_key_value_heads": 1,
            "attention_k_eq_v": True,
            "layer_types": ["sliding_attention", "full_attention"],
        },
    ),
    "lfm2 (convolutions)": ("lfm2", {"layer_types": ["conv", "full_attention"]}),
    "qwen2 (windows)": ("qwen2", {"use_sliding_window": True, "max_window_layers": 1}),
    "roberta (is_decoder)": ("roberta", {"is_decoder": True}),
}


def small_config(kind: str, **changes: Any):
    """The configuration of an architecture; of one that also sees or hears, that of its text part."""
    text = CONFIG_MAPPING[kind]().get_text_config()
    kind, cls = text.model_type, type(text)
    known = {*text.to_dict(), *getattr(cls, "attribute_map", {})}
    sizes = {name: size for name, size in (SMALL | NO_DROPOUT).items() if name in known}
    return cls(**sizes | SPECIAL.get(kind, {}) | changes)


def tiny(kind: str, **changes: Any):
    """A random model of it, attention chosen as for a real base; ValueError where it does not come small."""
    config = small_config(kind, **changes)
    with torch.device("meta"):
        parameters = sum(weight.numel() for weight in AutoModelForCausalLM.from_config(config).parameters())
    if parameters > LARGEST:
        raise ValueError(f"{parameters:,} parameters")
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config)
    prepare_attention(model)
    return model.eval()


def outcome(model) -> tuple[str, str]:
    """(what a run with this base does, why): tree, in blocks or under a dense mask; rows; refused."""
    rows = small_rows(window=12, count=3, turns=6)
    batch = MicroBatch(tuple(rows), tuple((row.target,) for row in rows), (1.0,) * len(rows))
    with redirect_stderr(io.StringIO()) as told:
        try:
            packer = packer_that_agrees(model, lambda _: [[batch]], "tree", PAD, CPU)
        except UserError as error:
            return "refused", str(error)
    if packer.kind == "rows":
        return "rows", told.getvalue().partition("prefixes: it ")[2].partition("; using")[0]
    return ("tree, in blocks" if packer.way == tree_ways.BLOCKS else "tree, dense mask"), ""


def try_one(name: str) -> tuple[str, str]:
    kind, changes = VARIANTS.get(name, (name, {}))
    try:
        model = tiny(kind, **changes)
    except Exception as error:
        return "not built", f"{type(error).__name__}: {' '.join(str(error).split())}"
    return outcome(model)


def main() -> None:
    logging.disable(logging.WARNING)
    names = sys.argv[1:] or [*NAMES, *VARIANTS]
    found = defaultdict(list)
    for name in names:
        result, reason = try_one(name)
        found[result].append(name)
        print(f"{name}: {result} {reason[:200]}", file=sys.stderr, flush=True)
    print(render_table(("outcome", "architectures"), [(key, ", ".join(found[key])) for key in sorted(found)]))


if __name__ == "__main__":
    main()
