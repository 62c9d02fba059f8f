"""Where a run comes from: versions, machine, memory, commit."""

import json
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from training import provenance
from training.provenance import environment_report, find_commit


def test_environment_names_versions_and_leaves_out_what_is_absent(monkeypatch):
    monkeypatch.setattr(provenance, "LIBRARIES", ("scikit-learn", "no-such-library-of-ours"))
    report = environment_report()
    assert report["versions"] == {
        "python": sys.version.split()[0],
        "scikit-learn": version("scikit-learn"),
    }
    assert report["processors"] >= 1 and report["platform"]
    # Python with scikit-learn holds more than 40 MiB and this test less than 64 GiB.
    assert 40 < report["peak_memory_mib"] < 65536
    json.dumps(report)


@pytest.fixture
def repository(tmp_path, monkeypatch) -> Path:
    """A git checkout with one commit."""
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    folder = tmp_path / "checkout"
    (folder / "code").mkdir(parents=True)
    (folder / "code" / "a.py").write_text("1\n")
    (folder / "experiments").mkdir()
    (folder / "experiments" / "LOG.md").write_text("a log\n")
    person = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    for command in (["init", "-q"], ["add", "."], [*person, "commit", "-qm", "first"]):
        subprocess.run(["git", "-C", str(folder), *command], check=True)
    return folder


def test_commit_and_changes(repository):
    clean = find_commit(repository)
    assert len(clean) == 40 and set(clean) <= set("0123456789abcdef")
    (repository / "notes.txt").write_text("not part of a run\n")
    (repository / "experiments" / "LOG.md").write_text("a longer log\n")
    assert find_commit(repository) == clean
    (repository / "code" / "b.py").write_text("2\n")
    assert find_commit(repository) == clean + "+changes"
    (repository / "code" / "b.py").unlink()
    (repository / "code" / "a.py").write_text("3\n")
    assert find_commit(repository) == clean + "+changes"


def test_no_commit_outside_a_checkout_of_its_own(repository, tmp_path, monkeypatch):
    assert find_commit(tmp_path) is None
    assert find_commit(repository / "code") is None
    subprocess.run(["git", "init", "-q", str(tmp_path / "empty")], check=True)
    assert find_commit(tmp_path / "empty") is None
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_commit(repository) is None
