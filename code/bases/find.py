"""Finds a base: its row of the table, its folder in `LLM_bases/`, whether that is complete, and its identity."""

import functools
import hashlib
import json
import os
import shutil
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict
from itertools import chain, count
from pathlib import Path

from bases.table import BASES, NAME_OF_HUB_ID, PRECISIONS, Base
from bases.tensor_files import read_header, refuse_cut
from basics.errors import UserError
from basics.files import (
    READ_BLOCK_BYTES,
    find_repository,
    put_in_place,
    sha256_of,
    sha256_of_text,
    shown_path,
    sync_tree,
    write_atomically,
)
from basics.json_files import parse_json

SOURCE_FILE = "SOURCE.json"
OFFLINE_VARIABLES, OFFLINE = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"), ("1", "ON", "TRUE", "YES")
AUTO = "auto"
# Files of weights, in the order in which libraries look for them.
WEIGHTS = ("adapter_model*.safetensors", "adapter_model*.bin", "*.safetensors", "pytorch_model*.bin", "*.gguf")


# Name of weights in one file -> that of the index of shards; in the order in which libraries look.
WHOLE_OR_INDEX = {
    "model.safetensors": "model.safetensors.index.json",
    "pytorch_model.bin": "pytorch_model.bin.index.json",
}


def read_source(folder: Path) -> dict:
    """Return what SOURCE.json says; an empty dictionary when it is missing or cannot be read."""
    try:
        source = parse_json((folder / SOURCE_FILE).read_bytes())
    except (OSError, ValueError):
        return {}
    return source if _is_source(source) else {}


def _is_source(source: object) -> bool:
    if not isinstance(source, dict) or not isinstance(source.get("hub_id"), str | None):
        return False
    files = source.get("files", {})
    return isinstance(files, dict) and all(
        isinstance(known, dict)
        and (type(known.get("bytes")), type(known.get("mtime_ns")), type(known.get("sha256"))) == (int, int, str)
        for known in files.values()
    )


def describe_files(folder: Path) -> dict[str, dict]:
    """Return file (path in the folder) -> size in bytes, modification time in nanoseconds, SHA-256."""
    paths = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    hidden = {name for name in paths if name.startswith(".")}  # notes of the hub's client
    return {
        name: {"bytes": stat.st_size, "mtime_ns": stat.st_mtime_ns, "sha256": sha256_of(path)}
        for name, path, stat in ((name, path, path.stat()) for name, path in paths.items())
        if name not in hidden | {SOURCE_FILE}
    }


def write_source(folder: Path, base: Base, origin: dict, files: dict[str, dict]) -> None:
    """Write SOURCE.json, the last file of a folder: where it came from and every file's SHA-256."""
    source = {"name": base.name, "hub_id": base.hub_id, "licence": base.licence, **origin, "files": files}
    write_atomically(folder / SOURCE_FILE, json.dumps(source, indent=2) + "\n")


def is_current(folder: Path, base: Base) -> bool:
    """Whether the folder holds this base, whole, as SOURCE.json says.

    Sizes are always looked at; a file is read and hashed only when its time has changed too, and is then
    remembered with the new time.
    """
    source = read_source(folder)
    files = source.get("files")
    if source.get("hub_id") != base.hub_id or not isinstance(files, dict) or "config.json" not in files:
        return False
    if source.get("source") == "wheel" and source.get("wheel") != describe_wheel(base):
        return False
    moved = dict(files)
    for name, known in files.items():
        path = folder / name
        if not path.is_file() or path.stat().st_size != known["bytes"]:
            return False
        if path.stat().st_mtime_ns != known["mtime_ns"]:
            if sha256_of(path) != known["sha256"]:
                return False
            moved[name] = {**known, "mtime_ns": path.stat().st_mtime_ns}
    if moved != files:
        # A folder that may only be read is as good; it is then hashed again the next time.
        with suppress(OSError):
            write_atomically(folder / SOURCE_FILE, json.dumps({**source, "files": moved}, indent=2) + "\n")
    return True


def describe_wheel(base: Base) -> dict | None:
    """Return the row's wheel as it is after a round trip through JSON, without empty fields."""
    if base.wheel is None:
        return None
    return json.loads(json.dumps({name: value for name, value in asdict(base.wheel).items() if value}))


def list_weights(folder: Path) -> list[Path]:
    """The weight files that libraries load: the one file, or the shards of an index, whether they exist or not.

    Empty: there is neither. UserError as in `shards_of`.
    """
    for whole, index in WHOLE_OR_INDEX.items():
        if (folder / whole).is_file():
            return [folder / whole]
        if (folder / index).is_file():
            return [folder / name for name in sorted(set(shards_of(folder / index).values()))]
    return []


def shards_of(index: Path) -> dict[str, str]:
    """Name of a weight -> its file, from an index; UserError: it has no such table."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        shards = parse_json(index.read_bytes())["weight_map"]
        if isinstance(shards, dict) and shards and all(isinstance(name, str) for name in shards.values()):
            return shards
    raise UserError(f"{index}: tells no files of weights; get it again")


def find_incomplete(folder: Path) -> str | None:
    """What a folder lacks of a model's weights, by names, sizes and kinds of files; None: nothing."""
    try:
        files = list_weights(folder)
        if missing := [path.name for path in files if not path.is_file()]:
            return f"of the weights {', '.join(missing)} is missing"
        for path in files:
            refuse_cut(path)
    except UserError as error:
        return str(error)
    # A sentence encoder may have its weights in folders of its layers.
    is_there = files or any(next(folder.rglob(pattern), None) for pattern in ("*.safetensors", "pytorch_model*.bin"))
    return None if is_there else f"this folder holds no weights, such as {', '.join(WHOLE_OR_INDEX)}"


def install(built: Path, folder: Path, work: Path) -> Path | None:
    """Rename a finished folder into its place; the one it replaces goes to `work`, to be removed.

    A folder without SOURCE.json was not made here: it is set aside beside the new one and never removed.
    Returns where it is then, None when there was no such folder.
    """
    exists = folder.exists() or folder.is_symlink()
    own = exists and not (folder / SOURCE_FILE).exists()
    replaced = _free_name(folder) if own else work / f"{folder.name}.replaced"
    sync_tree(built)
    put_in_place(built, folder, replaced)
    return replaced if own else None


def remove(folder: Path) -> None:
    """Remove a folder with all that is in it, or only the link if it is one; missing is fine."""
    if folder.is_symlink():
        folder.unlink()
    elif folder.exists():
        shutil.rmtree(folder)


def sha256_of_tensors(path: Path) -> str:
    """Return a hash of names, types, shapes and values of a safetensors file.

    The file's own hash would also depend on how a version of the library writes the header.
    """
    digest = hashlib.sha256()
    header, values_at = read_header(path)
    digest.update(json.dumps(header, sort_keys=True, separators=(",", ":")).encode())
    with open(path, "rb") as stream:
        stream.seek(values_at)
        while block := stream.read(READ_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def _free_name(folder: Path) -> Path:
    names = (folder.with_name(f"{folder.name}.set-aside-{number}") for number in count(1))
    return next(name for name in names if not name.exists())


def find_row(base: str | Path) -> Base | None:
    """The row of a base, by its name, its hub id, or a folder that was fetched from there or has that name."""
    name = str(base)
    found = BASES.get(NAME_OF_HUB_ID.get(name, name))
    if found or not Path(name).is_dir():
        return found
    folder = Path(name).resolve()
    by_folder = {row.folder: row for row in BASES.values()}
    return BASES.get(NAME_OF_HUB_ID.get(read_source(folder).get("hub_id"))) or by_folder.get(folder.name)


def find_folder(base: str) -> Path | None:
    """The folder of a base: as given, else in `LLM_bases` by its name, row or hub id; None: there is none."""
    bases = find_repository() / "LLM_bases"
    row = find_row(base)
    named = [Path(base), bases / base, *([bases / row.folder] if row else [])]
    fetched = (folder for folder in bases.glob("*/") if read_source(folder).get("hub_id") == base)
    return next((folder for folder in chain(named, fetched) if (folder / "config.json").is_file()), None)


def offline_by() -> str:
    """The variable by which huggingface_hub is offline, such as `HF_HUB_OFFLINE=1`; "" where it is not.

    The first of the two that is set decides.
    """
    name, said = next(((name, said) for name in OFFLINE_VARIABLES if (said := os.environ.get(name))), ("", ""))
    return f"{name}={said}" if said.upper() in OFFLINE else ""


def check_precision(base: str, wanted: str) -> None:
    """UserError when a precision is wanted in which the base is known to overflow; others' names are not its matter."""
    row = find_row(base)
    if row and wanted in PRECISIONS and wanted not in row.precisions:
        raise UserError(f"--precision {wanted}: {row.name} overflows in it; choose {', '.join(row.precisions)}")


def public_name(base: str) -> str:
    """A name by which others can find a base: its hub id, if SOURCE.json has it, else its path in the repository."""
    return read_source(Path(base)).get("hub_id") or shown_path(base)


def identify_base(base: str) -> str:
    """A text that differs for bases with different files; for a hub id without a folder, the id itself."""
    folder = Path(base)
    if not folder.is_dir():
        return base
    files = [path for path in sorted(folder.iterdir()) if path.is_file() and path.suffix != ".md"]
    return _sha256_of_all(path for path in files if path.name != SOURCE_FILE and not path.name.startswith("."))


def sha256_of_weights(folder: str | Path) -> str | None:
    """The SHA-256 of a folder's weights: of the one file, or of the lines that sha256sum prints of several.

    In a folder of an adapter these are the adapter's weights. None: there are no weights, as for a hub id.
    """
    found = ([*sorted(Path(folder).glob(pattern))] for pattern in WEIGHTS)
    files = next(filter(None, found), [])
    return known_sha256(files[0]) if len(files) == 1 else _sha256_of_all(files) if files else None


def _sha256_of_all(files: Iterable[Path]) -> str:
    return sha256_of_text("".join(f"{known_sha256(path)}  {path.name}\n" for path in files))


def known_sha256(path: Path) -> str:
    """The SHA-256 of a file; from SOURCE.json, if size and time of the file are as recorded there."""
    known, stat = read_source(path.parent).get("files", {}).get(path.name, {}), path.stat()
    if (known.get("bytes"), known.get("mtime_ns")) == (stat.st_size, stat.st_mtime_ns):
        return known["sha256"]
    return _sha256_at(path, stat.st_size, stat.st_mtime_ns)


@functools.lru_cache
def _sha256_at(path: Path, size: int, mtime_ns: int) -> str:
    return sha256_of(path)


def need_space(folder: Path, needed_bytes: float, name: str) -> None:
    """Raise UserError when the disk of `folder` has less than `needed_bytes` free."""
    free = shutil.disk_usage(folder).free
    if free < needed_bytes:
        raise UserError(
            f"{name} needs {needed_bytes / 1e6:,.0f} MB on the disk of {folder}, {free / 1e6:,.0f} are free"
        )
