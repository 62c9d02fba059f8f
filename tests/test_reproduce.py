"""reproduce.py: choosing, running, stopping and going on, and what a failed or missed number does."""

import json
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from conftest import assert_one_line_error, call_script

import experiment_utils.jobs
import experiment_utils.records
import experiment_utils.reports
import experiment_utils.runner
import reproduce
from data_utils.dialogues import Dialogue, Utterance
from experiment_utils.jobs import Job, Plan, job_environment
from experiment_utils.runner import Runner

LABELS = ("neutral", "joyful")
# What the scripts do, as far as reproduce.py sees it. `beta` stands for the score: how many of ten are wrong.
SCRIPT = r"""
folder=experiments/$dataset/beta_$beta-seed_$seed
if [[ ${DRY_RUN-0} == 1 ]]; then
    [[ $beta != 9 ]] || { echo "error: beta=9: too much" >&2; exit 2; }
    printf 'cd "a checkout"\npython code/main_new.py --output_dir %q --beta %q\n' "$folder" "$beta"
    exit
fi
echo "$dataset $beta $seed ${resume-no} ${learning_rate-usual}" >>ran.txt
[[ $beta != 5 ]] || exit 3
mkdir -p "$folder"
python3 write_results.py "$folder" "$beta" "$seed"
"""
WRITER = """
import json, sys
folder, wrong, seed = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
with open(folder + "/predictions.jsonl", "w") as stream:
    for turn in range(10):
        gold = "joyful" if turn % 2 else "neutral"
        said = gold if turn >= wrong else "neutral" if turn % 2 else "joyful"
        row = {"id": f"meld/d/{turn}", "task": "emotion_recognition", "target": gold, "label": said}
        print(json.dumps(row), file=stream)
results = {"labels": ["neutral", "joyful"], "epochs": [{"epoch": 1, "score": 50.0}], "best_epoch": 1, "seed": seed,
           "selection": "chosen on valid", "commit": "0123456789abcdef", "device": "cpu", "processors": 2,
           "precision": "bfloat16", "trainable_parameters": 5, "seconds": {"training_steps": 6.0},
           "training_rows": {"emotion_recognition": 10}, "arguments": {"batch_size": 32}}
with open(folder + "/results.json", "w") as stream:
    json.dump(results, stream)
"""
TABLE = """
groups:
  exact:
    table: "1"
    title: as published
    script: Uni
    compare_with: a
    seeds: [1, 2]
    tolerance: 0.5
    rows:
      a: {settings: {beta: 2}, paper: {meld: 80.0}}
      b: {settings: {beta: 4}, paper: {meld: 60.2}}
  same:
    table: "2"
    title: the same run as another
    script: Uni
    datasets: [meld]
    seeds: [1]
    rows:
      a: {settings: {beta: 2}}
  far:
    table: "3"
    title: further than allowed
    script: Uni
    seeds: [1]
    rows:
      c: {settings: {beta: 6}, paper: {meld: 80.0}}
  dies:
    table: "4"
    title: one of them dies
    script: Uni
    datasets: [meld]
    seeds: [1]
    rows:
      e: {settings: {beta: 5}}
      f: {settings: {beta: 0}}
  refused:
    table: "5"
    title: refused settings
    script: Uni
    datasets: [meld]
    rows:
      g: {settings: {beta: 9}}
"""


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository whose scripts end at once."""
    (tmp_path / "code").mkdir()
    script = tmp_path / "code" / "train_and_inference_Uni.sh"
    script.write_text(SCRIPT)
    (tmp_path / "write_results.py").write_text(WRITER)
    (tmp_path / "conditions.yaml").write_text(TABLE)
    (tmp_path / "README.md").write_text(
        "Above.\n<!-- results: begin -->\nold\n<!-- results: end -->\nBelow.\n", encoding="utf-8"
    )
    monkeypatch.setattr(experiment_utils.jobs, "read_knobs", lambda: ["beta", "learning_rate", "resume", "seed"])
    for module in (experiment_utils.jobs, experiment_utils.runner):
        monkeypatch.setattr(module, "find_repository", lambda: tmp_path)
    monkeypatch.setattr(experiment_utils.reports, "EXPERIMENTS", tmp_path / "experiments")
    monkeypatch.setattr(experiment_utils.reports, "README", tmp_path / "README.md")
    dialogue = Dialogue("d", tuple(Utterance(turn % 2, f"So {turn}.", LABELS[turn % 2]) for turn in range(10)))
    for module in (experiment_utils.reports, experiment_utils.records):
        monkeypatch.setattr(module, "load_dialogues", lambda *_: {"train": (), "test": (dialogue,)})
    experiment_utils.records.split_facts.cache_clear()
    return tmp_path


def call(repository: Path, *arguments: Any):
    return call_script(reproduce.main, "--conditions", repository / "conditions.yaml", *arguments)


def ran(repository: Path) -> list[str]:
    path = repository / "ran.txt"
    return path.read_text().splitlines() if path.exists() else []


def test_commands_are_printed_and_nothing_runs(repository: Path) -> None:
    result = call(repository, "--table", 1, "--dry-run")
    assert result.returncode == 0
    assert result.stdout.splitlines()[:2] == [
        "# exact/a/meld, seed 1",
        "beta=2 dataset=meld seed=1 bash code/train_and_inference_Uni.sh",
    ]
    assert result.stdout.count("bash ") == 4 and ran(repository) == []
    listed = call(repository, "--list").stdout.splitlines()
    assert len(listed) == 7 and listed[0] == "exact/a/meld; table 1; SmolLM2-135M; meld 80.00 ±0.5; 2 seeds"


def test_numbers_within_their_tolerance(repository: Path) -> None:
    result = call(repository, "--condition", "exact")
    assert result.returncode == 0, result.stderr
    assert ran(repository) == [f"meld {beta} {seed} no usual" for beta in (2, 4) for seed in (1, 2)]
    report = (repository / "experiments" / "REPORT.md").read_text()
    assert "| a | meld | 80.00 | **80.00** ± 0.00 (2 seeds) | +0.00 (within ±0.5) |" in report
    assert "| b | meld | 60.20 | **60.00** ± 0.00 (2 seeds) | -0.20 (within ±0.5) |" in report
    assert "| b | a | meld | -20.00 |" in report, "the comparison that the group asks for"
    assert "| c | meld | 80.00 | not run | - |" in report
    assert "Of 3 published numbers" in (repository / "README.md").read_text()
    log = (repository / "experiments" / "LOG.md").read_text().splitlines()
    assert len(log) == 6 + 4 and "| 0123456 | cpu, 2 cores | exact/a/meld, seed 1 | meld 80.00 | 50.00 |" in log[6]


def test_a_missed_number_ends_with_exit_code_1(repository: Path) -> None:
    result = call(repository, "--condition", "far")
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1] == "far/c/meld on meld: -40.00 (beyond ±0.5)"
    assert call(repository, "--condition", "same").returncode == 0, "others' misses are not its own"


def test_a_run_that_dies_leaves_the_others_going(repository: Path) -> None:
    result = call(repository, "--table", 4)
    assert result.returncode == 1 and len(ran(repository)) == 2
    assert "dies/e/meld, seed 1: failed, see" in result.stderr.splitlines()[-1]
    assert "| dies/e/meld, seed 1 | failed with exit status 3 |" in (repository / "experiments" / "LOG.md").read_text()
    scores = json.loads((repository / "experiments" / "scores.json").read_text())["runs"]
    assert [run["condition"] for run in scores] == ["dies/f/meld"]


def test_what_has_finished_is_not_run_again(repository: Path) -> None:
    call(repository, "--condition", "exact", "--seeds", 1)
    result = call(repository, "--condition", "exact", "--resume", "--jobs", 2)
    assert result.stderr.count("finished before") == 2
    assert sorted(ran(repository)[2:]) == ["meld 2 2 True usual", "meld 4 2 True usual"]
    changed = next(repository.glob("experiments/meld/beta_2-seed_1/results.json"))
    changed.write_text(changed.read_text() + " ")
    call(repository, "--condition", "exact", "--resume")
    assert ran(repository)[4:] == ["meld 2 1 True usual"], "results that the manifest does not know"
    call(repository, "--condition", "exact", "--seeds", 2)
    assert len(ran(repository)) == 7, "without --resume all is run"


def test_one_run_of_two_tables_is_run_once(repository: Path) -> None:
    call(repository, "--seeds", 1, "--condition", "exact/a")
    assert call(repository, "--table", 2, "--resume").stderr.count("finished before") == 1
    assert len(ran(repository)) == 1
    scores = json.loads((repository / "experiments" / "scores.json").read_text())["runs"]
    assert [run["condition"] for run in scores] == ["exact/a/meld", "same/a/meld"]


def test_settings_are_checked_before_the_first_run(repository: Path) -> None:
    assert_one_line_error(call(repository, "--table", 5), "refused/g/meld", "too much")
    assert_one_line_error(call(repository), "--condition")
    assert_one_line_error(call(repository, "--table", 17, "--dry-run"), "--table 17", "1, 2, 3")
    assert_one_line_error(call(repository, "--condition", "exact", "--seeds", "1,x"), "--seeds")
    assert ran(repository) == []


def test_other_settings_of_the_caller_do_not_reach_a_run(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("learning_rate", "7")
    monkeypatch.setenv("ERC_ORIGINAL_DATA", "/elsewhere")
    call(repository, "--condition", "same")
    assert ran(repository) == ["meld 2 1 no usual"]
    condition = next(iter(reproduce.list_conditions(reproduce.read_table(repository / "conditions.yaml")).values()))
    assert job_environment(Job(condition, 1))["ERC_ORIGINAL_DATA"] == "/elsewhere"


def test_two_conditions_are_compared(repository: Path) -> None:
    assert_one_line_error(
        call(repository, "--compare", "exact/a/meld", "exact/b/meld"), "exact/a/meld has not finished here"
    )
    call(repository, "--condition", "exact")
    lines = call(repository, "--compare", "exact/a/meld", "exact/b/meld").stdout.splitlines()
    assert lines[0] == "meld: exact/b/meld is -20.00 points from exact/a/meld"
    assert lines[-2:] == ["  McNemar, seed 1: p = 0.500", "  McNemar, seed 2: p = 0.500"]
    assert_one_line_error(call(repository, "--compare", "exact", "far/c/meld"), "in full")


def is_alive(group: int) -> bool:
    """Whether any process of a group is there."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def test_an_interrupt_stops_the_runs_and_goes_on(repository: Path) -> None:
    script = repository / "code" / "train_and_inference_Uni.sh"
    script.write_text('mkdir -p pids; echo $$ >"pids/$seed"; sleep 60 & wait\n')
    condition = reproduce.list_conditions(reproduce.read_table(repository / "conditions.yaml"))["exact/a/meld"]
    planned = [(Job(condition, seed), Plan(repository / f"results_{seed}", ())) for seed in (1, 2, 3)]
    threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        list(Runner(parallel=2).run(planned))
    pids = [int(path.read_text()) for path in (repository / "pids").iterdir()]
    assert len(pids) == 2, "the third was still waiting, and is not begun"
    deadline = time.monotonic() + 10
    while any(is_alive(pid) for pid in pids):
        assert time.monotonic() < deadline, "a run goes on"
        time.sleep(0.05)
    assert not list(repository.glob("results_*/condition.json"))
