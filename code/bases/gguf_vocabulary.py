"""A tokenizer -> the fields of a GGUF file by which llama.cpp splits text into the same tokens."""

import json
from typing import Any

from basics.errors import UserError

CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
# What llama.cpp calls a way to split text before the merges -> how tokenizer.json writes it.
WAYS_TO_SPLIT = {
    "gpt-2": [("ByteLevel", True)],
    "smollm": [("Digits", True), ("ByteLevel", True)],
    "qwen2": [("Split", CONTRACTIONS + r"\p{N}" + REST), ("ByteLevel", False)],
    "llama-bpe": [("Split", CONTRACTIONS + r"\p{N}{1,3}" + REST), ("ByteLevel", False)],
}
DECIDING = {"ByteLevel": "use_regex", "Digits": "individual_digits"}
WHOLE_WORDS_FIRST = "llama-bpe"  # a word that is a token stays one, whatever its merges
OTHER_MODEL = "choose --kind merged, which llama.cpp's convert_hf_to_gguf.py reads, with the base's tokenizer.model"


def add_vocabulary(writer, tokenizer, rows: int) -> None:
    """Adds tokens, merges, marks and chat template of a byte-level BPE tokenizer to a `gguf.GGUFWriter`.

    rows: of the table of embeddings, which may have more than there are tokens.

    Raises:
        UserError: it is another kind of tokenizer, or splits text in a way that llama.cpp has no name for.
    """
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(name_of_splitting(tokenizer))
    tokens, kinds = _tokens_of(tokenizer, rows)
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges([" ".join(pair) for pair in _parts_of(tokenizer)["model"]["merges"]])
    for mark in ("bos", "eos", "unk", "pad"):
        number = getattr(tokenizer, f"{mark}_token_id")
        if number is not None:
            getattr(writer, f"add_{mark}_token_id")(number)
    writer.add_add_bos_token(tokenizer("a")["input_ids"][0] == tokenizer.bos_token_id)
    writer.add_add_eos_token(False)  # a prompt goes on, also where the tokenizer would close it
    if tokenizer.chat_template:
        writer.add_chat_template(tokenizer.chat_template)


def name_of_splitting(tokenizer) -> str:
    """llama.cpp's name for the way that a tokenizer splits text.

    Raises:
        UserError: there is none, or it is no byte-level BPE with merges.
    """
    parts = _parts_of(tokenizer)
    model, normalizer = parts["model"], parts["normalizer"] or {"type": "NFC"}
    if model["type"] != "BPE" or model.get("byte_fallback") or normalizer["type"] != "NFC":
        raise UserError(f"--kind gguf: the tokenizer is no byte-level BPE, which alone is written here; {OTHER_MODEL}")
    if not model["merges"]:
        raise UserError(f"--kind gguf: the tokenizer has no merges, without which llama.cpp loads none; {OTHER_MODEL}")
    found = [_signature(step) for step in _steps(parts["pre_tokenizer"])]
    for name, way in WAYS_TO_SPLIT.items():
        if found == way and bool(model.get("ignore_merges")) == (name == WHOLE_WORDS_FIRST):
            return name
    known = ", ".join(WAYS_TO_SPLIT)
    raise UserError(f"--kind gguf: the tokenizer splits text in none of these ways: {known}; {OTHER_MODEL}")


def _parts_of(tokenizer) -> dict[str, Any]:
    """What its tokenizer.json holds."""
    return json.loads(tokenizer.backend_tokenizer.to_str())


def _steps(pre_tokenizer: dict[str, Any] | None) -> list[dict[str, Any]]:
    if pre_tokenizer and pre_tokenizer["type"] == "Sequence":
        return pre_tokenizer["pretokenizers"]
    return [pre_tokenizer or {"type": "none"}]


def _signature(step: dict[str, Any]) -> tuple[Any, ...]:
    """A step by its type and the one setting that decides; anything unusual about it counts as another type."""
    kind = step["type"]
    if kind == "Split" and (step["behavior"], step["invert"]) == ("Isolated", False):
        return kind, step["pattern"].get("Regex")
    if kind in DECIDING and not step.get("add_prefix_space"):
        return kind, step[DECIDING[kind]]
    return kind, None


def _tokens_of(tokenizer, rows: int) -> tuple[list[str], list[int]]:
    """Token and type of every row of the table, in order; a row without a token is one that is not used."""
    from gguf import TokenType

    words = {number: word for word, number in tokenizer.get_vocab().items()}
    tokens = [words.get(number, f"[PAD{number}]") for number in range(rows)]
    kinds = [int(TokenType.NORMAL if number in words else TokenType.UNUSED) for number in range(rows)]
    for number, added in tokenizer.added_tokens_decoder.items():
        if number < rows:
            kinds[number] = int(TokenType.CONTROL if added.special else TokenType.USER_DEFINED)
    return tokens, kinds
