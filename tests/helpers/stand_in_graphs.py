"""CUDA graphs without CUDA: what is captured runs again as Python, and writes where it wrote the first time."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from engine.replay import map_tensors


class StandInGraphs:
    """counts: passes that ran plainly, captures, replays. As on a GPU, a capture computes nothing that counts.

    kept: what a capture must not change, as it only records.
    """

    def __init__(self, device: torch.device | None = None) -> None:
        self.plain = self.captures = self.replays = 0
        self.kept: tuple[Tensor, ...] = ()

    def beside(self, run: Callable[[], Tensor]) -> Tensor:
        self.plain += 1
        return run()

    def capture(self, run: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]:
        self.captures += 1
        with unchanged(self.kept):
            written = run()
        written = map_tensors(written, torch.clone)

        def replay() -> None:
            self.replays += 1
            written.copy_(run())

        return replay, written


@contextmanager
def unchanged(tensors: tuple[Tensor, ...]) -> Iterator[None]:
    before, draws = [one.clone() for one in tensors], torch.get_rng_state()
    yield
    torch.set_rng_state(draws)
    with torch.no_grad():
        for one, old in zip(tensors, before, strict=True):
            one.copy_(old)
