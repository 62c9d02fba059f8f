"""What this machine can do at most: products of matrices, and moving numbers through its memory."""

import time
from collections.abc import Callable, Iterable

import torch

from bases.load import DTYPES

SQUARE_SIZES = {"cpu": (2048, 4096), "cuda": (4096, 8192)}
ROWS = {"cpu": 4096, "cuda": 16384}  # rows of x in the products of the model's own shapes
TIMED = 3
BANDWIDTH = "bandwidth"  # beside the precisions
STREAMED = 32 << 20  # numbers of each of the three arrays, 128 MiB: no cache holds them
BYTES_OF_A_NUMBER = 4


def products_to_time(device: torch.device, linear: Iterable[tuple[int, int]]) -> list[tuple[int, int, int]]:
    """(rows, inputs, outputs) of large square products and of the model's linear layers."""
    squares = [(size, size, size) for size in SQUARE_SIZES[device.type]]
    return squares + [(ROWS[device.type], *shape) for shape in sorted(set(linear))]


def time_product(shape: tuple[int, int, int], dtype: torch.dtype, device: torch.device) -> float:
    """Operations a second of x W' for one shape: the best of a few, after one that warms up."""
    rows, inputs, outputs = shape
    x = torch.randn(rows, inputs, device=device).to(dtype)
    weight = torch.randn(outputs, inputs, device=device).to(dtype)
    return 2 * rows * inputs * outputs / _fastest(lambda: torch.nn.functional.linear(x, weight), device)


def _fastest(work: Callable[[], object], device: torch.device) -> float:
    """Seconds of the fastest of a few times; the first warms up."""
    best = float("inf")
    for _ in range(TIMED + 1):
        synchronize(device)
        began = time.perf_counter()
        work()
        synchronize(device)
        best = min(best, time.perf_counter() - began)
    return best


def measure_ceiling(dtype: torch.dtype, device: torch.device, linear: Iterable[tuple[int, int]]) -> dict[str, float]:
    """Operations a second of each product, as `rows x inputs x outputs`."""
    with torch.inference_mode():
        return {
            " x ".join(map(str, shape)): time_product(shape, dtype, device)
            for shape in products_to_time(device, linear)
        }


def measure_bandwidth(numbers: int = STREAMED) -> dict[str, float]:
    """Bytes a second of `c = a + 2 b` over arrays that stay (the triad of McCalpin's STREAM): two read, one written.

    What the processor reads of c before it overwrites it is not counted, as there.
    """
    a, b, c = (torch.ones(numbers) for _ in range(3))
    seconds = _fastest(lambda: torch.add(a, b, alpha=2, out=c), torch.device("cpu"))
    return {"a + 2 b": 3 * BYTES_OF_A_NUMBER * numbers / seconds}


def synchronize(device: torch.device) -> None:
    """Waits until the device has done all that was asked of it."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def build_ceiling(linear: Iterable[tuple[int, int]]) -> Callable[[str], dict[str, float]]:
    """A worker that measures the CPU's ceiling for a precision, or that of its memory for `bandwidth`."""
    shapes = list(linear)

    def measure(what: str) -> dict[str, float]:
        return measure_bandwidth() if what == BANDWIDTH else measure_ceiling(DTYPES[what], torch.device("cpu"), shapes)

    return measure
