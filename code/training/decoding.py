"""transitions.json beside saved weights: the filter of label transitions for their answers, see `scoring.transitions`.

A run with `--decode transitions` counts labels on its rows of train and chooses the filter on valid, once the best
epoch is known; later scoring and prediction read it from there.
"""

from collections.abc import Sequence
from pathlib import Path

from basics.errors import UserError
from data_utils.prompts import find_speaker
from data_utils.row_files import RECOGNITION, Example
from data_utils.row_sets import RowSets
from scoring.transitions import (
    TransitionFilter,
    Transitions,
    TurnOrder,
    count_transitions,
    order_turns,
    read_filter,
    unbroken,
)
from training.arguments import Arguments

TRANSITIONS_FILE = "transitions.json"
SCORE, TRANSITIONS = "score", "transitions"


def order_of_rows(rows: Sequence[Example]) -> TurnOrder:
    """For each row of a task the rows that were said before it. Plain prompts name no speaker, so theirs is unknown.

    Where turns are missing between rows (not drawn, or without a label), those before the gap do not count.
    """
    places = ((dialogue, int(turn)) for dialogue, _, turn in (row.id.rpartition("/") for row in rows))
    return order_turns(unbroken(places), [find_speaker(row.input) for row in rows])


def count_row_transitions(rows: Sequence[Example], labels: Sequence[str]) -> Transitions:
    """Transitions between the labels of rows; those of the main task count. rows: of train."""
    asked = [row for row in rows if row.task == RECOGNITION]
    return count_transitions([row.target for row in asked], order_of_rows(asked), labels)


def uses_transitions(arguments: Arguments, row_sets: RowSets) -> bool:
    """Whether answers go through a filter: `--decode transitions`, and the scored rows ask for emotions."""
    rows = row_sets.scored[arguments[2].score_on]
    return arguments[2].decode == TRANSITIONS and bool(rows) and rows[0].task == RECOGNITION


def filter_at_start(arguments: Arguments, row_sets: RowSets) -> TransitionFilter | None:
    """The filter of the checkpoint that a run only scores; None: training will fit it, or no filter is asked for.

    Raises:
        UserError: the checkpoint has none; or it is to be fitted, and valid has no row.
    """
    model, data, training = arguments
    if not uses_transitions(arguments, row_sets):
        return None
    if not training.do_train:
        return find_filter(model.checkpoint_dir, row_sets.labels, TRANSITIONS)
    if not row_sets.scored["valid"]:
        raise UserError(f"--decode transitions: valid.json has no row to choose a filter by in {data.data_dir}")
    return None


def find_filter(folder: str | Path, labels: Sequence[str], decode: str | None = None) -> TransitionFilter | None:
    """The filter of a checkpoint, None where it has none or `decode` is "score".

    labels: those that the checkpoint chooses from. decode: "score" or "transitions"; None: as in training.

    Raises:
        UserError: `decode` is none of these; or it is "transitions" and there is no filter, or it cannot be read, or is
            of other labels.
    """
    if decode not in (None, SCORE, TRANSITIONS):
        raise UserError(f"decode {decode!r}: allowed are {SCORE} and {TRANSITIONS}")
    path = Path(folder) / TRANSITIONS_FILE
    if decode == TRANSITIONS and not path.is_file():
        told = f"{folder} has no {TRANSITIONS_FILE}: it was not trained with --decode transitions"
        raise UserError(f"--decode transitions: {told}; use --decode score")
    if decode == SCORE or not path.is_file():
        return None
    found = read_filter(path)
    if found.transitions.labels != tuple(labels):
        raise UserError(f"{path}: its labels are {', '.join(found.transitions.labels)}, not {', '.join(labels)}")
    return found
