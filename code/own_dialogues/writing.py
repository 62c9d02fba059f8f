"""Emotions of turns as text: a table to read, JSON Lines, CSV; written piece by piece."""

import csv
import io
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TextIO

from rich.cells import set_cell_size

from basics.errors import as_line
from basics.json_files import json_line
from dialogue_files.turns import SpokenTurn

NAME_WIDTH = 14
PROBABILITY_DIGITS = 6
COLUMNS = ("dialogue", "turn", "input_line", "speaker", "text", "emotion", "probability")
# By these, and by their wide forms, spreadsheets take a cell for a formula, which may run programs or send data away
# (OWASP, "CSV injection").
FORMULA_SIGNS = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
_NUMBER = re.compile(r"[+-]?\d+(?:\.\d+)?", re.ASCII)


@dataclass(frozen=True)
class ShownDemonstration:
    """A demonstration that stood in a prompt; similarity: cosine to the utterance."""

    text: str
    label: str
    similarity: float


@dataclass(frozen=True)
class TurnEmotion:
    """What was found for a turn. probabilities: label -> share among the labels, in prompt order; they add up to 1.

    shortened: the utterance was too long for the prompt and was cut at its end.
    """

    turn: SpokenTurn
    emotion: str
    probability: float
    probabilities: Mapping[str, float]
    demonstrations: tuple[ShownDemonstration, ...] = ()
    shortened: bool = False


def turn_record(turn: SpokenTurn) -> dict[str, Any]:
    """Which turn, in which line of the input it ends if it comes from one, who, and what."""
    line = {"input_line": turn.line} if turn.line else {}
    return {"dialogue": turn.dialogue, "turn": turn.turn, **line, "speaker": turn.speaker, "text": turn.text}


def as_record(row: TurnEmotion) -> dict[str, Any]:
    """One line of JSON Lines: a turn, the emotion and how probable each label is."""
    record = turn_record(row.turn)
    record |= {"emotion": row.emotion, "probability": round(row.probability, PROBABILITY_DIGITS)}
    record["probabilities"] = {label: round(value, PROBABILITY_DIGITS) for label, value in row.probabilities.items()}
    if row.demonstrations:
        record["demonstrations"] = [vars(one) for one in row.demonstrations]
    return record | ({"shortened": True} if row.shortened else {})


def render_json_lines(rows: Iterable[TurnEmotion]) -> str:
    """One JSON object on each line."""
    return "".join(json_line(as_record(row)) + "\n" for row in rows)


def render_csv(rows: Iterable[TurnEmotion]) -> str:
    """Rows of the columns that `csv_header` names; demonstrations as JSON in one cell."""
    return "".join(map(_csv_row, rows))


def _csv_row(row: TurnEmotion) -> str:
    record = as_record(row)
    shown = json.dumps(record["demonstrations"], ensure_ascii=False) if row.demonstrations else ""
    cut = "true" if row.shortened else ""
    cells = {name: record.get(name, "") for name in COLUMNS}
    cells = {name: as_cell(one) if isinstance(one, str) else one for name, one in cells.items()}
    if _NUMBER.fullmatch(row.emotion):  # nobody said it, and whoever looks for the label -1 has to find it
        cells["emotion"] = row.emotion
    return _csv_line([*cells.values(), *record["probabilities"].values(), shown, cut])


def csv_header(labels: Sequence[str]) -> str:
    """The first line of a CSV file."""
    return _csv_line([*COLUMNS, *(f"p_{label}" for label in labels), "demonstrations", "shortened"])


def _csv_line(cells: Iterable[str | int | float]) -> str:
    line = io.StringIO()
    # What ends lines is put in quotes: so each way to end one has to be told.
    writer = csv.writer(line, lineterminator="\r\n")
    writer.writerow(list(cells))
    return line.getvalue().removesuffix("\r\n") + "\n"


def as_cell(text: str) -> str:
    """The text as a cell that no spreadsheet takes for a formula: an apostrophe stands before what would begin one."""
    blanks = text[: len(text) - len(text.lstrip())]
    begins_formula = text.lstrip().startswith(FORMULA_SIGNS) or not set(FORMULA_SIGNS).isdisjoint(blanks)
    return f"'{text}" if begins_formula else text


def render_table(rows: Iterable[TurnEmotion]) -> str:
    """Lines for people; a heading where a dialogue begins."""
    lines = []
    for row in rows:
        turn, width = row.turn, max(map(len, row.probabilities))
        if turn.turn == 0:
            lines += [""] if turn.part else []
            lines += [f"dialogue {as_line(turn.dialogue)}"]
        name = set_cell_size(as_line(turn.speaker), NAME_WIDTH)
        lines.append(f"{turn.turn:4}  {name}  {row.emotion:<{width}} {row.probability:5.2f}  {as_line(turn.text)}")
        lines += [
            f"{'':4}  like {one.similarity:.2f}: <{as_line(one.text)}>: {one.label}" for one in row.demonstrations
        ]
    return "".join(f"{line}\n" for line in lines)


def no_header(labels: Sequence[str]) -> str:
    """The head of a format whose files begin with their first row."""
    return ""


@dataclass(frozen=True)
class OutputFormat:
    """How emotions are written: the head of the file (from the labels), then rows."""

    head: Callable[[Sequence[str]], str]
    render: Callable[[Iterable[TurnEmotion]], str]


OUTPUTS: Mapping[str, OutputFormat] = MappingProxyType(
    {
        "table": OutputFormat(no_header, render_table),
        "jsonl": OutputFormat(no_header, render_json_lines),
        "csv": OutputFormat(csv_header, render_csv),
    }
)


def printer(stream: TextIO, form: OutputFormat, labels: Sequence[str]) -> Callable[[Sequence[TurnEmotion]], None]:
    """What prints rows at once, the head before the first of them.

    A terminal of another encoding gets a mark for what it cannot show.
    """
    head, encoding = form.head(labels), stream.encoding or "utf-8"

    def show(rows: Sequence[TurnEmotion]) -> None:
        nonlocal head
        stream.write((head + form.render(rows)).encode(encoding, "replace").decode(encoding))
        stream.flush()
        head = ""

    return show
