"""A sentence encoder for tests, without weights."""

from collections.abc import Sequence

import numpy as np


class LetterCounts:
    """An encoder that can be followed by hand: how often each letter occurs, as a unit vector."""

    identity = "letter counts"

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        counts = np.zeros((len(texts), 128), np.float32)
        for row, text in enumerate(texts):
            for letter in text.lower():
                counts[row, ord(letter) % 128] += 1
        return counts / np.maximum(np.linalg.norm(counts, axis=1, keepdims=True), 1)
