"""Marks of a tokenizer (`<|im_end|>`, `</s>`, `[gMASK]`) and what people wrote: typed marks stay text."""

import copy
import re
from collections.abc import Iterable
from functools import cached_property
from typing import Any

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


class FramedText:
    """What people wrote between two texts whose marks are marks, as the tokenizer reads the three in one.

    Reading it apart would not do: SentencePiece sets a blank before a text, and words grow over a border.
    """

    ALIAS = "\ufdd2{}\ufdd3"  # of characters that are none, and in no text

    def __init__(self, tokenizer, before: str, after: str) -> None:
        self.tokenizer, self.before, self.after = tokenizer, before, after
        longest_first = sorted(map(re.escape, control_tokens(tokenizer)), key=len, reverse=True)
        self.marks = re.compile("|".join(longest_first) or r"(?!)")
        self.own = self.marks.findall(before + after)

    def read(self, text: str) -> list[int]:
        """Token ids of all three; no mark comes of the text, nor of its ends together with what stands beside them."""
        whole = self.before + text + self.after
        if len(self.marks.findall(whole)) == len(self.own):
            return self.tokenizer(whole, add_special_tokens=False)["input_ids"]
        return self._between_aliases(text) if self.tokenizer.is_fast else self._between_marks(text)

    def _between_aliases(self, text: str) -> list[int]:
        reader, aliases, ids = self._reader
        before, after = (self.marks.sub(lambda mark: aliases[mark[0]], part) for part in (self.before, self.after))
        whole = before + re.sub("[\ufdd2\ufdd3]", "\ufffd", text) + after
        read = reader(whole, add_special_tokens=False, split_special_tokens=True)["input_ids"]
        return [ids.get(one, one) for one in read]

    @cached_property
    def _reader(self) -> tuple[Any, dict[str, str], dict[int, int]]:
        """(what takes no text for a mark, mark of the frame -> its alias there, id of the alias -> id of the mark)."""
        from tokenizers import AddedToken

        reader, ids = copy.deepcopy(text_tokenizer(self.tokenizer)), {}
        backend, known = reader.backend_tokenizer, self.tokenizer.added_tokens_decoder
        aliases = {mark: self.ALIAS.format(number) for number, mark in enumerate(dict.fromkeys(self.own))}
        for mark, alias in aliases.items():
            number = self.tokenizer.convert_tokens_to_ids(mark)
            as_mark = {name: getattr(known[number], name) for name in ("lstrip", "rstrip", "normalized")}
            backend.add_tokens([AddedToken(alias, **as_mark)])
            ids[backend.token_to_id(alias)] = number
        return reader, aliases, ids

    def _between_marks(self, text: str) -> list[int]:
        """By a tokenizer in Python, which reads what stands between two marks by itself."""
        last = max((mark.end() for mark in self.marks.finditer(self.before)), default=0)
        first = next((mark.start() for mark in self.marks.finditer(self.after)), len(self.after))
        head, inner, tail = self.before[:last], self.before[last:] + text + self.after[:first], self.after[first:]
        typed = self.tokenizer(inner, add_special_tokens=False, split_special_tokens=True)["input_ids"]
        start, end = (self.tokenizer(part, add_special_tokens=False)["input_ids"] for part in (head, tail))
        return [*start, *typed, *end]
