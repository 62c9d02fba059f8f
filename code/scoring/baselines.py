"""Baselines that any result should beat: they need no language model; each is scored with and without transitions.

Each is fitted on train, its settings are chosen on valid, and it is scored on valid and test; the one that is best on
valid is marked. The last, previous_label, is no baseline but a leak bound: the gold label of the same speaker's
previous utterance (neutral for the first), which no model is given.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from sklearn.naive_bayes import ComplementNB, MultinomialNB

from data_utils.dialogues import Dialogue, name_utterances, previous_of_speakers
from data_utils.retrieval import Embed
from data_utils.row_files import RECOGNITION
from scoring.baseline_table import (
    CONTENDERS,
    FINE_TUNED,
    LEAK_MEANING,
    MAJORITY,
    MEANINGS,
    PREVIOUS_LABEL,
    VECTORS,
    WITH_TRANSITIONS,
    bare_name,
    name_finetuned,
)
from scoring.beside import log_shares
from scoring.contenders import Candidate, Grid, Task, choose, with_transitions
from scoring.encoder_finetuning import finetuned_encoder
from scoring.metrics import EvalResult, Prediction, evaluate_predictions
from scoring.transitions import TransitionFilter
from scoring.vector_baselines import vectors_with_history
from scoring.word_baselines import naive_bayes, own_words, words_with_history

SCORED = ("valid", "test")

Candidates = Callable[..., Iterator[Candidate]]


def majority(task: Task, grid: Grid) -> Iterator[Candidate]:
    """The one candidate that gives every utterance the shares of train's labels, see `log_shares`."""
    yield Candidate({}, lambda split: np.tile(log_shares(task), (len(task.numbers[split]), 1)))


# Key of `CONTENDERS` -> what makes its candidates; those with an encoder get it in `measure_baselines`.
CANDIDATES: Mapping[str, Candidates] = {
    MAJORITY: majority,
    "words": own_words,
    "words_history": words_with_history,
    "multinomial_bayes": partial(naive_bayes, kind=MultinomialNB),
    "complement_bayes": partial(naive_bayes, kind=ComplementNB),
    VECTORS: vectors_with_history,
    FINE_TUNED: finetuned_encoder,
}


@dataclass(frozen=True)
class Baseline:
    """A baseline and its results.

    settings: those that valid chose. results, predictions: valid and test -> scores, answers with log p of every label
    where there is one. transitions: the filter that decoded them, None: they are the model's own. chosen: whether its
    score on valid is the best of all that were measured. seconds: to fit, choose and score, with and without
    transitions together.
    """

    name: str
    meaning: str
    settings: Mapping[str, Any]
    results: Mapping[str, EvalResult]
    predictions: Mapping[str, Sequence[Prediction]]
    transitions: TransitionFilter | None = None
    chosen: bool = False
    seconds: float = 0.0


def measure_baselines(
    task: Task,
    embed: Embed | None = None,
    finetuning: Mapping[str, Any] | None = None,
    begin: Callable[[str], None] = lambda name: None,
) -> list[Baseline]:
    """Fits and scores all baselines, each as it is and then with transitions; the leak bound comes last.

    embed: the sentence encoder of `vectors_history`; None: that baseline is left out. finetuning: what
    `finetuned_encoder` takes besides, its settings above all; None: it is left out. begin: called with each name when
    its turn comes.

    Raises:
        UserError: train has one label alone, which no classifier learns to tell from others.
    """
    bound = {VECTORS: embed and {"embed": embed}, FINE_TUNED: finetuning}
    found: list[Baseline] = []
    for name, contender in CONTENDERS.items():
        more = bound.get(name, {})
        if more is not None:
            called = name_finetuned(finetuning["settings"].encoder) if name == FINE_TUNED else name
            begin(called)
            found += measure(called, partial(CANDIDATES[name], grid=contender.grid, **more), task)
    best = max(found, key=lambda one: one.results["valid"].score)
    marked = [replace(one, chosen=one is best) for one in found]
    return [*marked, leak_bound(task)]


def measure(name: str, candidates: Callable[[Task], Iterator[Candidate]], task: Task) -> tuple[Baseline, Baseline]:
    """One baseline, (as it is, with transitions)."""
    began = time.monotonic()
    choice = choose(candidates(task), task)
    plain = {split: predictions_of(task, split, choice.log_p[split]) for split in SCORED}
    found, decoded = with_transitions(task, plain)
    weights = {name: getattr(found, name) for name in ("temperature", "own_weight", "dialogue_weight")}
    own, meaning = _results(task, plain), MEANINGS[bare_name(name)]
    filtered, settings = _results(task, decoded), {**choice.settings, **weights}
    seconds = choice.seconds_before + time.monotonic() - began
    return (
        Baseline(name, meaning, choice.settings, own, plain, seconds=seconds),
        Baseline(
            name + WITH_TRANSITIONS,
            f"{meaning}; with transitions",
            settings,
            filtered,
            decoded,
            found,
            seconds=seconds,
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
    """The gold label of the same speaker's previous labelled utterance, `otherwise` for the first."""
    return [own.label if own else otherwise for dialogue in dialogues for own in previous_of_speakers(dialogue)]


def leak_bound(task: Task) -> Baseline:
    """The leak bound: answers with the gold label of the same speaker's previous utterance."""
    otherwise = task.neutral or task.labels[int(np.bincount(task.numbers["train"]).argmax())]
    predictions = {
        split: [
            Prediction(name, RECOGNITION, target, said)
            for name, target, said in zip(
                _ids(task, split), task.gold(split), previous_labels(task.dialogues[split], otherwise), strict=True
            )
        ]
        for split in SCORED
    }
    return Baseline(PREVIOUS_LABEL, LEAK_MEANING, {}, _results(task, predictions), predictions)
