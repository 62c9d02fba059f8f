"""What all baselines share: the task that they answer, candidates with different settings, and the choice by valid."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import product
from typing import Any

import numpy as np

from data_utils.dialogues import Dialogue, Utterance
from scoring.metrics import Prediction, score_numbers
from scoring.transitions import (
    TransitionFilter,
    TurnOrder,
    count_transitions,
    decode_with,
    fit_filter,
    log_p_matrix,
    order_turns,
    unbroken,
)

# log p of a label with probability 0: finite, so that it can be written and filtered.
LOWEST = -1e4


@dataclass(frozen=True)
class Task:
    """A dataset with its labels and metric, as a baseline sees it.

    dialogues: split -> dialogues. window: number of turns before an utterance that may be used. neutral: the label that
    stands for no emotion; None: there is none.
    """

    dataset: str
    dialogues: Mapping[str, Sequence[Dialogue]]
    labels: tuple[str, ...]
    metric: str
    window: int
    neutral: str | None = None

    def turns(self, split: str) -> Iterator[tuple[Utterance, list[Utterance]]]:
        """Every labelled utterance of a split, in order, with up to `window` turns before it, oldest first."""
        for dialogue in self.dialogues[split]:
            for turn, utterance in dialogue.labelled:
                yield utterance, list(dialogue.utterances[max(0, turn - self.window) : turn])

    def texts(self, split: str) -> tuple[list[str], list[int]]:
        """(texts of all utterances of a split, in order; the index of each labelled one among them)."""
        spoken = [utterance for dialogue in self.dialogues[split] for utterance in dialogue.utterances]
        return [one.text for one in spoken], [place for place, one in enumerate(spoken) if one.label is not None]

    def gold(self, split: str) -> list[str]:
        """The gold label of every labelled utterance, in order."""
        return [utterance.label for dialogue in self.dialogues[split] for _, utterance in dialogue.labelled]

    @cached_property
    def numbers(self) -> Mapping[str, np.ndarray]:
        """Split -> (utterances,) positions of the gold labels among the labels."""
        places = {label: number for number, label in enumerate(self.labels)}
        return {split: np.array([places[label] for label in self.gold(split)], dtype=int) for split in self.dialogues}

    @cached_property
    def orders(self) -> Mapping[str, TurnOrder]:
        """Split -> which utterance came before which."""
        return {split: _order(dialogues) for split, dialogues in self.dialogues.items()}

    def score(self, split: str, answers: np.ndarray) -> float:
        """The dataset's metric in percent. answers: (utterances,) positions among the labels."""
        return score_numbers(self.numbers[split], answers, self.labels, self.metric)


def _order(dialogues: Sequence[Dialogue]) -> TurnOrder:
    spoken = [(place, turn, one) for place, dialogue in enumerate(dialogues) for turn, one in dialogue.labelled]
    return order_turns(unbroken((place, turn) for place, turn, _ in spoken), [one.speaker for *_, one in spoken])


Grid = Mapping[str, Sequence[Any]]  # setting -> the values that valid chooses from


def settings_of(grid: Grid) -> Iterator[dict[str, Any]]:
    """Every combination of the values of a grid; the last setting changes fastest."""
    return (dict(zip(grid, values, strict=True)) for values in product(*grid.values()))


@dataclass(frozen=True)
class Candidate:
    """A fitted model with its settings. log_p: split -> (utterances, labels); call it before the next one is made.

    seconds_before: that were spent on it by processes that were stopped.
    """

    settings: Mapping[str, Any]
    log_p: Callable[[str], np.ndarray]
    seconds_before: float = 0.0


@dataclass(frozen=True)
class Choice:
    """The candidate that answers valid best. log_p: of valid and test, (utterances, labels) each."""

    settings: Mapping[str, Any]
    log_p: Mapping[str, np.ndarray]
    seconds_before: float


def choose(candidates: Iterable[Candidate], task: Task) -> Choice:
    """The candidate that is best on valid, of equals the first; ValueError where there are no candidates."""
    best, highest = None, -np.inf
    for candidate in candidates:
        valid = candidate.log_p("valid")
        score = task.score("valid", valid.argmax(axis=1))
        if score > highest:
            log_p = {"valid": valid, "test": candidate.log_p("test")}
            best, highest = Choice(candidate.settings, log_p, candidate.seconds_before), score
    if best is None:
        raise ValueError("no candidate to choose")
    return best


def with_transitions(
    task: Task, rows: Mapping[str, Sequence[Prediction]]
) -> tuple[TransitionFilter, dict[str, list[Prediction]]]:
    """Fits a filter of train's transitions on valid -> (filter, split -> the rows with its answers).

    rows: split, valid among them -> answers with log p of every label, in the order of its utterances.
    """
    counts = count_transitions(task.gold("train"), task.orders["train"], task.labels)
    log_p = log_p_matrix(rows["valid"], task.labels)
    found = fit_filter(counts, log_p, task.orders["valid"], partial(task.score, "valid"))
    return found, {split: decode_with(found, of_split, task.orders[split]) for split, of_split in rows.items()}


def log_probabilities(model: Any, features: Any, size: int) -> np.ndarray:
    """(rows, labels) log p by a classifier of scikit-learn that was fitted on positions among `size` labels.

    A label that train does not have gets `LOWEST`.
    """
    found = np.full((features.shape[0], size), LOWEST)
    with np.errstate(divide="ignore"):
        found[:, model.classes_] = np.maximum(model.predict_log_proba(features), LOWEST)
    return found
