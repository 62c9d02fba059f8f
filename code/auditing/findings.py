"""All that an audit finds of some datasets, as figures alone: no text of a corpus is in it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from auditing.duplicates import Duplicates, KnownTexts, texts_of
from auditing.labels import (
    Agreement,
    Inertia,
    measure_agreement,
    measure_inertia,
    share_labels,
    total_variation,
)
from data_utils.dialogues import Dialogue, recording_of
from data_utils.labels import DATASETS, SPLITS, DatasetSpec
from data_utils.scenes import count_repeated, find_scenes, place_turns

SCORED = ("valid", "test")
Corpora = Mapping[str, Mapping[str, Sequence[Dialogue]]]  # dataset -> split -> dialogues


@dataclass(frozen=True)
class Repeated:
    """Utterances of a split, or of its dialogues of one recording, against a train. recording: None: all of them."""

    dataset: str
    split: str
    recording: str | None
    train: str
    found: Duplicates


@dataclass(frozen=True)
class SharedScenes:
    """Dialogues of a split against a train.

    repeated: of the `dialogues` that have two longer turns or more, those half or more of whose longer turns stand in
    that train, word for word. sharing: those that share a scene with a dialogue of it, see `scenes`.
    """

    dataset: str
    split: str
    train: str
    dialogues: int
    repeated: int
    sharing: int


@dataclass(frozen=True)
class SplitLabels:
    """Labels of a split. shares: label -> its share. shift: total variation distance from train; both 0 to 1."""

    dataset: str
    split: str
    inertia: Inertia
    shares: Mapping[str, float]
    shift: float


@dataclass(frozen=True)
class AnnotatedTwice:
    """Two datasets that share turns, over all of their splits."""

    first: str
    second: str
    found: Agreement


@dataclass(frozen=True)
class Findings:
    """What `audit` found."""

    datasets: tuple[str, ...]
    repeated: tuple[Repeated, ...]
    scenes: tuple[SharedScenes, ...]
    labels: tuple[SplitLabels, ...]
    agreement: tuple[AnnotatedTwice, ...]


def audit(corpora: Corpora, specs: Mapping[str, DatasetSpec] = DATASETS) -> Findings:
    """Look at datasets, each scored split against each train. specs: their descriptions, by name."""
    return Findings(
        datasets=tuple(corpora),
        repeated=tuple(_repeated(corpora)),
        scenes=tuple(_scenes(corpora)),
        labels=tuple(_labels(corpora, specs)),
        agreement=tuple(_agreement(corpora, specs)),
    )


def _repeated(corpora: Corpora) -> Iterator[Repeated]:
    trains = {train: KnownTexts(texts_of(of_set["train"])) for train, of_set in corpora.items()}
    for dataset, split, recording, scored in _scored_parts(corpora):
        texts = texts_of(scored)
        for train, known in trains.items():
            yield Repeated(dataset, split, recording, train, known.count_duplicates(texts))


def _scored_parts(corpora: Corpora) -> Iterator[tuple[str, str, str | None, Sequence[Dialogue]]]:
    """Dataset, split, recording, dialogues; whole splits, then parts by recording where a dataset has several."""
    for dataset, of_set in corpora.items():
        for split in SCORED:
            yield dataset, split, None, of_set[split]
            kinds = {one.dialogue_id: recording_of(dataset, one.dialogue_id) for one in of_set[split]}
            for kind in sorted(set(filter(None, kinds.values()))):
                yield dataset, split, kind, [one for one in of_set[split] if kinds[one.dialogue_id] == kind]


def _scenes(corpora: Corpora) -> Iterator[SharedScenes]:
    trains = {train: place_turns(of_set["train"]) for train, of_set in corpora.items()}
    for dataset, of_set in corpora.items():
        for split in SCORED:
            for train, places in trains.items():
                repeated, dialogues = count_repeated(of_set[split], places)
                sharing = len(find_scenes(of_set[split], places))
                yield SharedScenes(dataset, split, train, dialogues, repeated, sharing)


def _labels(corpora: Corpora, specs: Mapping[str, DatasetSpec]) -> Iterator[SplitLabels]:
    for dataset, of_set in corpora.items():
        names = specs[dataset].labels
        in_train = share_labels(of_set["train"], names)
        for split in SPLITS:
            shares = share_labels(of_set[split], names)
            shift = total_variation(shares, in_train)
            yield SplitLabels(dataset, split, measure_inertia(of_set[split]), shares, shift)


def _agreement(corpora: Corpora, specs: Mapping[str, DatasetSpec]) -> Iterator[AnnotatedTwice]:
    """Of all pairs of datasets that have unified labels."""
    whole = {name: [dialogue for split in SPLITS for dialogue in of_set[split]] for name, of_set in corpora.items()}
    mapped = [name for name in corpora if specs[name].unified]
    for first, second in combinations(mapped, 2):
        labels = [specs[name].unified_labels for name in (first, second)]
        found = measure_agreement(labels[0], whole[first], labels[1], whole[second])
        if found:
            yield AnnotatedTwice(first, second, found)
