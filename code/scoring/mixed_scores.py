"""Scores of rows that come from several datasets: each dataset by its own metric, and their mean."""

from collections.abc import Mapping, Sequence

from data_utils.labels import DATASETS
from scoring.metrics import EvalResult, Prediction, evaluate_predictions


def evaluate_by_dataset(predictions: Sequence[Prediction], labels: Sequence[str], metric: str) -> dict[str, EvalResult]:
    """Dataset (first part of a row's id) -> scores of its rows, in the order in which datasets first occur.

    metric: for rows of a dataset that is not in the table. Raises UserError as `evaluate_predictions`.
    """
    rows = split_by_dataset(predictions)
    metrics = {name: DATASETS[name].metric if name in DATASETS else metric for name in rows}
    return {name: evaluate_predictions(of_set, labels, metrics[name]) for name, of_set in rows.items()}


def split_by_dataset(predictions: Sequence[Prediction]) -> dict[str, list[Prediction]]:
    """Dataset (first part of a row's id) -> its rows, in their order."""
    rows: dict[str, list[Prediction]] = {}
    for prediction in predictions:
        rows.setdefault(prediction.id.split("/", 1)[0], []).append(prediction)
    return rows


def mean_score(results: Mapping[str, EvalResult]) -> float:
    """Mean of the datasets' headline scores, each counting the same; by it epochs are compared."""
    return sum(result.score for result in results.values()) / len(results)
