"""reproduce.py killed, or its disk full, between two changes: LOG.md has one line a run, and a report its figures."""

from pathlib import Path

import pytest

import experiment_utils.reports
import reproduce
from ended_scripts import call, make_repository, ran
from experiment_utils.runner import UNLOGGED


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return make_repository(tmp_path, monkeypatch)


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
