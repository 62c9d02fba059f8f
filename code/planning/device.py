"""What a plan has to know of the device: the precision of a run, and how fast this CPU multiplies."""

import time

import torch

from bases.load import DTYPES, choose_precision


def plan_precision(wanted: str, on_gpu: bool) -> torch.dtype:
    """In what a run computes: `auto` is bf16 on the GPUs of the table, and on a CPU what this one does best."""
    return DTYPES["bf16"] if on_gpu and wanted == "auto" else choose_precision(wanted, torch.device("cpu"))


def measure_tflops(dtype: torch.dtype) -> float:
    """The fastest of a few square products on this CPU, in 10^12 operations a second."""
    square = torch.randn(1024, 1024, dtype=dtype)
    seconds = []
    for _ in range(5):
        began = time.perf_counter()
        square @ square
        seconds.append(time.perf_counter() - began)
    return 2 * len(square) ** 3 / min(seconds) / 1e12
