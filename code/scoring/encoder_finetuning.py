"""A sentence encoder fine-tuned with a linear head: an utterance after the turns before it -> its label.

The encoder reads [CLS] history [SEP] utterance [SEP]; every turn begins with a number for its speaker, 0 for that of
the utterance, the others by how recently they spoke. The head reads the mean of the utterance's own vectors.
"""

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from bases.encoder import resolve_encoder
from bases.load import NO_FOREIGN_CODE, choose_device, choose_precision
from basics.errors import UserError
from basics.scripts import progress_bar
from basics.stopping import StopHeld
from scoring.baseline_table import FineTuning
from scoring.contenders import Candidate, Grid, Task

if TYPE_CHECKING:
    from tqdm import tqdm

SPECIAL_TOKENS = 3  # [CLS] and two [SEP]
POOL = 16  # number of batches whose rows are sorted by length together
SECONDS_BETWEEN_STATES = 300
STATEFUL = ("model", "optimizer", "schedule")  # of a training, what its state holds


@dataclass(frozen=True)
class Row:
    """An input. tokens: ids, special ones included; those of the utterance are tokens[start:end]."""

    tokens: tuple[int, ...]
    start: int
    end: int


def load_encoder(name: str) -> tuple[Any, Any]:
    """The encoder as transformers loads it, in fp32, and its tokenizer.

    Raises:
        UserError: there is no such encoder, or it cannot be loaded, or its tokenizer has no [CLS] and [SEP].
    """
    from transformers import AutoModel, AutoTokenizer

    source = resolve_encoder(name)
    try:
        tokenizer = AutoTokenizer.from_pretrained(source, **NO_FOREIGN_CODE)
        model = AutoModel.from_pretrained(source, dtype=torch.float32, **NO_FOREIGN_CODE)
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"encoder {source} cannot be loaded: {' '.join(str(error).split())[:200]}") from None
    if tokenizer.cls_token_id is None or tokenizer.sep_token_id is None:
        raise UserError(f"encoder {name}: its tokenizer has no [CLS] and [SEP], allowed are encoders as BERT and MPNet")
    return model, tokenizer


def make_rows(task: Task, split: str, tokenizer: Any, max_length: int) -> list[Row]:
    """One input for every labelled utterance of a split, in order."""
    texts, places = task.texts(split)
    tokens = tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"]
    names: dict[int, list[int]] = {}

    def turn(place: int, number: int) -> list[int]:
        if number not in names:
            names[number] = tokenizer(f"{number}:", add_special_tokens=False)["input_ids"]
        return [*names[number], *tokens[place]]

    rows = []
    for place, (utterance, shown) in zip(places, task.turns(split), strict=True):
        numbers = {utterance.speaker: 0}
        for one in reversed(shown):
            numbers.setdefault(one.speaker, len(numbers))
        own = turn(place, 0)[: max_length - SPECIAL_TOKENS]
        before = [turn(place - len(shown) + at, numbers[one.speaker]) for at, one in enumerate(shown)]
        room = max_length - len(own) - SPECIAL_TOKENS
        history = [token for one in before for token in one][-room:] if room else []
        head = [tokenizer.cls_token_id, *history, tokenizer.sep_token_id]
        rows.append(Row((*head, *own, tokenizer.sep_token_id), len(head), len(head) + len(own)))
    return rows


class Classifier(nn.Module):
    """Encoder and head: rows -> (rows, labels) logits."""

    def __init__(self, encoder: nn.Module, labels: int, pad: int) -> None:
        super().__init__()
        self.encoder, self.pad = encoder, pad
        self.head = nn.Linear(encoder.config.hidden_size, labels)

    def forward(self, rows: Sequence[Row]) -> torch.Tensor:
        """(rows, labels) float32 logits."""
        device = self.head.weight.device
        longest = max(len(row.tokens) for row in rows)
        tokens = torch.full((len(rows), longest), self.pad)
        own = torch.zeros(len(rows), longest)
        for number, row in enumerate(rows):
            tokens[number, : len(row.tokens)] = torch.tensor(row.tokens)
            own[number, row.start : row.end] = 1 / (row.end - row.start)
        lengths = torch.tensor([len(row.tokens) for row in rows])
        mask = (torch.arange(longest) < lengths[:, None]).long()
        states = self.encoder(input_ids=tokens.to(device), attention_mask=mask.to(device)).last_hidden_state
        return self.head((states.float() * own.to(device)[:, :, None]).sum(dim=1))


def shuffled_batches(rows: Sequence[Row], size: int, draw: np.random.Generator) -> list[list[int]]:
    """Every row once, in batches of rows of like length, in random order."""
    order = draw.permutation(len(rows))
    pools = [order[start : start + POOL * size] for start in range(0, len(order), POOL * size)]
    ordered = [sorted(pool.tolist(), key=lambda place: len(rows[place].tokens)) for pool in pools]
    batches = [pool[start : start + size] for pool in ordered for start in range(0, len(pool), size)]
    draw.shuffle(batches)
    return batches


@dataclass(frozen=True)
class KeptState:
    """Where the state of a training is kept, in the ways of training.checkpoints, a floor above.

    load: fingerprint -> the state, None: there is none; UserError where it is of another training. reading: inside,
    whatever a damaged state raises is a UserError.
    """

    save: Callable[[dict[str, Any]], None]
    load: Callable[[dict[str, Any]], dict[str, Any] | None]
    reading: Callable[[], AbstractContextManager[None]]
    discard: Callable[[], None]


class EpochScores:
    """log p of one epoch's model: split -> (utterances, labels), each computed once, and kept with the training."""

    def __init__(self, compute: Callable[[str], np.ndarray], known: Mapping[str, torch.Tensor]) -> None:
        self._compute, self.known = compute, dict(known)

    def __call__(self, split: str) -> np.ndarray:
        if split not in self.known:
            self.known[split] = torch.from_numpy(self._compute(split))
        return self.known[split].numpy()


class Training:
    """A classifier in training, that goes on where it was stopped, to the same bytes.

    rows: split -> its inputs. numbers: of train, (rows,) positions of the gold labels. epochs: how many. kept: where
    its state is, every few minutes; None: nowhere. scores: of the epochs that have ended. seconds_before: that it has
    taken before it went on.
    """

    def __init__(self, task: Task, settings: FineTuning, epochs: int, kept: KeptState | None) -> None:
        torch.manual_seed(settings.seed)
        self.settings, self.kept, self.epochs = settings, kept, epochs
        self.draw = np.random.default_rng(settings.seed)
        encoder, tokenizer = load_encoder(settings.encoder)
        positions = getattr(encoder.config, "max_position_embeddings", settings.max_length)
        self.length = min(settings.max_length, positions - 2)  # RoBERTa and MPNet count from 2
        self.rows = {split: make_rows(task, split, tokenizer, self.length) for split in task.dialogues}
        self.numbers = task.numbers["train"]
        self.device = choose_device()
        self.model = Classifier(encoder, len(task.labels), tokenizer.pad_token_id or 0).to(self.device)
        self.steps_per_epoch = -(-len(self.rows["train"]) // settings.batch_size)
        self.optimizer, self.schedule = _optimizer(self.model, settings, self.steps_per_epoch * epochs)
        self.step, self.seconds_before, self.scores = 0, 0.0, list[EpochScores]()
        self.epoch_begins = self.draw.bit_generator.state  # before its batches are drawn
        self.began = self.saved_at = time.monotonic()

    def run(self) -> Iterator[EpochScores]:
        """Yields the log p of each epoch's model when it has ended; ask them before the next one is made.

        Raises:
            Stopped: by a signal; where its state is kept, the last step is saved.
        """
        with progress_bar(self.steps_per_epoch * self.epochs, "fine-tune the encoder", "step", self.step) as bar:
            for epoch in range(self.epochs):
                if self.step < (epoch + 1) * self.steps_per_epoch:
                    self._run_epoch(bar)
                if epoch == len(self.scores):
                    self.scores.append(EpochScores(self._log_p, {}))
                yield self.scores[epoch]
        if self.kept:
            self.kept.discard()

    def _run_epoch(self, bar: "tqdm") -> None:
        self.model.train()
        self.draw.bit_generator.state = self.epoch_begins
        batches = shuffled_batches(self.rows["train"], self.settings.batch_size, self.draw)
        with StopHeld("stops after this step, and saves it") if self.kept else nullcontext() as stop:
            for batch in batches[self.step % self.steps_per_epoch :]:
                self._run_step(batch)
                bar.update()
                if stop and (stop.number or time.monotonic() - self.saved_at > SECONDS_BETWEEN_STATES):
                    self._save()
                    stop.raise_noted()
        self.epoch_begins = self.draw.bit_generator.state

    def _run_step(self, batch: Sequence[int]) -> None:
        gold = torch.tensor(self.numbers[batch], device=self.device)
        with _computing(self.device):
            logits = self.model([self.rows["train"][place] for place in batch])
            loss = nn.functional.cross_entropy(logits.float(), gold)
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.schedule.step()
        self.optimizer.zero_grad()
        self.step += 1

    def _log_p(self, split: str) -> np.ndarray:
        return _log_p(self.model, self.rows[split], self.settings.batch_size)

    def fingerprint(self) -> dict[str, Any]:
        """What a state must have been made of, so that this training may go on with it."""
        read = hashlib.sha256(repr((self.rows, self.numbers.tolist())).encode()).hexdigest()
        return asdict(self.settings) | {"max_length": self.length, "epochs": self.epochs, "rows": read}

    def _save(self) -> None:
        state = {name: getattr(self, name).state_dict() for name in STATEFUL}
        draw = self.epoch_begins if self.step % self.steps_per_epoch else self.draw.bit_generator.state
        random = [torch.get_rng_state(), *torch.cuda.get_rng_state_all()]
        state |= {"step": self.step, "draw": draw, "random": random, "scores": [one.known for one in self.scores]}
        self.saved_at = time.monotonic()
        state |= {"seconds": self.seconds_before + self.saved_at - self.began, "fingerprint": self.fingerprint()}
        self.kept.save(state)

    def restore(self) -> None:
        """Goes on from the state that is kept, if there is one.

        Raises:
            UserError: it is damaged, or of another training.
        """
        state = self.kept.load(self.fingerprint())
        if state is None:
            return
        with self.kept.reading():
            for name in STATEFUL:
                getattr(self, name).load_state_dict(state[name])
            self.step, self.epoch_begins, self.seconds_before = state["step"], state["draw"], state["seconds"]
            self.scores = [EpochScores(self._log_p, known) for known in state["scores"]]
            torch.set_rng_state(state["random"][0])
            torch.cuda.set_rng_state_all(state["random"][1:])


def finetuned_encoder(
    task: Task, grid: Grid, settings: FineTuning, kept: KeptState | None = None, resume: bool = False
) -> Iterator[Candidate]:
    """A candidate after each epoch of one training, for each of `epochs` in the grid.

    kept: where its state is while it trains; None: nowhere. resume: go on with the one that is there.

    Raises:
        UserError: see `load_encoder`, `Training.restore`.
    """
    training = Training(task, settings, len(grid["epochs"]), kept)
    if resume:
        training.restore()
    common = {"history_turns": task.window, "max_length": training.length}
    for epoch, scores in zip(grid["epochs"], training.run(), strict=True):
        yield Candidate({**common, "epochs": epoch}, scores, training.seconds_before)


def _optimizer(model: Classifier, settings: FineTuning, steps: int):
    """AdamW, and a rate that rises over the first steps and falls to 0."""
    groups = [
        {"params": model.encoder.parameters(), "lr": settings.learning_rate},
        {"params": model.head.parameters(), "lr": settings.head_rate},
    ]
    optimizer = torch.optim.AdamW(groups, weight_decay=0.01, fused=True)
    warm = max(1, round(settings.warmup * steps))
    rate = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / warm, (steps - step) / max(1, steps - warm))
    )
    return optimizer, rate


def _computing(device: torch.device):
    """Inside, matrix products are computed in bf16, where the device has it."""
    dtype = choose_precision("auto", device)
    return torch.autocast(device.type, dtype=dtype, enabled=dtype != torch.float32)


def _log_p(model: Classifier, rows: Sequence[Row], size: int) -> np.ndarray:
    """(rows, labels) float64 log p."""
    model.eval()
    order = sorted(range(len(rows)), key=lambda place: len(rows[place].tokens))
    found: dict[int, list[float]] = {}
    for start in range(0, len(order), size):
        chosen = order[start : start + size]
        with torch.inference_mode(), _computing(next(model.parameters()).device):
            scores = model([rows[place] for place in chosen]).double().log_softmax(-1).cpu()
        found |= dict(zip(chosen, scores.tolist(), strict=True))
    return np.array([found[place] for place in range(len(rows))])
