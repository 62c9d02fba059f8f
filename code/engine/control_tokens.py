"""Marks of a tokenizer (`<|im_end|>`, `</s>`, `[gMASK]`) and what people wrote: typed marks stay text."""

import copy
import re
from collections.abc import Iterable

BRACKETED = re.compile(r"<\S+>|\[\S+\]")


def control_tokens(tokenizer) -> tuple[str, ...]:
    """The tokens that mean something else than their text.

    The special ones, and of the others that were added to the vocabulary those of the form <|...|> and those in
    brackets that the chat template writes: Qwen3's <think> and <|fim_middle|> are not marked as special.
    """
    template = str(tokenizer.chat_template or "")
    added = tokenizer.added_tokens_decoder.values()
    return tuple(
        token.content
        for token in added
        if token.special
        or (BRACKETED.fullmatch(token.content) and (token.content[:2] == "<|" or token.content in template))
    )


def text_tokenizer(tokenizer):
    """What reads texts with `split_special_tokens`, so that no mark comes of them; mostly the tokenizer itself.

    Else a copy: that option leaves marks that are not special, and those that a unigram model has as pieces.
    """
    reached = _reached_by_text(tokenizer, control_tokens(tokenizer))
    if not reached or not tokenizer.is_fast:
        return tokenizer
    from tokenizers import AddedToken, Regex
    from tokenizers.pre_tokenizers import Sequence, Split

    reader = copy.deepcopy(tokenizer)
    backend = reader.backend_tokenizer
    backend.add_special_tokens([AddedToken(mark, normalized=False) for mark in reached])
    if pieces := _reached_by_text(reader, reached):
        # Cut behind its first character, a mark is no piece any more.
        cuts = Regex("|".join(f"{re.escape(mark[0])}(?={re.escape(mark[1:])})" for mark in pieces))
        backend.pre_tokenizer = Sequence([*filter(None, [backend.pre_tokenizer]), Split(cuts, "isolated")])
    return reader


def _reached_by_text(tokenizer, marks: Iterable[str]) -> list[str]:
    """Those of the marks that come of their own text although special tokens are to be split."""
    marks = list(marks)
    if not marks:
        return []
    encoded = tokenizer(marks, add_special_tokens=False, split_special_tokens=True)["input_ids"]
    ids = tokenizer.convert_tokens_to_ids(marks)
    return [mark for mark, number, found in zip(marks, ids, encoded, strict=True) if number in found]
