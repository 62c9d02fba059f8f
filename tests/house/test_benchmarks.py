"""The benchmark counts honestly, and its contenders solve one problem."""

import os
import subprocess
import sys
from dataclasses import replace
from math import isclose
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from basics.errors import UserError
from benchmarks import flops
from benchmarks.contenders import scoring
from benchmarks.contenders.definition import (
    LORA_RANK,
    Contender,
    Outcome,
    Setting,
    ours,
    settle,
    wrap_in_lora,
)
from benchmarks.contenders.plain_loops import padded_batches, target_loss, usual_loss
from benchmarks.contenders.reference import build_reference, check_against_reference
from benchmarks.contenders.training import EARLIER, TRL, our_contender, rivals, training_contenders
from benchmarks.inputs import Inputs
from benchmarks.sections import grouping, processing, prompts, retrieval, trl_search
from benchmarks.sections.first_command import copy_checkout, measure_first_command, render_first_command
from benchmarks.sections.profile import KINDS, OTHER, build_profiled, kind_of
from benchmarks.worker import load_builder
from benchmarks.workload import ROWS_PER_STEP, Work, count_work, draw_workload
from commands import REPOSITORY, assert_one_line_error
from data_utils.row_files import read_rows
from data_utils.row_sets import load_row_sets
from engine.batching import RowEncoder
from tiny_models import VOCABULARY_SIZE, character_tokenizer, rounding, save_base, small_rows, tiny_model

ADAPTED = {"all": None, "q, k, v": "q_proj,k_proj,v_proj"}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(save_base(tmp_path_factory.mktemp("base")))


@pytest.fixture(scope="module")
def workload():
    return draw_workload(small_rows(count=10, turns=4), steps=1)


MACHINE = {"versions": {}, "processor": "a processor", "unit": None, "cores": 2, "commit": "abc"}


# Counting


@pytest.mark.parametrize("adapted", ADAPTED.values(), ids=ADAPTED)
def test_operations_are_those_that_torch_counts(adapted: str | None) -> None:
    """Without sharing and padding a dense causal model computes every pair, and every logit where all are kept."""
    model = wrap_in_lora(tiny_model("llama", attention="eager"), adapted).train()
    tokens = 11
    shape = flops.ModelShape.of(model.config, LORA_RANK, adapted and adapted.split(","))
    work = Work(rows=1, tokens=tokens, nodes=tokens, pairs=tokens * tokens, kept=tokens)
    ids = torch.arange(3, 3 + tokens)[None]
    with FlopCounterMode(display=False) as forward, torch.no_grad():
        model(input_ids=ids)
    with FlopCounterMode(display=False) as both:
        model(input_ids=ids).logits.sum().backward()
    assert forward.get_total_flops() == flops.forward_flops(shape, work)
    assert both.get_total_flops() == flops.training_flops(shape, work)


def test_logits_that_are_not_kept_cost_nothing() -> None:
    shape = flops.ModelShape.of(tiny_model("llama").config, LORA_RANK)
    few, many = (Work(1, 10, 10, 55, kept) for kept in (2, 10))
    assert flops.forward_flops(shape, many) - flops.forward_flops(shape, few) == 2 * 8 * shape.head_weights


def test_work_counts_every_distinct_prefix_once() -> None:
    row = small_rows(count=1, turns=1)[0]
    one = replace(row, prompt=(1, 5, 6), target=(7, 2))
    other = replace(row, prompt=(1, 5, 8), target=(7, 2))
    work = count_work([[one, other]])
    # Read: 1 5 6 7 and 1 5 8 7; distinct: 1 5 (6 7) (8 7), at depths 1 2 3 4 3 4.
    assert work == Work(rows=2, tokens=8, nodes=6, pairs=17, kept=4)
    assert count_work([[one], [other]]).nodes == 8


def test_workload_is_planned_as_the_trainer_plans_it(workload) -> None:
    assert [len(step) for step in workload.steps] == [ROWS_PER_STEP]
    assert {row.weight for row in workload.rows} == {1.0}
    assert {row.id for row in workload.first(1).rows} == {row.id for row in workload.steps[0]}
    two = draw_workload(small_rows(count=20, turns=4), steps=2)
    assert len(two.steps) == 2 and two.first(2).steps == two.steps
    assert {row.id for row in two.first(1).rows} == {row.id for row in two.steps[0]}


def test_steps_that_are_drawn_are_as_usual_as_the_epoch() -> None:
    """Of rows half of which are three times as long and share nothing, no step of one half is drawn."""
    short = small_rows(count=16, turns=4)
    long = [
        replace(row, id=f"x/{number}/0", prompt=(number, *row.prompt * 3))
        for number, row in enumerate(short, start=500)
    ]
    drawn = draw_workload([*short, *long], steps=2, rows_per_step=8)
    work, epoch = count_work(drawn.steps), drawn.epoch
    assert [len(step) for step in drawn.steps] == [8, 8] and epoch.rows == 2 * len(short)
    for name in ("tokens", "nodes"):
        usual = getattr(epoch, name) / epoch.rows
        assert isclose(getattr(work, name) / work.rows, usual, rel_tol=0.15), name
    first = draw_workload(small_rows(count=2, turns=4), steps=5, rows_per_step=8)
    assert len(first.rows) == first.epoch.rows, "all rows, where there are no more"


def test_prompts_are_counted_as_they_are_computed() -> None:
    """The sample: fewer distinct tokens with each option; a turn going on costs what its prompt does not share."""
    encoder = RowEncoder(character_tokenizer(), 10_000)
    ((dataset, records),) = prompts.measure_prompts(lambda _: encoder, ["sample"])["datasets"].items()
    distinct = {(one["prompt"], one["window_step"]): one["distinct"] for one in records}
    assert dataset == "sample" and len(distinct) == 4
    assert distinct["paper", 1] > distinct["paper", 6] > distinct["compact", 6] < distinct["compact", 1]
    table = prompts.render_prompts({"prompts": {"datasets": {dataset: records}}})[1]
    assert table.splitlines()[2].split(" | ")[:3] == ["| sample", "the paper's", "1"] and "| 1.00 |" in table
    one = small_rows(count=1, turns=1)[0]
    turns = [replace(one, id=name, prompt=prompt) for name, prompt in TURNS.items()]
    assert list(prompts.count_turns(turns, [(7, 2), (7, 8, 2), (9, 2)])) == [(6, 6), (7, 5), (7, 4), (5, 5)]


# Of two dialogues; the labels (7 2), (7 8 2) and (9 2) add the nodes 7, 7 8 and 9.
TURNS = {"d/a/0": (1, 5, 6), "d/a/1": (1, 5, 3, 4), "d/a/2": (1, 5, 3, 4), "d/b/0": (1, 5)}


# Contenders


# The engine of an earlier commit is held to the same in test_benchmarks_sections.py.
BY_NAME = {one.name: one for one in training_contenders("bf16", compiles=False) if one.build != EARLIER}


@pytest.mark.parametrize("name", BY_NAME)
@pytest.mark.filterwarnings("ignore")
def test_training_contenders_solve_the_same_problem(name: str, base: str, workload) -> None:
    """In fp32, so that nothing but the problem could make a difference; not compiled, which takes long."""
    contender = replace(BY_NAME[name], precision="fp32")
    if contender.build == TRL:
        pytest.importorskip("trl")
    setting = Setting(base, workload, "fp32", "cpu", contender.options)
    expected = build_reference(setting)(1)[contender.reduction]
    run = load_builder(contender.build)(setting)
    for _ in range(2):  # nothing moves: a repetition measures what the one before it did
        outcome = run(1)
        check_against_reference(contender, outcome, expected)
        assert outcome.seconds > 0 and outcome.tokens > 0


def test_another_problem_is_noticed() -> None:
    contender = our_contender("bf16")
    reference = Outcome(0.0, (3.0, 2.0), (1.5,), 0)
    for losses, norms in [((3.0, 2.1), (1.5,)), ((3.0, 2.0), (1.0,)), ((3.0, float("nan")), (1.5,))]:
        outcome = Outcome(1.0, losses, norms, 100)
        with pytest.raises(UserError, match="engine_bf16"):
            check_against_reference(contender, outcome, reference)


def test_a_wrong_adapter_is_noticed(base: str, workload, monkeypatch: pytest.MonkeyPatch) -> None:
    """B is the same for all and not zero: a contender that forgets it has another loss or another gradient."""
    contender = replace(our_contender("fp32", compiles=False), name="engine")
    setting = Setting(base, workload, "fp32", "cpu", contender.options)
    expected = build_reference(setting)(1)[contender.reduction]
    models = [wrap_in_lora(tiny_model("llama"), None) for _ in range(2)]
    b, others = ([weight for name, weight in one.named_parameters() if ".lora_B." in name] for one in models)
    assert b and all(weight.abs().sum() > 0 and weight.equal(other) for weight, other in zip(b, others, strict=True))
    monkeypatch.setattr("benchmarks.contenders.engine_loop.draw_b", lambda model, seed: model)
    with pytest.raises(UserError, match="engine: "):
        check_against_reference(contender, load_builder(contender.build)(setting)(1), expected)


def test_logits_of_targets_give_the_same_loss(workload) -> None:
    model = wrap_in_lora(tiny_model("llama", attention="sdpa"), None)
    for _, inputs in padded_batches(workload.steps[0], 0, 8):
        assert torch.isclose(
            target_loss(model, inputs), usual_loss(model, inputs), rtol=100 * rounding(VOCABULARY_SIZE)
        )


def test_contenders_follow_the_processor() -> None:
    """Where bf16 would be emulated nobody computes in it, and rows that differ in precision alone are one."""
    narrow, wide = training_contenders("fp32"), training_contenders("bf16")
    few = training_contenders("fp32", only=("earlier", "trl_patched"))
    assert [one.name for one in few] == ["trl_patched_fp32", "earlier_fp32", "engine_fp32"]
    assert {one.precision for one in (*narrow, *scoring.scoring_contenders("fp32"))} == {"fp32"}
    assert len({one.name for one in narrow}) == len(narrow) == len(wide) - 2
    assert {one.precision for one in wide if one.name.startswith(("released", "engine_"))} == {"fp32", "bf16"}
    for native, contenders in (("fp32", narrow), ("bf16", wide)):
        named = {ours(native), *(name for names in rivals(native).values() for name in names)}
        assert named < {one.name for one in contenders}
        named = {ours(native), *(name for names in scoring.rivals(native).values() for name in names)}
        named.add(f"engine_compiled_{native}")  # shown, and not what is compared
        assert named == {one.name for one in scoring.scoring_contenders(native)}
    table = [Contender("a", "a", "fp32", "", ""), Contender("a", "a", "native", "", "")]
    assert [one.name for one in settle(table, "fp32")] == ["a_fp32"]
    assert [one.name for one in settle(table, "bf16")] == ["a_fp32", "a_bf16"]


def test_titles_say_what_is_compiled() -> None:
    """And with which settings TRL runs; without time to compile nobody is, and nobody is there twice."""
    found = {True: {"size": 4, "padding_free": True, "compile": False}}
    titles = {one.name: one.title for one in training_contenders("fp32", found)}
    assert titles["padded_compiled_fp32"] == "padded batches of 8, compiled"
    assert titles["padded_targets_fp32"] == "padded batches of 8, target logits, compiled"
    assert titles["trl_fp32"] == "TRL SFTTrainer, batches of 4, compiled"
    assert titles["trl_patched_fp32"] == "TRL SFTTrainer, head patched, batches of 4, padding-free"
    assert (titles["engine_fp32"], titles["engine_plain_fp32"]) == ("this engine", "this engine, not compiled")
    quick = (*training_contenders("fp32", found, compiles=False), *scoring.scoring_contenders("fp32", compiles=False))
    assert not any(one.options.get("compile") for one in quick)
    assert {one.title for one in quick if "compiled" in one.title} == {
        "this engine, not compiled",
        "this engine at 0b48099, not compiled",
        "this engine, nothing shared, not compiled",
    }


def test_every_setting_of_trl_is_tried(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Crossed; the fastest is found for each head by itself; one that fails, or computes another loss, is none."""
    tried = list(trl_search.crossed())
    assert len(tried) == len({tuple(one.values()) for one in tried}) == 3 * 2 * 2 * 2
    rows = small_rows(count=10, turns=4)

    class Timed:
        def __init__(self, build: str, setting: Setting, log: Path) -> None:
            assert len(setting.workload.rows) == trl_search.ROWS
            self.options = setting.options

        def __enter__(self) -> "Timed":
            return self

        def __exit__(self, *error: object) -> None:
            pass

        def ready(self) -> None:
            if self.options["compile"] and self.options["size"] == 16:
                raise trl_search.ContenderFailed("no compiler")

        def run(self, steps: int) -> Outcome:
            patched, size = self.options["targets_only"], self.options["size"]
            if self.options["padding_free"] and size == 4:
                return Outcome(0.1, (1.5,), (1.0,), 0)
            return Outcome(size / (4 if self.options["compile"] and patched else 1), (1.0,), (1.0,), 0)

    class Rows:
        base = "base"

        def train_rows(self, dataset: str, kind: str) -> list:
            return rows

    monkeypatch.setattr(trl_search, "Worker", Timed)
    expected = {"token": Outcome(0.0, (1.0,), (1.0,), 0)}
    monkeypatch.setattr(trl_search, "compute_reference", lambda setting, logs: expected)
    section = trl_search.measure_trl(Rows(), "fp32", tmp_path, compiled=100)
    assert trl_search.fastest_options(section) == {
        False: {"size": 4, "padding_free": False, "compile": False, "targets_only": False},
        True: {"size": 4, "padding_free": False, "compile": True, "targets_only": True},
    }
    table = trl_search.render_trl({"trl_search": section | {"machine": MACHINE, "took": 60}})[-1].splitlines()
    assert (
        table[2] == "| 4 | 4.00 | 4.00 | 4.00 | 16.00 |" and table[-1] == "| 16, padding-free | 1.00 | 1.00 | - | - |"
    )
    assert table[3] == "| 4, padding-free | - | - | - | - |"
    few = trl_search.measure_trl(Rows(), "fp32", tmp_path, compiled=1)
    assert [(one["size"], one["targets_only"]) for one in few["tried"] if one["compile"]] == [(4, False), (4, True)]
    assert trl_search.fastest_options(few) == trl_search.fastest_options(section)


# Profile


def test_profile_adds_up_to_the_operations_of_the_step(base: str, workload) -> None:
    setting = Setting(base, workload, "fp32", "cpu", {"packing": "tree"})
    run = build_profiled(setting)
    run(1)
    seconds = run(1)
    assert set(seconds) == {*KINDS, OTHER}
    assert all(value > 0 for value in seconds.values())
    assert kind_of("aten::addmm_") == kind_of("aten::mm")
    assert kind_of("aten::something") == OTHER


# Grouping


def test_parts_of_train_are_whole_dialogues(tmp_path: Path, run_code) -> None:
    result = run_code("code/data_process.py", "--dataset", "sample", "--data", tmp_path / "data")
    assert result.returncode == 0, result.stderr
    source, target = Path(result.stdout.strip()), tmp_path / "part"
    count = grouping.draw_dialogues(source, target, share=0.25)
    everything, part = (read_rows(folder / "train.json") for folder in (source, target))
    drawn = {row.id.rsplit("/", 1)[0] for row in part}
    assert part and [row for row in everything if row.id.rsplit("/", 1)[0] in drawn] == sorted(
        part, key=everything.index
    )
    assert len(everything) / 4 <= count == len(part) < len(everything) / 4 + 14  # turns of the longest dialogue
    row_sets = load_row_sets(str(target), "sample")
    assert row_sets.scored["valid"] == tuple(read_rows(source / "valid.json"))


def test_grouping_is_compared_with_random_batches() -> None:
    scores = {"1": [50.0, 53.0], "8": [52.0, 51.0], "whole dialogues": [48.5, 49.5]}
    runs = {
        name: {seed: {"score": score, "seconds": 90.0} for seed, score in zip(("42", "43"), found, strict=True)}
        for name, found in scores.items()
    }
    section = {"rows": 1248, "epochs": 1, "runs": runs, "machine": MACHINE, "took": 60}
    *_, table, sentence = grouping.render_grouping({"grouping": section})
    assert table.splitlines()[3] == "| 8 | 52.00 | 51.00 | 51.50 | 1.5 |"
    assert sentence == (
        "Points against fully random batches (1), seed by seed: "
        "8: +2.00, -2.00 (mean +0.00); whole dialogues: -1.50, -3.50 (mean -2.50)."
    )


def test_search_is_measured_as_deep_as_it_goes(monkeypatch) -> None:
    asked = []
    monkeypatch.setattr(retrieval, "nearest", lambda queries, base, depth: asked.append((*queries.shape, depth)))
    assert retrieval.build_search(((5, 20), 7))() >= 0 and asked == [(5, retrieval.WIDTH, 7)]
    search = {"size": (5, 20), "seconds": [1.0], "peak_memory": 0}
    searches = [search | {"neighbours": depth} for depth in retrieval.DEPTHS]
    *_, table = retrieval.render_retrieval({"retrieval": {"searches": searches, "machine": MACHINE, "took": 1}})
    assert [line.split(" | ")[1] for line in table.splitlines()[2:]] == ["1", "95"]


# Whole programs


def test_rows_are_made_by_the_program_itself(tmp_path: Path) -> None:
    """Of every corpus that is there, in a process of its own each time."""
    section = processing.measure_processing(tmp_path, 1, ["sample", "no such corpus"])
    train = len(read_rows(next(tmp_path.glob("*window*/sample/*/train.json"))))
    assert [one["dataset"] for one in section["corpora"]] == ["sample"] * 2
    window, predict = section["corpora"]
    assert predict["rows"] > window["rows"] > train > 0 and min(window["seconds"]) > 0
    *_, table = processing.render_processing({"processing": section | {"machine": MACHINE, "took": 1}})
    assert f"| sample | window 12 | {window['rows']:,} | " in table


def test_the_first_command_runs_in_a_copy(tmp_path: Path) -> None:
    """With what git knows of, as it stands here, and nothing that runs have left."""
    copy_checkout(tmp_path / "copy")
    copied = {str(path.relative_to(tmp_path / "copy")) for path in (tmp_path / "copy").rglob("*") if path.is_file()}
    assert {"code/train_and_inference_Uni.sh", "original_data/sample/sample.pkl", "envs/setup.sh"} < copied
    assert not any(name.startswith(("LLM_bases/SmolLM2-135M/", ".git/")) for name in copied)
    assert (tmp_path / "copy" / "README.md").read_text() == (REPOSITORY / "README.md").read_text()


@pytest.mark.slow
def test_the_first_command_comes_to_a_score(tmp_path: Path) -> None:
    """With a tiny base, one epoch and few, short rows."""
    base = save_base(tmp_path / "tiny")
    inputs = Inputs(str(base), tmp_path)
    few = {"num_train_epochs": "1", "data_percent": "0.05", "historical_window": "1"}
    section = measure_first_command(inputs, tmp_path, {"MODEL_NAME": str(base)} | few)
    assert section["seconds"] > section["parts"]["training_steps"] > 0 and section["epochs"] == 1
    assert 0 <= section["weighted_f1"] <= 100
    _, told = render_first_command({"first_command": section | {"machine": MACHINE, "took": 60}})
    assert f"weighted F1 of {section['weighted_f1']:.2f}" in told and f"({section['rows']} rows, 1 epoch;" in told


@pytest.mark.parametrize(
    ("arguments", "told"), [([], "no CUDA device"), (["--quick"], "--quick: check_gpu.sh takes no arguments")]
)
def test_whole_runs_on_a_gpu_do_not_begin_without_one(arguments: list[str], told: str) -> None:
    assert_one_line_error(call_check_gpu(*arguments), told)


def test_whole_runs_on_a_gpu_are_explained() -> None:
    done = call_check_gpu("--help")
    assert (done.returncode, done.stderr) == (0, "") and done.stdout.startswith("On a CUDA GPU, in one command")


def call_check_gpu(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"ERC_PYTHON": sys.executable, "CUDA_VISIBLE_DEVICES": ""}
    command = ["bash", REPOSITORY / "benchmarks/check_gpu.sh", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
