"""`--decode transitions`: a filter over labels by which earlier turns of a dialogue inform the next, never the reverse.

In train it is counted which label follows which, after the same speaker's previous turn and after the dialogue's last
turn. The belief about an utterance is

    softmax(log p / temperature + own_weight x evidence(own previous turn) + dialogue_weight x evidence(last turn))

where the evidence of a turn for a label is log(sum over its labels of belief x P(label | its label) / P(label)).
Beliefs are handed on, not answers; a first turn has no evidence; with both weights 0 the answers are the model's own.
The temperature keeps beliefs doubtful, so that evidence counts. Probabilities that are shown are beliefs without it,
softmax(temperature x log belief), which for a first turn are the model's own. Labels are numbers here, in prompt order.
"""

import itertools
import json
import math
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from basics.errors import UserError
from basics.json_files import parse_json
from scoring.metrics import Prediction

VERSION = 1
MOST_COUNTED = 10**12  # transitions of a pair of labels
# So many counts are added to each label's successors, distributed as the successors of all labels.
SMOOTHING = 10.0
TEMPERATURES = (1.0, 1.5, 2.0, 3.0, 5.0)
WEIGHTS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5)
# The simplest settings first, so that of equal scores they are taken.
GRID = np.array(
    sorted(itertools.product(TEMPERATURES, WEIGHTS, WEIGHTS), key=lambda one: (one[1] + one[2], one[0], one[1]))
)

Counts = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class TurnOrder:
    """For each utterance, which others came before it.

    own: (utterances,) index of the same speaker's previous turn, -1 where there is none. dialogue: (utterances,) index
    of the dialogue's previous turn, or -1. depth: (utterances,) number of turns of the dialogue before it.
    """

    own: np.ndarray
    dialogue: np.ndarray
    depth: np.ndarray


def unbroken(places: Iterable[tuple[Hashable, int]]) -> list[tuple[Hashable, int]]:
    """Each (dialogue, turn) -> (dialogue, number): turns with the same pair follow each other without a gap.

    The number counts gaps; a dialogue is cut at each, since nobody knows who spoke there. places: in order.
    """
    found, before, gaps = [], None, 0
    for dialogue, turn in places:
        gaps += (dialogue, turn - 1) != before
        found.append((dialogue, gaps))
        before = dialogue, turn
    return found


def order_turns(dialogues: Sequence[Hashable], speakers: Sequence[Hashable | None]) -> TurnOrder:
    """The order of utterances, which stand as they were spoken. dialogues: the dialogue of each.

    speakers: of each utterance, a number or name within its dialogue; None: not known, so it has no previous own turn.
    """
    last: dict[Any, int] = {}
    own, before, depth = [], [], []
    for place, (dialogue, speaker) in enumerate(zip(dialogues, speakers, strict=True)):
        before.append(last.get((dialogue,), -1))
        own.append(-1 if speaker is None else last.get((dialogue, speaker), -1))
        depth.append(depth[before[-1]] + 1 if before[-1] >= 0 else 0)
        last[dialogue,] = last[dialogue, speaker] = place
    return TurnOrder(*(np.array(column, dtype=int) for column in (own, before, depth)))


@dataclass(frozen=True)
class Transitions:
    """How often a label followed another in gold sequences.

    own: (labels, labels) counts; row = label of the same speaker's previous turn, column = label now. dialogue: counts
    with row = label of the dialogue's last turn, whoever spoke.
    """

    labels: tuple[str, ...]
    own: Counts
    dialogue: Counts

    @cached_property
    def own_ratios(self) -> np.ndarray:
        """(labels, labels) P(label now | label of the own previous turn) / P(label now)."""
        return _ratios(self.own)

    @cached_property
    def dialogue_ratios(self) -> np.ndarray:
        """(labels, labels) P(label now | label of the last turn) / P(label now)."""
        return _ratios(self.dialogue)


def _ratios(counts: Counts) -> np.ndarray:
    found = np.array(counts, dtype=float)
    anyway = (found.sum(axis=0) + 1) / (found.sum() + len(found))
    after = (found + SMOOTHING * anyway) / (found.sum(axis=1, keepdims=True) + SMOOTHING)
    return after / anyway


def count_transitions(targets: Sequence[str], order: TurnOrder, labels: Sequence[str]) -> Transitions:
    """Counts which gold label follows which; ValueError for a target that is no label. targets: gold labels."""
    numbers = np.array([list(labels).index(target) for target in targets], dtype=int)
    return Transitions(tuple(labels), *(_count(numbers, links, len(labels)) for links in (order.own, order.dialogue)))


def _count(numbers: np.ndarray, links: np.ndarray, size: int) -> Counts:
    counts = np.zeros((size, size), dtype=int)
    follows = links >= 0
    np.add.at(counts, (numbers[links[follows]], numbers[follows]), 1)
    return tuple(map(tuple, counts.tolist()))


@dataclass(frozen=True)
class TransitionFilter:
    """Transitions with the temperature and the two weights that valid chose.

    score, score_without: on valid, with the filter and without it, in percent; 0 where nothing was chosen.
    """

    transitions: Transitions
    temperature: float = 1.0
    own_weight: float = 0.0
    dialogue_weight: float = 0.0
    score: float = 0.0
    score_without: float = 0.0

    def beliefs(self, log_p: np.ndarray, order: TurnOrder) -> np.ndarray:
        """(utterances, labels) log p of a model -> (utterances, labels) beliefs; each row adds up to 1."""
        return _softmax(self._logits(log_p, order))

    def answers(self, log_p: np.ndarray, order: TurnOrder) -> np.ndarray:
        """(utterances,) number of the label with the greatest belief; of equals the first."""
        return self._logits(log_p, order).argmax(axis=-1)

    def _logits(self, log_p: np.ndarray, order: TurnOrder) -> np.ndarray:
        settings = np.array([[self.temperature, self.own_weight, self.dialogue_weight]])
        return _filtered(self.transitions, log_p, order, settings)[0]

    def step(self, log_p: np.ndarray, own: np.ndarray | None = None, last: np.ndarray | None = None) -> np.ndarray:
        """(labels,) belief about one utterance. log_p: (labels,). own, last: beliefs about earlier turns, or None."""
        logits = np.asarray(log_p, dtype=float) / self.temperature
        if own is not None:
            logits = logits + self.own_weight * _evidence(own, self.transitions.own_ratios)
        if last is not None:
            logits = logits + self.dialogue_weight * _evidence(last, self.transitions.dialogue_ratios)
        return _softmax(logits)

    def shown(self, belief: np.ndarray) -> np.ndarray:
        """(..., labels) beliefs -> (..., labels) probabilities to show, without the temperature."""
        return _powers(belief, self.temperature)

    def believed(self, shown: np.ndarray) -> np.ndarray:
        """The inverse of `shown`: (..., labels) probabilities -> (..., labels) beliefs."""
        return _powers(shown, 1 / self.temperature)

    @property
    def chosen(self) -> dict[str, float]:
        """Name -> value of all fields but the counts."""
        return {name: value for name, value in vars(self).items() if name != "transitions"}

    def render(self) -> str:
        """The filter as JSON."""
        content = asdict(self)
        return json.dumps({"version": VERSION} | content.pop("transitions") | content, ensure_ascii=False) + "\n"


def _filtered(transitions: Transitions, log_p: np.ndarray, order: TurnOrder, settings: np.ndarray) -> np.ndarray:
    """(settings, utterances, labels) log beliefs, up to a constant each; turn by turn, for all dialogues at once.

    settings: (settings, 3) temperature and both weights.
    """
    temperatures, own, dialogue = (column[:, None, None] for column in settings.T)
    logits = np.asarray(log_p, dtype=float)[None] / temperatures
    beliefs = np.empty_like(logits)
    sources = (
        (order.own, transitions.own_ratios, own),
        (order.dialogue, transitions.dialogue_ratios, dialogue),
    )
    for depth in range(order.depth.max(initial=-1) + 1):
        now = np.flatnonzero(order.depth == depth)
        for links, ratios, weights in sources:
            told = now[links[now] >= 0]
            logits[:, told] += weights * _evidence(beliefs[:, links[told]], ratios)
        beliefs[:, now] = _softmax(logits[:, now])
    return logits


def _evidence(beliefs: np.ndarray, ratios: np.ndarray) -> np.ndarray:
    """(..., labels) beliefs about an earlier turn -> (..., labels) what they add to the logits of this one."""
    return np.log(beliefs @ ratios)


def _softmax(logits: np.ndarray) -> np.ndarray:
    shares = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return shares / shares.sum(axis=-1, keepdims=True)


def _powers(shares: np.ndarray, exponent: float) -> np.ndarray:
    powers = (shares / shares.max(axis=-1, keepdims=True)) ** exponent
    return powers / powers.sum(axis=-1, keepdims=True)


def fit_filter(
    transitions: Transitions, log_p: np.ndarray, order: TurnOrder, score: Callable[[np.ndarray], float]
) -> TransitionFilter:
    """The filter of `GRID` whose answers score best; of equals the first. One of them gives the model's own answers.

    log_p: (utterances, labels) of valid. score: (utterances,) answers -> the dataset's metric in percent.
    """
    answers = _filtered(transitions, log_p, order, GRID).argmax(axis=-1)
    # Many settings give the same answers, which are scored once.
    distinct, places = np.unique(answers, axis=0, return_inverse=True)
    scores = np.array([score(one) for one in distinct])[places.ravel()]
    best = int(scores.argmax())
    return TransitionFilter(transitions, *GRID[best].tolist(), float(scores[best]), float(scores[0]))


class Follower:
    """Applies a filter turn by turn, to dialogues one after another; equals `TransitionFilter.beliefs`."""

    def __init__(self, found: TransitionFilter) -> None:
        self.found = found
        self.dialogue: int | None = None
        self.speaker: int | None = None  # who spoke last
        self.own: dict[int, np.ndarray] = {}  # speaker -> belief about the speaker's last turn

    def follow(self, dialogue: int, speaker: int, scores: Mapping[str, float]) -> dict[str, float]:
        """The next turn: label -> log p in, label -> probability to show out, see `TransitionFilter.shown`."""
        labels = self.found.transitions.labels
        log_p = np.array([scores[label] for label in labels])
        is_going_on = dialogue == self.dialogue
        belief = self.found.step(log_p, *([self.own.get(speaker), self.own[self.speaker]] if is_going_on else ()))
        self._keep(dialogue, speaker, belief)
        return dict(zip(labels, self.found.shown(belief).tolist(), strict=True))

    def remember(self, dialogue: int, speaker: int, shown: Mapping[str, float]) -> None:
        """Take up a turn for which `follow` returned `shown` in an earlier process."""
        shares = np.array([shown[label] for label in self.found.transitions.labels])
        self._keep(dialogue, speaker, self.found.believed(shares))

    def _keep(self, dialogue: int, speaker: int, belief: np.ndarray) -> None:
        if dialogue != self.dialogue:
            self.dialogue, self.own = dialogue, {}
        self.speaker = speaker
        self.own[speaker] = belief

    @property
    def state(self) -> dict[str, Any]:
        """The beliefs about the dialogue that goes on, ready for JSON."""
        own = {str(speaker): belief.tolist() for speaker, belief in self.own.items()}
        return {"dialogue": self.dialogue, "speaker": self.speaker, "own": own}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a `state`; ValueError, TypeError or KeyError where it is none."""
        own = {int(speaker): np.array(belief, dtype=float) for speaker, belief in state["own"].items()}
        size = (len(self.found.transitions.labels),)
        began = state["dialogue"] is not None
        if began != (state["speaker"] in own) or began != bool(own):
            raise ValueError("no state of a dialogue")
        if any(belief.shape != size or not (np.isfinite(belief) & (belief >= 0)).all() for belief in own.values()):
            raise ValueError("no state of beliefs")
        self.dialogue, self.speaker, self.own = state["dialogue"], state["speaker"], own


def log_p_matrix(predictions: Sequence[Prediction], labels: Sequence[str]) -> np.ndarray:
    """(rows, labels) log p of predictions that were scored."""
    return np.array([[row.scores[label] for label in labels] for row in predictions], dtype=float)


def decode_with(found: TransitionFilter, predictions: Sequence[Prediction], order: TurnOrder) -> list[Prediction]:
    """The predictions with the filter's answers; each keeps the model's own log p."""
    labels = found.transitions.labels
    answers = found.answers(log_p_matrix(predictions, labels), order) if predictions else ()
    return [replace(row, label=labels[number]) for row, number in zip(predictions, answers, strict=True)]


def decode_without(predictions: Sequence[Prediction]) -> list[Prediction]:
    """The predictions with the label of the greatest log p, as before a filter; of equals the first."""
    return [replace(row, label=max(row.scores, key=row.scores.__getitem__)) for row in predictions]


def read_filter(path: Path) -> TransitionFilter:
    """What `TransitionFilter.render` wrote.

    Raises:
        UserError: the file cannot be read, or is not of this form; it names the file.
    """
    try:
        content = parse_json(Path(path).read_bytes())
    except OSError as error:
        told = f"cannot be read ({error.strerror}); training with --decode transitions writes it"
        raise UserError(f"{path}: {told}") from None
    except ValueError as error:
        raise UserError(f"{path}: not JSON ({error}), allowed is the file that training wrote") from None
    try:
        return _parsed(content)
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise UserError(f"{path}: not a filter ({reason}), allowed is the file that training wrote") from None


def _parsed(content: Mapping[str, Any]) -> TransitionFilter:
    if content["version"] != VERSION:
        raise ValueError(f"version {content['version']}, this program reads {VERSION}")
    labels = tuple(content["labels"])
    tables = [tuple(tuple(map(int, row)) for row in content[name]) for name in ("own", "dialogue")]
    sizes = {len(labels), *map(len, tables), *(len(row) for table in tables for row in table)}
    if len(sizes) != 1 or not labels or not all(isinstance(label, str) for label in labels):
        raise ValueError("labels and counts do not fit each other")
    names = [name for name in TransitionFilter.__dataclass_fields__ if name != "transitions"]
    numbers = {name: float(content[name]) for name in names}
    counted = [count for table in tables for row in table for count in row]
    if (
        not all(map(math.isfinite, numbers.values()))
        or numbers["temperature"] <= 0
        or not 0 <= min(counted) <= max(counted) <= MOST_COUNTED
    ):
        raise ValueError("a number is out of range")
    return TransitionFilter(Transitions(labels, *tables), **numbers)
