"""`--class_weights`: rows count by the share of their emotion among the rows that are trained on."""

from collections import Counter
from dataclasses import replace

import pytest

from data_utils.row_files import PREDICTION, SPEAKER
from engine.batching import EncodedRow
from tiny_models import small_rows
from tiny_runs import Place
from training.rows.encoding import weigh_classes


def test_rows_weigh_by_the_share_of_their_emotion() -> None:
    rows = small_rows("predict", alpha=0.3, count=4) + small_rows("speaker", count=2)
    emotions = [row.label for row in rows if row.task != SPEAKER]
    counts = Counter(emotions)
    assert len(set(counts.values())) > 1
    weighed = weigh_classes(rows, 0.5)
    assert [replace(row, weight=1.0) for row in weighed] == [replace(row, weight=1.0) for row in rows]
    assert {row.weight for row in weighed if row.task == SPEAKER} == {1.0}
    factors = {
        row.label: row.weight / (0.3 if row.task == PREDICTION else 1.0) for row in weighed if row.label in counts
    }
    first = emotions[0]
    for label, factor in factors.items():
        assert factor / factors[first] == pytest.approx((counts[first] / counts[label]) ** 0.5)
    assert sum(factors[label] for label in emotions) / len(emotions) == pytest.approx(1)
    assert weigh_classes(rows, 0.0) == rows


def test_speakers_alone_weigh_as_ever() -> None:
    rows: list[EncodedRow] = small_rows("speaker", count=2)
    assert weigh_classes(rows, 1.0) == rows


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place(tmp_path_factory.mktemp("runs"))


def test_a_run_weighs_what_it_drew_and_says_so(place: Place) -> None:
    """At a rate of nothing the training loss is the weighted mean of what valid would give the same rows."""
    flags = {"learning_rate": 1e-12, "lora_dropout": 0.0, "batch_size": 27, "do_eval": False, "loss": "labels"}
    place.finish("alike", **flags)
    place.finish("weighed", **flags, class_weights=1)
    alike, weighed = (place.results(run) for run in ("alike", "weighed"))
    assert weighed["epochs"][0]["train_loss"] != pytest.approx(alike["epochs"][0]["train_loss"], rel=1e-3)
    assert weighed["epochs"][0]["valid_loss"] == pytest.approx(alike["epochs"][0]["valid_loss"], rel=1e-4)
    told = {
        run: (found["arguments"]["class_weights"], found["arguments"]["loss"])
        for run, found in (("alike", alike), ("weighed", weighed))
    }
    assert told == {"alike": (0.0, "labels"), "weighed": (1.0, "labels")}
    assert "class_weights" not in alike["fingerprint"] and weighed["fingerprint"]["class_weights"] == 1.0
