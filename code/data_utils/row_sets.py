"""The rows of one run: train, valid and test from one folder or several, and the labels to choose from."""

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from basics.errors import UserError
from basics.files import sha256_of
from data_utils.labels import ROW_SETS, SPLITS
from data_utils.prompts import render_speaker_name
from data_utils.row_files import RECOGNITION, SPEAKER, TASKS, Example, read_manifest, read_rows

# The first task that a split holds is the one that is scored.
SCORED_TASKS = (RECOGNITION, SPEAKER)


@dataclass(frozen=True)
class RowSets:
    """What is trained on and what is scored.

    train: all tasks. scored: `valid` and `test` rows of the task that is scored. labels: what the scored task
    chooses from, in prompt order. also_scored: split -> task -> the rows of other tasks, and what those choose
    from; they choose no epoch. seen_in_train: ids per split whose text, letter case and outer blanks aside,
    also stands in train. row_settings: what the rows of the scored task were made with, as their manifest says.
    """

    train: tuple[Example, ...]
    scored: Mapping[str, tuple[Example, ...]]
    labels: tuple[str, ...]
    seen_in_train: Mapping[str, frozenset[str]]
    digests: Mapping[str, str]  # `<folder name>/<file>` -> SHA-256, as the manifests record them
    also_scored: Mapping[str, Mapping[str, tuple[tuple[Example, ...], tuple[str, ...]]]] = field(default_factory=dict)
    row_settings: Mapping[str, Any] = field(default_factory=dict)


def load_row_sets(data_dir: str, dataset: str, fraction: float, seed: int) -> RowSets:
    """Reads the folders that data_process.py printed, joined by commas.

    Raises:
        UserError: a folder without a manifest or of another dataset; a row that cannot be read (file and
            line); a file that is not the one its manifest tells of; a row given twice; no row to score; a
            target that is no answer to its task; a fraction that leaves no training row.
    """
    folders = [Path(folder) for folder in data_dir.split(",")]
    manifests = [_checked_manifest(folder, dataset) for folder in folders]
    splits = {name: _read_split(name, folders, manifests) for name in SPLITS}
    task = _scored_task(splits["test"], data_dir)
    scored = {name: tuple(row for row in splits[name] if row.task == task) for name in ("valid", "test")}
    for rows in (splits["train"], *scored.values()):
        _check_targets(rows, dataset, manifests)
    seen = [manifest.get("seen_in_train", {}) for manifest in manifests]
    return RowSets(
        train=draw_fraction(splits["train"], fraction, seed),
        scored=scored,
        labels=_labels_of(task, dataset, manifests),
        seen_in_train={
            name: frozenset(row_id for ids in seen for row_id in ids.get(name, ())) for name in ("valid", "test")
        },
        digests={
            f"{folder.name}/{file}": digest
            for folder, manifest in zip(folders, manifests, strict=True)
            for file, digest in manifest["sha256"].items()
        },
        also_scored={
            name: {
                other: (tuple(rows), _labels_of(other, dataset, manifests))
                for other in SCORED_TASKS
                if other != task and (rows := [row for row in splits[name] if row.task == other])
            }
            for name in scored
        },
        row_settings=_settings_of(task, manifests),
    )


def draw_fraction(rows: Sequence[Example], fraction: float, seed: int) -> tuple[Example, ...]:
    """The rows, in their order, of a seeded draw of utterances without replacement; 1 is all of them.

    Utterances are drawn, and come with their rows of every task: runs with and without another task see the same.

    Raises:
        UserError: no row would be left.
    """
    utterances = list(dict.fromkeys(row.id for row in rows))
    count = round(len(utterances) * fraction)
    if not count:
        raise UserError(
            f"--data_percent {fraction} of {len(utterances)} training utterances leaves none; choose a larger share"
        )
    chosen = set(random.Random(f"fraction/{seed}").sample(utterances, count))
    return tuple(row for row in rows if row.id in chosen)


def _checked_manifest(folder: Path, dataset: str) -> dict[str, Any]:
    manifest = read_manifest(folder)
    if manifest["dataset"] != dataset:
        raise UserError(f"{folder} holds rows of {manifest['dataset']}, but --dataset is {dataset}")
    return manifest


def _read_split(name: str, folders: Sequence[Path], manifests: Sequence[Mapping[str, Any]]) -> list[Example]:
    rows: list[Example] = []
    for folder, manifest in zip(folders, manifests, strict=True):
        path = folder / f"{name}.json"
        # Read first: of a row that was spoilt by hand, the line says more than the hash.
        rows += read_rows(path)
        if sha256_of(path) != manifest["sha256"].get(path.name):
            raise UserError(f"{path} is not the file that its manifest tells of; data_process.py writes it anew")
    _refuse_repeated(rows, name, folders)
    return rows


def _refuse_repeated(rows: Iterable[Example], split: str, folders: Sequence[Path]) -> None:
    met: set[tuple[str, str]] = set()
    for row in rows:
        if (row.id, row.task) in met:
            named = ", ".join(map(str, folders))
            raise UserError(f"row {row.id} ({row.task}) stands twice in {split}.json of {named}, allowed is once")
        met.add((row.id, row.task))


def _scored_task(rows: Sequence[Example], data_dir: str) -> str:
    tasks = {row.task for row in rows}
    found = [task for task in SCORED_TASKS if task in tasks]
    if not found:
        raise UserError(f"--data_dir {data_dir}: test.json has no row of {' or '.join(SCORED_TASKS)}: nothing to score")
    return found[0]


def _check_targets(rows: Sequence[Example], dataset: str, manifests: Sequence[Mapping[str, Any]]) -> None:
    answers = {task: _labels_of(task, dataset, manifests) for task in TASKS}
    wrong = next((row for row in rows if row.target not in answers[row.task]), None)
    if wrong:
        allowed = ", ".join(answers[wrong.task])
        raise UserError(
            f"row {wrong.id} ({wrong.task}): the target {wrong.target!r} is no label, allowed are {allowed}"
        )


def _settings_of(task: str, manifests: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    settings = [manifest.get("arguments", {}) for manifest in manifests]
    fitting = [one for one in settings if (one.get("kind") == "speaker") == (task == SPEAKER)]
    return (fitting or settings)[-1]


def _labels_of(task: str, dataset: str, manifests: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    if task == SPEAKER:
        return tuple(render_speaker_name(number) for number in range(ROW_SETS[dataset].speakers))
    return tuple(manifests[-1]["labels"])
