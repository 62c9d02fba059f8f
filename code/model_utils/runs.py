"""The stages of main_new.py: build the model, fine-tune it, score a split."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from data_utils.batching import EncodedRow, RowEncoder, training_batches
from data_utils.examples import PREDICTION
from data_utils.labels import DATASETS
from data_utils.row_sets import RowSets
from model_utils.arguments import NOTHING, Arguments
from model_utils.bases import (
    add_lora,
    choose_device,
    choose_precision,
    count_trainable,
    load_adapter,
    load_model,
    load_tokenizer,
)
from model_utils.checkpoints import save_model
from model_utils.engines import Engine, OptimizerSettings
from model_utils.label_scoring import DecodeSettings, predict_labels
from model_utils.metrics import Prediction, evaluate_predictions
from model_utils.model_card import render_model_card
from model_utils.packing import Packer
from model_utils.progress import progress_bar
from model_utils.self_check import packer_that_agrees
from model_utils.training import (
    LOG_FILE,
    Callbacks,
    Progress,
    Trainer,
    TrainingSettings,
    append_line,
    steps_in_epoch,
)

# Flags that may differ between a run and its resumption: they do not change what is learned.
FREE_ON_RESUME = frozenset(
    {"output_dir", "model_dir", "resume", "save_steps", "local_rank", "do_eval", "eval_batch_size"}
    | {"deepspeed_config", "offload_optimizer"}
)
TOKEN_BUDGETS = {"cpu": 4096, "cuda": 4096}


@dataclass
class Run:
    """Everything that the stages share."""

    arguments: Arguments
    base: str
    row_sets: RowSets
    encoder: RowEncoder
    device: torch.device
    dtype: torch.dtype
    token_budget: int
    packer: Packer | None = None  # chosen once a model is there to check it on
    trainable_parameters: int = 0

    @property
    def metric(self) -> str:
        return DATASETS[self.arguments[1].dataset].metric

    @property
    def decode(self) -> DecodeSettings:
        training = self.arguments[2]
        return DecodeSettings(
            decode=training.decode,
            packer=self.packer,
            token_budget=self.token_budget,
            eval_batch_size=training.eval_batch_size,
            num_beams=training.num_beams,
            max_new_tokens=training.max_new_tokens,
            repair_answers=training.repair_answers,
        )

    def fingerprint(self) -> dict[str, Any]:
        """What decides the result of training; a run is resumed only under an equal one."""
        values = {name: value for group in self.arguments for name, value in asdict(group).items()}
        kept = {name: value for name, value in values.items() if name not in FREE_ON_RESUME}
        return kept | {"rows": dict(self.row_sets.digests), "dtype": str(self.dtype)}


def prepare_run(arguments: Arguments, base: str, row_sets: RowSets) -> Run:
    """Chooses device, precision and token budget; loads the tokenizer."""
    model_arguments, data_arguments, training_arguments = arguments
    device = choose_device()
    max_length = data_arguments.max_length or DATASETS[data_arguments.dataset].max_length
    encoder = RowEncoder(load_tokenizer(base), max_length, {PREDICTION: training_arguments.beta})
    return Run(
        arguments=arguments,
        base=base,
        row_sets=row_sets,
        encoder=encoder,
        device=device,
        dtype=choose_precision(model_arguments.precision, device),
        token_budget=training_arguments.token_budget or TOKEN_BUDGETS[device.type],
    )


def build_model(run: Run):
    """The base, or a checkpoint to go on from, with the parameters trainable that the flags name."""
    arguments, _, training = run.arguments
    start = arguments.checkpoint_dir
    is_adapter = start != NOTHING and (Path(start) / "adapter_config.json").exists()
    model = load_model(run.base if start == NOTHING or is_adapter else start, run.dtype, run.device)
    if is_adapter:
        model = load_adapter(model, start, trainable=training.do_train)
    elif arguments.lora and training.do_train:
        model = add_lora(
            model,
            arguments.lora_dim,
            arguments.lora_alpha,
            arguments.lora_dropout,
            arguments.lora_module_name,
        )
    if arguments.gradient_checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
        model.enable_input_require_grads()
    run.packer = _checked_packer(run, model)
    if training.do_train:
        run.trainable_parameters, parameters = count_trainable(model)
        print(f"{run.trainable_parameters:,} of {parameters:,} parameters are trained", file=sys.stderr)
    return model


def _checked_packer(run: Run, model) -> Packer:
    """The packer of `--packing`, or `rows` when the base disagrees with it on the first rows of test."""
    rows = run.encoder.encode(run.row_sets.scored["test"][:8], run.row_sets.labels)
    batch = training_batches(rows, sys.maxsize, share_prefixes=True)[0]
    return packer_that_agrees(model, batch, run.arguments[2].packing, run.encoder.tokenizer.pad_token_id, run.device)


def load_best(run: Run):
    """The best model as it lies on disk: what is scored is what a user will load."""
    folder = run.arguments[2].model_dir
    if (Path(folder) / "adapter_config.json").exists():
        return load_adapter(load_model(run.base, run.dtype, run.device), folder, trainable=False)
    return load_model(folder, run.dtype, run.device)


def fine_tune(run: Run, model, engine_for: Callable[..., Engine]) -> Progress:
    """Trains, scores the selecting split after every epoch, keeps the best under `model_dir`."""
    model_arguments, _, training = run.arguments
    rows = run.encoder.encode(run.row_sets.train, run.row_sets.labels)
    report_dropped_history(rows)
    steps = steps_in_epoch(len(rows), training.batch_size) * training.num_train_epochs
    engine = engine_for(
        model,
        OptimizerSettings(
            training.learning_rate, training.warmup_ratio, training.weight_decay, training.clip_norm, steps
        ),
    )
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
    callbacks = run_callbacks(run, model, engine, folder)
    return Trainer(model, engine, rows, run.packer, settings, callbacks, folder, run.fingerprint()).run()


def run_callbacks(run: Run, model, engine: Engine, folder: Path) -> Callbacks:
    """Scores, saves and logs for the training loop; only the first process writes."""
    from torch.utils.tensorboard import SummaryWriter

    training = run.arguments[2]
    events = SummaryWriter(str(folder / "tensorboard"))

    def evaluate(epoch: int) -> dict[str, Any]:
        predictions = score_split(run, model, training.select_on)
        result = evaluate_predictions(predictions, run.row_sets.labels, run.metric)
        quantities = ("weighted_f1", "accuracy", "macro_f1", "micro_f1_without_neutral", "invalid")
        named = {f"{training.select_on}_{name}": getattr(result, name) for name in quantities}
        return {"score": result.score, **named}

    def keep_best() -> None:
        card = render_model_card(run.arguments, run.row_sets.labels)
        save_model(model, run.encoder.tokenizer, Path(training.model_dir), run.arguments[0].model_name_or_path, card)

    def record(values: dict[str, Any]) -> None:
        append_line(folder / LOG_FILE, values)
        for name, value in values.items():
            if isinstance(value, int | float) and name not in ("step", "kind"):
                events.add_scalar(f"{values['kind']}/{name}", value, values["step"])

    return Callbacks(evaluate, keep_best, record)


def score_split(run: Run, model, split: str) -> list[Prediction]:
    """One prediction for every row of a split's scored task, in file order."""
    rows = run.row_sets.scored[split]
    with progress_bar(len(rows), f"score {split}", "row") as bar:
        return predict_labels(model, run.encoder, rows, run.row_sets.labels, run.decode, bar.update)


def report_dropped_history(rows: Sequence[EncodedRow]) -> None:
    """Says how many prompts were too long and lost their oldest history."""
    shortened = [row for row in rows if row.utterances_dropped]
    if shortened:
        dropped = sum(row.utterances_dropped for row in shortened)
        print(
            f"{len(shortened)} prompts were too long and lost {dropped} of their oldest utterances",
            file=sys.stderr,
        )
