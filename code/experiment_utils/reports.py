"""Results that lie here -> scores.json -> REPORT.md, figures, the README's section, the page to browse, the log."""

import platform
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from data_utils.dialogues import find_original_data, load_dialogues
from data_utils.errors import UserError
from data_utils.files import find_repository, write_atomically
from experiment_utils.conditions import Condition, Table
from experiment_utils.jobs import Job, Plan
from experiment_utils.records import (
    SCORES_FILE,
    Record,
    Scores,
    make_comparison,
    make_record,
    read_scores,
    write_scores,
)
from experiment_utils.report_figures import draw_all
from experiment_utils.report_page import browse_runs, write_page
from experiment_utils.report_tables import render_readme, render_report
from experiment_utils.runner import is_finished
from model_utils.metrics import Prediction
from model_utils.reporting import PREDICTIONS_FILE, read_predictions

EXPERIMENTS = find_repository() / "experiments"
README = find_repository() / "README.md"
BEGIN, END = "<!-- results: begin -->", "<!-- results: end -->"
LOG_HEADER = """# Reproduction log

Every run of `code/reproduce.py`, oldest first; a run that failed or missed its tolerance stays in.

| date | commit | machine | condition | score on test | valid | minutes |
|---|---|---|---|---|---|---|
"""


def update_scores(conditions: Mapping[str, Condition], planned: Sequence[tuple[Job, Plan]]) -> Scores:
    """Add what has finished here to scores.json; what was measured elsewhere stays."""
    here = [(job, plan) for job, plan in planned if is_finished(plan)]
    runs = [make_record(job, plan) for job, plan in here]
    path = EXPERIMENTS / SCORES_FILE
    scores = read_scores(path).merge(Scores(tuple(runs), tuple(_compare(conditions, here))))
    write_scores(scores, path)
    return scores


def _compare(conditions: Mapping[str, Condition], here: Sequence[tuple[Job, Plan]]) -> list[Record]:
    folders: dict[str, dict[int, Path]] = {}
    for job, plan in here:
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


def replace_section(readme: str, section: str) -> str:
    """The README with another results section; UserError where its two marks are missing."""
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise UserError(f"README.md has no section between {BEGIN} and {END}")
    return f"{before}{BEGIN}\n{section}\n{END}{after}"


def write_browser(planned: Sequence[tuple[Job, Plan]]) -> Path:
    """The HTML page, with the predictions that lie here; its path."""
    runs: dict[tuple[str, bool], dict[str, list[Prediction]]] = {}
    for job, plan in planned:
        if is_finished(plan):
            predictions = read_predictions(plan.folder / PREDICTIONS_FILE)
            for dataset in job.condition.datasets:
                rows = [row for row in predictions if row.id.startswith(f"{dataset}/")]
                runs.setdefault((dataset, job.condition.script == "Mixed"), {})[job.name] = rows
    browsed = [
        browse_runs(dataset, load_dialogues(dataset, find_original_data(dataset))["test"], of)
        | ({"dataset": f"{dataset}, unified labels"} if unified else {})
        for (dataset, unified), of in runs.items()
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
        cells = [_today(), "-", platform.machine(), job.name, f"failed with exit status {code}", "-"]
    else:
        record = make_record(job, plan)
        shown = ", ".join(f"{dataset} {of['score']:.2f}" for dataset, of in record["scores"].items())
        machine = f"{record['device']}, {record['processors']} cores"
        valid = "-" if record["valid"] is None else f"{record['valid']:.2f}"
        cells = [record["date"], (record["commit"] or "-")[:7], machine, job.name, shown, valid]
    return "| " + " | ".join([*cells, f"{minutes:.1f}"]) + " |"


def _today() -> str:
    return time.strftime("%Y-%m-%d", time.gmtime())
