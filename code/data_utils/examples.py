"""Dialogues -> rows: which rows a setting asks for."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from data_utils.corpora.registry import find_dataset
from data_utils.dialogues import Dialogue, Utterance, row_id
from data_utils.draws import ALL_OF_TRAIN, Draw, draw_rows
from data_utils.labels import SPLITS, DatasetSpec
from data_utils.prompts import (
    PAPER,
    add_demonstrations,
    render_plain_prompt,
    render_prediction_prompt,
    render_recognition_prompt,
    render_speaker_name,
    render_speaker_prompt,
    render_turn,
)
from data_utils.retrieval import Match, RetrievalSettings
from data_utils.row_files import PREDICTION, RECOGNITION, SPEAKER, Demonstration, Example

DEFAULT_WINDOW, DEFAULT_STEP = 12, 1
# Of the code that makes rows. A change that makes others of the same input counts it up; those on disk are made anew.
ROWS_VERSION = 2


@dataclass(frozen=True)
class RowSettings:
    """What decides the rows of one folder.

    kind: window (main task), predict (main task, and emotion_prediction in train), speaker or plain.
    historical_window: utterances shown before the target; 0 for speaker and plain, which show none.
    window_step: turns between two moves of the shown history's start, see `window_start`.
    prompt: form of the main prompt, `paper` or `compact`; rows of other tasks have the paper's words, so predict has no
        compact form, and no demonstration stands in one.
    clean_text, check_counts: see `load_dialogues`.
    retrieval: demonstrations in the main prompt, None: none. Rows of emotion_prediction never get any: the
        utterance that would look for them is what they may not show.
    draw: the utterances of train that there are rows, demonstrations and counts of.
    """

    dataset: str
    kind: str = "window"
    historical_window: int = DEFAULT_WINDOW
    clean_text: bool = False
    check_counts: bool = True
    retrieval: RetrievalSettings | None = None
    draw: Draw = ALL_OF_TRAIN
    window_step: int = DEFAULT_STEP
    prompt: str = PAPER

    @property
    def folder_name(self) -> str:
        """Name of the folder below `data/<dataset>`; the default window has no number in it, nor has all of train."""
        has_number = self.kind in ("window", "predict") and self.historical_window != DEFAULT_WINDOW
        parts = [self.kind]
        parts += [str(self.historical_window)] if has_number else []
        parts += [f"step_{self.window_step}"] if self.window_step != DEFAULT_STEP else []
        parts += [self.prompt] if self.prompt != PAPER else []
        parts += ["clean"] if self.clean_text else []
        parts += [] if self.draw.is_whole else [f"data_{self.draw.folder_suffix}"]
        parts += [self.retrieval.folder_suffix] if self.retrieval else []
        return "_".join(parts)


def window_start(turn: int, window: int, step: int = DEFAULT_STEP) -> int:
    """Of the prompt of a turn the first turn shown, both from 0: `max(0, turn - window)`, cut to a multiple of `step`.

    So it is 0 up to turn `window + step - 1` and then moves by `step` every `step` turns: a turn is shown after all
    those before it, or after `window` to `window + step - 1` of them; prompts share their history between two moves.
    Step 1 is the paper's window, whose start moves with every turn.
    """
    return max(0, turn - window) // step * step


def render_window(
    utterances: Sequence[Utterance], window: int, labels: Sequence[str], step: int = DEFAULT_STEP, form: str = PAPER
) -> str:
    """Return the main prompt for the last of `utterances`, the dialogue so far, from its `window_start` on."""
    shown = utterances[window_start(len(utterances) - 1, window, step) :]
    return render_recognition_prompt([render_turn(one.speaker, one.text) for one in shown], labels, form)


def _recognition_row(dialogue: Dialogue, turn: int, settings: RowSettings, spec: DatasetSpec) -> Example:
    window, step = settings.historical_window, settings.window_step
    prompt = render_window(dialogue.utterances[: turn + 1], window, spec.labels, step, settings.prompt)
    return _emotion_row(RECOGNITION, dialogue, turn, settings, prompt)


def _prediction_row(dialogue: Dialogue, turn: int, settings: RowSettings, spec: DatasetSpec) -> Example:
    history = dialogue.utterances[window_start(turn, settings.historical_window, settings.window_step) : turn]
    if not history:
        # Nothing to predict from: the method puts the main prompt in its place.
        prompt = _recognition_row(dialogue, turn, settings, spec).input
        return _emotion_row(PREDICTION, dialogue, turn, settings, prompt)
    prompt = render_prediction_prompt(
        [render_turn(one.speaker, one.text) for one in history],
        dialogue.utterances[turn].speaker,
        spec.labels,
    )
    return _emotion_row(PREDICTION, dialogue, turn, settings, prompt)


def _plain_row(dialogue: Dialogue, turn: int, settings: RowSettings, spec: DatasetSpec) -> Example:
    prompt = render_plain_prompt(dialogue.utterances[turn].text, spec.labels)
    return _emotion_row(RECOGNITION, dialogue, turn, settings, prompt)


def _emotion_row(task: str, dialogue: Dialogue, turn: int, settings: RowSettings, prompt: str) -> Example:
    label = dialogue.utterances[turn].label
    return Example(row_id(settings.dataset, dialogue.dialogue_id, turn), task, prompt, label)


def _speaker_row(dialogue: Dialogue, turn: int, settings: RowSettings, spec: DatasetSpec) -> Example:
    utterance = dialogue.utterances[turn]
    return Example(
        id=row_id(settings.dataset, dialogue.dialogue_id, turn),
        task=SPEAKER,
        input=render_speaker_prompt(utterance.text, spec.speakers),
        target=render_speaker_name(utterance.speaker),
    )


# Kind of folder -> (rows of each training turn, rows of each turn of valid and test).
_RowMaker = Callable[[Dialogue, int, RowSettings, DatasetSpec], Example]
_ROW_MAKERS: Mapping[str, tuple[tuple[_RowMaker, ...], tuple[_RowMaker, ...]]] = {
    "window": ((_recognition_row,), (_recognition_row,)),
    "predict": ((_recognition_row, _prediction_row), (_recognition_row,)),
    "speaker": ((_speaker_row,), (_speaker_row,)),
    "plain": ((_plain_row,), (_plain_row,)),
}


def build_examples(
    settings: RowSettings, dialogues: Mapping[str, Sequence[Dialogue]], spec: DatasetSpec | None = None
) -> dict[str, list[Example]]:
    """Return split -> rows of the labelled turns, in the order of the dialogues; those of one turn next to each other.

    Of train those that are drawn; UserError where none would be left. spec: of the dataset, where it is known already.
    """
    spec = spec or find_dataset(settings.dataset)
    in_train, in_others = _ROW_MAKERS[settings.kind]
    rows = {
        split: [
            make_row(dialogue, turn, settings, spec)
            for dialogue in dialogues[split]
            for turn, _ in dialogue.labelled
            for make_row in (in_train if split == "train" else in_others)
        ]
        for split in SPLITS
    }
    return rows | {"train": draw_rows(rows["train"], settings.draw)}


def with_demonstrations(
    rows: Sequence[Example], demonstrations: Mapping[str, Sequence[Match]], position: str
) -> list[Example]:
    """The rows, those of the main task with what was retrieved for them (row id -> matches) in their prompt."""
    shown = []
    for row in rows:
        if row.task != RECOGNITION:
            shown.append(row)
            continue
        matches = demonstrations[row.id]
        pairs = [(match.entry.text, match.entry.label) for match in matches]
        named = tuple(Demonstration(match.entry.id, match.entry.label, match.similarity) for match in matches)
        shown.append(replace(row, input=add_demonstrations(row.input, pairs, position), demonstrations=named))
    return shown
