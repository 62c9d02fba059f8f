"""What the pictures show: dialogues of the sample corpus, and what a committed run answered to them."""

from math import exp

from data_utils.dialogues import Dialogue, find_original_data, load_dialogues, row_id
from data_utils.labels import DATASETS
from experiment_utils.conditions import EXPERIMENTS
from experiment_utils.evidence import Answer, answers_file, read_answers
from experiment_utils.records import Record, Records
from experiment_utils.report_text import SAMPLE_RUN

SAMPLE = "sample"
LABELS = DATASETS[SAMPLE].labels


def find_dialogue(name: str) -> tuple[str, Dialogue]:
    """The split and the dialogue of a name of the sample corpus."""
    splits = load_dialogues(SAMPLE, find_original_data(SAMPLE))
    return next((split, one) for split, dialogues in splits.items() for one in dialogues if one.dialogue_id == name)


def answers_to(dialogue: Dialogue) -> tuple[Record, list[Answer]]:
    """The committed run on the sample corpus, and what it answered to each turn; the dialogue must be of test."""
    run = Records.read(EXPERIMENTS).of(SAMPLE_RUN)[0]
    said = read_answers(answers_file(EXPERIMENTS, run, SAMPLE))
    return run, [said[row_id(SAMPLE, dialogue.dialogue_id, turn)] for turn in range(len(dialogue.utterances))]


def shares(answer: Answer) -> dict[str, float]:
    """Label -> its share among the labels, 0 to 1, from log p."""
    weights = {label: exp(value) for label, value in answer.log_p.items()}
    total = sum(weights.values())
    return {label: weight / total for label, weight in weights.items()}
