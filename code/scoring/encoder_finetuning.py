"""A sentence encoder fine-tuned with a linear head: an utterance after the turns before it -> its label.

The encoder reads [CLS] history [SEP] utterance [SEP]; every turn begins with a number for its speaker, 0 for that of
the utterance, the others by how recently they spoke. The head reads the mean of the utterance's own vectors.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from bases.encoder import resolve_encoder
from bases.load import NO_FOREIGN_CODE, choose_device, choose_precision
from basics.errors import UserError
from basics.scripts import progress_bar
from scoring.baseline_table import FineTuning
from scoring.contenders import Candidate, Grid, Task

SPECIAL_TOKENS = 3  # [CLS] and two [SEP]
POOL = 16  # number of batches whose rows are sorted by length together


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


def finetuned_encoder(task: Task, grid: Grid, settings: FineTuning) -> Iterator[Candidate]:
    """A candidate after each epoch of one training, for each of `epochs` in the grid.

    Raises:
        UserError: see `load_encoder`.
    """
    torch.manual_seed(settings.seed)
    draw = np.random.default_rng(settings.seed)
    encoder, tokenizer = load_encoder(settings.encoder)
    device = choose_device()
    positions = getattr(encoder.config, "max_position_embeddings", settings.max_length)
    length = min(settings.max_length, positions - 2)  # RoBERTa and MPNet count from 2
    rows = {split: make_rows(task, split, tokenizer, length) for split in task.dialogues}
    model = Classifier(encoder, len(task.labels), tokenizer.pad_token_id or 0).to(device)
    steps = -(-len(rows["train"]) // settings.batch_size) * len(grid["epochs"])
    optimizer, schedule = _optimizer(model, settings, steps)
    kept = {"history_turns": task.window, "max_length": length}
    with progress_bar(steps, "fine-tune the encoder", "step") as bar:
        for epoch in grid["epochs"]:
            model.train()
            for batch in shuffled_batches(rows["train"], settings.batch_size, draw):
                gold = torch.tensor(task.numbers["train"][batch], device=device)
                with _computing(device):
                    loss = nn.functional.cross_entropy(model([rows["train"][place] for place in batch]).float(), gold)
                loss.backward()
                nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
                schedule.step()
                optimizer.zero_grad()
                bar.update()
            yield Candidate({**kept, "epochs": epoch}, lambda split: _log_p(model, rows[split], settings.batch_size))


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
