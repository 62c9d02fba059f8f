"""Reads a corpus of one's own from files of dialogues with emotions. A turn without an emotion is history only.

A fault is a UserError of one line that names file and line; sizes, and what is doubtful, are remarks for the user.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import groupby
from pathlib import Path

from basics.errors import UserError, as_line
from basics.words import counted
from data_utils.corpora.description import (
    BY_CORPUS,
    Description,
    Split,
    find_label_fault,
    find_metric,
    find_neutral,
    label_in,
    order_unified,
    own_spec,
    read_description,
)
from data_utils.corpora.files import find_files, list_files, split_by_dialogue
from data_utils.corpora.places import DESCRIPTION_FILE
from data_utils.labels import SPLITS, DatasetSpec
from dialogue_files.names import name_key
from dialogue_files.readers.forms import FORMATS
from dialogue_files.readers.tables import SYNONYMS, columns_missing, fold_name
from dialogue_files.reading import find_format, read_turns
from dialogue_files.report import Report
from dialogue_files.turns import SpokenTurn

MOST_FOUND_LABELS = 40  # more are hardly labels, unless corpus.yaml lists them
MOST_NUMBERED = 100  # speakers that the prompt of the speaker task lists
LEAST_SPEAKERS = 2
BY_CHANCE = 2  # turns of a dialogue whose words two may have by chance: "Hi.", "Hello, how may I help?"
MOST_TOLD = 5
LONGEST_WRITTEN = 1_000  # characters of an emotion in a file, blanks and those that are not shown among them
_NUMBER = re.compile(r"[+-]?\d+(?:\.\d*)?")
# The end of a remark that names flags of predict.py, by which a file is read otherwise; there are none for a corpus.
_FLAGS_OF_PREDICT = re.compile(
    r"[;,:] (otherwise: |or say |or read it as another form: )?--(encoding|input_format)\b.*"
)


@dataclass(frozen=True)
class LabelledDialogue:
    """A dialogue of a corpus. name: unique in the corpus. turns: those without an emotion are history only."""

    name: str
    turns: tuple[SpokenTurn, ...]


Splits = Mapping[str, tuple[LabelledDialogue, ...]]
Words = tuple[tuple[str, str], ...]  # (speaker, text) of each turn of a dialogue


@dataclass(frozen=True)
class OwnCorpus:
    """A corpus that was read. files: those that it was read from. remarks: lines on how, and on what is doubtful."""

    spec: DatasetSpec
    splits: Splits
    files: tuple[Path, ...]
    remarks: tuple[str, ...]


def read_corpus(corpus: Path) -> OwnCorpus:
    """Read the folder or file of a corpus; what was read is kept as long as none of its files changes.

    Raises:
        UserError: a file is missing, of a form without emotions, or bad; a label is unknown; a split is empty.
    """
    described = read_description(corpus)
    files = find_files(corpus, described)
    states = tuple((path, path.stat().st_mtime_ns, path.stat().st_size) for path in list_files(corpus, files))
    return _read(corpus, states)


@lru_cache(maxsize=8)
def _read(corpus: Path, states: tuple[tuple[Path, int, int], ...]) -> OwnCorpus:
    described = read_description(corpus)
    files, remarks = find_files(corpus, described), []
    if corpus.is_file() and (corpus.parent / DESCRIPTION_FILE).is_file():
        remarks.append(f"{DESCRIPTION_FILE} beside {corpus.name} is of the folder, and not read: give the folder")
    paths = dict.fromkeys(files.values())
    is_drawn_unasked = len(paths) == 1 and described.split is None
    read = {path: _read_file(path, remarks, is_drawn_unasked) for path in paths}
    if len(read) == 1:
        (path,) = read
        parts = split_by_dialogue(read[path], described.split or Split(), path, remarks)
        bare = next((name for name in SPLITS if not _count(parts[name])), None)
        if bare:
            told = f"no turn of the {counted(len(parts[bare]), 'dialogue')} drawn for {bare} has an emotion"
            raise UserError(f"{path}: {told}, allowed is one or more; {DESCRIPTION_FILE} may say another seed of split")
    else:
        parts = {name: read[files[name]] for name in SPLITS}
    whole = [dialogue for of_file in read.values() for dialogue in of_file]  # a rare label may be in one part alone
    labels = described.labels or _find_labels(whole if len(read) == 1 else parts["train"], files["train"], remarks)
    _check_labels(parts, files, labels)
    splits = _name_dialogues(parts, files, remarks)
    if described.speakers == BY_CORPUS:
        splits = _number_persons(splits, described)
        remarks.append(
            f"speakers: {BY_CORPUS} in {DESCRIPTION_FILE}: a name is one person, who has one number in all prompts; in "
            "dialogues that a checkpoint is asked about later, speakers are numbered in order of appearance"
        )
    remarks += doubts(splits, labels, len(read) == 1)
    spec = _make_spec(described, labels, splits)
    return OwnCorpus(spec, splits, tuple(path for path, _, _ in states), tuple(remarks))


def _read_file(path: Path, remarks: list[str], is_drawn_unasked: bool) -> list[tuple[SpokenTurn, ...]]:
    """The dialogues of a file.

    is_drawn_unasked: its splits are drawn though corpus.yaml does not say so; a file that names splits is refused.

    Raises:
        UserError: the file cannot be read, or none of its turns has an emotion.
    """
    report = Report()
    try:
        read = read_turns(path, _find_labelled_format(path), report=report)
        turns = [replace(turn, emotion=_label_of(turn, path)) for turn in read]
    except UserError as error:
        raise UserError(_FLAGS_OF_PREDICT.sub("", str(error))) from None
    if not turns:
        raise UserError(f"{path}: holds no utterance, allowed is one or more")
    if all(turn.emotion is None for turn in turns):
        raise UserError(f"{path} line {_no_emotion(turns[0], report)}")
    if is_drawn_unasked and report.split:
        told = f"{report.split.name} says which split is which, and the splits of one file are drawn"
        allowed = f"allowed are a folder of three files, train, valid and test, or split in its {DESCRIPTION_FILE}"
        raise UserError(f"{path} line {report.split.line}: {told}; {allowed}, which has them drawn all the same")
    remarks += [f"{path.name}: {_FLAGS_OF_PREDICT.sub('', line)}" for line in report.lines()]
    return _apart(turns, path)


def _find_labelled_format(path: Path) -> str:
    form = find_format(path)
    if not FORMATS[form].labelled:
        allowed = ", ".join(name for name, one in FORMATS.items() if one.labelled)
        raise UserError(
            f"{path}: is read as {form} ({FORMATS[form].made_by}), which has no emotions, allowed in a corpus are "
            f"{allowed}, with a column or key emotion"
        )
    return form


def _apart(turns: Iterable[SpokenTurn], path: Path) -> list[tuple[SpokenTurn, ...]]:
    """The turns of each dialogue; UserError where one begins again, later than `number_turns` can tell."""
    dialogues = [tuple(of_one) for _, of_one in groupby(turns, key=lambda turn: turn.part)]
    first: dict[str, int] = {}
    for part, (turn, *_) in enumerate(dialogues):
        if first.setdefault(turn.dialogue, part) != part:
            told = f"dialogue {turn.dialogue!r} begins a second time, allowed are turns that stand together"
            raise UserError(f"{path} line {turn.line}: {told}")
    return dialogues


def _no_emotion(first: SpokenTurn, report: Report) -> str:
    """'<line>: <fault>' for a file without any emotion. first: its first turn."""
    header, (name, *others) = report.header, SYNONYMS["emotion"]
    if header and not {*map(fold_name, header.names)} & {name, *others}:
        return f"{header.line}: {columns_missing(header.names, ['emotion'])}"
    allowed = f"allowed is a label in the column or under the key {name} (or {', '.join(others)})"
    return f"{first.line}: no turn has an emotion, {allowed}"


def _label_of(turn: SpokenTurn, path: Path) -> str | None:
    written = turn.emotion or ""
    if len(written) > LONGEST_WRITTEN:
        told = f"the emotion has {len(written):,} characters, allowed are {LONGEST_WRITTEN:,}"
        raise UserError(f"{path} line {turn.line}: {told}")
    return label_in(written)


def _find_labels(train: Sequence[tuple[SpokenTurn, ...]], path: Path, remarks: list[str]) -> tuple[str, ...]:
    """The labels that train has, sorted: that order does not change with the number of utterances."""
    first: dict[str, SpokenTurn] = {}
    for turn in _labelled(train):
        first.setdefault(turn.emotion, turn)
    labels = tuple(sorted(first, key=lambda label: (label.casefold(), label)))
    for one, other in zip(labels, labels[1:], strict=False):
        if one.casefold() == other.casefold():
            lines = " and ".join(f"{label!r} (line {first[label].line})" for label in (one, other))
            raise UserError(f"{path}: the labels {lines} differ by letter case alone, allowed is one of them")
    for label in labels:
        if fault := find_label_fault(label):
            raise UserError(f"{path} line {first[label].line}: {fault}")
    if not 2 <= len(labels) <= MOST_FOUND_LABELS:
        shown = ", ".join(labels[:MOST_TOLD]) + ", ..." * (len(labels) > MOST_TOLD)
        raise UserError(
            f"{path}: its turns have {len(labels)} different emotions ({shown}), allowed are 2 to {MOST_FOUND_LABELS}, "
            f"or as many as {DESCRIPTION_FILE} lists under labels"
        )
    remarks.append(
        f"labels found in {path.name}, in the order of the alphabet: {', '.join(labels)}; {DESCRIPTION_FILE} may list "
        "them otherwise"
    )
    return labels


def _turns_of(dialogues: Iterable[tuple[SpokenTurn, ...]]) -> Iterator[SpokenTurn]:
    return (turn for dialogue in dialogues for turn in dialogue)


def _labelled(dialogues: Iterable[tuple[SpokenTurn, ...]]) -> Iterator[SpokenTurn]:
    return (turn for turn in _turns_of(dialogues) if turn.emotion is not None)


def _count(dialogues: Iterable[tuple[SpokenTurn, ...]]) -> Counter[str]:
    """Label -> its turns."""
    return Counter(turn.emotion for turn in _labelled(dialogues))


def _check_labels(
    parts: Mapping[str, Sequence[tuple[SpokenTurn, ...]]], files: Mapping[str, Path], labels: tuple[str, ...]
) -> None:
    """UserError names the first turn whose emotion is no label, and how many more there are."""
    wrong = [(files[name], turn) for name in SPLITS for turn in _labelled(parts[name]) if turn.emotion not in labels]
    if wrong:
        path, turn = wrong[0]
        more = f" (and {len(wrong) - 1:,} more)" if len(wrong) > 1 else ""
        raise UserError(
            f"{path} line {turn.line}: the emotion {turn.emotion!r} is no label, allowed are {', '.join(labels)}{more}"
        )


def _name_dialogues(
    parts: Mapping[str, Sequence[tuple[SpokenTurn, ...]]], files: Mapping[str, Path], remarks: list[str]
) -> Splits:
    """The dialogues with unique names: their own, or, where one stands in two splits for two, `<split>_<name>` for all.

    Raises:
        UserError: a dialogue of the same name and words stands in two splits. Where names stand for two, as numbers
            that begin anew in each file do, one of `BY_CHANCE` turns is let through: `doubts` tells of it.
    """
    named: dict[str, str] = {}
    said: dict[tuple[str, Words], tuple[str, int]] = {}
    shared: dict[str, tuple[str, str]] = {}
    repeated: list[tuple[int, str]] = []  # (turns of a dialogue, what is wrong with it)
    for name in SPLITS:
        for turns in parts[name]:
            dialogue = turns[0].dialogue
            other, line = said.setdefault((dialogue, _words_of(turns)), (name, turns[0].line))
            if other != name:
                told = f"dialogue {dialogue!r} stands word for word in {files[other].name} line {line} too"
                place = f"{files[name]} line {turns[0].line}"
                repeated.append((len(turns), f"{place}: {told}, allowed is each dialogue in one split"))
            elif (first := named.setdefault(dialogue, name)) != name:
                shared[dialogue] = (first, name)
    if faults := [fault for turns, fault in repeated if turns > BY_CHANCE or not shared]:
        raise UserError(faults[0])
    if shared:
        dialogue, (one, other) = next(iter(shared.items()))
        remarks.append(
            f"{len(shared):,} names of dialogues stand in two splits for different dialogues ({dialogue!r} in {one} "
            f"and {other}): all are called by split and name, such as {one}_{dialogue}"
        )
    return {
        name: tuple(
            LabelledDialogue(f"{name}_{turns[0].dialogue}" if shared else turns[0].dialogue, turns)
            for turns in parts[name]
        )
        for name in SPLITS
    }


def _words_of(turns: Iterable[SpokenTurn]) -> Words:
    return tuple((turn.speaker, turn.text) for turn in turns)


def _number_persons(splits: Splits, described: Description) -> Splits:
    """The dialogues with one number for each speaker of the corpus, by order of appearance; UserError: too many."""
    numbers: dict[str, int] = {}
    for name in SPLITS:
        for turn in _turns_of([dialogue.turns for dialogue in splits[name]]):
            numbers.setdefault(name_key(turn.speaker), len(numbers))
    if len(numbers) > MOST_NUMBERED:
        told = f"the corpus has {len(numbers)} speakers, allowed are {MOST_NUMBERED}, as the question of who speaks"
        raise described.fault("speakers", f"{told} lists all of them; or number them by dialogue")
    return {
        name: tuple(
            replace(one, turns=tuple(replace(turn, number=numbers[name_key(turn.speaker)]) for turn in one.turns))
            for one in dialogues
        )
        for name, dialogues in splits.items()
    }


def _make_spec(described: Description, labels: tuple[str, ...], splits: Splits) -> DatasetSpec:
    neutral = find_neutral(described, labels)
    highest = max(turn.number for of in splits.values() for dialogue in of for turn in dialogue.turns)
    return own_spec(
        described.name,
        labels=labels,
        speakers=max(highest + 1, LEAST_SPEAKERS),
        metric=find_metric(described, neutral),
        unified=order_unified(described, labels, neutral),
        neutral=neutral,
        licence=described.licence,
    )


def doubts(splits: Splits, labels: Sequence[str], is_drawn: bool) -> Iterator[str]:
    """Warnings of what may be learned badly, or not at all. is_drawn: the splits were drawn from one file."""
    counts = {name: _count(one.turns for one in splits[name]) for name in SPLITS}
    for name in SPLITS:
        if len(splits[name]) == 1:
            turns, drawn_from = len(splits[name][0].turns), sum(map(len, splits.values()))
            share = f", its share of {drawn_from:,}; {DESCRIPTION_FILE} may set another under split"
            several = "; where it is several, a column or key dialogue tells them apart"
            yield f"warning: {name} is one dialogue of {counted(turns, 'turn')}{share if is_drawn else several}"
    if all(map(_NUMBER.fullmatch, labels)):
        told = f"the labels are numbers ({', '.join(labels[:MOST_TOLD])}), and prompts show them so"
        yield f"warning: {told}; a language model knows more of words: write these into the files"
    yield from _doubled(splits)
    if all(len(one.turns) == 1 for one in splits["train"]):
        told = "every dialogue of train is one utterance, so that no prompt shows any before it"
        yield f"warning: {told}; where dialogues are longer, a column or key dialogue tells which turns are of one"
    for label in labels:
        there = counts["train"][label]
        if not there:
            yield f"warning: train has no {label!r}, so it cannot be learned"
        lacking = [name for name in ("valid", "test") if there and not counts[name][label]]
        if lacking:
            verb = "have" if lacking[1:] else "has"
            yield f"warning: {' and '.join(lacking)} {verb} no {label!r}, of which train has {there:,}"
        named = [one.name for one in splits["train"] if any(turn.emotion == label for turn in one.turns)]
        if len(named) == 1:
            yield f"warning: in train {label!r} stands in one dialogue only, {named[0]!r}"


def _doubled(splits: Splits) -> Iterator[str]:
    """Warnings of dialogues of a split that stand, word for word, under another name in an earlier split."""
    before: dict[Words, str] = {}
    for name in SPLITS:
        words = {one.name: _words_of(one.turns) for one in splits[name]}
        if again := [one for one, said in words.items() if said in before]:
            found = f"{len(again):,} of {len(words):,} dialogues of {name} stand word for word in an earlier split too"
            yield f"warning: {found}: {again[0]!r} is {before[words[again[0]]]!r}; scores there may be too high"
        before = {said: one for one, said in words.items()} | before


def describe(corpus: OwnCorpus) -> Iterator[str]:
    """A corpus in lines for the user: its sizes, its labels with their shares, then the remarks."""
    return map(as_line, _describe(corpus))


def _describe(corpus: OwnCorpus) -> Iterator[str]:
    spec = corpus.spec
    mixable = "" if spec.unified else "; without unified labels: it cannot be mixed with other corpora"
    licence = f"; licence {spec.licence}" if spec.licence else ""
    speakers = counted(spec.speakers, "speaker")
    yield f"{spec.name}: {len(spec.labels)} labels, scored by {spec.metric}, {speakers}{licence}{mixable}"
    for name, dialogues in corpus.splits.items():
        counts, turns = _count(one.turns for one in dialogues), sum(len(one.turns) for one in dialogues)
        bare = turns - counts.total()
        heard = f", {bare:,} of them without a label, which are heard and not asked about" if bare else ""
        shares = ", ".join(f"{label} {counts[label]:,} ({counts[label] / counts.total():.1%})" for label in spec.labels)
        sizes = f"{counted(len(dialogues), 'dialogue')}, {counted(turns, 'utterance')}"
        yield f"{name}: {sizes}{heard}: {shares}"
    yield from corpus.remarks
