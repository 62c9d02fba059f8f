"""Folders of rows: built whole, described by a manifest, reused as long as nothing they came from changed."""

import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from basics.errors import NO_SPACE_ERRNOS, UserError
from basics.files import make_folder, open_atomically, put_in_place, sha256_of, sha256_of_each
from basics.locks import locked
from data_utils.corpora.registry import find_dataset, record_own
from data_utils.dialogues import find_sources, load_dialogues
from data_utils.examples import ROWS_VERSION, PlannedRow, RowSettings, plan_rows, show_demonstrations
from data_utils.labels import SPLITS, DatasetSpec
from data_utils.prompts import TEMPLATE_DIGESTS
from data_utils.retrieval import Embed, entries_of, find_demonstrations
from data_utils.row_files import MANIFEST_NAME, Example, read_manifest, write_rows
from data_utils.texts import digest_texts, list_seen

ROW_FILES = frozenset(f"{split}.json" for split in SPLITS)
_BUILDING, _REPLACED = ".building-", "replaced"


def prepare_folder(
    settings: RowSettings,
    original_data: Path,
    data: Path,
    load: Callable[..., Any] = load_dialogues,
    embed: Embed | None = None,
) -> Path:
    """Return the absolute folder `<data>/<dataset>/<name>` that holds the rows of `settings`.

    A folder made from the same arguments, corpus, templates and version of the code, with its files unharmed, is left
    as it is; every other is replaced, whole, once its successor is complete. UserError for bad input, for a
    folder of that name that holds something else, and where nothing can be written. `load` lets a
    caller that prepares several folders read the pickle once; `embed` is what retrieval asks for vectors.
    """
    sources, spec = find_sources(settings.dataset, original_data), find_dataset(settings.dataset, original_data)
    origin = describe_origin(settings, spec.labels, sources, {spec.name: spec})
    origin |= {"encoder": embed.identity} if settings.retrieval else {}

    def make() -> Content:
        dialogues = load(
            settings.dataset, original_data, clean_text=settings.clean_text, check_counts=settings.check_counts
        )
        rows, described, word = plan_rows(settings, dialogues, spec), {}, PlannedRow.worded
        if settings.retrieval:
            entries = {split: entries_of(settings.dataset, split, dialogues[split]) for split in SPLITS}
            drawn = {row.id for row in rows["train"]}
            entries["train"] = [entry for entry in entries["train"] if entry.id in drawn]
            found, described["demonstrations"] = find_demonstrations(spec.labels, entries, settings.retrieval, embed)
            shown = {name: matches for of_split in found.values() for name, matches in of_split.items()}
            position = settings.retrieval.position

            def word(row: PlannedRow) -> Example:
                return show_demonstrations(row.worded(), shown, position)

        digests = {split: digest_texts(settings.dataset, dialogues[split]) for split in SPLITS}
        return Content(rows, describe_texts(rows, digests) | described, word)

    return build_folder(Path(data).absolute() / settings.dataset / settings.folder_name, origin, make)


@dataclass(frozen=True)
class Content:
    """What is written into a folder of rows.

    rows: split -> rows. described: further keys of the manifest. word: makes the complete row, its prompt included.
    """

    rows: Mapping[str, Sequence[PlannedRow]]
    described: Mapping[str, Any]
    word: Callable[[PlannedRow], Example] = PlannedRow.worded


def build_folder(folder: Path, origin: Mapping[str, Any], make: Callable[[], Content]) -> Path:
    """Return `folder` with the rows that `make` returns, made only where `origin` or a file has changed."""
    if is_current(folder, origin):
        # Left by a process that was killed while it removed the folder that it had replaced.
        shutil.rmtree(folder / _REPLACED, ignore_errors=True)
        return folder
    content = make()
    try:
        _build(folder, content, origin)
    except OSError as error:
        if error.errno in NO_SPACE_ERRNOS:
            raise
        raise UserError(f"cannot write {folder}: {error.strerror} ({error.filename})") from None
    return folder


def describe_origin(
    settings: Any, labels: Sequence[str], sources: Sequence[Path], corpora: Mapping[str, DatasetSpec]
) -> dict[str, Any]:
    """Return the part of the manifest that is known before the rows are.

    settings: a dataclass with `dataset` and `prompt`.
    """
    return {
        "dataset": settings.dataset,
        "labels": list(labels),
        "arguments": json.loads(json.dumps(asdict(settings))),
        "source_path": ",".join(source.name for source in sources),
        "source_sha256": sha256_of_each(sources),
        "template_sha256": TEMPLATE_DIGESTS[settings.prompt],
        "rows_version": ROWS_VERSION,
    } | record_own(corpora)


def is_current(folder: Path, origin: Mapping[str, Any]) -> bool:
    """Tell whether a folder's manifest agrees with `origin` and its files with the manifest."""
    try:
        manifest = read_manifest(folder)
    except UserError:
        return False
    if any(manifest.get(key) != value for key, value in origin.items()):
        return False
    recorded = manifest["sha256"]
    return set(recorded) == ROW_FILES and all(
        (folder / name).is_file() and sha256_of(folder / name) == recorded[name] for name in ROW_FILES
    )


def count_rows(rows: Mapping[str, Sequence[PlannedRow]]) -> dict[str, dict[str, int]]:
    """Return split -> task -> number of rows."""
    return {split: dict(Counter(row.task for row in rows[split])) for split in SPLITS}


def describe_texts(
    rows: Mapping[str, Sequence[PlannedRow]], digests: Mapping[str, Mapping[str, str]]
) -> dict[str, Any]:
    """Return the keys of a manifest that tell of texts: `texts` and `seen_in_train`, see `read_manifest`.

    digests: split -> id -> digest of its text; of train the drawn ones are kept.
    """
    texts = {split: {row.id: digests[split][row.id] for row in rows[split]} for split in SPLITS}
    trained = set(texts["train"].values())
    return {"seen_in_train": {split: list_seen(texts[split], trained) for split in ("valid", "test")}, "texts": texts}


def describe_folder(folder: Path) -> str:
    """Return one line for people: the folder's name and its row counts."""
    manifest = read_manifest(folder)
    tasks = manifest.get("counts", {})
    counts = "; ".join(
        f"{split} " + ", ".join(f"{number} {task}" for task, number in tasks.get(split, {}).items()) for split in SPLITS
    )
    shown = "; ".join(
        f"{split} {100 * found['label_agreement']:.1f}%" for split, found in manifest.get("demonstrations", {}).items()
    )
    leak = f"; nearest demonstration has the gold label: {shown}" if shown else ""
    gone = ", ".join(f"{name} {of['dialogues']}" for name, of in manifest.get("left_out", {}).items())
    scenes = f"; dialogues left out of train for a scene that is scored: {gone}" if gone else ""
    return f"{manifest['dataset']}/{folder.name}: {counts}{leak}{scenes}"


def _refuse_foreign(folder: Path) -> None:
    """Raise UserError where replacing the folder would throw away what this project did not write."""
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file, allowed is a folder of rows or nothing")
    if not folder.is_dir():
        return
    found = {entry.name for entry in folder.iterdir()}
    foreign = sorted(found - ROW_FILES - {MANIFEST_NAME, _REPLACED})
    if found == {MANIFEST_NAME}:  # other programs have a file of this name too
        foreign = [MANIFEST_NAME]
    if foreign:
        raise UserError(
            f"{folder} holds {foreign[0]}, which is no part of a folder of rows, so it is not replaced; "
            "move it away or name another --data"
        )


def _build(folder: Path, content: Content, origin: Mapping[str, Any]) -> None:
    make_folder(folder.parent)
    with locked(folder.parent):
        if is_current(folder, origin):
            return  # another process was faster, and somebody may be reading what it made
        _refuse_foreign(folder)
        _remove_leftovers(folder)
        building = folder.with_name(f"{_BUILDING}{folder.name}-{os.getpid()}")
        building.mkdir()
        try:
            _fill(building, content, {**origin, "counts": count_rows(content.rows), **content.described})
            put_in_place(building, folder, building / _REPLACED)
            shutil.rmtree(folder / _REPLACED, ignore_errors=True)
        finally:
            shutil.rmtree(building, ignore_errors=True)


def _fill(folder: Path, content: Content, manifest: Mapping[str, Any]) -> None:
    for split in SPLITS:
        write_rows(folder / f"{split}.json", map(content.word, content.rows[split]))
    digests = {f"{split}.json": sha256_of(folder / f"{split}.json") for split in SPLITS}
    parts = json.JSONEncoder(ensure_ascii=False, indent=1).iterencode({**manifest, "sha256": digests})
    with open_atomically(folder / MANIFEST_NAME) as stream:
        stream.writelines(part.encode() for part in chain(parts, "\n"))


def _remove_leftovers(folder: Path) -> None:
    """Remove what a killed run left behind; the lock says that nobody is still at it."""
    for leftover in folder.parent.glob(f"{_BUILDING}{folder.name}-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    shutil.rmtree(folder / _REPLACED, ignore_errors=True)
