"""Corpora small enough to write down, and what loading them says."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from basics.errors import UserError
from data_utils.dialogues import load_dialogues


def one_hot(speaker: int, width: int = 9) -> list[int]:
    """A speaker as MELD and EmoryNLP write it."""
    return [int(index == speaker) for index in range(width)]


def small_corpus() -> list[Any]:
    """A corpus in EmoryNLP's layout: three dialogues, one a split, that the checks accept."""
    speakers = {"a": [0, 1, 0], "b": [0, 1], "c": [2, 0]}
    return [
        {name: [one_hot(speaker) for speaker in turns] for name, turns in speakers.items()},
        {"a": [0, 3, 6], "b": [1, 2], "c": [4, 5]},
        {"a": ["Hello.", "Go away!", "Oh."], "b": ["Oh.", "Fine."], "c": ["So?", "Hello."]},
        ["a"],
        ["b"],
        ["c"],
    ]


def corpus_of(said: Mapping[str, Sequence[str]], speaker: Any) -> list[Any]:
    """A corpus of six places in which one speaker says these texts: dialogue -> texts.

    A dialogue is called by its split, and where there are several of one by what follows a dot: train.2.
    """
    splits = [[name for name in said if name.partition(".")[0] == split] for split in ("train", "test", "valid")]
    return [
        {name: [speaker] * len(texts) for name, texts in said.items()},
        {name: [turn % 7 for turn in range(len(texts))] for name, texts in said.items()},
        {name: list(texts) for name, texts in said.items()},
        *splits,
    ]


def load_unchecked(folder: Path, dataset: str = "EmoryNLP", **options: Any) -> dict[str, Any]:
    """A corpus of any size."""
    return load_dialogues(dataset, folder, **{"check_counts": False, **options})


def refusal(folder: Path, dataset: str = "EmoryNLP", **options: Any) -> str:
    """The one line that a corpus is refused with."""
    with pytest.raises(UserError) as caught:
        load_unchecked(folder, dataset, **options)
    message = str(caught.value)
    assert "\n" not in message and f"{dataset}.pkl" in message and "allowed" in message, message
    return message


class LetterCounts:
    """An encoder that can be followed by hand: how often each letter occurs, as a unit vector."""

    identity = "letter counts"

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        counts = np.zeros((len(texts), 128), np.float32)
        for row, text in enumerate(texts):
            for letter in text.lower():
                counts[row, ord(letter) % 128] += 1
        return counts / np.maximum(np.linalg.norm(counts, axis=1, keepdims=True), 1)
