"""The table's row of a base, however the base is named. No torch."""

from itertools import chain
from pathlib import Path

from bases.find import read_source
from bases.table import BASES, Base
from basics.errors import UserError
from basics.files import find_repository

AUTO = "auto"


def find_row(base: str | Path) -> Base | None:
    """The row of a base by its name, its hub id, or a folder that was fetched from there or is called like it."""
    name = str(base)
    by_hub_id = {row.hub_id: row for row in BASES.values()}
    found = BASES.get(name) or by_hub_id.get(name)
    if found or not Path(name).is_dir():
        return found
    folder = Path(name).resolve()
    by_folder = {row.folder: row for row in BASES.values()}
    return by_hub_id.get(read_source(folder).get("hub_id")) or by_folder.get(folder.name)


def find_folder(base: str) -> Path | None:
    """Where a base lies: the folder as given, else in `LLM_bases` by its name, row or hub id; None if nowhere."""
    bases = find_repository() / "LLM_bases"
    row = find_row(base)
    named = [Path(base), bases / base, *([bases / row.folder] if row else [])]
    fetched = (folder for folder in bases.glob("*/") if read_source(folder).get("hub_id") == base)
    return next((folder for folder in chain(named, fetched) if (folder / "config.json").is_file()), None)


def check_precision(base: str, wanted: str) -> None:
    """UserError when a precision is wanted in which the base is known to overflow."""
    row = find_row(base)
    if row and wanted != AUTO and wanted not in row.precisions:
        raise UserError(f"--precision {wanted}: {row.name} overflows in it; choose {', '.join(row.precisions)}")
