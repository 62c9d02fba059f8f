"""The rows of one run: train, valid and test from one folder or several, and the labels to choose from."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from basics.errors import UserError
from basics.files import sha256_of
from data_utils.corpora.registry import recorded_own, unknown_dataset
from data_utils.draws import read_draw
from data_utils.examples import ROWS_VERSION
from data_utils.labels import ROW_SETS, SPLITS, WEIGHTED_F1, DatasetSpec
from data_utils.prompts import render_speaker_name
from data_utils.row_files import MANIFEST_NAME, RECOGNITION, SPEAKER, TASKS, Example, read_manifest, read_rows
from data_utils.texts import list_seen

# The first task that a split holds is the one that is scored.
SCORED_TASKS = (RECOGNITION, SPEAKER)


@dataclass(frozen=True)
class RowSets:
    """What is trained on and what is scored.

    train: rows of all tasks. scored: `valid` and `test` -> rows of the task that is scored. labels: the answers of that
    task, in prompt order. also_scored: split -> task -> (rows, answers) of the other tasks; no epoch is chosen by them.
    choices: task -> its answers. spec: of the dataset of the rows. own: name -> corpus of one's own, of those among the
    datasets. texts: row id -> digest of its utterance's text. row_settings: `arguments` of the manifest of the scored
    task's rows. encoder: `SentenceEncoder.identity` of the one that found demonstrations; None: there are none.
    """

    train: tuple[Example, ...]
    scored: Mapping[str, tuple[Example, ...]]
    labels: tuple[str, ...]
    spec: DatasetSpec
    own: Mapping[str, DatasetSpec]
    texts: Mapping[str, str]
    digests: Mapping[str, str]  # `<folder name>/<file>` -> SHA-256, as the manifests record them
    also_scored: Mapping[str, Mapping[str, tuple[tuple[Example, ...], tuple[str, ...]]]] = field(default_factory=dict)
    row_settings: Mapping[str, Any] = field(default_factory=dict)
    choices: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    encoder: str | None = None

    @property
    def metric(self) -> str:
        """Headline score of the scored task: the dataset's for emotions, weighted F1 for speakers (none is neutral)."""
        return WEIGHTED_F1 if self.scored["test"][0].task == SPEAKER else self.spec.metric

    @property
    def trained_texts(self) -> frozenset[str]:
        """Digests of the texts of train."""
        return frozenset(self.texts[row.id] for row in self.train)

    def seen(self, split: str, trained: Collection[str]) -> frozenset[str]:
        """The ids of the scored rows of a split whose text was trained on. trained: digests of texts."""
        return frozenset(list_seen({row.id: self.texts[row.id] for row in self.scored[split]}, trained))


def _folders_in(data_dir: str) -> list[Path]:
    """The folders of a list joined by commas. A path may have commas of its own: it ends where there is a manifest."""
    folders: list[Path] = []
    parts: list[str] = []
    for part in data_dir.split(","):
        parts.append(part)
        folder = Path(",".join(parts))
        if (folder / MANIFEST_NAME).is_file():
            folders.append(folder)
            parts = []
    return [*folders, *map(Path, parts)]


def load_row_sets(data_dir: str, dataset: str) -> RowSets:
    """Reads the folders that data_process.py printed, joined by commas.

    Raises:
        UserError: a folder without a manifest, of another dataset, or made by another version of the code; folders
            of different draws; a row that cannot be read (file and line), or whose text no manifest has; a file that
            is not the one its manifest records; a row given twice; no row to train on or to score; a wrong target.
    """
    folders = _folders_in(data_dir)
    manifests = [_checked_manifest(folder, dataset) for folder in folders]
    _refuse_different_draws(manifests, data_dir)
    own = _own_of(manifests, folders)
    spec = find_spec(dataset, own)
    splits = {name: _read_split(name, folders, manifests) for name in SPLITS}
    if not splits["train"]:
        raise UserError(f"--data_dir {data_dir}: train.json has no row: nothing to train on")
    task = _scored_task(splits["test"], data_dir)
    scored = {name: tuple(row for row in splits[name] if row.task == task) for name in ("valid", "test")}
    choices = {one: _labels_of(one, spec, manifests) for one in TASKS}
    _check_targets([*splits["train"], *scored["valid"], *scored["test"]], choices)
    return RowSets(
        train=tuple(splits["train"]),
        scored=scored,
        labels=choices[task],
        spec=spec,
        own=own,
        texts=_texts_of(manifests, splits),
        digests={
            f"{folder.name}/{file}": digest
            for folder, manifest in zip(folders, manifests, strict=True)
            for file, digest in manifest["sha256"].items()
        },
        also_scored={
            name: _rows_of_tasks(splits[name], {one: choices[one] for one in SCORED_TASKS if one != task})
            for name in scored
        },
        row_settings=_settings_of(task, manifests),
        encoder=next((found for manifest in manifests if (found := manifest.get("encoder"))), None),
        choices=choices,
    )


def _checked_manifest(folder: Path, dataset: str) -> dict[str, Any]:
    manifest = read_manifest(folder)
    if manifest["dataset"] != dataset:
        raise UserError(f"{folder} holds rows of {manifest['dataset']}, but --dataset is {dataset}")
    if manifest.get("rows_version") != ROWS_VERSION:
        raise UserError(f"{folder}: its rows are of another version of this program; data_process.py writes it anew")
    return manifest


def _rows_of_tasks(
    rows: Sequence[Example], choices: Mapping[str, tuple[str, ...]]
) -> dict[str, tuple[tuple[Example, ...], tuple[str, ...]]]:
    """Task -> (its rows, its answers), of those tasks of `choices` that have rows."""
    found = {task: tuple(row for row in rows if row.task == task) for task in choices}
    return {task: (of_task, choices[task]) for task, of_task in found.items() if of_task}


def _own_of(manifests: Sequence[Mapping[str, Any]], folders: Sequence[Path]) -> dict[str, DatasetSpec]:
    own: dict[str, DatasetSpec] = {}
    for folder, manifest in zip(folders, manifests, strict=True):
        try:
            own |= recorded_own(manifest)
        except (AttributeError, KeyError, TypeError):
            raise UserError(
                f"{folder}: own_corpora of its manifest is not ours; data_process.py writes it anew"
            ) from None
    return own


def _texts_of(manifests: Iterable[Mapping[str, Any]], splits: Mapping[str, Sequence[Example]]) -> dict[str, str]:
    texts: dict[str, str] = {}
    for manifest in manifests:
        for of_split in manifest.get("texts", {}).values():
            texts |= of_split
    unknown = next((row.id for rows in splits.values() for row in rows if row.id not in texts), None)
    if unknown:
        raise UserError(f"row {unknown}: its text is in no manifest; data_process.py writes them anew")
    return texts


def find_spec(dataset: str, own: Mapping[str, DatasetSpec]) -> DatasetSpec:
    """The description of the dataset of rows; UserError: neither the program nor a manifest knows it.

    own: name -> corpus of one's own, of the manifests.
    """
    spec = ROW_SETS.get(dataset) or own.get(dataset)
    if spec is None:
        raise unknown_dataset(dataset)
    return spec


def _refuse_different_draws(manifests: Sequence[Mapping[str, Any]], data_dir: str) -> None:
    """UserError where folders were made of different draws of train."""
    draws = {read_draw(manifest.get("arguments", {})) for manifest in manifests}
    if len(draws) > 1:
        told = " and ".join(sorted(f"--data_percent {one.fraction:g} --seed {one.seed}" for one in draws))
        raise UserError(f"--data_dir {data_dir}: rows of different parts of train, {told}; give those of one")


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


def _check_targets(rows: Sequence[Example], choices: Mapping[str, tuple[str, ...]]) -> None:
    wrong = next((row for row in rows if row.target not in choices[row.task]), None)
    if wrong:
        allowed = ", ".join(choices[wrong.task])
        raise UserError(
            f"row {wrong.id} ({wrong.task}): the target {wrong.target!r} is no label, allowed are {allowed}"
        )


def _settings_of(task: str, manifests: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    settings = [manifest.get("arguments", {}) for manifest in manifests]
    fitting = [one for one in settings if (one.get("kind") == "speaker") == (task == SPEAKER)]
    return (fitting or settings)[-1]


def _labels_of(task: str, spec: DatasetSpec, manifests: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    if task == SPEAKER:
        return tuple(render_speaker_name(number) for number in range(spec.speakers))
    return tuple(manifests[-1]["labels"])
