"""Refuses rows that do not go with the flags of a run, before anything is loaded."""

from collections.abc import Iterator

from basics.errors import raise_together
from data_utils.row_files import PREDICTION, SPEAKER
from data_utils.row_sets import RowSets
from training.arguments import Arguments, TrainingArguments


def refuse_unfit_rows(arguments: Arguments, row_sets: RowSets) -> None:
    """UserError when a split that is to be scored has no row, or the rows leave a flag without effect."""
    _, data, training = arguments
    idle = _find_idle(training, row_sets, data.data_dir) if training.do_train else ()
    raise_together([*_find_empty(training, row_sets, data.data_dir), *idle])


def _find_empty(training: TrainingArguments, row_sets: RowSets, folder: str) -> Iterator[str]:
    """One line each where the split of --select_on, or of --score_on, has no row."""
    if training.do_train and not row_sets.scored[training.select_on]:
        yield f"--select_on {training.select_on}: {training.select_on}.json has no row to choose by in {folder}"
    if training.do_eval and not row_sets.scored[training.score_on]:
        yield f"--score_on {training.score_on}: {training.score_on}.json has no row to score in {folder}"


def _find_idle(training: TrainingArguments, row_sets: RowSets, folder: str) -> Iterator[str]:
    """One line for each flag that concerns rows of a kind which the folder does not have.

    A first stage of speaker rows is exempt: it gets the flags of the second one, and never has such rows.
    """
    chooser, tasks = training.select_on, {row.task for row in row_sets.train}
    if tasks == {SPEAKER}:
        return
    if training.stop_on_copying and not any(row.demonstrations for row in row_sets.scored[chooser]):
        told = f"{chooser}.json in {folder} has no demonstration that could be copied"
        yield f"--stop_on_copying True: {told}: leave it out, or make rows with --domain_base True"
    if training.beta != TrainingArguments.beta and PREDICTION not in tasks:
        told = f"train.json in {folder} has no row of the prediction task that it could weigh"
        yield f"--beta {training.beta}: {told}: leave it out, or make rows with --emotion_prediction True"
