"""Keeps finished results as records and answers; writes REPORT.md, figures, the README's table, page and log."""

import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path

from basics.errors import UserError
from basics.files import find_repository, make_folder, write_atomically
from basics.json_files import read_json
from basics.locks import locked
from basics.markdown import RESULTS, put_sections, render_row
from basics.words import counted
from data_utils.dialogues import digest_sources
from experiment_utils.conditions import CONDITIONS_FILE, EXPERIMENTS, Condition, Table
from experiment_utils.evidence import keep_run, make_record, read_corpus
from experiment_utils.overview import render_overview
from experiment_utils.records import Record, Records
from experiment_utils.report_answer import render_answer
from experiment_utils.report_page import browse_runs, write_page
from experiment_utils.report_tables import Shown, short_commit
from experiment_utils.report_text import render_report, render_sample
from experiment_utils.runner import UNLOGGED, Job, Plan, make_job, plan_digest, today
from scoring.baseline_table import baseline_plan
from scoring.metrics import Prediction, split_by_dataset
from scoring.prediction_files import PREDICTIONS_FILE, read_predictions
from training.log import append
from training.provenance import find_commit

EARLIER = "earlier.json"
SAMPLE_MARKS = "sample table"
README = find_repository() / "README.md"
LOG_HEADER = """# Reproduction log

Every run of `code/reproduce.py`, oldest first; one that failed stays in. The score is of test unless another split is
named. Minutes are of that call: of a run that was gone on with, those of its last part.

| date | commit | machine | condition | score | valid | minutes |
|---|---|---|---|---|---|---|
"""


def report_folder(conditions: Path) -> Path:
    """The folder of the report on a file of conditions: experiments/ for the repository's, else one of the file's name.

    Raises:
        UserError: the folder belongs to another file of this name.
    """
    if conditions.resolve() == CONDITIONS_FILE.resolve():
        return EXPERIMENTS
    folder = conditions.with_suffix("").resolve()
    if folder.exists() and not folder.is_dir():
        raise UserError(f"--conditions {conditions}: they are reported in {folder}, which is a file; call it NAME.yaml")
    return folder


def update_records(conditions: Mapping[str, Condition], finished: Sequence[tuple[Job, Path]], folder: Path) -> Shown:
    """Adds finished runs to the committed records; returns what a report shows of all."""
    for job, run in finished:
        keep_run(job, run, folder)
    return look_at(conditions, folder)


def look_at(conditions: Mapping[str, Condition], folder: Path) -> Shown:
    """Reads the records: the runs of conditions that exist, and which of them are stale."""
    there = Records.read(folder)
    records = there.known(conditions)
    sources = digest_sources({dataset for run in records.runs for dataset in run.sources})
    stale = {
        (run.condition, run.seed)
        for run in records.runs
        if run.plan != _plan_of_today(run, conditions) or _has_other_dialogues(run, sources)
    }
    earlier = folder / EARLIER
    return Shown(records, stale, read_json(earlier) if earlier.exists() else (), there.left_out(conditions))


def _plan_of_today(run: Record, conditions: Mapping[str, Condition]) -> str:
    if run.condition in conditions:
        return plan_digest(make_job(conditions, run.condition, run.seed))
    return baseline_plan(run.row)


def _has_other_dialogues(run: Record, sources: Mapping[str, str]) -> bool:
    """Whether a corpus of one's own has changed since the run; False where the corpus is not here."""
    return any(sources[dataset] and sources[dataset] != then for dataset, then in run.sources.items())


def write_report(table: Table, conditions: Mapping[str, Condition], shown: Shown, folder: Path) -> list[Path]:
    """Writes REPORT.md, its figures, and for the repository's own conditions the README's part; returns the paths."""
    from experiment_utils.report_figures import draw_all  # slow to import, and not needed for listing conditions

    figures = draw_all(folder / "figures", table, conditions, shown)
    report = folder / "REPORT.md"
    written = [report, *(folder / "figures" / name for names in figures.values() for name in names)]
    write_atomically(report, render_report(table, conditions, shown, figures))
    _forget_figures(folder, figures)  # which the report before showed, until here
    if folder != EXPERIMENTS:
        return written
    sections = {RESULTS: render_overview(table, conditions, shown)}
    if sample := render_sample(shown):
        sections[SAMPLE_MARKS] = sample
    put_sections(README, sections)
    return [*written, README]


def _forget_figures(folder: Path, figures: Mapping[str, Sequence[str]]) -> None:
    """Removes figures of an earlier report that this one does not have."""
    shown = {name for names in figures.values() for name in names}
    for path in (folder / "figures").glob("*.png"):
        if path.name not in shown:
            path.unlink()


def write_browser(
    conditions: Mapping[str, Condition], shown: Shown, finished: Sequence[tuple[Job, Path]], folder: Path
) -> Path:
    """Writes the HTML page with the report and the predictions that are on this machine; returns its path."""
    runs: dict[tuple[str, bool, str], dict[str, list[Prediction]]] = {}
    for job, run in finished:
        rows = split_by_dataset(read_predictions(run / PREDICTIONS_FILE))
        for dataset in job.condition.datasets:
            key = (dataset, job.condition.has_own_labels, job.condition.split)
            runs.setdefault(key, {})[job.name] = rows[dataset]
    browsed = [
        browse_runs(dataset, read_corpus(dataset, check_counts=False)[split], of)
        | {"dataset": f"{dataset} {split}{'' if own else ', unified labels'}"}
        for (dataset, own, split), of in runs.items()
    ]
    path = folder / "report" / "index.html"
    log = folder / "LOG.md"
    answer = render_answer(conditions, shown, log.read_text(encoding="utf-8") if log.exists() else "")
    parts = (answer, "[TOC]", (folder / "REPORT.md").read_text(encoding="utf-8"))
    write_page(path, "\n\n".join(parts), folder, browsed)
    return path


def log_run(job: Job, plan: Plan, code: int | None, minutes: float, folder: Path, is_from_before: bool = False) -> None:
    """Appends a line to LOG.md; several programs may do so at once.

    is_from_before: of a run that has its mark (`UNLOGGED`) still, as it was killed before it had its line, or just
    after: then it is the last one, and has no second.
    """
    path, line = folder / "LOG.md", _describe_run(job, plan, code, minutes) + "\n"
    make_folder(folder)
    with locked(folder):
        before = path.read_text(encoding="utf-8") if path.exists() else ""
        last = before.splitlines(keepends=True)[-1:]
        if not is_from_before or list(map(_without_minutes, last)) != [_without_minutes(line)]:
            # A full disk may have cut the last line.
            begun = LOG_HEADER if not before else "" if before.endswith("\n") else "\n"
            append(path, (begun + line).encode())
    (plan.folder / UNLOGGED).unlink(missing_ok=True)


def _without_minutes(line: str) -> str:
    """A line of LOG.md but for its last cell, which is not told of a run that was gone on with."""
    return line.rpartition("|")[0].rpartition("|")[0]


def _describe_run(job: Job, plan: Plan, code: int | None, minutes: float) -> str:
    if code:
        machine = f"{platform.machine()}, {counted(os.cpu_count() or 1, 'core')}"
        cells = [today(), short_commit(find_commit(find_repository())), machine, job.name]
        cells += [f"failed with exit status {code}", "-"]
    else:
        record = make_record(job, plan.folder)
        split = "" if job.condition.split == "test" else f" ({job.condition.split})"
        shown = ", ".join(f"{dataset} {record.score(dataset):.2f}{split}" for dataset in record.counts)
        machine = f"{record.device}, {counted(record.processors, 'core')}"
        valid = "-" if record.valid is None else f"{record.valid:.2f}"
        cells = [record.date, short_commit(record.commit), machine, job.name, shown, valid]
    return render_row([*cells, f"{minutes:.1f}"])
