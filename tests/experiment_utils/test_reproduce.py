"""reproduce.py: choosing, running, stopping and going on, and what a failed or missed number does."""

import errno
import os
import re
import shlex
import time
from pathlib import Path

import pytest

import reproduce
from commands import assert_one_line_error
from corpora import rows_of, write_own_corpus, write_table
from ended_scripts import call, make_repository, ran
from experiment_utils import runner
from experiment_utils.conditions import list_conditions, read_table
from experiment_utils.evidence import read_answers
from experiment_utils.records import Records, beside_file
from experiment_utils.runner import Job, Plan, Runner, job_environment, resolve
from knobs.checks import Place
from knobs.commands import DECIDED_BY_START, Commands
from knobs.environment import read_settings
from knobs.readers import WINDOW
from results.files import SELECTIONS
from scoring.beside import KINDS


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return make_repository(tmp_path, monkeypatch)


def test_commands_are_printed_and_nothing_runs(repository: Path) -> None:
    result = call(repository, "--table", 1, "--dry-run")
    assert result.returncode == 0
    assert result.stdout.splitlines()[:2] == [
        "# exact/a/meld, seed 1",
        "historical_window=2 dataset=meld seed=1 bash code/train_and_inference_Uni.sh",
    ]
    assert result.stdout.count("bash ") == 4 and ran(repository) == []
    listed = call(repository, "--list").stdout.splitlines()
    assert len(listed) == 10 and listed[0] == "exact/a/meld; table 1; SmolLM2-135M; meld 80.00 ±0.5; 2 seeds"
    assert any(line.startswith("far/c/meld; ") and line.endswith("; 1 seed") for line in listed)


def test_numbers_beside_the_papers(repository: Path) -> None:
    result = call(repository, "--condition", "exact", "far")
    assert result.returncode == 0, f"to miss a number is no failure: {result.stderr}"
    windows = [f"meld {window} {seed} no usual" for window in (2, 4) for seed in (1, 2)]
    assert ran(repository) == [*windows, "meld 6 1 no usual"]
    report = (repository / "experiments" / "REPORT.md").read_text()
    ours = re.findall(r"\| ([abc]) \| meld \| ([0-9.]+) \| (\*\*.+?) \((.+?);.+?\) \| [0-9.]+ \| (.+?) \|", report)
    assert ours == [
        ("a", "80.00", "**80.00**", "2 seeds", "+0.00, within the paper's spread"),
        ("b", "60.20", "**60.00**", "2 seeds", "-0.20, within the paper's spread"),
        ("c", "80.00", "**40.00**", "one seed", "-40.00, beyond the paper's spread"),
    ]
    assert "| b | a | meld | -20.00, -20.00 | -20.00 | - | - |" in report, "the comparison that the group asks for"
    assert "| one of them dies | 2 of 2 | 1 | `python code/reproduce.py --condition dies` |" in report
    readme = (repository / "README.md").read_text()
    meaning = "decode=generate, 2 seeds; minutes: meld 0 (2 cores)"
    assert f"ours: as published (`exact/a`) | - | 80.00 (0.00 to 100.00) | - | {meaning} |" in readme
    log = (repository / "experiments" / "LOG.md").read_text().splitlines()
    assert len(log) == 7 + 5 and "| 0123456 | cpu, 2 cores | exact/a/meld, seed 1 | meld 80.00 | 50.00 |" in log[7]


def test_one_run_of_two_datasets_is_scored_set_by_set(repository: Path) -> None:
    assert call(repository, "--condition", "mixed").returncode == 0
    report = (repository / "experiments" / "REPORT.md").read_text()
    found = re.findall(r"\| ([ij]) \| (\w+)†? \| (\*\*[0-9.]+\*\*) \(.+?\) \| [0-9.]+ \| (.+?) \|", report)
    assert found == [
        ("i", "meld", "**80.00**", "52.00, 52.00"),
        ("i", "EmoryNLP", "**60.00**", "48.00, 48.00"),
        ("j", "meld", "**60.00**", "52.00, 52.00"),
        ("j", "EmoryNLP", "**40.00**", "48.00, 48.00"),
    ]
    assert re.findall(r"\| j \| i \| (\w+) \| (\S+), ", report) == [("meld", "-20.00"), ("EmoryNLP", "-20.00")]
    assert "| mixed/i, seed 1 | meld 80.00, EmoryNLP 60.00 | 50.00 |" in (repository / "experiments/LOG.md").read_text()
    page = (repository / "experiments" / "report" / "index.html").read_text()
    assert "meld test, unified labels" in page and "EmoryNLP test, unified labels" in page


def test_answers_on_valid_are_kept_set_by_set(repository: Path) -> None:
    """Where a run has left them."""
    writer = repository / "write_results.py"
    more = """
with open(folder + "/predictions_valid.jsonl", "w") as stream:
    for name in sets:
        print(json.dumps({"id": f"{name}/v/0", "task": "", "target": "joyful", "label": "neutral"}), file=stream)
"""
    plain = writer.read_text()
    writer.write_text(plain + more)
    assert call(repository, "--condition", "mixed/i").returncode == 0
    kept = repository / "experiments/predictions/mixed/i"
    for dataset in ("meld", "EmoryNLP"):
        for seed in (1, 2):
            answers = read_answers(kept / f"{dataset}-seed_{seed}.valid.csv.gz")
            assert {name: answer.label for name, answer in answers.items()} == {f"{dataset}/v/0": "neutral"}
    writer.write_text(plain + '\nimport os\nos.unlink(folder + "/predictions_valid.jsonl")\n')
    assert call(repository, "--condition", "mixed/i").returncode == 0
    assert [path.name for path in kept.glob("*.valid.csv.gz")] == [], "of an earlier run"


def test_an_epoch_that_was_chosen_on_test_is_said_so(repository: Path) -> None:
    """And its score there is none on valid."""
    writer = repository / "write_results.py"
    on_test = SELECTIONS["test"].replace("'", "\\'")
    writer.write_text(writer.read_text().replace('"selection": "chosen on valid"', f"\"selection\": '{on_test}'"))
    assert call(repository, "--condition", "exact", "--seeds", 1).returncode == 0
    assert Records.read(repository / "experiments").of("exact/a/meld")[0].valid is None
    report = (repository / "experiments" / "REPORT.md").read_text()
    assert "(one seed; 0.00 to 100.00; epoch chosen on TEST)" in report and " 50.00 |" not in report
    assert "80.00 (0.00 to 100.00); epoch chosen on TEST |" in (repository / "README.md").read_text()
    assert "exact/a/meld, seed 1 | meld 80.00 | - |" in (repository / "experiments" / "LOG.md").read_text()


@pytest.mark.parametrize("kind", KINDS)
def test_what_evidence_came_to_stays_as_long_as_the_answers_do(kind: str, repository: Path) -> None:
    assert call(repository, "--condition", "exact/a", "--seeds", 1).returncode == 0
    run = Records.read(repository / "experiments").of("exact/a/meld")[0]
    assert run.weights == "wheel"
    beside = beside_file(repository / "experiments", run.condition, "meld", 1, kind)
    beside.write_text(run.counts["meld"].write(), encoding="utf-8")
    assert call(repository, "--report").returncode == 0 and beside.is_file()
    writer = repository / "write_results.py"
    writer.write_text(writer.read_text().replace("turn >= wrong", "turn < 10 - wrong"))
    assert call(repository, "--condition", "exact/a", "--seeds", 1).returncode == 0
    assert not beside.exists(), "as many are right, but others"


def test_a_run_that_dies_leaves_the_others_going(repository: Path) -> None:
    result = call(repository, "--table", 4)
    assert result.returncode == 1 and len(ran(repository)) == 2
    assert "dies/e/meld, seed 1: failed, see" in result.stderr.splitlines()[-1]
    assert "| dies/e/meld, seed 1 | failed with exit status 3 |" in (repository / "experiments" / "LOG.md").read_text()
    assert [run.condition for run in Records.read(repository / "experiments").runs] == ["dies/f/meld"]


def test_what_has_finished_by_other_code_is_run_again(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its commands are the same, and no report would know it."""
    call(repository, "--condition", "same")
    monkeypatch.setattr(runner, "ROWS_VERSION", runner.ROWS_VERSION + 1)
    result = call(repository, "--condition", "same", "--resume")
    assert "finished before" not in result.stderr and ran(repository)[1:] == ["meld 2 1 True usual"]


def test_what_has_finished_on_other_dialogues_is_run_again(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus = write_own_corpus(tmp_path / "original" / "mine")
    monkeypatch.setenv("ERC_ORIGINAL_DATA", str(tmp_path / "original"))
    conditions = repository / "conditions.yaml"
    conditions.write_text(conditions.read_text().replace("datasets: [iemocap]", "datasets: [mine]"))
    call(repository, "--condition", "elsewhere")
    assert "finished before" in call(repository, "--condition", "elsewhere", "--resume").stderr
    write_table(corpus / "train.csv", rows_of("train", 12, seed=1))
    assert "finished before" not in call(repository, "--condition", "elsewhere", "--resume").stderr


@pytest.mark.parametrize(
    ("flags", "unread"),
    [
        (("--report", "--condition", "exact", "--seeds", 1), "--condition, --seeds: not read beside --report"),
        (("--check", "--resume"), "--resume: not read beside --check"),
        (("--list", "--table", 1, "--jobs", 2), "--jobs: not read beside --list"),
        (("--list", "--report"), "--report: not read beside --list"),
    ],
)
def test_what_nothing_reads_is_refused(repository: Path, flags: tuple, unread: str) -> None:
    assert_one_line_error(call(repository, *flags), unread)


def test_conditions_need_a_suffix(repository: Path) -> None:
    (repository / "mine").write_text((repository / "conditions.yaml").read_text())
    told = call(repository, "--condition", "same", conditions="mine")
    assert_one_line_error(told, "mine, which is a file; call it NAME.yaml")
    assert ran(repository) == []


def test_a_report_of_ones_own_conditions_names_their_file(repository: Path) -> None:
    own = repository / "my own.yaml"
    own.write_text((repository / "conditions.yaml").read_text())
    call(repository, "--condition", "same", conditions=own.name)
    report = (repository / "my own" / "REPORT.md").read_text()
    command = f"python code/reproduce.py --conditions '{own}'"
    assert all(f"`{command} {ending}`" in report for ending in ("--report", "--check", "--condition dies"))
    assert "Reported by others" not in report and "`python code/reproduce.py --" not in report.replace(command, "")


def test_what_has_finished_is_not_run_again(repository: Path) -> None:
    call(repository, "--condition", "exact", "--seeds", 1)
    result = call(repository, "--condition", "exact", "--resume", "--jobs", 2)
    assert result.stderr.count("finished before") == 2
    assert sorted(ran(repository)[2:]) == ["meld 2 2 True usual", "meld 4 2 True usual"]
    changed = next(repository.glob("experiments/meld/historical_window_2-seed_1/results.json"))
    changed.write_text(changed.read_text() + " ")
    call(repository, "--condition", "exact", "--resume")
    assert ran(repository)[4:] == ["meld 2 1 True usual"], "results that the manifest does not know"
    call(repository, "--condition", "exact", "--seeds", 2)
    assert len(ran(repository)) == 7, "without --resume all is run"


def test_one_run_of_two_tables_is_run_once(repository: Path) -> None:
    call(repository, "--seeds", 1, "--condition", "exact/a")
    assert call(repository, "--table", 2, "--resume").stderr.count("finished before") == 1
    assert len(ran(repository)) == 1
    assert [run.condition for run in Records.read(repository / "experiments").runs] == ["exact/a/meld", "same/a/meld"]


def test_settings_are_checked_before_the_first_run(repository: Path) -> None:
    assert_one_line_error(call(repository, "--table", 5), "refused/g/meld", "too much")
    assert_one_line_error(call(repository), "--condition")
    assert_one_line_error(call(repository, "--table", 17, "--dry-run"), "--table 17", "1, 2, 3")
    assert_one_line_error(call(repository, "--condition", "exact", "--seeds", "1,x"), "--seeds")
    assert ran(repository) == []


def test_other_settings_of_the_caller_do_not_reach_a_run(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("learning_rate", "7")
    monkeypatch.setenv("ERC_ORIGINAL_DATA", "/elsewhere")
    told = call(repository, "--condition", "same").stderr.splitlines()[0]
    assert told.startswith("not heeded: learning_rate, set before the command; ") and "ERC_ORIGINAL_DATA" not in told
    assert ran(repository) == ["meld 2 1 no usual"]
    condition = next(iter(reproduce.list_conditions(reproduce.read_table(repository / "conditions.yaml")).values()))
    assert job_environment(Job(condition, 1))["ERC_ORIGINAL_DATA"] == "/elsewhere"


CHAIN = """
groups:
  chain:
    table: c
    title: each from the model of the one before
    script: Uni
    datasets: [meld]
    seeds: [1]
    rows:
      third: {start_from: "chain/second/{dataset}", settings: {historical_window: 4}}
      second: {start_from: "chain/first/{dataset}", settings: {historical_window: 2}}
      first: {settings: {historical_window: 0}}
      alone: {settings: {historical_window: 6}}
"""


@pytest.mark.parametrize("jobs", [1, 3])
def test_a_run_waits_for_the_one_from_whose_model_it_goes_on(repository: Path, jobs: int) -> None:
    (repository / "chain.yaml").write_text(CHAIN)
    script = repository / "code" / "train_and_inference_Uni.sh"
    script.write_text(script.read_text().replace("mkdir -p", "sleep 0.3; mkdir -p"))
    result = call(repository, "--condition", "chain", "--jobs", jobs, conditions="chain.yaml")
    assert result.returncode == 0, result.stderr
    order = [line.split()[1] for line in ran(repository) if "meld 6" not in line]
    assert order == ["0", "2", "4"] and len(ran(repository)) == 4


def test_a_run_that_cannot_begin_ends_all(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though the next has begun before anybody looks at how the first has ended."""

    def fail(names: object) -> None:
        begun.append(names)
        raise OSError(errno.EIO, os.strerror(errno.EIO), "pickle")

    def look(*given: object, **named: object) -> object:
        found, given_up = wait(*given, **named), time.monotonic() + 60
        while len(begun) < 2:
            if time.monotonic() > given_up:
                asked.places.put({})
                pytest.fail("the second waits for the place of the first")
            time.sleep(0.01)
        return found

    begun, wait, asked = [], runner.wait, Runner()
    condition = list_conditions(read_table(repository / "conditions.yaml"))["exact/a/meld"]
    monkeypatch.setattr(runner, "digest_sources", fail)
    monkeypatch.setattr(runner, "wait", look)
    with pytest.raises(OSError, match="pickle"):
        list(asked.run([(Job(condition, seed), Plan(repository / f"results_{seed}", ())) for seed in (1, 2)]))


def test_a_run_whose_start_failed_is_not_begun(repository: Path) -> None:
    """Else it would go on from whatever an earlier run has left there."""
    (repository / "chain.yaml").write_text(CHAIN.replace("historical_window: 0", "historical_window: 5"))
    result = call(repository, "--condition", "chain", conditions="chain.yaml")
    assert result.returncode == 1 and sorted(line.split()[1] for line in ran(repository)) == ["5", "6"]
    held = "not begun, as the run whose model it goes on from has not finished"
    for name, start in (("second", "first"), ("third", "second")):
        assert f"chain/{name}/meld, seed 1: {held}: chain/{start}/meld, seed 1" in result.stderr.splitlines()
    assert "second" not in (repository / "chain" / "LOG.md").read_text()


def test_a_run_whose_start_is_not_there_is_not_begun(repository: Path) -> None:
    (repository / "chain.yaml").write_text(CHAIN)
    result = call(repository, "--condition", "chain/second", conditions="chain.yaml")
    assert result.returncode == 1 and ran(repository) == []
    assert result.stderr.splitlines()[-1].endswith("has not finished: chain/first/meld, seed 1")
    start = resolve(Job(list_conditions(read_table(repository / "chain.yaml"))["chain/first/meld"], 1))
    done = repository / "experiments" / start.result
    done.mkdir(parents=True)
    (done / "results.json").touch()
    assert call(repository, "--condition", "chain/second", conditions="chain.yaml").returncode == 0


def test_a_run_that_goes_on_from_a_model_made_anew_is_run_again(repository: Path) -> None:
    """From its beginning: what it had saved on the way was of the model that was there before."""
    (repository / "chain.yaml").write_text(CHAIN)
    assert call(repository, "--condition", "chain", conditions="chain.yaml").returncode == 0
    call(repository, "--condition", "chain", "--resume", conditions="chain.yaml")
    assert len(ran(repository)) == 4, "all has finished"
    (first,) = repository.glob("experiments/meld/historical_window_0-*/results.json")
    first.unlink()
    assert call(repository, "--condition", "chain", "--resume", conditions="chain.yaml").returncode == 0
    assert ran(repository)[4:] == ["meld 0 1 True usual", "meld 2 1 no usual", "meld 4 1 no usual"]


def test_a_run_whose_start_another_call_has_made_anew_is_run_again(repository: Path) -> None:
    (repository / "chain.yaml").write_text(CHAIN)
    start = resolve(Job(list_conditions(read_table(repository / "chain.yaml"))["chain/first/meld"], 1))
    done = repository / "experiments" / start.result
    done.mkdir(parents=True)
    (done / "results.json").write_text("{}")
    for _ in range(2):
        call(repository, "--condition", "chain/second", "--resume", conditions="chain.yaml")
    assert len(ran(repository)) == 1
    (done / "results.json").write_text("{ }")
    call(repository, "--condition", "chain/second", "--resume", conditions="chain.yaml")
    assert len(ran(repository)) == 2
    (done / "results.json").unlink()
    told = call(repository, "--condition", "chain/second", "--resume", conditions="chain.yaml").stderr
    assert "finished before" in told, "of what is no longer there nothing is known"


def test_a_run_is_the_same_before_and_after_its_start_is_there(tmp_path: Path) -> None:
    """The scripts name rank and the like only as long as no checkpoint has them."""
    start = tmp_path / "checkpoint" / "first"
    start.mkdir(parents=True)
    settings = {"dataset": "sample", "checkpoint_dir": "checkpoint/first"}
    commands = Commands(read_settings(WINDOW, settings, Place(tmp_path, tmp_path))[0])

    def step() -> str:
        return f"python code/main_new.py {shlex.join(commands.main_flags())}"

    before = step()
    for name in DECIDED_BY_START:
        (start / name).write_text("{}")
    assert "--lora_dim" in before and "--lora_dim" not in step()
    assert runner.comparable_steps([before]) == runner.comparable_steps([step()])
    other = before.replace("--seed 42", "--seed 43")
    assert runner.comparable_steps([before]) != runner.comparable_steps([other])
