"""Utterances by their text: what counts as the same text, and which utterances have one that was trained on."""

import re
from collections.abc import Collection, Iterable, Mapping
from unicodedata import category

from basics.files import sha256_of_text
from data_utils.dialogues import Dialogue, clean_text, name_utterances
from dialogue_files.turns import WITHOUT_BLANKS

DIGEST_CHARACTERS = 16
LONG_TURN = 3  # distinct words
LETTERS_OF_WORD = 2  # count as a word where nothing tells words apart
# What scripts set on a letter, which is no letter to `re`; and the joiners within a word.
MARKS = "".join(chr(code) for code in range(0x300, 0x20000) if category(chr(code)).startswith("M")) + "\u200c\u200d"
_PART = rf"[^\W{WITHOUT_BLANKS}](?:[^\W{WITHOUT_BLANKS}]|[{MARKS}])*"
_WORD = re.compile(rf"{_PART}(?:'{_PART})*|(?=\w)[{WITHOUT_BLANKS}][{MARKS}]*")
_BARE = re.compile(f"[{WITHOUT_BLANKS}]")


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
    """The words of a text in their order, without letter case, punctuation and the kind of the apostrophe.

    Where nothing tells words apart (Chinese, Thai), each letter with its marks is one.
    """
    return tuple(_WORD.findall(clean_text(text).replace("\N{RIGHT SINGLE QUOTATION MARK}", "'").lower()))


def is_long(words: Collection[str]) -> bool:
    """Whether a turn says enough to be told from others: short ones ("Oh, no!") are everybody's."""
    distinct = set(words)
    letters = sum(map(bool, map(_BARE.match, distinct)))
    return len(distinct) - letters + letters // LETTERS_OF_WORD >= LONG_TURN
