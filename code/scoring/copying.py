"""How often an answer is its demonstration's label, beside how often it should be: the leak of own-label pairing."""

from collections.abc import Sequence
from dataclasses import dataclass

from data_utils.row_files import Example
from scoring.metrics import Prediction

PERCENT = 100.0


@dataclass(frozen=True)
class Copying:
    """Shares of the rows with a demonstration, in percent, by the label of the nearest one.

    answered: the answer is that label. gold: the target is. A model that copies answers far above `gold`.
    """

    answered: float
    gold: float
    rows: int


def measure_copying(rows: Sequence[Example], predictions: Sequence[Prediction]) -> Copying | None:
    """Compare answers with the nearest demonstration's label; None where no row holds a demonstration.

    predictions: one for every row, in the rows' order; ValueError where they are of other rows.
    """
    pairs = list(zip(rows, predictions, strict=True))
    if any(row.id != prediction.id for row, prediction in pairs):
        raise ValueError("the predictions are not of these rows")
    shown = [(row, prediction) for row, prediction in pairs if row.demonstrations]
    if not shown:
        return None
    answered = sum(prediction.label == row.demonstrations[0].label for row, prediction in shown)
    gold = sum(row.target == row.demonstrations[0].label for row, _ in shown)
    return Copying(PERCENT * answered / len(shown), PERCENT * gold / len(shown), len(shown))
