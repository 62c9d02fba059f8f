"""A base by name or folder -> tokenizer and model, with LoRA adapters or all parameters trainable."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from data_utils.errors import UserError
from data_utils.files import find_repository
from model_utils import alibi, tree_attention
from model_utils.base_table import BASES
from model_utils.chatglm_layout import refuse_unconverted
from model_utils.fast_layers import use_fast_lora

PRECISIONS = {"bf16": torch.bfloat16, "fp32": torch.float32, "fp16": torch.float16}


def resolve_base(name_or_path: str) -> str:
    """The folder of a base: a folder as given, `LLM_bases/<name>`, or a hub id when a hub may be asked.

    Raises:
        UserError: there is no such folder, and the name is in no table; or the folder has to be converted first.
    """
    for folder in (Path(name_or_path), find_repository() / "LLM_bases" / name_or_path):
        if (folder / "config.json").is_file():
            refuse_unconverted(folder)
            return str(folder)
    if name_or_path in BASES:
        raise UserError(
            f"base {name_or_path} is not in LLM_bases: run `python LLM_bases/fetch.py {name_or_path}` first"
        )
    if name_or_path.count("/") == 1 and not Path(name_or_path).exists() and os.environ.get("HF_HUB_OFFLINE") != "1":
        return name_or_path
    raise UserError(
        f"base {name_or_path}: neither a folder with a config.json nor one of {', '.join(BASES)}; "
        "`python LLM_bases/fetch.py --list` shows what each is for"
    )


def choose_device() -> torch.device:
    """This process's CUDA device when there is one, else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    return torch.device("cpu")


def choose_precision(wanted: str, device: torch.device) -> torch.dtype:
    """`auto` is bf16 where the device computes in it, else fp32.

    Raises:
        UserError: fp16 on a CPU, which is slower than fp32 there and overflows.
    """
    if wanted == "fp16" and device.type == "cpu":
        raise UserError("--precision fp16 needs a GPU: choose auto, bf16 or fp32 on a CPU")
    if wanted != "auto":
        return PRECISIONS[wanted]
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    return torch.bfloat16 if torch.ops.mkldnn._is_mkldnn_bf16_supported() else torch.float32


@contextmanager
def explained(what: str) -> Iterator[None]:
    """Tells in one line why something cannot be loaded: not there, broken, or not made for the other."""
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{what} cannot be loaded: {reason[:300]}") from error


def know_own_architectures() -> None:
    """Makes the Auto classes of transformers load the architectures that this project brings: ChatGLM-6B."""
    from model_utils.chatglm import register

    register()


def load_tokenizer(base: str):
    """The base's tokenizer, with a pad token (EOS where it has none)."""
    from transformers import AutoTokenizer

    know_own_architectures()
    with explained(f"the tokenizer of {base}"):
        tokenizer = AutoTokenizer.from_pretrained(base)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    if tokenizer.eos_token_id is None:
        raise UserError(f"the tokenizer of {base} has no EOS token, which ends every target")
    return tokenizer


def load_model(base: str, dtype: torch.dtype, device: torch.device):
    """The base with the attention that fits it and the device best."""
    from transformers import AutoModelForCausalLM

    know_own_architectures()
    with explained(f"the model {base}"):
        model = AutoModelForCausalLM.from_pretrained(base, dtype=dtype)
    prepare_attention(model, device)
    model.config.use_cache = False
    return model.to(device)


def prepare_attention(model, device: torch.device) -> None:
    """On a CPU block-wise attention over prefix trees, where the architecture takes attention functions.

    Else what the library chose, with a dense mask: SDPA, or eager for those that refuse SDPA. These do more
    than softmax(q k') v (Gemma 2 bounds the scores, GPT-OSS adds a sink), which the tree attention would skip.
    """
    takes_functions = getattr(model, "_supports_attention_backend", False) and model._supports_sdpa
    if device.type == "cpu" and takes_functions:
        model.set_attn_implementation(tree_attention.register())
    alibi.follow_depth(model)


def add_lora(model, rank: int, alpha: int, dropout: float, modules: str):
    """Wraps the model in LoRA adapters of the model's own precision; only these are trainable.

    `modules` is a comma list of module names, or `all` for every linear layer but the head.

    Raises:
        UserError: no module of the base has one of the names.
    """
    from peft import LoraConfig, get_peft_model

    names = "all-linear" if modules == "all" else _present(model, modules.split(","))
    config = LoraConfig(r=rank, lora_alpha=alpha, lora_dropout=dropout, target_modules=names, task_type="CAUSAL_LM")
    model = get_peft_model(model, config, autocast_adapter_dtype=False)
    use_fast_lora(model)
    return model


def load_adapter(model, folder: str, trainable: bool):
    """The adapter saved in `folder` on top of its base."""
    from peft import PeftModel

    with explained(f"the adapter {folder} on this base"):
        model = PeftModel.from_pretrained(model, folder, is_trainable=trainable, autocast_adapter_dtype=False)
    use_fast_lora(model)
    return model


def _present(model, wanted: list[str]) -> list[str]:
    """The paper's list names modules of several architectures; those that this base lacks are left out."""
    linear = {name.rsplit(".", 1)[-1] for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)}
    present = [name for name in wanted if name in linear]
    if not present:
        raise UserError(
            f"--lora_module_name {','.join(wanted)}: the base has none of these; "
            f"choose from {', '.join(sorted(linear))} or all"
        )
    return present


def count_trainable(model) -> tuple[int, int]:
    """(trainable, all) parameters; a parameter that ZeRO-3 has sharded counts in full."""
    sizes = [(p.requires_grad, getattr(p, "ds_numel", p.numel())) for p in model.parameters()]
    return sum(size for trainable, size in sizes if trainable), sum(size for _, size in sizes)
