"""Results that lie here -> scores.json -> REPORT.md, figures, the README's section, the page to browse, the log."""

import json
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path

from data_utils.dialogues import find_original_data, load_dialogues
from data_utils.files import find_repository, write_atomically
from data_utils.labels import WEIGHTED_F1
from data_utils.markdown import render_row, replace_section
from experiment_utils.conditions import Condition, Table
from experiment_utils.jobs import Job, Plan
from experiment_utils.records import (
    SCORES_FILE,
    Record,
    Scores,
    describe_run,
    make_comparison,
    make_record,
    read_scores,
    write_scores,
)
from experiment_utils.report_figures import draw_all
from experiment_utils.report_page import browse_runs, write_page
from experiment_utils.report_tables import render_readme, render_report
from experiment_utils.runner import today
from model_utils.metrics import EvalResult, Prediction
from model_utils.mixed_scores import evaluate_by_dataset, split_by_dataset
from model_utils.reporting import PREDICTIONS_FILE, RESULTS_FILE, read_predictions

EXPERIMENTS = find_repository() / "experiments"
README = find_repository() / "README.md"
LOG_HEADER = """# Reproduction log

Every run of `code/reproduce.py`, oldest first; a run that failed or missed its tolerance stays in.

| date | commit | machine | condition | score on test | valid | minutes |
|---|---|---|---|---|---|---|
"""


def update_scores(conditions: Mapping[str, Condition], finished: Sequence[tuple[Job, Plan]]) -> Scores:
    """Add what has finished here to scores.json; what was measured elsewhere stays."""
    runs = [make_record(job, plan) for job, plan in finished]
    path = EXPERIMENTS / SCORES_FILE
    scores = read_scores(path).merge(Scores(tuple(runs), tuple(_compare(conditions, finished))))
    write_scores(scores, path)
    return scores


def _compare(conditions: Mapping[str, Condition], finished: Sequence[tuple[Job, Plan]]) -> list[Record]:
    folders: dict[str, dict[int, Path]] = {}
    for job, plan in finished:
        folders.setdefault(job.condition.name, {})[job.seed] = plan.folder
    pairs = [
        (conditions[conditions[name].compared_with], conditions[name])
        for name in folders
        if conditions[name].compared_with in folders
    ]
    return [
        make_comparison(first, second, dataset, folders)
        for first, second in pairs
        for dataset in second.datasets
        if set(folders[first.name]) & set(folders[second.name])
    ]


def write_report(table: Table, conditions: Mapping[str, Condition], scores: Scores) -> list[Path]:
    """REPORT.md, its figures and the README's section, from the scores alone; the paths written."""
    figures = draw_all(EXPERIMENTS / "figures", conditions, scores)
    report = EXPERIMENTS / "REPORT.md"
    write_atomically(report, render_report(table, conditions, scores, figures))
    write_atomically(README, replace_section(README.read_text(encoding="utf-8"), render_readme(conditions, scores)))
    return [report, README, *(EXPERIMENTS / "figures" / name for name in figures)]


def write_browser(finished: Sequence[tuple[Job, Plan]]) -> Path:
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
    path = EXPERIMENTS / "report" / "index.html"
    write_page(path, (EXPERIMENTS / "REPORT.md").read_text(encoding="utf-8"), EXPERIMENTS, browsed)
    return path


def log_run(job: Job, plan: Plan, code: int | None, minutes: float) -> None:
    """One line of experiments/LOG.md."""
    path = EXPERIMENTS / "LOG.md"
    text = path.read_text(encoding="utf-8") if path.exists() else LOG_HEADER
    write_atomically(path, text + _describe_run(job, plan, code, minutes) + "\n")


def _describe_run(job: Job, plan: Plan, code: int | None, minutes: float) -> str:
    if code:
        cells = [today(), "-", platform.machine(), job.name, f"failed with exit status {code}", "-"]
    else:
        record = describe_run(job, plan)
        split = "" if job.condition.split == "test" else f" ({job.condition.split})"
        shown = ", ".join(f"{dataset} {result.score:.2f}{split}" for dataset, result in _score(plan).items())
        machine = f"{record['device']}, {record['processors']} cores"
        valid = "-" if record["valid"] is None else f"{record['valid']:.2f}"
        cells = [record["date"], (record["commit"] or "-")[:7], machine, job.name, shown, valid]
    return render_row([*cells, f"{minutes:.1f}"])


def _score(plan: Plan) -> dict[str, EvalResult]:
    labels = json.loads((plan.folder / RESULTS_FILE).read_text(encoding="utf-8"))["labels"]
    return evaluate_by_dataset(read_predictions(plan.folder / PREDICTIONS_FILE), labels, WEIGHTED_F1)
