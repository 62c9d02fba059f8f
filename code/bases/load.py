"""A base by name or folder -> tokenizer and model, on its device, in its precision, in 4 bits if asked."""

import os
import platform
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from bases.chatglm.layout import refuse_unconverted
from bases.find import AUTO, find_folder, find_incomplete, find_row, offline_by
from bases.quantization import NF4_SIZE, check_quantized, quantized_options, refuse_stored_otherwise
from bases.table import BASES, NO_QUANTIZATION, PRECISIONS
from bases.weights import count_parameters, refuse_other_weights, text_part
from basics.errors import UserError
from engine.attention import tree_attention
from engine.distributed import launcher_number

X86 = ("x86_64", "amd64")  # as systems call it
DTYPES = dict(zip(PRECISIONS, (torch.bfloat16, torch.float32, torch.float16), strict=True))
# Explicit, as transformers otherwise asks on the terminal whether a base's own code may run.
NO_FOREIGN_CODE = {"trust_remote_code": False}
POSITIONS = ("max_position_embeddings", "max_seq_len", "max_sequence_length")  # names of the setting in configurations
VOCABULARIES = ("tokenizer.json", "*.model", "vocab*", "*.tiktoken", "tekken.json")  # files of tokenizers
# Held while a model is loaded: the precision that PyTorch takes by default and filters of warnings are set for as long,
# and they are the process's.
LOADING = threading.Lock()


def resolve_base(name_or_path: str) -> str:
    """The folder of a base: as given, in `LLM_bases` by its name or hub id, or a hub id when a hub may be asked.

    Raises:
        UserError: there is no such folder, and the name is in no table; or the folder has to be converted first.
    """
    if folder := find_folder(name_or_path):
        refuse_unconverted(folder)
        return str(folder)
    offline = offline_by()
    row = find_row(name_or_path)
    if row and (offline or name_or_path in BASES):
        raise UserError(f"base {name_or_path} is not in LLM_bases: run `python LLM_bases/fetch.py {row.name}` first")
    if name_or_path.count("/") == 1 and not Path(name_or_path).exists():
        if offline:
            raise UserError(f"base {name_or_path} is not in LLM_bases, and {offline} asks no hub for it")
        return name_or_path
    raise UserError(
        f"base {name_or_path}: neither a folder with a config.json nor one of {', '.join(BASES)}; "
        "`python LLM_bases/fetch.py --list` shows what each is for"
    )


def choose_device() -> torch.device:
    """This process's CUDA device when there is one, else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda", launcher_number("LOCAL_RANK"))
    return torch.device("cpu")


def choose_precision(wanted: str, device: torch.device) -> torch.dtype:
    """`auto` is bf16 where the device computes in it, else fp32: GPUs older than Ampere emulate it, and so do
    Intel's CPUs with AVX-512 and no bf16 in it (Skylake, Cascade Lake, Ice Lake), and PyTorch on a Mac's.

    Raises:
        UserError: none of `AUTO` and `DTYPES`; or fp16 on a CPU, which is slower than fp32 there and overflows.
    """
    if wanted not in (AUTO, *DTYPES):
        raise UserError(f"precision {wanted!r}: allowed are {', '.join((AUTO, *DTYPES))}")
    if wanted == "fp16" and device.type == "cpu":
        raise UserError("--precision fp16 needs a GPU: choose auto, bf16 or fp32 on a CPU")
    if wanted != "auto":
        return DTYPES[wanted]
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    return torch.bfloat16 if _has_fast_bf16() else torch.float32


def _has_fast_bf16() -> bool:
    """Whether this CPU has instructions for products in bf16, and oneDNN uses them.

    A torch that was built without oneDNN has no such function. With AVX-512 alone oneDNN says yes and emulates them,
    which takes several times as long as fp32; of ARM's processors it says yes where they have them.
    """
    supported = getattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", None)
    is_x86 = platform.machine().lower() in X86
    emulated = is_x86 and not getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True)()  # not in older ones
    return torch.backends.mkldnn.is_available() and supported is not None and supported() and not emulated


def refuse_unscaled_fp16(dtype: torch.dtype, scaled: bool) -> None:
    """UserError when fp16 is to be trained without a scaled loss: its gradients would vanish, or become infinite."""
    if dtype == torch.float16 and not scaled:
        raise UserError(
            "--precision fp16 is trained by DeepSpeed alone, which scales the loss: choose auto, bf16 or fp32, "
            "or add --deepspeed_config code/data_utils/deepspeed_config.json"
        )


def as_in_training(wanted: str, trained: str | None, device: torch.device) -> str:
    """The precision of a checkpoint: `auto` is that of its training, where the device computes in it.

    trained: None where it is not known. bf16 is what `auto` means wherever it is to be had.
    """
    fits = trained == "fp32" or (trained == "fp16" and device.type == "cuda")
    return trained if wanted == AUTO and trained and fits else wanted


@contextmanager
def explained(what: str) -> Iterator[None]:
    """Inside, errors of loading `what` become a UserError of one line: missing, broken, or incompatible."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # libraries raise what they like: KeyError for a field, AssertionError for a setting
        reason = " ".join(str(error).split())
        if not reason or isinstance(error, KeyError):  # of which a text is empty or a name alone
            reason = f"{type(error).__name__} {reason}".strip()
        raise UserError(f"{what} cannot be loaded: {reason[:300]}") from error


@contextmanager
def named_where_missing(base: str) -> Iterator[None]:
    """Inside, errors of loading the tokenizer of a folder without files of one become a UserError that says so."""
    try:
        yield
    except Exception:
        folder = Path(base)
        if not folder.is_dir() or any(next(folder.glob(pattern), None) for pattern in VOCABULARIES):
            raise
        raise UserError(
            f"base {base}: this folder holds no tokenizer, such as tokenizer.json: put its files there"
        ) from None


def know_own_architectures() -> None:
    """Makes the Auto classes of transformers load the architectures that this project brings: ChatGLM-6B."""
    from bases.chatglm.model import register

    register()


def name_accelerator() -> None:
    """Tells DeepSpeed, which transformers imports to save a model, where it runs: without a GPU it warns otherwise."""
    os.environ.setdefault("DS_ACCELERATOR", "cuda" if torch.cuda.is_available() else "cpu")


def load_tokenizer(base: str):
    """The base's tokenizer, with the EOS and pad tokens of its row (EOS pads where nothing else does)."""
    from transformers import AutoTokenizer

    know_own_architectures()
    with explained(f"the tokenizer of {base}"), named_where_missing(base):
        tokenizer = AutoTokenizer.from_pretrained(base, **NO_FOREIGN_CODE)
        if len(tokenizer) <= len(tokenizer.get_added_vocab()):  # made up, for want of files
            raise ValueError("it has no vocabulary")
    row = find_row(base)
    known = tokenizer.get_vocab() if row and (row.eos or row.pad) else {}
    if row and row.eos in known:
        tokenizer.eos_token = row.eos
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = row.pad if row and row.pad in known else tokenizer.eos_token
    if tokenizer.eos_token_id is None:
        raise UserError(f"the tokenizer of {base} has no EOS token, which ends every target")
    return tokenizer


def load_model(base: str, dtype: torch.dtype, device: torch.device, quantize: str = NO_QUANTIZATION):
    """The base on `device`, with the attention of `prepare_attention`; `quantize`: its frozen weights in 4 bits.

    Raises:
        UserError: it is no causal language model, cannot be loaded, or its weights are not, one for one, those of its
            files; or these are quantized, and `quantize` does not say so.
    """
    from transformers import AutoModelForCausalLM

    name_accelerator()
    config = load_config(base)
    if Path(base).is_dir() and (problem := find_incomplete(Path(base))):
        raise UserError(f"base {base}: {problem}")
    options = quantized_options(quantize, dtype, device)
    if device.type == "cuda":
        options |= {"device_map": {"": device}}  # weight by weight, not whole through main memory
    loaded = {"dtype": dtype, "output_loading_info": True, "ignore_mismatched_sizes": True}  # refused below, by name
    with explained(f"the model {base}"):
        part = text_part(base, config)
        refuse_other_than_causal(base, part.get("config", config))
        model, found = AutoModelForCausalLM.from_pretrained(base, **loaded, **options, **part, **NO_FOREIGN_CODE)
    refuse_other_weights(base, model, found, of_whole=config.get_text_config() is not config)
    refuse_stored_otherwise(base, model, quantize)
    if part:
        model._weight_conversions = []  # else it would be saved under the names of the larger base
    if quantize != NO_QUANTIZATION:
        with explained(f"the model {base} in 4 bits"):
            check_quantized(model, quantize)
    prepare_attention(model)
    model.config.use_cache = False
    return model if options else model.to(device)


def refuse_other_than_causal(base: str, config) -> None:
    """UserError when transformers has no causal language model of this configuration, as of T5."""
    from transformers import MODEL_FOR_CAUSAL_LM_MAPPING

    if type(config) not in MODEL_FOR_CAUSAL_LM_MAPPING:
        raise UserError(
            f"base {base} is no causal language model but {config.model_type}: choose one that goes on with a text, "
            "as those of LLM_bases/README.md do"
        )


def refuse_larger_than_card(base: str, dtype: torch.dtype, quantize: str, device: torch.device) -> None:
    """UserError when the weights alone exceed the GPU's memory, as every process loads the whole base.

    Not checked: a base that is in no folder, and main memory.
    """
    if device.type != "cuda":
        return
    size = NF4_SIZE if quantize != NO_QUANTIZATION else dtype.itemsize
    needed, there = count_parameters(base) * size, torch.cuda.mem_get_info(device)[1]
    if needed > there:
        raise UserError(
            f"base {base}: its weights take about {needed / 2**30:.0f} GiB, and {device} has {there / 2**30:.0f}: "
            "choose a smaller base or a larger card, or quantize=nf4; a base is never spread over several cards"
        )


def load_config(base: str):
    """The configuration of a base; UserError where it has none, or one that this transformers cannot read."""
    from transformers import AutoConfig

    know_own_architectures()
    with explained(f"the configuration of {base}"):
        return AutoConfig.from_pretrained(base, **NO_FOREIGN_CODE)


def positions_of(base: str) -> int | None:
    """How many tokens the base reads at most, None where its configuration does not say."""
    config = load_config(base).get_text_config()
    return next((number for name in POSITIONS if (number := getattr(config, name, None))), None)


def prepare_attention(model) -> None:
    """Sets attention over prefix trees, which takes a plan or a mask, where the architecture takes attention functions.

    Others keep what the library chose, with a dense mask: SDPA, or eager for those that refuse SDPA. These do more than
    softmax(q k') v (Gemma 2 bounds the scores, GPT-OSS adds a sink), which the tree attention would skip.
    """
    if getattr(model, "_supports_attention_backend", False) and model._supports_sdpa:
        model.set_attn_implementation(tree_attention.register())
    tree_attention.follow_depth(model)
