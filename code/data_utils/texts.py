"""Utterances by their text: what counts as the same text, and which utterances have one that was trained on."""

import re
from collections.abc import Collection, Iterable, Mapping

from basics.files import sha256_of_text
from data_utils.dialogues import Dialogue, clean_text, name_utterances

DIGEST_CHARACTERS = 16
LONG_TURN = 3  # distinct words
_WORD = re.compile(r"\w+(?:'\w+)*")


def fold_text(text: str) -> str:
    """A text without what the method's figures leave aside when texts are compared: case and outer blanks."""
    return text.strip().lower()


def digest_text(text: str) -> str:
    """16 hexadecimal digits that are equal for equal texts, as `fold_text` compares them; from SHA-256.

    A corpus cannot be read from such digests, but whoever has a text can tell whether it is among them.
    """
    return sha256_of_text(fold_text(text))[:DIGEST_CHARACTERS]


def digest_texts(dataset: str, dialogues: Iterable[Dialogue]) -> dict[str, str]:
    """Row id -> digest of its text, of every utterance with a label, in file order."""
    return {name: digest_text(utterance.text) for name, utterance in name_utterances(dataset, dialogues)}


def list_seen(digests: Mapping[str, str], trained: Collection[str]) -> list[str]:
    """The ids (id -> digest of its text) whose text is among the digests of those that were trained on, in order."""
    return [name for name, digest in digests.items() if digest in trained]


def words_of(text: str) -> tuple[str, ...]:
    """The words of a text in their order, without letter case, punctuation and the kind of the apostrophe."""
    return tuple(_WORD.findall(clean_text(text).replace("\N{RIGHT SINGLE QUOTATION MARK}", "'").lower()))


def is_long(words: Collection[str]) -> bool:
    """Whether a turn says enough to be told from others: short ones ("Oh my God!") are everybody's."""
    return len(set(words)) >= LONG_TURN
