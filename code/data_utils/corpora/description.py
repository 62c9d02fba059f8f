"""corpus.yaml, in which users describe a corpus of their own; every key, and the file itself, may be left out."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from basics.errors import UserError
from basics.yaml_files import YamlError, parse_yaml
from data_utils.corpora.places import DESCRIPTION_FILE, NAME, NAME_FORM, TAKEN, find_misnamed, may_be_called
from data_utils.draws import DEFAULT_SEED
from data_utils.labels import (
    INVALID,
    MICRO_F1_WITHOUT,
    MICRO_F1_WITHOUT_NEUTRAL,
    NEUTRAL,
    OWN_MAX_LENGTH,
    OWN_SPEAKER_OFFSET,
    SPLITS,
    WEIGHTED_F1,
    DatasetSpec,
)
from data_utils.labels import UNIFIED_PROMPT_LABELS as UNIFIED_LABELS
from dialogue_files.names import fold_label

# How speakers are numbered: anew in each dialogue, in order of appearance, or once in all of the corpus.
BY_DIALOGUE, BY_CORPUS = "dialogue", "corpus"
USUAL_SHARES = {"train": 0.8, "valid": 0.1, "test": 0.1}
LONGEST_LABEL = 40  # characters
LONGEST_TEXT = 1_000  # characters of a value, those that are not shown among them
ROUNDING = 1e-6
_NO_LABELS = ("", "nan", "<na>")  # the last two as pandas writes a cell that is empty, letter case aside
_TEXT_TAG = "tag:yaml.org,2002:str"


@dataclass(frozen=True)
class Split:
    """How one file is split by dialogue. shares: split -> its share of the dialogues; they add up to 1."""

    shares: Mapping[str, float] = field(default_factory=lambda: USUAL_SHARES)
    seed: int = DEFAULT_SEED


@dataclass(frozen=True)
class Description:
    """The values of corpus.yaml; None or empty for those that it leaves out.

    path: corpus.yaml, or the corpus where there is no such file. labels: in the order of the prompt. speakers:
    BY_DIALOGUE or BY_CORPUS. unified: own label -> unified label. lines: key -> its line in the file, from 1.
    """

    path: Path
    name: str
    labels: tuple[str, ...] = ()
    neutral: str | None = None
    metric: str = WEIGHTED_F1
    speakers: str = BY_DIALOGUE
    licence: str = ""
    unified: Mapping[str, str] = field(default_factory=dict)
    split: Split | None = None
    lines: Mapping[str, int] = field(default_factory=dict)

    def fault(self, key: str, problem: str) -> UserError:
        """The error that names file, line and key."""
        place = f"{self.path} line {self.lines[key]}" if key in self.lines else str(self.path)
        return UserError(f"{place}: {key}: {problem}")


class _Fault(Exception):
    """A value is not allowed; the message says why, and which values are."""


def read_description(corpus: Path) -> Description:
    """Reads corpus.yaml of a folder; without that file, or where the corpus is one file, only its name is known.

    Raises:
        UserError: the file cannot be read, or a key or value of it is not allowed.
    """
    path = corpus / DESCRIPTION_FILE
    if not path.is_file():
        if misnamed := find_misnamed(corpus):
            raise UserError(f"{misnamed}: is not read, allowed for what it says of the corpus is {DESCRIPTION_FILE}")
        name = corpus.name if corpus.is_dir() else corpus.stem
        return _checked_name(Description(corpus, name))
    content, lines = _load(path)
    values = {}
    for key, value in content.items():
        if key not in _READERS:
            told = f"{key!r} is not known, allowed are {', '.join(_READERS)}"
            raise UserError(f"{path} line {lines[key]}: {told}")
        try:
            values[key] = _READERS[key](value)
        except _Fault as fault:
            raise UserError(f"{path} line {lines[key]}: {key}: {fault}") from None
    return _checked_name(Description(**{"path": path, "name": corpus.name, "lines": lines} | values))


def _checked_name(described: Description) -> Description:
    if not may_be_called(described.name):
        why = "is taken" if NAME.fullmatch(described.name) else "is no name"
        told = f"{described.name!r} {why}, allowed are {NAME_FORM}, but in whatever case {', '.join(TAKEN)}"
        raise described.fault("name", f"{told}; give it one in {DESCRIPTION_FILE}, or rename the corpus")
    return described


def _load(path: Path) -> tuple[dict[str, Any], dict[str, int]]:
    """(key -> value, key -> line) of the file."""
    try:
        content, lines = parse_yaml(path.read_text(encoding="utf-8-sig"), partial(_lines_of_all, path=path))
    except YamlError as error:
        place = f"{path} line {error.line}" if error.line else str(path)
        raise UserError(f"{place}: cannot be read ({error.reason}), allowed is YAML in UTF-8") from None
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error.reason
        raise UserError(f"{path}: cannot be read ({reason}), allowed is YAML in UTF-8") from None
    if content is None:
        return {}, {}
    if not isinstance(content, dict):
        raise UserError(f"{path} line 1: holds a {type(content).__name__}, allowed are keys: {', '.join(_READERS)}")
    return content, lines


def _lines_of_all(root: Any, path: Path) -> dict[str, int]:
    """Key -> line of the root, {} where it is no mapping; keys of mappings among its values are checked too."""
    if root.id != "mapping":
        return {}
    for _, value in root.value:
        if value.id == "mapping":
            _lines_of(value, path)
    return _lines_of(root, path)


def _lines_of(node: Any, path: Path) -> dict[str, int]:
    """Key -> line of a composed YAML mapping; UserError where a key is no text, or stands there twice."""
    lines: dict[str, int] = {}
    for key, _ in node.value:
        place, named = f"{path} line {key.start_mark.line + 1}", key.value
        if key.tag != _TEXT_TAG:
            shown = repr(named) if key.id == "scalar" else f"(a {key.id})"
            raise UserError(f"{place}: the key {shown} is no text, allowed is a text (in quotes, such as 'yes')")
        if named in lines:
            raise UserError(f"{place}: {named} stands there twice, allowed is once")
        lines[named] = key.start_mark.line + 1
    return lines


def _text(value: Any) -> str:
    if isinstance(value, str) and len(value) > LONGEST_TEXT:
        raise _Fault(f"has {len(value):,} characters, allowed are {LONGEST_TEXT:,}")
    if not isinstance(value, str) or not fold_label(value):
        raise _Fault(f"{value!r} is no text, allowed is a text (in quotes where it reads like something else)")
    return fold_label(value)


def label_in(written: str | None) -> str | None:
    """The label that a cell or key of a corpus holds; None: it holds none."""
    label = fold_label(written or "")
    return None if label.casefold() in _NO_LABELS else label


def find_label_fault(label: str) -> str | None:
    """Why a label cannot stand in a prompt; None: it can."""
    if not label.strip():
        return "a label is empty, allowed is a text"
    if label_in(label) is None:
        return f"the label {label!r} is how tables write that there is none, allowed are others"
    if set(label) & set(",<>") or not label.isprintable():
        return f"the label {label!r} has a comma, < or >, as prompts have around labels, or what cannot be printed"
    if len(label) > LONGEST_LABEL:
        return f"the label {label[:LONGEST_LABEL]!r}... has {len(label)} characters, allowed are {LONGEST_LABEL}"
    if label.casefold() == INVALID:
        return f"the label {INVALID!r} stands for an answer that holds no label, allowed are others"
    return None


def _labels(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise _Fault("allowed is a list of labels, in the order of the prompt")
    labels = tuple(map(_text, value))
    faults = [fault for label in labels if (fault := find_label_fault(label))]
    if faults:
        raise _Fault(faults[0])
    folded = [label.casefold() for label in labels]
    double = next((label for label in labels if folded.count(label.casefold()) > 1), None)
    if double:
        raise _Fault(f"{double!r} stands there twice, letter case aside; allowed is once")
    if len(labels) < 2:
        raise _Fault("allowed are two labels or more")
    return labels


def _one_of(*allowed: str) -> Callable[[Any], str]:
    def read(value: Any) -> str:
        if value not in allowed:
            raise _Fault(f"{value!r} is not allowed, allowed are {', '.join(allowed)}")
        return value

    return read


def _unified(value: Any) -> dict[str, str]:
    if not isinstance(value, dict):
        raise _Fault("allowed is a unified label for each label, such as 'happy: joyful'")
    for label, unified in value.items():
        if unified not in UNIFIED_LABELS:
            raise _Fault(f"{label} is {unified!r}, allowed are {', '.join(UNIFIED_LABELS)}")
    return {_text(label): unified for label, unified in value.items()}


def _split(value: Any) -> Split:
    if not isinstance(value, dict) or set(value) - {*SPLITS, "seed"}:
        raise _Fault(f"allowed are {', '.join(SPLITS)} (shares of the dialogues) and seed")
    seed = value.get("seed", DEFAULT_SEED)
    if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
        raise _Fault(f"seed is {seed!r}, allowed is a whole number, 0 or more")
    shares = {name: value[name] for name in SPLITS if name in value} or dict(USUAL_SHARES)
    for name in SPLITS:
        share = shares.get(name)
        if not isinstance(share, int | float) or isinstance(share, bool) or not 0 < share < 1:
            raise _Fault(f"{name} is {share!r}, allowed are three shares above 0 that add up to 1")
    if abs(sum(shares.values()) - 1) > ROUNDING:
        raise _Fault(f"the shares add up to {sum(shares.values()):g}, allowed is 1")
    return Split(shares, seed)


_READERS: Mapping[str, Callable[[Any], Any]] = {
    "name": _text,
    "labels": _labels,
    "neutral": _text,
    "metric": _one_of(WEIGHTED_F1, MICRO_F1_WITHOUT_NEUTRAL),
    "speakers": _one_of(BY_DIALOGUE, BY_CORPUS),
    "licence": _text,
    "unified": _unified,
    "split": _split,
}


def find_neutral(described: Description, labels: tuple[str, ...]) -> str | None:
    """The label that stands for no emotion: the one that is named, else one that is called neutral.

    Raises:
        UserError: the one that is named is none of the labels.
    """
    if described.neutral is None:
        return next((label for label in labels if label.lower() == NEUTRAL), None)
    if described.neutral not in labels:
        raise described.fault("neutral", f"{described.neutral!r} is no label, allowed are {', '.join(labels)}")
    return described.neutral


def find_metric(described: Description, neutral: str | None) -> str:
    """The headline score; UserError where it is the micro F1 without neutral, and no label is the neutral one."""
    if described.metric == WEIGHTED_F1:
        return WEIGHTED_F1
    if neutral is None:
        raise described.fault("metric", f"{described.metric} needs a neutral label: name it under neutral")
    return MICRO_F1_WITHOUT_NEUTRAL if neutral.lower() == NEUTRAL else MICRO_F1_WITHOUT + neutral


def order_unified(described: Description, labels: tuple[str, ...], neutral: str | None) -> tuple[str, ...]:
    """The unified label of each label; none where the corpus has no mapping.

    Raises:
        UserError: a label is not mapped, or something is that is no label; or the score leaves the neutral label out,
            and that label is mapped to something else than neutral.
    """
    if not described.unified:
        return ()
    missing = [label for label in labels if label not in described.unified]
    unknown = [label for label in described.unified if label not in labels]
    if missing or unknown:
        told = f"{', '.join(missing or unknown)} {'has no unified label' if missing else 'is no label'}"
        allowed = f"unified labels are {', '.join(UNIFIED_LABELS)}" if missing else f"labels are {', '.join(labels)}"
        raise described.fault("unified", f"{told}; {allowed}")
    if described.metric != WEIGHTED_F1 and described.unified[neutral] != NEUTRAL:
        raise described.fault("unified", f"{neutral} is the neutral label, and {described.metric} leaves {NEUTRAL} out")
    return tuple(described.unified[label] for label in labels)


def own_spec(name: str, **known: Any) -> DatasetSpec:
    """The `DatasetSpec` of a corpus of one's own: `known`, and the values that all such corpora share."""
    usual = {"slots": (), "expected": {}, "speaker_encoding": "", "max_length": OWN_MAX_LENGTH}
    return DatasetSpec(name=name, **usual | {"speaker_offset": OWN_SPEAKER_OFFSET} | known)
