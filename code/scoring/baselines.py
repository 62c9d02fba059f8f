"""What any result should beat: answers that need no language model, each with and without label transitions.

Every one is fitted on train, its settings are chosen on valid (naive Bayes' alpha is fixed), and it is scored on both.
Which of them valid would choose is said too. The last, previous_label, is no baseline but a leak bound: the gold label
of the same speaker's previous utterance (neutral for the first), which no model is given.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from data_utils.dialogues import Dialogue, name_utterances, previous_of_speakers
from data_utils.retrieval import Embed
from data_utils.row_files import RECOGNITION
from scoring.contenders import Candidate, Task, choose
from scoring.metrics import NEUTRAL, EvalResult, Prediction, evaluate_predictions
from scoring.transitions import TransitionFilter, count_transitions, decode_with, fit_filter, log_p_matrix
from scoring.vector_baselines import vectors_with_history
from scoring.word_baselines import complement_bayes, multinomial_bayes, own_words, words_with_history

MAJORITY, PREVIOUS_LABEL = "majority", "previous_label"
VECTORS, FINE_TUNED = "vectors_history", "encoder_finetuned"
WITH_TRANSITIONS = "+transitions"
SCORED = ("valid", "test")

Candidates = Callable[[Task], Iterator[Candidate]]


@dataclass(frozen=True)
class Baseline:
    """One way to answer, with what it comes to.

    settings: those that valid chose. results, predictions: of valid and test; predictions with log p of every label
    where there is one. transitions: the filter that decoded them, None: they are the model's own. chosen: whether its
    score on valid is the best of all that were measured.
    """

    name: str
    meaning: str
    settings: Mapping[str, Any]
    results: Mapping[str, EvalResult]
    predictions: Mapping[str, Sequence[Prediction]]
    transitions: TransitionFilter | None = None
    chosen: bool = False


def majority(task: Task) -> Iterator[Candidate]:
    """The shares of the labels in train, whatever is said."""
    counts = np.bincount(task.numbers["train"], minlength=len(task.labels)) + 1.0
    row = np.log(counts / counts.sum())
    yield Candidate({}, lambda split: np.tile(row, (len(task.numbers[split]), 1)))


# Name -> (meaning, its candidates).
WITHOUT_ENCODER: Mapping[str, tuple[str, Candidates]] = {
    MAJORITY: ("the commonest label of train", majority),
    "words": ("words of the utterance (TF-IDF), logistic regression", own_words),
    "words_history": ("the same with words before it, by who said them", words_with_history),
    "multinomial_bayes": ("counts of the same words, multinomial naive Bayes, alpha 1", multinomial_bayes),
    "complement_bayes": ("counts of the same words, complement naive Bayes, alpha 1", complement_bayes),
}
MEANINGS = {name: meaning for name, (meaning, _) in WITHOUT_ENCODER.items()} | {
    VECTORS: "sentence vectors, with those before by who spoke, logistic regression",
    FINE_TUNED: "sentence encoder, fine-tuned with a linear head",
    PREVIOUS_LABEL: "LEAK BOUND: the gold label of the speaker's previous utterance",
}


def measure_baselines(
    task: Task, embed: Embed | None = None, fine_tuned: Candidates | None = None, begin: Callable[[str], None] = str
) -> list[Baseline]:
    """Fit, choose and score every baseline, each followed by itself with transitions; the leak bound is the last.

    embed: the sentence encoder of `vectors_history`, None: without it. fine_tuned: the candidates of
    `encoder_finetuned`, as `finetuned_encoder` makes them, None: without it. begin: told each name as its turn comes.
    """
    contenders = {name: candidates for name, (_, candidates) in WITHOUT_ENCODER.items()}
    contenders |= {VECTORS: partial(vectors_with_history, embed=embed)} if embed else {}
    contenders |= {FINE_TUNED: fine_tuned} if fine_tuned else {}
    found: list[Baseline] = []
    for name, candidates in contenders.items():
        begin(name)
        found += measure(name, candidates, task)
    best = max(found, key=lambda one: one.results["valid"].score)
    marked = [replace(one, chosen=one is best) for one in found]
    return [*marked, leak_bound(task)]


def measure(name: str, candidates: Candidates, task: Task) -> tuple[Baseline, Baseline]:
    """One baseline: as it answers by itself, and with transitions."""
    choice = choose(candidates(task), task)
    plain = {split: predictions_of(task, split, choice.log_p[split]) for split in SCORED}
    transitions = count_transitions(task.gold("train"), task.orders["train"], task.labels)
    valid = log_p_matrix(plain["valid"], task.labels)
    found = fit_filter(transitions, valid, task.orders["valid"], partial(task.score, "valid"))
    decoded = {split: decode_with(found, rows, task.orders[split]) for split, rows in plain.items()}
    weights = {name: getattr(found, name) for name in ("temperature", "own_weight", "dialogue_weight")}
    return (
        Baseline(name, MEANINGS[name], choice.settings, _results(task, plain), plain),
        Baseline(
            name + WITH_TRANSITIONS,
            f"{MEANINGS[name]}; with transitions",
            {**choice.settings, **weights},
            _results(task, decoded),
            decoded,
            found,
        ),
    )


def predictions_of(task: Task, split: str, log_p: np.ndarray) -> list[Prediction]:
    """(utterances, labels) log p -> one prediction an utterance, with the id of its row; ties to the earlier label."""
    answers = [task.labels[number] for number in log_p.argmax(axis=1)]
    scores = [dict(zip(task.labels, row, strict=True)) for row in log_p.tolist()]
    columns = zip(_ids(task, split), task.gold(split), answers, scores, strict=True)
    return [Prediction(name, RECOGNITION, target, answer, of_row) for name, target, answer, of_row in columns]


def _ids(task: Task, split: str) -> list[str]:
    return [name for name, _ in name_utterances(task.dataset, task.dialogues[split])]


def _results(task: Task, predictions: Mapping[str, Sequence[Prediction]]) -> dict[str, EvalResult]:
    return {split: evaluate_predictions(rows, task.labels, task.metric) for split, rows in predictions.items()}


def previous_labels(dialogues: Sequence[Dialogue], otherwise: str) -> list[str]:
    """The gold label of the same speaker's previous utterance, `otherwise` for the first."""
    return [own.label if own else otherwise for dialogue in dialogues for own in previous_of_speakers(dialogue)]


def leak_bound(task: Task) -> Baseline:
    """What gold labels would give away."""
    neutral = next((label for label in task.labels if label.lower() == NEUTRAL), None)
    otherwise = neutral or task.labels[int(np.bincount(task.numbers["train"]).argmax())]
    predictions = {
        split: [
            Prediction(name, RECOGNITION, target, said)
            for name, target, said in zip(
                _ids(task, split), task.gold(split), previous_labels(task.dialogues[split], otherwise), strict=True
            )
        ]
        for split in SCORED
    }
    return Baseline(PREVIOUS_LABEL, MEANINGS[PREVIOUS_LABEL], {}, _results(task, predictions), predictions)
