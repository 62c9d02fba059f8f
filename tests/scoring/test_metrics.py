"""Scores by hand, against scikit-learn on strings, and against the majority numbers of the method."""

import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, classification_report, f1_score

from basics.errors import UserError
from data_utils.labels import DATASETS, MICRO_F1_WITHOUT_NEUTRAL, WEIGHTED_F1
from experiment_utils.dialogue_counts import Counts
from scoring.metrics import (
    Prediction,
    baseline_majority,
    evaluate_predictions,
    evaluate_seen,
    evaluate_unseen,
    name_metric,
    short_name,
    short_names,
    unique_predictions,
)

TASK = "emotion_recognition"
LABELS = ("neutral", "joyful", "mad")
# (target, label said, how many): 10 rows, two of them invalid.
COUNTED = (
    ("neutral", "neutral", 3),
    ("neutral", "joyful", 1),
    ("joyful", "joyful", 2),
    ("joyful", None, 1),
    ("mad", "neutral", 2),
    ("mad", None, 1),
)


def predictions_of(counted) -> list[Prediction]:
    """One prediction per counted row, ids in the order given."""
    pairs = [(target, label) for target, label, count in counted for _ in range(count)]
    return [Prediction(f"small/d/{turn}", TASK, *pair) for turn, pair in enumerate(pairs)]


def same_label_rows(dataset: str, split: str) -> list[str]:
    """Targets of a published split from its label counts alone."""
    spec = DATASETS[dataset]
    counts = zip(spec.labels, spec.expected[split].per_label, strict=True)
    return [label for label, count in counts for _ in range(count)]


@pytest.mark.filterwarnings("error")  # what is divided by nothing is 0, and no reason to warn anybody
def test_small_confusion_by_hand():
    result = evaluate_predictions(predictions_of(COUNTED), LABELS)
    assert result.rows == 10 and result.invalid == 2
    assert result.confusion == ((3, 1, 0, 0), (0, 2, 0, 1), (2, 0, 0, 1))
    # neutral 3 of 5 said, 3 of 4 found; joyful 2 of 3, 2 of 3; mad never said
    neutral, joyful, mad = (result.per_label[label] for label in LABELS)
    assert (neutral.precision, neutral.recall, neutral.support) == (pytest.approx(60), pytest.approx(75), 4)
    assert joyful.precision == joyful.recall == pytest.approx(200 / 3) and joyful.support == 3
    assert (mad.precision, mad.recall, mad.f1, mad.support) == (0.0, 0.0, 0.0, 3)
    assert neutral.f1 == pytest.approx(200 / 3) and joyful.f1 == pytest.approx(200 / 3)
    assert result.weighted_f1 == pytest.approx(200 / 3 * 0.7)
    assert result.macro_f1 == pytest.approx(400 / 9)
    assert result.accuracy == pytest.approx(50)
    # without neutral: 2 right, 3 said (joyful), 6 to find
    assert result.micro_f1_without_neutral == pytest.approx(100 * 2 * 2 / (3 + 6))
    assert result.score == result.weighted_f1


def test_invalid_answers_count_as_wrong_and_are_kept():
    all_right = [("neutral", "neutral", 2), ("mad", "mad", 2)]
    with_invalid = [*all_right, ("neutral", None, 2), ("mad", None, 2)]
    assert evaluate_predictions(predictions_of(all_right), LABELS).weighted_f1 == pytest.approx(100)
    result = evaluate_predictions(predictions_of(with_invalid), LABELS)
    assert (result.rows, result.invalid) == (8, 4)
    assert result.accuracy == pytest.approx(50) and result.weighted_f1 == pytest.approx(200 / 3)
    assert result.per_label["mad"].precision == pytest.approx(100)
    assert [row[-1] for row in result.confusion] == [2, 0, 2]


@given(st.lists(st.tuples(st.sampled_from(LABELS), st.sampled_from((*LABELS, None))), min_size=1))
@settings(max_examples=60, deadline=None)
def test_agrees_with_scikit_learn_on_strings(pairs):
    predictions = [Prediction(f"x/y/{turn}", TASK, *pair) for turn, pair in enumerate(pairs)]
    result = evaluate_predictions(predictions, LABELS)
    targets, said = zip(*((target, label or "no label") for target, label in pairs), strict=True)
    options = {"labels": list(LABELS), "zero_division": 0}
    report = classification_report(targets, said, output_dict=True, **options)
    assert result.weighted_f1 == pytest.approx(100 * report["weighted avg"]["f1-score"])
    occur = [of["f1-score"] for label, of in report.items() if label in targets]
    assert result.macro_f1 == pytest.approx(100 * sum(occur) / len(occur))
    assert result.accuracy == pytest.approx(100 * accuracy_score(targets, said))
    without_neutral = f1_score(targets, said, labels=["joyful", "mad"], average="micro", zero_division=0)
    assert result.micro_f1_without_neutral == pytest.approx(100 * without_neutral)
    for label in LABELS:
        mine, other = result.per_label[label], report[label]
        assert (mine.precision, mine.recall, mine.f1, mine.support) == pytest.approx(
            (100 * other["precision"], 100 * other["recall"], 100 * other["f1-score"], other["support"])
        )
    assert sum(map(sum, result.confusion)) == len(pairs)
    assert result.invalid == said.count("no label")


@pytest.mark.parametrize(("dataset", "expected"), [("iemocap", 9.05), ("meld", 31.27), ("EmoryNLP", 13.25)])
def test_majority_label_of_test_scores_what_the_method_says(dataset, expected):
    targets = same_label_rows(dataset, "test")
    baseline = baseline_majority(targets, targets, DATASETS[dataset].labels)
    assert baseline.label.lower() == "neutral"
    assert round(baseline.result.weighted_f1, 2) == expected


def test_majority_label_is_chosen_on_train():
    train, test = (same_label_rows("iemocap", split) for split in ("train", "test"))
    baseline = baseline_majority(train, test, DATASETS["iemocap"].labels)
    precision = 381 / 1623
    assert baseline.label == "frustrated"
    assert baseline.result.weighted_f1 == pytest.approx(100 * precision * 2 * precision / (1 + precision))
    tied = baseline_majority(["mad", "joyful"], ["mad"], LABELS)
    assert tied.label == "joyful" and tied.result.accuracy == 0.0
    with pytest.raises(UserError, match="majority"):
        baseline_majority([], ["mad"], LABELS)


def test_micro_f1_without_neutral():
    counted = [("Happy", "Happy", 1), ("Neutral", "Happy", 1), ("Neutral", "Neutral", 6), ("Happy", "Neutral", 2)]
    predictions = predictions_of(counted)
    result = evaluate_predictions(predictions, ("Happy", "Neutral"), MICRO_F1_WITHOUT_NEUTRAL)
    assert result.micro_f1_without_neutral == result.score == pytest.approx(100 * 2 * 1 / (2 + 3))
    assert result.score != result.weighted_f1
    renamed = [Prediction(row.id, TASK, row.target[:3], row.label[:3]) for row in predictions]
    assert evaluate_predictions(renamed, ("Hap", "Neu")).micro_f1_without_neutral is None
    alone = evaluate_predictions(predictions_of([("neutral", "neutral", 1)]), ("neutral",))
    assert alone.micro_f1_without_neutral is None, "no other label is left"
    with pytest.raises(UserError, match="allowed.*weighted_f1$"):
        evaluate_predictions(renamed, ("Hap", "Neu"), MICRO_F1_WITHOUT_NEUTRAL)
    with pytest.raises(UserError, match="'best'.*weighted_f1, micro_f1_without_neutral$"):
        evaluate_predictions(predictions, ("Happy", "Neutral"), "best")


def test_a_corpus_names_the_label_that_its_score_leaves_out():
    counted = [("glee", "glee", 1), ("calm", "glee", 1), ("calm", "calm", 6), ("glee", "calm", 2), ("rage", "rage", 1)]
    result = evaluate_predictions(predictions_of(counted), ("calm", "glee", "rage"), "micro_f1_without_calm")
    assert result.score == pytest.approx(100 * 2 * 2 / (3 + 4))
    assert (name_metric(result.metric), short_name(result.metric)) == ("micro F1 without calm", "micro F1")
    assert (name_metric(WEIGHTED_F1), short_name(WEIGHTED_F1)) == ("weighted F1", "W-F1")
    assert short_names([result.metric, WEIGHTED_F1, "micro_f1_without_glee"]) == "micro F1, W-F1"
    # In unified labels it is the one that is called neutral.
    unified = [(*("neutral" if label == "calm" else label for label in row[:2]), row[2]) for row in counted]
    again = evaluate_predictions(predictions_of(unified), ("glee", "neutral", "rage"), "micro_f1_without_calm")
    assert again.score == result.score
    counts = Counts.of_predictions(predictions_of(counted), ("calm", "glee", "rage"))
    assert counts.score(result.metric) == pytest.approx(result.score)


@pytest.mark.filterwarnings("error")
def test_only_neutral_rows_score_nothing_without_neutral():
    result = evaluate_predictions(predictions_of([("neutral", "neutral", 3)]), LABELS)
    assert result.micro_f1_without_neutral == 0.0 and result.weighted_f1 == pytest.approx(100)
    assert result.macro_f1 == pytest.approx(100), "the labels of nobody's gold do not count"


def test_repeated_rows_count_once():
    predictions = predictions_of(COUNTED)
    again = Prediction(predictions[0].id, TASK, "neutral", "neutral", {"neutral": -0.1})
    assert unique_predictions([*predictions, again, predictions[4]]) == predictions
    padded = evaluate_predictions([*predictions, again, *predictions[:5]], LABELS)
    assert padded == evaluate_predictions(predictions, LABELS)
    shuffled = predictions.copy()
    random.Random(0).shuffle(shuffled)
    assert evaluate_predictions(shuffled, LABELS) == padded


def test_one_utterance_of_two_tasks_is_no_repetition():
    rows = [Prediction("a/b/0", task, "mad", label) for task, label in ((TASK, "mad"), ("other", "neutral"))]
    assert unique_predictions(rows) == rows


@pytest.mark.parametrize(("target", "label"), [("neutral", "mad"), ("neutral", None), ("mad", "neutral")])
def test_contradicting_repetitions_are_refused(target, label):
    predictions = predictions_of(COUNTED)
    with pytest.raises(ValueError, match="small/d/0.*twice"):
        evaluate_predictions([*predictions, Prediction("small/d/0", TASK, target, label)], LABELS)


@pytest.mark.parametrize(
    ("target", "label", "named"),
    [("angry", "mad", "target 'angry'"), ("mad", "", "label ''"), ("mad", "x", "label 'x'")],
)
def test_labels_from_elsewhere_are_refused(target, label, named):
    row = Prediction("meld/4/7", TASK, target, label)
    with pytest.raises(UserError, match=f"meld/4/7.*{named}.*neutral, joyful, mad$"):
        evaluate_predictions([row], LABELS)


def test_other_bad_input_is_refused():
    with pytest.raises(UserError, match="no predictions"):
        evaluate_predictions([], LABELS)
    with pytest.raises(ValueError, match="twice"):
        evaluate_predictions([Prediction("a/b/0", TASK, "mad", "mad")], ("mad", "mad"))
    for score in (float("nan"), float("-inf")):
        with pytest.raises(UserError, match="a/b/0.*'mad' is (nan|-inf)"):
            Prediction("a/b/0", TASK, "mad", "mad", {"neutral": -1.0, "mad": score})


def test_seen_and_unseen_text_part_the_rows():
    predictions = predictions_of(COUNTED)
    seen_ids = ["small/d/0", "small/d/3", "elsewhere/d/9"]
    seen, unseen = (part(predictions, LABELS, seen_ids) for part in (evaluate_seen, evaluate_unseen))
    assert (seen.rows, seen.accuracy) == (2, pytest.approx(50))
    assert (unseen.rows, unseen.accuracy) == (8, pytest.approx(50))
    assert seen.confusion[0] == (1, 1, 0, 0) and unseen.confusion[0] == (2, 0, 0, 0)
    assert evaluate_unseen(predictions, LABELS, []) == evaluate_predictions(predictions, LABELS)
    assert evaluate_seen(predictions, LABELS, []) is None
    everything = {prediction.id for prediction in predictions}
    assert evaluate_unseen(predictions, LABELS, everything) is None
    for part in (evaluate_seen, evaluate_unseen):
        micro = part(predictions, LABELS, seen_ids, MICRO_F1_WITHOUT_NEUTRAL)
        assert micro.score == micro.micro_f1_without_neutral != micro.weighted_f1


def test_result_goes_into_json_whole():
    result = evaluate_predictions(predictions_of(COUNTED), LABELS)
    entries = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert entries["weighted_f1"] == entries["score"] == result.weighted_f1 and entries["labels"] == list(LABELS)
    assert entries["confusion"] == {
        "rows": list(LABELS),
        "columns": [*LABELS, "invalid"],
        "counts": [[3, 1, 0, 0], [0, 2, 0, 1], [2, 0, 0, 1]],
    }
    assert entries["per_label"]["mad"] == {"precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 3}
    assert (entries["metric"], entries["rows"], entries["invalid"]) == ("weighted_f1", 10, 2)
