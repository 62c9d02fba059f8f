"""Dialogues -> rows: what a row is, which rows a setting asks for, and the files they are kept in."""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from data_utils.dialogues import Dialogue, Utterance
from data_utils.errors import UserError
from data_utils.files import open_atomically
from data_utils.labels import DATASETS, SPLITS
from data_utils.prompts import (
    render_plain_prompt,
    render_prediction_prompt,
    render_recognition_prompt,
    render_speaker_name,
    render_speaker_prompt,
    render_turn,
)

RECOGNITION = "emotion_recognition"
SPEAKER = "speaker_identification"
PREDICTION = "emotion_prediction"
TASKS = (RECOGNITION, SPEAKER, PREDICTION)

MANIFEST_NAME = "manifest.json"
DEFAULT_WINDOW = 12

_ROW_ID = re.compile(r".+/.+/[0-9]+", re.DOTALL)


@dataclass(frozen=True)
class Example:
    """One JSON row. `id` is `<dataset>/<dialogue>/<turn>` with turns from 0; (id, task) is unique."""

    id: str
    task: str
    input: str
    target: str


@dataclass(frozen=True)
class RowSettings:
    """What decides the rows of one folder.

    kind: window (main task), predict (main task, and emotion_prediction in train), speaker or plain.
    historical_window: utterances shown before the target; 0 for speaker and plain, which show none.
    clean_text, check_counts: see `load_dialogues`.
    domain_base: demonstrations from the training set in the prompt.
    """

    dataset: str
    kind: str = "window"
    historical_window: int = DEFAULT_WINDOW
    clean_text: bool = False
    domain_base: bool = False
    check_counts: bool = True

    @property
    def folder_name(self) -> str:
        """Name of the folder below `data/<dataset>`; the default window has no number in it."""
        has_number = self.kind in ("window", "predict") and self.historical_window != DEFAULT_WINDOW
        number = f"_{self.historical_window}" if has_number else ""
        return self.kind + number + ("_clean" if self.clean_text else "")


def row_id(dataset: str, dialogue_id: str, turn: int) -> str:
    """Return the id of one utterance's rows."""
    return f"{dataset}/{dialogue_id}/{turn}"


def render_window(utterances: Sequence[Utterance], window: int, labels: Sequence[str]) -> str:
    """Return the main prompt for the last of `utterances`, with at most `window` turns before it."""
    shown = utterances[max(0, len(utterances) - 1 - window) :]
    return render_recognition_prompt([render_turn(one.speaker, one.text) for one in shown], labels)


def _recognition_row(dialogue: Dialogue, turn: int, settings: RowSettings) -> Example:
    spec = DATASETS[settings.dataset]
    prompt = render_window(dialogue.utterances[: turn + 1], settings.historical_window, spec.labels)
    return _emotion_row(RECOGNITION, dialogue, turn, settings, prompt)


def _prediction_row(dialogue: Dialogue, turn: int, settings: RowSettings) -> Example:
    history = dialogue.utterances[max(0, turn - settings.historical_window) : turn]
    if not history:
        # Nothing to predict from: the method puts the main prompt in its place.
        return _emotion_row(
            PREDICTION, dialogue, turn, settings, _recognition_row(dialogue, turn, settings).input
        )
    prompt = render_prediction_prompt(
        [render_turn(one.speaker, one.text) for one in history],
        dialogue.utterances[turn].speaker,
        DATASETS[settings.dataset].labels,
    )
    return _emotion_row(PREDICTION, dialogue, turn, settings, prompt)


def _plain_row(dialogue: Dialogue, turn: int, settings: RowSettings) -> Example:
    prompt = render_plain_prompt(dialogue.utterances[turn].text, DATASETS[settings.dataset].labels)
    return _emotion_row(RECOGNITION, dialogue, turn, settings, prompt)


def _emotion_row(task: str, dialogue: Dialogue, turn: int, settings: RowSettings, prompt: str) -> Example:
    label = dialogue.utterances[turn].label
    if label is None:
        raise ValueError(f"dialogue {dialogue.dialogue_id} turn {turn} has no gold label")
    return Example(row_id(settings.dataset, dialogue.dialogue_id, turn), task, prompt, label)


def _speaker_row(dialogue: Dialogue, turn: int, settings: RowSettings) -> Example:
    utterance = dialogue.utterances[turn]
    return Example(
        id=row_id(settings.dataset, dialogue.dialogue_id, turn),
        task=SPEAKER,
        input=render_speaker_prompt(utterance.text, DATASETS[settings.dataset].speakers),
        target=render_speaker_name(utterance.speaker),
    )


# Kind of folder -> (rows of each training turn, rows of each turn of valid and test).
_RowMaker = Callable[[Dialogue, int, RowSettings], Example]
_ROW_MAKERS: Mapping[str, tuple[tuple[_RowMaker, ...], tuple[_RowMaker, ...]]] = {
    "window": ((_recognition_row,), (_recognition_row,)),
    "predict": ((_recognition_row, _prediction_row), (_recognition_row,)),
    "speaker": ((_speaker_row,), (_speaker_row,)),
    "plain": ((_plain_row,), (_plain_row,)),
}


def build_examples(
    settings: RowSettings, dialogues: Mapping[str, Sequence[Dialogue]]
) -> dict[str, list[Example]]:
    """Return split -> rows, in the order of the dialogues; rows of one turn stand next to each other."""
    in_train, in_others = _ROW_MAKERS[settings.kind]
    return {
        split: [
            make_row(dialogue, turn, settings)
            for dialogue in dialogues[split]
            for turn in range(len(dialogue.utterances))
            for make_row in (in_train if split == "train" else in_others)
        ]
        for split in SPLITS
    }


def write_rows(path: Path, examples: Sequence[Example]) -> None:
    """Write rows as JSON Lines in UTF-8, whole or not at all; OSError names the file."""
    encode = json.JSONEncoder(ensure_ascii=False).encode
    with open_atomically(path) as stream:
        stream.writelines(f"{encode(vars(example))}\n".encode() for example in examples)


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
            yield _parse_row(json.loads(line.decode("utf-8")))
        except ValueError as error:
            raise UserError(
                f"{path} line {number}: not a row ({error}); allowed is a JSON object of id "
                f"(dataset/dialogue/turn), task ({', '.join(TASKS)}), input and target, each a text"
            ) from None


def _parse_row(row: Any) -> Example:
    names = [field.name for field in fields(Example)]
    if not isinstance(row, dict) or set(row) != set(names):
        found = ", ".join(sorted(map(str, row))) if isinstance(row, dict) else f"a {type(row).__name__}"
        raise ValueError(f"holds {found}")
    for name in names:
        if not isinstance(row[name], str) or not row[name].strip():
            raise ValueError(f"{name} is empty or no text")
    if not _ROW_ID.fullmatch(row["id"]):
        raise ValueError(f"id is {row['id']!r}")
    if row["task"] not in TASKS:
        raise ValueError(f"task is {row['task']!r}")
    return Example(**row)


def read_manifest(folder: Path) -> dict[str, Any]:
    """Return what manifest.json of a row folder says; UserError if there is none, or none of ours.

    Keys: dataset, labels (prompt order), arguments, counts (split -> task -> rows), sha256 (file -> hex),
    source_path (file name), source_sha256, template_sha256, seen_in_train (valid and test -> ids of
    utterances whose text, letter case and outer blanks aside, also stands in train).
    """
    path = Path(folder) / MANIFEST_NAME
    try:
        manifest = json.loads(path.read_bytes())
    except OSError as error:
        raise UserError(
            f"{folder} is no folder of rows: {path.name} cannot be read ({error.strerror}); "
            "data_process.py writes it"
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
    return manifest


def _are_texts(values: Any) -> bool:
    return bool(values) and all(isinstance(value, str) for value in values)


# What every run relies on -> whether it is of the right kind.
_MANIFEST_KEYS: Mapping[str, Callable[[Any], bool]] = {
    "dataset": lambda value: isinstance(value, str),
    "labels": lambda value: isinstance(value, list) and _are_texts(value),
    "sha256": lambda value: isinstance(value, dict) and _are_texts(value.values()),
}
