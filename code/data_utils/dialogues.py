"""Corpus -> dialogues, whatever it lies in: COSMIC's pickles, one's own in their format, or files (`corpora`)."""

import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from basics.errors import UserError
from basics.files import find_repository, sha256_of, sha256_of_each
from data_utils.corpora.places import ORIGINAL_DATA_VARIABLE, find_corpus, pickle_of
from data_utils.corpora.reading import OwnCorpus, describe
from data_utils.corpora.registry import find_own, unknown_dataset
from data_utils.labels import DATASETS, SPLITS, DatasetSpec, SplitCounts
from data_utils.pickles import Slots, decode_speaker, find_problems, name_slots
from data_utils.safe_pickle import load_safely


@dataclass(frozen=True, slots=True)
class Utterance:
    """One turn of a dialogue. label: None where no gold emotion is known; it is then only history, without rows."""

    speaker: int
    text: str
    label: str | None


@dataclass(frozen=True)
class Dialogue:
    """Utterances in spoken order; the position in `utterances` is the turn, from 0."""

    dialogue_id: str
    utterances: tuple[Utterance, ...]

    @property
    def labelled(self) -> list[tuple[int, Utterance]]:
        """(turn, utterance) of each utterance with a label: those that rows ask about."""
        return [(turn, one) for turn, one in enumerate(self.utterances) if one.label is not None]


def row_id(dataset: str, dialogue_id: str, turn: int) -> str:
    """Return the id of one utterance's rows."""
    return f"{dataset}/{dialogue_id}/{turn}"


def name_utterances(dataset: str, dialogues: Iterable[Dialogue]) -> Iterator[tuple[str, Utterance]]:
    """(id of its rows, utterance) of every utterance with a label, in order."""
    for dialogue in dialogues:
        for turn, utterance in dialogue.labelled:
            yield row_id(dataset, dialogue.dialogue_id, turn), utterance


def previous_of_speakers(dialogue: Dialogue) -> list[Utterance | None]:
    """For each utterance with a label, the same speaker's previous one with a label; None for a speaker's first."""
    latest: dict[int, Utterance] = {}
    found = []
    for _, utterance in dialogue.labelled:
        found.append(latest.get(utterance.speaker))
        latest[utterance.speaker] = utterance
    return found


def recording_of(dataset: str, dialogue_id: str) -> str | None:
    """ "scripted" or "improvised", as the ids of IEMOCAP tell (Ses05F_script01_1, Ses05M_impro03); None elsewhere."""
    if dataset != "iemocap":
        return None
    return "scripted" if "_script" in dialogue_id else "improvised"


def find_original_data(dataset: str) -> Path:
    """Return the default folder of a corpus: $ERC_ORIGINAL_DATA, else the repository's original_data.

    `sample` comes with the repository, so the variable moves it only to a folder that has one; a corpus of one's own is
    looked for in both. UserError names the known ones where there is none of this name.
    """
    if dataset not in DATASETS:
        path = find_corpus(dataset)
        if path is None:
            raise unknown_dataset(dataset)
        return path.parent
    own = find_repository() / "original_data"
    elsewhere = os.environ.get(ORIGINAL_DATA_VARIABLE)
    if not elsewhere or (dataset == "sample" and not (Path(elsewhere) / "sample").is_dir()):
        return own
    return Path(elsewhere)


def find_pickle(dataset: str, original_data: Path) -> Path:
    """Return `<original_data>/<dataset>/<dataset>.pkl`; UserError if there is no such file to read."""
    path = pickle_of(dataset, original_data)
    # os.path answers False where pathlib would raise: a folder that may not be searched, a name too long.
    if not os.path.isfile(path):
        raise UserError(
            f"no pickle of {dataset}: looked for {path.absolute()}; {ORIGINAL_DATA_VARIABLE} or "
            "--original_data points elsewhere, original_data/README.md says where to get it"
        )
    if not os.access(path, os.R_OK):
        raise UserError(f"{path.absolute()} may not be read, allowed is a file with read permission")
    return path


def find_sources(dataset: str, original_data: Path) -> list[Path]:
    """The files that a dataset is read from: a pickle, or those of a corpus of one's own; UserError: there are none."""
    if dataset in DATASETS:
        return [find_pickle(dataset, original_data)]
    return list(find_own(dataset, original_data).files)


def digest_sources(datasets: Iterable[str]) -> dict[str, str]:
    """Corpus of one's own -> digest of its files as they are now; other datasets are left out, as they do not change.

    The digest is empty where the corpus is missing or cannot be read: a run on it says why.
    """
    return {dataset: _digest_source(dataset) for dataset in datasets if dataset not in DATASETS}


def _digest_source(dataset: str) -> str:
    try:
        return sha256_of_each(find_sources(dataset, find_original_data(dataset)))
    except (UserError, OSError):
        return ""


def clean_text(text: str) -> str:
    """Give the cp1252 characters that stand as U+0080..U+009F their meaning; nothing is deleted.

    Example: U+0092 becomes U+2019, the apostrophe. The five codes that cp1252 leaves empty stay.
    """
    return text.translate(_CP1252_MEANINGS)


def _list_cp1252_meanings() -> dict[int, str]:
    meanings = {code: bytes([code]).decode("cp1252", errors="ignore") for code in range(0x80, 0xA0)}
    return {code: character for code, character in meanings.items() if character}


_CP1252_MEANINGS = _list_cp1252_meanings()


def load_dialogues(
    dataset: str, original_data: Path, clean_text: bool = False, check_counts: bool = True
) -> dict[str, tuple[Dialogue, ...]]:
    """Read one corpus: split -> dialogues, both in the order of the file.

    clean_text repairs cp1252 control characters (off by default: the released prompts keep them). What is in a corpus
    of one's own, and what is doubtful, is told on stderr.
    check_counts compares the sizes with `DatasetSpec.expected`; off for another release of the data. Labels that are
    numbered otherwise than here are refused all the same, and a file that is not the published one is told on stderr.
    Raises UserError, one line with file, dialogue and turn, for everything that is wrong with the file.
    """
    if dataset not in DATASETS:
        return _own_dialogues(find_own(dataset, original_data), clean_text)
    spec = DATASETS[dataset]
    path = find_pickle(dataset, original_data)
    slots = name_slots(load_safely(path), spec, path)
    problems = find_problems(slots, spec)
    if problem := next(problems, None):
        others = sum(1 for _ in problems)
        more = f" (and {others} more problems of this file)" if others else ""
        raise UserError(f"{path}: {problem}{more}")
    dialogues = {
        split: tuple(_build_dialogue(dialogue_id, slots, spec, clean_text) for dialogue_id in slots[split])
        for split in SPLITS
    }
    counts = {split: count_split(dialogues[split], spec.labels) for split in SPLITS}
    _refuse_other_numbering(counts, spec, path)
    if check_counts:
        _check_counts(counts, spec, path)
    _tell_other_file(counts, spec, path)
    return dialogues


def _own_dialogues(corpus: OwnCorpus, clean: bool) -> dict[str, tuple[Dialogue, ...]]:
    for line in describe(corpus):
        print(line, file=sys.stderr)
    return {
        split: tuple(
            Dialogue(
                one.name,
                tuple(
                    Utterance(turn.number, clean_text(turn.text) if clean else turn.text, turn.emotion)
                    for turn in one.turns
                ),
            )
            for one in dialogues
        )
        for split, dialogues in corpus.splits.items()
    }


def _build_dialogue(dialogue_id: int | str, slots: Slots, spec: DatasetSpec, clean: bool) -> Dialogue:
    turns = zip(*(slots[slot][dialogue_id] for slot in ("speakers", "sentences", "labels")), strict=True)
    return Dialogue(
        dialogue_id=str(dialogue_id),
        utterances=tuple(
            Utterance(decode_speaker(speaker, spec), clean_text(text) if clean else text, spec.labels[label])
            for speaker, text, label in turns
        ),
    )


def count_labels(dialogues: Iterable[Dialogue]) -> Counter[str]:
    """Label -> number of utterances."""
    return Counter(utterance.label for dialogue in dialogues for _, utterance in dialogue.labelled)


def count_split(dialogues: Sequence[Dialogue], labels: Sequence[str]) -> SplitCounts:
    """Return dialogues, labelled utterances and utterances per label (in the order given) of one split."""
    found = count_labels(dialogues)
    return SplitCounts(len(dialogues), found.total(), tuple(found[label] for label in labels))


def _refuse_other_numbering(counts: Mapping[str, SplitCounts], spec: DatasetSpec, path: Path) -> None:
    """UserError where the counts per label of every split are those of the release in another order of the labels."""
    pairs = [(counts[split].per_label, expected.per_label) for split, expected in spec.expected.items()]
    if any(sorted(found) != sorted(known) for found, known in pairs):
        return
    there, here = (list(zip(*columns, strict=True)) for columns in zip(*pairs, strict=True))
    if there == here or sorted(there) != sorted(here):
        return
    meanings = [spec.labels[here.index(column)] for column in there]
    numbers = ", ".join(f"{old} -> {spec.labels.index(label)} ({label})" for old, label in enumerate(meanings))
    raise UserError(
        f"{path}: its labels are numbered otherwise than those of {spec.name} here, as the counts of every split show; "
        f"in its slot labels, replace each number by the one that is allowed: {numbers}"
    )


def _tell_other_file(counts: Mapping[str, SplitCounts], spec: DatasetSpec, path: Path) -> None:
    """Warn of a pickle that is not the one whose scores are published, and say how much is in it."""
    if spec.published is None or sha256_of(path) == spec.published.sha256:
        return
    sizes = ", ".join(f"{split} {one.dialogues} / {one.utterances}" for split, one in counts.items())
    print(
        f"warning: {path} is not the published file of {spec.name} (its SHA-256 is another): {sizes} "
        "(dialogues / utterances); scores on it cannot be compared with published ones",
        file=sys.stderr,
    )


def _check_counts(counts: Mapping[str, SplitCounts], spec: DatasetSpec, path: Path) -> None:
    differences = []
    for split, expected in spec.expected.items():
        found = counts[split]
        differences += [
            f"{split} {field}: expected {getattr(expected, field)}, found {getattr(found, field)}"
            for field in ("dialogues", "utterances", "per_label")
            if getattr(expected, field) != getattr(found, field)
        ]
    if differences:
        raise UserError(
            f"{path}: not the release this project knows: {'; '.join(differences)} "
            f"(labels in the order {', '.join(spec.labels)}; another release is allowed with --check_counts False)"
        )
