"""The stages of main_new.py that score: a split, or the rows of another task."""

from collections.abc import Sequence

from basics.progress import progress_bar
from data_utils.row_files import Example
from engine.distributed import gather_predictions, share_of_dialogues
from scoring.label_scoring import predict_labels
from scoring.metrics import EvalResult, Prediction, evaluate_predictions
from training.run import Run


def score_finished(run: Run, model) -> list[Prediction]:
    """Predictions of `--score_on`; those by which the epoch was chosen, where they are of that split."""
    training = run.arguments[2]
    if run.selected_by and training.score_on == training.select_on:
        return run.selected_by
    return score_split(run, model, training.score_on)


def score_split(run: Run, model, split: str) -> list[Prediction]:
    """One prediction for every row of a split's scored task, in file order; each process scores its share."""
    return score_rows(run, model, run.row_sets.scored[split], run.row_sets.labels, split)


def score_rows(run: Run, model, rows: Sequence[Example], labels: Sequence[str], description: str) -> list[Prediction]:
    """One prediction for every row, in their order; all rows are of one task."""
    share = share_of_dialogues(rows, run.world)
    with progress_bar(len(share), f"score {description}", "row", silent=not run.world.is_first) as bar:
        mine = predict_labels(model, run.encoder, share, labels, run.decode, bar.update)
    return gather_predictions(mine, rows, run.world)


def score_other_tasks(run: Run, model) -> dict[str, EvalResult]:
    """Scores of the rows of tasks beside the scored one (speaker identification in one stage with emotions)."""
    split = run.arguments[2].score_on
    return {
        task: evaluate_predictions(score_rows(run, model, rows, labels, f"{split}, {task}"), labels)
        for task, (rows, labels) in run.row_sets.also_scored[split].items()
    }
