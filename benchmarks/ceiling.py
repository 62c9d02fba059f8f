"""How fast this machine multiplies matrices: the ceiling that the contenders are measured against."""

import time
from collections.abc import Callable, Iterable

import torch

from bases.load import DTYPES

SQUARE_SIZES = {"cpu": (2048, 4096), "cuda": (4096, 8192)}
ROWS = {"cpu": 4096, "cuda": 16384}  # rows of x in the products of the model's own shapes
TIMED = 3


def products_to_time(device: torch.device, linear: Iterable[tuple[int, int]]) -> list[tuple[int, int, int]]:
    """(rows, inputs, outputs) of large square products and of the model's linear layers."""
    squares = [(size, size, size) for size in SQUARE_SIZES[device.type]]
    return squares + [(ROWS[device.type], *shape) for shape in sorted(set(linear))]


def time_product(shape: tuple[int, int, int], dtype: torch.dtype, device: torch.device) -> float:
    """Operations a second of x W' for one shape: the best of a few, after one that warms up."""
    rows, inputs, outputs = shape
    x = torch.randn(rows, inputs, device=device).to(dtype)
    weight = torch.randn(outputs, inputs, device=device).to(dtype)
    best = float("inf")
    for _ in range(TIMED + 1):
        synchronize(device)
        began = time.perf_counter()
        torch.nn.functional.linear(x, weight)
        synchronize(device)
        best = min(best, time.perf_counter() - began)
    return 2 * rows * inputs * outputs / best


def measure_ceiling(dtype: torch.dtype, device: torch.device, linear: Iterable[tuple[int, int]]) -> dict[str, float]:
    """Operations a second of each product, as `rows x inputs x outputs`."""
    with torch.inference_mode():
        return {
            " x ".join(map(str, shape)): time_product(shape, dtype, device)
            for shape in products_to_time(device, linear)
        }


def synchronize(device: torch.device) -> None:
    """Waits until the device has done all that was asked of it."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def build_ceiling(linear: Iterable[tuple[int, int]]) -> Callable[[str], dict[str, float]]:
    """A worker that measures the CPU's ceiling for a precision."""
    shapes = list(linear)
    return lambda precision: measure_ceiling(DTYPES[precision], torch.device("cpu"), shapes)
