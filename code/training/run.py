"""What the stages of main_new.py share, and the model that they start from and end with."""

import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from bases.adapters import ALL, add_lora, choose_targets, count_trainable, load_adapter
from bases.find import check_precision, find_row, identify_base, public_name
from bases.load import check_quantization, choose_device, choose_precision, load_model, load_tokenizer, positions_of
from bases.table import NO_QUANTIZATION
from basics.errors import UserError
from basics.files import find_repository, shown_path
from data_utils.labels import ROW_SETS
from data_utils.row_files import PREDICTION
from data_utils.row_sets import RowSets
from engine.batching import (
    EAGER_TOKEN_BUDGET,
    TOKEN_BUDGETS,
    EncodedRow,
    MicroBatch,
    RowEncoder,
    plan_steps,
    scoring_batches,
    training_batches,
)
from engine.distributed import World
from engine.layers import compile_layers, should_compile
from engine.packing import Packer
from scoring.label_scoring import DecodeSettings
from scoring.metrics import Prediction
from scoring.self_check import packer_that_agrees, prompts_together
from training.arguments import NOTHING, Arguments, ModelArguments, TrainingArguments, name_way
from training.checkpoints import is_adapter
from training.deepspeed_engine import deepspeed_config, shards_weights, wants_deepspeed
from training.engines import seed_draws
from training.erc_config import refuse_other_base
from training.provenance import find_commit

# Flags that may differ between a run and its resumption: they do not change what is learned, or, as paths,
# are compared by what they lead to.
FREE_ON_RESUME = frozenset(
    {"output_dir", "model_dir", "resume", "save_steps", "local_rank", "do_eval", "eval_batch_size"}
    | {"deepspeed_config", "offload_optimizer", "data_dir", "model_name_or_path"}
)


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
    world: World = World()
    deepspeed: dict[str, Any] | None = None  # its configuration; None: plain PyTorch
    packer: Packer | None = None  # chosen once a model is there to check it on, as is eval_batch_size
    eval_batch_size: int = 1  # prompts that `generate` answers together
    trainable_parameters: int = 0
    encoded: dict[str, list[EncodedRow]] = field(default_factory=dict)  # rows of the splits that the run uses
    whole_checkpoint: str | None = None  # `--checkpoint_dir` that holds a whole model and takes the base's place
    commit: str | None = None  # of the program, as the run began
    selected_by: list[Prediction] = field(default_factory=list)  # on `select_on`, of the best epoch of this process

    @property
    def metric(self) -> str:
        return ROW_SETS[self.arguments[1].dataset].metric

    @property
    def decode(self) -> DecodeSettings:
        training = self.arguments[2]
        return DecodeSettings(
            decode=training.decode,
            packer=self.packer,
            token_budget=self.token_budget,
            eval_batch_size=self.eval_batch_size,
            num_beams=training.num_beams,
            max_new_tokens=training.max_new_tokens,
            repair_answers=training.repair_answers,
            calibrate=training.calibrate,
            world=self.world,
        )

    def fingerprint(self) -> dict[str, Any]:
        """What decides the result of training; a run is resumed only under an equal one."""
        values = {name: value for group in self.arguments for name, value in asdict(group).items()}
        kept = {name: value for name, value in values.items() if name not in FREE_ON_RESUME}
        found = {"base": identify_base(self.base), "rows": dict(self.row_sets.digests), "dtype": str(self.dtype)}
        return {name: shown_path(value) if isinstance(value, str) else value for name, value in kept.items()} | found


def prepare_run(arguments: Arguments, base: str, row_sets: RowSets, world: World) -> Run:
    """Chooses device, precision, token budget and engine; loads the tokenizer.

    Raises:
        UserError: the split that is to choose the best epoch has no rows.
    """
    model_arguments, data_arguments, training_arguments = arguments
    chooser = training_arguments.select_on
    if training_arguments.do_train and not row_sets.scored[chooser]:
        raise UserError(f"--select_on {chooser}: {chooser}.json has no row to choose by in {data_arguments.data_dir}")
    device = choose_device()
    check_precision(base, model_arguments.precision)
    dtype = choose_precision(model_arguments.precision, device)
    several = world.size > 1 or wants_deepspeed(training_arguments)
    deepspeed = deepspeed_config(training_arguments, dtype) if several else None
    check_quantization(model_arguments.quantize, device, shards_weights(deepspeed))
    max_length = data_arguments.max_length or ROW_SETS[data_arguments.dataset].max_length
    encoder = make_encoder(base, max_length, training_arguments.beta, data_arguments.chat_template)
    encoded = encode_splits(encoder, row_sets, training_arguments)
    refuse_longer_prompts(base, encoder, encoded, row_sets, training_arguments)
    start = model_arguments.checkpoint_dir
    return Run(
        arguments=arguments,
        base=base,
        row_sets=row_sets,
        encoder=encoder,
        device=device,
        dtype=dtype,
        token_budget=training_arguments.token_budget or TOKEN_BUDGETS[device.type],
        world=world,
        encoded=encoded,
        whole_checkpoint=None if start == NOTHING or is_adapter(start) else start,
        deepspeed=deepspeed,
        commit=find_commit(find_repository()),
    )


def make_encoder(base: str, max_length: int, beta: float, chat: bool) -> RowEncoder:
    """The base's tokenizer at work; UserError when a chat template is wanted that it does not have."""
    try:
        return RowEncoder(load_tokenizer(base), max_length, {PREDICTION: beta}, chat)
    except ValueError as error:
        raise UserError(f"--chat_template True with base {base}: {error}; choose an instruction-tuned base") from None


def encode_splits(encoder: RowEncoder, row_sets: RowSets, training: TrainingArguments) -> dict[str, list[EncodedRow]]:
    """The rows of every split that will be used: what does not fit is found now, not after hours."""
    used = {"train": row_sets.train} if training.do_train else {}
    names = {training.select_on} if training.do_train else set()
    names |= {training.score_on} if training.do_eval else set()
    used |= {name: row_sets.scored[name] for name in sorted(names)}
    return {name: encoder.encode(rows, row_sets.labels) for name, rows in used.items()}


def refuse_longer_prompts(
    base: str, encoder: RowEncoder, encoded: dict[str, list[EncodedRow]], row_sets: RowSets, training: TrainingArguments
) -> None:
    """UserError when a prompt with what is to follow it has more tokens than the base has positions."""
    positions = positions_of(base)
    follow = max(len(encoder.encode_label(label)) for label in row_sets.labels) - 1  # the last is written, not read
    follow = max(follow, training.max_new_tokens) if training.decode == "generate" else follow
    longest = max((len(row.prompt) for rows in encoded.values() for row in rows), default=0) + follow
    if positions and longest > positions:
        fitting = positions - follow + max(len(encoder.encode_label(label)) for label in row_sets.labels)
        raise UserError(
            f"--max_length {encoder.max_length}: prompts and labels have up to {longest} tokens, and base {base} "
            f"reads {positions}: give --max_length {fitting}"
        )


def count_shortened(encoded: dict[str, list[EncodedRow]]) -> dict[str, dict[str, int]]:
    """Split -> how many prompts were too long, and how many of their oldest utterances they lost."""
    dropped = {name: [row.utterances_dropped for row in rows] for name, rows in encoded.items()}
    return {name: {"prompts": sum(map(bool, lost)), "utterances": sum(lost)} for name, lost in dropped.items()}


def report_shortened(encoded: dict[str, list[EncodedRow]]) -> None:
    """Says for every split how many prompts were too long, if any."""
    for name, lost in count_shortened(encoded).items():
        if lost["prompts"]:
            told = f"{lost['prompts']} prompts were too long and lost {lost['utterances']} of their oldest utterances"
            print(f"{name}: {told}", file=sys.stderr)


def build_model(run: Run):
    """The base, or a checkpoint to go on from, with the parameters trainable that the flags name.

    Raises:
        UserError: all parameters are to be trained, but the checkpoint is an adapter; or it is of another base.
    """
    arguments, _, training = run.arguments
    start = arguments.checkpoint_dir
    adapted = is_adapter(start)
    if adapted and training.do_train and not arguments.lora:
        raise UserError(f"--checkpoint_dir {start} is a LoRA adapter: with --lora False give a whole model, or none")
    if start != NOTHING:
        refuse_other_base(start, public_name(run.base))
    model = load_model(run.whole_checkpoint or run.base, run.dtype, run.device, arguments.quantize)
    seed_draws(training.seed)
    if adapted:
        model = load_adapter(model, start, trainable=training.do_train)
    elif arguments.lora and training.do_train:
        model = adapt(model, arguments, run.base, speaks=run.world.is_first)
    if arguments.gradient_checkpointing:
        model.activation_checkpointing_enable()
    run.packer, run.eval_batch_size = run.world.from_first(lambda: _check(run, model))
    if run.packer.additive and not training.token_budget:
        run.token_budget = min(run.token_budget, EAGER_TOKEN_BUDGET)
    rows = len(run.row_sets.train) * training.num_train_epochs if training.do_train else 0
    compilable = not shards_weights(run.deepspeed) and arguments.quantize == NO_QUANTIZATION
    if compilable and should_compile(training.compile_layers, rows, run.device):
        compile_layers(model)
    if training.do_train:
        run.trainable_parameters, parameters = count_trainable(model)
        if run.world.is_first:
            print(f"{run.trainable_parameters:,} of {parameters:,} parameters are trained", file=sys.stderr)
    return model


def _check(run: Run, model) -> tuple[Packer, int]:
    """The packer of `--packing`, or `rows` where the base disagrees with it on the largest micro-batch of this run.

    Or when its row of the table says that it reads a prompt in both directions. And how many prompts may be
    answered together.
    """
    training = run.arguments[2]
    row = find_row(run.base)
    wanted = training.packing if row is None or row.shares_prefixes else "rows"
    batches, pad = planned_batches(run), run.encoder.tokenizer.pad_token_id
    packer = packer_that_agrees(model, batches, wanted, pad, run.device)
    if training.decode != "generate":
        return packer, training.eval_batch_size
    return packer, prompts_together(model, batches, training.eval_batch_size, pad, run.device)


def planned_batches(run: Run) -> list[MicroBatch]:
    """The micro-batches of the first epoch, or those that a run without training scores."""
    training = run.arguments[2]
    if not training.do_train:
        labels = [run.encoder.encode_label(label) for label in run.row_sets.labels]
        return scoring_batches(run.encoded[training.score_on], labels, run.token_budget, share_prefixes=True)
    rows = run.encoded["train"]
    steps = plan_steps(rows, training.batch_size, training.rows_per_dialogue, training.seed, epoch=0)
    cuts = training.gradient_accumulation_steps * run.world.size
    return [
        batch
        for step in steps
        for batch in training_batches([rows[index] for index in step], run.token_budget, True, cuts)
    ]


def load_best(run: Run):
    """The best model as it lies on disk: what is scored is what a user will load.

    Raises:
        UserError: it is gone, as after a resumption with another `--model_dir`.
    """
    folder = run.arguments[2].model_dir
    if is_adapter(folder):
        quantize = run.arguments[0].quantize
        base = load_model(run.whole_checkpoint or run.base, run.dtype, run.device, quantize)
        return load_adapter(base, folder, trainable=False)
    if not (Path(folder) / "config.json").exists():
        raise UserError(f"--model_dir {folder} holds no model: it must be the folder that the run began with")
    return load_model(folder, run.dtype, run.device)


def adapt(model, arguments: ModelArguments, base: str, speaks: bool):
    """The model with new adapters, which alone are trainable; base: as it was loaded.

    speaks: whether this process says on stderr where they sit, and who decided that.

    Raises:
        UserError: the model has none of the modules that --lora_module_name names.
    """
    targets, says = choose_targets(model, arguments.lora_module_name, base)
    model = add_lora(
        model,
        arguments.lora_dim,
        arguments.lora_alpha,
        arguments.lora_dropout,
        targets,
        arguments.rslora,
        arguments.dora,
    )
    if speaks:
        where = "every linear layer but the head" if targets == ALL else targets
        print(f"{name_way(arguments)}, rank {arguments.lora_dim}, on {where}: {says}", file=sys.stderr)
    return model
