"""Texts of utterances: when two count as the same, and which utterances have a text that was trained on."""

import re
from collections.abc import Collection, Iterable, Mapping
from unicodedata import category

from basics.files import sha256_of_text
from data_utils.dialogues import Dialogue, clean_text, name_utterances
from dialogue_files.turns import WITHOUT_BLANKS

DIGEST_CHARACTERS = 16
LONG_TURN = 3  # distinct words
LETTERS_OF_WORD = 2  # that count as one word, in scripts without blanks
# Combining marks, which `\w` does not match, and the joiners within a word.
MARKS = "".join(chr(code) for code in range(0x300, 0x20000) if category(chr(code)).startswith("M")) + "\u200c\u200d"
_PART = rf"[^\W{WITHOUT_BLANKS}](?:[^\W{WITHOUT_BLANKS}]|[{MARKS}])*"
_WORD = re.compile(rf"{_PART}(?:'{_PART})*|(?=\w)[{WITHOUT_BLANKS}][{MARKS}]*")
_BARE = re.compile(f"[{WITHOUT_BLANKS}]")


def fold_text(text: str) -> str:
    """A text as texts are compared: in lower case, without outer blanks."""
    return text.strip().lower()


def digest_text(text: str) -> str:
    """16 hexadecimal digits that are equal for equal texts, as `fold_text` compares them; from SHA-256.

    No text can be read back from such digests, but one can check whether a known text is among them.
    """
    return sha256_of_text(fold_text(text))[:DIGEST_CHARACTERS]


def digest_texts(dataset: str, dialogues: Iterable[Dialogue]) -> dict[str, str]:
    """Row id -> digest of the text of each utterance with a label, in file order."""
    return {name: digest_text(utterance.text) for name, utterance in name_utterances(dataset, dialogues)}


def list_seen(digests: Mapping[str, str], trained: Collection[str]) -> list[str]:
    """The ids whose text was trained on, in order. digests: id -> digest of its text. trained: digests."""
    return [name for name, digest in digests.items() if digest in trained]


def words_of(text: str) -> tuple[str, ...]:
    """The words of a text in order: in lower case, without punctuation, with straight apostrophes.

    In scripts without blanks between words (Chinese, Thai) each letter with its marks counts as a word.
    """
    return tuple(_WORD.findall(clean_text(text).replace("\N{RIGHT SINGLE QUOTATION MARK}", "'").lower()))


def is_long(words: Collection[str]) -> bool:
    """Whether a turn has `LONG_TURN` distinct words or more; shorter ones ("Oh, no!") recur by chance."""
    distinct = set(words)
    letters = sum(map(bool, map(_BARE.match, distinct)))
    return len(distinct) - letters + letters // LETTERS_OF_WORD >= LONG_TURN
