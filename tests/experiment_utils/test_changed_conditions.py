"""Runs that are not as those beside them, or whose condition or corpus is another one by now: reports say so."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

import experiment_utils.evidence
from basics.errors import UserError
from commands import assert_one_line_error
from corpora import write_own_corpus
from data_utils.dialogues import Dialogue, Utterance
from data_utils.labels import DATASETS
from ended_scripts import call, make_repository
from experiment_utils.checks import missing_corpora
from experiment_utils.conditions import EXPERIMENTS
from experiment_utils.evidence import gold_labels
from experiment_utils.records import RUNS, Record, Records
from experiment_utils.report_tables import STALE, counts_beside, counts_without
from scoring.beside import NEIGHBOURS

A = "a: {settings: {historical_window: 2}, paper: {meld: 80.0}}"


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return make_repository(tmp_path, monkeypatch)


def rewrite(repository: Path, *changes: tuple[str, str]) -> None:
    """Changes conditions.yaml."""
    path = repository / "conditions.yaml"
    text = path.read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path.write_text(text)


def test_a_run_that_was_not_scored_on_all_of_its_condition_is_left_out(repository: Path) -> None:
    assert call(repository, "--condition", "mixed", "--seeds", 1).returncode == 0
    rewrite(
        repository, ("[meld, EmoryNLP]", "[meld, EmoryNLP, iemocap]"), ('"meld,EmoryNLP"', '"meld,EmoryNLP,iemocap"')
    )
    done = call(repository, "--report")
    reason = "not shown, as it was not scored on iemocap, which its condition is"
    assert done.returncode == 0
    assert done.stderr.splitlines() == [f"mixed/i, seed 1: {reason}", f"mixed/j, seed 1: {reason}"]
    assert_one_line_error(call(repository, "--compare", "mixed/i", "mixed/j"), f"mixed/i, seed 1: {reason}")


def test_a_run_of_another_name_or_split_is_left_out(repository: Path) -> None:
    assert call(repository, "--condition", "exact", "--seeds", 1).returncode == 0
    rewrite(repository, (A, A.replace("2}", "2, score_on: valid}")), ("      b: {", "      renamed: {"))
    assert call(repository, "--report").stderr.splitlines() == [
        "exact/a/meld, seed 1: not shown, as it was scored on test, and its condition is on valid",
        "exact/b/meld, seed 1: not shown, as no condition is called so",
    ]
    assert "exact/a |" not in (repository / "README.md").read_text()


def test_of_a_corpus_that_is_gone_nothing_is_checked(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ERC_ORIGINAL_DATA", str(repository / "original"))
    corpus = write_own_corpus(repository / "original" / "mine")
    rewrite(repository, ("datasets: [iemocap]", "datasets: [mine]"))
    assert call(repository, "--condition", "elsewhere").returncode == 0
    records = Records.read(repository / "experiments")
    assert missing_corpora(records) == []
    shutil.rmtree(corpus)
    assert missing_corpora(records) == ["mine"]
    rewrite(repository, ("datasets: [mine]", "datasets: [iemocap]"))
    checked = call(repository, "--check")
    assert checked.returncode == 0 and "not checked, as their pickles are not here: mine; " in checked.stderr


def test_labels_that_a_corpus_no_longer_has_are_one_line() -> None:
    calm = ("calm", *DATASETS["sample"].labels[1:])
    with pytest.raises(UserError, match="sample has the labels neutral, .* and a run answered with calm, "):
        gold_labels("sample", "test", calm)


def test_comparisons_name_the_seeds_and_whose_runs_are_not_as_those_of_the_other(repository: Path) -> None:
    assert call(repository, "--condition", "exact/a", "--seeds", 1).returncode == 0
    writer = repository / "write_results.py"
    writer.write_text(writer.read_text().replace("0123456789abcdef", "fedcba9876543210"))
    assert call(repository, "--condition", "exact/b", "--seeds", "1,2").returncode == 0
    rewrite(repository, ("b: {settings: {historical_window: 4}", "b: {settings: {historical_window: 3}"))
    done = call(repository, "--report")
    assert done.returncode == 0 and done.stderr == ""
    report = (repository / "experiments" / "REPORT.md").read_text()
    mark = f"{STALE}: b seed 1; BY ANOTHER COMMIT: seed 1"
    assert f"| b | a{mark} | meld | -20.00 (seed 1) | -20.00 | - | - |" in report
    assert f"{STALE}: seed 1, 2)" in report, "beside its mean"
    assert "| as published | 0 of 2 | 2 | `python code/reproduce.py --condition exact` | a/meld: 2 |" in report
    compared = call(repository, "--compare", "exact/a/meld", "exact/b/meld").stdout.splitlines()
    assert compared[0] == f"meld: exact/b/meld is -20.00 points from exact/a/meld{mark}"


def test_means_that_stand_side_by_side_are_of_the_same_seeds() -> None:
    place = EXPERIMENTS / RUNS / "small_compact/compact+step_6/meld"
    runs = [Record.read(place / f"seed_{seed}.json") for seed in (42, 43, 44)]
    assert len(counts_without(runs, "meld")) == len(counts_beside(runs, "meld", NEIGHBOURS)) == 3
    changed = [replace(runs[0], without={}, beside={}), *runs[1:]]
    assert counts_without(changed, "meld") == counts_beside(changed, "meld", NEIGHBOURS) == []


def test_a_report_leaves_runs_on_other_dialogues_as_they_were_kept(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their answers are not of the dialogues that are there now: by these nothing of them can be told."""
    monkeypatch.setenv("ERC_ORIGINAL_DATA", str(repository / "original"))
    corpus = write_own_corpus(repository / "original" / "mine")
    rewrite(repository, ("datasets: [iemocap]", "datasets: [mine]"))
    assert call(repository, "--condition", "elsewhere").returncode == 0
    kept = repository / "experiments" / RUNS / "elsewhere" / "h" / "mine"
    before = {path.name: path.read_bytes() for path in kept.iterdir()}
    with (corpus / "test.csv").open("a") as stream:
        stream.write("\n")
    other = Dialogue("another", (Utterance(0, "So.", "joyful"),))
    corpora = {"train": (), "valid": (other,), "test": (other,)}
    monkeypatch.setattr(experiment_utils.evidence, "load_dialogues", lambda *_, **__: corpora)
    experiment_utils.evidence.split_facts.cache_clear()
    experiment_utils.evidence._read_once.cache_clear()
    done = call(repository, "--report")
    assert done.returncode == 0 and done.stderr == ""
    assert {path.name: path.read_bytes() for path in kept.iterdir()} == before
    assert STALE in (repository / "experiments" / "REPORT.md").read_text()
    shutil.rmtree(kept)
    told = "not shown, as its corpus has changed since; --resume runs it anew"
    assert call(repository, "--report").stderr.splitlines() == [f"elsewhere/h/mine, seed 1: {told}"]
