"""Every dataset by its name: those of `labels`, and corpora of one's own wherever `places` finds them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from basics.errors import UserError
from data_utils.corpora.description import own_spec
from data_utils.corpora.places import find_corpus, name_datasets
from data_utils.corpora.reading import OwnCorpus, read_corpus
from data_utils.labels import DATASETS, DatasetSpec

# Fields of a corpus of one's own that a manifest records, so that a run needs only the rows, and not the corpus.
RECORDED = ("labels", "speakers", "speaker_offset", "metric", "unified", "neutral", "licence")


def unknown_dataset(name: str, original_data: Path | None = None) -> UserError:
    """The error that says which names are known."""
    return UserError(f"unknown dataset {name!r}, allowed are {name_datasets(original_data)}")


def find_own(name: str, original_data: Path | None = None) -> OwnCorpus:
    """Reads a corpus of one's own; UserError: none lies under this name, or it is bad, or says another name itself."""
    path = find_corpus(name, original_data)
    if path is None:
        raise unknown_dataset(name, original_data)
    corpus = read_corpus(path)
    if corpus.spec.name != name:
        raise UserError(f"{path}: is called {corpus.spec.name} in corpus.yaml, allowed is the name that it lies under")
    return corpus


def find_dataset(name: str, original_data: Path | None = None) -> DatasetSpec:
    """The description of a dataset; UserError names the known ones.

    original_data: the folder that a corpus of one's own lies in; None: see `list_places`.
    """
    return DATASETS[name] if name in DATASETS else find_own(name, original_data).spec


def record_own(specs: Mapping[str, DatasetSpec]) -> dict[str, Any]:
    """{"own_corpora": name -> `RECORDED` fields} for a manifest; {} where no dataset is a corpus of one's own."""
    own = {
        name: {key: list(value) if isinstance(value := getattr(spec, key), tuple) else value for key in RECORDED}
        for name, spec in specs.items()
        if name not in DATASETS
    }
    return {"own_corpora": own} if own else {}


def recorded_own(manifest: Mapping[str, Any]) -> dict[str, DatasetSpec]:
    """Name -> corpus of one's own, as `record_own` put them into a manifest.

    Raises:
        AttributeError, KeyError, TypeError: that part of the manifest was not written by this program.
    """
    own = manifest.get("own_corpora", {})
    return {name: own_spec(name, **{key: _as_made(said[key]) for key in RECORDED}) for name, said in own.items()}


def _as_made(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
