"""What finished runs came to, without any text of a dataset: experiments/scores.json, from which reports are made."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from basics.errors import UserError
from basics.files import write_atomically
from data_utils.dialogues import find_original_data, load_dialogues
from data_utils.labels import DATASETS
from experiment_utils.breakdowns import TurnFacts, break_down, describe_split
from experiment_utils.conditions import Condition
from experiment_utils.runner import MANIFEST, Job, Plan
from experiment_utils.significance import compare_runs, score_interval
from results.files import PREDICTIONS_FILE, read_predictions
from scoring.metrics import Prediction, evaluate_predictions, split_by_dataset
from training.folders import RESULTS_FILE

SCORES_FILE = "scores.json"

Record = dict[str, Any]
# The lists of the file -> what names a record of theirs.
KEYS = {
    "runs": ("condition", "seed"),
    "comparisons": ("first", "second", "dataset"),
    "averages": ("condition", "dataset"),
    "baselines": ("dataset",),
}


@dataclass(frozen=True)
class Scores:
    """The content of the file.

    runs: one for each condition and seed. comparisons: between two conditions. averages: the interval of a
    condition's mean over its seeds. baselines: of a dataset, name -> score on test.
    """

    runs: tuple[Record, ...] = ()
    comparisons: tuple[Record, ...] = ()
    averages: tuple[Record, ...] = ()
    baselines: tuple[Record, ...] = ()

    def merge(self, newer: "Scores") -> "Scores":
        """Both; a newer record takes the place of the older one of its name."""
        merged = {}
        for kind, key in KEYS.items():
            found = {tuple(one[part] for part in key): one for one in (*getattr(self, kind), *getattr(newer, kind))}
            merged[kind] = tuple(found[name] for name in sorted(found))
        return Scores(**merged)._whole()

    def _whole(self) -> "Scores":
        """Without averages and comparisons over other seeds than those of the runs."""
        seeds: dict[str, set[int]] = {}
        for run in self.runs:
            seeds.setdefault(run["condition"], set()).add(run["seed"])

        def is_whole(one: Record) -> bool:
            shared = seeds.get(one["first"], set()) & seeds.get(one["second"], set())
            return bool(shared) and set(map(int, one["p_mcnemar"])) == shared

        averages = tuple(one for one in self.averages if set(one["seeds"]) == seeds.get(one["condition"]))
        return replace(self, averages=averages, comparisons=tuple(filter(is_whole, self.comparisons)))

    def current(self, conditions: Mapping[str, Condition]) -> "Scores":
        """Without records of conditions that are no longer there, or whose settings have changed since."""
        return replace(self, runs=tuple(run for run in self.runs if _is_current(run, conditions)))._whole()

    def of(self, condition: str) -> list[Record]:
        """The runs of a condition, by seed."""
        return [run for run in self.runs if run["condition"] == condition]

    def interval_of(self, condition: str, dataset: str) -> list[float] | None:
        """95% bounds of the condition's mean over its seeds, of one seed its own; None where it is not known."""
        runs = self.of(condition)
        if len(runs) == 1:
            return runs[0]["scores"][dataset]["interval"]
        found = [one for one in self.averages if (one["condition"], one["dataset"]) == (condition, dataset)]
        return found[0]["interval"] if found else None

    def best_baseline(self, dataset: str) -> float | None:
        """The highest score on test of what needs no language model; None where none was measured."""
        found = [of["scores"] for of in self.baselines if of["dataset"] == dataset]
        return max(found[0].values()) if found else None


def _is_current(run: Record, conditions: Mapping[str, Condition]) -> bool:
    condition = conditions.get(run["condition"])
    return condition is not None and run["command"] == Job(condition, run["seed"]).command


def read_scores(path: Path) -> Scores:
    """Read the file, nothing where it is not there; UserError for one that cannot be read."""
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        return Scores(**{kind: tuple(content[kind]) for kind in KEYS})
    except FileNotFoundError:
        return Scores()
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} cannot be read ({error!r}); take the committed one, git checkout {path}") from error


def write_scores(scores: Scores, path: Path) -> None:
    """Equal scores make equal files; labels and answers stay in their order."""
    write_atomically(path, json.dumps(asdict(scores), indent=1, ensure_ascii=False) + "\n")


def make_record(job: Job, plan: Plan) -> Record:
    """Scores, their 95% intervals and their breakdowns, set by set, and where they come from."""
    labels = json.loads((plan.folder / RESULTS_FILE).read_text(encoding="utf-8"))["labels"]
    scores = score_sets(read_predictions(plan.folder / PREDICTIONS_FILE), labels, job)
    return {**describe_run(job, plan), "scores": scores}


def describe_run(job: Job, plan: Plan) -> Record:
    """A record without its scores: what was run, where, when, how long, and how it did on valid."""
    results = json.loads((plan.folder / RESULTS_FILE).read_text(encoding="utf-8"))
    manifest = json.loads((plan.folder / MANIFEST).read_text(encoding="utf-8"))
    best = next((epoch for epoch in results["epochs"] if epoch["epoch"] == results["best_epoch"]), {})
    kept = ("selection", "commit", "device", "processors", "precision", "best_epoch", "trainable_parameters")
    return {
        "condition": job.condition.name,
        "seed": job.seed,
        "command": job.command,
        "date": manifest["date"],
        "minutes": None if manifest["seconds"] is None else round(manifest["seconds"] / 60, 1),
        "training_minutes": round(results["seconds"]["training_steps"] / 60, 1),
        "training_rows": results["training_rows"],
        "batch_size": results["arguments"]["batch_size"],
        "valid": best.get("score"),
        "valid_of": {name: _selecting_score(best, name) for name in job.condition.datasets if best},
        "copying": results.get("copying"),
        **{name: results[name] for name in kept},
    }


def _selecting_score(epoch: Mapping[str, Any], dataset: str) -> float:
    """Of one set's rows where there are several; else of all rows, by which the epoch was chosen."""
    return next((epoch[name] for split in ("valid", "test") if (name := f"{split}_{dataset}") in epoch), epoch["score"])


def score_sets(predictions: Sequence[Prediction], labels: Sequence[str], job: Job) -> dict[str, Record]:
    """Dataset -> scores of its rows by its own metric."""
    rows = split_by_dataset(predictions)
    split = job.condition.split
    return {dataset: _score_set(rows[dataset], labels, dataset, split) for dataset in job.condition.datasets}


def _score_set(predictions: Sequence[Prediction], labels: Sequence[str], dataset: str, split: str) -> Record:
    metric = DATASETS[dataset].metric
    result = evaluate_predictions(predictions, labels, metric)
    interval = score_interval([predictions], labels, metric)
    return {
        "metric": metric,
        "score": result.score,
        "interval": [interval.low, interval.high],
        "rows": result.rows,
        "invalid": result.invalid,
        "accuracy": result.accuracy,
        "macro_f1": result.macro_f1,
        "labels": list(labels),
        "f1_per_label": {label: scores.f1 for label, scores in result.per_label.items()},
        "confusion": [list(row) for row in result.confusion],
        "breakdowns": break_down(predictions, split_facts(dataset, split), labels, metric),
    }


@cache
def split_facts(dataset: str, split: str) -> Mapping[str, TurnFacts]:
    """Row id -> what is known of an utterance of a split, from the pickle; UserError where it is not there."""
    return describe_split(dataset, load_dialogues(dataset, find_original_data(dataset)), split)


def make_average(condition: Condition, dataset: str, folders: Mapping[int, Path]) -> Record:
    """The 95% interval of a condition's mean over seeds. folders: seed -> folder of its results."""
    runs = [split_by_dataset(read_predictions(folders[seed] / PREDICTIONS_FILE))[dataset] for seed in sorted(folders)]
    interval = score_interval(runs, read_labels(folders), DATASETS[dataset].metric)
    names = {"condition": condition.name, "dataset": dataset, "seeds": sorted(folders)}
    return names | {"interval": [interval.low, interval.high]}


def read_labels(folders: Mapping[int, Path]) -> list[str]:
    """What the runs of a condition choose from."""
    return json.loads((next(iter(folders.values())) / RESULTS_FILE).read_text(encoding="utf-8"))["labels"]


def make_comparison(
    first: Condition, second: Condition, dataset: str, folders: Mapping[str, Mapping[int, Path]]
) -> Record:
    """The second condition against the first on a dataset, over the seeds that both have.

    folders: condition -> seed -> folder of its results.
    """
    runs = {
        name: {
            seed: split_by_dataset(read_predictions(folder / PREDICTIONS_FILE))[dataset]
            for seed, folder in folders[name].items()
        }
        for name in (first.name, second.name)
    }
    found = compare_runs(
        runs[first.name], runs[second.name], read_labels(folders[first.name]), DATASETS[dataset].metric
    )
    names = {"first": first.name, "second": second.name, "dataset": dataset}
    return names | json.loads(json.dumps(asdict(found)))  # seeds as text, as in the file
