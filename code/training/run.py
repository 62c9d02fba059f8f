"""What the stages of main_new.py share (`Run`), the model that training starts from, and the best one at its end."""

import gc
import sys
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from bases.adapters import ALL, add_lora, choose_targets, count_trainable, load_adapter, refuse_other_layers
from bases.find import check_precision, find_row, identify_base, public_name
from bases.load import (
    choose_device,
    choose_precision,
    load_model,
    positions_of,
    refuse_larger_than_card,
    refuse_unscaled_fp16,
)
from bases.quantization import check_quantization
from bases.table import NO_QUANTIZATION
from basics.errors import UserError
from basics.files import find_repository
from data_utils.labels import WEIGHTED_F1
from data_utils.row_sets import RowSets
from engine.attention import tree_kernel
from engine.batching import (
    EncodedRow,
    MicroBatch,
    RowEncoder,
    plan_steps,
    scoring_batches,
)
from engine.dealing import step_batches
from engine.distributed import World
from engine.layers import compile_layers, should_compile
from engine.objective import LabelLoss
from engine.packing import Packer, usual_token_budget
from knobs.table import KNOBS
from scoring.label_scoring import DecodeSettings
from scoring.metrics import Prediction
from scoring.self_check import packer_that_agrees, prompts_together
from scoring.transitions import TransitionFilter
from training.arguments import NOTHING, Arguments, ModelArguments, name_way, values_of
from training.checkpoints import FREE_ON_RESUME, is_adapter
from training.decoding import TRANSITIONS, filter_at_start
from training.deepspeed_engine import deepspeed_config, shards_weights, wants_deepspeed
from training.engines import seed_draws
from training.erc_config import (
    erc_config_of,
    find_erc_config,
    identify_checkpoint,
    longest,
    refuse_other_base,
    refuse_other_frame,
    sits_on_other_weights,
    warn_of_other_rows,
)
from training.fast_passes import fastest_packer
from training.provenance import find_commit
from training.rows.encoding import (
    encode_other_tasks,
    encode_splits,
    label_loss_of,
    make_encoder,
    refuse_labels_alike,
)
from training.rows.refusals import refuse_unfit_rows
from training.rows.trained_texts import find_trained_texts
from training.trackers import check_trackers


def is_as_before(name: str, value: Any) -> bool:
    """Whether a flag was added `later` (see `Knob`) and has its default: runs from before it can then be resumed."""
    knob = KNOBS.get(name)
    return knob is not None and knob.later and value == knob.kind.value(knob.default)


@dataclass
class Run:
    """Everything that the stages of a run share."""

    arguments: Arguments
    base: str
    row_sets: RowSets
    encoder: RowEncoder
    device: torch.device
    dtype: torch.dtype
    world: World = World()
    deepspeed: dict[str, Any] | None = None  # its configuration; None: plain PyTorch
    packer: Packer | None = None  # chosen once a model is there to check it on, as are the two that follow
    token_budget: int = 0  # of one forward pass
    eval_batch_size: int = 1  # prompts that `generate` answers together
    parameters: int = 0  # of the model with its adapters
    trainable_parameters: int = 0
    encoded: dict[str, list[EncodedRow]] = field(default_factory=dict)  # rows of the splits that the run uses
    also_encoded: dict[str, list[EncodedRow]] = field(default_factory=dict)  # rows of `score_on` of each other task
    whole_checkpoint: str | None = None  # `--checkpoint_dir` that holds a whole model and takes the base's place
    commit: str | None = None  # of this program, when the process began
    selected_by: list[Prediction] = field(default_factory=list)  # on `select_on`, if this process had the best epoch
    trained_texts: frozenset[str] | None = frozenset()  # digests, see `find_trained_texts`; None: not known
    transitions: TransitionFilter | None = None  # decodes the final answers; fitted once the best epoch is known

    @property
    def metric(self) -> str:
        return self.row_sets.metric

    @property
    def weights(self) -> str:
        """The folder of the weights that training starts from or adapters sit on: the base, or a whole checkpoint."""
        return self.whole_checkpoint or self.base

    @property
    def decode(self) -> DecodeSettings:
        training = self.arguments[2]
        return DecodeSettings(
            decode="score" if training.decode == TRANSITIONS else training.decode,
            packer=self.packer,
            token_budget=self.token_budget,
            eval_batch_size=self.eval_batch_size,
            num_beams=training.num_beams,
            max_new_tokens=training.max_new_tokens,
            repair_answers=training.repair_answers,
            calibrate=training.calibrate,
            world=self.world,
        )

    @cached_property
    def label_loss(self) -> LabelLoss | None:
        """The loss of `--loss labels`; None without it."""
        return label_loss_of(self.encoder, self.row_sets, self.arguments[2])

    def fingerprint(self) -> dict[str, Any]:
        """Name -> value of all that decides the result of training; a run is resumed only with an equal fingerprint."""
        values = values_of(self.arguments).items()
        kept = {name: value for name, value in values if name not in FREE_ON_RESUME and not is_as_before(name, value)}
        start, frame = self.arguments[0].checkpoint_dir, self.encoder.frame
        metrics = {name: spec.metric for name, spec in self.row_sets.own.items()}  # which corpus.yaml may change
        own = {name: metric for name, metric in metrics.items() if metric != WEIGHTED_F1}
        kept |= {"metrics": own} if own else {}
        return kept | {
            "base": identify_base(self.base),
            "start": None if start == NOTHING else identify_checkpoint(start),
            "rows": dict(self.row_sets.digests),
            "dtype": str(self.dtype),
            "chat frame": frame and frame.sha256,
        }


def prepare_run(arguments: Arguments, base: str, row_sets: RowSets, world: World) -> Run:
    """Chooses device, precision and engine; loads the tokenizer, and encodes the rows. base: its folder.

    Raises:
        UserError: a split that is to be scored has no rows; a flag asks for something that is not possible here; to the
            base a prompt is too long, or two labels are the same; the checkpoint to start from does not go with it.
    """
    model_arguments, data_arguments, training_arguments = arguments
    refuse_unfit_rows(arguments, row_sets)
    device = choose_device()
    check_precision(base, model_arguments.precision)
    dtype = choose_precision(model_arguments.precision, device)
    shares_gpus = world.size > 1 and device.type == "cuda"
    asks = shares_gpus or wants_deepspeed(training_arguments)
    deepspeed = deepspeed_config(training_arguments, dtype) if asks else None
    refuse_unscaled_fp16(dtype, scaled=bool(deepspeed) or not training_arguments.do_train)
    start = model_arguments.checkpoint_dir
    check_trackers(training_arguments.report_to if training_arguments.do_train and world.is_first else NOTHING)
    check_quantization(model_arguments.quantize, shards_weights(deepspeed), start if is_adapter(start) else "")
    encoder = make_encoder(base, longest(data_arguments), training_arguments.beta, data_arguments.chat_template)
    refuse_labels_alike(encoder, row_sets, base)
    compare_with_start(arguments, base, row_sets, encoder, speaks=world.is_first)
    run = Run(
        arguments=arguments,
        base=base,
        row_sets=row_sets,
        encoder=encoder,
        device=device,
        dtype=dtype,
        world=world,
        encoded=encode_splits(encoder, row_sets, arguments),
        also_encoded=encode_other_tasks(encoder, row_sets, training_arguments),
        whole_checkpoint=None if start == NOTHING or is_adapter(start) else start,
        deepspeed=deepspeed,
        commit=find_commit(find_repository()),
        trained_texts=find_trained_texts(arguments, base, row_sets),
        transitions=filter_at_start(arguments, row_sets),
    )
    refuse_longer_prompts(run)
    return run


def compare_with_start(arguments: Arguments, base: str, row_sets: RowSets, encoder: RowEncoder, speaks: bool) -> None:
    """UserError when the checkpoint to start from had another chat frame; a warning when it scores other rows.

    speaks: whether this process prints the warning.
    """
    start, training = arguments[0].checkpoint_dir, arguments[2]
    trained = find_erc_config(start)
    refuse_other_frame(start, trained, encoder.frame)
    if trained and not training.do_train and speaks:
        warn_of_other_rows(start, trained, erc_config_of(arguments, base, row_sets))


def refuse_longer_prompts(run: Run) -> None:
    """UserError when a prompt and its longest answer have more tokens than the base has positions."""
    encoder, training = run.encoder, run.arguments[2]
    others = run.row_sets.also_scored[training.score_on].values()
    labels = {*run.row_sets.labels, *(label for _, named in others for label in named)}
    longest_label = max(len(encoder.encode_label(label)) for label in labels)
    follow = max(longest_label, training.max_new_tokens + 1 if training.decode == "generate" else 0)
    every = [row for rows in (*run.encoded.values(), *run.also_encoded.values()) for row in rows]
    # The last token of an answer is only predicted, and needs no position.
    most = max((len(row.prompt) + max(len(row.target), follow) - 1 for row in every), default=0)
    positions = positions_of(run.base)
    if positions and most > positions:
        raise UserError(
            f"--max_length {encoder.max_length}: prompts and labels have up to {most} tokens, and base {run.base} "
            f"reads {positions}: give --max_length {positions + 1 - follow + longest_label}"
        )


def build_model(run: Run):
    """The base, or the checkpoint to start from, with those parameters trainable that the flags name.

    Sets the fields of `run` that need a model: packer, token_budget, eval_batch_size, numbers of parameters.

    Raises:
        UserError: the checkpoint is of another base, or an adapter on other layers than the flags name; or the model
            does not fit the GPU, or has no embedding of a token.
    """
    arguments, _, training = run.arguments
    start = arguments.checkpoint_dir
    adapted = is_adapter(start)
    if start != NOTHING:
        refuse_other_base(start, public_name(run.base))
    if adapted and sits_on_other_weights(find_erc_config(start), run.base):
        told = f"--checkpoint_dir {start} was trained over other weights of {public_name(run.base)}"
        raise UserError(f"{told} than those in {run.base}: name the folder that it was trained on")
    refuse_larger_than_card(run.weights, run.dtype, arguments.quantize, run.device)
    model = load_model(run.weights, run.dtype, run.device, arguments.quantize)
    seed_draws(training.seed)
    if adapted:
        refuse_other_layers(model, start, arguments.lora_module_name, run.base)
        model = load_adapter(model, start, trainable=training.do_train)
    elif arguments.lora and training.do_train:
        model = adapt(model, arguments, run.base, speaks=run.world.is_first)
    if arguments.gradient_checkpointing:
        enable_gradient_checkpointing(model)
    run.token_budget = training.token_budget or usual_token_budget(model, run.device)
    rows = len(run.row_sets.train) * training.num_train_epochs if training.do_train else 0
    compilable = not shards_weights(run.deepspeed) and arguments.quantize == NO_QUANTIZATION
    compiles = compilable and should_compile(training.compile_layers, rows, run.device)
    run.packer, run.eval_batch_size = run.world.from_first(lambda: _check(run, model, compiles))
    if compiles and (training.compile_layers == "True" or not run.packer.replays):
        compile_layers(model)
    trainable, run.parameters = count_trainable(model)
    if training.do_train:
        run.trainable_parameters = trainable
        if run.world.is_first:
            print(f"{trainable:,} of {run.parameters:,} parameters are trained", file=sys.stderr)
    return model


def refuse_unknown_tokens(model, run: Run) -> None:
    """UserError when rows hold a token that the base has no embedding of, as one that was added to the tokenizer."""
    rows = [row for of_split in (*run.encoded.values(), *run.also_encoded.values()) for row in of_split]
    last = max((max(*row.prompt, *row.target) for row in rows), default=0)
    known = model.get_input_embeddings().weight.shape[0]
    if last >= known:
        token = run.encoder.tokenizer.convert_ids_to_tokens(last)
        told = f"its tokenizer has {token!r} as token {last}, and the model {known:,} embeddings, numbered from 0"
        raise UserError(f"base {run.base}: {told}: resize them to the tokenizer, and save it again")


def enable_gradient_checkpointing(model) -> None:
    """Has layers computed again in the backward pass, so that less is kept; UserError where the architecture cannot."""
    try:
        model.activation_checkpointing_enable()
    except ValueError as error:
        raise UserError(f"--gradient_checkpointing True: {str(error).rstrip('.')}: leave it out") from None


def _check(run: Run, model, compiles: bool) -> tuple[Packer, int]:
    """(packer, number of prompts that `generate` answers together).

    The packer is that of `--packing`; or `rows`, where the table says that the base does not share prefixes, or where
    its scores of packed rows differ from those of single rows. It has the attention that is fastest here.

    Raises:
        UserError: the base cannot be used, or has no embedding of a token.
    """
    refuse_unknown_tokens(model, run)
    training = run.arguments[2]
    row = find_row(run.base)
    wanted = training.packing if row is None or row.shares_prefixes else "rows"
    pad = run.encoder.tokenizer.pad_token_id
    kernel = tree_kernel.is_worth(training.compile_layers, count_rows(run), run.device)
    packer = packer_that_agrees(model, lambda shares: planned_batches(run, shares), wanted, pad, run.device, kernel)
    alone = run.deepspeed is None and run.world.size == 1
    packer = fastest_packer(
        model, packer, lambda: planned_batches(run, True)[0], run.arguments, run.device, compiles, alone
    )
    if training.decode != "generate":
        return packer, training.eval_batch_size
    answered = scored_batches(run, share_prefixes=True)
    return packer, prompts_together(model, answered, training.eval_batch_size, pad, run.device)


def count_rows(run: Run) -> int:
    """How many rows the run computes, with those of train once for every epoch."""
    rows = {name: len(of) for name, of in (run.encoded | run.also_encoded).items()}
    return sum(rows.values()) + rows.get("train", 0) * (run.arguments[2].num_train_epochs - 1)


def planned_batches(run: Run, share_prefixes: bool) -> list[list[MicroBatch]]:
    """[micro-batches of the first epoch, micro-batches that score labels], as far as the run has them."""
    training = run.arguments[2]
    trained = [trained_batches(run, share_prefixes)] if training.do_train else []
    answers = training.decode == "generate" and training.do_train  # generation has no micro-batches
    return trained if answers else [*trained, scored_batches(run, share_prefixes)]


def trained_batches(run: Run, share_prefixes: bool) -> list[MicroBatch]:
    """The training micro-batches of the first epoch, of all processes."""
    training, rows = run.arguments[2], run.encoded["train"]
    steps = plan_steps(rows, training.batch_size, training.rows_per_dialogue, training.seed, epoch=0)
    cuts, processes = training.gradient_accumulation_steps, run.world.size
    label_loss = run.label_loss
    return [
        batch
        for step in steps
        for share in step_batches(
            [rows[i] for i in step], run.token_budget, share_prefixes, cuts, processes, label_loss
        )
        for batch in share
    ]


def scored_batches(run: Run, share_prefixes: bool) -> list[MicroBatch]:
    """The micro-batches that score labels: of the splits that are scored, and of their other tasks."""
    sets, also = run.row_sets, run.row_sets.also_scored[run.arguments[2].score_on]
    scored = [(rows, sets.labels) for split, rows in run.encoded.items() if split != "train"]
    scored += [(rows, also[task][1]) for task, rows in run.also_encoded.items()]
    batches: list[MicroBatch] = []
    for rows, labels in scored:
        choices = [run.encoder.encode_label(label) for label in labels]
        batches += scoring_batches(rows, choices, run.token_budget, share_prefixes)
    return batches


def load_best(run: Run):
    """Loads the best model from `model_dir`: what is scored is then what a user will load.

    The caller must have dropped the trained model. Its memory is freed first: compiled layers and DeepSpeed's engine
    are reference cycles, for which a GPU's allocator does not wait. With ZeRO-3, and ZeRO-1 in bf16, DeepSpeed still
    keeps this process's part of the weights.

    Raises:
        UserError: there is no model, as after resuming with another `--model_dir`.
    """
    folder = run.arguments[2].model_dir
    gc.collect()
    if run.device.type == "cuda":
        torch.cuda.empty_cache()
    if is_adapter(folder):
        quantize = run.arguments[0].quantize
        base = load_model(run.weights, run.dtype, run.device, quantize)
        return load_adapter(base, folder, trainable=False)
    if not (Path(folder) / "config.json").exists():
        raise UserError(f"--model_dir {folder} holds no model: it must be the folder that the run began with")
    return load_model(folder, run.dtype, run.device)


def adapt(model, arguments: ModelArguments, base: str, speaks: bool):
    """The model with new LoRA adapters, which alone are trainable. base: folder of the base.

    speaks: whether this process prints on stderr which layers have adapters, and why these.

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
