"""How long `data_process.py` takes from a corpus to its rows: a whole program, from its start to its end."""

import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from basics.errors import UserError
from basics.files import find_repository
from basics.markdown import render_table
from benchmarks.figures_of_merit import Spread
from benchmarks.rounds import say
from benchmarks.tables import machine_line
from benchmarks.worker import run_to_end
from data_utils.dialogues import find_original_data, find_pickle
from data_utils.labels import SPLITS
from data_utils.row_files import read_rows
from experiment_utils.conditions import BENCHMARKS

DATASETS_COMPARED = ("sample", *BENCHMARKS)
KINDS = {"window 12": (), "with the prediction task": ("--emotion_prediction", "True")}


def measure_processing(scratch: Path, repetitions: int, datasets: Sequence[str] = DATASETS_COMPARED) -> dict[str, Any]:
    """A record for every corpus that is there and kind of rows: how many, and the seconds of every repetition."""
    measured = []
    for dataset in datasets:
        with suppress(UserError):  # no pickle of it here
            find_pickle(dataset, find_original_data(dataset))
            measured += [_time(dataset, kind, scratch, repetitions) for kind in KINDS]
    return {"corpora": measured}


def _time(dataset: str, kind: str, scratch: Path, repetitions: int) -> dict[str, Any]:
    say(f"making the rows of {dataset}, {kind}")
    script, seconds = find_repository() / "code" / "data_process.py", []
    for repetition in range(repetitions):
        data = scratch / f"rows of {dataset} {kind} {repetition}"
        began = time.perf_counter()
        done = run_to_end([sys.executable, script, "--dataset", dataset, "--data", data, *KINDS[kind]])
        seconds.append(time.perf_counter() - began)
    rows = sum(len(read_rows(Path(done.stdout.strip()) / f"{split}.json")) for split in SPLITS)
    return {"dataset": dataset, "kind": kind, "rows": rows, "seconds": seconds}


def render_processing(results: Mapping[str, Any]) -> list[str]:
    """One table."""
    section = results["processing"]
    rows = [
        [one["dataset"], one["kind"], f"{one['rows']:,}", f"{Spread.of(one['seconds'])} s"]
        for one in section["corpora"]
    ]
    return [
        f"#### Making rows\n\n{machine_line(section)}",
        "`data_process.py` from its start to its end, rows of all three splits:",
        render_table(["corpus", "rows", "how many", "seconds (range)"], rows, numbers=True),
    ]
