"""reproduce.py: comparing, what is refused among others, and being stopped."""

import json
import os
import re
import shutil
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

import reproduce
from basics.errors import UserError
from commands import assert_one_line_error
from corpora import write_own_corpus
from ended_scripts import call, make_repository, ran
from experiment_utils.conditions import Condition
from experiment_utils.records import BASELINES, Records
from experiment_utils.runner import Job, Plan, Runner, comparable_steps
from knobs.gpus import share_out
from scoring.baseline_table import baseline_plan


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return make_repository(tmp_path, monkeypatch)


def test_two_conditions_are_compared(repository: Path) -> None:
    names = ("exact/a/meld", "exact/b/meld")
    assert_one_line_error(call(repository, "--compare", *names), "exact/a/meld has no record")
    call(repository, "--condition", "exact")
    assert call(repository, "--compare", *names).stdout.splitlines() == [
        "meld: exact/b/meld is -20.00 points from exact/a/meld",
        "  seed 1: -20.00; of these two models, p by permuting whole dialogues: 1.000",
        "  seed 2: -20.00; of these two models, p by permuting whole dialogues: 1.000",
        "  fewer than 3 seeds: nothing can be said of other seeds",
    ], "one dialogue alone proves nothing"
    call(repository, "--condition", "exact", "--seeds", 3)
    of_one = "  one dialogue: nothing can be said of other dialogues"
    assert call(repository, "--compare", *names).stdout.splitlines()[-1] == of_one
    assert_one_line_error(call(repository, "--compare", "exact", "far/c/meld"), "in full")
    assert_one_line_error(call(repository, "--compare", "exact/a/meld", "elsewhere/h/iemocap"), "in common")
    assert_one_line_error(call(repository, "--compare", "exact/a/meld", "exact/z"), "no condition is called exact/z or")


def test_known_answers_come_to_known_counts(repository: Path) -> None:
    """Two of ten wrong, one of each label."""
    call(repository, "--condition", "exact")
    record = Records.read(repository / "experiments").of("exact/a/meld")[0]
    assert record.counts["meld"].confusion.tolist() == [[4, 1, 0], [1, 4, 0]] and record.score("meld") == 80.0
    counts = (repository / "experiments" / "runs" / "exact/a/meld" / "meld-seed_1.csv").read_text().splitlines()
    assert counts == [
        "dialogue,label,answer,count",
        "meld/d,neutral,neutral,4",
        "meld/d,neutral,joyful,1",
        "meld/d,joyful,neutral,1",
        "meld/d,joyful,joyful,4",
    ]


def test_committed_answers_make_the_committed_counts(
    repository: Path, pickles: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ERC_ORIGINAL_DATA", str(pickles))
    call(repository, "--condition", "exact", "--seeds", 1)
    assert call(repository, "--check").returncode == 0
    counts = repository / "experiments" / "runs" / "exact/b/meld" / "meld-seed_1.csv"
    counts.write_text(counts.read_text().replace("meld/d,joyful,joyful,3", "meld/d,joyful,joyful,2\nmeld/d,joyful,,1"))
    checked = call(repository, "--check")
    assert checked.returncode == 1
    assert checked.stdout.startswith("exact/b/meld, meld, seed 1: the answers make other counts")


def test_a_run_on_valid_that_chose_nothing_there_is_fine(repository: Path) -> None:
    """As zero-shot: no score on valid stands in its record that answers could make otherwise."""
    writer = repository / "write_results.py"
    changes = {
        '"split": "test"': '"split": "valid"',
        "chosen on valid": "no training",
        '"best_epoch": 1': '"best_epoch": 0',
    }
    content = writer.read_text()
    for old, new in changes.items():
        content = content.replace(old, new)
    writer.write_text(content)
    call(repository, "--condition", "exact", "--seeds", 1)
    checked = call(repository, "--check")
    assert checked.returncode == 0, checked.stdout


def test_a_report_needs_the_committed_files_alone(repository: Path) -> None:
    call(repository, "--condition", "exact", "--seeds", "1,2,3")
    made = repository / "experiments"
    report = (made / "REPORT.md").read_bytes()
    for folder in (made / "meld", made / "figures", made / "report"):
        shutil.rmtree(folder)
    (made / "REPORT.md").unlink()
    assert call(repository, "--report").returncode == 0
    assert (made / "REPORT.md").read_bytes() == report and b"(3 seeds;" in report


def test_runs_of_other_settings_are_said_to_be_stale(repository: Path) -> None:
    call(repository, "--condition", "exact", "--seeds", 1)
    table = (repository / "conditions.yaml").read_text()
    (repository / "conditions.yaml").write_text(
        table.replace("a: {settings: {historical_window: 2}, paper", "a: {settings: {historical_window: 3}, paper")
    )
    call(repository, "--report")
    report = (repository / "experiments" / "REPORT.md").read_text()
    assert report.count("STALE, of other settings or dialogues than today's: seed 1") == 2, (
        "of all systems, and of its group"
    )
    assert re.search(r"\| a \| meld \| 80.00 \| .*STALE", report)


def test_runs_on_other_dialogues_of_ones_own_are_said_to_be_stale(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ERC_ORIGINAL_DATA", str(repository / "original"))
    corpus = write_own_corpus(repository / "original" / "mine")
    rows = "first: {settings: {historical_window: 2}}"
    head = "{table: a, title: of ones own, script: Uni, seeds: [1], datasets: [mine], rows: {" + rows + "}}"
    (repository / "own.yaml").write_text(f"groups: {{own: {head}}}\n")
    assert call(repository, "--condition", "own", conditions="own.yaml").returncode == 0
    report = repository / "own" / "REPORT.md"
    assert "| first | mine | " in report.read_text() and "STALE" not in report.read_text()
    record = Records.read(repository / "own").of("own/first/mine")[0]
    replace(record, condition=f"{BASELINES}/majority/mine", seed=0, plan=baseline_plan("majority")).write(
        repository / "own", {"mine": {}}
    )
    assert call(repository, "--report", conditions="own.yaml").returncode == 0
    assert "majority" in report.read_text() and "STALE" not in report.read_text()
    with (corpus / "train.csv").open("a") as stream:
        stream.write("\n")
    assert call(repository, "--report", conditions="own.yaml").returncode == 0
    stale = [line for line in report.read_text().splitlines() if "STALE, of other settings or dialogues" in line]
    assert all(any(name in line for line in stale) for name in ("| first | mine", "majority |")), stale


def test_what_a_corpus_of_ones_own_is_scored_by_is_said(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ERC_ORIGINAL_DATA", str(repository / "original"))
    corpus = write_own_corpus(repository / "original" / "mine")
    text = (corpus / "corpus.yaml").read_text()
    (corpus / "corpus.yaml").write_text(f"{text}metric: micro_f1_without_neutral\n")
    rows = "first: {settings: {historical_window: 2}}"
    head = "{table: a, title: of ones own, script: Uni, seeds: [1], datasets: [mine], rows: {" + rows + "}}"
    (repository / "own.yaml").write_text(f"groups: {{own: {head}}}\n")
    assert call(repository, "--condition", "own", conditions="own.yaml").returncode == 0
    for page in ("REPORT.md", "report/index.html"):
        assert " On mine the score is micro F1 without " in (repository / "own" / page).read_text()


def test_refused_settings_leave_the_others_going(repository: Path) -> None:
    table = (repository / "conditions.yaml").read_text()
    (repository / "conditions.yaml").write_text(table.replace('table: "4"', 'table: "5"'))
    result = call(repository, "--table", 5)
    assert result.returncode == 1 and ran(repository) == ["meld 5 1 no usual", "meld 0 1 no usual"]
    assert [line.split(":")[0] for line in result.stderr.splitlines()[-4:]] == [
        *(f"refused/g/meld, seed {seed}" for seed in (42, 43, 44)),
        "dies/e/meld, seed 1",
    ]


def test_a_misspelt_setting_is_refused(repository: Path) -> None:
    table = (repository / "conditions.yaml").read_text()
    (repository / "conditions.yaml").write_text(
        table.replace("h: {settings: {historical_window: 2}}", "h: {settings: {betta: 2}}")
    )
    refused = call(repository, "--condition", "elsewhere")
    assert_one_line_error(refused, "elsewhere/h/iemocap", "no setting is called betta")
    assert ran(repository) == []


def test_other_conditions_leave_the_results_of_the_repository_alone(repository: Path) -> None:
    call(repository, "--condition", "same")
    before = {path: path.read_bytes() for path in (repository / "experiments").glob("*.*")}
    before[repository / "README.md"] = (repository / "README.md").read_bytes()
    (repository / "mine.yaml").write_text((repository / "conditions.yaml").read_text().replace("same:", "mine:"))
    result = call(repository, "--condition", "mine", "--seeds", 3, conditions="mine.yaml")
    assert result.returncode == 0, result.stderr
    assert {path: path.read_bytes() for path in before} == before
    assert "| a | meld | **80.00** (2 seeds;" in (repository / "mine" / "REPORT.md").read_text()
    assert "| mine/a/meld, seed 3 |" in (repository / "mine" / "LOG.md").read_text()
    assert (repository / "mine" / "report" / "index.html").is_file()


def test_minutes_of_a_part_are_not_those_of_the_whole(repository: Path) -> None:
    folder = repository / "experiments" / "meld" / "historical_window_2-seed_1"
    folder.mkdir(parents=True)
    call(repository, "--condition", "same", "--resume")
    assert json.loads((folder / "condition.json").read_text())["seconds"] is None
    (run,) = Records.read(repository / "experiments").of("same/a/meld")
    assert run.minutes is None
    call(repository, "--condition", "same")
    assert json.loads((folder / "condition.json").read_text())["seconds"] > 0


def test_seeds_that_were_asked_for_once_stay_in_the_report(repository: Path) -> None:
    call(repository, "--condition", "exact", "--seeds", "1,2,7")
    assert call(repository, "--report").returncode == 0
    report = (repository / "experiments" / "REPORT.md").read_text()
    assert "| a | meld | 80.00 | **80.00** ± 0.00 (3 seeds; " in report, "the mean and its interval are of all seeds"
    assert "| b | a | meld | -20.00, -20.00, -20.00 | -20.00 | - | - |" in report


def test_one_run_is_the_same_however_it_is_computed() -> None:
    plain = '"$python" code/main_new.py --data_dir "$rows" --seed 42 --token_budget 4 --resume False'
    many = (
        '"$python" -m deepspeed.launcher.runner --num_accelerators 2 code/main_new.py --data_dir "$rows" --seed 42 '
        "--offload_optimizer True --resume False --deepspeed_config code/data_utils/deepspeed_config.json"
    )
    assert comparable_steps([f"{plain} --processes 4"]) == comparable_steps([plain])
    elsewhere = "export ERC_ORIGINAL_DATA=/home/me/code/data"
    found = comparable_steps([elsewhere, many])
    assert found == comparable_steps([plain]) == comparable_steps(found)
    assert comparable_steps([plain]) != comparable_steps([plain.replace("42", "43")])


def test_a_run_is_stopped_with_what_it_started(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = repository / "code" / "train_and_inference_Uni.sh"
    slow = "echo $$ >pid; sleep 600 & wait\n"
    script.write_text(script.read_text().replace('echo "$sets', f'{slow}echo "$sets'))
    assert slow in script.read_text()
    threading.Thread(target=terminate_once_there, args=(repository / "pid",)).start()
    result = call(repository, "--condition", "same")
    assert result.returncode == 128 + signal.SIGTERM
    wait_until_gone(int((repository / "pid").read_text()))


def test_a_stopped_run_has_saved_when_the_call_ends(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The shell that started it is gone at once; what it started takes its time, and is waited for."""
    script = repository / "code" / "train_and_inference_Uni.sh"
    saving = "bash -c 'trap \"sleep 1; touch saved; exit\" TERM; echo $$ >pid; for ((;;)); do sleep 0.05; done'\n"
    script.write_text(script.read_text().replace('echo "$sets', f'{saving}echo "$sets'))
    threading.Thread(target=terminate_once_there, args=(repository / "pid",)).start()
    result = call(repository, "--condition", "same")
    assert result.returncode == 128 + signal.SIGTERM
    assert result.stderr.splitlines()[-1] == "stopped by SIGTERM; the same command with --resume goes on"
    assert (repository / "saved").exists()


def terminate_once_there(path: Path) -> None:
    """Sends this process what `kill` sends, as soon as the file holds something; nothing if it does not in a minute."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if path.exists() and path.read_text():
            os.kill(os.getpid(), signal.SIGTERM)
            return
        time.sleep(0.05)


def interrupt_once_there(folder: Path, files: int) -> None:
    """Sends this process what Ctrl-C sends, as soon as a folder has so many files with something in them."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if sum(bool(path.read_text()) for path in folder.glob("*")) == files:
            os.kill(os.getpid(), signal.SIGINT)
            return
        time.sleep(0.05)


def is_alive(group: int) -> bool:
    """Whether any process of a group is there."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def wait_until_gone(group: int) -> None:
    """Fails after a minute."""
    deadline = time.monotonic() + 60
    while is_alive(group):
        assert time.monotonic() < deadline, "a run goes on"
        time.sleep(0.05)


def test_an_interrupt_stops_the_runs_and_goes_on(repository: Path) -> None:
    script = repository / "code" / "train_and_inference_Uni.sh"
    script.write_text('mkdir -p pids; echo $$ >"pids/$seed"; sleep 600 & wait\n')
    condition = exact_condition(repository)
    planned = [(Job(condition, seed), Plan(repository / f"results_{seed}", ())) for seed in (1, 2, 3)]
    threading.Thread(target=interrupt_once_there, args=(repository / "pids", 2)).start()
    with pytest.raises(KeyboardInterrupt):
        list(Runner(parallel=2).run(planned))
    pids = [int(path.read_text()) for path in (repository / "pids").iterdir()]
    assert len(pids) == 2, "the third was still waiting, and is not begun"
    for pid in pids:
        wait_until_gone(pid)
    assert not list(repository.glob("results_*/condition.json"))


class LateAdded(set):
    """Of runs: one that has begun is not in it before the others are told to stop."""

    def __init__(self, runner: Runner) -> None:
        super().__init__()
        self.runner = runner

    def add(self, run: object) -> None:
        given_up = time.monotonic() + 120
        while not self.runner.stopping and time.monotonic() < given_up:
            time.sleep(0.01)
        super().add(run)


def test_a_run_that_begins_while_others_are_stopped_is_stopped_too(repository: Path) -> None:
    script = repository / "code" / "train_and_inference_Uni.sh"
    script.write_text('trap "touch told; exit 143" TERM; mkdir -p pids; echo $$ >"pids/$seed"; sleep 60 & wait\n')
    condition = exact_condition(repository)
    runner = Runner()
    runner.running = LateAdded(runner)
    threading.Thread(target=interrupt_once_there, args=(repository / "pids", 1)).start()
    with pytest.raises(KeyboardInterrupt):
        list(runner.run([(Job(condition, 1), Plan(repository / "results_1", ()))]))
    assert (repository / "told").exists(), "it has come to its end"
    wait_until_gone(int((repository / "pids" / "1").read_text()))


class SlowlyAdded(set):
    """Of runs: one that has begun is told to stop before whoever began it looks whether all are."""

    def __init__(self, runner: Runner) -> None:
        super().__init__()
        self.runner = runner

    def add(self, run: object) -> None:
        super().add(run)
        given_up = time.monotonic() + 120
        while not self.runner.stopping and time.monotonic() < given_up:
            time.sleep(0.01)
        time.sleep(1)


def exact_condition(repository: Path) -> Condition:
    return reproduce.list_conditions(reproduce.read_table(repository / "conditions.yaml"))["exact/a/meld"]


def test_a_run_that_has_just_begun_is_told_once(repository: Path) -> None:
    """A second signal would take away its time to save."""
    script = repository / "code" / "train_and_inference_Uni.sh"
    script.write_text(
        'trap "echo >>told" TERM; mkdir -p pids; echo $$ >"pids/$seed"\n'
        "while [[ ! -e told ]]; do sleep 0.1; done; for turn in {1..30}; do sleep 0.1; done\n"
    )
    condition = exact_condition(repository)
    runner = Runner()
    runner.running = SlowlyAdded(runner)
    threading.Thread(target=interrupt_once_there, args=(repository / "pids", 1)).start()
    with pytest.raises(KeyboardInterrupt):
        list(runner.run([(Job(condition, 1), Plan(repository / "results_1", ()))]))
    assert (repository / "told").read_text() == "\n"


def test_runs_at_once_have_gpus_and_a_port_of_their_own(repository: Path) -> None:
    """Three at a time on seven GPUs, nine in all: whatever runs together shares nothing."""
    script = repository / "code" / "train_and_inference_Uni.sh"
    script.write_text(
        'mkdir -p told; echo "$CUDA_VISIBLE_DEVICES $MASTER_PORT" >"told/$seed"; echo "$seed begins" >>order\n'
        'sleep 0.2; echo "$seed ends" >>order; mkdir -p "results_$seed"; echo {} >"results_$seed/results.json"\n'
    )
    condition = exact_condition(repository)
    planned = [(Job(condition, seed), Plan(repository / f"results_{seed}", ())) for seed in range(1, 10)]
    outcomes = list(Runner(parallel=3, gpus=tuple("1234567")).run(planned))
    assert [outcome.code for outcome in outcomes] == [0] * 9
    told = {path.name: path.read_text().split() for path in (repository / "told").iterdir()}
    assert {gpus for gpus, _ in told.values()} <= {"1,2", "3,4", "5,6"} and len(told) == 9
    running: set[str] = set()
    for line in (repository / "order").read_text().splitlines():
        seed, what = line.split()
        (running.add if what == "begins" else running.remove)(seed)
        for place in zip(*(told[one] for one in running), strict=True):
            assert len(set(place)) == len(running)


def test_more_runs_at_once_than_gpus_are_refused() -> None:
    with pytest.raises(UserError, match="--jobs 4: 2 visible GPUs, and each run takes one; give 2 or fewer"):
        Runner(parallel=4, gpus=("0", "1"))
    assert [set(place) for place in share_out(2, ())] == [{"MASTER_PORT"}] * 2
    assert share_out(1, ("0", "1")) == [{}]
