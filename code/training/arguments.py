"""The flags of main_new.py: three dataclasses, one field a flag; every problem is reported at once."""

import argparse
import math
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any

from bases.find import AUTO
from bases.table import NO_QUANTIZATION, QUANTIZATIONS
from basics.argument_parsing import LineParser, true_or_false
from basics.errors import raise_together
from data_utils.labels import ROW_SETS

NOTHING = "none"
MODEL_FILES = ("adapter_config.json", "config.json")
# The least value that a number may have.
AT_LEAST = {
    "lora_dim": 1,
    "lora_alpha": 1,
    "num_train_epochs": 1,
    "batch_size": 1,
    "gradient_accumulation_steps": 1,
    "eval_batch_size": 1,
    "num_beams": 1,
    "max_new_tokens": 1,
    "rows_per_dialogue": 1,
    "max_length": 0,
    "save_steps": 0,
    "token_budget": 0,
    "clip_norm": 0,
    "weight_decay": 0,
    "beta": 0,
}


def flag(default: Any, help: str, choices: tuple[str, ...] | None = None) -> Any:
    """A dataclass field with its help line; `MISSING` makes the flag required."""
    return field(default=default, metadata={"help": help, "choices": choices})


@dataclass(frozen=True)
class ModelArguments:
    """The base and how it is made trainable."""

    model_name_or_path: str = flag(MISSING, "base: a folder, a name in LLM_bases, or a hub id")
    checkpoint_dir: str = flag(NOTHING, "adapter or model folder to start from, or none")
    lora: bool = flag(True, "True: LoRA adapters; False: all parameters")
    lora_dim: int = flag(16, "rank of the adapters")
    lora_alpha: int = flag(16, "scale of the adapters times their rank")
    lora_dropout: float = flag(0.05, "dropout before the adapters, 0 to 1")
    lora_module_name: str = flag(
        AUTO, "comma list of modules that get an adapter; all: every linear layer; auto: the base's own"
    )
    rslora: bool = flag(False, "scale adapters by alpha / sqrt(rank) in place of alpha / rank")
    dora: bool = flag(False, "also train the magnitude of each adapted output (DoRA)")
    quantize: str = flag(NO_QUANTIZATION, "nf4: the base in 4 bits under the adapters (QLoRA)", QUANTIZATIONS)
    precision: str = flag("auto", "auto: bf16 where the device has it", ("auto", "bf16", "fp32", "fp16"))
    gradient_checkpointing: bool = flag(False, "trade a second forward pass for memory")


@dataclass(frozen=True)
class DataArguments:
    """Which rows are read, and how they become tokens."""

    dataset: str = flag(MISSING, "dataset", tuple(ROW_SETS))
    data_dir: str = flag(MISSING, "folder of rows that data_process.py wrote; several joined by commas")
    data_percent: float = flag(1.0, "share of the training utterances that is drawn, above 0 up to 1")
    chat_template: bool = flag(False, "put the prompt into the base's chat template, as a user's turn")
    max_length: int = flag(0, "most tokens of prompt and target; 0: the dataset's own (1200 iemocap, 1024 others)")


@dataclass(frozen=True)
class TrainingArguments:
    """What is done with them, and where the results go."""

    output_dir: str = flag(MISSING, "folder of results.json, predictions, logs and figures")
    model_dir: str = flag(MISSING, "folder of the best adapter or model")
    do_train: bool = flag(True, "fine-tune on train")
    do_eval: bool = flag(True, "score test, or --score_on, once, by the best epoch")
    zero_shot: bool = flag(False, "score the base as it is, without training")
    num_train_epochs: int = flag(6, "passes over train")
    batch_size: int = flag(32, "rows of one optimizer step, over all processes and micro-steps")
    gradient_accumulation_steps: int = flag(1, "least number of micro-steps that a step is cut into")
    learning_rate: float = flag(2e-4, "peak learning rate; linear decay to 0")
    warmup_ratio: float = flag(0.1, "share of the steps over which the rate rises")
    weight_decay: float = flag(0.0, "AdamW weight decay")
    clip_norm: float = flag(1.0, "greatest gradient norm; 0: no clipping")
    beta: float = flag(0.1, "weight of the emotion-prediction rows in the loss (alpha in the paper)")
    seed: int = flag(42, "seed of every draw")
    save_steps: int = flag(50, "steps between two states from which a run can go on; 0: at the end of epochs only")
    resume: bool = flag(False, "go on from the last saved state in output_dir")
    select_on: str = flag("valid", "split that chooses the best epoch; test: the paper's way", ("valid", "test"))
    score_on: str = flag("test", "split of the final scores; valid: test is left alone", ("valid", "test"))
    decode: str = flag("score", "score: log p of every label; generate: greedy answer", ("score", "generate"))
    calibrate: bool = flag(False, "divide by each label's probability under a prompt without content")
    eval_batch_size: int = flag(8, "prompts that generate decodes together")
    num_beams: int = flag(1, "beams of generate; 1: greedy")
    max_new_tokens: int = flag(16, "longest answer of generate, tokens")
    repair_answers: bool = flag(False, "take an answer without a label for the label nearest by edit distance")
    packing: str = flag("tree", "tree: shared prefixes computed once; rows: padded rows", ("tree", "rows"))
    rows_per_dialogue: int = flag(8, "consecutive rows of a dialogue that stay together in a batch")
    token_budget: int = flag(0, "most tokens of one forward pass; 0: chosen for the device")
    compile_layers: str = flag("auto", "compile the model's layers; auto: where it pays", ("auto", "True", "False"))
    deepspeed_config: str = flag(NOTHING, "DeepSpeed configuration file, or none for plain PyTorch")
    offload_optimizer: bool = flag(False, "keep DeepSpeed's optimizer state in main memory")
    local_rank: int = flag(-1, "set by the DeepSpeed launcher")


Arguments = tuple[ModelArguments, DataArguments, TrainingArguments]
GROUPS = (ModelArguments, DataArguments, TrainingArguments)


def build_parser(description: str) -> LineParser:
    """A parser with one flag per field; boolean flags take the words True and False."""
    parser = LineParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    for group in GROUPS:
        for item in fields(group):
            required = item.default is MISSING
            parser.add_argument(
                f"--{item.name}",
                type=true_or_false if item.type is bool else item.type,
                choices=item.metadata["choices"],
                required=required,
                default=None if required else item.default,
                help=item.metadata["help"] + ("" if required else f" (default: {item.default})"),
            )
    return parser


def parse_arguments(description: str, command: list[str] | None = None) -> Arguments:
    """Reads and checks the command line.

    Raises:
        UserError: every flag with a value that is not allowed, in one line.
    """
    values = vars(build_parser(description).parse_args(command))
    parsed = tuple(group(**{item.name: values[item.name] for item in fields(group)}) for group in GROUPS)
    raise_together(find_problems(*parsed))
    return parsed


def holds_model(folder: str | Path) -> bool:
    """Whether a folder holds an adapter in the PEFT format, or a model in the transformers format."""
    return any((Path(folder) / name).is_file() for name in MODEL_FILES)


def find_problems(model: ModelArguments, data: DataArguments, training: TrainingArguments) -> list[str]:
    """One line per flag whose value cannot work."""
    values = {item.name: getattr(group, item.name) for group in (model, data, training) for item in fields(group)}
    checks = [(values[name] >= least, f"--{name} {values[name]}: {least} or more") for name, least in AT_LEAST.items()]
    checks += [
        (math.isfinite(value), f"--{name} {value}: a finite number")
        for name, value in values.items()
        if isinstance(value, float)
    ]
    start, config = model.checkpoint_dir, training.deepspeed_config
    checks += [
        (0 < data.data_percent <= 1, f"--data_percent {data.data_percent}: above 0, at most 1"),
        (0 <= model.lora_dropout < 1, f"--lora_dropout {model.lora_dropout}: 0 or more, below 1"),
        (0 <= training.warmup_ratio <= 1, f"--warmup_ratio {training.warmup_ratio}: 0 to 1"),
        (0 <= training.seed < 2**32, f"--seed {training.seed}: 0 to {2**32 - 1}"),
        (training.learning_rate > 0, f"--learning_rate {training.learning_rate}: above 0"),
        (not (training.zero_shot and training.do_train), "--zero_shot True trains nothing: add --do_train False"),
        (not training.zero_shot or start == NOTHING, "--zero_shot True scores the base: leave --checkpoint_dir none"),
        (training.decode == "score" or not training.calibrate, "--calibrate True: needs --decode score"),
        (
            model.lora or not training.do_train or model.quantize == NO_QUANTIZATION,
            f"--quantize {model.quantize}: weights in 4 bits cannot be trained: add --lora True",
        ),
        (training.do_train or training.do_eval, "--do_train False --do_eval False: nothing to do"),
        (start == NOTHING or holds_model(start), f"--checkpoint_dir {start}: no adapter or model there; or none"),
        (config == NOTHING or Path(config).is_file(), f"--deepspeed_config {config}: no such file, or none"),
    ]
    return [problem for fine, problem in checks if not fine]


def name_way(arguments: ModelArguments) -> str:
    """How a model is trained, as tables and figures name it."""
    if not arguments.lora:
        return "all parameters"
    prefix = "Q" if arguments.quantize != NO_QUANTIZATION else "rs" if arguments.rslora else ""
    return prefix + ("DoRA" if arguments.dora else "LoRA")
