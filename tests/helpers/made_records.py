"""Records of runs that never were, of the conditions that are there."""

from pathlib import Path

from experiment_utils.conditions import list_conditions, read_table
from experiment_utils.dialogue_counts import Counts
from experiment_utils.records import Record, Records
from experiment_utils.report_tables import Shown

LABELS = ("neutral", "joyful", "sad")
TABLE = read_table()
CONDITIONS = list_conditions(TABLE)


def make_run(condition: str, seed: int, right: int, **changes: object) -> Record:
    """Of ten dialogues of two utterances each, `right` are answered right; of each further dataset one fewer."""
    datasets = changes.pop("datasets", None) or CONDITIONS[condition].datasets
    counts = {}
    for number, dataset in enumerate(datasets):
        said = [(f"{dataset}/{d}", label, d < right - number) for d in range(10) for label in ("joyful", "sad")]
        answers = [(name, label, label if is_right else "neutral", 1) for name, label, is_right in said]
        counts[dataset] = Counts.of(answers, LABELS)
    fields = {
        "plan": "0",
        "command": "bash it",
        "split": "test",
        "decode": "score",
        "selection": "chosen on valid",
        "labels": LABELS,
        "date": "2026-01-01",
        "minutes": 3.0,
        "training_minutes": 2.0,
        "batch_size": 4,
        "training_rows": {"emotion_recognition": 5},
        "best_epoch": 1,
        "trainable_parameters": 5,
        "valid": 40.0,
        "valid_of": {name: 40.0 - number for number, name in enumerate(datasets)},
        "copying": None,
        "datasets": tuple(datasets),
        "device": "cpu",
        "processors": 2,
        "precision": "float32",
        "versions": {},
        "commit": "abcdef0123",
    }
    return Record(**({"condition": condition, "seed": seed, "counts": counts} | fields | changes))


def show(*runs: Record, folder: Path = Path()) -> Shown:
    return Shown(Records(folder, tuple(sorted(runs, key=lambda run: (run.condition, run.seed)))))
