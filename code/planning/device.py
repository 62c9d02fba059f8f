"""The precision in which a planned run computes, and how fast this CPU multiplies."""

import time

import torch

from bases.load import DTYPES, choose_precision


def plan_precision(wanted: str, on_gpu: bool) -> torch.dtype:
    """The precision of a run. wanted: --precision; `auto` is bf16 on a GPU, and on a CPU what suits this one best."""
    return DTYPES["bf16"] if on_gpu and wanted == "auto" else choose_precision(wanted, torch.device("cpu"))


def measure_tflops(dtype: torch.dtype) -> float:
    """The speed of this CPU in 10^12 operations a second: the best of five products of 1024 x 1024 matrices."""
    square = torch.randn(1024, 1024, dtype=dtype)
    seconds = []
    for _ in range(5):
        began = time.perf_counter()
        square @ square
        seconds.append(time.perf_counter() - began)
    return 2 * len(square) ** 3 / min(seconds) / 1e12
