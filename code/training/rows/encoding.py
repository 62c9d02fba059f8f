"""The rows of a run as token ids, their weights, and the loss of `--loss labels`."""

import sys
from dataclasses import replace

from bases.load import load_tokenizer
from basics.errors import UserError
from basics.words import counted
from data_utils.row_files import PREDICTION, SPEAKER
from data_utils.row_sets import RowSets
from engine.batching import EncodedRow, RowEncoder
from engine.objective import LabelLoss, class_factors
from knobs.readers import LABELS
from training.arguments import Arguments, TrainingArguments
from training.decoding import uses_transitions


def make_encoder(base: str, max_length: int, beta: float, chat: bool) -> RowEncoder:
    """The encoder of rows with the base's tokenizer; UserError for --chat_template True where it has no template.

    max_length: tokens of prompt and target. beta: weight of rows of the prediction task. chat: in a chat template.
    """
    try:
        return RowEncoder(load_tokenizer(base), max_length, {PREDICTION: beta}, chat)
    except ValueError as error:
        raise UserError(f"--chat_template True with base {base}: {error}; choose an instruction-tuned base") from None


def refuse_labels_alike(encoder: RowEncoder, row_sets: RowSets, base: str) -> None:
    """UserError when two labels of a task are the same tokens: of their equal scores the first would always win."""
    for task in sorted({row.task for row in (*row_sets.train, *row_sets.scored["test"])}):
        first: dict[tuple[int, ...], str] = {}
        for label in row_sets.choices[task]:
            if (other := first.setdefault(encoder.encode_label(label), label)) != label:
                told = f"its tokenizer makes the same tokens of the labels {other!r} and {label!r}"
                raise UserError(f"base {base}: {told}: choose another base, or other labels")


def encode_splits(encoder: RowEncoder, row_sets: RowSets, arguments: Arguments) -> dict[str, list[EncodedRow]]:
    """Split -> encoded rows of the task that is scored, train: of all tasks; for each split that the run will use.

    All are encoded at the start, so that a row that does not fit is found before training.
    """
    training, labels = arguments[2], row_sets.labels
    names = {training.select_on} if training.do_train else set()
    names |= {training.score_on} if training.do_eval else set()
    names |= {"valid"} if training.do_train and uses_transitions(arguments, row_sets) else set()
    train = encoder.encode(row_sets.train, labels) if training.do_train else []
    encoded = {"train": weigh_classes(train, training.class_weights)} if training.do_train else {}
    return encoded | {name: encoder.encode(row_sets.scored[name], labels, training.calibrate) for name in sorted(names)}


def encode_other_tasks(
    encoder: RowEncoder, row_sets: RowSets, training: TrainingArguments
) -> dict[str, list[EncodedRow]]:
    """Task beside the scored one -> its encoded rows of `--score_on`; at the start too, as in `encode_splits`."""
    others = row_sets.also_scored[training.score_on] if training.do_eval else {}
    return {task: encoder.encode(rows, labels, training.calibrate) for task, (rows, labels) in others.items()}


def weigh_classes(rows: list[EncodedRow], power: float) -> list[EncodedRow]:
    """The rows with their weights times those of their emotions, see `class_factors`; power 0: unchanged.

    Rows of the speaker task neither count nor change.
    """
    labels = [row.label for row in rows if row.task != SPEAKER]
    if not power or not labels:
        return rows
    factors = class_factors(labels, power)
    return [row if row.task == SPEAKER else replace(row, weight=row.weight * factors[row.label]) for row in rows]


def label_loss_of(encoder: RowEncoder, row_sets: RowSets, training: TrainingArguments) -> LabelLoss | None:
    """The loss of `--loss labels`; None where each row is trained on its target alone."""
    if training.loss != LABELS or not training.do_train:
        return None
    choices = {
        task: {label: encoder.encode_label(label) for label in labels} for task, labels in row_sets.choices.items()
    }
    return LabelLoss(choices, training.label_smoothing)


def count_shortened(encoded: dict[str, list[EncodedRow]]) -> dict[str, dict[str, int]]:
    """Split -> {"prompts": how many were too long, "utterances": how many of their oldest ones were dropped}."""
    dropped = {name: [row.utterances_dropped for row in rows] for name, rows in encoded.items()}
    return {name: {"prompts": sum(map(bool, lost)), "utterances": sum(lost)} for name, lost in dropped.items()}


def report_shortened(encoded: dict[str, list[EncodedRow]]) -> None:
    """Prints on stderr, for every split that has any, how many prompts were too long."""
    for name, lost in count_shortened(encoded).items():
        if lost["prompts"]:
            prompts, utterances = counted(lost["prompts"], "prompt"), counted(lost["utterances"], "utterance")
            told = f"too long: {prompts}; left out of them: {utterances}, the oldest"
            print(f"{name}: {told}", file=sys.stderr)


def warn_of_cut_labels(encoder: RowEncoder, row_sets: RowSets, training: TrainingArguments) -> None:
    """A warning on stderr where `--decode generate` ends answers before the longest label of the scored task does."""
    if training.decode != "generate":
        return
    lengths = {label: len(encoder.encode_label(label)) - 1 for label in row_sets.labels}  # without what ends an answer
    label = max(lengths, key=lengths.__getitem__)
    if lengths[label] > training.max_new_tokens:
        told = f"no answer can hold the label {label!r}, which has {lengths[label]} tokens"
        print(f"warning: --max_new_tokens {training.max_new_tokens}: {told}", file=sys.stderr)
