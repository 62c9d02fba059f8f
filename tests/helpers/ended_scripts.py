"""A repository whose three scripts end at once, for the tests of reproduce.py."""

from functools import cache
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure

import experiment_utils.evidence
import experiment_utils.reports
import experiment_utils.runner
import reproduce
from commands import call_script
from data_utils.dialogues import Dialogue, Utterance
from results import figures

LABELS = ("neutral", "joyful")
# What the scripts do, as far as reproduce.py sees it. `historical_window` stands for the score: how many of ten are
# wrong.
SCRIPT = r"""
sets=${datasets:-$dataset}
folder=experiments/$sets/historical_window_$historical_window-seed_$seed
if [[ ${DRY_RUN-0} == 1 ]]; then
    [[ $historical_window != 9 ]] || { echo "error: historical_window=9: too much" >&2; exit 2; }
    command='python code/main_new.py --output_dir'
    printf 'cd "a checkout"\n%s %q --historical_window %q\n' "$command" "$folder" "$historical_window"
    exit
fi
echo "$sets $historical_window $seed ${resume-no} ${learning_rate-usual}" >>ran.txt
[[ $historical_window != 5 ]] || exit 3
mkdir -p "$folder"
python3 write_results.py "$folder" "$historical_window" "$seed" "$sets"
"""
WRITER = """
import json, sys
folder, wrong, seed, sets = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4].split(",")
with open(folder + "/predictions.jsonl", "w") as stream:
    for number, name in enumerate(sets):
        for turn in range(10):
            gold = "joyful" if turn % 2 else "neutral"
            said = gold if turn >= wrong + 2 * number else "neutral" if turn % 2 else "joyful"
            row = {"id": f"{name}/d/{turn}", "task": "emotion_recognition", "target": gold, "label": said}
            print(json.dumps(row), file=stream)
epoch = {"epoch": 1, "score": 50.0}
if len(sets) > 1:
    epoch |= {f"valid_{name}": 52.0 - 4 * number for number, name in enumerate(sets)}
results = {"labels": ["neutral", "joyful"], "epochs": [epoch], "best_epoch": 1, "seed": seed,
           "selection": "chosen on valid", "commit": "0123456789abcdef", "device": "cpu", "processors": 2,
           "precision": "bfloat16", "base": {"source": {"source": "wheel"}},
           "trainable_parameters": 5, "split": "test", "seen_rows": [],
           "versions": {"torch": "2"}, "seconds": {"training_steps": 6.0},
           "training_rows": {"emotion_recognition": 10}, "arguments": {"batch_size": 32, "decode": "generate"}}
with open(folder + "/results.json", "w") as stream:
    json.dump(results, stream)
"""
TABLE = """
groups:
  exact:
    table: "1"
    title: as published
    script: Uni
    compare_with: a
    seeds: [1, 2]
    tolerance: 0.5
    rows:
      a: {settings: {historical_window: 2}, paper: {meld: 80.0}}
      b: {settings: {historical_window: 4}, paper: {meld: 60.2}}
  same:
    table: "2"
    title: the same run as another
    script: Uni
    datasets: [meld]
    seeds: [1]
    rows:
      a: {settings: {historical_window: 2}}
  far:
    table: "3"
    title: further than allowed
    script: Uni
    seeds: [1]
    rows:
      c: {settings: {historical_window: 6}, paper: {meld: 80.0}}
  dies:
    table: "4"
    title: one of them dies
    script: Uni
    datasets: [meld]
    seeds: [1]
    rows:
      e: {settings: {historical_window: 5}}
      f: {settings: {historical_window: 0}}
  refused:
    table: "5"
    title: refused settings
    script: Uni
    datasets: [meld]
    rows:
      g: {settings: {historical_window: 9}}
  elsewhere:
    table: "6"
    title: another dataset
    script: Uni
    datasets: [iemocap]
    seeds: [1]
    rows:
      h: {settings: {historical_window: 2}}
  mixed:
    table: "7"
    title: one run of two datasets
    script: Mixed
    varied: none
    datasets: [meld, EmoryNLP]
    seeds: [1, 2]
    compare_with: i
    settings: {datasets: "meld,EmoryNLP"}
    rows:
      i: {settings: {historical_window: 2}}
      j: {settings: {historical_window: 4}}
"""


def make_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that reproduce.py takes for the repository, with the conditions of `TABLE`."""
    write_repository(tmp_path)
    lead_to(tmp_path, monkeypatch)
    return tmp_path


def write_repository(folder: Path) -> None:
    """The files of that folder."""
    (folder / "code").mkdir()
    for kind in ("Uni", "Mixed"):
        (folder / "code" / f"train_and_inference_{kind}.sh").write_text(SCRIPT)
    (folder / "write_results.py").write_text(WRITER)
    (folder / "conditions.yaml").write_text(TABLE)
    (folder / "README.md").write_text(
        "Above.\n<!-- results: begin -->\nold\n<!-- results: end -->\nBelow.\n", encoding="utf-8"
    )


def lead_to(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on reproduce.py in this process takes it for the repository."""
    monkeypatch.setattr(experiment_utils.reports, "CONDITIONS_FILE", folder / "conditions.yaml")
    monkeypatch.setattr(experiment_utils.runner, "find_repository", lambda: folder)
    for module in (experiment_utils.reports, reproduce):
        monkeypatch.setattr(module, "EXPERIMENTS", folder / "experiments")
    monkeypatch.setattr(experiment_utils.reports, "README", folder / "README.md")
    dialogue = Dialogue("d", tuple(Utterance(turn % 2, f"So {turn}.", LABELS[turn % 2]) for turn in range(10)))
    corpus = {"train": (), "valid": (dialogue,), "test": (dialogue,)}
    monkeypatch.setattr(experiment_utils.evidence, "load_dialogues", lambda *_, **__: corpus)
    # Reports are written often, and spend most of their time on pixels; test_report.py looks at what is drawn.
    empty = empty_png()
    monkeypatch.setattr(figures, "to_png", lambda *_, **__: empty)
    for kept in (experiment_utils.evidence.split_facts, experiment_utils.evidence._read_once):
        kept.cache_clear()


@cache
def empty_png() -> bytes:
    """Of a figure with nothing in it."""
    return figures.to_png(Figure(), figures.DOTS_PER_INCH)


def call(repository: Path, *arguments: Any, conditions: str = "conditions.yaml"):
    return call_script(reproduce.main, "--conditions", repository / conditions, *arguments)


def ran(repository: Path) -> list[str]:
    path = repository / "ran.txt"
    return path.read_text().splitlines() if path.exists() else []
