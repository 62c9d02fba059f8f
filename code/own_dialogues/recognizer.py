"""Emotions of one's own dialogues by a saved checkpoint, from Python:

    recognizer = EmotionRecognizer.from_pretrained("demo/adapters/meld")
    for emotion, probability, _ in recognizer.predict([("Ann", "I passed!"), ("Ben", "Oh, well done!")]):
        print(emotion, probability)

A turn is judged by itself and the turns before it, never by those after it. A checkpoint that was trained with
`decode=transitions` also has a filter over labels, which carries beliefs on from turn to turn.

Threads may share a recognizer, and may load others meanwhile: they take turns. Another process that is handed one, as
by `multiprocessing`, loads it anew from the disk.
"""

import math
import reprlib
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import torch

from bases.adapters import load_adapter
from bases.load import (
    LOADING,
    as_in_training,
    choose_device,
    choose_precision,
    load_model,
    positions_of,
    refuse_larger_than_card,
)
from bases.quantization import check_quantization
from bases.table import NO_QUANTIZATION
from basics.errors import UserError
from data_utils.prompts import TEMPLATE_DIGESTS
from data_utils.retrieval import Match
from data_utils.row_files import Example
from dialogue_files.turns import LONGEST_UTTERANCE, LineError, ReadTurn, SpokenTurn, clean, number_turns
from engine.batching import EncodedRow, MicroBatch, RowEncoder, scoring_batches
from engine.packing import usual_token_budget
from engine.running_prompts import RunningPrompts
from own_dialogues.checkpoint import check_base_precision, check_weights, find_base, find_checkpoint
from own_dialogues.demonstrations import AS_TRAINED, DemonstrationSource, Demonstrator, open_demonstrator
from own_dialogues.prompts import PromptMaker, Question
from own_dialogues.writing import ShownDemonstration, TurnEmotion
from scoring.label_scoring import DecodeSettings, predict_labels
from scoring.self_check import can_go_on, packer_that_agrees
from scoring.transitions import Follower, TransitionFilter
from training.checkpoints import is_adapter
from training.decoding import find_filter
from training.erc_config import TOKENIZER_CONFIG, ErcConfig, read_erc_config, refuse_other_frame
from training.rows.encoding import make_encoder

CHUNK_TURNS = 64  # turns that are scored together, and of which nothing is written before all are
CHECKED_FOR = 2  # how many times the tokens of the largest micro-batch that was checked another one may have unchecked

Spoken = Sequence[tuple[str, str]]  # a dialogue: (name, utterance) of each turn


class Emotion(NamedTuple):
    """The most probable label of a turn. probabilities: every label's, in prompt order; they add up to 1."""

    emotion: str
    probability: float
    probabilities: dict[str, float]


class EmotionRecognizer:
    """A model with its tokenizer, asked the way it was trained. Use `from_pretrained`."""

    def __init__(
        self,
        model,
        encoder: RowEncoder,
        config: ErcConfig,
        device: torch.device,
        demonstrator: Demonstrator | None = None,
        transitions: TransitionFilter | None = None,
        loaded_from: tuple[Any, ...] | None = None,
    ) -> None:
        # Held while the model is asked: its layers are told where they are read, and a check widens its weights.
        self.lock = threading.RLock()
        self.model, self.encoder, self.config, self.demonstrator = model, encoder, config, demonstrator
        self.transitions = transitions
        self.prompts = PromptMaker(config, encoder)
        self.device = device
        self.token_budget = usual_token_budget(model, device)
        self.settings: DecodeSettings | None = None  # chosen on the first questions
        self.checked_tokens = 0  # of the largest micro-batch on which the settings were found to be right
        self.running: RunningPrompts | None = None  # what is kept of dialogues asked turn by turn
        self.checked_prompt = 0.0  # tokens of the longest prompt that was found to go on rightly; inf: none will
        self.loaded_from = loaded_from  # the arguments of `from_pretrained`

    def __reduce__(self) -> tuple[Any, ...]:
        """For pickle, and copies: by the files that it was loaded from. TypeError where it was put together here."""
        if self.loaded_from is None:
            raise TypeError("only an EmotionRecognizer of from_pretrained can be pickled")
        return type(self).from_pretrained, self.loaded_from

    @classmethod
    def from_pretrained(
        cls,
        checkpoint: str | Path | None = None,
        device: str | None = None,
        precision: str = "auto",
        demonstrations: DemonstrationSource = AS_TRAINED,
        decode: str | None = None,
    ) -> "EmotionRecognizer":
        """Load what training saved.

        checkpoint: folder of an adapter or a model; None: ERC_CHECKPOINT or one that ships (`find_checkpoint`). device:
        "cpu", "cuda", "cuda:1"; None: the GPU where there is one. precision: "auto" is that of training where
        the device has it. demonstrations: by default those of training. decode: "transitions" or "score"; None: as
        in training.

        Raises:
            UserError: something of it is not there or cannot be used; the line says what and what gets it.
        """
        folder = find_checkpoint(checkpoint)
        config = read_erc_config(folder)
        if config.template_sha256 != TEMPLATE_DIGESTS[config.prompt]:
            print(f"warning: {folder} was trained on prompts of other templates than these", file=sys.stderr)
        transitions = find_filter(folder, config.labels, decode)
        demonstrator = open_demonstrator(config, demonstrations)
        base = find_base(folder)
        check_base_precision(folder, base, precision)
        check_weights(folder, config, base)
        place, dtype = choose_place(device, precision, config.precision)
        quantize = config.quantize or NO_QUANTIZATION  # a file of version 1 does not know
        check_quantization(quantize, shards_weights=False, needed_by=str(folder))
        own_tokenizer = (folder / TOKENIZER_CONFIG).is_file()
        length = min(config.max_length, positions_of(base) or config.max_length)
        encoder = make_encoder(str(folder) if own_tokenizer else base, length, 1.0, config.chat_template)
        refuse_other_frame(folder, config, encoder.frame)
        refuse_larger_than_card(base, dtype, quantize, place)
        with LOADING:
            model = load_model(base, dtype, place, quantize)
            model = load_adapter(model, str(folder), trainable=False) if is_adapter(folder) else model
        asked = (folder.resolve(), device, precision, demonstrations, decode)
        return cls(model.eval(), encoder, config, place, demonstrator, transitions, asked)

    def predict(self, dialogue: Spoken) -> list[Emotion]:
        """The emotion of every turn of a dialogue of (name, utterance), one for each; names are compared as in files.

        Raises:
            UserError: a turn is no pair of texts; or a name or an utterance is empty or too long.
        """
        return self.predict_dialogues([dialogue])[0]

    def predict_dialogues(self, dialogues: Sequence[Spoken]) -> list[list[Emotion]]:
        """The same for several dialogues, which share forward passes."""
        found: list[list[Emotion]] = [[] for _ in dialogues]
        for rows in self.predict_turns(_numbered(dialogues)):
            for row in rows:
                found[row.turn.part].append(_emotion(row))
        return found

    def predict_live(self, turns: Iterable[tuple[str, str]]) -> Iterator[Emotion]:
        """The same for a dialogue whose turns come one by one: each is answered before the next is asked for.

        Only what is new in a turn's prompt is computed.

        Raises:
            UserError: as `predict`, once the turn that is bad has come.
        """
        for (row,) in self.predict_turns(_numbered([turns]), size=1):
            yield _emotion(row)

    def predict_turns(
        self, turns: Iterable[SpokenTurn], skip: int = 0, size: int = CHUNK_TURNS, follower: Follower | None = None
    ) -> Iterator[list[TurnEmotion]]:
        """The turns of a stream, `size` at a time, in order; no more than these and their windows are held.

        skip: turns at the beginning that are only history, because they were answered before. size: 1 for turns that
        come one by one: each is answered before the next is read, and only what is new in its prompt is computed, as
        keys and values of the last prompts are kept, in later calls too. follower: knows what was believed of the
        turns before, see `follow`.
        """
        follower = follower or self.follow()
        questions = islice(self.prompts.questions(turns), skip, None)
        while chunk := list(islice(questions, size)):
            with self.lock:
                answers = self._answer(chunk, follower, goes_on=size == 1)
            yield answers

    def follow(self, known: Iterable[TurnEmotion] = ()) -> Follower | None:
        """What carries beliefs from turn to turn, after those of earlier answers; None: it is asked without."""
        if self.transitions is None:
            return None
        follower = Follower(self.transitions)
        for row in known:
            follower.remember(row.turn.part, row.turn.number, row.probabilities)
        return follower

    def seen_prompts(self, dialogue: Spoken) -> list[str]:
        """The prompt of every turn exactly as the model reads it, special tokens and all."""
        questions = list(self.prompts.questions(_numbered([dialogue])))
        with self.lock:
            rows = self.encoder.encode([example for example, _ in self._asked(questions)], self.config.labels)
        return [self.encoder.tokenizer.decode(row.prompt, clean_up_tokenization_spaces=False) for row in rows]

    def _asked(self, questions: Sequence[Question]) -> list[tuple[Example, Sequence[Match]]]:
        matches = self.demonstrator.find(questions) if self.demonstrator else [()] * len(questions)
        return [self.prompts.example(one, found) for one, found in zip(questions, matches, strict=True)]

    def _answer(
        self, questions: Sequence[Question], follower: Follower | None, goes_on: bool = False
    ) -> list[TurnEmotion]:
        asked = self._asked(questions)
        examples = [example for example, _ in asked]
        labels = self.config.labels
        rows = self.encoder.encode(examples, labels, self.config.calibrate)
        settings = self._running_settings(rows) if goes_on else self._checked_settings(rows)
        predictions = predict_labels(self.model, self.encoder, rows, labels, settings)
        return [
            _turn_emotion(question, _shares(question.turn, prediction.scores, follower), shown)
            for question, prediction, (_, shown) in zip(questions, predictions, asked, strict=True)
        ]

    def _checked_settings(self, rows: Sequence[EncodedRow]) -> DecodeSettings:
        """How labels are read: with shared prefixes where the model agrees on the largest micro-batch of these.

        A base that agrees on small ones may not on large ones, so it is asked again when they have grown much.
        """
        labels = [self.encoder.encode_label(label) for label in self.config.labels]

        def plan(shares_prefixes: bool) -> list[list[MicroBatch]]:
            return [scoring_batches(rows, labels, self.token_budget, shares_prefixes)]

        def most_tokens(shares_prefixes: bool) -> int:
            return max(batch.tokens(shares_prefixes) for batch in plan(shares_prefixes)[0])

        known = self.settings and self.settings.packer
        if known and most_tokens(known.shares_prefixes) <= CHECKED_FOR * self.checked_tokens:
            return self.settings
        wanted, pad = known.kind if known else "tree", self.encoder.tokenizer.pad_token_id
        packer = packer_that_agrees(self.model, plan, wanted, pad, self.device)
        self.checked_tokens = most_tokens(packer.shares_prefixes)
        self.settings = DecodeSettings(packer, token_budget=self.token_budget, calibrate=self.config.calibrate)
        return self.settings

    def _running_settings(self, rows: Sequence[EncodedRow]) -> DecodeSettings:
        """The same for a turn that comes by itself: it goes on from the prompts before it, where the model can.

        That, too, is asked again when prompts have grown much.
        """
        settings, longest = self._checked_settings(rows), max(rows, key=lambda row: len(row.prompt))
        if not settings.packer.shares_prefixes:
            return settings
        if len(longest.prompt) > CHECKED_FOR * self.checked_prompt:
            choices = [self.encoder.encode_label(label) for label in self.config.labels]
            agrees = can_go_on(self.model, longest, choices, self.encoder.tokenizer.pad_token_id, self.device)
            self.running = (self.running or RunningPrompts(self.model, settings.packer)) if agrees else None
            self.checked_prompt = len(longest.prompt) if agrees else math.inf
        return replace(settings, running=self.running)


def _shares(turn: SpokenTurn, scores: Mapping[str, float], follower: Follower | None) -> dict[str, float]:
    """log p of every label -> its share among them, or what is shown of the belief after the turns before it."""
    if follower:
        return follower.follow(turn.part, turn.number, scores)
    highest = max(scores.values())
    weights = {label: math.exp(score - highest) for label, score in scores.items()}
    total = sum(weights.values())
    return {label: weight / total for label, weight in weights.items()}


def _turn_emotion(question: Question, probabilities: dict[str, float], matches) -> TurnEmotion:
    best = max(probabilities, key=probabilities.__getitem__)
    shown = tuple(ShownDemonstration(match.entry.text, match.entry.label, match.similarity) for match in matches)
    return TurnEmotion(question.turn, best, probabilities[best], probabilities, shown, question.shortened)


def _emotion(row: TurnEmotion) -> Emotion:
    return Emotion(row.emotion, row.probability, dict(row.probabilities))


def _numbered(dialogues: Iterable[Iterable[tuple[str, str]]]) -> Iterator[SpokenTurn]:
    """The turns of dialogues in memory, all of them, as they are asked for; UserError names the one that is bad."""
    part = 0

    def read() -> Iterator[ReadTurn]:
        nonlocal part
        for part, dialogue in enumerate(dialogues):  # noqa: B007 - told below, of the one that is bad
            for place, turn in enumerate(dialogue, start=1):
                yield _as_read(part, turn, place)

    try:
        yield from number_turns(read())
    except LineError as error:
        raise UserError(f"turn {error.line} of dialogue {part + 1}: {error.problem}") from None


def _as_read(part: int, turn: Iterable[str], place: int) -> ReadTurn:
    """A turn of a dialogue in memory; LineError where it is no pair of texts: of a dict, that would be its keys."""
    pair = () if isinstance(turn, str | Mapping) or not isinstance(turn, Iterable) else tuple(turn)
    if len(pair) != 2 or not all(isinstance(one, str) for one in pair):
        raise LineError(place, f"{reprlib.repr(turn)} is no turn, allowed is a pair of texts: (name, utterance)")
    speaker, text = pair
    return ReadTurn(part, None, speaker, clean(text, "utterance", LONGEST_UTTERANCE, place), place)


def choose_place(name: str | None, precision: str, trained: str | None) -> tuple[torch.device, torch.dtype]:
    """The device of that name, None: the GPU where there is one; and what a precision means there.

    trained: the precision of the checkpoint's training, which is what `auto` means where it is to be had.

    Raises:
        UserError: there is no such device, or it does not compute in that precision.
    """
    device = choose_device() if name is None else _checked_device(name)
    return device, choose_precision(as_in_training(precision, trained, device), device)


def _checked_device(name: str) -> torch.device:
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = " ".join(str(error).split())[:150]
        allowed = "allowed are cpu, and cuda or cuda:N where there is a GPU"
        raise UserError(f"device {name!r}: {reason}; {allowed}") from None
    return device
