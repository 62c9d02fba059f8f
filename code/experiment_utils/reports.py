"""Results that lie here -> scores.json -> REPORT.md, figures, the README's section, the page to browse, the log."""

import json
import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path

from basics.files import find_repository, write_atomically
from basics.markdown import render_row, replace_section
from data_utils.dialogues import find_original_data, load_dialogues
from data_utils.labels import DATASETS
from experiment_utils.conditions import CONDITIONS_FILE, Condition, Table
from experiment_utils.records import (
    SCORES_FILE,
    Record,
    Scores,
    describe_run,
    make_average,
    make_comparison,
    make_record,
    read_labels,
    read_scores,
    write_scores,
)
from experiment_utils.report_figures import draw_all
from experiment_utils.report_page import browse_runs, write_page
from experiment_utils.report_tables import is_missed, render_readme, render_report, short_commit
from experiment_utils.runner import Job, Plan, today
from results.files import PREDICTIONS_FILE, read_predictions
from scoring.baselines import PREVIOUS_LABEL
from scoring.metrics import Prediction, evaluate_predictions, split_by_dataset
from training.provenance import find_commit

EXPERIMENTS = find_repository() / "experiments"
README = find_repository() / "README.md"
LOG_HEADER = """# Reproduction log

Every run of `code/reproduce.py`, oldest first; one that failed, or missed the paper's number, stays in. The score
is of test unless another split is named.

| date | commit | machine | condition | score | valid | minutes |
|---|---|---|---|---|---|---|
"""


def report_folder(conditions: Path) -> Path:
    """Where a file of conditions is reported: the repository's in experiments/, another one in a folder of its name."""
    return EXPERIMENTS if conditions.resolve() == CONDITIONS_FILE.resolve() else conditions.with_suffix("").resolve()


def update_scores(conditions: Mapping[str, Condition], finished: Sequence[tuple[Job, Plan]], folder: Path) -> Scores:
    """Add what has finished here to scores.json; what was measured elsewhere stays, if it is still a condition."""
    runs = [make_record(job, plan) for job, plan in finished]
    folders: dict[str, dict[int, Path]] = {}
    for job, plan in finished:
        folders.setdefault(job.condition.name, {})[job.seed] = plan.folder
    path = folder / SCORES_FILE
    newer = Scores(tuple(runs), _compare(conditions, folders), _average(conditions, folders), read_baselines())
    scores = read_scores(path).merge(newer).current(conditions)
    write_scores(scores, path)
    return scores


def read_baselines() -> tuple[Record, ...]:
    """Dataset and scores of what code/baselines.py has written here, but for the leak bound, which is none."""
    found = []
    for path in sorted((EXPERIMENTS / "baselines").glob("*.json")):
        content = json.loads(path.read_text(encoding="utf-8"))
        scores = {name: of["score"] for name, of in content.items() if isinstance(of, dict) and name != PREVIOUS_LABEL}
        found.append({"dataset": path.stem, "scores": scores})
    return tuple(found)


def _average(conditions: Mapping[str, Condition], folders: Mapping[str, Mapping[int, Path]]) -> tuple[Record, ...]:
    return tuple(
        make_average(conditions[name], dataset, of)
        for name, of in folders.items()
        for dataset in conditions[name].datasets
        if len(of) > 1
    )


def _compare(conditions: Mapping[str, Condition], folders: Mapping[str, Mapping[int, Path]]) -> tuple[Record, ...]:
    pairs = [
        (conditions[conditions[name].compared_with], conditions[name])
        for name in folders
        if conditions[name].compared_with in folders
    ]
    return tuple(
        make_comparison(first, second, dataset, folders)
        for first, second in pairs
        for dataset in second.datasets
        if set(folders[first.name]) & set(folders[second.name])
    )


def write_report(table: Table, conditions: Mapping[str, Condition], scores: Scores, folder: Path) -> list[Path]:
    """REPORT.md and its figures, from the scores alone; the paths written. The README shows the repository's own."""
    figures = draw_all(folder / "figures", conditions, scores)
    _forget_figures(folder, figures)
    report = folder / "REPORT.md"
    written = [report, *(folder / "figures" / name for names in figures.values() for name in names)]
    write_atomically(report, render_report(table, conditions, scores, figures))
    if folder != EXPERIMENTS:
        return written
    write_atomically(README, replace_section(README.read_text(encoding="utf-8"), render_readme(conditions, scores)))
    return [*written, README]


def _forget_figures(folder: Path, figures: Mapping[str, Sequence[str]]) -> None:
    """Remove pictures of an earlier report that this one does not show."""
    shown = {name for names in figures.values() for name in names}
    for path in (folder / "figures").glob("*.png"):
        if path.name not in shown:
            path.unlink()


def write_browser(finished: Sequence[tuple[Job, Plan]], folder: Path) -> Path:
    """The HTML page, with the predictions that lie here; its path."""
    runs: dict[tuple[str, bool, str], dict[str, list[Prediction]]] = {}
    for job, plan in finished:
        rows = split_by_dataset(read_predictions(plan.folder / PREDICTIONS_FILE))
        for dataset in job.condition.datasets:
            shown = (dataset, job.condition.script == "Mixed", job.condition.split)
            runs.setdefault(shown, {})[job.name] = rows[dataset]
    browsed = [
        browse_runs(dataset, load_dialogues(dataset, find_original_data(dataset))[split], of)
        | {"dataset": f"{dataset} {split}{', unified labels' if unified else ''}"}
        for (dataset, unified, split), of in runs.items()
    ]
    path = folder / "report" / "index.html"
    write_page(path, (folder / "REPORT.md").read_text(encoding="utf-8"), folder, browsed)
    return path


def log_run(job: Job, plan: Plan, code: int | None, minutes: float, folder: Path) -> None:
    """One line of LOG.md."""
    path = folder / "LOG.md"
    text = path.read_text(encoding="utf-8") if path.exists() else LOG_HEADER
    write_atomically(path, text + _describe_run(job, plan, code, minutes) + "\n")


def _describe_run(job: Job, plan: Plan, code: int | None, minutes: float) -> str:
    if code:
        machine = f"{platform.machine()}, {os.cpu_count()} cores"
        cells = [today(), short_commit(find_commit(find_repository())), machine, job.name]
        cells += [f"failed with exit status {code}", "-"]
    else:
        record = describe_run(job, plan)
        scores = score_sets_of(job, plan)
        split = "" if job.condition.split == "test" else f" ({job.condition.split})"
        shown = ", ".join(
            f"{dataset} {score:.2f}{split}{' (misses)' * is_missed(job.condition, dataset, [score])}"
            for dataset, score in scores.items()
        )
        machine = f"{record['device']}, {record['processors']} cores"
        valid = "-" if record["valid"] is None else f"{record['valid']:.2f}"
        cells = [record["date"], short_commit(record["commit"]), machine, job.name, shown, valid]
    return render_row([*cells, f"{minutes:.1f}"])


def score_sets_of(job: Job, plan: Plan) -> dict[str, float]:
    """Dataset -> score of a finished run, by the dataset's own metric."""
    labels = read_labels({job.seed: plan.folder})
    rows = split_by_dataset(read_predictions(plan.folder / PREDICTIONS_FILE))
    return {name: evaluate_predictions(of, labels, DATASETS[name].metric).score for name, of in rows.items()}
