"""What `--rows_per_dialogue` does to weighted F1: the same rows and steps, grouped three ways, over two seeds."""

import json
import random
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from basics.files import find_repository, sha256_of, write_atomically
from basics.markdown import render_table
from benchmarks.inputs import DATASET, Inputs
from benchmarks.rounds import say
from benchmarks.tables import machine_line
from benchmarks.worker import run_to_end
from benchmarks.workload import ROWS_PER_STEP, SEED
from data_utils.labels import SPLITS
from data_utils.row_files import MANIFEST_NAME, Example, read_manifest, read_rows, write_rows
from knobs.environment import find_default
from knobs.readers import LORA, WINDOW
from knobs.table import KNOBS, SMALL

GROUPINGS = {"1": 1, "8": 8, "whole dialogues": 1000}
SEEDS = (SEED, SEED + 1)
SHARE = 1 / 8  # of MELD's training rows, in whole dialogues
EPOCHS = 1
OF_SETTING = {"Experiments_setting": LORA, "dataset": DATASET}
OF_THE_BASE = ("lora_dim", "lora_alpha", "lora_dropout", "lora_module_name", "learning_rate")
RECIPE = {name: find_default(KNOBS[name], WINDOW, OF_SETTING, SMALL) for name in OF_THE_BASE} | {
    "num_train_epochs": EPOCHS,
    "batch_size": ROWS_PER_STEP,
    "compile_layers": False,
    "do_eval": False,
    "save_steps": 0,
}


def measure_grouping(inputs: Inputs, scratch: Path) -> dict[str, Any]:
    """Grouping -> seed -> weighted F1 on valid and seconds of training."""
    folder = scratch / DATASET / "window"
    rows = draw_dialogues(inputs.data / DATASET / "window", folder, SHARE)
    runs: dict[str, dict[str, Any]] = {name: {} for name in GROUPINGS}
    for seed in SEEDS:
        for name, rows_per_dialogue in GROUPINGS.items():
            say(f"training on {rows} rows of {DATASET}, grouped by {name}, seed {seed}")
            output = scratch / f"grouped_{rows_per_dialogue}_{seed}"
            runs[name][str(seed)] = train_once(inputs.base, folder, output, rows_per_dialogue, seed)
    return {"rows": rows, "epochs": EPOCHS, "runs": runs}


def draw_dialogues(source: Path, target: Path, share: float) -> int:
    """Writes a folder of rows with whole dialogues of train, drawn until they hold `share` of its rows; how many."""
    target.mkdir(parents=True)
    train = read_rows(source / "train.json")
    dialogues: dict[str, list[Example]] = {}
    for row in train:
        dialogues.setdefault(row.id.rsplit("/", 1)[0], []).append(row)
    order = random.Random(f"dialogues/{SEED}").sample(sorted(dialogues), len(dialogues))
    drawn: list[Example] = []
    for name in order:
        if len(drawn) < share * len(train):
            drawn += dialogues[name]
    write_rows(target / "train.json", drawn)
    for split in ("valid", "test"):
        write_rows(target / f"{split}.json", read_rows(source / f"{split}.json"))
    digests = {f"{split}.json": sha256_of(target / f"{split}.json") for split in SPLITS}
    write_atomically(target / MANIFEST_NAME, json.dumps(read_manifest(source) | {"sha256": digests}))
    return len(drawn)


def train_once(base: str, data: Path, output: Path, rows_per_dialogue: int, seed: int) -> dict[str, float]:
    """One run of main_new.py; CalledProcessError when it fails, its words go to stderr."""
    flags: Mapping[str, Any] = RECIPE | {
        "dataset": DATASET,
        "data_dir": data,
        "model_name_or_path": base,
        "output_dir": output,
        "model_dir": output / "model",
        "rows_per_dialogue": rows_per_dialogue,
        "seed": seed,
    }
    script = find_repository() / "code" / "main_new.py"
    words = [word for name, value in flags.items() for word in (f"--{name}", str(value))]
    run_to_end([sys.executable, script, *words])
    lines = [json.loads(line) for line in (output / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    best = max(line["valid_weighted_f1"] for line in lines if line["kind"] == "epoch")
    return {"score": best, "seconds": sum(line["seconds"] for line in lines if line["kind"] == "step")}


def render_grouping(results: Mapping[str, Any]) -> list[str]:
    """A table, and the differences seed by seed."""
    section = results["grouping"]
    runs, seeds = section["runs"], list(next(iter(section["runs"].values())))
    header = ["rows of a dialogue together", *[f"seed {seed}" for seed in seeds], "mean", "minutes of training"]
    cells = [[name, *_describe([by_seed[seed] for seed in seeds])] for name, by_seed in runs.items()]
    return [
        f"### Grouping rows and weighted F1\n\n{machine_line(section)}",
        f"MELD valid after {section['epochs']} epoch over {section['rows']:,} training rows in whole dialogues, LoRA, "
        "steps of 32 rows, the same rows for all (`--sections grouping`):",
        render_table(header, cells, numbers=True),
        _compare(runs),
    ]


def _describe(runs: Sequence[Mapping[str, float]]) -> list[str]:
    scores = [run["score"] for run in runs]
    minutes = sum(run["seconds"] for run in runs) / len(runs) / 60
    return [*[f"{score:.2f}" for score in scores], f"{_mean(scores):.2f}", f"{minutes:.1f}"]


def _compare(runs: Mapping[str, Mapping[str, Mapping[str, float]]]) -> str:
    """Differences seed by seed; what other seeds would give nobody knows from so few, so there is no verdict."""
    scores = {name: [run["score"] for run in by_seed.values()] for name, by_seed in runs.items()}
    first, *others = scores
    apart = []
    for name in others:
        points = [f"{one - other:+.2f}" for one, other in zip(scores[name], scores[first], strict=True)]
        apart.append(f"{name}: {', '.join(points)} (mean {_mean(scores[name]) - _mean(scores[first]):+.2f})")
    return f"Points against fully random batches ({first}), seed by seed: {'; '.join(apart)}."


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
