"""Where corpora of one's own lie: by name in original_data, or where ERC_ORIGINAL_DATA points, or behind a link there.

Standard library only: the scripts look before anything is installed.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path

from basics.errors import UserError
from basics.files import find_repository
from basics.locks import locked
from data_utils.labels import DATASETS, ROW_SETS

ORIGINAL_DATA_VARIABLE = "ERC_ORIGINAL_DATA"
DESCRIPTION_FILE = "corpus.yaml"
# Behind the name of a corpus in the error for one that is to be mixed with others, and cannot be.
NOT_UNIFIED = f"has no unified labels, so it cannot be mixed; {DESCRIPTION_FILE} maps them, under unified"
# Suffixes of files that can hold an emotion for each turn; which form a file has is found when it is read.
SUFFIXES = (".csv", ".tsv", ".tab", ".json", ".jsonl", ".ndjson", ".txt")
# Names stand in paths, in lists joined by commas and in the ids of rows.
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,59}")
NAME_FORM = "up to 60 letters, digits, _, - and ., a letter or digit first"
# No corpus may have these names, in any letter case: datasets, and words that recipes and result folders use otherwise.
SMALL_TRAIN = "small_train"  # of recipes, see `corpora.sizes`
_OTHER_WORDS = ("window", "plain", "mixed", "predict", "speaker", "zero_shot", "lora", "all_parameters", "none")
TAKEN = (*ROW_SETS, *_OTHER_WORDS, SMALL_TRAIN)


def list_places(original_data: Path | None = None) -> list[Path]:
    """The folders that corpora lie in: the one that is given, else $ERC_ORIGINAL_DATA, if set, and the repository's."""
    if original_data is not None:
        return [Path(original_data)]
    elsewhere = os.environ.get(ORIGINAL_DATA_VARIABLE)
    return [*([Path(elsewhere)] if elsewhere else []), find_repository() / "original_data"]


def pickle_of(dataset: str, original_data: Path) -> Path:
    """Where the pickle of a published dataset lies in a folder of corpora, whether it is there or not."""
    return Path(original_data) / dataset / f"{dataset}.pkl"


def is_corpus(path: Path) -> bool:
    """Whether a path may be a corpus: a file with one of `SUFFIXES`, or a folder that holds one or a corpus.yaml."""
    if path.is_file():
        return path.suffix.lower() in SUFFIXES
    return any(one.name == DESCRIPTION_FILE or one.suffix.lower() in SUFFIXES for one in list_visible(path))


def list_visible(folder: Path) -> list[Path]:
    """The paths in a folder, sorted, without those that begin with a dot; [] where the folder cannot be read."""
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError:
        return []


def find_misnamed(folder: Path) -> Path | None:
    """A file whose name is nearly corpus.yaml, such as corpus.yml or Corpus.yaml; None: there is none."""
    return next((one for one in list_visible(folder) if one.name.lower() in ("corpus.yaml", "corpus.yml")), None)


def may_be_called(name: str) -> bool:
    """Whether a corpus of one's own may have this name."""
    return bool(NAME.fullmatch(name)) and name.casefold() not in map(str.casefold, TAKEN)


def find_corpus(name: str, original_data: Path | None = None) -> Path | None:
    """The folder or file of a corpus of one's own; None: there is none of this name."""
    if not may_be_called(name):
        return None
    found = (path for place in list_places(original_data) for path in (place / name, *_files_called(name, place)))
    return next(filter(is_corpus, found), None)


def _files_called(name: str, place: Path) -> list[Path]:
    """The files of a name in a folder, their endings in the order of `SUFFIXES` and in whatever letter case."""
    files = [one for one in list_visible(place) if one.stem == name and one.suffix.lower() in SUFFIXES]
    return sorted(files, key=lambda one: SUFFIXES.index(one.suffix.lower()))


def list_own(original_data: Path | None = None) -> list[str]:
    """The names of all corpora of one's own that are found, sorted."""
    return sorted({name for place in list_places(original_data) for name in _names_in(place)})


def _names_in(place: Path) -> Iterator[str]:
    for path in list_visible(place):
        name = path.name if path.is_dir() else path.stem
        if may_be_called(name) and is_corpus(path):
            yield name


def name_datasets(original_data: Path | None = None) -> str:
    """Text for an error: the names that are allowed for a dataset, and how a corpus of one's own is made known."""
    own = list_own(original_data)
    more = f", corpora of your own: {', '.join(own)}" if own else ""
    return f"{', '.join(DATASETS)}{more}; `python code/data_process.py --corpus FOLDER` makes another one known"


def remember(path: Path, name: str) -> Path:
    """Links a corpus where `find_corpus` looks, unless it is found already; returns the path that it is found under.

    Raises:
        UserError: another corpus has the name, or no link can be made.
    """
    path = path.resolve()
    found = find_corpus(name)
    if found is None:
        found = _link(path, name)
    if found.resolve() != path:
        at = f"{found} -> {found.resolve()}" if found.is_symlink() else str(found)
        raise UserError(f"{path}: another corpus is called {name} ({at}); remove that one, or give this another name")
    return found


def _link(path: Path, name: str) -> Path:
    places = list_places()
    for place in places:
        link = place / (name if path.is_dir() else f"{name}{path.suffix.lower()}")
        try:
            with locked(place):
                if found := find_corpus(name):
                    return found  # another program was faster
                if link.is_symlink() and not link.exists():
                    link.unlink()  # of a corpus that has moved
                link.symlink_to(path)
        except FileExistsError:
            return link
        except OSError:
            continue
        return link
    told = " and ".join(map(str, places))
    raise UserError(
        f"{path}: {told} cannot be written, allowed is a folder for a link to the corpus, or the corpus in it"
    )
