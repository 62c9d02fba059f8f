"""What two linear models of train say beside a model: in its own words, and by who said what before."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_info, threadpool_limits

from basics.errors import UserError
from corpora import LetterCounts
from data_utils.dialogues import Dialogue, Utterance
from scoring.beside import log_shares
from scoring.contenders import Task
from scoring.linear_models import VECTORS, WORDS, linear_evidence
from scoring.vector_baselines import vectors_with_history
from scoring.word_baselines import words_with_history

LABELS = ("calm", "glad", "rage", "never")
SAID = {"calm": "a quiet day at home", "glad": "what a lovely present", "rage": "you broke my window"}


def dialogue(name: str, *labels: str, opening: str = "well then") -> Dialogue:
    said = [Utterance(turn % 2, SAID[label], label) for turn, label in enumerate(labels)]
    return Dialogue(name, (Utterance(1, opening, None), *said))


def task(*test: Dialogue) -> Task:
    train = [dialogue(str(number), "calm", "calm", "glad", "rage") for number in range(20)]
    return Task("corpus", {"train": train, "test": test}, LABELS, "weighted_f1", 12)


def test_what_was_said_with_a_label_speaks_for_it() -> None:
    found = linear_evidence(task(dialogue("t", "rage", "glad", "calm")), ["test"], LetterCounts())["test"]
    assert found.shape == (3, len(LABELS))
    assert found.argmax(axis=1).tolist() == [LABELS.index(label) for label in ("rage", "glad", "calm")]
    assert (found.min(axis=1) == found[:, LABELS.index("never")]).all(), "train does not have it"


def test_it_is_the_mean_of_both_models_over_the_shares() -> None:
    asked = task(dialogue("t", "rage", "glad", opening="what a lovely present"))
    (words,), (vectors,) = words_with_history(asked, WORDS), vectors_with_history(asked, VECTORS, LetterCounts())
    expected = (words.log_p("test") + vectors.log_p("test")) / 2 - log_shares(asked)
    assert linear_evidence(asked, ["test"], LetterCounts())["test"] == pytest.approx(expected)
    assert not np.allclose(words.log_p("test"), vectors.log_p("test"))


def test_fits_sum_by_one_thread_however_many_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    fit, threads = LogisticRegression.fit, []

    def noting(model: LogisticRegression, *data: object) -> LogisticRegression:
        threads.append({pool["num_threads"] for pool in threadpool_info()})
        return fit(model, *data)

    monkeypatch.setattr(LogisticRegression, "fit", noting)
    with threadpool_limits(2):
        linear_evidence(task(dialogue("t", "rage")), ["test"], LetterCounts())
    assert threads == [{1}, {1}]


def test_the_turns_before_are_heard() -> None:
    quiet, loud = (task(dialogue("t", "glad", opening=SAID[before])) for before in ("calm", "rage"))
    found = [linear_evidence(asked, ["test"], LetterCounts())["test"] for asked in (quiet, loud)]
    assert not np.allclose(*found)


def test_a_train_of_one_label_is_refused() -> None:
    train = [dialogue("1", "calm", "calm")]
    asked = Task("corpus", {"train": train, "test": train}, LABELS, "weighted_f1", 12)
    with pytest.raises(UserError, match="one label 'calm'"):
        linear_evidence(asked, ["test"], LetterCounts())
