"""The table on the terminal, and the scores as results.json holds them."""

import io
import json
from dataclasses import replace

import pytest

from data_utils.labels import MICRO_F1_WITHOUT_NEUTRAL
from results.files import SELECTIONS, Scorecard
from results.score_table import print_table
from scoring.metrics import Copying, Prediction, baseline_majority, evaluate_predictions, evaluate_unseen

LABELS = ("neutral", "joyful", "[bold]mad[/bold]")
ANSWERS = (
    ("neutral", "neutral"),
    ("neutral", "joyful"),
    ("joyful", None),
    ("joyful", "joyful"),
    ("joyful", "joyful"),
)
PREDICTIONS = [Prediction(f"small/d/{turn}", "emotion_recognition", *answer) for turn, answer in enumerate(ANSWERS)]


def make_card(selection: str = "valid", metric: str = "weighted_f1") -> Scorecard:
    """Scores of PREDICTIONS; the text of the second was trained on."""
    targets = [prediction.target for prediction in PREDICTIONS]
    return Scorecard(
        evaluate_predictions(PREDICTIONS, LABELS, metric),
        selection,
        unseen=evaluate_unseen(PREDICTIONS, LABELS, ["small/d/1"], metric),
        seen_rows=("small/d/1",),
        majority=baseline_majority(["joyful"], targets, LABELS, metric),
    )


def render(card: Scorecard, title: str = "SmolLM2-135M, lora, sample") -> str:
    """The table as it goes into a file."""
    file = io.StringIO()
    print_table(card, title, file)
    return file.getvalue()


def row_of(table: str, name: str) -> str:
    """The one line of a table that begins with `name`, blanks as one."""
    lines = [" ".join(line.split()) for line in table.splitlines() if line.startswith(name)]
    assert len(lines) == 1, table
    return lines[0]


def test_table_holds_the_scores(monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "30")
    table = render(make_card())
    assert "\x1b" not in table and max(map(len, table.splitlines())) <= 100
    assert table.startswith("SmolLM2-135M, lora, sample: test, 5 utterances\n")
    # neutral 1 of 1 said, 1 of 2 found; joyful 2 of 3, 2 of 3
    assert row_of(table, "neutral") == "neutral 100.00 50.00 66.67 2"
    assert row_of(table, "joyful") == "joyful 66.67 66.67 66.67 3"
    assert row_of(table, "[bold]mad[/bold]") == "[bold]mad[/bold] 0.00 0.00 0.00 0"
    assert row_of(table, "weighted F1") == "weighted F1 66.67 chosen on valid"
    assert row_of(table, "accuracy") == "accuracy 60.00"
    assert row_of(table, "macro F1").startswith("macro F1 66.67 "), "a label that is in nobody's gold is left out"
    assert row_of(table, "invalid").startswith("invalid answers 1 ")
    # unseen: neutral 1 of 1; joyful 2 of 2 said, 2 of 3 found
    assert row_of(table, "W-F1 on unseen").startswith("W-F1 on unseen text 85.00 the 4 ")
    assert row_of(table, "W-F1 of majority") == (
        "W-F1 of majority label 45.00 always 'joyful', the commonest label of train"
    )


def test_table_without_unseen_text_or_majority():
    table = render(Scorecard(make_card().result, "valid"))
    assert "unseen" not in table and "majority" not in table


def test_where_everything_is_unseen_its_score_is_not_told_twice():
    card = replace(make_card(), unseen=make_card().result)
    assert "unseen" not in render(card) and card.to_dict()["unseen_text"]["rows"] == 5


def test_where_nothing_is_unseen_that_is_told():
    card = replace(make_card(), unseen=None, seen=make_card().result)
    assert row_of(render(card), "W-F1 on unseen") == "W-F1 on unseen text - the text of every utterance was trained on"


def test_what_a_checkpoint_does_not_tell_is_said_to_be_unknown():
    card = replace(make_card(), unseen=None, seen_rows=None)
    told = row_of(render(card), "W-F1 on unseen")
    assert told == "W-F1 on unseen text unknown the checkpoint does not tell what it was trained on"
    assert max(map(len, render(card).splitlines())) <= 100
    entries = card.to_dict()
    assert (entries["seen_rows"], entries["seen_text"], entries["unseen_text"]) == ("unknown", None, None)


def test_copied_demonstrations_are_counted_beside_what_is_right():
    card = replace(make_card(), copying=Copying(answered=62.5, gold=25.0, rows=8))
    line = row_of(render(card), "demonstration copied")
    assert line == "demonstration copied 62.50 of the answers are its label; of the targets 25.00"
    assert card.to_dict()["copying"] == {"answered": 62.5, "gold": 25.0, "rows": 8}
    assert make_card().to_dict()["copying"] is None


@pytest.mark.parametrize("metric", ["weighted_f1", MICRO_F1_WITHOUT_NEUTRAL])
@pytest.mark.parametrize(
    ("selection", "words"),
    [
        ("valid", "chosen on valid"),
        ("test", "best epoch chosen on TEST, the paper's way: not a held-out score"),
        ("none", "no training"),
        ("given", "checkpoint as given, not chosen by this run"),
    ],
)
def test_selection_stands_beside_the_score(selection, words, metric):
    card = make_card(selection, metric)
    assert card.to_dict()["selection"] == words
    headline = {"weighted_f1": "weighted F1", MICRO_F1_WITHOUT_NEUTRAL: "micro F1 without neutral"}[metric]
    assert row_of(render(card), headline) == f"{headline} {card.result.score:.2f} {words}"
    assert words in row_of(render(card), "weighted F1")


def test_a_score_of_the_split_that_chose_the_epoch_is_said_to_be_no_held_out_one():
    card = replace(make_card(), split="valid")
    assert row_of(render(card), "weighted F1").endswith("chosen on valid, this very split: not a held-out score")
    assert card.to_dict()["selection"] == "chosen on valid"
    assert "held-out" not in render(replace(make_card("given"), split="valid"))


def test_headline_is_the_metric_of_the_dataset():
    table = render(make_card(metric=MICRO_F1_WITHOUT_NEUTRAL))
    assert table.index("micro F1 without neutral") < table.index("weighted F1")
    assert row_of(table, "micro F1 on unseen").split()[5] == "80.00"


def test_unknown_selection_is_refused():
    with pytest.raises(ValueError, match=f"'luck': allowed are {', '.join(SELECTIONS)}"):
        make_card("luck")


def test_scorecard_goes_into_json():
    card = make_card()
    entries = json.loads(json.dumps(card.to_dict(), allow_nan=False))
    assert entries["split"] == "test" and entries["weighted_f1"] == card.result.weighted_f1
    assert (
        entries["seen_rows"] == ["small/d/1"] and entries["unseen_text"]["rows"] == 4 and entries["seen_text"] is None
    )
    assert entries["unseen_text"]["weighted_f1"] == pytest.approx(85)
    assert entries["majority"]["label"] == "joyful"
    assert entries["majority"]["weighted_f1"] == pytest.approx(45)
    assert entries["confusion"]["counts"][0] == [1, 1, 0, 0]


def test_table_goes_to_stdout_and_an_ascii_stream_takes_it(capsys):
    print_table(make_card(), "to stdout")
    assert capsys.readouterr().out == render(make_card(), "to stdout")
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    print_table(make_card(), "ascii", stream)
