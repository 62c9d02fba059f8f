"""Fine-tuning as one stage of main_new.py: engine, settings and what the loop calls back."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engine.deepspeed_state import gather_weights
from results.card import render_model_card
from scoring.metrics import EvalResult, Prediction, evaluate_predictions
from scoring.mixed_scores import evaluate_by_dataset, mean_score
from training.arguments import NOTHING
from training.checkpoints import save_model
from training.engines import Engine, OptimizerSettings, PlainEngine
from training.erc_config import ERC_CONFIG_FILE, erc_config_of
from training.folders import public_name
from training.log import RunLog
from training.loop import (
    Callbacks,
    Progress,
    Trainer,
    TrainingSettings,
    steps_in_epoch,
)
from training.run import Run
from training.scores import score_split


def fine_tune(run: Run, model) -> Progress:
    """Trains, scores the selecting split after every epoch, keeps the best under `model_dir`."""
    model_arguments, _, training = run.arguments
    rows = run.encoded["train"]
    steps = steps_in_epoch(len(rows), training.batch_size) * training.num_train_epochs
    optimizer = OptimizerSettings(
        training.learning_rate, training.warmup_ratio, training.weight_decay, training.clip_norm, steps
    )
    engine = start_engine(run, model, optimizer)
    settings = TrainingSettings(
        epochs=training.num_train_epochs,
        batch_size=training.batch_size,
        rows_per_dialogue=training.rows_per_dialogue,
        token_budget=run.token_budget,
        micro_steps=training.gradient_accumulation_steps,
        seed=training.seed,
        save_steps=training.save_steps,
        resume=training.resume,
    )
    folder = Path(training.output_dir)
    callbacks = run_callbacks(run, model, folder)
    return Trainer(model, engine, rows, run.packer, settings, callbacks, folder, run.fingerprint()).run()


def start_engine(run: Run, model, optimizer: OptimizerSettings) -> Engine:
    """DeepSpeed's for several processes or where a flag asks for it, else plain PyTorch."""
    if run.deepspeed is None:
        return PlainEngine(model, optimizer)
    from training.deepspeed_engine import DeepSpeedEngine

    return DeepSpeedEngine(model, optimizer, run.deepspeed)


def run_callbacks(run: Run, model, folder: Path) -> Callbacks:
    """Scores, saves and logs for the training loop; only the first process writes."""
    training = run.arguments[2]

    latest: list[Prediction] = []
    def evaluate(epoch: int) -> dict[str, Any]:
        predictions = latest[:] = score_split(run, model, training.select_on)
        result = evaluate_predictions(predictions, run.row_sets.labels, run.metric)
        quantities = ("weighted_f1", "accuracy", "macro_f1", "micro_f1_without_neutral", "invalid")
        named = {f"{training.select_on}_{name}": getattr(result, name) for name in quantities}
        by_dataset = evaluate_by_dataset(predictions, run.row_sets.labels, run.metric)
        if len(by_dataset) > 1:
            named |= {f"{training.select_on}_{name}": of_set.score for name, of_set in by_dataset.items()}
        return {"score": mean_score(voting_sets(run, by_dataset)), **named}

    def keep_best() -> None:
        keep_model(run, model)
        run.selected_by = list(latest)

    return Callbacks(evaluate, keep_best, RunLog(folder).record if run.world.is_first else forget)


def voting_sets(run: Run, by_dataset: Mapping[str, EvalResult]) -> Mapping[str, EvalResult]:
    """The datasets whose mean chooses the epoch.

    Mixed rows of a single set train on it alone while valid holds every set: the others have no vote, unless the run
    starts from weights that may have learned them, as in a sequence.
    """
    if run.arguments[0].checkpoint_dir != NOTHING:
        return by_dataset
    trained = {row.id.split("/", 1)[0] for row in run.row_sets.train}
    return {name: of_set for name, of_set in by_dataset.items() if name in trained} or by_dataset


def keep_model(run: Run, model) -> None:
    """Saves the model as it is now to `model_dir`; it is there when any process returns."""
    weights = gather_weights(model, trainable_only=hasattr(model, "peft_config"))
    if run.world.is_first:
        # An adapter needs the very weights below it; a whole model names the base whose tokenizer it goes with.
        start = run.whole_checkpoint if hasattr(model, "peft_config") else None
        base = public_name(start or run.base)
        texts = {
            "README.md": render_model_card(run.arguments, base, run.row_sets.labels),
            ERC_CONFIG_FILE: erc_config_of(run.arguments, base, run.row_sets).render(),
        }
        save_model(model, run.encoder.tokenizer, Path(run.arguments[2].model_dir), base, texts, weights)
    run.world.wait()


def forget(values: dict[str, Any]) -> None:
    """What the other processes do with what the first one records."""
