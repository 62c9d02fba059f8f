"""Predictions on disk, in JSON Lines: those of the final score, and those on valid that chose the epoch."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from basics.errors import UserError
from basics.files import write_atomically
from basics.json_files import parse_json
from scoring.metrics import Prediction

PREDICTIONS_FILE = "predictions.jsonl"
VALID_FILE = "predictions_valid.jsonl"  # answers on valid, without transitions, of the epoch that valid chose
SCORE_DECIMALS = 6


def write_predictions(folder: Path, predictions: Iterable[Prediction], name: str = PREDICTIONS_FILE) -> Path:
    """Write a file of predictions in the given order, whole or not at all; return its path. OSError names the file."""
    path = Path(folder) / name
    lines = (json.dumps(_to_row(prediction), ensure_ascii=False) + "\n" for prediction in predictions)
    write_atomically(path, "".join(lines))
    return path


def _to_row(prediction: Prediction) -> dict[str, Any]:
    row = {name: getattr(prediction, name) for name in ("id", "task", "target", "label")}
    if prediction.scores is not None:
        row["scores"] = {label: round(score, SCORE_DECIMALS) for label, score in prediction.scores.items()}
    return row if prediction.response is None else row | {"response": prediction.response}


def _to_prediction(row: dict[str, Any]) -> Prediction:
    """TypeError, ValueError or AttributeError for what is no row."""
    found = Prediction(**row)
    told = found.id, found.task, found.target, found.label or "", found.response or ""
    if not all(isinstance(text, str) for text in told) or (found.scores is not None and not found.scores):
        raise ValueError("an id, a task, a target, a label or a response is no text, or there are scores of no label")
    return found


def read_predictions(path: Path) -> list[Prediction]:
    """Read what `write_predictions` wrote; UserError names a missing file or a line that cannot be read."""
    try:
        # Not splitlines(): a generated answer may hold U+0085 or U+2028, which are no ends of a row.
        lines = Path(path).read_bytes().rstrip(b"\n").split(b"\n")
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}; give a {PREDICTIONS_FILE}") from error
    predictions = []
    for number, line in enumerate(lines if lines != [b""] else [], start=1):
        try:
            predictions.append(_to_prediction(parse_json(line)))
        except (ValueError, TypeError, AttributeError) as error:
            raise UserError(f"{path} line {number}: not a row of {PREDICTIONS_FILE} ({error})") from error
    return predictions
