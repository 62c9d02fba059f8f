"""Prompts that go on from kept keys and values: the numbers of each read alone, and no more tokens than are new."""

import pytest
import torch

from engine.batching import EncodedRow, RowEncoder
from engine.packing import packer_for
from engine.running_prompts import RunningPrompts
from scoring.self_check import log_p_alone
from tiny_models import (
    CPU,
    KINDS,
    LABELS,
    LAYER,
    LAYERS,
    OTHER_KINDS,
    PAD,
    VOCABULARY_SIZE,
    character_tokenizer,
    rounding,
    small_rows,
    tiny_model,
)

pytestmark = pytest.mark.numeric

CHOICES = [RowEncoder(character_tokenizer(), 1024).encode_label(label) for label in LABELS]
SUMS = (*LAYERS * LAYER, VOCABULARY_SIZE)
# What stands behind a prompt: the labels' tokens without their last, those that several begin with once.
BEHIND = len({choice[:end] for choice in CHOICES for end in range(1, len(choice))})


@pytest.fixture(autouse=True)
def without_gradients():
    with torch.inference_mode():
        yield


def running(model, **options) -> RunningPrompts:
    return RunningPrompts(model, packer_for(model, "tree", PAD), **options)


def alone(model, row: EncodedRow, prompt: tuple[int, ...] | None = None) -> torch.Tensor:
    """(labels,) log p of each behind a prompt, read by itself."""
    row = EncodedRow(row.id, row.task, prompt or row.prompt, (), 1.0, 0)
    return torch.stack([log_p_alone(model, row, choice, CPU).sum() for choice in CHOICES])


def farthest(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float(((found - expected).abs() / (1 + expected.abs())).max())


@pytest.mark.parametrize("kind", [*KINDS, *OTHER_KINDS])
def test_every_turn_has_the_numbers_of_its_prompt_alone(kind: str) -> None:
    """Windows of 40 tokens are shorter than what is kept; a history that slides is cut off at its start."""
    model = tiny_model(kind)
    for window in (12, 2):
        kept = running(model)
        for row in small_rows(window=window, count=2, turns=6):
            assert farthest(kept.log_probabilities(row.prompt, CHOICES), alone(model, row)) < rounding(*SUMS)


def test_in_half_precision_too() -> None:
    model = tiny_model("llama").to(torch.bfloat16)
    kept = running(model)
    for row in small_rows(count=1, turns=6):
        found = kept.log_probabilities(row.prompt, CHOICES)
        assert farthest(found, alone(model, row)) < rounding(*SUMS, dtype=torch.bfloat16)


def test_only_what_is_new_is_computed() -> None:
    model = tiny_model("llama")
    (row,) = small_rows(count=1, turns=1)
    prompt = row.prompt
    kept = running(model)
    for asked, new in (
        (prompt[:10], 10),
        (prompt[:14], 4),
        (prompt[:14], 1),  # the last token says what follows: it is read again
        ((*prompt[:12], 9, 9), 2),
        (prompt[:12], 1),
    ):
        before = kept.computed
        found = kept.log_probabilities(asked, CHOICES)
        assert kept.computed - before == new + BEHIND
        assert farthest(found, alone(model, row, asked)) < rounding(*SUMS)
    assert [len(one.tokens) for one in kept.kept] == [12] and kept.kept[0].cache.get_seq_length() == 12


def test_dialogues_in_turn_lose_nothing_while_there_is_room() -> None:
    model = tiny_model("llama")
    start = small_rows(count=1, turns=1)[0].prompt[:3]
    dialogues = [(*start, *[20 + number] * 12) for number in range(3)]
    row = small_rows(count=1, turns=1)[0]

    def computed(most: int, *numbers: int) -> list[int]:
        kept, found = running(model, most=most), []
        for length, number in enumerate(numbers):
            before, asked = kept.computed, dialogues[number][: 8 + length]
            assert farthest(kept.log_probabilities(asked, CHOICES), alone(model, row, asked)) < rounding(*SUMS)
            found.append(kept.computed - before - BEHIND)
        assert len(kept.kept) == min(most, len(set(numbers)))
        return found

    # Three tokens are common to all.
    assert computed(2, 0, 1, 0, 1) == [8, 6, 2, 2]
    assert computed(1, 0, 1, 0, 1) == [8, 6, 7, 8]
    assert computed(2, 0, 1, 2, 1, 0) == [8, 6, 7, 2, 9]
