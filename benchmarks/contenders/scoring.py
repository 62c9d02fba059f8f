"""The table of scoring contenders: ways to get a label for every row of valid from one and the same model."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from bases.adapters import add_lora, load_adapter
from bases.load import load_model, load_tokenizer
from benchmarks.contenders.definition import LORA_ALPHA, LORA_RANK, Contender, Outcome, Setting, Stopwatch
from benchmarks.contenders.engine_loop import train_once
from benchmarks.workload import SEED
from data_utils.row_files import Example
from engine.batching import TOKEN_BUDGETS, EncodedRow, MicroBatch, RowEncoder
from engine.packing import Packer, packer_for, sequence_log_probabilities
from scoring.label_scoring import DecodeSettings, evaluating, predict_labels

GENERATE = "benchmarks.contenders.scoring:build_generate"
ONE_LABEL = "benchmarks.contenders.scoring:build_one_label"
ENGINE = "benchmarks.contenders.scoring:build_engine"
ADAPTER = "benchmarks.contenders.scoring:build_adapter"

CONTENDERS = (
    Contender("generate_bf16", "generate, batches of 8", "bf16", "", GENERATE, {"size": 8}),
    Contender("generate_merged_bf16", "generate, adapter merged", "bf16", "", GENERATE, {"size": 8, "merge": True}),
    Contender("one_label_bf16", "one label at a time, batches of 8", "bf16", "", ONE_LABEL, {"size": 8}),
    Contender("engine_bf16", "this engine", "bf16", "", ENGINE),
)
OURS = "engine_bf16"
RIVALS = {
    "generate in batches of 8": ("generate_bf16",),
    "generate, the adapter merged into the base": ("generate_merged_bf16",),
    "one label at a time": ("one_label_bf16",),
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
    model = _load(setting)
    if setting.options.get("merge"):
        model = model.merge_and_unload()
    packer = Packer("rows", 0)
    return _predicting(model, setting, DecodeSettings(packer, "generate", eval_batch_size=setting.options["size"]))


def build_engine(setting: Setting) -> Repetition:
    """All labels of all prompts of a dialogue in one forward pass."""
    model = _load(setting)
    packer = packer_for(model, "tree", model.config.pad_token_id or 0)
    return _predicting(model, setting, DecodeSettings(packer, "score", TOKEN_BUDGETS[setting.torch_device.type]))


def _predicting(model, setting: Setting, decode: DecodeSettings) -> Repetition:
    examples, labels, encoder = _task(setting)

    def run(rows: int) -> ScoringOutcome:
        with Stopwatch(setting.torch_device) as watch:
            predictions = predict_labels(model, encoder, encoder.encode(examples[:rows], labels), labels, decode)
        return ScoringOutcome(watch.seconds, tuple(prediction.label for prediction in predictions))

    return run


def build_one_label(setting: Setting) -> Repetition:
    """Every prompt with every label as a sequence of its own, sorted by length. options: size (of a batch)."""
    model = _load(setting)
    examples, labels, encoder = _task(setting)
    size = setting.options["size"]
    packer = Packer("rows", model.config.pad_token_id or 0)

    def run(rows: int) -> ScoringOutcome:
        with Stopwatch(setting.torch_device) as watch:
            encoded = encoder.encode(examples[:rows], labels)
            choices = [encoder.encode_label(label) for label in labels]
            pairs = [(row, choice) for row in range(rows) for choice in range(len(labels))]
            pairs.sort(key=lambda pair: len(encoded[pair[0]].prompt) + len(choices[pair[1]]))
            scores = [[0.0] * len(labels) for _ in range(rows)]
            for start in range(0, len(pairs), size):
                chosen = pairs[start : start + size]
                batch = _batch([(encoded[row], choices[choice]) for row, choice in chosen])
                for (row, choice), score in zip(chosen, _score(model, packer, batch), strict=True):
                    scores[row][choice] = score
        best = [max(range(len(labels)), key=row.__getitem__) for row in scores]
        return ScoringOutcome(watch.seconds, tuple(labels[index] for index in best))

    return run


def _batch(members: Sequence[tuple[EncodedRow, tuple[int, ...]]]) -> MicroBatch:
    rows, choices = zip(*members, strict=True)
    return MicroBatch(rows, tuple((choice,) for choice in choices), (1.0,) * len(rows))


def _score(model, packer: Packer, batch: MicroBatch) -> list[float]:
    with evaluating(model), torch.inference_mode():
        packed = packer.pack(batch).to(next(model.parameters()).device)
        return sequence_log_probabilities(model, packed).tolist()


def _load(setting: Setting):
    """The base with the adapter that was trained for the benchmark."""
    model = load_model(setting.base, setting.dtype, setting.torch_device)
    return load_adapter(model, setting.options["adapter"], trainable=False)


def _task(setting: Setting) -> tuple[Sequence[Example], Sequence[str], RowEncoder]:
    options: Mapping[str, Any] = setting.options
    encoder = RowEncoder(load_tokenizer(setting.base), options["max_length"])
    return options["examples"], options["labels"], encoder
