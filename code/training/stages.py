"""The stages of main_new.py: fine-tuning (engine, settings, callbacks of the loop), and scoring a split."""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from bases.find import public_name, sha256_of_weights
from bases.load import DTYPES
from basics.errors import UserError
from basics.files import write_atomically
from basics.scripts import progress_bar
from data_utils.labels import DatasetSpec
from data_utils.row_files import Example
from engine.batching import EncodedRow, plan_steps
from engine.dealing import measure_dealing, share_of_dialogues
from engine.deepspeed_state import gather_weights
from engine.distributed import gather_predictions
from scoring.label_scoring import mean_target_loss, predict_labels
from scoring.metrics import (
    EvalResult,
    Prediction,
    evaluate_by_dataset,
    evaluate_predictions,
    mean_score,
    measure_copying,
    score_numbers,
)
from scoring.prediction_files import VALID_FILE, write_predictions
from scoring.transitions import TransitionFilter, decode_with, fit_filter, log_p_matrix
from training.arguments import NOTHING, Arguments, values_of
from training.checkpoints import STATE_FILE, save_model
from training.decoding import TRANSITIONS_FILE, count_row_transitions, order_of_rows, uses_transitions
from training.engines import Engine, OptimizerSettings, PlainEngine
from training.erc_config import ERC_CONFIG_FILE, ErcConfig, decisive_files, erc_config_of, find_erc_config
from training.log import RunLog
from training.loop import (
    Callbacks,
    Progress,
    Trainer,
    TrainingSettings,
    steps_in_epoch,
)
from training.rows.trained_texts import TRAINED_TEXTS_FILE, render_trained_texts
from training.run import Run
from training.trackers import open_trackers

COPYING_POINTS = 30.0  # points by which copied labels exceed right ones when the model is said to copy
# (arguments, erc_config.json, name -> corpus of one's own) -> the README.md beside the weights
RenderCard = Callable[[Arguments, ErcConfig, Mapping[str, DatasetSpec]], str]


def fine_tune(run: Run, model, render_card: RenderCard) -> Progress:
    """Trains, scores the split of --select_on now and then, saves the best weights and their card in `model_dir`."""
    model_arguments, _, training = run.arguments
    rows = run.encoded["train"]
    steps = steps_in_epoch(len(rows), training.batch_size) * training.num_train_epochs
    optimizer = OptimizerSettings(
        training.learning_rate,
        training.warmup_ratio,
        training.weight_decay,
        training.clip_norm,
        steps,
        average=training.average_weights,
    )
    engine = start_engine(run, model, optimizer)
    if run.world.size > 1 and run.world.is_first:
        tell_dealing(run)
    settings = TrainingSettings(
        epochs=training.num_train_epochs,
        batch_size=training.batch_size,
        rows_per_dialogue=training.rows_per_dialogue,
        token_budget=run.token_budget,
        micro_steps=training.gradient_accumulation_steps,
        seed=training.seed,
        save_steps=training.save_steps,
        resume=training.resume,
        label_loss=run.label_loss,
        score_every=training.score_every,
        patience=training.patience,
    )
    folder = Path(training.output_dir)
    callbacks = run_callbacks(run, model, folder, render_card)
    progress = Trainer(model, engine, rows, run.packer, settings, callbacks, folder, run.fingerprint()).run()
    engine.close()
    refuse_other_best(run, progress)
    if progress.step < steps and run.world.is_first:
        told = f"{training.patience} scorings without a better {training.select_on} score"
        print(f"training ended after step {progress.step} of {steps}: {told}", file=sys.stderr)
    return progress


def tell_dealing(run: Run) -> None:
    """Prints what dealing the rows of the first epoch to several processes costs, see `Dealing`."""
    training, rows = run.arguments[2], run.encoded["train"]
    plan = plan_steps(rows, training.batch_size, training.rows_per_dialogue, training.seed, epoch=0)
    steps = [[rows[index] for index in step] for step in plan]
    print(measure_dealing(steps, run.packer.shares_prefixes, run.world.size), file=sys.stderr)


def start_engine(run: Run, model, optimizer: OptimizerSettings) -> Engine:
    """The engine: DeepSpeed's for several GPUs or where a flag asks for it, else plain PyTorch."""
    if run.deepspeed is None:
        return PlainEngine(model, optimizer, run.world)
    from training.deepspeed_engine import DeepSpeedEngine

    return DeepSpeedEngine(model, optimizer, run.deepspeed)


def run_callbacks(run: Run, model, folder: Path, render_card: RenderCard) -> Callbacks:
    """The training loop's callbacks, which score, save and log; only the first process writes."""
    training = run.arguments[2]

    latest: list[Prediction] = []

    def evaluate(_: float) -> dict[str, Any]:
        predictions = latest[:] = score_split(run, model, training.select_on)
        result = evaluate_predictions(predictions, run.row_sets.labels, run.metric)
        quantities = ("weighted_f1", "accuracy", "macro_f1", "micro_f1_without_neutral", "invalid")
        named = {f"{training.select_on}_{name}": getattr(result, name) for name in quantities}
        by_dataset = evaluate_by_dataset(predictions, run.row_sets.labels, run.metric, run.row_sets.own)
        if len(by_dataset) > 1:
            named |= {f"{training.select_on}_{name}": of_set.score for name, of_set in by_dataset.items()}
        named |= look_for_copying(run, predictions)
        loss = mean_target_loss(predictions, run.encoder, run.decode, run.label_loss)
        named |= {} if loss is None else {f"{training.select_on}_loss": loss}
        return {"score": mean_score(voting_sets(run, by_dataset)), **named}

    def keep_best() -> str | None:
        keep_model(run, model, render_card)
        run.selected_by = list(latest)
        # Only where the folder is there: whether it was removed is told by the log, and it must not be made anew here.
        if run.world.is_first and training.select_on == "valid" and folder.is_dir():
            write_predictions(folder, latest, VALID_FILE)
        return find_best_weights(run)

    return Callbacks(evaluate, keep_best, open_log(run, folder).record if run.world.is_first else forget)


def open_log(run: Run, folder: Path) -> RunLog:
    """The log of a run, which reports to the trackers of --report_to; without resuming, curves begin anew there."""
    training = run.arguments[2]
    goes_on = training.resume and (folder / STATE_FILE).is_file()
    return RunLog(folder, open_trackers(training.report_to, folder, values_of(run.arguments), goes_on))


def look_for_copying(run: Run, predictions: Sequence[Prediction]) -> dict[str, float]:
    """How often answers on --select_on are, and should be, their demonstration's label, in percent; {} without any.

    A warning says so where they are that by `COPYING_POINTS` too often: the score is then that of copying.

    Raises:
        UserError: the same, with `--stop_on_copying True`; what was saved before is kept.
    """
    training = run.arguments[2]
    found = measure_copying(run.row_sets.scored[training.select_on], predictions)
    if found is None:
        return {}
    if found.answered - found.gold > COPYING_POINTS:
        share = f"{found.answered:.0f}% of the answers on {training.select_on}"
        told = f"{share} are the demonstration's label, which is right in {found.gold:.0f}%"
        if training.stop_on_copying:
            raise UserError(f"{told}; stopped, as --stop_on_copying True asks; try pairing=all, or no domain_base")
        if run.world.is_first:
            print(f"warning: {told}: the model copies", file=sys.stderr)
    return {f"{training.select_on}_copied": found.answered, f"{training.select_on}_copied_gold": found.gold}


def voting_sets(run: Run, by_dataset: Mapping[str, EvalResult]) -> Mapping[str, EvalResult]:
    """The datasets (name -> scores) whose mean score chooses the epoch.

    Where train is of one dataset and valid of several, only that one counts, unless the run starts from a checkpoint,
    which may have learned the others.
    """
    if run.arguments[0].checkpoint_dir != NOTHING:
        return by_dataset
    trained = {row.id.split("/", 1)[0] for row in run.row_sets.train}
    return {name: of_set for name, of_set in by_dataset.items() if name in trained} or by_dataset


def keep_model(run: Run, model, render_card: RenderCard) -> None:
    """Saves the model as it is now to `model_dir`; all processes return once it is there."""
    weights = gather_weights(model, trainable_only=hasattr(model, "peft_config"))
    if run.world.is_first:
        # An adapter needs the very weights below it; a whole model names the base whose tokenizer it goes with.
        start = run.whole_checkpoint if hasattr(model, "peft_config") else None
        base = public_name(start or run.base)

        def texts(folder: Path) -> dict[str, str]:
            config = describe_checkpoint(run, base, folder)
            card = render_card(run.arguments, config, run.row_sets.own)
            files = {"README.md": card, ERC_CONFIG_FILE: config.render()}
            known = run.trained_texts is not None
            return files | ({TRAINED_TEXTS_FILE: render_trained_texts(run.trained_texts)} if known else {})

        save_model(model, run.encoder.tokenizer, Path(run.arguments[2].model_dir), base, texts, weights)
    run.world.wait()


def find_best_weights(run: Run) -> str | None:
    """SHA-256 of the weights in `model_dir`, as erc_config.json beside them records it; None: it does not."""
    config = find_erc_config(run.arguments[2].model_dir)
    return config and config.weights_sha256


def refuse_other_best(run: Run, progress: Progress) -> None:
    """UserError when `model_dir` no longer holds the model that this run saved there, but another, or none."""
    if run.world.is_first and progress.best_weights not in (None, found := find_best_weights(run)):
        holds = "holds another model than that" if found else "holds no model, where that was"
        told = f"--model_dir {run.arguments[2].model_dir} {holds} of this run's epoch {progress.best_epoch:g}"
        raise UserError(f"{told}: begin anew, with a folder of its own")


def describe_checkpoint(run: Run, base: str, folder: Path) -> ErcConfig:
    """The `ErcConfig` of the weights in a folder. base: public name of the base that they go with."""
    frame = run.encoder.frame
    return replace(
        erc_config_of(run.arguments, base, run.row_sets),
        precision=next(name for name, dtype in DTYPES.items() if dtype == run.dtype),
        frame_sha256=frame and frame.sha256,
        base_sha256=sha256_of_weights(run.weights),
        weights_sha256=sha256_of_weights(folder),
        files_sha256=decisive_files(folder),
    )


def forget(values: dict[str, Any]) -> None:
    """Drops what is to be recorded: only the first process keeps a log."""


def fit_transitions(run: Run, model) -> None:
    """Chooses the filter of `--decode transitions` on valid, and saves it beside the best model, which `model` is."""
    if not fits_transitions(run):
        return
    predictions = run.selected_by if knows_valid(run) else score_split(run, model, "valid")
    run.transitions = run.world.from_first(lambda: _fitted(run, predictions))
    if run.world.is_first:
        found = run.transitions
        keep_filter(found, Path(run.arguments[2].model_dir))
        weights = f"weights {found.own_weight} of own turns and {found.dialogue_weight} of the last"
        scores = f"valid {found.score:.2f}, {found.score_without:.2f} without"
        print(f"transitions: temperature {found.temperature}, {weights}; {scores}", file=sys.stderr)
    run.world.wait()


def keep_filter(found: TransitionFilter, folder: Path) -> None:
    """Writes a filter beside the weights, and its digest into their erc_config.json."""
    write_atomically(folder / TRANSITIONS_FILE, found.render())
    config = find_erc_config(folder)
    if config:
        write_atomically(folder / ERC_CONFIG_FILE, replace(config, files_sha256=decisive_files(folder)).render())


def _fitted(run: Run, predictions: Sequence[Prediction]) -> TransitionFilter:
    rows, labels = run.row_sets.scored["valid"], run.row_sets.labels
    gold = [labels.index(row.target) for row in rows]
    score = partial(score_numbers, gold, labels=labels, metric=run.metric)
    transitions = count_row_transitions(run.row_sets.train, labels)
    return fit_filter(transitions, log_p_matrix(predictions, labels), order_of_rows(rows), score)


def fits_transitions(run: Run) -> bool:
    """Whether the run fits a filter of label transitions."""
    return run.arguments[2].do_train and uses_transitions(run.arguments, run.row_sets)


def knows_valid(run: Run) -> bool:
    """Whether this process has the best epoch's predictions on valid."""
    return bool(run.selected_by) and run.arguments[2].select_on == "valid"


def score_finished(run: Run, model) -> list[Prediction]:
    """The predictions of `--score_on`, after the run's filter, where it has one.

    Those by which the epoch was chosen are used again, where they are of that split.
    """
    split = run.arguments[2].score_on
    predictions = run.selected_by if knows_answers(run) else score_split(run, model, split)
    if run.transitions is None:
        return predictions
    return decode_with(run.transitions, predictions, order_of_rows(run.row_sets.scored[split]))


def score_split(run: Run, model, split: str) -> list[Prediction]:
    """One prediction for every row of a split's scored task, in file order; each process scores its share."""
    return score_rows(run, model, run.row_sets.scored[split], run.encoded[split], run.row_sets.labels, split)


def score_rows(
    run: Run, model, rows: Sequence[Example], encoded: Sequence[EncodedRow], labels: Sequence[str], description: str
) -> list[Prediction]:
    """One prediction for every row, in their order; all rows are of one task. encoded: the rows as token ids."""
    share = share_of_dialogues(encoded, run.world)
    with progress_bar(len(share), f"score {description}", "row", silent=not run.world.is_first) as bar:

        def advance(done: int) -> None:
            bar.update(done)
            run.world.look()

        mine = predict_labels(model, run.encoder, share, labels, run.decode, advance)
    return gather_predictions(mine, rows, run.world)


def score_other_tasks(run: Run, model) -> dict[str, EvalResult]:
    """Scores of the rows of tasks beside the scored one (speaker identification in one stage with emotions)."""
    split = run.arguments[2].score_on
    return {
        task: evaluate_predictions(
            score_rows(run, model, rows, run.also_encoded[task], labels, f"{split}, {task}"), labels
        )
        for task, (rows, labels) in run.row_sets.also_scored[split].items()
    }


def is_left_to_score(run: Run) -> bool:
    """Whether rows must still be scored after training: for the final score, other tasks, or to fit a filter."""
    split = run.arguments[2].score_on
    wanted = not knows_answers(run) or bool(run.row_sets.also_scored[split])
    return (run.arguments[2].do_eval and wanted) or (fits_transitions(run) and not knows_valid(run))


def knows_answers(run: Run) -> bool:
    """Whether this process has the predictions of the final score already: --score_on is --select_on."""
    training = run.arguments[2]
    return bool(run.selected_by) and training.score_on == training.select_on
