"""The flags of main_new.py: three dataclasses, one field a flag. Errors are told in three rounds: values
that cannot be read, then flags that contradict each other or name missing files, then flags without effect.

A flag that is a setting of the scripts too has its meaning, values and default in knobs.table.
Standard library only: the scripts check their settings with it before anything is installed.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any

from bases.table import NO_QUANTIZATION
from basics.argument_parsing import LineParser
from basics.errors import UserError, raise_together
from data_utils.labels import ROW_SETS, UNIFIED
from knobs.checks import holds_model
from knobs.environment import is_read
from knobs.flags import reading_of
from knobs.kinds import COUNT, TEXT, WHOLE, YES_NO, Kind, dataset_of
from knobs.knob import NOTHING
from knobs.readers import ALL_PARAMETERS, LABELS, LORA, MAIN
from knobs.table import KNOBS

_LENGTHS = ", ".join(f"{name} {one.max_length}" for name, one in ROW_SETS.items())
NO_AVERAGE = "DeepSpeed keeps no average of weights: leave it out"
RANK = Kind("give the number of a process", r"-?[0-9]{1,6}", int)


def flag(default: Any, help: str, kind: Kind = TEXT) -> Any:
    """A dataclass field with its help line and the kind of its values; `MISSING` makes the flag required."""
    return field(default=default, metadata={"help": help, "kind": kind})


def knob(name: str) -> Any:
    """A dataclass field for a flag that is a setting of the scripts, as knobs.table has it."""
    row = KNOBS[name]
    return flag(row.kind.value(row.default), row.told.replace("`", ""), row.kind)


@dataclass(frozen=True)
class ModelArguments:
    """The base and how it is made trainable."""

    model_name_or_path: str = flag(MISSING, "base: a folder, a name in LLM_bases, or a hub id")
    checkpoint_dir: str = knob("checkpoint_dir")
    lora: bool = flag(True, "True: LoRA adapters; False: all parameters", YES_NO)
    lora_dim: int = knob("lora_dim")
    lora_alpha: int = knob("lora_alpha")
    lora_dropout: float = knob("lora_dropout")
    lora_module_name: str = knob("lora_module_name")
    rslora: bool = knob("rslora")
    dora: bool = knob("dora")
    quantize: str = knob("quantize")
    precision: str = knob("precision")
    gradient_checkpointing: bool = knob("gradient_checkpointing")


@dataclass(frozen=True)
class DataArguments:
    """Which rows are read, and how they become tokens."""

    dataset: str = flag(MISSING, "dataset", dataset_of(*ROW_SETS))
    data_dir: str = flag(MISSING, "folder of rows that data_process.py wrote; several joined by commas")
    chat_template: bool = knob("chat_template")
    max_length: int = flag(0, f"{KNOBS['max_length'].meaning}; 0: the dataset's own ({_LENGTHS})", WHOLE)


@dataclass(frozen=True)
class TrainingArguments:
    """What is done with the rows, and where the results go."""

    output_dir: str = flag(MISSING, "folder of results.json, predictions, logs and figures")
    model_dir: str = flag(MISSING, "folder of the best adapter or model")
    do_train: bool = flag(True, "fine-tune on train", YES_NO)
    do_eval: bool = flag(True, "score test, or --score_on, once, by the best epoch", YES_NO)
    zero_shot: bool = flag(False, "score the base as it is, without training", YES_NO)
    num_train_epochs: int = knob("num_train_epochs")
    batch_size: int = flag(32, "rows of one optimizer step, over all processes and micro-steps", COUNT)
    gradient_accumulation_steps: int = flag(1, "least number of micro-steps that a step is cut into", COUNT)
    learning_rate: float = knob("learning_rate")
    warmup_ratio: float = knob("warmup_ratio")
    weight_decay: float = knob("weight_decay")
    clip_norm: float = knob("clip_norm")
    loss: str = knob("loss")
    label_smoothing: float = knob("label_smoothing")
    class_weights: float = knob("class_weights")
    average_weights: float = knob("average_weights")
    score_every: int = knob("score_every")
    patience: int = knob("patience")
    beta: float = knob("beta")
    seed: int = knob("seed")
    save_steps: int = knob("save_steps")
    resume: bool = knob("resume")
    report_to: str = knob("report_to")
    select_on: str = knob("select_on")
    stop_on_copying: bool = knob("stop_on_copying")
    score_on: str = knob("score_on")
    decode: str = knob("decode")
    calibrate: bool = knob("calibrate")
    eval_batch_size: int = knob("eval_batch_size")
    num_beams: int = knob("num_beams")
    max_new_tokens: int = knob("max_new_tokens")
    repair_answers: bool = knob("repair_answers")
    packing: str = knob("packing")
    rows_per_dialogue: int = knob("rows_per_dialogue")
    token_budget: int = knob("token_budget")
    compile_layers: str = knob("compile_layers")
    tree_attention: str = knob("tree_attention")
    cuda_graphs: str = knob("cuda_graphs")
    deepspeed_config: str = knob("deepspeed_config")
    offload_optimizer: bool = knob("offload_optimizer")
    processes: int = flag(1, "processes that share this machine's CPU; on GPUs `deepspeed` starts them", COUNT)
    local_rank: int = flag(-1, "set by the DeepSpeed launcher", RANK)


Arguments = tuple[ModelArguments, DataArguments, TrainingArguments]
Said = frozenset[str]  # names of the flags that the command line gives, rather than leaves at their default
GROUPS = (ModelArguments, DataArguments, TrainingArguments)


def build_parser(description: str) -> LineParser:
    """A parser with one flag per field; boolean flags take the words True and False."""
    parser = LineParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    for group in GROUPS:
        for item in fields(group):
            required = item.default is MISSING
            parser.add_argument(
                f"--{item.name}",
                required=required,
                default=None if required else item.default,
                help=item.metadata["help"] + ("" if required else f" (default: {item.default})"),
                **reading_of(item.metadata["kind"]),
            )
    return parser


def parse_arguments(description: str, command: list[str] | None = None) -> tuple[Arguments, Said]:
    """Reads and checks a command line (None: this process's) -> (arguments, names of the flags that it gives).

    Raises:
        UserError: some flags are not allowed, all of them in one line; or else some have no effect.
    """
    words = sys.argv[1:] if command is None else command
    parsed = _read(description, words)
    said = _said(words)
    raise_together([*find_contradictions(*parsed), *find_missing_files(*parsed)] or _find_unread(parsed, said))
    return parsed, said


def find_unusable(command: Sequence[str], look: bool = False, unread: bool = False) -> list[str]:
    """The faults that `parse_arguments` would find in a command, one line each.

    look: after reading, only look for files that are missing; False: for every other fault, and not at the disk.
    unread: also find flags without effect.
    """
    try:
        parsed = _read("", list(command))
    except UserError as error:
        return [str(error)]
    if look:
        return find_missing_files(*parsed)
    return find_contradictions(*parsed) or (_find_unread(parsed, _said(command)) if unread else [])


def _said(command: Sequence[str]) -> Said:
    return frozenset(word[2:].partition("=")[0] for word in command if word.startswith("--"))


def _read(description: str, command: list[str]) -> Arguments:
    if any(word.partition("=")[0] == "--data_percent" for word in command):
        raise UserError(
            "--data_percent: rows are drawn where they are written, so that demonstrations and texts seen are of the "
            "same train: give it to data_process.py, or set data_percent before the script"
        )
    values = vars(build_parser(description).parse_args(command))
    return tuple(group(**{item.name: values[item.name] for item in fields(group)}) for group in GROUPS)


def values_of(arguments: Arguments) -> dict[str, Any]:
    """Flag -> its value."""
    return {name: value for group in arguments for name, value in vars(group).items()}


def _find_unread(arguments: Arguments, said: Said) -> list[str]:
    """One line per flag that was given a value other than its default, and would have no effect in this run."""
    values = values_of(arguments)
    unread = why_unread(values)
    said_otherwise = (name for name in sorted(said & unread.keys()) if values[name] != _default_of(name))
    return [f"--{name} {values[name]}: {unread[name]}" for name in said_otherwise]


def why_unread(values: Mapping[str, Any]) -> dict[str, str]:
    """Flag that has no effect in a run, whatever its value -> why. values: flag -> value; others have their default.

    Flags that only training reads do not count where nothing is trained: a training's command may score again.
    """
    setting = LORA if values["lora"] or not values["do_train"] else ALL_PARAMETERS
    asked = {name: str(knob.default) for name, knob in KNOBS.items()}
    asked |= {name: str(value) for name, value in values.items()}
    # Whether there are rows of the prediction task, for `beta`, or demonstrations is looked at in rows/refusals.py.
    asked |= {"emotion_prediction": "True", "domain_base": "True", "Experiments_setting": setting}
    unread = {}
    for row in KNOBS.values():
        of_main = [reader for reader in row.readers if reader.program == MAIN]
        readers = [reader for reader in of_main if setting in reader.settings]
        if of_main and not any(is_read(one, one.rows[0], asked) for one in readers):
            under = f"only --{readers[0].under.replace('=', ' ')} reads it" if readers else ""
            unread[row.name] = under or "--lora False leaves it unread"
    return unread


def _default_of(name: str) -> Any:
    return KNOBS[name].kind.value(KNOBS[name].default)


def find_contradictions(model: ModelArguments, data: DataArguments, training: TrainingArguments) -> list[str]:
    """One line per flag whose value contradicts that of another flag."""
    start = model.checkpoint_dir
    checks = (
        (not (training.zero_shot and training.do_train), "--zero_shot True trains nothing: add --do_train False"),
        (not training.zero_shot or start == NOTHING, "--zero_shot True scores the base: leave --checkpoint_dir none"),
        (
            not training.average_weights or (training.deepspeed_config == NOTHING and not training.offload_optimizer),
            f"--average_weights {training.average_weights}: {NO_AVERAGE}",
        ),
        (
            training.loss == LABELS or not training.label_smoothing,
            f"--label_smoothing {training.label_smoothing}: is spread over labels: needs --loss {LABELS}",
        ),
        (training.decode != "generate" or not training.calibrate, "--calibrate True: needs --decode score"),
        (
            training.decode != "transitions" or data.dataset != UNIFIED.name,
            "--decode transitions: labels of several datasets follow each other in several ways; use --decode score",
        ),
        (
            training.decode != "transitions" or training.do_train or start != NOTHING,
            "--decode transitions: is fitted in training; without it name a --checkpoint_dir that was trained so",
        ),
        (
            model.lora or not training.do_train or model.quantize == NO_QUANTIZATION,
            f"--quantize {model.quantize}: weights in 4 bits cannot be trained: add --lora True",
        ),
        (
            model.quantize == NO_QUANTIZATION or training.compile_layers != "True",
            f"--compile_layers True: layers in 4 bits (--quantize {model.quantize}) are not compiled: leave it out",
        ),
        (training.do_train or training.do_eval, "--do_train False --do_eval False: nothing to do"),
        (
            training.processes == 1 or not (training.deepspeed_config != NOTHING or training.offload_optimizer),
            f"--processes {training.processes}: DeepSpeed's are started by its launcher, with --num_accelerators",
        ),
    )
    return [problem for fine, problem in checks if not fine]


def find_missing_files(model: ModelArguments, data: DataArguments, training: TrainingArguments) -> list[str]:
    """One line per flag that names a file or folder that is not there."""
    start, config = model.checkpoint_dir, training.deepspeed_config
    checks = (
        (start == NOTHING or holds_model(start), f"--checkpoint_dir {start}: no adapter or model there; or none"),
        (config == NOTHING or Path(config).is_file(), f"--deepspeed_config {config}: no such file, or none"),
    )
    return [problem for fine, problem in checks if not fine]


def name_way(arguments: ModelArguments) -> str:
    """How a model is trained, as tables and figures name it: 'all parameters', 'LoRA', 'QLoRA', 'rsDoRA', ..."""
    if not arguments.lora:
        return "all parameters"
    prefix = "Q" if arguments.quantize != NO_QUANTIZATION else "rs" if arguments.rslora else ""
    return prefix + ("DoRA" if arguments.dora else "LoRA")
