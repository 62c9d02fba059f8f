"""What lies in a file that is named as text and is none: told by its beginning, before names and colons are found."""

import re
from collections.abc import Mapping, Sequence

from dialogue_files.readers.tables import SYNONYMS, fold_name

RECORDS = "records of keys and values"
# What it is -> the suffix that its files have elsewhere, and how its first lines look that are not blank.
SIGNS: Mapping[str, tuple[str, re.Pattern[str]]] = {
    "JSON": (".json", re.compile(r'(?:\[\s*)*\{\s*"')),
    "a TextGrid of Praat": (".textgrid", re.compile(r'(?:File type = )?"ooTextFile')),
    "CHAT": (".cha", re.compile(r"@(?:UTF8|Begin)\s*$|\*[A-Z]\w{1,6}:.*\n(?:\t.*\n)*%[a-z]{2,7}:", re.MULTILINE)),
    "RTF": (".rtf", re.compile(r"\{\\rtf\d")),
    "a PDF": (".pdf", re.compile(r"%PDF-\d")),
    "HTML": (".html", re.compile(r"<!doctype html|<html\b", re.IGNORECASE)),
    "XML": (".xml", re.compile(r"<\?xml\b")),
}
# A key with its value: '- speaker: Ann', 'text: Hello', 'Message: Hello'.
_KEY = re.compile(r"(?:- )?([\w ]+?) ?:(?: |$)")


def find_other(lines: Sequence[str], is_named: bool) -> tuple[str, str] | None:
    """What a text really is, and the suffix of such files, by its first lines that are not blank; None: it is text.

    is_named: it is taken for text of names with a colon, which keys look like too.
    """
    beginning = "\n".join(lines)
    found = next(((what, suffix) for what, (suffix, sign) in SIGNS.items() if sign.match(beginning)), None)
    return found or ((RECORDS, ".yaml") if is_named and _holds_records(lines) else None)


def _holds_records(lines: Sequence[str]) -> bool:
    """Whether keys for the speaker and the utterance take turns, and are half of all keys or more.

    Fewer are those of a form that somebody reads out, or has pasted into a chat.
    """
    found = [_KEY.match(line.strip()) for line in lines]
    keys = [fold_name(key[1]) for key in found if key]
    kinds = [kind for key in keys for kind in ("speaker", "utterance") if key in SYNONYMS[kind]]
    pairs = len(kinds) // 2  # of the last record the head may hold the first key alone
    if pairs < 2 or 2 * len(kinds) < len(keys):
        return False
    return kinds[0] != kinds[1] and kinds[: 2 * pairs] == kinds[:2] * pairs
