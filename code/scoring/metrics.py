"""Predictions -> weighted F1 and the rest, in percent, unrounded; scikit-learn does the arithmetic.

An answer that holds no label is a named outcome, "invalid": it counts as wrong and is never dropped.
"""

import math
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from types import MappingProxyType

from basics.errors import UserError
from data_utils.labels import (
    DATASETS,
    INVALID,
    MICRO_F1_WITHOUT,
    MICRO_F1_WITHOUT_NEUTRAL,
    NEUTRAL,
    WEIGHTED_F1,
    DatasetSpec,
)
from data_utils.row_files import SPEAKER, Example

METRICS = (WEIGHTED_F1, MICRO_F1_WITHOUT_NEUTRAL)

NONE_OF_OWN: Mapping[str, DatasetSpec] = MappingProxyType({})

Labels = Sequence[str]  # the closed set, in the order of the prompt
PERCENT = 100.0


@dataclass(frozen=True)
class Prediction:
    """What a model said about one row.

    label: None when the answer held no label. scores: log-probability of every label (EOS included), None
    when the answer was generated. response: the generated text, None when the labels were scored.
    Raises UserError for a log-probability that is not a finite number.
    """

    id: str
    task: str
    target: str
    label: str | None
    scores: Mapping[str, float] | None = None
    response: str | None = None

    def __post_init__(self) -> None:
        for label, score in (self.scores or {}).items():
            # max() of several NaN is the first: the model would seem to answer the first label always.
            if not math.isfinite(score):
                raise UserError(
                    f"row {self.id}: the log-probability of '{label}' is {score}, not a finite number; "
                    "try --precision bf16 or fp32, or a lower --learning_rate"
                )


@dataclass(frozen=True)
class LabelScores:
    """Scores of one label in percent; `support` is how many rows have it as their target."""

    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True)
class EvalResult:
    """Scores of one set of predictions, in percent.

    metric: name of the headline score, which `score` returns.
    macro_f1: mean over the labels that occur among the targets.
    micro_f1_without_neutral: DailyDialog's score, without the label that `find_neutral` finds; None: there is none.
    confusion: (labels, labels + 1) counts; row = target, column = answer, the last column = invalid.
    """

    labels: tuple[str, ...]
    metric: str
    rows: int
    invalid: int
    weighted_f1: float
    accuracy: float
    macro_f1: float
    micro_f1_without_neutral: float | None
    per_label: Mapping[str, LabelScores]
    confusion: tuple[tuple[int, ...], ...]

    @property
    def score(self) -> float:
        """The headline number, by which epochs are compared."""
        return getattr(self, field_of(self.metric))

    def to_dict(self) -> dict:
        """Return plain lists, dicts and numbers, ready for JSON."""
        return asdict(self) | {
            "labels": list(self.labels),
            "score": self.score,
            "confusion": {
                "rows": list(self.labels),
                "columns": [*self.labels, INVALID],
                "counts": [list(row) for row in self.confusion],
            },
        }


@dataclass(frozen=True)
class MajorityBaseline:
    """The scores of answering `label` to every row."""

    label: str
    result: EvalResult


def field_of(metric: str) -> str:
    """The field of a result that holds a metric's score."""
    return MICRO_F1_WITHOUT_NEUTRAL if metric.startswith(MICRO_F1_WITHOUT) else metric


def find_neutral(labels: Labels, metric: str = MICRO_F1_WITHOUT_NEUTRAL) -> str | None:
    """The label that a metric leaves out: the one in its name, else the one that is called neutral, whatever its case.

    The name is of a corpus's own label; among unified labels it is the one called neutral.
    """
    named = metric.removeprefix(MICRO_F1_WITHOUT) if metric.startswith(MICRO_F1_WITHOUT) else NEUTRAL
    return next((label for word in (named, NEUTRAL) for label in labels if label.lower() == word.lower()), None)


def name_metric(metric: str) -> str:
    """The name of a metric in tables: 'weighted F1', 'micro F1 without neutral'."""
    return "weighted F1" if metric == WEIGHTED_F1 else f"micro F1 without {metric.removeprefix(MICRO_F1_WITHOUT)}"


def short_name(metric: str) -> str:
    """The name of a metric where there is little room, as in heads of columns."""
    return "W-F1" if metric == WEIGHTED_F1 else "micro F1"


def short_names(metrics: Iterable[str]) -> str:
    """The same for a column whose lines are scored by several: each name once, joined by commas."""
    return ", ".join(dict.fromkeys(map(short_name, metrics)))


def extract_label(answer: str, labels: Labels, repair: bool = False) -> str | None:
    """Return the label that stands leftmost in a generated answer, the longest at that place; case counts.

    A label inside a longer word counts, as in the released program. Without any label the answer is None, or
    with `repair` the label at the smallest edit distance from it, the first in label order on a tie.
    Raises ValueError when there are no labels or one of them is empty.
    """
    if not labels or "" in labels:
        raise ValueError(f"labels must be one or more non-empty strings, got {list(labels)}")
    longest_first = sorted(labels, key=len, reverse=True)
    found = re.search("|".join(map(re.escape, longest_first)), answer)
    if found:
        return found.group()
    return min(labels, key=lambda label: edit_distance(answer, label)) if repair else None


def edit_distance(first: str, second: str) -> int:
    """Return the Levenshtein distance: the fewest characters inserted, deleted or replaced."""
    previous = list(range(len(second) + 1))
    for row, character in enumerate(first, start=1):
        current = [row]
        for column, other in enumerate(second, start=1):
            replaced = previous[column - 1] + (character != other)
            current.append(min(previous[column] + 1, current[-1] + 1, replaced))
        previous = current
    return previous[-1]


def unique_predictions(predictions: Sequence[Prediction]) -> list[Prediction]:
    """Keep the first prediction of every (id, task), in order.

    Repeats may differ in the last digits of their scores; ValueError when they differ in target or label.
    """
    kept: dict[tuple[str, str], Prediction] = {}
    for prediction in predictions:
        first = kept.setdefault((prediction.id, prediction.task), prediction)
        if (first.target, first.label) != (prediction.target, prediction.label):
            raise ValueError(
                f"row {prediction.id} ({prediction.task}) was predicted twice and differently: "
                f"{first.label!r} for {first.target!r}, {prediction.label!r} for {prediction.target!r}"
            )
    return list(kept.values())


def evaluate_predictions(predictions: Sequence[Prediction], labels: Labels, metric: str = WEIGHTED_F1) -> EvalResult:
    """Score predictions over a closed label set; repeated rows count once (see `unique_predictions`).

    Raises UserError when there are no predictions, when a target or a predicted label is not among `labels`
    (naming the row), and for an unknown metric or one that needs a neutral label where there is none.
    """
    rows = unique_predictions(predictions)
    if not rows:
        raise UserError("no predictions to score: the split holds no rows")
    for row in rows:
        _check_row(row, labels)
    return _score([row.target for row in rows], [row.label for row in rows], labels, metric)


def evaluate_seen(
    predictions: Sequence[Prediction], labels: Labels, seen_ids: Collection[str], metric: str = WEIGHTED_F1
) -> EvalResult | None:
    """Score only the rows whose text was trained on (`seen_ids`); None when there is none.

    Letter case and outer blanks do not count, as in `data_utils.texts.fold_text`.
    """
    chosen = set(seen_ids)
    kept = [prediction for prediction in predictions if prediction.id in chosen]
    return evaluate_predictions(kept, labels, metric) if kept else None


def evaluate_unseen(
    predictions: Sequence[Prediction], labels: Labels, seen_ids: Collection[str], metric: str = WEIGHTED_F1
) -> EvalResult | None:
    """Score only the rows whose text was not trained on (see `evaluate_seen`); None when there is none."""
    return evaluate_seen(predictions, labels, {row.id for row in predictions}.difference(seen_ids), metric)


def baseline_majority(
    train_targets: Sequence[str], test_targets: Sequence[str], labels: Labels, metric: str = WEIGHTED_F1
) -> MajorityBaseline:
    """Score answering the commonest label of train, of equals the first, to every row of test.

    Raises UserError when either side is empty or the test side holds a label that is not among `labels`.
    """
    counts = Counter(train_targets)
    majority = max(labels, key=lambda label: counts[label])
    if not counts[majority]:
        raise UserError(f"no training target is among the labels {', '.join(labels)}: no majority label")
    rows = [Prediction(str(turn), "", target, majority) for turn, target in enumerate(test_targets)]
    return MajorityBaseline(majority, evaluate_predictions(rows, labels, metric))


def _check_row(row: Prediction, labels: Labels) -> None:
    for role, value, allowed in (("target", row.target, labels), ("label", row.label, (*labels, None))):
        if value not in allowed:
            raise UserError(f"row {row.id}: the {role} '{value}' is not among the labels {', '.join(labels)}")


def _score(targets: Sequence[str], answers: Sequence[str | None], labels: Labels, metric: str) -> EvalResult:
    """Score checked answers. Labels become their index and None the index after the last."""
    from sklearn.metrics import accuracy_score, confusion_matrix

    index: dict[str | None, int] = {label: number for number, label in enumerate(labels)}
    if len(index) != len(labels):
        raise ValueError(f"a label stands twice in {list(labels)}")
    numbers = list(index.values())
    index[None] = len(numbers)
    truth = [index[target] for target in targets]
    said = [index[answer] for answer in answers]
    result = EvalResult(
        labels=tuple(labels),
        metric=metric,
        rows=len(truth),
        invalid=said.count(index[None]),
        weighted_f1=_f1_percent(truth, said, numbers, "weighted"),
        accuracy=100.0 * float(accuracy_score(truth, said)),
        macro_f1=_f1_percent(truth, said, sorted(set(truth)), "macro"),
        micro_f1_without_neutral=_micro_f1_without_neutral(truth, said, labels, metric),
        per_label=dict(zip(labels, _per_label(truth, said, numbers), strict=True)),
        # No target is None, so the last row of the square is empty.
        confusion=tuple(map(tuple, confusion_matrix(truth, said, labels=[*index.values()])[:-1].tolist())),
    )
    possible = [name for name in METRICS if getattr(result, name) is not None]
    if field_of(metric) not in possible:
        raise UserError(f"metric '{metric}': allowed with the labels {', '.join(labels)}: {', '.join(possible)}")
    return result


def score_numbers(truth: Sequence[int], said: Sequence[int], labels: Labels, metric: str) -> float:
    """The headline score alone, in percent; fast, for searches. truth, said: positions among the labels."""
    numbers = range(len(labels))
    if metric == WEIGHTED_F1:
        return _f1_percent(truth, said, numbers, "weighted")
    return _micro_f1_without_neutral(truth, said, labels, metric)


def _per_label(truth: Sequence[int], said: Sequence[int], numbers: Sequence[int]) -> list[LabelScores]:
    from sklearn.metrics import precision_recall_fscore_support

    columns = precision_recall_fscore_support(truth, said, labels=numbers, zero_division=0.0)
    return [
        LabelScores(*(100.0 * float(share) for share in shares), support=int(support))
        for *shares, support in zip(*columns, strict=True)
    ]


def _f1_percent(truth: Sequence[int], said: Sequence[int], kept: Sequence[int], average: str) -> float:
    from sklearn.metrics import f1_score  # slow to import, and not needed by prediction

    return 100.0 * float(f1_score(truth, said, labels=kept, average=average, zero_division=0.0))


def _micro_f1_without_neutral(truth: Sequence[int], said: Sequence[int], labels: Labels, metric: str) -> float | None:
    neutral = find_neutral(labels, metric)
    kept = [number for number, label in enumerate(labels) if label != neutral]
    return _f1_percent(truth, said, kept, "micro") if 0 < len(kept) < len(labels) else None


def evaluate_by_dataset(
    predictions: Sequence[Prediction], labels: Sequence[str], metric: str, own: Mapping[str, DatasetSpec] = NONE_OF_OWN
) -> dict[str, EvalResult]:
    """Dataset (first part of a row's id) -> scores of its rows, in the order in which datasets first occur.

    own: name -> corpus of one's own. metric: for rows of an unknown dataset, or of the speaker task. Raises UserError
    as `evaluate_predictions` does.
    """
    rows = split_by_dataset(predictions)
    known = {name: spec for name, spec in {**DATASETS, **own}.items() if name in rows and rows[name][0].task != SPEAKER}
    metrics = {name: known[name].metric if name in known else metric for name in rows}
    return {name: evaluate_predictions(of_set, labels, metrics[name]) for name, of_set in rows.items()}


def split_by_dataset(predictions: Sequence[Prediction]) -> dict[str, list[Prediction]]:
    """Dataset (first part of a row's id) -> its rows, in their order."""
    rows: dict[str, list[Prediction]] = {}
    for prediction in predictions:
        rows.setdefault(prediction.id.partition("/")[0], []).append(prediction)
    return rows


def mean_score(results: Mapping[str, EvalResult]) -> float:
    """Mean of the datasets' headline scores, each with the same weight; epochs are compared by it."""
    return sum(result.score for result in results.values()) / len(results)


@dataclass(frozen=True)
class Copying:
    """How often answers copy the label of the nearest demonstration, over the rows that have one.

    answered, gold: percentage of rows whose answer, whose target, is that label. A model that copies has `answered` far
    above `gold`. rows: their number.
    """

    answered: float
    gold: float
    rows: int


def measure_copying(rows: Sequence[Example], predictions: Sequence[Prediction]) -> Copying | None:
    """Compare answers with the nearest demonstration's label; None where no row holds a demonstration.

    predictions: one for every row, in the rows' order; ValueError where they are of other rows.
    """
    pairs = list(zip(rows, predictions, strict=True))
    if any(row.id != prediction.id for row, prediction in pairs):
        raise ValueError("the predictions are not of these rows")
    shown = [(row, prediction) for row, prediction in pairs if row.demonstrations]
    if not shown:
        return None
    answered = sum(prediction.label == row.demonstrations[0].label for row, prediction in shown)
    gold = sum(row.target == row.demonstrations[0].label for row, _ in shown)
    return Copying(PERCENT * answered / len(shown), PERCENT * gold / len(shown), len(shown))
