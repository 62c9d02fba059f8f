"""What a run leaves behind: results.json, predictions, figures, and the table that it prints."""

import json
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch

from bases.find import read_source
from basics.errors import UserError
from basics.files import public_path
from basics.json_files import parse_json
from basics.locks import alone_in
from basics.words import counted
from results.figures import draw_confusion_matrix, draw_learning_curve
from results.files import (
    GIVEN_CHECKPOINT,
    NO_TRAINING,
    UNKNOWN,
    Scorecard,
    write_results,
)
from results.score_table import print_table
from scoring.metrics import (
    EvalResult,
    Prediction,
    baseline_majority,
    evaluate_by_dataset,
    evaluate_predictions,
    evaluate_seen,
    evaluate_unseen,
    measure_copying,
)
from scoring.prediction_files import PREDICTIONS_FILE, read_predictions, write_predictions
from scoring.transitions import decode_without
from training.arguments import NOTHING, name_way, values_of
from training.checkpoints import discard_state, find_changes, load_state
from training.decoding import uses_transitions
from training.folders import CONFUSION_MATRIX, LEARNING_CURVE, RESULTS_FILE, forget_claim, refuse_removed
from training.loop import Progress
from training.provenance import environment_report
from training.rows.encoding import count_shortened
from training.run import Run

STARTED = time.monotonic()


def report_run(
    run: Run,
    progress: Progress | None,
    predictions: list[Prediction],
    others: Mapping[str, EvalResult] = MappingProxyType({}),
) -> None:
    """Writes what the run leaves behind to `output_dir`; results.json comes last, so it marks a finished run.

    progress: of training; None: nothing was trained. predictions: of `--score_on`; empty: nothing was scored. others:
    task -> scores of the tasks beside the scored one.
    """
    folder = Path(run.arguments[2].output_dir)
    title = run_title(run)
    results = describe_run(run, progress)
    if progress:
        refuse_removed(run.arguments)
        draw_learning_curve(folder / LEARNING_CURVE, progress.history, progress.best_epoch, title, run.metric)
    if predictions:
        scorecard = make_scorecard(run, predictions)
        results |= scorecard.to_dict()
        results["other_tasks"] = {task: result.to_dict() for task, result in others.items()}
        write_predictions(folder, predictions)
        draw_confusion_matrix(folder / CONFUSION_MATRIX, scorecard.result, run.row_sets.labels, title)
    write_results(folder, results)
    if progress:
        refuse_removed(run.arguments)
    if predictions:
        discard_state(folder)
        print_table(scorecard, title)
    split = run.arguments[2].score_on
    for task, result in others.items():
        rows = counted(result.rows, "row")
        print(f"{task}: weighted F1 {result.weighted_f1:.2f} on {rows} of {split}", file=sys.stderr)
    print(f"written: {folder / RESULTS_FILE}", file=sys.stderr)


def finished_before(run: Run) -> bool:
    """Whether `output_dir` holds the finished results of an equal run; then its table is printed again.

    For `--resume True`. Results of a run with other settings are warned of, as this run replaces them.

    Raises:
        UserError: the folder also holds the state of a run with other settings, which could still be resumed.
    """
    folder = Path(run.arguments[2].output_dir)
    try:
        results = parse_json((folder / RESULTS_FILE).read_bytes())
    except (OSError, ValueError):
        return False
    before = results.get("fingerprint") if isinstance(results, dict) else None
    if not isinstance(before, dict):
        return False
    if changed := find_changes(before, json.loads(json.dumps(run.fingerprint()))):
        # Before the results are forgotten: a state of those settings is refused.
        if not run.arguments[2].do_train or load_state(folder, run.fingerprint()) is None:
            told = f"{folder / RESULTS_FILE} is of a run with other settings, and this one begins anew"
            print(f"warning: {told}: {'; '.join(changed)}", file=sys.stderr)
        return False
    scored = "score" in results
    if run.arguments[2].do_eval and not scored:
        return False
    if scored and not (folder / PREDICTIONS_FILE).is_file():
        return False
    forget_claim(run.arguments)
    if scored:
        _forget_state(folder)
        print_table(make_scorecard(run, read_predictions(folder / PREDICTIONS_FILE)), run_title(run))
    print(f"finished before: {folder / RESULTS_FILE}", file=sys.stderr)
    return True


def _forget_state(folder: Path) -> None:
    """Removes the state of a run that was killed after it wrote its results; not that of a run begun since."""
    with suppress(UserError), alone_in(folder, "the state"):
        if (folder / RESULTS_FILE).is_file():
            discard_state(folder)


def run_title(run: Run) -> str:
    """'<dataset>, <base>, <setting>', the title of figures and table."""
    model, data, training = run.arguments
    setting = name_way(model)
    if not training.do_train:
        setting = "zero-shot" if model.checkpoint_dir == NOTHING else f"from {Path(model.checkpoint_dir).name}"
    return f"{data.dataset}, {Path(model.model_name_or_path).name}, {setting}"


def make_scorecard(run: Run, predictions: list[Prediction]) -> Scorecard:
    """Scores of the split that was scored, and what must be read beside them."""
    split = run.arguments[2].score_on
    labels, metric = run.row_sets.labels, run.metric
    seen = find_seen(run)
    task = predictions[0].task
    train_targets = [row.target for row in run.row_sets.train if row.task == task]
    by_dataset = evaluate_by_dataset(predictions, labels, metric, run.row_sets.own)
    return Scorecard(
        by_dataset=by_dataset if len(by_dataset) > 1 else {},
        result=evaluate_predictions(predictions, labels, metric),
        selection=how_chosen(run),
        split=split,
        copying=measure_copying(run.row_sets.scored[split], predictions),
        unseen=None if seen is None else evaluate_unseen(predictions, labels, seen, metric),
        seen=None if seen is None else evaluate_seen(predictions, labels, seen, metric),
        seen_rows=None if seen is None else tuple(row.id for row in predictions if row.id in seen),
        majority=baseline_majority(train_targets, [row.target for row in predictions], labels, metric)
        if train_targets
        else None,
        without_transitions=evaluate_predictions(decode_without(predictions), labels, metric)
        if uses_transitions(run.arguments, run.row_sets)
        else None,
    )


def find_seen(run: Run) -> frozenset[str] | None:
    """The ids of the scored rows whose text the scored weights were trained on; None where that is not known."""
    if run.trained_texts is None:
        return None
    return run.row_sets.seen(run.arguments[2].score_on, run.trained_texts)


def how_chosen(run: Run) -> str:
    """The key of `SELECTIONS` that says where the scored weights come from."""
    model, _, training = run.arguments
    if training.do_train:
        return training.select_on
    return NO_TRAINING if model.checkpoint_dir == NOTHING else GIVEN_CHECKPOINT


def describe_run(run: Run, progress: Progress | None) -> dict[str, Any]:
    """Everything of results.json but the scores."""
    values = values_of(run.arguments).items()
    training_rows = [row.task for row in run.row_sets.train] if progress else []
    return {
        "arguments": {name: public_path(value) if isinstance(value, str) else value for name, value in values},
        "seed": run.arguments[2].seed,
        "fingerprint": run.fingerprint(),
        "base": {"name": Path(run.arguments[0].model_name_or_path).name, "source": read_source(Path(run.base)) or None},
        "parameters": run.parameters,
        "trainable_parameters": run.trainable_parameters,
        "precision": str(run.dtype).removeprefix("torch."),
        "packing": run.packer.kind,
        "processes": run.world.size,
        "deepspeed": run.deepspeed,
        "device": torch.cuda.get_device_name(run.device) if run.device.type == "cuda" else "cpu",
        "row_digests": dict(run.row_sets.digests),
        "shortened": count_shortened(run.encoded),
        "texts_trained_on": UNKNOWN if run.trained_texts is None else len(run.trained_texts),
        "training_rows": {task: training_rows.count(task) for task in set(training_rows)},
        "epochs": progress.history if progress else [],
        "best_epoch": progress.best_epoch if progress else None,
        "steps": progress.step if progress else 0,
        "transitions": run.transitions and run.transitions.chosen,
        "seconds": {
            "training_steps": progress.seconds if progress else 0.0,
            "process": time.monotonic() - STARTED,
        },
        "gpu_peak_memory_mib": torch.cuda.max_memory_allocated() / 2**20 if run.device.type == "cuda" else None,
        "commit": run.commit,
        **environment_report(),
    }
