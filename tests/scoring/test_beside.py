"""Evidence of train beside a model's own log p: what is added, and what comes of it."""

import numpy as np
import pytest

from data_utils.dialogues import Dialogue, Utterance
from scoring.beside import log_shares, with_evidence
from scoring.contenders import Task
from scoring.metrics import Prediction

LABELS = ("calm", "glad", "rage")


def test_shares_count_one_more_of_every_label() -> None:
    spoken = (Utterance(0, "a", "calm"), Utterance(1, "b", "rage"), Utterance(0, "c", None), Utterance(0, "d", "rage"))
    task = Task("corpus", {"train": [Dialogue("1", spoken)]}, LABELS, "weighted_f1", 12)
    assert np.exp(log_shares(task)) == pytest.approx([2 / 6, 1 / 6, 3 / 6])


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
    assert with_evidence([], np.zeros((0, 3)), LABELS, 1.0) == []
