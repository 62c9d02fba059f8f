"""Exact search for demonstrations: time and memory, on random unit vectors as wide as the default encoder's."""

import time
from collections.abc import Callable, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from basics.markdown import render_table
from benchmarks.rounds import say
from benchmarks.tables import GIBIBYTE, machine_line
from benchmarks.worker import Worker
from benchmarks.workload import SEED
from data_utils.retrieval import nearest

WIDTH = 384
SIZES = ((10_000, 10_000), (1_000, 1_000_000))  # queries, entries
# As many as are asked for, and all of one dialogue, of which a query may be shown nothing: 94 turns has the longest
# training dialogue (IEMOCAP's).
DEPTHS = (1, 1 + 94)
REPETITIONS = 3
BYTES_OF_A_SCORE = 4
SEARCH = "benchmarks.sections.retrieval:build_search"


def build_search(setting: tuple[tuple[int, int], int]) -> Callable[[], float]:
    """A worker that searches, (queries, entries) and neighbours, and returns the seconds it took."""
    size, depth = setting
    draw = np.random.default_rng(SEED)
    queries, base = (_unit_vectors(draw, rows) for rows in size)

    def search() -> float:
        began = time.perf_counter()
        nearest(queries, base, depth)
        return time.perf_counter() - began

    return search


def _unit_vectors(draw: np.random.Generator, rows: int) -> np.ndarray:
    vectors = draw.standard_normal((rows, WIDTH), np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def measure_retrieval(logs: Path, sizes: Sequence[tuple[int, int]] = SIZES) -> dict[str, Any]:
    """Seconds of every repetition and peak memory, for each size and depth."""
    measured = []
    for size, depth in product(sizes, DEPTHS):
        say(f"searching {size[0]:,} among {size[1]:,}, {depth} of them")
        with Worker(SEARCH, (size, depth), logs / "retrieval.log") as worker:
            worker.ready()
            seconds = [worker.run() for _ in range(REPETITIONS)]
            search = {"size": size, "neighbours": depth, "seconds": seconds, "peak_memory": worker.peak_memory()}
            measured.append(search)
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
        rows.append([f"{queries:,} among {entries:,}", str(search["neighbours"]), *cells])
    header = ["exact search", "neighbours", "median", "peak memory", "the vectors alone", "the score matrix would take"]
    return [
        f"#### Retrieval\n\n{machine_line(section)}",
        f"Random unit vectors of width {WIDTH}, cosine, {REPETITIONS} repetitions. A query is shown none of its own "
        "dialogue, so one demonstration asks for as many neighbours more as the base's largest dialogue has turns.",
        render_table(header, rows, numbers=True),
    ]
