"""Exact search for demonstrations: time and memory, on random unit vectors as wide as the default encoder's."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.rounds import say
from benchmarks.tables import GIBIBYTE, machine_line
from benchmarks.worker import Worker
from benchmarks.workload import SEED
from data_utils.markdown import render_table
from data_utils.retrieval import nearest

WIDTH = 384
SIZES = ((10_000, 10_000), (1_000, 1_000_000))  # queries, entries
REPETITIONS = 3
BYTES_OF_A_SCORE = 4
SEARCH = "benchmarks.retrieval_section:build_search"


def build_search(size: tuple[int, int]) -> Callable[[], float]:
    """A worker that searches and returns the seconds it took."""
    draw = np.random.default_rng(SEED)
    queries, base = (_unit_vectors(draw, rows) for rows in size)

    def search() -> float:
        began = time.perf_counter()
        nearest(queries, base, 1)
        return time.perf_counter() - began

    return search


def _unit_vectors(draw: np.random.Generator, rows: int) -> np.ndarray:
    vectors = draw.standard_normal((rows, WIDTH), np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def measure_retrieval(logs: Path) -> dict[str, Any]:
    """Seconds of every repetition and peak memory, for each size."""
    measured = []
    for size in SIZES:
        say(f"searching {size[0]:,} among {size[1]:,}")
        with Worker(SEARCH, size, logs / "retrieval.log") as worker:
            worker.ready()
            seconds = [worker.run() for _ in range(REPETITIONS)]
            measured.append({"size": size, "seconds": seconds, "peak_memory": worker.peak_memory()})
    return {"searches": measured}


def render_retrieval(results: Mapping[str, Any]) -> list[str]:
    """A table: seconds, memory, and what the whole score matrix would have taken."""
    section = results["retrieval"]
    rows = []
    for search in section["searches"]:
        queries, entries = search["size"]
        vectors = (queries + entries) * WIDTH * BYTES_OF_A_SCORE
        matrix = queries * entries * BYTES_OF_A_SCORE
        cells = [f"{sorted(search['seconds'])[len(search['seconds']) // 2]:.2f} s"]
        cells += [f"{size / GIBIBYTE:.1f} GiB" for size in (search["peak_memory"], vectors, matrix)]
        rows.append([f"{queries:,} among {entries:,}", *cells])
    header = ["exact search, the nearest", "median", "peak memory", "the vectors alone", "the score matrix would take"]
    return [
        f"### Retrieval\n\n{machine_line(section)}",
        f"Random unit vectors of width {WIDTH}, cosine, {REPETITIONS} repetitions.",
        render_table(header, rows, numbers=True),
    ]
