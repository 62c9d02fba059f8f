"""Whether a dataset's train is small, which some recipes depend on. Standard library only: nothing is installed yet."""

from functools import lru_cache
from itertools import islice
from pathlib import Path

from basics.errors import UserError
from data_utils.corpora.description import USUAL_SHARES, Description, label_in
from data_utils.corpora.files import find_files
from data_utils.corpora.places import find_corpus
from data_utils.labels import DATASETS
from dialogue_files.reading import find_format, read_turns

FEW_UTTERANCES = 2000  # the sample has 431; the other datasets have 5,163 and more
ANY_BYTES = "latin-1"  # reads any file without the library that guesses encodings; turns are only counted


def has_small_train(dataset: str, original_data: Path | None = None) -> bool:
    """Whether fewer than `FEW_UTTERANCES` utterances of a dataset's train have a label.

    Of one file that is yet to be split, four fifths count as train. False where the corpus is not there or cannot be
    read: what is wrong is told when its rows are made. original_data: see `corpora.places.list_places`.
    """
    if dataset in DATASETS:
        return DATASETS[dataset].expected["train"].utterances < FEW_UTTERANCES
    corpus = find_corpus(dataset, original_data)
    try:
        files = find_files(corpus, Description(corpus, dataset)) if corpus else {}
        share = USUAL_SHARES["train"] if len(set(files.values())) == 1 else 1.0
        return bool(files) and _count(files["train"], files["train"].stat().st_mtime_ns) * share < FEW_UTTERANCES
    except (OSError, UserError):
        return False


@lru_cache(maxsize=64)
def _count(path: Path, changed: int) -> int:
    """The number of labelled turns of a file, counted until it is not small. changed: mtime in ns, for the cache."""
    try:
        return _count_as(path, None)
    except ImportError:
        return _count_as(path, ANY_BYTES)


def _count_as(path: Path, encoding: str | None) -> int:
    turns = read_turns(path, find_format(path, encoding=encoding), encoding)
    labelled = (turn for turn in turns if label_in(turn.emotion))
    return sum(1 for _ in islice(labelled, round(FEW_UTTERANCES / USUAL_SHARES["train"])))
