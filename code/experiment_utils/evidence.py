"""Writes what is committed of a run, from its folder; and reads committed answers back.

    predictions/<condition>/<dataset>-seed_<n>.csv.gz        id, answer, log p of each label, rounded; no text, no gold
    predictions/<condition>/<dataset>-seed_<n>.valid.csv.gz  the same on valid, of the chosen epoch

With the pickles, the counts can be computed from them: `python code/reproduce.py --check`.
"""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from basics.errors import UserError
from basics.json_files import read_json
from basics.packed import read_packed, write_packed
from data_utils.corpora.registry import find_dataset
from data_utils.dialogues import Dialogue, find_original_data, load_dialogues, name_utterances
from data_utils.labels import DATASETS
from experiment_utils.breakdowns import Breakdowns, TurnFacts, break_down, describe_split
from experiment_utils.dialogue_counts import NO_LABEL, Counts
from experiment_utils.records import BASELINES, Record, beside_file
from experiment_utils.runner import MANIFEST, Job, plan_digest, read_manifest, today
from results.files import SELECTIONS, UNKNOWN
from scoring.baseline_table import CONTENDERS, FINE_TUNED, VECTORS, bare_name, baseline_plan
from scoring.beside import KINDS
from scoring.metrics import Prediction, split_by_dataset
from scoring.prediction_files import PREDICTIONS_FILE, VALID_FILE, read_predictions
from scoring.transitions import decode_without
from training.decoding import TRANSITIONS
from training.folders import RESULTS_FILE
from training.provenance import environment_report

ANSWERS = "predictions"
LOG_P_DECIMALS = 4
TEXT_SEEN = "text"  # the question of `BREAKDOWNS` on texts that were trained on
# Keys of results.json that a record takes over.
KEPT = ("selection", "commit", "device", "processors", "precision", "best_epoch", "trainable_parameters", "split")
KEPT += ("versions", "training_rows")


def keep_run(job: Job, run: Path, folder: Path) -> None:
    """Writes record, counts and answers of a finished run into `folder`. run: the folder of its results.

    Nothing is written where another program has begun the run anew meanwhile.
    """
    manifest = read_manifest(run)
    try:
        results, rows = _read_run(run)
        record = _describe(job, run, results, rows)
        valid = _read_valid(run, record)
    except UserError:
        if manifest and manifest == read_manifest(run):
            raise
        return
    if not manifest or manifest != read_manifest(run):
        return
    known = None if results["seen_rows"] == UNKNOWN else tuple(results["seen_rows"])
    where = {dataset: _place(rows[dataset], dataset, record, known) for dataset in record.counts}
    for dataset in record.counts:
        path = answers_file(folder, record, dataset)
        if not _holds(path, rows[dataset], record.labels):  # what evidence beside them came to is of others
            for kind in KINDS:
                beside_file(folder, record.condition, dataset, record.seed, kind).unlink(missing_ok=True)
            write_answers(path, rows[dataset], record.labels)
    for dataset, of_valid in valid.items():
        path = valid_answers_file(folder, record, dataset)
        if of_valid:
            write_answers(path, of_valid, record.labels)
        else:  # of an earlier run of the same condition
            path.unlink(missing_ok=True)
    record.write(folder, where)


def make_record(job: Job, run: Path) -> Record:
    """The record of a run, from the files in its folder."""
    return _describe(job, run, *_read_run(run))


def _read_run(run: Path) -> tuple[dict[str, Any], dict[str, list[Prediction]]]:
    """(results.json, dataset -> predictions) of a folder."""
    results = read_json(run / RESULTS_FILE)
    return results, split_by_dataset(read_predictions(run / PREDICTIONS_FILE))


def _read_valid(run: Path, record: Record) -> dict[str, list[Prediction]]:
    """Dataset -> answers on valid of the chosen epoch; {} where they were not kept, or are the scored ones."""
    kept = record.split != "valid" and (run / VALID_FILE).is_file()
    found = split_by_dataset(read_predictions(run / VALID_FILE)) if kept else {}
    return {dataset: found.get(dataset, []) for dataset in record.counts}


def _describe(job: Job, run: Path, results: Mapping[str, Any], rows: Mapping[str, Sequence[Prediction]]) -> Record:
    manifest = read_json(run / MANIFEST)
    best = next((epoch for epoch in results["epochs"] if epoch["epoch"] == results["best_epoch"]), {})
    datasets, decode = job.condition.datasets, results["arguments"]["decode"]
    chosen = best if results["selection"] == SELECTIONS["valid"] else {}
    return Record(
        condition=job.condition.name,
        seed=job.seed,
        plan=plan_digest(job),
        command=job.command,
        decode=decode,
        labels=tuple(results["labels"]),
        datasets=tuple(datasets),
        date=manifest["date"],
        minutes=None if manifest["seconds"] is None else round(manifest["seconds"] / 60, 1),
        training_minutes=round(results["seconds"]["training_steps"] / 60, 1),
        batch_size=results["arguments"]["batch_size"],
        valid=chosen.get("score"),
        valid_of={name: _score_on_valid(chosen, name) for name in datasets if chosen},
        copying=results.get("copying"),
        counts={name: Counts.of_predictions(rows[name], results["labels"]) for name in datasets},
        without={
            name: Counts.of_predictions(decode_without(rows[name]), results["labels"])
            for name in datasets
            if decode == TRANSITIONS
        },
        metrics=own_metrics(datasets),
        sources=manifest.get("sources", {}),
        weights=((results.get("base") or {}).get("source") or {}).get("source", ""),
        **{name: results[name] for name in KEPT},
    )


@dataclass(frozen=True)
class BaselineRun:
    """The result of a baseline on a dataset. row: its name. meaning: in words, with the settings that valid chose.

    valid: score on valid in percent. predictions: on test, one for each utterance. seconds: of fitting and scoring.
    commit, sources: of the program, and `dialogues.digest_sources`, when it began.
    """

    row: str
    dataset: str
    meaning: str
    decode: str
    valid: float
    predictions: Sequence[Prediction]
    seconds: float
    commit: str | None
    sources: Mapping[str, str] = field(default_factory=dict)


def keep_baseline(run: BaselineRun, labels: Sequence[str], command: str, folder: Path) -> None:
    """Writes record, counts and answers of a baseline beside those of conditions; its seed is 0, as it has none."""
    from bases.load import choose_device  # takes torch, which reports do without

    bare, minutes = bare_name(run.row), round(run.seconds / 60, 1)
    uses_encoder = bare in (VECTORS, FINE_TUNED)
    environment = environment_report()
    record = Record(
        condition=f"{BASELINES}/{run.row}/{run.dataset}",
        seed=0,
        plan=baseline_plan(run.row),
        command=command,
        split="test",
        decode=run.decode,
        selection=run.meaning,
        labels=tuple(labels),
        datasets=(run.dataset,),
        date=today(),
        minutes=minutes,
        training_minutes=minutes,
        training_rows={},
        batch_size=0,
        best_epoch=None,
        trainable_parameters=0,
        valid=run.valid,
        valid_of={run.dataset: run.valid},
        copying=None,
        device=choose_device().type if uses_encoder else "cpu",
        processors=environment["processors"],
        precision=_precision_of(bare),
        versions=environment["versions"],
        commit=run.commit,
        counts={run.dataset: Counts.of_predictions(run.predictions, labels)},
        metrics=own_metrics([run.dataset]),
        sources=run.sources,
    )
    write_answers(answers_file(folder, record, run.dataset), run.predictions, labels)
    record.write(folder, {run.dataset: break_down(run.predictions, split_facts(run.dataset, "test"), labels)})


def _precision_of(contender: str) -> str:
    """The precision of a baseline here, in torch's words; empty for the leak bound, which computes nothing."""
    if contender == FINE_TUNED:  # it follows the machine, as a run does
        from bases.load import choose_device, choose_precision

        return str(choose_precision("auto", choose_device())).removeprefix("torch.")
    return CONTENDERS[contender].precision if contender in CONTENDERS else "none"


def own_metrics(datasets: Iterable[str]) -> dict[str, str]:
    """Corpus of one's own -> its headline score; the program's datasets have theirs in its tables."""
    return {name: find_dataset(name).metric for name in datasets if name not in DATASETS}


def _score_on_valid(epoch: Mapping[str, Any], dataset: str) -> float:
    """The score of an epoch on valid: of this dataset's rows where there are several, else of all rows."""
    return epoch.get(f"valid_{dataset}", epoch["score"])


def _place(rows: Sequence[Prediction], dataset: str, record: Record, seen: tuple[str, ...] | None) -> Breakdowns:
    """The breakdowns of a dataset's rows; without that of seen texts where a run does not know its texts."""
    # The run that wrote the rows has checked their counts, or was told not to.
    facts = split_facts(dataset, record.split, seen or (), check_counts=False)
    found = break_down(rows, facts, record.labels)
    known = seen is not None and record.training_rows
    return {question: of for question, of in found.items() if known or question != TEXT_SEEN}


@cache
def split_facts(
    dataset: str, split: str, seen: tuple[str, ...] | None = None, check_counts: bool = True
) -> Mapping[str, TurnFacts]:
    """Row id -> facts on the utterances of a split, from the dialogues; UserError where these are not there.

    seen: as in `describe_split`. check_counts: as of `load_dialogues`.
    """
    return describe_split(dataset, read_corpus(dataset, check_counts), split, seen)


def read_corpus(dataset: str, check_counts: bool = True) -> Mapping[str, Sequence[Dialogue]]:
    """Split -> dialogues; each dataset is read once. UserError where it is not there, or as in `load_dialogues`."""
    return _read_once(dataset, find_original_data(dataset), check_counts)


@cache
def _read_once(dataset: str, source: Path, check_counts: bool) -> Mapping[str, Sequence[Dialogue]]:
    return load_dialogues(dataset, source, check_counts=check_counts)


def answers_file(folder: Path, record: Record, dataset: str) -> Path:
    """The file of a run's committed answers."""
    return folder / ANSWERS / record.condition / f"{dataset}-seed_{record.seed}.csv.gz"


def valid_answers_file(folder: Path, record: Record, dataset: str) -> Path:
    """The file of a run's answers on valid in the chosen epoch; older runs have none."""
    return folder / ANSWERS / record.condition / f"{dataset}-seed_{record.seed}.valid.csv.gz"


def _holds(path: Path, rows: Sequence[Prediction], labels: Sequence[str]) -> bool:
    try:
        return read_packed(path) == _render_answers(rows, labels)
    except (OSError, ValueError, UserError):
        return False


def write_answers(path: Path, rows: Sequence[Prediction], labels: Sequence[str]) -> None:
    """Writes id, answer and, where labels were scored, rounded log p of each; equal answers make equal bytes."""
    write_packed(path, _render_answers(rows, labels))


def _render_answers(rows: Sequence[Prediction], labels: Sequence[str]) -> str:
    scored = [row for row in rows if row.scores is not None]
    named = labels if scored else ()
    stream = io.StringIO()
    lines = csv.writer(stream, lineterminator="\n")
    lines.writerow(["id", "answer", *named])
    for row in rows:
        log_p = [round(row.scores[label], LOG_P_DECIMALS) for label in named] if row.scores else []
        lines.writerow([row.id, NO_LABEL if row.label is None else row.label, *log_p])
    return stream.getvalue()


@dataclass(frozen=True)
class Answer:
    """The committed answer to one utterance. label: None: it had none. log_p: of each label; empty if not scored."""

    label: str | None
    log_p: Mapping[str, float]

    @property
    def most_probable(self) -> list[str]:
        """The labels that are most probable, up to rounding."""
        highest = max(self.log_p.values(), default=0.0)
        return [label for label, value in self.log_p.items() if value >= highest - 2 * 10**-LOG_P_DECIMALS]


def read_answers(path: Path) -> dict[str, Answer]:
    """Row id -> answer; UserError names a file that cannot be read, or answers a row twice."""
    try:
        lines = list(csv.reader(io.StringIO(read_packed(path))))
        named = lines[0][2:]
        found = {
            name: Answer(label or None, dict(zip(named, map(float, log_p), strict=True)) if log_p else {})
            for name, label, *log_p in lines[1:]
        }
        if len(found) != len(lines) - 1:
            raise ValueError("a row is answered twice")
        return found
    except (OSError, ValueError, IndexError, csv.Error) as error:
        raise UserError(f"{path} cannot be read ({error}); git checkout {path}") from error


def gold_labels(dataset: str, split: str, labels: Sequence[str]) -> dict[str, str]:
    """Row id -> gold label of the dialogues; a unified one, where `labels` are the unified labels.

    UserError where `labels` are neither these nor the dataset's own, as after a change of a corpus of one's own.
    """
    dialogues = read_corpus(dataset)[split]
    spec = find_dataset(dataset)
    words = {label: label for label in labels} if set(spec.labels) == set(labels) else spec.unified_labels or {}
    found = {name: words.get(utterance.label, "") for name, utterance in name_utterances(dataset, dialogues)}
    if not set(found.values()) <= set(labels):
        told = f"{dataset} has the labels {', '.join(spec.labels)}, and a run answered with {', '.join(labels)}"
        raise UserError(f"{told}: bring the corpus back to what it was, or remove the run's record and answers")
    return found
