"""What lies in a file that is named as text and is none: told by its beginning, before names and colons are found."""

import re
from collections.abc import Mapping, Sequence

from dialogue_files.readers.tables import SYNONYMS, fold_name

RECORDS = "records of keys and values"
# What it is -> the suffix that its files have elsewhere, and how its first lines look that are not blank.
SIGNS: Mapping[str, tuple[str, re.Pattern[str]]] = {
    "JSON": (".json", re.compile(r'(?:\[\s*)*\{\s*"')),
    "a TextGrid of Praat": (".textgrid", re.compile(r'(?:File type = )?"ooTextFile')),
    "CHAT": (".cha", re.compile(r"@(?:UTF8|Begin)\b|\*\w{1,7}:.*\n(?:\t.*\n)*%\w{2,7}:")),
    "RTF": (".rtf", re.compile(r"\{\\rtf\d")),
    "a PDF": (".pdf", re.compile(r"%PDF-\d")),
    "HTML": (".html", re.compile(r"<!doctype html|<html\b", re.IGNORECASE)),
    "XML": (".xml", re.compile(r"<\?xml\b")),
}
# A key with its value: '- speaker: Ann', 'text: Hello', 'Message: Hello'.
_KEY = re.compile(r"(?:- )?([\w ]+?) ?:(?: |$)")


def find_other(lines: Sequence[str]) -> tuple[str, str] | None:
    """What a text really is, and the suffix of such files, by its first lines that are not blank; None: it is text."""
    beginning = "\n".join(lines)
    found = next(((what, suffix) for what, (suffix, sign) in SIGNS.items() if sign.match(beginning)), None)
    return found or ((RECORDS, ".yaml") if _holds_records(lines) else None)


def _holds_records(lines: Sequence[str]) -> bool:
    """Whether a key for the speaker and one for the utterance take turns, where else the names of people stand."""
    keys = [fold_name(key[1]) for key in map(_KEY.match, map(str.strip, lines)) if key]
    kinds = [kind for key in keys for kind in ("speaker", "utterance") if key in SYNONYMS[kind]]
    pairs = len(kinds) // 2  # of the last record the head may hold the first key alone
    return pairs > 1 and kinds[0] != kinds[1] and kinds[: 2 * pairs] == kinds[:2] * pairs
