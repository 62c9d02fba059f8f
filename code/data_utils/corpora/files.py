"""The files of a corpus of one's own: one for each split, or one that is split by dialogue."""

import random
from collections.abc import Mapping, Sequence
from pathlib import Path

from basics.errors import UserError
from basics.words import counted
from data_utils.corpora.description import Description, Split
from data_utils.corpora.places import DESCRIPTION_FILE, SUFFIXES, list_visible
from data_utils.labels import SPLITS
from dialogue_files.readers.forms import FORMATS, NOT_READ
from dialogue_files.readers.tables import SPLIT_WORDS, splits_named
from dialogue_files.turns import SpokenTurn

COMMENT_SUFFIXES = (".md",)


def list_files(corpus: Path, files: Mapping[str, Path]) -> list[Path]:
    """The files that a corpus is read from: corpus.yaml, where there is one, and `files`, each once."""
    described = corpus / DESCRIPTION_FILE
    return [*([described] if described.is_file() else []), *dict.fromkeys(files.values())]


def find_files(corpus: Path, described: Description) -> dict[str, Path]:
    """Split -> its file; where one file is to be split, each split has that one.

    Raises:
        UserError: the folder holds neither one file nor one for each split, or a file that is no dialogue.
    """
    if corpus.is_file():
        if corpus.suffix.lower() in COMMENT_SUFFIXES:
            raise UserError(
                f"{corpus}: is taken for a page about a corpus, allowed are endings of {', '.join(SUFFIXES)}"
            )
        return dict.fromkeys(SPLITS, corpus)
    known = {suffix for form in FORMATS.values() for suffix in form.suffixes} | NOT_READ.keys()
    paths = [path for path in list_visible(corpus) if path.suffix.lower() in known - {*COMMENT_SUFFIXES}]
    found = {name: [path for path in paths if split_of(path) == name] for name in SPLITS}
    if any(found.values()):
        return _three_files(corpus, found, described)
    data = [path for path in paths if path.suffix.lower() in SUFFIXES and path.is_file()]
    if len(data) != 1:
        there = ", ".join(path.name for path in paths) or "no file of dialogues"
        raise UserError(
            f"{corpus}: holds {there}, allowed are three files, train, valid and test, or one, which is split; "
            f"each with an ending of {', '.join(SUFFIXES)}"
        )
    return dict.fromkeys(SPLITS, data[0])


def split_of(path: Path) -> str | None:
    """The split whose word stands in the name of a file; None: there is none, or several."""
    named = splits_named(path.stem)
    return named[0] if len(named) == 1 else None


def _three_files(corpus: Path, found: Mapping[str, list[Path]], described: Description) -> dict[str, Path]:
    missing = [name for name, paths in found.items() if not paths]
    if missing:
        there = ", ".join(path.name for paths in found.values() for path in paths)
        names = ", ".join(
            f"{name} (named {' or '.join(SPLIT_WORDS[name])}, with an ending such as .csv)" for name in missing
        )
        raise UserError(
            f"{corpus}: holds {there} but no file of {names}, allowed are all three, or one of another name to be split"
        )
    double = next((paths for paths in found.values() if len(paths) > 1), None)
    if double:
        told = " and ".join(path.name for path in double)
        raise UserError(f"{corpus}: {told} are of one split, allowed is one file for each; move the others away")
    if described.split:
        raise described.fault("split", "only one file is split, and here are train, valid and test; leave it away")
    return {name: paths[0] for name, paths in found.items()}


def split_by_dialogue(
    dialogues: Sequence[tuple[SpokenTurn, ...]], split: Split, path: Path, remarks: list[str]
) -> dict[str, list[tuple[SpokenTurn, ...]]]:
    """Split -> its dialogues, drawn by the seed, in the order of the file; at least one in each.

    Raises:
        UserError: there are fewer than three dialogues.
    """
    count = len(dialogues)
    if count < len(SPLITS):
        raise UserError(
            f"{path}: holds {counted(count, 'dialogue')}, allowed are {len(SPLITS)} or more, as one file is "
            "split by dialogue; a column or key dialogue tells them apart"
        )
    sizes = {name: max(1, round(split.shares[name] * count)) for name in ("valid", "test")}
    while sum(sizes.values()) > count - 1:
        sizes[max(sizes, key=sizes.get)] -= 1
    places = random.Random(f"corpus/{split.seed}").sample(range(count), sum(sizes.values()))
    where = dict.fromkeys(places[: sizes["valid"]], "valid") | dict.fromkeys(places[sizes["valid"] :], "test")
    shares = ", ".join(f"{name} {100 * share:.3g}%" for name, share in split.shares.items())
    remarks.append(
        f"{path.name} is split by dialogue with seed {split.seed} ({shares}), as {DESCRIPTION_FILE} may set under split"
    )
    parts: dict[str, list[tuple[SpokenTurn, ...]]] = {name: [] for name in SPLITS}
    for place, dialogue in enumerate(dialogues):
        parts[where.get(place, "train")].append(dialogue)
    return parts
