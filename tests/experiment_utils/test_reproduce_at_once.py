"""reproduce.py beside another one: what that one begins anew is left alone, and neither undoes the other's report."""

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
from ended_scripts import call, make_repository
from experiment_utils.conditions import list_conditions, read_table
from experiment_utils.records import Records
from experiment_utils.runner import find_finished, resolve


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
