"""What neighbours add to answers that are there, committed of test or in a file of one run; see scoring.neighbours."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from basics.errors import UserError
from basics.markdown import render_table
from data_utils.corpora.registry import find_dataset
from data_utils.dialogues import name_utterances
from data_utils.examples import DEFAULT_WINDOW
from data_utils.labels import SPLITS, DatasetSpec
from data_utils.retrieval import Embed, Entry, entries_of
from experiment_utils.dialogue_counts import Counts
from experiment_utils.evidence import answers_file, read_answers, read_corpus
from experiment_utils.records import Record, Records
from experiment_utils.reports import EXPERIMENTS
from experiment_utils.significance import holm, permutation_p, score_interval
from scoring.contenders import Task
from scoring.metrics import Prediction, evaluate_predictions
from scoring.neighbours import USUAL, Neighbours, with_evidence
from scoring.prediction_files import read_predictions
from scoring.transitions import count_transitions, decode_without, fit_filter, log_p_matrix

WEIGHTS = (0.0, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0)
SCORED = ("valid", "test")
ALONE = "neighbours alone"
COLUMNS = ("answers of", "dataset", "seeds", "own (W-F1)", "with neighbours", "95% interval")
COLUMNS += ("points, seed by seed", "p")


@dataclass(frozen=True)
class Compared:
    """Answers of a run on test, each seed's beside the same with neighbours.

    pairs: seed -> (own, together). metric: the dataset's.
    """

    name: str
    dataset: str
    metric: str
    pairs: Mapping[int, tuple[Counts, Counts]]

    @property
    def p(self) -> float:
        """The greatest of the seeds': that these two given models score alike, dialogues changing sides."""
        return max(permutation_p(own, together, self.metric) for own, together in self.pairs.values())


class Asked:
    """Train and a scored split of a dataset, and what neighbours say of each of its utterances."""

    def __init__(self, dataset: str, split: str, embed: Embed) -> None:
        self.spec: DatasetSpec = find_dataset(dataset)
        corpus = read_corpus(dataset)
        self.entries: dict[str, Entry] = {one.id: one for one in entries_of(dataset, split, corpus[split])}
        self.neighbours = Neighbours(dataset, corpus, self.spec.labels, embed)
        told = self.neighbours.evidence(list(self.entries.values()))
        self.told = dict(zip(self.entries, told, strict=True))

    def together(self, rows: Sequence[Prediction], weight: float = USUAL.weight) -> list[Prediction]:
        """The rows with what neighbours say of them; UserError: they are not of this split."""
        unknown = next((row.id for row in rows if row.id not in self.told), None)
        if unknown is not None:
            raise UserError(f"{unknown} is no utterance of {self.spec.name} as it lies in its folder: take its answers")
        return with_evidence(rows, [self.told[row.id] for row in rows], self.spec.labels, weight)

    def alone(self) -> list[Prediction]:
        """What neighbours and the shares of train answer without any model."""
        log_p = dict(zip(self.spec.labels, map(float, self.neighbours.log_shares), strict=True))
        rows = [Prediction(one.id, "", one.label, None, log_p) for one in self.entries.values()]
        return self.together(rows, 1.0)


def compare_committed(dataset: str, embed: Embed) -> Iterator[Compared]:
    """Every run whose answers on test are committed with log p in the dataset's labels, and the baseline of valid."""
    asked, records = Asked(dataset, "test", embed), Records.read(EXPERIMENTS)
    metric, labels = asked.spec.metric, asked.spec.labels
    runs = [run for run in records.runs if _can_be_asked(run, asked.spec)]
    runs += filter(None, [records.best_baseline(dataset)])
    pairs: dict[str, dict[int, tuple[Counts, Counts]]] = {}
    for run in runs:
        rows = _committed(run, asked)
        # Log p is committed rounded: what it cannot tell apart, the counts can.
        own = Counts.of_predictions(rows, labels) if run.is_baseline else run.without.get(dataset, run.counts[dataset])
        together = Counts.of_predictions(asked.together(rows), labels)
        pairs.setdefault(run.condition.removesuffix(f"/{dataset}"), {})[run.seed] = own, together
    for name, of_seeds in pairs.items():
        yield Compared(name, dataset, metric, of_seeds)
    alone = Counts.of_predictions(asked.alone(), labels)
    yield Compared(ALONE, dataset, metric, {0: (alone, alone)})


def _can_be_asked(run: Record, spec: DatasetSpec) -> bool:
    is_of_it = run.split == "test" and run.datasets == (spec.name,) and run.labels == tuple(spec.labels)
    return is_of_it and not run.is_baseline and run.decode != "generate"


def _committed(run: Record, asked: Asked) -> list[Prediction]:
    """The model's own answers, without a filter."""
    answers = read_answers(answers_file(EXPERIMENTS, run, asked.spec.name))
    return decode_without(
        [Prediction(name, "", asked.entries[name].label, None, answer.log_p) for name, answer in answers.items()]
    )


def render_comparison(compared: Sequence[Compared]) -> str:
    """A table, a line for each run; p corrected by Holm's method over the table, none of what has no model."""
    tested = [one for one in compared if one.name != ALONE]
    values = dict(zip(map(id, tested), holm([one.p for one in tested]), strict=True))
    return render_table(COLUMNS, [_row(one, values.get(id(one))) for one in compared], numbers=True)


def _row(one: Compared, p: float | None) -> list[str]:
    own, together = ([counts.score(one.metric) for counts in side] for side in zip(*one.pairs.values(), strict=True))
    interval = score_interval([pair[1] for pair in one.pairs.values()], one.metric)
    shown = [f"{sum(side) / len(side):.2f}" for side in (own, together)]
    points = [f"{after - before:+.2f}" for before, after in zip(own, together, strict=True)]
    seeds = ", ".join(map(str, one.pairs))
    if p is None:
        seeds, shown[0], points = "-", "-", ["-"]
    told = "-" if p is None else f"{p:.4f}"
    return [one.name, one.dataset, seeds, *shown, f"{interval.low:.2f} to {interval.high:.2f}", ", ".join(points), told]


@dataclass(frozen=True)
class Weighed:
    """Answers of one run. scores: weight of the evidence -> the dataset's metric in percent."""

    dataset: str
    split: str
    scores: Mapping[float, float]


def compare_file(dataset: str, path: Path, embed: Embed) -> Weighed:
    """The answers of a file with other weights where they are of valid; of test without and with the usual one.

    Raises:
        UserError: the file cannot be read, holds no answers with log p, or is of another dataset.
    """
    rows, corpus = _read(path, dataset), read_corpus(dataset)
    ids = {split: {one.id for one in entries_of(dataset, split, corpus[split])} for split in SPLITS}
    split = next((name for name, of_split in ids.items() if rows and rows[0].id in of_split), None)
    if split in (None, "train") or any(row.scores is None for row in rows):
        raise UserError(f"{path}: no scored answers of {dataset}'s valid or test; --decode score writes them")
    asked = Asked(dataset, split, embed)
    own = decode_without(rows)
    weights = WEIGHTS if split == "valid" else (0.0, USUAL.weight)
    scores = {
        weight: evaluate_predictions(asked.together(own, weight), asked.spec.labels, asked.spec.metric).score
        for weight in weights
    }
    return Weighed(dataset, split, scores)


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


def decode_file(dataset: str, path: Path, valid_path: Path, embed: Embed) -> Decoded:
    """The answers of a run on test and on valid, by themselves and with neighbours, transitions, and both.

    The filter is fitted anew for each: on valid, with the transitions of train.

    Raises:
        UserError: a file cannot be read, lacks an utterance, or is of another split or dataset.
    """
    corpus, spec = read_corpus(dataset), find_dataset(dataset)
    task = Task(dataset, corpus, spec.labels, spec.metric, DEFAULT_WINDOW, spec.neutral)
    own = {"valid": _in_order(valid_path, dataset, "valid"), "test": _in_order(path, dataset, "test")}
    together = {split: Asked(dataset, split, embed).together(rows) for split, rows in own.items()}
    transitions = count_transitions(task.gold("train"), task.orders["train"], spec.labels)
    found = {}
    for name, of_splits in (("own", own), ("with neighbours", together)):
        log_p = {split: log_p_matrix(rows, spec.labels) for split, rows in of_splits.items()}
        fitted = fit_filter(transitions, log_p["valid"], task.orders["valid"], partial(task.score, "valid"))
        found[name] = tuple(task.score(split, log_p[split].argmax(axis=1)) for split in SCORED)
        answers = {split: fitted.answers(log_p[split], task.orders[split]) for split in SCORED}
        found[f"{name}, transitions"] = tuple(task.score(split, answers[split]) for split in SCORED)
    return Decoded(dataset, found)


def _read(path: Path, dataset: str) -> list[Prediction]:
    """The rows of predictions.jsonl, or of a file of committed answers."""
    if path.suffix != ".gz":
        return read_predictions(path)
    gold = {
        name: utterance.label
        for dialogues in read_corpus(dataset).values()
        for name, utterance in name_utterances(dataset, dialogues)
    }
    return [
        Prediction(name, "", gold.get(name) or "", answer.label, answer.log_p or None)
        for name, answer in read_answers(path).items()
    ]


def _in_order(path: Path, dataset: str, split: str) -> list[Prediction]:
    """The rows of a file in the order of the split's utterances; UserError where one is missing or not scored."""
    rows = {row.id: row for row in _read(path, dataset)}
    names = [one.id for one in entries_of(dataset, split, read_corpus(dataset)[split])]
    if set(names) != rows.keys() or any(row.scores is None for row in rows.values()):
        raise UserError(f"{path}: not the scored answers to all {len(names)} utterances of {dataset}'s {split}")
    return [rows[name] for name in names]


def render_decoded(decoded: Decoded) -> str:
    """A table, a line for each way."""
    lines = [[name, *(f"{score:.2f}" for score in scores)] for name, scores in decoded.scores.items()]
    return render_table([f"{decoded.dataset}, answers", *SCORED], lines, numbers=True)
