"""Dialogues in tables: CSV and TSV by their header, and the names that columns and JSON keys go by."""

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import BinaryIO

from own_dialogues.turns import LineError, ReadTurn, read_lines

# What a column or key means -> what it may be called, letter case, blanks and hyphens aside; the first that is
# there counts.
SYNONYMS: Mapping[str, tuple[str, ...]] = {
    "dialogue": ("dialogue", "dialogue_id", "dialog", "dialog_id", "conversation", "conversation_id", "scene_id"),
    "speaker": ("speaker", "speaker_name", "name", "character", "author", "role", "from"),
    "utterance": ("utterance", "text", "sentence", "message", "content", "value", "transcript"),
}


def fold_name(name: str) -> str:
    """`Dialogue ID` -> `dialogue_id`."""
    return re.sub(r"[\s-]+", "_", name.strip().lower())


def find_name(meaning: str, names: Mapping[str, str | int]) -> str | int | None:
    """What `names` (folded name -> anything) holds for a meaning; None: nothing."""
    return next((names[synonym] for synonym in SYNONYMS[meaning] if synonym in names), None)


class PartCounter:
    """Counts dialogues: a new one whenever the name of a turn's dialogue is another than the last."""

    def __init__(self) -> None:
        self.part, self._name = -1, ""

    def of_turn(self, name: str | None) -> int:
        """The dialogue of a turn that stands on its own and says which one it belongs to."""
        if self.part < 0 or name != self._name:
            self.part, self._name = self.part + 1, name
        return self.part

    def of_dialogue(self) -> int:
        """A new dialogue, whatever it is called."""
        self.part, self._name = self.part + 1, ""
        return self.part


def read_table(stream: BinaryIO, delimiter: str) -> Iterator[ReadTurn]:
    """Turns of a table with a header; without a column for the dialogue the whole file is one."""
    rows = csv.reader((text for _, text in read_lines(stream)), delimiter=delimiter, strict=True)
    parts = PartCounter()
    try:
        header = next(rows, [])
        places = _find_columns(header)
        for row in rows:
            if not row:
                continue
            if len(row) != len(header):
                raise LineError(rows.line_num, f"{len(row)} cells, but the header has {len(header)}")
            dialogue = None if places["dialogue"] is None else row[places["dialogue"]]
            part = parts.of_turn(dialogue)
            yield ReadTurn(part, dialogue, row[places["speaker"]], row[places["utterance"]], rows.line_num)
    except csv.Error as error:
        raise LineError(rows.line_num, f"not a row of a table ({error})") from None


def _find_columns(header: Sequence[str]) -> dict[str, int | None]:
    """Meaning -> place; LineError when there is no column for the speaker or the utterance."""
    names = {fold_name(name): place for place, name in reversed(list(enumerate(header)))}
    places = {meaning: find_name(meaning, names) for meaning in SYNONYMS}
    missing = [meaning for meaning in ("speaker", "utterance") if places[meaning] is None]
    if missing:
        allowed = "; ".join(f"{meaning}: {', '.join(SYNONYMS[meaning])}" for meaning in missing)
        found = ", ".join(header)[:200] or "nothing"
        raise LineError(1, f"the header names no {' and no '.join(missing)} (it names {found}), allowed are {allowed}")
    return places
