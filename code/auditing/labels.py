"""What labels say of each other: inertia along a dialogue, agreement of two sets' annotators, shift between splits."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from sklearn.metrics import cohen_kappa_score

from data_utils.dialogues import Dialogue, count_labels, previous_of_speakers
from data_utils.scenes import Turn, long_turns, share_scenes
from data_utils.texts import words_of

LEAST_TURNS = 30  # of fewer, a share says little


@dataclass(frozen=True)
class Inertia:
    """Of the utterances that have one, the share whose label is that of the same speaker's previous utterance.

    And the share whose label is that of the turn before, whoever spoke. 0 to 1; None where no utterance has one.
    """

    same_speaker: float | None
    previous_turn: float | None


def measure_inertia(dialogues: Iterable[Dialogue]) -> Inertia:
    """How often a label stays."""
    by_speaker, by_turn = [], []
    for dialogue in dialogues:
        spoken = zip(dialogue.labelled, previous_of_speakers(dialogue), strict=True)
        by_speaker += [own.label == utterance.label for (_, utterance), own in spoken if own]
        labels = (one.label for one in dialogue.utterances)
        by_turn += [before == label for before, label in pairwise(labels) if None not in (before, label)]
    return Inertia(_share(by_speaker), _share(by_turn))


def _share(values: Sequence[bool]) -> float | None:
    return sum(values) / len(values) if values else None


@dataclass(frozen=True)
class Agreement:
    """Over `turns` that two datasets share, in unified labels. raw: share of equal labels.

    kappa: Cohen's; None where both give all of them one label, as then nothing but chance is left.
    """

    turns: int
    raw: float
    kappa: float | None


def measure_agreement(
    first: Mapping[str, str], dialogues: Sequence[Dialogue], second: Mapping[str, str], others: Sequence[Dialogue]
) -> Agreement | None:
    """How two datasets label the turns that both have; None where they share fewer than `LEAST_TURNS`.

    first, second: own label -> unified label of each.
    A shared turn is a longer one that stands, word for word, once in each of two dialogues that share a scene.
    """
    pairs = []
    for place, alike in share_scenes(dialogues, others).items():
        labels = _labels_of_turns(first, dialogues[place])
        for other in alike:
            there = _labels_of_turns(second, others[other])
            pairs += [(labels[turn], there[turn]) for turn in labels if turn in there]
    if len(pairs) < LEAST_TURNS:
        return None
    ours, theirs = zip(*pairs, strict=True)
    raw = sum(one == other for one, other in pairs) / len(pairs)
    kappa = float(cohen_kappa_score(ours, theirs)) if len({*ours, *theirs}) > 1 else None
    return Agreement(len(pairs), raw, kappa)


def _labels_of_turns(unified: Mapping[str, str], dialogue: Dialogue) -> dict[Turn, str]:
    """The words of each longer turn that stands once in a dialogue, and has a label -> its unified label."""
    counted = Counter(long_turns(dialogue))
    turns = ((words_of(one.text), unified[one.label]) for _, one in dialogue.labelled)
    return {words: label for words, label in turns if counted[words] == 1}


def share_labels(dialogues: Iterable[Dialogue], labels: Sequence[str]) -> dict[str, float]:
    """Label -> its share of the labelled utterances, 0 to 1."""
    counted = count_labels(dialogues)
    return {label: counted[label] / max(1, counted.total()) for label in labels}


def total_variation(one: dict[str, float], other: dict[str, float]) -> float:
    """The share of utterances whose label would have to change to make one distribution the other, 0 to 1."""
    return sum(abs(one[label] - other[label]) for label in one) / 2
