"""Dialogues in tables with a header, whatever separates and quotes the cells; and the known names of columns."""

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import Any, BinaryIO

from basics.words import counted
from dialogue_files.report import Header, LeftOut, Remark, SplitSaid
from dialogue_files.turns import LONGEST_NAME, LineError, Read, ReadTurn, read_lines

# Meaning of a column or key -> its possible names, as `fold_name` writes them; the first that is there counts.
SYNONYMS: Mapping[str, tuple[str, ...]] = {
    "dialogue": (
        *("dialogue", "dialogue_id", "dialog", "dialog_id", "conversation", "conversation_id", "conv_id", "scene_id"),
        *("session_id", "thread_id", "chat_id", "ticket_id", "call_id", "case_id", "meeting_id", "interview_id"),
        *("conversation_sid", "chat_session", "video_id"),
    ),
    "speaker": (
        *("speaker", "speaker_name", "name", "character", "author", "role", "from", "speaker_id", "user", "username"),
        *("user_name", "sender", "sender_name", "person", "participant", "sprecher", "rolle", "locuteur", "nom"),
        *("personnage", "hablante", "nombre", "personaje", "falante", "nome", "speaker_label", "author_name"),
    ),
    "utterance": (
        *(
            "utterance",
            "text",
            "sentence",
            "message",
            "content",
            "value",
            "transcript",
            "transcription",
            "line",
            "body",
        ),
        *("utterance_text", "nachricht", "texte", "texto", "mensaje", "mensagem", "testo", "messaggio"),
    ),
    "emotion": ("emotion", "emotion_label", "label"),
    "turn": (
        *("turn", "turn_id", "turn_idx", "turn_index", "turn_no", "turn_number", "utterance_id", "utterance_idx"),
        *("utterance_index", "utterance_no", "utterance_number", "utt_id", "utt_idx", "line_no", "line_number"),
    ),
    "time": (
        *("timestamp", "timestamp_ms", "ts", "time", "date", "datetime", "created_at", "sent_at", "date_sent"),
        *("created", "start", "start_time", "begin", "begin_time", "time_stamp", "date_time"),
    ),
}
# Split -> the words that mean it in names of files, columns and keys.
SPLIT_WORDS: Mapping[str, tuple[str, ...]] = {
    "train": ("train", "training", "trn"),
    "valid": ("valid", "validation", "val", "dev"),
    "test": ("test", "tst"),
}
# Columns and keys that name the split of a turn or dialogue; and those that do only where their value is a split.
_SPLIT_NAMES, _PERHAPS_SPLITS = ("split", "data_split"), ("subset", "partition")
SEPARATORS: Mapping[str, str] = {",": "a comma", ";": "a semicolon", "\t": "a tab", "|": "a bar"}
# Separators with which cells are usually quoted; with others, quotes may be part of what is said.
_QUOTED = frozenset(",;")
# Columns that hold the utterance, where no other one does.
_SPEECH = ("dialogue", "dialog")
NOBODY = frozenset(("system", "developer", "tool", "function", "ipython", "observation"))
PROMPTS = "messages of system and tools"
# Keys in messages of chat models: role -> text. Beside other texts, a role may be that of a person, such as developer.
_ROLES = {"role": "content", "from": "value"}
# Beginning of an error of Python's csv module -> the error in words for the user.
_ROW_FAULTS: Mapping[str, str] = {
    "new-line character": "a carriage return (CR) stands within the line, allowed are lines that all end in one way",
    "field larger": f"a cell has more than {csv.field_size_limit():,} characters, or a quote without an end",
    "unexpected end": "a cell begins with a quote that has no end; quotes inside a quoted cell are doubled",
    "'": "something follows the quote that ends a cell; quotes inside a quoted cell are doubled",
}
_LIST = re.compile(r"\s*\[\s*['\"].*\]\s*", re.DOTALL)
_SEPARATOR_LINE = re.compile(r'"?sep=(.)"?\s*', re.IGNORECASE)


def fold_name(name: str) -> str:
    """The name of a column or key in one spelling: `Dialogue ID`, `dialogueId` -> `dialogue_id`."""
    return _fold_known(name) if len(name) <= LONGEST_NAME else _fold(name)


def _fold(name: str) -> str:
    return re.sub(r"[\s-]+|(?<=[a-z])(?=[A-Z])", "_", name.strip()).lower()


# Cached: every turn of a JSON file has the same keys, which are folded several times. Long ones are not cached.
_fold_known = lru_cache(256)(_fold)


def find_name(meaning: str, names: Mapping[str, str | int]) -> str | int | None:
    """The value in `names` (folded name -> anything) for a meaning, see `SYNONYMS`; None: there is none."""
    return next((names[synonym] for synonym in SYNONYMS[meaning] if synonym in names), None)


def find_role(names: Mapping[str, str | int]) -> str | int | None:
    """The value in `names` for the role in messages of chat models; None: these are no such messages."""
    said = find_name("utterance", names)
    roles = (names[role] for role, text in _ROLES.items() if role in names and text in names and names[text] == said)
    return next(roles, None)


def splits_named(text: str) -> list[str]:
    """The splits that words in a text name."""
    words = set(re.split(r"[\W_]+", text.lower()))
    return [name for name, allowed in SPLIT_WORDS.items() if words & set(allowed)]


def splits_said(names: Mapping[str, str], values: Mapping[str, Any], line: int) -> Iterator[SplitSaid]:
    """The columns or keys that name the split of a turn or dialogue.

    names: folded name -> name. values: name -> value. line: from 1.
    """
    for folded in (*_SPLIT_NAMES, *_PERHAPS_SPLITS):
        said = str(values[names[folded]] or "") if folded in names else ""
        if said.strip() and (folded in _SPLIT_NAMES or splits_named(said)):
            yield SplitSaid(names[folded], line)


class PartCounter:
    """Numbers dialogues from 0: a new one begins whenever a turn names another dialogue than the last turn."""

    def __init__(self) -> None:
        self.part, self._name = -1, ""

    def of_turn(self, name: str | None) -> int:
        """The number of the dialogue of a turn that names it."""
        if self.part < 0 or name != self._name:
            self.part, self._name = self.part + 1, name
        return self.part

    def of_dialogue(self) -> int:
        """The number of a new dialogue, whatever its name."""
        self.part, self._name = self.part + 1, ""
        return self.part


@dataclass(frozen=True)
class TableForm:
    """How a table is written. skipped: number of lines before the header. raw: quotes are ordinary characters."""

    separator: str
    skipped: int
    raw: bool


def read_table(stream: BinaryIO, separator: str) -> Iterator[Read]:
    """Turns of a table with a header; without a column for the dialogue the whole file is one.

    separator: as the suffix of the file tells it; the header may show another one.
    """
    form = find_table_form(stream, separator)
    if form.separator != separator:
        yield Remark(f"the columns are taken to be separated by {SEPARATORS[form.separator]}, as in the header")
    if form.raw:
        yield Remark("quotes are taken as characters of what is said, not as the ends of cells")
    line, header = next(read_rows(stream, form), (1, []))
    while header and not header[-1].strip():  # what stands below no name would be lost unseen
        header.pop()
    parts, places = PartCounter(), _find_columns(header, line)
    places = _without_numbered_lines(header, places, stream, form)
    counts = places["time"] if places["turn"] is None else places["turn"]
    names = {fold_name(name): name for name in header}
    yield Header(tuple(header), line)
    yield from _columns_told(header, places)
    for line, row in islice(read_rows(stream, form), 1, None):
        row = _fitted(row, len(header), line)
        yield from splits_said(names, dict(zip(header, row, strict=True)), line)
        if places["role"] is not None and row[places["role"]].strip().casefold() in NOBODY:
            yield LeftOut(PROMPTS, line)
            continue
        dialogue = None if places["dialogue"] is None else row[places["dialogue"]]
        said = row[places["speaker"]], row[places["utterance"]]
        if all(map(_LIST.fullmatch, said)):
            raise LineError(line, f"the cells hold lists ({said[0][:60]}), allowed is a row for each turn")
        emotion = None if places["emotion"] is None else row[places["emotion"]]
        turn = None if counts is None else (header[counts], row[counts])
        yield ReadTurn(parts.of_turn(dialogue), dialogue, *said, line, emotion, turn, places["turn"] is None)


def read_rows(stream: BinaryIO, form: TableForm) -> Iterator[tuple[int, list[str]]]:
    """(line where it ends, cells) of every row that is not blank, from the header on; LineError: it cannot be read."""
    stream.seek(0)
    lines = read_lines(stream)
    for _ in range(form.skipped):
        next(lines, None)
    quoting = csv.QUOTE_NONE if form.raw else csv.QUOTE_MINIMAL
    rows = csv.reader((text for _, text in lines), delimiter=form.separator, strict=not form.raw, quoting=quoting)
    found = 0
    try:
        for row in rows:
            if any(cell.strip() for cell in row):
                found += 1
                if found != 2 or form.separator != "|" or not _is_rule(row):
                    yield rows.line_num + form.skipped, row
    except csv.Error as error:
        told = next((told for begin, told in _ROW_FAULTS.items() if str(error).startswith(begin)), str(error))
        raise LineError(rows.line_num + form.skipped, f"not a row of a table: {told}") from None


def _is_rule(row: Sequence[str]) -> bool:
    """Whether a row is the rule below the header of a Markdown table: `| --- | :-: |`."""
    marks = [cell.strip() for cell in row if cell.strip()]
    return all(mark.strip(":").strip("-") == "" and "-" in mark for mark in marks)


def find_table_form(stream: BinaryIO, separator: str) -> TableForm:
    """How a table is written: the separator by its header, the use of quotes by all lines."""
    stream.seek(0)
    lines = read_lines(stream)
    _, first = next(lines, (1, ""))
    said = _SEPARATOR_LINE.fullmatch(first)
    header = next(lines, (2, ""))[1] if said else first
    if said and said[1] in SEPARATORS:
        separator = said[1]
    elif not names_columns(header, separator):
        separator = next((one for one in SEPARATORS if names_columns(header, one)), separator)
    raw = separator not in _QUOTED and '"' not in header and _quotes_are_characters(lines, header, separator)
    return TableForm(separator, 1 if said else 0, raw)


def names_columns(header: str, separator: str) -> bool:
    """Whether a line is a header of columns for the speaker and the utterance."""
    cells = [cell.strip('"') for cell in header.rstrip("\r\n").split(separator)]
    places = _places_of(cells)
    return places["speaker"] is not None and places["utterance"] is not None


def _places_of(header: Sequence[str]) -> dict[str, int | None]:
    """Meaning -> place of its column, None: there is none."""
    names = {fold_name(name): place for place, name in reversed(list(enumerate(header)))}
    places = {meaning: find_name(meaning, names) for meaning in SYNONYMS} | {"role": find_role(names)}
    speech = next((name for name in _SPEECH if name in names), None)
    if places["utterance"] is None and speech:  # 'Character, Dialogue'
        places["utterance"] = names.pop(speech)
        places["dialogue"] = find_name("dialogue", names)
    return places


def _without_numbered_lines(
    header: Sequence[str], places: dict[str, int | None], stream: BinaryIO, form: TableForm
) -> dict[str, int | None]:
    """The places of the columns; a column `line` that only numbers lines is not the utterance."""
    taken = places["utterance"]
    otherwise = _places_of(["" if fold_name(name) == "line" else name for name in header])
    other = otherwise["utterance"]
    if other in (None, taken):
        return places
    numbers = texts = False
    for _, row in islice(read_rows(stream, form), 1, None):
        if len(row) <= max(taken, other):
            continue
        if row[taken].strip() and not _is_mark(row[taken]):
            return places
        numbers |= bool(row[taken].strip())
        texts |= bool(row[other].strip()) and not _is_mark(row[other])
    if not (numbers and texts):
        return places
    return otherwise | {"turn": taken if otherwise["turn"] is None else otherwise["turn"]}


def _is_mark(cell: str) -> bool:
    """Whether a cell is a number or a mark such as `L1045`."""
    return len(cell.split()) == 1 and any(map(str.isdigit, cell))


def _quotes_are_characters(lines: Iterator[tuple[int, str]], header: str, separator: str) -> bool:
    """Whether quotes are ordinary characters: each line has all its cells, and some quote is needed by no cell.

    Excel also quotes each cell with a comma, whatever separates the columns, so there one without quotes tells.
    """
    width, characters, with_comma, bare_comma = header.count(separator), 0, 0, False
    for _, line in lines:
        if not line.strip():
            continue
        if line.count(separator) != width:
            return False  # a quoted cell goes over several lines
        for cell in line.rstrip("\r\n").split(separator):
            if not cell.startswith('"'):
                characters += '"' in cell
                bare_comma |= "," in cell
            elif re.fullmatch(r'"[^"]*+(?:""[^"]*+)*+"', cell) and len(cell) > 1:
                needless = not set(cell[1:-1]) & set('"\r')
                with_comma += needless and "," in cell
                characters += needless and "," not in cell
            else:
                characters += 1
    return characters > 0 or (with_comma > 0 and bare_comma)


def _fitted(row: list[str], width: int, line: int) -> list[str]:
    """The row with as many cells as the header; LineError where that would lose something."""
    if len(row) > width and not any(cell.strip() for cell in row[width:]):
        row = row[:width]
    if len(row) != width:
        much = "what holds the separator belongs into quotes, and each column needs a name"
        why = much if len(row) > width else "empty ones need their separators"
        raise LineError(line, f"{counted(len(row), 'cell')}, but the header has {width}: {why}")
    return row


def _columns_told(header: Sequence[str], places: Mapping[str, int | None]) -> Iterator[Remark]:
    """Remarks on which column is taken where another one could have the same meaning."""
    for meaning in ("speaker", "utterance"):
        taken = header[places[meaning]]
        others = [
            repr(name) if name != taken else f"another {name!r}, column {place + 1}"
            for place, name in enumerate(header)
            if place != places[meaning] and fold_name(name) in SYNONYMS[meaning]
        ]
        if others:
            yield Remark(f"the {meaning} is taken from the column {taken!r}, not from {', '.join(others)}")


def _find_columns(header: Sequence[str], line: int) -> dict[str, int | None]:
    """Meaning -> place; LineError when there is no column for the speaker or the utterance."""
    places = _places_of(header)
    missing = [meaning for meaning in ("speaker", "utterance") if places[meaning] is None]
    if missing:
        raise LineError(line, columns_missing(header, missing))
    return places


def columns_missing(header: Sequence[str], meanings: Sequence[str]) -> str:
    """The error text for a header without a column for these meanings."""
    allowed = "; ".join(f"{meaning}: {', '.join(SYNONYMS[meaning][:8])}" for meaning in meanings)
    found = ", ".join(header)[:200] or "nothing"
    return f"the header names no {' and no '.join(meanings)} (it names {found}), name the columns so: {allowed}"
