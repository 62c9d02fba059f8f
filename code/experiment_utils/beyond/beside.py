"""What evidence of train (scoring.beside) adds to answers that exist: those committed of test, or those of a file."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from basics.errors import UserError
from basics.files import write_atomically
from basics.markdown import render_table
from data_utils.corpora.registry import find_dataset
from data_utils.dialogues import name_utterances
from data_utils.examples import DEFAULT_WINDOW
from data_utils.labels import DatasetSpec
from data_utils.retrieval import Embed
from data_utils.texts import digest_texts, list_seen
from experiment_utils.conditions import EXPERIMENTS
from experiment_utils.dialogue_counts import Counts
from experiment_utils.evidence import answers_file, read_answers, read_corpus, valid_answers_file
from experiment_utils.records import Record, Records, beside_file
from experiment_utils.significance import Paired, holm, permutation_p, points_interval, score_interval
from scoring.baseline_table import WITH_TRANSITIONS
from scoring.beside import KINDS, LINEAR_MODELS, NEIGHBOURS, EvidenceKind, log_shares, with_evidence
from scoring.contenders import Task, with_transitions
from scoring.linear_models import linear_evidence
from scoring.metrics import Prediction, evaluate_predictions, short_names
from scoring.neighbours import neighbour_evidence
from scoring.prediction_files import read_predictions
from scoring.transitions import decode_without
from training.decoding import TRANSITIONS

# Kind of evidence -> (task, splits, encoder) -> split -> (utterances, labels).
ASK = {NEIGHBOURS: neighbour_evidence, LINEAR_MODELS: linear_evidence}
WEIGHTS = (0.0, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0)
SCORED = ("valid", "test")


@dataclass(frozen=True)
class Compared:
    """Answers of a model on test, its own and those with evidence, for each seed.

    kind: of the evidence. name: of the model; empty for evidence alone. condition: of the runs; empty for a baseline
    and for evidence alone. metric: the dataset's. pairs: seed -> counts of (own, with evidence). unseen: seed -> points
    gained on utterances whose text train does not have. Only of runs whose answers on valid are committed: filtered:
    seed -> counts with evidence and transitions; valid: seed -> points gained on valid.
    """

    kind: str
    name: str
    condition: str
    dataset: str
    metric: str
    pairs: dict[int, tuple[Counts, Counts]]
    unseen: dict[int, float]
    filtered: dict[int, Counts]
    valid: dict[int, float]

    @property
    def paired(self) -> Paired:
        """The pairs of all seeds, for tests."""
        return Paired(list(self.pairs.values()), self.metric)

    @property
    def means(self) -> tuple[float, float]:
        """(own score, score with evidence), in percent, means over seeds."""
        sides = zip(*self.pairs.values(), strict=True)
        own, joint = (sum(counts.score(self.metric) for counts in side) / len(self.pairs) for side in sides)
        return own, joint


class SplitEvidence:
    """A split of a dataset with the evidence of one kind on each utterance. told: (utterances, labels)."""

    def __init__(self, spec: DatasetSpec, split: str, kind: str, told: np.ndarray) -> None:
        self.spec, self.split, self.weight = spec, split, KINDS[kind].weight
        corpus = read_corpus(spec.name)
        self.gold = {name: one.label for name, one in name_utterances(spec.name, corpus[split])}
        self.told = dict(zip(self.gold, told, strict=True))
        digests, trained = (digest_texts(spec.name, corpus[name]) for name in (split, "train"))
        self.unseen = digests.keys() - set(list_seen(digests, set(trained.values())))

    def in_order(self, rows: Sequence[Prediction], path: Path) -> list[Prediction]:
        """The rows in the order of the utterances, with gold labels. path: named in errors.

        Raises:
            UserError: the rows are not one scored answer to each utterance, in the dataset's labels.
        """
        named, labels = {row.id: row for row in rows}, set(self.spec.labels)
        scored = all(row.scores is not None and row.scores.keys() == labels for row in rows)
        if not scored or named.keys() != self.gold.keys() or len(named) != len(rows):
            what = f"all {len(self.gold)} utterances of {self.spec.name}'s {self.split}"
            raise UserError(f"{path}: not one answer to each of {what} with log p of {', '.join(self.spec.labels)}")
        return [replace(named[name], target=label) for name, label in self.gold.items()]

    def joined(self, rows: Sequence[Prediction], weight: float | None = None) -> list[Prediction]:
        """The rows with this evidence added to log p. weight: of the evidence; None: that of its kind."""
        told = np.array([self.told[row.id] for row in rows])
        return with_evidence(rows, told, self.spec.labels, self.weight if weight is None else weight)

    def alone(self, shares: np.ndarray) -> list[Prediction]:
        """The answers by this evidence and the label shares of train alone. shares: (labels,) log."""
        log_p = dict(zip(self.spec.labels, map(float, shares), strict=True))
        return self.joined([Prediction(name, "", label, None, log_p) for name, label in self.gold.items()], 1.0)

    def score(self, rows: Sequence[Prediction]) -> float:
        """The dataset's metric in percent."""
        return evaluate_predictions(rows, self.spec.labels, self.spec.metric).score

    def gain_on_unseen(self, own: Sequence[Prediction], joint: Sequence[Prediction]) -> float:
        """Points that `joint` gains over `own` on utterances whose text train does not have; 0 where there are none."""
        first, second = ([row for row in rows if row.id in self.unseen] for rows in (own, joint))
        return self.score(second) - self.score(first) if first else 0.0


class DatasetEvidence:
    """Splits of a dataset with the evidence of one kind.

    Raises:
        UserError: train is too small for this evidence.
    """

    def __init__(self, dataset: str, kind: str, embed: Embed, splits: Sequence[str] = SCORED) -> None:
        corpus, self.spec, self.kind = read_corpus(dataset), find_dataset(dataset), kind
        self.task = Task(dataset, corpus, self.spec.labels, self.spec.metric, DEFAULT_WINDOW, self.spec.neutral)
        told = ASK[kind](self.task, splits, embed)
        self.splits = {split: SplitEvidence(self.spec, split, kind, told[split]) for split in splits}

    def read(self, split: str, path: Path) -> list[Prediction]:
        """The answers of a file, in the order of the utterances; UserError as in `in_order`."""
        return self.splits[split].in_order(_read(path), path)

    def filtered(self, rows: Mapping[str, Sequence[Prediction]]) -> dict[str, list[Prediction]]:
        """The answers on valid and test after transitions, which are fitted on valid."""
        return with_transitions(self.task, rows)[1]


def compare_committed(dataset: str, kind: str, embed: Embed) -> Iterator[Compared]:
    """Compares every run whose answers on test are committed with log p, and the baseline that valid chose."""
    of, records = DatasetEvidence(dataset, kind, embed), Records.read(EXPERIMENTS)
    evidence, spec = of.splits["test"], of.spec
    runs = comparable_runs(records, spec)
    named: dict[str, Compared] = {}
    for run in [*runs, *filter(None, [records.best_baseline(dataset)])]:
        own = of.read("test", answers_file(EXPERIMENTS, run, dataset))
        own = decode_without(own) if run.decode == TRANSITIONS else own
        joint = evidence.joined(own)
        # A baseline is shown without transitions, as models are. Log p is committed rounded: what it cannot tell apart,
        # the counts of a model's own answers can, and committed answers that no filter has changed.
        counts = Counts.of_predictions(own, spec.labels)
        counts = counts if run.is_baseline else run.own_counts(dataset)
        name = run.condition.removesuffix(f"/{dataset}").removesuffix(WITH_TRANSITIONS)
        condition = "" if run.is_baseline else run.condition
        one = named.setdefault(name, Compared(kind, name, condition, dataset, spec.metric, {}, {}, {}, {}))
        one.pairs[run.seed] = counts, Counts.of_predictions(joint, spec.labels)
        one.unseen[run.seed] = evidence.gain_on_unseen(own, joint)
        if (valid := valid_answers_file(EXPERIMENTS, run, dataset)).is_file():
            of_valid, on_valid = of.splits["valid"], of.read("valid", valid)
            rows = {"valid": of_valid.joined(on_valid), "test": joint}
            one.valid[run.seed] = of_valid.score(rows["valid"]) - of_valid.score(on_valid)
            one.filtered[run.seed] = Counts.of_predictions(of.filtered(rows)["test"], spec.labels)
    yield from named.values()
    alone = Counts.of_predictions(evidence.alone(log_shares(of.task)), spec.labels)
    yield Compared(kind, "", "", dataset, spec.metric, {0: (alone, alone)}, {}, {}, {})


def keep_counts(compared: Sequence[Compared]) -> None:
    """Writes the counts with evidence beside the records of the runs; those of baselines are not kept."""
    for one in compared:
        for seed, (_, joint) in one.pairs.items() if one.condition else ():
            write_atomically(beside_file(EXPERIMENTS, one.condition, one.dataset, seed, one.kind), joint.write())


def comparable_runs(records: Records, spec: DatasetSpec) -> list[Record]:
    """The runs of a model on test of the dataset, in its own labels, whose answers have log p of each."""
    of_it = ("test", (spec.name,), tuple(spec.labels))
    return [
        run
        for run in records.runs
        if (run.split, run.datasets, run.labels) == of_it and not run.is_baseline and run.decode != "generate"
    ]


def render_comparison(compared: Sequence[Compared]) -> str:
    """A table with a line for each comparison, and one for each model on all of several datasets together.

    Points are shown for each seed, or for each dataset. Their mean has an interval over seeds and dialogues from three
    seeds on. p: see `permutation_p`; as it is, and corrected by Holm's method over the table.
    """
    tested = [[one] for one in compared if one.name]
    names = dict.fromkeys(one.name for (one,) in tested)
    of_name = [[one for (one,) in tested if one.name == name] for name in names]
    tested += [ones for ones in of_name if len(ones) > 1]
    values = [permutation_p([one.paired for one in ones]) for ones in tested]
    lines = [
        [*(_row(*ones) if len(ones) == 1 else _row_together(ones)), f"{p:.4f}", f"{corrected:.4f}"]
        + [_gains(ones, lambda one: one.unseen), _gains(ones, lambda one: one.valid)]
        for ones, p, corrected in zip(tested, values, holm(values), strict=True)
    ]
    lines += [[*_row(one), "-", "-", "-", "-"] for one in compared if not one.name]
    scores = short_names(one.metric for one in compared)
    return render_table(_columns(KINDS[compared[0].kind], scores), lines, numbers=True)


def _columns(kind: EvidenceKind, scores: str) -> list[str]:
    found = ["answers of", "dataset", "seeds", f"own ({scores})", f"with {kind.called}", "its 95% interval"]
    found += ["with transitions too", "points", "mean, its 95% interval", "p", "p, Holm"]
    return [*found, "points on unseen text", "points on valid"]


def _row(one: Compared) -> list[str]:
    """The cells of a line before p."""
    interval = score_interval([pair[1] for pair in one.pairs.values()], one.metric)
    own, joint = one.means
    found = [f"{joint:.2f}", f"{interval.low:.2f} to {interval.high:.2f}"]
    if not one.name:
        return [f"{KINDS[one.kind].called} alone", one.dataset, "-", "-", *found, "-", "-", "-"]
    found.append(_filtered(one))
    points = ", ".join(f"{points:+.2f}" for points in one.paired.differences)
    return [one.name, one.dataset, ", ".join(map(str, one.pairs)), f"{own:.2f}", *found, points, _mean_points([one])]


def _row_together(ones: Sequence[Compared]) -> list[str]:
    """The cells before p for a model on several datasets: mean scores over them, points of each."""
    own, joint = (sum(side) / len(ones) for side in zip(*(one.means for one in ones), strict=True))
    points = ", ".join(f"{one.paired.mean:+.2f}" for one in ones)
    datasets = ", ".join(one.dataset for one in ones)
    return [
        f"{ones[0].name}, together",
        datasets,
        "-",
        f"{own:.2f}",
        f"{joint:.2f}",
        "-",
        "-",
        points,
        _mean_points(ones),
    ]


def _filtered(one: Compared) -> str:
    """The score with evidence and transitions, with its seeds where not all have committed answers on valid."""
    scores = [counts.score(one.metric) for counts in one.filtered.values()]
    if not scores:
        return "-"
    return f"{sum(scores) / len(scores):.2f}{_of_seeds(one.filtered, one)}"


def _of_seeds(found: Mapping[int, Any], one: Compared) -> str:
    """The seeds, in words, where they are not all; else empty."""
    return "" if found.keys() == one.pairs.keys() else f" of {', '.join(map(str, found))}"


def _mean_points(ones: Sequence[Compared]) -> str:
    """The mean of the points over datasets and seeds with its interval, where there are seeds enough."""
    paired = [one.paired for one in ones]
    interval = points_interval(paired)
    mean = sum(of.mean for of in paired) / len(paired)
    return f"{mean:+.2f} ({interval.low:+.2f} to {interval.high:+.2f})" if interval else "-"


def _gains(ones: Sequence[Compared], of: Callable[[Compared], Mapping[int, float]]) -> str:
    """Points of each seed; or, for several datasets, the mean over seeds of each. A hyphen where one has none."""
    gains = [of(one) for one in ones]
    if not all(gains):
        return "-"
    if len(ones) > 1:
        return ", ".join(f"{sum(points.values()) / len(points):+.2f}" for points in gains)
    return ", ".join(f"{points:+.2f}" for points in gains[0].values()) + _of_seeds(gains[0], ones[0])


@dataclass(frozen=True)
class Weighed:
    """The answers of one run, scored with several weights of the evidence.

    scores: weight -> the dataset's metric in percent.
    """

    dataset: str
    split: str
    scores: Mapping[float, float]


def compare_file(dataset: str, path: Path, kind: str, embed: Embed) -> Weighed:
    """Scores the answers of a file: with several weights if they are on valid, else with none and the usual one.

    Raises:
        UserError: the file cannot be read, or is not of scored answers to one of these splits.
    """
    rows = _read(path)
    of_valid = {name for name, _ in name_utterances(dataset, read_corpus(dataset)["valid"])}
    usual, is_valid = KINDS[kind].weight, bool(rows) and rows[0].id in of_valid
    split, weights = ("valid", sorted({*WEIGHTS, usual})) if is_valid else ("test", (0.0, usual))
    evidence = DatasetEvidence(dataset, kind, embed, [split]).splits[split]
    own = decode_without(evidence.in_order(rows, path))
    return Weighed(dataset, split, {weight: evidence.score(evidence.joined(own, weight)) for weight in weights})


def render_weights(weighed: Weighed) -> str:
    """A table of one line, a column for each weight."""
    header = [f"{weighed.dataset}, {weighed.split}; weight", *(f"{weight:g}" for weight in weighed.scores)]
    return render_table(header, [["score", *(f"{score:.2f}" for score in weighed.scores.values())]], numbers=True)


@dataclass(frozen=True)
class Decoded:
    """A run's answers on test in four ways, each with its score on valid beside it, in percent.

    scores: way -> (valid, test).
    """

    dataset: str
    scores: Mapping[str, tuple[float, float]]


def decode_file(dataset: str, path: Path, valid_path: Path, kind: str, embed: Embed) -> Decoded:
    """Scores the answers of a run on valid and test: as they are, with evidence, with transitions, with both.

    The filter is fitted for each on valid, with the transitions of train.

    Raises:
        UserError: a file cannot be read, lacks an utterance, or is of another split or dataset.
    """
    of = DatasetEvidence(dataset, kind, embed)
    own = {split: decode_without(of.read(split, file)) for split, file in (("valid", valid_path), ("test", path))}
    joint = {split: of.splits[split].joined(own[split]) for split in SCORED}
    found = {}
    for name, rows in (("own", own), (f"with {KINDS[kind].called}", joint)):
        for way, answers in ((name, rows), (f"{name}, transitions", of.filtered(rows))):
            valid, test = (of.splits[split].score(answers[split]) for split in SCORED)
            found[way] = valid, test
    return Decoded(dataset, found)


def _read(path: Path) -> list[Prediction]:
    """The rows of predictions.jsonl, or of a file of committed answers, which have no gold labels."""
    if path.suffix != ".gz":
        return read_predictions(path)
    return [Prediction(name, "", "", of.label, of.log_p or None) for name, of in read_answers(path).items()]


def render_decoded(decoded: Decoded) -> str:
    """A table, a line for each way."""
    lines = [[name, *(f"{score:.2f}" for score in scores)] for name, scores in decoded.scores.items()]
    return render_table([f"{decoded.dataset}, answers", *SCORED], lines, numbers=True)
