"""What the nearest training utterances say: a ratio to train's shares, beside a model's own log p."""

from collections.abc import Sequence

import numpy as np
import pytest

from basics.errors import UserError
from data_utils.dialogues import Dialogue, Utterance
from data_utils.retrieval import Entry
from scoring.contenders import Task
from scoring.neighbours import NearestLabels, NeighbourSettings, neighbour_evidence

LABELS = ("calm", "glad", "rage")


class Directions:
    """In place of an encoder: a text is the angle that it names, in degrees."""

    identity = "directions"

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        angles = np.radians([float(text) for text in texts])
        return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def train(*said: tuple[str, str]) -> dict[str, list[Dialogue]]:
    """Each utterance in a dialogue of its own."""
    dialogues = [Dialogue(str(place), (Utterance(0, text, label),)) for place, (text, label) in enumerate(said)]
    return {"train": dialogues}


def asked(text: str, dialogue: str = "test/0") -> Entry:
    return Entry("corpus/0/0", dialogue, text, None)


def neighbours(*said: tuple[str, str], **settings: float) -> NearestLabels:
    task = Task("corpus", train(*said), LABELS, "weighted_f1", 12)
    return NearestLabels(task, Directions(), NeighbourSettings(**settings))


def test_evidence_is_by_how_much_more_often_a_label_is_near() -> None:
    found = neighbours(("0", "glad"), ("90", "calm"), ("180", "calm"), count=2, temperature=0.5, smoothing=1.0)
    (told,) = found.evidence([asked("0")])
    # Nearest are 0 and 90 degrees away, cosines 1 and 0; train's shares are (2 + 1) / 6, (1 + 1) / 6 and 1 / 6.
    glad, shares = np.exp(2) / (np.exp(2) + 1), np.array([3, 2, 1]) / 6
    expected = np.log((2 * np.array([1 - glad, glad, 0]) + shares) / 3 / shares)
    assert told == pytest.approx(expected, abs=1e-4)
    assert told.argmax() == LABELS.index("glad")


def test_neighbours_that_are_as_train_is_say_nothing() -> None:
    found = neighbours(*[("0", label) for label in LABELS for _ in range(4)], count=12)
    assert found.evidence([asked("0"), asked("90")]) == pytest.approx(0, abs=1e-9)


def test_none_of_its_own_dialogue_is_asked() -> None:
    found = neighbours(("0", "rage"), ("1", "glad"), count=1)
    assert found.evidence([asked("0", "train/0")]).argmax() == LABELS.index("glad")
    assert found.evidence([asked("0", "train/9")]).argmax() == LABELS.index("rage")
    with pytest.raises(UserError, match="1 training utterances may demonstrate it, 2 are asked for"):
        neighbours(("0", "rage"), ("1", "glad"), count=2).evidence([asked("0", "train/0")])


def test_a_train_of_few_is_asked_as_a_whole() -> None:
    said, query = (("0", "rage"), ("1", "glad")), [asked("0")]
    few, many = (neighbours(*said, count=count).evidence(query) for count in (2, 32))
    assert many.tolist() == few.tolist()


def test_a_split_is_asked_utterance_by_utterance() -> None:
    said = train(("0", "rage"), ("90", "glad")) | {"test": train(("80", "calm"), ("10", "calm"))["train"]}
    found = neighbour_evidence(Task("corpus", said, LABELS, "weighted_f1", 12), ["test"], Directions())
    assert list(found) == ["test"]
    assert found["test"].argmax(axis=1).tolist() == [LABELS.index("glad"), LABELS.index("rage")]
