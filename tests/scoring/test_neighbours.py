"""What the nearest training utterances say: a ratio to train's shares, beside a model's own log p."""

from collections.abc import Sequence

import numpy as np
import pytest

from basics.errors import UserError
from data_utils.dialogues import Dialogue, Utterance
from data_utils.retrieval import Entry
from scoring.metrics import Prediction
from scoring.neighbours import NearestLabels, NeighbourSettings, with_evidence

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
    return NearestLabels("corpus", train(*said), LABELS, Directions(), NeighbourSettings(**settings))


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


def test_evidence_stands_beside_the_models_own() -> None:
    log_p = np.log([0.5, 0.3, 0.2])
    row = Prediction("corpus/0/0", "", "glad", "rage", dict(zip(LABELS, log_p.tolist(), strict=True)))
    told = np.log([[1.0, 2.0, 1.0]])
    (with_one,) = with_evidence([row], told, LABELS, 1.0)
    assert (with_one.label, with_one.target) == ("glad", "glad")
    assert list(with_one.scores.values()) == pytest.approx(np.log([5 / 13, 6 / 13, 2 / 13]))
    (with_little,) = with_evidence([row], told, LABELS, 0.5)
    assert with_little.label == "calm" and sum(np.exp(list(with_little.scores.values()))) == pytest.approx(1)
    (without,) = with_evidence([row], told, LABELS, 0.0)
    assert without.label == "calm" and list(without.scores.values()) == pytest.approx(log_p)
    (tie,) = with_evidence([row], np.log([[1.0, 5 / 3, 1.0]]), LABELS, 1.0)
    assert tie.label == "calm"
    assert with_evidence([], np.zeros((0, 3)), LABELS) == []
