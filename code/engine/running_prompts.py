"""Scores prompts one at a time, and keeps keys and values of the last ones: only new tokens of a prompt are computed.

A dialogue that is predicted turn by turn repeats most of its prompt each time. For files and in training, where all
turns are known, prefixes are shared within a micro-batch instead.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from torch import Tensor

from engine.packing import Packer, pack_rest, sequence_log_probabilities
from engine.prefix_tree import TokenRow, common_prefix_length

KEPT = 2  # prompts: that of a dialogue, and another, such as the one without content


@dataclass(frozen=True)
class KeptPrompt:
    """A prompt that has been read. cache: keys and values of its tokens in every layer, transformers' DynamicCache."""

    tokens: np.ndarray  # (tokens,) int64
    cache: Any


class RunningPrompts:
    """log p of what may follow prompts that come one at a time, each mostly the beginning of the next.

    A prompt continues the kept one with which it shares most. It replaces that one when the larger part of it is
    shared, else the oldest. packer: of a model that shares prefixes. computed: number of tokens computed so far.
    """

    def __init__(self, model, packer: Packer, most: int = KEPT) -> None:
        self.model, self.packer, self.most = model, packer, most
        self.kept: list[KeptPrompt] = []
        self.computed = 0

    def log_probabilities(self, prompt: TokenRow, continuations: Sequence[TokenRow]) -> Tensor:
        """(continuations,) float32: log p(continuation | prompt), summed over its tokens.

        One forward pass, over the tokens of the prompt that are new and the tree of continuations behind them.
        """
        tokens = np.asarray(prompt, np.int64)
        source = max(self.kept, key=lambda one: count_shared(one.tokens, tokens), default=None)
        shared = count_shared(source.tokens, tokens) if source else 0
        cache = _beginning(source.cache if source else None, shared)
        packed = pack_rest(tokens, continuations, shared, self.packer).to(next(self.model.parameters()).device)
        packed = replace(packed, inputs=packed.inputs | {"past_key_values": cache})
        found = sequence_log_probabilities(self.model, packed)
        cache.crop(len(tokens) - shared - packed.tokens)  # without the continuations
        self.computed += packed.tokens
        gone = source if source and 2 * shared > len(source.tokens) else None
        others = [one for one in self.kept if one is not gone]
        self.kept = [*others, KeptPrompt(tokens, cache)][-self.most :]
        return found


def count_shared(kept: np.ndarray, prompt: np.ndarray) -> int:
    """How many leading tokens of a prompt need not be computed again; its last one is always, for its logits."""
    return min(common_prefix_length(kept, prompt), len(prompt) - 1)


def _beginning(cache: Any, length: int):
    """A new cache with the first `length` tokens of another.

    Every layer has all tokens, so it can be cut anywhere: sliding windows are applied by masks.
    """
    from transformers import DynamicCache

    beginning = DynamicCache()
    for number, layer in enumerate(cache.layers if length else ()):
        if layer.is_initialized:  # layers that share keys of another have none
            beginning.update(layer.keys[..., :length, :], layer.values[..., :length, :], number)
    return beginning
