"""Checkpoints that ship with the repository, each by a name: whatever lies in demo/adapters, and the sample's."""

from pathlib import Path

from basics.errors import UserError
from basics.files import find_repository, shown_path
from knobs.checks import holds_model
from training.erc_config import read_erc_config

ADAPTERS = "demo/adapters"  # a folder for each, which names it
SAMPLE, SAMPLE_FOLDER = "sample", "demo/adapter"
# Which one is taken when none is named: the first that is there and has its base.
TAKEN_FIRST = ("meld", SAMPLE)


def list_shipped() -> dict[str, Path]:
    """Name -> folder of each checkpoint that ships, those of `TAKEN_FIRST` in front."""
    repository = find_repository()
    found = {path.name: path for path in sorted((repository / ADAPTERS).glob("*"))}
    found |= {SAMPLE: repository / SAMPLE_FOLDER}
    ranks = {name: place for place, name in enumerate(TAKEN_FIRST[:-1])} | {SAMPLE: len(found)}
    ranked = sorted(found, key=lambda name: ranks.get(name, len(TAKEN_FIRST)))
    return {name: found[name] for name in ranked if can_predict(found[name])}


def find_shipped(name: str) -> Path | None:
    """The folder of a shipped checkpoint by its name in any letter case; None: none is called so."""
    return next((folder for known, folder in list_shipped().items() if known.lower() == name.lower()), None)


def name_of(folder: str | Path) -> str:
    """What `--checkpoint` calls a folder: the name of a shipped one, else the path, as seen from the repository."""
    resolved = Path(folder).resolve()
    names = (name for name, shipped in list_shipped().items() if shipped.resolve() == resolved)
    return next(names, shown_path(str(folder)))


def can_predict(folder: Path) -> bool:
    """Whether a folder holds weights that were trained to name emotions, and is not still being written."""
    if folder.name.startswith(".") or not holds_model(folder):
        return False
    try:
        read_erc_config(folder)
    except UserError:
        return False
    return True
