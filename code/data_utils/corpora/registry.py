"""Every dataset by its name: those of `labels`, and corpora of one's own wherever `places` finds them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from basics.errors import UserError
from data_utils.corpora.description import own_spec
from data_utils.corpora.places import find_corpus, name_datasets
from data_utils.corpora.reading import OwnCorpus, read_corpus
from data_utils.labels import DATASETS, DatasetSpec

# What a manifest says of a corpus of one's own, so that a run needs no more than its rows.
RECORDED = ("labels", "speakers", "speaker_offset", "metric", "unified", "neutral", "licence")


def unknown_dataset(name: str, original_data: Path | None = None) -> UserError:
    """The error that says which names are known."""
    return UserError(f"unknown dataset {name!r}, allowed are {name_datasets(original_data)}")


def find_own(name: str, original_data: Path | None = None) -> OwnCorpus:
    """A corpus of one's own; UserError: there is none of this name, or it cannot be read."""
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
    """The key of a manifest for corpora of one's own, as JSON has it; {} where all datasets are the program's."""
    own = {
        name: {key: list(value) if isinstance(value := getattr(spec, key), tuple) else value for key in RECORDED}
        for name, spec in specs.items()
        if name not in DATASETS
    }
    return {"own_corpora": own} if own else {}


def recorded_own(manifest: Mapping[str, Any]) -> dict[str, DatasetSpec]:
    """The corpora of one's own that a manifest tells of, by name; KeyError or TypeError: it is none of ours."""
    own = manifest.get("own_corpora", {})
    return {name: own_spec(name, **{key: _as_made(said[key]) for key in RECORDED}) for name, said in own.items()}


def _as_made(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
