"""Control tokens of a tokenizer, here called marks (`<|im_end|>`, `</s>`): spelt out in a text, they stay text."""

import copy
import re
from collections.abc import Iterable
from functools import cached_property
from typing import Any

BRACKETED = re.compile(r"<\S+>|\[\S+\]")


def control_tokens(tokenizer) -> tuple[str, ...]:
    """The tokens that mean something else than their text.

    These are the special ones, and of those added to the vocabulary the ones of the form <|...|>, and the ones in
    brackets that the chat template writes: Qwen3's <think> and <|fim_middle|> are not special.
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
    """A tokenizer that, with `split_special_tokens`, makes no marks of texts; mostly the given one.

    It is a changed copy where that option leaves marks that are not special, or are pieces of a unigram model.
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
    """The marks that their own text still becomes, though special tokens are to be split."""
    marks = list(marks)
    if not marks:
        return []
    encoded = tokenizer(marks, add_special_tokens=False, split_special_tokens=True)["input_ids"]
    ids = tokenizer.convert_tokens_to_ids(marks)
    return [mark for mark, number, found in zip(marks, ids, encoded, strict=True) if number in found]


class FramedText:
    """Encodes a text between `before` and `after` as one string; marks count in these two, but not in the text.

    Encoding the three apart would give other tokens: SentencePiece adds a blank before a text, and words may join.
    """

    ALIAS = "\ufdd2{}\ufdd3"  # noncharacters of Unicode, which are in no text

    def __init__(self, tokenizer, before: str, after: str) -> None:
        self.tokenizer, self.before, self.after = tokenizer, before, after
        longest_first = sorted(map(re.escape, control_tokens(tokenizer)), key=len, reverse=True)
        self.marks = re.compile("|".join(longest_first) or r"(?!)")
        self.own = self.marks.findall(before + after)

    def read(self, text: str) -> list[int]:
        """Token ids of all three; no mark comes from the text, nor from its ends joined with the texts beside it."""
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
        """(tokenizer without marks in texts, mark of the frame -> alias there, id of an alias -> id of its mark)."""
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
        """For tokenizers in Python, which encode the text between two marks by itself anyway."""
        last = max((mark.end() for mark in self.marks.finditer(self.before)), default=0)
        first = next((mark.start() for mark in self.marks.finditer(self.after)), len(self.after))
        head, inner, tail = self.before[:last], self.before[last:] + text + self.after[:first], self.after[first:]
        typed = self.tokenizer(inner, add_special_tokens=False, split_special_tokens=True)["input_ids"]
        start, end = (self.tokenizer(part, add_special_tokens=False)["input_ids"] for part in (head, tail))
        return [*start, *typed, *end]
