"""Rows on disk: what a row is, JSON Lines with one row each, and the manifest that describes a folder of them."""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from basics.errors import UserError
from basics.files import open_atomically
from basics.json_files import parse_json
from data_utils.draws import is_draw

RECOGNITION = "emotion_recognition"
SPEAKER = "speaker_identification"
PREDICTION = "emotion_prediction"
TASKS = (RECOGNITION, SPEAKER, PREDICTION)

MANIFEST_NAME = "manifest.json"

_TEXTS = ("id", "task", "input", "target")
_SHOWN = "demonstrations"
_ROW_ID = re.compile(r".+/.+/[0-9]+", re.DOTALL)


@dataclass(frozen=True)
class Demonstration:
    """An utterance of train that a prompt shows. id: of its row. similarity: cosine to the row's own utterance."""

    id: str
    label: str
    similarity: float


@dataclass(frozen=True)
class Example:
    """One JSON row. `id` is `<dataset>/<dialogue>/<turn>` with turns from 0; (id, task) is unique.

    demonstrations: those that stand in `input`; the key is left out where there are none.
    """

    id: str
    task: str
    input: str
    target: str
    demonstrations: tuple[Demonstration, ...] = ()


def write_rows(path: Path, examples: Iterable[Example]) -> None:
    """Write rows as JSON Lines in UTF-8, whole or not at all; OSError names the file."""
    encode = json.JSONEncoder(ensure_ascii=False).encode
    with open_atomically(path) as stream:
        stream.writelines(f"{encode(_as_object(example))}\n".encode() for example in examples)


def _as_object(example: Example) -> dict[str, Any]:
    shown = [vars(demonstration) for demonstration in example.demonstrations]
    return {name: getattr(example, name) for name in _TEXTS} | ({_SHOWN: shown} if shown else {})


def read_rows(path: Path) -> list[Example]:
    """Read the rows of one file in order; UserError names the file and the line (from 1) of a bad one."""
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); data_process.py writes it") from None
    return list(_parse_lines(content, path))


def _parse_lines(content: bytes, path: Path) -> Iterator[Example]:
    # Only \n ends a row: MELD's U+0085 would be a line break to str.splitlines.
    for number, line in enumerate(content.removesuffix(b"\n").split(b"\n") if content else (), start=1):
        try:
            yield _parse_row(parse_json(line.decode("utf-8")))
        except ValueError as error:
            raise UserError(
                f"{path} line {number}: not a row ({error}); allowed is a JSON object of id "
                f"(dataset/dialogue/turn), task ({', '.join(TASKS)}), input and target, each a text"
            ) from None


def _parse_row(row: Any) -> Example:
    if not isinstance(row, dict) or set(row) - {_SHOWN} != set(_TEXTS):
        found = ", ".join(sorted(map(str, row))) if isinstance(row, dict) else f"a {type(row).__name__}"
        raise ValueError(f"holds {found}")
    for name in _TEXTS:
        if not isinstance(row[name], str) or not row[name].strip():
            raise ValueError(f"{name} is empty or no text")
    if not _ROW_ID.fullmatch(row["id"]):
        raise ValueError(f"id is {row['id']!r}")
    if row["task"] not in TASKS:
        raise ValueError(f"task is {row['task']!r}")
    return Example(**{name: row[name] for name in _TEXTS}, demonstrations=_parse_shown(row.get(_SHOWN, [])))


def _parse_shown(shown: Any) -> tuple[Demonstration, ...]:
    try:
        return tuple(Demonstration(str(one["id"]), str(one["label"]), float(one["similarity"])) for one in shown)
    except (KeyError, TypeError):
        raise ValueError("demonstrations are no list of id, label and similarity") from None


def read_manifest(folder: Path) -> dict[str, Any]:
    """Return what manifest.json of a row folder says; UserError if there is none, or none of ours.

    Keys: dataset, labels (prompt order), arguments, counts (split -> task -> rows), sha256 (file -> hex),
    source_path (file name), source_sha256, template_sha256, rows_version, texts (split -> id -> `digest_text` of the
    utterance), seen_in_train (valid and test -> ids of utterances whose text, letter case and outer blanks aside,
    train.json has too), left_out (dataset -> numbers of dialogues and utterances, for the scenes that they share).
    """
    path = Path(folder) / MANIFEST_NAME
    try:
        manifest = parse_json(path.read_bytes())
    except OSError as error:
        raise UserError(
            f"{folder} is no folder of rows: {path.name} cannot be read ({error.strerror}); data_process.py writes it"
        ) from None
    except ValueError as error:
        raise UserError(f"{path}: not JSON ({error}); data_process.py writes it anew") from None
    if not isinstance(manifest, dict):
        raise UserError(f"{path}: holds a {type(manifest).__name__}, allowed is a JSON object")
    wrong = [key for key, is_right in _MANIFEST_KEYS.items() if not is_right(manifest.get(key))]
    if wrong:
        raise UserError(
            f"{path}: {', '.join(wrong)} missing or of the wrong kind, allowed are dataset (a text), labels "
            "(texts) and sha256 (file names with texts); data_process.py writes it anew"
        )
    spoilt = [key for key, is_right in _FURTHER_KEYS.items() if key in manifest and not is_right(manifest[key])]
    if spoilt:
        raise UserError(f"{path}: {', '.join(spoilt)} not as data_process.py wrote it, which writes it anew")
    return manifest


def _are_texts(values: Any) -> bool:
    return bool(values) and all(isinstance(value, str) for value in values)


def _are_objects(value: Any, is_right: Callable[[Any], bool]) -> bool:
    return isinstance(value, dict) and all(isinstance(of, dict) and is_right(of) for of in value.values())


def _are_numbers(values: Mapping[str, Any]) -> bool:
    return all(type(number) is int for number in values.values())


# What every run relies on -> whether it is of the right kind.
_MANIFEST_KEYS: Mapping[str, Callable[[Any], bool]] = {
    "dataset": lambda value: isinstance(value, str),
    "labels": lambda value: isinstance(value, list) and _are_texts(value),
    "sha256": lambda value: isinstance(value, dict) and _are_texts(value.values()),
}
# What may be left out by an older version, or where there is nothing to tell.
_FURTHER_KEYS: Mapping[str, Callable[[Any], bool]] = {
    "arguments": lambda value: isinstance(value, dict) and ("draw" not in value or is_draw(value["draw"])),
    "counts": lambda value: _are_objects(value, _are_numbers),
    "texts": lambda value: _are_objects(value, lambda of: all(isinstance(digest, str) for digest in of.values())),
    "left_out": lambda value: _are_objects(value, lambda of: "dialogues" in of and _are_numbers(of)),
    "demonstrations": lambda value: _are_objects(value, lambda of: type(of.get("label_agreement")) in (int, float)),
}
