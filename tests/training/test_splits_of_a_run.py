"""Which split chooses the epoch, and which one is scored."""

import json

import pytest

from tiny_runs import Place


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place(tmp_path_factory.mktemp("place"))


def test_choosing_on_test_is_named_wherever_the_score_stands(place: Place) -> None:
    result = place.finish("on test", select_on="test")
    results = place.results("on test")
    assert results["selection"].startswith("best epoch chosen on TEST")
    assert results["selection"] in result.stdout
    assert results["epochs"][0]["test_weighted_f1"] == results["weighted_f1"]
    assert "not a held-out" in (place.model("on test") / "README.md").read_text(encoding="utf-8")


def test_test_is_left_alone_when_valid_is_scored(place: Place) -> None:
    result = place.finish("on valid", num_train_epochs=2, score_on="valid")
    results, written = place.results("on valid"), (place.rows / "valid.json").read_text(encoding="utf-8").splitlines()
    assert list(place.scores("on valid")) == [json.loads(line)["id"] for line in written]
    assert results["split"] == "valid" and results["score"] == max(epoch["score"] for epoch in results["epochs"])
    assert ": valid, " in result.stdout and "score test" not in result.stderr
    place.score("valid again", "on valid", score_on="valid")  # what lies on disk scores the same
    assert place.scores("valid again") == place.scores("on valid")
