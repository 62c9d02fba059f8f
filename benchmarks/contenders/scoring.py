"""The table of scoring contenders: ways to get a label for every row of valid from one and the same model."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from bases.adapters import add_lora, load_adapter
from bases.load import load_model, load_tokenizer
from benchmarks.contenders.definition import (
    LORA_ALPHA,
    LORA_RANK,
    NATIVE,
    Contender,
    Outcome,
    Setting,
    Stopwatch,
    settle,
)
from benchmarks.contenders.engine_loop import train_once
from benchmarks.workload import SEED
from data_utils.row_files import Example
from engine.batching import TOKEN_BUDGETS, RowEncoder
from engine.layers import compile_layers
from engine.packing import Packer, packer_for
from scoring.label_scoring import DecodeSettings, predict_labels

GENERATE = "benchmarks.contenders.scoring:build_generate"
ENGINE = "benchmarks.contenders.scoring:build_engine"
ADAPTER = "benchmarks.contenders.scoring:build_adapter"
ONE_PASS = "benchmarks.contenders.scoring_rivals:build_one_pass"
HARNESS = "benchmarks.contenders.scoring_rivals:build_harness"

EIGHT, MERGED, COMPILED = {"size": 8}, {"merge": True}, {"compile": True}
TABLE = (
    Contender("generate", "generate, batches of 8", NATIVE, "", GENERATE, EIGHT),
    Contender("generate_merged", "generate, adapter merged", NATIVE, "", GENERATE, EIGHT | MERGED),
    Contender("one_pass", "label logits, batches of 8", NATIVE, "", ONE_PASS, EIGHT),
    Contender("one_pass_merged", "label logits, adapter merged", NATIVE, "", ONE_PASS, EIGHT | MERGED | COMPILED),
    Contender("harness", "lm-evaluation-harness, adapter merged", NATIVE, "", HARNESS, EIGHT | MERGED),
    Contender("engine_compiled", "this engine in a run that compiles", NATIVE, "", ENGINE, COMPILED),
    Contender("engine", "this engine", NATIVE, "", ENGINE),
)
TWIN = "engine_compiled"  # differs from another in being compiled alone


def scoring_contenders(native: str, compiles: bool = True) -> tuple[Contender, ...]:
    """The contenders of a processor whose precision this is; titles tell which are compiled."""
    table = (contender for contender in TABLE if compiles or contender.name != TWIN)
    return tuple(_titled(contender, compiles) for contender in settle(table, native))


def _titled(contender: Contender, compiles: bool) -> Contender:
    if not contender.options.get("compile") or contender.name.startswith(TWIN):
        return contender
    title = f"{contender.title}, compiled" if compiles else contender.title
    return replace(contender, title=title, options={**contender.options, "compile": compiles})


def rivals(native: str) -> dict[str, tuple[str, ...]]:
    """What the engine's speed is divided by: a name -> the contenders of which the fastest counts."""
    return {
        "the best `generate` in batches of 8": (f"generate_{native}", f"generate_merged_{native}"),
        "the best of one padded pass a row that reads the labels' logits": (
            f"one_pass_{native}",
            f"one_pass_merged_{native}",
        ),
        "lm-evaluation-harness with its cache": (f"harness_{native}",),
    }


ADAPTER_LEARNING_RATE = 1e-3


@dataclass(frozen=True)
class ScoringOutcome:
    """One repetition. labels: row by row, None for an answer without a label."""

    seconds: float
    labels: tuple[str | None, ...]


Repetition = Callable[[int], ScoringOutcome]  # told how many rows to score, from the first


def build_adapter(setting: Setting) -> Callable[[], Outcome]:
    """A short training run on all of the workload, so that the model answers with labels, as a trained one does.

    options: folder, which the adapter is saved to.
    """
    model = load_model(setting.base, setting.dtype, setting.torch_device)
    torch.manual_seed(SEED)
    model = add_lora(model, LORA_RANK, LORA_ALPHA, 0.0, "all")

    def run() -> Outcome:
        packer = packer_for(model, "tree", model.config.pad_token_id or 0)
        outcome = train_once(model, packer, setting.workload, ADAPTER_LEARNING_RATE)
        model.save_pretrained(setting.options["folder"])
        return outcome

    return run


def build_generate(setting: Setting) -> Repetition:
    """Greedy decoding with a key-value cache. options: size (prompts of a batch), merge (the adapter)."""
    model = load_scored(setting)
    packer = Packer("rows", 0)
    return _predicting(model, setting, DecodeSettings(packer, "generate", eval_batch_size=setting.options["size"]))


def build_engine(setting: Setting) -> Repetition:
    """All labels of all prompts of a dialogue in one forward pass. options: compile, as long training runs do."""
    model, compiled = load_scored(setting), setting.options.get("compile", False)
    packer = packer_for(model, "tree", model.config.pad_token_id or 0, compiled)
    if compiled:
        compile_layers(model)
    return _predicting(model, setting, DecodeSettings(packer, "score", TOKEN_BUDGETS[setting.torch_device.type]))


def _predicting(model, setting: Setting, decode: DecodeSettings) -> Repetition:
    examples, labels, encoder = task_of(setting)

    def run(rows: int) -> ScoringOutcome:
        with Stopwatch(setting.torch_device) as watch:
            predictions = predict_labels(model, encoder, encoder.encode(examples[:rows], labels), labels, decode)
        return ScoringOutcome(watch.seconds, tuple(prediction.label for prediction in predictions))

    return run


def load_scored(setting: Setting):
    """The base with the adapter that was trained for the benchmark. options: merge (it into the base)."""
    model = load_model(setting.base, setting.dtype, setting.torch_device)
    model = load_adapter(model, setting.options["adapter"], trainable=False)
    return model.merge_and_unload() if setting.options.get("merge") else model


def task_of(setting: Setting) -> tuple[Sequence[Example], Sequence[str], RowEncoder]:
    options: Mapping[str, Any] = setting.options
    encoder = RowEncoder(load_tokenizer(setting.base), options["max_length"])
    return options["examples"], options["labels"], encoder
