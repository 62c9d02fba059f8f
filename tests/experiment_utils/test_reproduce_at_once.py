"""reproduce.py beside another one: what that one begins anew is left alone, and neither undoes the other's report.

And killed, or its disk full, between two changes: LOG.md has one line a run, and a report its figures.
"""

import fcntl
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import experiment_utils.evidence
import experiment_utils.reports
import reproduce
from commands import assert_one_line_error
from ended_scripts import call, make_repository, ran
from experiment_utils.conditions import list_conditions, read_table
from experiment_utils.records import Records
from experiment_utils.runner import UNLOGGED, find_finished, resolve


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return make_repository(tmp_path, monkeypatch)


def before(act: Callable[[], Any], call: Callable) -> Callable:
    """The same call, after something else has happened."""

    def later(*arguments: Any) -> Any:
        act()
        return call(*arguments)

    return later


def begin_anew(repository: Path) -> None:
    """What a run does with the results of an earlier one."""
    for results in repository.glob("experiments/meld/*/results.json"):
        results.unlink()


def end_anew(repository: Path) -> None:
    """Other results than those that were there."""
    for results in repository.glob("experiments/meld/*/results.json"):
        results.write_text(results.read_text().replace('"processors": 2', '"processors": 3'))


@pytest.mark.parametrize("change", [begin_anew, end_anew])
@pytest.mark.parametrize("when", ["keep_run", "read_predictions"])
def test_a_run_that_another_program_begins_anew_stays_as_it_was_reported(
    repository: Path, change: Callable[[Path], None], when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look at what has finished and the reading of it, or in the middle of that."""
    call(repository, "--condition", "exact/a", "--seeds", 1)
    known = Records.read(repository / "experiments")
    module = experiment_utils.reports if when == "keep_run" else experiment_utils.evidence
    monkeypatch.setattr(module, when, before(lambda: change(repository), getattr(module, when)))
    done = call(repository, "--report")
    assert (done.returncode, done.stderr) == (0, "")
    assert Records.read(repository / "experiments") == known and known.runs[0].processors == 2


def test_what_cannot_be_read_of_a_run_that_nobody_begins_anew_is_told(repository: Path) -> None:
    call(repository, "--condition", "exact/a", "--seeds", 1)
    (predictions,) = repository.glob("experiments/meld/*/predictions.jsonl")
    predictions.write_text("harmed\n")
    done = call(repository, "--report")
    assert done.returncode == 2 and "predictions.jsonl line 1: not a row" in done.stderr


def test_of_two_reports_at_once_one_waits(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From its look at what has finished to its last page."""
    seen = []

    def is_held() -> None:
        descriptor = os.open(repository / "experiments", os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            seen.append(True)
        finally:
            os.close(descriptor)

    for name in ("find_finished", "update_records", "write_report", "write_browser"):
        monkeypatch.setattr(reproduce, name, before(is_held, getattr(reproduce, name)))
    call(repository, "--condition", "exact/a", "--seeds", 1)
    assert seen == [True] * 4


def test_of_copies_of_a_run_one_is_reported(repository: Path) -> None:
    call(repository, "--condition", "exact/a", "--seeds", "1,1")
    (run,) = repository.glob("experiments/meld/*/")
    shutil.copytree(run, run.with_name(f"{run.name}-copy"))
    conditions = list_conditions(read_table(repository / "conditions.yaml"))
    found = [(job.name, path) for job, path in find_finished(conditions, repository / "experiments")]
    assert found == [("exact/a/meld, seed 1", run), ("same/a/meld, seed 1", run)]
    (job, _), *_ = find_finished(conditions, repository / "experiments")
    usual = repository / "experiments" / resolve(job).result
    shutil.copytree(run, usual)
    assert find_finished(conditions, repository / "experiments")[0][1] == usual, "where its command would leave it"
    record = repository / "experiments/runs/exact/a/meld"
    shutil.copytree(record, record.with_name("copied"))
    assert_one_line_error(call(repository, "--report"), "copied/seed_1.json says that it is of exact/a/meld, seed 1, ")


def test_a_run_that_was_killed_before_its_line_in_the_log_gets_it(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched, pytest.raises(ZeroDivisionError):
        patched.setattr(reproduce, "log_run", lambda *_: 1 / 0)
        call(repository, "--condition", "same")
    assert not (repository / "experiments/LOG.md").exists()
    for _ in range(2):
        assert "finished before" in call(repository, "--condition", "same", "--resume").stderr
    assert (repository / "experiments/LOG.md").read_text().count("same/a/meld") == 1
    assert not list(repository.glob("experiments/*/*/.*")) and len(ran(repository)) == 1


def test_a_run_that_was_killed_just_after_its_line_in_the_log_gets_no_second(repository: Path) -> None:
    call(repository, "--condition", "same")
    log, (results,) = repository / "experiments/LOG.md", repository.glob("experiments/*/*/results.json")
    logged, mark = log.read_text(), results.with_name(UNLOGGED)
    mark.touch()
    call(repository, "--condition", "same", "--resume")
    assert log.read_text() == logged and not mark.exists()


def test_a_report_that_is_not_written_leaves_the_figures_of_the_one_before(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = repository / "experiments/figures/old.png"
    old.parent.mkdir(parents=True)
    old.touch()
    with monkeypatch.context() as patched, pytest.raises(ZeroDivisionError):
        patched.setattr(experiment_utils.reports, "render_report", lambda *_: 1 / 0)
        call(repository, "--report")
    assert old.exists()
    assert call(repository, "--report").returncode == 0 and not old.exists()


def test_a_line_of_the_log_that_a_full_disk_has_cut_stays_a_line(repository: Path) -> None:
    log = repository / "experiments" / "LOG.md"
    log.parent.mkdir()
    log.write_text("# Reproduction log\n| cut off")
    call(repository, "--condition", "same")
    assert log.read_text().splitlines()[:2] == ["# Reproduction log", "| cut off"] and log.read_text().count("\n") == 3
