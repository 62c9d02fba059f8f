"""Dialogues -> rows: which rows a setting asks for."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from basics.errors import UserError
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
# Count it up with every change of the code that makes other rows of the same input: rows on disk are then made anew.
ROWS_VERSION = 2


@dataclass(frozen=True)
class RowSettings:
    """What decides the rows of one folder.

    kind: window (main task), predict (main task, and emotion_prediction in train), speaker or plain.
    historical_window: utterances shown before the target; 0 for speaker and plain, which show none.
    window_step: turns between two moves of the shown history's start, see `window_start`.
    prompt: form of the prompts of recognition and prediction, `paper` or `compact`, which has no place for a
        demonstration.
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
    """The first turn that the prompt of a turn shows (from 0): `max(0, turn - window)`, cut to a multiple of `step`.

    So it is 0 up to turn `window + step - 1` and then moves by `step` every `step` turns: a turn is shown after all
    those before it, or after `window` to `window + step - 1` of them; prompts share their history between two moves.
    Step 1 is the paper's window, whose start moves with every turn.
    """
    return max(0, turn - window) // step * step


def render_window(
    utterances: Sequence[Utterance],
    window: int,
    labels: Sequence[str],
    step: int = DEFAULT_STEP,
    form: str = PAPER,
    turn: int = -1,
) -> str:
    """Return the main prompt for a turn (from 0; -1: the last) of `utterances`, from its `window_start` on."""
    turn %= len(utterances)
    shown = utterances[window_start(turn, window, step) : turn + 1]
    return render_recognition_prompt([render_turn(one.speaker, one.text) for one in shown], labels, form)


# (dialogue, turn, settings, dataset) -> the prompt of a row.
_Prompt = Callable[[Dialogue, int, RowSettings, DatasetSpec], str]


def _recognition_prompt(dialogue: Dialogue, turn: int, settings: RowSettings, spec: DatasetSpec) -> str:
    window, step = settings.historical_window, settings.window_step
    return render_window(dialogue.utterances, window, spec.labels, step, settings.prompt, turn)


def _prediction_prompt(dialogue: Dialogue, turn: int, settings: RowSettings, spec: DatasetSpec) -> str:
    history = dialogue.utterances[window_start(turn, settings.historical_window, settings.window_step) : turn]
    if not history:
        # Nothing to predict from: the method puts the main prompt in its place.
        return _recognition_prompt(dialogue, turn, settings, spec)
    speaker = dialogue.utterances[turn].speaker
    shown = [render_turn(one.speaker, one.text) for one in history]
    return render_prediction_prompt(shown, speaker, spec.labels, settings.prompt)


def _plain_prompt(dialogue: Dialogue, turn: int, settings: RowSettings, spec: DatasetSpec) -> str:
    return render_plain_prompt(dialogue.utterances[turn].text, spec.labels)


def _speaker_prompt(dialogue: Dialogue, turn: int, settings: RowSettings, spec: DatasetSpec) -> str:
    return render_speaker_prompt(dialogue.utterances[turn].text, spec.speakers)


# Kind of rows -> (task, prompt) of the rows of each turn of train, then of each turn of valid and test.
_Makers = tuple[tuple[str, _Prompt], ...]
_ROW_MAKERS: Mapping[str, tuple[_Makers, _Makers]] = {
    "window": (((RECOGNITION, _recognition_prompt),),) * 2,
    "predict": (
        ((RECOGNITION, _recognition_prompt), (PREDICTION, _prediction_prompt)),
        ((RECOGNITION, _recognition_prompt),),
    ),
    "speaker": (((SPEAKER, _speaker_prompt),),) * 2,
    "plain": (((RECOGNITION, _plain_prompt),),) * 2,
}


@dataclass(frozen=True, slots=True)
class PlannedRow:
    """A row whose prompt is only made by `worded`, as it is many times as long as the utterance.

    prompt: (dialogue, turn) -> the prompt.
    """

    dataset: str
    task: str
    dialogue: Dialogue
    turn: int
    prompt: Callable[[Dialogue, int], str]

    @property
    def id(self) -> str:
        return row_id(self.dataset, self.dialogue.dialogue_id, self.turn)

    def worded(self) -> Example:
        """The row with its prompt and target."""
        utterance = self.dialogue.utterances[self.turn]
        target = render_speaker_name(utterance.speaker) if self.task == SPEAKER else utterance.label
        return Example(self.id, self.task, self.prompt(self.dialogue, self.turn), target)


def plan_rows(
    settings: RowSettings, dialogues: Mapping[str, Sequence[Dialogue]], spec: DatasetSpec | None = None
) -> dict[str, list[PlannedRow]]:
    """Return split -> rows of the labelled turns, in the order of the dialogues; those of one turn next to each other.

    train has the rows that `settings.draw` chooses. spec: of the dataset, where the caller knows it already.

    Raises:
        UserError: the draw leaves no row; or `predict`, and no labelled turn of train has a turn before it.
    """
    if settings.kind == "predict" and not any(turn for one in dialogues["train"] for turn, _ in one.labelled):
        told = f"no utterance of {settings.dataset}'s train with a label has one before it"
        raise UserError(f"--emotion_prediction True: {told}, from which its emotion could be predicted; leave it away")
    spec = spec or find_dataset(settings.dataset)
    of_train, of_others = (
        [(task, partial(prompt, settings=settings, spec=spec)) for task, prompt in makers]
        for makers in _ROW_MAKERS[settings.kind]
    )
    rows = {
        split: [
            PlannedRow(settings.dataset, task, dialogue, turn, prompt)
            for dialogue in dialogues[split]
            for turn, _ in dialogue.labelled
            for task, prompt in (of_train if split == "train" else of_others)
        ]
        for split in SPLITS
    }
    return rows | {"train": draw_rows(rows["train"], settings.draw)}


def build_examples(
    settings: RowSettings, dialogues: Mapping[str, Sequence[Dialogue]], spec: DatasetSpec | None = None
) -> dict[str, list[Example]]:
    """The rows of `plan_rows`, all of them with their prompts."""
    return {split: [row.worded() for row in rows] for split, rows in plan_rows(settings, dialogues, spec).items()}


def show_demonstrations(row: Example, demonstrations: Mapping[str, Sequence[Match]], position: str) -> Example:
    """The row with its demonstrations in the prompt; rows of other tasks than recognition stay as they are.

    demonstrations: row id -> what was retrieved for it. position: see `RetrievalSettings`.
    """
    if row.task != RECOGNITION:
        return row
    matches = demonstrations[row.id]
    pairs = [(match.entry.text, match.entry.label) for match in matches]
    named = tuple(Demonstration(match.entry.id, match.entry.label, match.similarity) for match in matches)
    return replace(row, input=add_demonstrations(row.input, pairs, position), demonstrations=named)
