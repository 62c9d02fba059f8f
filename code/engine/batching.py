"""Rows of text -> rows of token ids -> optimizer steps -> micro-batches that fit a token budget."""

import random
import threading
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from basics.errors import UserError
from data_utils.prompts import drop_oldest_utterances, most_droppable, without_content
from data_utils.row_files import Example
from engine.chat_frame import render_frame
from engine.control_tokens import FramedText, text_tokenizer
from engine.objective import LabelLoss
from engine.prefix_tree import PrefixTree, split_at_budget

TOKEN_BUDGETS = {"cpu": 2048, "cuda": 4096}
# Eager attention keeps heads x nodes x nodes numbers of every layer for the backward pass.
EAGER_TOKEN_BUDGET = 1024


@dataclass(frozen=True)
class EncodedRow:
    """One training or scoring row as token ids.

    without_content: tokens of `prompts.without_content` of its prompt; None: not asked for.
    """

    id: str
    task: str
    prompt: tuple[int, ...]
    target: tuple[int, ...]  # the label's tokens and EOS, or what ends a turn of the chat
    weight: float  # factor of the row's loss: 1, --beta for emotion-prediction rows; times that of its class, if asked
    utterances_dropped: int  # oldest history utterances left out so that prompt and target fit
    label: str = ""  # the target in words
    without_content: tuple[int, ...] | None = None

    @property
    def dialogue(self) -> str:
        """`<dataset>/<dialogue>`, the same for all tasks."""
        return self.id.rsplit("/", 1)[0]

    @property
    def turn(self) -> int:
        return int(self.id.rsplit("/", 1)[1])


class RowEncoder:
    """Turns prompts and labels into token ids, the same way for training, scoring and generation.

    The prompt carries the tokenizer's own leading tokens (BOS, [gMASK]<sop>, ...), never a closing EOS. The
    target is encoded apart and ends with EOS. With byte-level tokenizers the label gets a leading blank, which
    SentencePiece adds by itself: so it is a word of its own to the model. Control tokens that are spelt out in an
    utterance are read as text.
    chat: the prompt is the user's turn of the tokenizer's chat template, and the label the whole answer, with that
    template's end of a turn; ValueError when the tokenizer has no template.
    """

    def __init__(
        self, tokenizer, max_length: int, task_weights: dict[str, float] | None = None, chat: bool = False
    ) -> None:
        self.lock = threading.Lock()  # whether marks in a text count is told with each call, but kept in the tokenizer
        self.tokenizer, self.text_tokenizer = tokenizer, text_tokenizer(tokenizer)
        self.frame = render_frame(tokenizer) if chat else None
        self.max_length = max_length
        self.task_weights = task_weights or {}
        marks_words_itself = bool(tokenizer.tokenize("neutral")) and tokenizer.tokenize("neutral")[0][:1] == "▁"
        self.label_prefix = "" if marks_words_itself or (self.frame and not self.frame.blank) else " "
        ends_turn = self.frame.end if self.frame else None
        self.end_id = tokenizer.convert_tokens_to_ids(ends_turn) if ends_turn else tokenizer.eos_token_id
        self.turn = FramedText(tokenizer, self.frame.before, self.frame.after) if self.frame else None

    def encode_label(self, label: str) -> tuple[int, ...]:
        """The label's token ids, then EOS or what ends a turn of the chat."""
        return (*self._encode_texts([self.label_prefix + label], add_special_tokens=False)[0], self.end_id)

    def encode_prompts(self, prompts: Sequence[str]) -> list[list[int]]:
        """Token ids of prompts, each with its leading special tokens and without a closing EOS."""
        if not prompts:
            return []  # tokenizers refuse an empty list, but a process may have no row
        if self.frame:
            with self.lock:
                return [self.turn.read(prompt) for prompt in prompts]
        encoded = self._encode_texts(prompts)
        closing = self.tokenizer.eos_token_id
        return [ids[:-1] if ids and ids[-1] == closing else ids for ids in encoded]

    def _encode_texts(self, texts: Sequence[str], **options: bool) -> list[list[int]]:
        """Token ids of texts; control tokens that are spelt out in them are read as text."""
        with self.lock:
            return self.text_tokenizer(list(texts), split_special_tokens=True, **options)["input_ids"]

    def encode(
        self, examples: Sequence[Example], choices: Iterable[str] = (), calibrate: bool = False
    ) -> list[EncodedRow]:
        """Encodes rows; a prompt that is too long loses its oldest history, never its question.

        `choices` are labels that a prompt will be scored on: room is kept for the longest, so that a prompt
        reads the same in training and in scoring. calibrate: also encode the prompt without content of each.

        Raises:
            UserError: a prompt without any history and its target do not fit into `max_length` tokens.
        """
        choices = tuple(choices)
        targets = {label: self.encode_label(label) for label in {*choices, *(row.target for row in examples)}}
        longest_choice = max((len(targets[label]) for label in choices), default=0)
        rows = []
        for example, prompt in zip(examples, self.encode_prompts([row.input for row in examples]), strict=True):
            target = targets[example.target]
            room = self.max_length - max(len(target), longest_choice)
            fitted, dropped = self._fit(example, prompt, room)
            weight = self.task_weights.get(example.task, 1.0)
            rows.append(EncodedRow(example.id, example.task, tuple(fitted), target, weight, dropped, example.target))
        return self._with_bare_prompts(rows, examples, choices) if calibrate else rows

    def _with_bare_prompts(
        self, rows: Sequence[EncodedRow], examples: Sequence[Example], choices: Sequence[str]
    ) -> list[EncodedRow]:
        """The rows with `without_content`; equal ones are encoded once."""
        texts = [without_content(example.input, choices) for example in examples]
        distinct = {text: replace(example, input=text) for example, text in zip(examples, texts, strict=True)}
        encoded = zip(distinct, self.encode(list(distinct.values()), choices), strict=True)
        tokens = {text: row.prompt for text, row in encoded}
        return [replace(row, without_content=tokens[text]) for row, text in zip(rows, texts, strict=True)]

    def _fit(self, example: Example, prompt: list[int], room: int) -> tuple[list[int], int]:
        """(the longest prompt that fits, how many utterances it lost), by bisection, as tokenizing takes long."""
        if len(prompt) <= room:
            return prompt, 0
        most = most_droppable(example.input)

        def without(dropped: int) -> list[int]:
            return self.encode_prompts([drop_oldest_utterances(example.input, dropped)])[0]

        dropped = 1 + bisect_left(range(1, most + 1), True, key=lambda count: len(without(count)) <= room)
        if dropped > most:
            needed = len(without(most)) - room + self.max_length
            raise UserError(
                f"row {example.id} ({example.task}): prompt and target need {needed} tokens without any "
                f"history; --max_length is {self.max_length}"
            )
        return without(dropped), dropped


def plan_steps(
    rows: Sequence[EncodedRow], batch_size: int, rows_per_dialogue: int, seed: int, epoch: int
) -> list[list[int]]:
    """The optimizer steps of one epoch: lists of row indices, `batch_size` each (the last may be shorter).

    Runs of `rows_per_dialogue` consecutive rows of a dialogue stay together, so that they share their
    prefix; the runs are shuffled. 1 gives fully random batches. Where a dialogue is cut is drawn anew every
    epoch. The plan is a function of the arguments alone.
    """
    generator = random.Random(f"{seed}/{epoch}")
    runs = []
    for dialogue in group_by_dialogue(rows):
        first = generator.randrange(rows_per_dialogue) if len(dialogue) > rows_per_dialogue else 0
        cuts = [0, *range(first, len(dialogue), rows_per_dialogue), len(dialogue)]
        runs += [dialogue[start:stop] for start, stop in zip(cuts, cuts[1:], strict=False) if stop > start]
    generator.shuffle(runs)
    shuffled = [index for run in runs for index in run]
    return [shuffled[start : start + batch_size] for start in range(0, len(shuffled), batch_size)]


def group_by_dialogue(rows: Sequence[EncodedRow]) -> list[list[int]]:
    """Row indices of each dialogue, by turn; tasks of one turn stand side by side."""
    dialogues: dict[str, list[int]] = {}
    for index, row in enumerate(rows):
        dialogues.setdefault(row.dialogue, []).append(index)
    return [sorted(indices, key=lambda index: rows[index].turn) for indices in dialogues.values()]


@dataclass(frozen=True)
class MicroBatch:
    """Rows that run through the model in one forward pass."""

    rows: tuple[EncodedRow, ...]
    continuations: tuple[tuple[tuple[int, ...], ...], ...]  # per row: its target, or every label
    weights: tuple[float, ...]  # per row: its share of the step's loss; 0 for rows that only pad
    wanted: tuple[tuple[float, ...], ...] = ()  # per row: see `LabelLoss.wanted`; empty without LabelLoss

    def tree(self) -> PrefixTree:
        return PrefixTree.from_rows([row.prompt for row in self.rows], self.continuations)

    def lengths(self) -> list[int]:
        """Tokens of each row with each continuation, without the last one, which is only predicted."""
        every = zip(self.rows, self.continuations, strict=True)
        return [len(row.prompt) + len(choice) - 1 for row, choices in every for choice in choices]

    def tokens(self, shares_prefixes: bool = True) -> int:
        """How many tokens the model computes: nodes of the prefix tree, or those of all rows, padding included."""
        return len(self.tree()) if shares_prefixes else sum(self.lengths()) + self.padding()

    def padding(self) -> int:
        """How many padding tokens there are in padded rows."""
        lengths = self.lengths()
        return max(lengths) * len(lengths) - sum(lengths)


def training_batches(
    rows: Sequence[EncodedRow],
    token_budget: int,
    share_prefixes: bool,
    micro_steps: int = 1,
    rows_of_step: int | None = None,
    label_loss: LabelLoss | None = None,
) -> list[MicroBatch]:
    """Splits one optimizer step into micro-batches of about `token_budget` tokens, `micro_steps` of them or more.

    Fewer where there are fewer rows than `micro_steps`. rows_of_step: number of rows of the step, where `rows` are only
    the part of one process; None: these are all.

    Row weights are `row.weight / rows of the step`, so that the losses of all micro-batches add up to the step's
    loss: the mean over its rows. label_loss: every row is continued by all labels of its task; None: by its target.
    """
    rows_of_step = rows_of_step or len(rows)
    choices = [label_loss.continuations(row.task) if label_loss else (row.target,) for row in rows]
    wanted = [label_loss.wanted(row.task, row.label) for row in rows] if label_loss else []
    bounds = [len(rows) * part // micro_steps for part in range(micro_steps + 1)]
    groups = []
    for first, stop in zip(bounds, bounds[1:], strict=False):
        plan = split_rows(rows[first:stop], choices[first:stop], token_budget, share_prefixes)
        groups += [[first + index for index in group] for group in plan]
    return [
        MicroBatch(
            tuple(rows[index] for index in group),
            tuple(choices[index] for index in group),
            tuple(rows[index].weight / rows_of_step for index in group),
            tuple(wanted[index] for index in group) if wanted else (),
        )
        for group in groups
    ]


def scoring_batches(
    rows: Sequence[EncodedRow], labels: Sequence[tuple[int, ...]], token_budget: int, share_prefixes: bool
) -> list[MicroBatch]:
    """Micro-batches in which every prompt is continued by every label; dialogues stay together up to the budget."""
    choices = tuple(labels)
    batches = []
    for group in _neighbours(rows, choices, token_budget, share_prefixes):
        members = tuple(rows[index] for index in group)
        batches.append(MicroBatch(members, (choices,) * len(members), (1.0,) * len(members)))
    return batches


def _neighbours(rows, choices, token_budget: int, share_prefixes: bool) -> list[list[int]]:
    """Row indices of each batch: whole dialogues are gathered up to about 32 rows, then split at the budget."""
    pending: list[int] = []
    groups: list[list[int]] = []
    for dialogue in [*group_by_dialogue(rows), []]:
        if pending and (len(pending) >= 32 or not dialogue):
            members = [rows[index] for index in pending]
            plan = split_rows(members, [choices] * len(members), token_budget, share_prefixes)
            groups += [[pending[place] for place in group] for group in plan]
            pending = []
        pending += dialogue
    return groups


def split_rows(
    rows: Sequence[EncodedRow],
    continuations: Sequence[Sequence[tuple[int, ...]]],
    token_budget: int,
    share_prefixes: bool,
) -> list[list[int]]:
    """Row indices of each micro-batch: by tree nodes when prefixes are shared, else by padded tokens."""
    if share_prefixes:
        return split_at_budget([row.prompt for row in rows], continuations, token_budget)
    groups: list[list[int]] = []
    for index in sorted(range(len(rows)), key=lambda index: len(rows[index].prompt)):
        padded = len(rows[index].prompt) + max(map(len, continuations[index]))
        if groups and (len(groups[-1]) + 1) * padded * len(continuations[index]) <= token_budget:
            groups[-1].append(index)
        else:
            groups.append([index])
    return groups


def without_weight(batch: MicroBatch) -> MicroBatch:
    """The rows with weight 0: run by a process that has none left, while others need its part of the weights."""
    return replace(batch, weights=(0.0,) * len(batch.rows))
