"""The table of experiments: every row is a run that the scripts accept, every published number is there once."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

import settings
from basics.errors import UserError
from commands import call_script
from corpora import write_own_corpus
from experiment_utils import runner
from experiment_utils.conditions import choose_conditions, list_conditions, read_table
from experiment_utils.runner import PASSED_ON, ROWS_OF_SCRIPT, Job, make_job, plan_digest, plan_job, resolve
from knobs.table import KNOBS
from shell_checkout import ShellCheckout

TABLE = read_table()
CONDITIONS = list_conditions(TABLE)

SMALL = """
groups:
  one:
    table: "1"
    title: a group
    script: Uni
    datasets: [meld]
    compare_with: first
    rows:
      first: {}
      second: {settings: {domain_base: true, beta: 0.5}, paper: {meld: 60.5, iemocap: 70}}
"""


def write_table(folder: Path, text: str) -> Path:
    path = folder / "conditions.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_row_becomes_a_condition_for_each_dataset(tmp_path: Path) -> None:
    found = list_conditions(read_table(write_table(tmp_path, SMALL.replace("compare_with: first", ""))))
    assert list(found) == ["one/first/meld", "one/second/meld", "one/second/iemocap"]
    second = found["one/second/meld"]
    assert dict(second.settings) == {"domain_base": "True", "beta": "0.5", "dataset": "meld"}
    assert dict(second.paper) == {"meld": 60.5} and second.group.tolerance == 0.5 and second.group.seeds == (42, 43, 44)


def test_a_setting_may_hold_the_dataset_of_the_run(tmp_path: Path) -> None:
    text = SMALL.replace("first: {}", 'first: {settings: {encoder: "encoders/{dataset}/best"}}')
    text = text.replace("[meld]", "[meld, EmoryNLP]").replace("compare_with: first", "")
    found = list_conditions(read_table(write_table(tmp_path, text)))
    assert [found[f"one/first/{name}"].settings["encoder"] for name in ("meld", "EmoryNLP")] == [
        "encoders/meld/best",
        "encoders/EmoryNLP/best",
    ]


def test_the_row_that_others_are_compared_with(tmp_path: Path) -> None:
    text = SMALL.replace(", iemocap: 70", "")
    found = list_conditions(read_table(write_table(tmp_path, text)))
    assert found["one/first/meld"].compared_with is None
    assert found["one/second/meld"].compared_with == "one/first/meld"


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("script: Uni", "script: Unix", "groups.one.script"),
        ("title: a group", "titel: a group", "groups.one.titel"),
        ("title: a group", "title: a group\n    seeds: [42, 43, 42]", "groups.one.seeds: .*one stands there twice"),
        ("first: {}", "the first: {}", "groups.one.rows"),
        ("rows:", "rows: [", "cannot be read as YAML"),
        ("first: {}", "first: {}\n      first: {}", "as YAML: line [0-9]+: first stands there twice, allowed is once"),
        ("meld: 60.5", "mled: 60.5", "unknown dataset mled"),
        ("compare_with: first", "compare_with: third", "one/third/meld, which is no condition"),
        (
            "script: Uni",
            "script: Mixed\n    varied: none",
            "one/first: its setting datasets is not there, and what it sc",
        ),
        (
            "script: Uni",
            'script: Mixed\n    varied: none\n    settings: {datasets: "meld,sample"}',
            "datasets is meld,sample, and what it scores is meld;",
        ),
    ],
)
def test_a_wrong_table_is_refused_in_one_line(tmp_path: Path, old: str, new: str, words: str) -> None:
    assert old in SMALL
    with pytest.raises(UserError, match=words):
        list_conditions(read_table(write_table(tmp_path, SMALL.replace(old, new).replace(", iemocap: 70", ""))))


def test_choosing(tmp_path: Path) -> None:
    assert {one.group.table for one in choose_conditions(CONDITIONS, table="2")} == {"2"}
    assert len(choose_conditions(CONDITIONS, names=["plain/LLaMA2"])) == 3
    assert [one.name for one in choose_conditions(CONDITIONS, names=["plain/LLaMA2/meld"])] == ["plain/LLaMA2/meld"]
    several = ["small/window", "small/plain/meld", "small/window/meld"]
    assert [one.name for one in choose_conditions(CONDITIONS, names=several)] == [
        *(f"small/window/{dataset}" for dataset in ("iemocap", "meld", "EmoryNLP")),
        "small/plain/meld",
    ]
    for wanted in ({"table": "99"}, {"names": ["plain", "plain/LLa"]}):
        with pytest.raises(UserError, match="ablation"):
            choose_conditions(CONDITIONS, **wanted)
    with pytest.raises(UserError, match="small/window"):
        choose_conditions(CONDITIONS, table="sample", names=["small/window"])


def published(name: str) -> list[float]:
    return [score for one in CONDITIONS.values() if one.name.startswith(name) for score in one.paper.values()]


def test_published_numbers_are_there() -> None:
    """A sample of each kind, typed from the paper, and how many there are of each."""
    assert published("instructerc/LLaMA2/") == [71.39, 69.15, 41.37]
    assert published("instructerc/LLaMA/") == [64.17, 67.62, 39.34]
    assert published("instructerc_lora/LLaMA/") == [69.71, 68.89, 39.90]
    assert published("instructerc/ChatGLM2/") == [67.54, 65.58, 39.09]
    assert published("instructerc_all_parameters/ChatGLM/") == [33.94, 37.96, 13.25]
    assert published("zero_shot/") == [38.6, 38.8, 19.6, 21.1, 21.8, 24.4, 0.753, 9.12, 5.31, 2.774, 16.28, 8.36]
    assert published("plain/LLaMA2/") == [55.96, 65.84, 38.21]
    assert published("ablation/without_retrieval/") == [70.91, 68.62, 40.54]
    assert published("window/5/") == [68.65, 66.97, 40.48]
    assert published("alpha/0.2/") == [71.14, 68.54, 40.63]
    assert published("pairing/any_label/") == [70.71, 68.52, 40.54]
    assert published("scaling_ratio/0.0625") == [53.40, 58.42, 37.60]
    assert published("scaling_single/0.015625/") == [30.34, 45.48, 26.10]
    kinds = {"ablation": 15, "window": 12, "alpha": 12, "pairing": 6, "scaling": 63}
    assert {kind: len(published(kind)) for kind in kinds} == kinds


def test_the_fractions_are_what_their_rows_are_called() -> None:
    for name in ("scaling_total", "scaling_ratio", "scaling_single"):
        for row, content in TABLE.groups[name].rows.items():
            assert content.settings == {"data_percent": pytest.approx(float(row))}


def first_job(name: str) -> Job:
    return Job(CONDITIONS[name], CONDITIONS[name].group.seeds[0])


@pytest.mark.parametrize("name", CONDITIONS)
def test_the_settings_of_every_condition_are_accepted(
    name: str, pickles: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By what the scripts ask before anything else."""
    job = first_job(name)
    for knob in {*KNOBS}.intersection(os.environ):
        monkeypatch.delenv(knob)
    for knob, value in {**job.settings, "ERC_ORIGINAL_DATA": str(pickles), "DRY_RUN": "1"}.items():
        monkeypatch.setenv(knob, value)
    monkeypatch.chdir(pickles)  # it goes to the repository
    result = call_script(settings.main, ROWS_OF_SCRIPT[job.condition.script])
    assert (result.returncode, result.stderr) == (0, ""), f"{job.command}: {result.stderr}"
    assert f"result={resolve(job).result}" in result.stdout


def test_a_row_of_the_search_differs_in_what_it_is_called_by(pickles: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And in nothing that the scripts choose otherwise for its base."""
    monkeypatch.setenv("ERC_ORIGINAL_DATA", str(pickles))

    def choices(row: str) -> dict[str, str]:
        job = first_job(f"recipe/{row}/meld")
        words = ["--base", job.settings.get("MODEL_NAME", ""), *resolve(job).main_flags()]
        return dict(zip(words[::2], words[1::2], strict=True))

    ours = choices("ours")
    found = {}
    for row in TABLE.groups["recipe"].rows:
        others = choices(row)
        found[row] = sum(ours.get(flag) != others.get(flag) for flag in ours.keys() | others.keys())
    assert found.pop("ours") == 0 and found == {row: 1 + row.count("+") for row in found} and len(found) > 8


def test_the_released_protocol_is_the_papers_but_for_what_the_scripts_do_otherwise() -> None:
    ours, released = (CONDITIONS[f"{group}/LLaMA2/meld"].settings for group in ("instructerc", "as_released"))
    assert dict(released.items() - ours.items()) == {
        "select_on": "test",
        "decode": "generate",
        "repair_answers": "True",
        "beta": "1",  # rows of both kinds are put together, and what weighs them is not read
    }
    assert ours.keys() - released.keys() == set()


@pytest.mark.parametrize("name", {one.script: name for name, one in CONDITIONS.items()}.values())
def test_each_script_runs_a_condition_dry(name: str, checkout: ShellCheckout, pickles: Path) -> None:
    job = first_job(name)
    result = checkout.run(script=Path(job.script).name, ERC_ORIGINAL_DATA=pickles, **job.settings)
    assert (result.returncode, result.stderr) == (0, ""), f"{job.command}: {result.stderr}"
    assert f"--output_dir experiments/{resolve(job).result}" in result.stdout.splitlines()[-1]


def test_a_knob_from_outside_reaches_the_conditions_that_read_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The scripts refuse what they do not read, and one command runs conditions of several kinds."""
    monkeypatch.setenv("stop_on_copying", "True")
    heeding = {name for name in CONDITIONS if "stop_on_copying" in runner.job_environment(first_job(name))}
    assert heeding == {name for name, one in CONDITIONS.items() if one.settings.get("domain_base") == "True"} != set()


def test_every_setting_of_a_condition_is_a_knob_and_none_is_passed_on() -> None:
    assert set(KNOBS) > PASSED_ON > {"ERC_PYTHON", "NPROC", "token_budget", "save_steps"}
    named = {key for one in CONDITIONS.values() for key in one.settings}
    assert named and named <= set(KNOBS) - PASSED_ON


def test_a_run_goes_on_from_the_same_seed_of_another(tmp_path: Path) -> None:
    table = tmp_path / "table.yaml"
    second = "{start_from: 'one/first/{dataset}', settings: {learning_rate: 1e-4}}"
    rows = f"    rows:\n      first: {{}}\n      second: {second}\n"
    head = "groups:\n  one:\n    table: a\n    title: a\n    script: Uni\n    datasets: [sample]\n"
    table.write_text(head + rows)
    conditions = list_conditions(read_table(table))
    starts = [make_job(conditions, "one/second/sample", seed).settings["checkpoint_dir"] for seed in (42, 43)]
    made = [resolve(make_job(conditions, "one/first/sample", seed)).result for seed in (42, 43)]
    assert starts == [f"checkpoint/{name}" for name in made] and made[0] != made[1]
    table.write_text(head + rows.replace("one/first", "one/third"))
    with pytest.raises(UserError, match="starts from, one/third/sample, which is no condition"):
        list_conditions(read_table(table))
    table.write_text(head + rows.replace("first: {}", "first: {start_from: 'one/second/{dataset}'}"))
    with pytest.raises(UserError, match="one/first/sample starts from itself, by way of one/second/sample"):
        list_conditions(read_table(table))


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("checkpoint_dir: here", "checkpoint_dir is of one seed; name a condition with start_from"),
        ("seed: 7", "seed is of one run; seeds of the group lists them"),
        ("resume: true", "resume is of one call; leave it away, --resume says so"),
        ("FLAG: 0", "FLAG is of one call; leave it away, --dry-run shows the commands"),
        ("DRY_RUN: 1", "DRY_RUN is of one call"),
        ("dataset: sample", "dataset is of one run; datasets of the group lists them"),
    ],
)
def test_a_condition_says_nothing_of_its_runs(tmp_path: Path, setting: str, told: str) -> None:
    text = SMALL.replace("first: {}", f"first: {{settings: {{{setting}}}}}").replace("    compare_with: first\n", "")
    with pytest.raises(UserError, match=f"^one/first: {told}"):
        list_conditions(read_table(write_table(tmp_path, text)))


def test_each_set_that_is_trained_on_is_a_run_of_its_own(tmp_path: Path) -> None:
    text = SMALL.replace("script: Uni", "script: Mixed\n    varied: train_on").replace("    compare_with: first\n", "")
    text = text.replace("first: {}", "first: {settings: {train_on: sample}}")
    with pytest.raises(UserError, match="one/first: train_on is of one run; datasets of the group lists them"):
        list_conditions(read_table(write_table(tmp_path, text)))


def test_how_a_run_is_computed_makes_no_other_run_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    job = Job(CONDITIONS["sample/window/sample"], 42)
    plan = plan_job(job)
    for knob, value in {"compile_layers": "True", "save_steps": "7", "token_budget": "512"}.items():
        monkeypatch.setenv(knob, value)
    assert plan_job(job) == plan
    assert "--learning_rate" in plan.steps[-1] and "--save_steps" not in plan.steps[-1]


@pytest.mark.parametrize(("knob", "usual", "other"), [("window_step", "1", "6"), ("prompt", "paper", "compact")])
def test_a_knob_that_came_later_leaves_earlier_plans_as_they_were(
    monkeypatch: pytest.MonkeyPatch, knob: str, usual: str, other: str
) -> None:
    def digest(**settings: str) -> str:
        condition = CONDITIONS["sample/window/sample"]
        return plan_digest(Job(replace(condition, settings={**condition.settings, **settings}), 42))

    found = digest(), digest(**{knob: usual}), digest(**{knob: other})
    monkeypatch.setattr(runner, "KNOBS", {name: row for name, row in KNOBS.items() if name != knob})
    assert found[0] == found[1] == digest() != found[2]


def test_conditions_of_a_corpus_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = tmp_path / "table.yaml"
    head = "groups:\n  one:\n    table: a\n    title: a\n    script: Uni\n"
    table.write_text(f"{head}    datasets: [mine]\n    rows:\n      first: {{}}\n")
    monkeypatch.setenv("ERC_ORIGINAL_DATA", str(tmp_path / "original"))
    with pytest.raises(UserError, match="one/first: unknown dataset mine, allowed are sample, iemocap, meld"):
        list_conditions(read_table(table))
    write_own_corpus(tmp_path / "original" / "mine")
    (condition,) = list_conditions(read_table(table)).values()
    assert condition.datasets == ("mine",) and resolve(make_job({condition.name: condition}, condition.name, 42)).result
