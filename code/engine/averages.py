"""A moving average of the trained weights, which is scored and saved, while training goes on with the weights."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor


class MovingAverage:
    """Means of weights over the steps so far, in which a step counts `decay` times as much as the one after it.

    The weights before the first step do not count: after one step the means are the weights themselves.
    names: of the weights. masters: they in fp32. weights: they in the model, perhaps in lower precision.
    """

    def __init__(
        self, names: Sequence[str], masters: Sequence[Tensor], weights: Sequence[Tensor], decay: float
    ) -> None:
        self.names, self.masters, self.weights, self.decay = names, list(masters), list(weights), decay
        self.means = [torch.zeros_like(master, requires_grad=False) for master in masters]
        self.steps = 0

    @torch.no_grad()
    def add_step(self) -> None:
        """Adds the weights as they are now to the means."""
        self.steps += 1
        share = (1 - self.decay) / (1 - self.decay**self.steps)
        torch._foreach_lerp_(self.means, self.masters, share)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Inside, the model's weights are the means (its own before the first step); afterwards its own again."""
        if not self.steps:
            yield
            return
        own = [weight.detach().clone() for weight in self.weights]
        self._give(self.means)
        try:
            yield
        finally:
            self._give(own)

    @torch.no_grad()
    def _give(self, values: Sequence[Tensor]) -> None:
        torch._foreach_copy_(self.weights, list(values))

    def state(self) -> dict[str, Any]:
        return {"steps": self.steps, "means": dict(zip(self.names, self.means, strict=True))}

    def load_state(self, state: dict[str, Any]) -> None:
        self.steps = state["steps"]
        for name, mean in zip(self.names, self.means, strict=True):
            mean.copy_(state["means"][name])
