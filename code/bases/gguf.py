"""A GGUF file -> a normal transformers folder: bfloat16 safetensors, config, tokenizer."""

import json
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

from bases.load import NO_FOREIGN_CODE, name_accelerator
from bases.table import PLAIN_TOKENIZER_CLASS, TOKENIZER_NOTES
from basics.errors import UserError
from basics.files import write_atomically

SINGLE_DIGITS = {"type": "Digits", "individual_digits": True}
BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}

# `tokenizer.ggml.model` and `.pre` -> what of tokenizer.json has to be put right after transformers 5.23 has made it.
# Of byte-level ones it knows some values of `pre` and silently falls back to ByteLevel alone for others, which loses
# SmolLM's digits one by one. "llama" is SentencePiece's BPE, of which `pre` says nothing; Gemma's is made well.
REPAIRS = {
    ("gpt2", "smollm"): {"pre_tokenizer": {"type": "Sequence", "pretokenizers": [SINGLE_DIGITS, BYTE_LEVEL]}},
    ("llama", "default"): {},
}


def convert_gguf(gguf: Path, folder: Path) -> None:
    """Write model.safetensors (bfloat16), config.json, the tokenizer's files and the chat template.

    Raises:
        UserError: the file's way of splitting text is not in REPAIRS.
    """
    repairs = _repairs_of(gguf)
    name_accelerator()
    model = AutoModelForCausalLM.from_pretrained(
        gguf.parent,
        gguf_file=gguf.name,
        quantization_config=GgufConfig(dequantize=True),
        dtype=torch.bfloat16,
    )
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    # It would only repeat the ids of config.json.
    (folder / "generation_config.json").unlink(missing_ok=True)
    (folder / "model.safetensors").chmod(0o644)
    _repair_tokenizer(folder, repairs, model.config.max_position_embeddings)


def _open_whole(gguf: Path):
    """A `GGUFReader` that refuses what lies beyond the end: the library's own takes 2^60 numbers out of no bytes.

    It is also the faster one, as it takes no slice of a memory map for each token.
    """
    import numpy as np
    from gguf import GGUFReader

    class WholeReader(GGUFReader):
        def _get(self, offset, dtype, count=1, override_order=None):
            ordered = np.dtype(dtype).newbyteorder(override_order or self.byte_order)
            return np.frombuffer(self.data, ordered, int(count), offset)

    return WholeReader(gguf)


def _repairs_of(gguf: Path) -> dict:
    try:
        reader = _open_whole(gguf)
        fields = [reader.get_field(f"tokenizer.ggml.{name}") for name in ("model", "pre")]
        found = tuple(field.contents() if field else None for field in fields)
    except OSError:
        raise
    # A damaged file raises nearly anything there.
    except Exception as error:
        raise UserError(f"{gguf.name}: no whole GGUF file ({type(error).__name__}: {error}); get it again") from None
    if found not in REPAIRS:
        known = ", ".join(" ".join(one) for one in REPAIRS)
        raise UserError(f"{gguf.name} splits text by {' '.join(map(str, found))!r}; known: {known}")
    return REPAIRS[found]


def _repair_tokenizer(folder: Path, repairs: dict, max_length: int) -> None:
    path = folder / "tokenizer.json"
    tokenizer = json.loads(path.read_text(encoding="utf-8"))
    tokenizer.update(repairs)
    tokenizer["model"].update(continuing_subword_prefix=None, end_of_word_suffix=None)
    write_atomically(path, json.dumps(tokenizer, ensure_ascii=False, indent=2) + "\n")
    changes = {"tokenizer_class": PLAIN_TOKENIZER_CLASS, "model_max_length": max_length}
    _change_tokenizer_config(folder, changes, dropped=TOKENIZER_NOTES)


def check_tokenizer(folder: Path, text: str, ids: tuple[int, ...]) -> None:
    """Check that the folder's tokenizer gives `text` these ids, BOS among them where it adds one, and the text back.

    Raises:
        UserError: it does not, so this version of transformers reads the tokenizer in another way.
    """
    tokenizer = AutoTokenizer.from_pretrained(folder, **NO_FOREIGN_CODE)
    found = tuple(tokenizer(text)["input_ids"])
    if found != ids or tokenizer.decode(tokenizer(text, add_special_tokens=False)["input_ids"]) != text:
        raise UserError(
            f"the converted tokenizer splits {text!r} into {list(found)}, not {list(ids)}: "
            "use the transformers and tokenizers versions of envs/constraints.txt"
        )


def keep_published_tokenization(folder: Path, text: str) -> bool:
    """Name the plain tokenizer class in a downloaded folder whose own class does not obey its tokenizer.json.

    Returns whether that was needed. `GPT2Tokenizer` of transformers 5.23, which SmolLM2 names, drops the
    rule that digits stand alone. `text` shows the difference.

    Raises:
        UserError: transformers cannot load the tokenizer without running code from the download.
    """
    from tokenizers import Tokenizer

    if not (folder / "tokenizer.json").is_file():
        return False
    published = Tokenizer.from_file(str(folder / "tokenizer.json")).encode(text, add_special_tokens=False).ids
    try:
        loaded = AutoTokenizer.from_pretrained(folder, **NO_FOREIGN_CODE)
    except (ValueError, ImportError, OSError) as error:
        raise UserError(f"transformers cannot load the tokenizer of {folder.name}: {error}") from error
    if loaded(text, add_special_tokens=False)["input_ids"] == published:
        return False
    _change_tokenizer_config(folder, {"tokenizer_class": PLAIN_TOKENIZER_CLASS}, dropped=())
    return True


def _change_tokenizer_config(folder: Path, changes: dict, dropped: tuple[str, ...]) -> None:
    path = folder / "tokenizer_config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    kept = {key: value for key, value in config.items() if key not in dropped}
    write_atomically(path, json.dumps({**kept, **changes}, ensure_ascii=False, indent=2) + "\n")
