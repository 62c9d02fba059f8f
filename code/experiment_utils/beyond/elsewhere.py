"""Scores a checkpoint on corpora that it was not trained on, in the unified labels.

Corpora name emotions differently: answers and gold labels are compared in the unified labels of the paper's feeling
wheel (arXiv 2309.11911, section 4), where MELD's surprise is powerful. A label that the checkpoint does not have is
never answered, and counts as missed.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from basics.errors import UserError
from basics.markdown import render_table
from data_utils.dialogues import Dialogue, row_id
from data_utils.labels import UNIFIED, DatasetSpec
from data_utils.texts import digest_texts, list_seen
from dialogue_files.turns import SpokenTurn
from experiment_utils.dialogue_counts import Counts
from experiment_utils.significance import score_interval
from scoring.metrics import Prediction, baseline_majority, evaluate_predictions, evaluate_unseen

if TYPE_CHECKING:
    from own_dialogues.recognizer import EmotionRecognizer
    from own_dialogues.writing import TurnEmotion

COLUMNS = ("dataset", "utterances", "weighted F1 (95% interval)", "always the commonest label", "unseen text")


@dataclass(frozen=True)
class Elsewhere:
    """The scores of one split of one dataset in unified labels, weighted F1 in percent, rounded to four places.

    low, high: 95% interval over dialogues. majority: score of answering this split's commonest label. unseen and
    unseen_f1: number and score of the utterances whose text the checkpoint was not trained on; None where it does not
    tell its texts, or there are no such utterances.
    """

    dataset: str
    split: str
    utterances: int
    weighted_f1: float
    low: float
    high: float
    majority: float
    unseen: int | None
    unseen_f1: float | None

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if isinstance(value, float):
                object.__setattr__(self, name, round(value, 4))


def unified_labels(spec: DatasetSpec) -> Mapping[str, str]:
    """Own label -> unified label; UserError where the dataset has none."""
    if not spec.unified:
        raise UserError(f"{spec.name} has no unified labels; corpus.yaml maps a corpus of one's own, under unified")
    return spec.unified_labels


def score_elsewhere(
    recognizer: "EmotionRecognizer",
    learned: DatasetSpec,
    asked: DatasetSpec,
    split: str,
    dialogues: Sequence[Dialogue],
    trained: frozenset[str] | None,
) -> Elsewhere:
    """Predicts every turn of dialogues, with the speaker numbers of their corpus, and scores those with a gold label.

    learned: the dataset in whose labels the recognizer answers, with the `speaker_offset` that it adds to speaker
    numbers. asked: that of the dialogues. trained: digests of the texts that it was trained on; None: not known.

    Raises:
        UserError: one of the two has no unified labels; no turn has a label.
    """
    turns = _turns(dialogues, _first_speaker(learned, asked))
    rows = (row for chunk in recognizer.predict_turns(turns) for row in chunk)
    predictions = list(_predictions(rows, unified_labels(learned), unified_labels(asked), asked.name, dialogues))
    result = evaluate_predictions(predictions, UNIFIED.labels)
    interval = score_interval([Counts.of_predictions(predictions, UNIFIED.labels)], result.metric)
    gold = [row.target for row in predictions]
    seen = None if trained is None else set(list_seen(digest_texts(asked.name, dialogues), trained))
    unseen = None if seen is None else evaluate_unseen(predictions, UNIFIED.labels, seen)
    return Elsewhere(
        asked.name,
        split,
        result.rows,
        result.weighted_f1,
        interval.low,
        interval.high,
        baseline_majority(gold, gold, UNIFIED.labels).result.weighted_f1,
        unseen and unseen.rows,
        unseen and unseen.weighted_f1,
    )


def _first_speaker(learned: DatasetSpec, asked: DatasetSpec) -> int:
    """What is added to a corpus's speaker numbers, so that the prompts of a mix have those that the mix gave it."""
    return asked.speaker_offset - learned.speaker_offset if learned.name == UNIFIED.name else 0


def _predictions(
    rows: Iterable["TurnEmotion"],
    answers: Mapping[str, str],
    golds: Mapping[str, str],
    dataset: str,
    dialogues: Sequence[Dialogue],
) -> Iterator[Prediction]:
    for row in rows:
        gold = dialogues[row.turn.part].utterances[row.turn.turn].label
        if gold is not None:
            name = row_id(dataset, row.turn.dialogue, row.turn.turn)
            yield Prediction(name, "", golds[gold], answers[row.emotion])


def _turns(dialogues: Iterable[Dialogue], first_speaker: int) -> Iterator[SpokenTurn]:
    for part, dialogue in enumerate(dialogues):
        for turn, one in enumerate(dialogue.utterances):
            number = first_speaker + one.speaker
            yield SpokenTurn(part, dialogue.dialogue_id, turn, f"Speaker_{one.speaker}", number, one.text)


def render_elsewhere(scores: Iterable[Elsewhere]) -> str:
    """A table, a line for each dataset."""
    return render_table(COLUMNS, map(_row, scores), numbers=True)


def _row(one: Elsewhere) -> list[str]:
    unseen = "not known" if one.unseen_f1 is None else f"{one.unseen_f1:.2f} ({one.unseen:,})"
    scored = f"{one.weighted_f1:.2f} ({one.low:.2f} to {one.high:.2f})"
    return [f"{one.dataset}, {one.split}", f"{one.utterances:,}", scored, f"{one.majority:.2f}", unseen]
