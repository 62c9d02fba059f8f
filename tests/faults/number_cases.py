"""Random answers, scored by every way this program has and by scikit-learn on the words themselves.

    python tests/faults/number_cases.py --cases 10000 --seed 0

Among them are labels that nobody's gold has or nobody says, single rows, answers without a label, a neutral label of
any name and case, and none at all. Prints how many cases, how many numbers were compared, and how far the furthest two
lie apart.
"""

import argparse
import random
import sys
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[2] / "code")]

from sklearn.metrics import accuracy_score, classification_report, confusion_matrix, f1_score  # noqa: E402

from data_utils.labels import MICRO_F1_WITHOUT, WEIGHTED_F1  # noqa: E402
from experiment_utils.dialogue_counts import Counts, f1_of_labels, macro_f1  # noqa: E402
from scoring.metrics import Prediction, baseline_majority, evaluate_predictions, score_numbers  # noqa: E402

WORDS = ("joy", "rage", "Sad", "fear", "in love", "Überraschung", "5", "nothing", "mad")
NEUTRALS = ("neutral", "Neutral", "calm", "")  # the last: there is none
NO_LABEL = "\0"  # what an answer without a label is to scikit-learn: a word that no label is
WITHIN = 1e-9  # percent


@dataclass(frozen=True)
class Case:
    """What was asked for and said. answers: None where there was no label. neutral: empty where there is none."""

    labels: tuple[str, ...]
    neutral: str
    targets: tuple[str, ...]
    answers: tuple[str | None, ...]

    @property
    def predictions(self) -> list[Prediction]:
        """Of dialogues of five turns."""
        pairs = enumerate(zip(self.targets, self.answers, strict=True))
        return [Prediction(f"set/{place // 5}/{place % 5}", "", *pair) for place, pair in pairs]


def draw_case(draws: random.Random) -> Case:
    neutral = draws.choice(NEUTRALS)
    labels = draws.sample(WORDS, draws.randrange(1, len(WORDS) + 1)) + [neutral] * bool(neutral)
    draws.shuffle(labels)
    asked = draws.sample(labels, draws.randrange(1, len(labels) + 1))  # some labels nobody's gold has
    said = [*draws.sample(labels, draws.randrange(1, len(labels) + 1)), None]  # and some nobody says
    rows = draws.choice((1, 2, 3, 10, 60))
    skew = draws.choice((0.0, 1.0, 3.0))
    weights = [[(1 + place) ** -skew for place in range(len(of))] for of in (asked, said)]
    right = draws.choice((0.0, 0.3, 0.9, 1.0))
    targets = draws.choices(asked, weights[0], k=rows)
    answers = [target if draws.random() < right else draws.choices(said, weights[1])[0] for target in targets]
    return Case(tuple(labels), neutral, tuple(targets), tuple(answers))


def by_library(case: Case) -> dict[str, float]:
    """What scikit-learn says, in percent, of words and not of numbers for them."""
    labels, targets = list(case.labels), list(case.targets)
    said = [NO_LABEL if answer is None else answer for answer in case.answers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of labels that nobody says
        report = classification_report(targets, said, labels=labels, output_dict=True, zero_division=0)
        occur = sorted(set(targets))
        kept = [label for label in labels if label != case.neutral]
        found = {
            "weighted F1": report["weighted avg"]["f1-score"],
            "macro F1": f1_score(targets, said, labels=occur, average="macro", zero_division=0),
            "accuracy": accuracy_score(targets, said),
        }
        if case.neutral and kept:
            found["micro F1"] = f1_score(targets, said, labels=kept, average="micro", zero_division=0)
        words = [*labels, NO_LABEL]
        counted = confusion_matrix(targets, said, labels=words)[:-1]
    for label in labels:
        for name in ("precision", "recall", "f1-score"):
            found[f"{name} of {label}"] = report[label][name]
        found[f"support of {label}"] = report[label]["support"] / 100
    found |= {f"{labels[t]} as {words[s]}": counted[t, s] / 100 for t in range(len(labels)) for s in range(len(words))}
    return {name: 100 * float(value) for name, value in found.items()}


def by_program(case: Case) -> Iterator[Mapping[str, float]]:
    """The same, as far as each way of this program goes."""
    metric = f"{MICRO_F1_WITHOUT}{case.neutral.lower()}"
    has_micro = bool(case.neutral) and len(case.labels) > 1
    result = evaluate_predictions(case.predictions, case.labels, metric if has_micro else WEIGHTED_F1)
    whole = {"weighted F1": result.weighted_f1, "macro F1": result.macro_f1, "accuracy": result.accuracy}
    whole |= {"micro F1": result.score} if has_micro else {}
    for label, scores in result.per_label.items():
        whole |= {f"precision of {label}": scores.precision, f"recall of {label}": scores.recall}
        whole |= {f"f1-score of {label}": scores.f1, f"support of {label}": scores.support}
    words = [*case.labels, NO_LABEL]
    for label, row in zip(case.labels, result.confusion, strict=True):
        whole |= {f"{label} as {word}": count for word, count in zip(words, row, strict=True)}
    yield whole

    places = {label: place for place, label in enumerate(case.labels)} | {None: len(case.labels)}
    truth, said = ([places[word] for word in of] for of in (case.targets, case.answers))
    yield {"weighted F1": score_numbers(truth, said, case.labels, WEIGHTED_F1)}
    if has_micro:
        yield {"micro F1": score_numbers(truth, said, case.labels, metric)}

    counts = Counts.read(Counts.of_predictions(case.predictions, case.labels).write(), case.labels)
    yield {
        "weighted F1": counts.score(WEIGHTED_F1),
        "macro F1": float(macro_f1(counts.sums)),
        **({"micro F1": counts.score(metric)} if has_micro else {}),
        **{
            f"f1-score of {label}": float(value)
            for label, value in zip(case.labels, f1_of_labels(counts.sums), strict=True)
        },
    }
    yield {"weighted F1": counts.evaluate().weighted_f1}


def compare(case: Case) -> tuple[int, float]:
    """(numbers compared, how far the furthest lies from scikit-learn's, in percent); AssertionError: they differ."""
    wanted, numbers, furthest = by_library(case), 0, 0.0
    for found in by_program(case):
        for name, value in found.items():
            apart = abs(value - wanted[name])
            assert apart <= WITHIN, f"{name}: {value} here, {wanted[name]} there: {case}"
            numbers, furthest = numbers + 1, max(furthest, apart)
        assert found.keys() <= wanted.keys()
    return numbers, furthest


def compare_majority(case: Case) -> None:
    """The baseline that says the commonest label of the answers, as if they were train."""
    train = [answer for answer in case.answers if answer is not None]
    if not train:
        return
    baseline = baseline_majority(train, case.targets, case.labels)
    assert train.count(baseline.label) == max(map(train.count, case.labels))
    said = (baseline.label,) * len(case.targets)
    wanted = by_library(Case(case.labels, case.neutral, case.targets, said))
    assert abs(baseline.result.weighted_f1 - wanted["weighted F1"]) <= WITHIN


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    draws, numbers, furthest = random.Random(arguments.seed), 0, 0.0
    for _ in range(arguments.cases):
        compared, apart = compare(draw_case(draws))
        numbers, furthest = numbers + compared, max(furthest, apart)
    print(f"{arguments.cases:,} cases, {numbers:,} numbers, {furthest:.1e} percent apart at most")


if __name__ == "__main__":
    main()
