"""The benchmark counts honestly, its contenders solve one problem, and its README shows what was measured."""

import importlib
import sys
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from basics.markdown import replace_section
from commands import REPOSITORY
from data_utils.row_files import read_rows
from data_utils.row_sets import load_row_sets
from engine.batching import RowEncoder
from tiny_models import LABELS, character_tokenizer, save_base, small_examples, small_rows, tiny_model

sys.path.insert(0, str(REPOSITORY))

contender_module = importlib.import_module("benchmarks.contenders.definition")
flops = importlib.import_module("benchmarks.flops")
grouping = importlib.import_module("benchmarks.sections.grouping")
merit_module = importlib.import_module("benchmarks.figures_of_merit")
neighbours = importlib.import_module("benchmarks.sections.neighbours")
prompts_section = importlib.import_module("benchmarks.sections.prompts")
profile_section = importlib.import_module("benchmarks.sections.profile")
reference_module = importlib.import_module("benchmarks.contenders.reference")
report = importlib.import_module("benchmarks.report")
retrieval = importlib.import_module("benchmarks.sections.retrieval")
scoring = importlib.import_module("benchmarks.contenders.scoring")
training = importlib.import_module("benchmarks.contenders.training")
worker_module = importlib.import_module("benchmarks.worker")
workload_module = importlib.import_module("benchmarks.workload")

RANK = contender_module.LORA_RANK
ADAPTED = {"all": None, "q, k, v": "q_proj,k_proj,v_proj"}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(save_base(tmp_path_factory.mktemp("base")))


@pytest.fixture(scope="module")
def workload():
    return workload_module.draw_workload(small_rows(count=10, turns=4), steps=1)


# Counting


@pytest.mark.parametrize("adapted", ADAPTED.values(), ids=ADAPTED)
def test_operations_are_those_that_torch_counts(adapted: str | None) -> None:
    """Without sharing and padding a dense causal model computes every pair, and every logit where all are kept."""
    model = contender_module.wrap_in_lora(tiny_model("llama", attention="eager"), adapted).train()
    tokens = 11
    shape = flops.ModelShape.of(model.config, RANK, adapted and adapted.split(","))
    work = workload_module.Work(rows=1, tokens=tokens, nodes=tokens, pairs=tokens * tokens, kept=tokens)
    ids = torch.arange(3, 3 + tokens)[None]
    with FlopCounterMode(display=False) as forward, torch.no_grad():
        model(input_ids=ids)
    with FlopCounterMode(display=False) as both:
        model(input_ids=ids).logits.sum().backward()
    assert forward.get_total_flops() == flops.forward_flops(shape, work)
    assert both.get_total_flops() == flops.training_flops(shape, work)


def test_logits_that_are_not_kept_cost_nothing() -> None:
    shape = flops.ModelShape.of(tiny_model("llama").config, RANK)
    few, many = (workload_module.Work(1, 10, 10, 55, kept) for kept in (2, 10))
    assert flops.forward_flops(shape, many) - flops.forward_flops(shape, few) == 2 * 8 * shape.head_weights


def test_work_counts_every_distinct_prefix_once() -> None:
    row = small_rows(count=1, turns=1)[0]
    one = replace(row, prompt=(1, 5, 6), target=(7, 2))
    other = replace(row, prompt=(1, 5, 8), target=(7, 2))
    work = workload_module.count_work([[one, other]])
    # Read: 1 5 6 7 and 1 5 8 7; distinct: 1 5 (6 7) (8 7), at depths 1 2 3 4 3 4.
    assert work == workload_module.Work(rows=2, tokens=8, nodes=6, pairs=17, kept=4)
    assert workload_module.count_work([[one], [other]]).nodes == 8


def test_workload_is_planned_as_the_trainer_plans_it(workload) -> None:
    assert [len(step) for step in workload.steps] == [workload_module.ROWS_PER_STEP]
    assert {row.weight for row in workload.rows} == {1.0}
    assert {row.id for row in workload.first(1).rows} == {row.id for row in workload.steps[0]}
    two = workload_module.draw_workload(small_rows(count=20, turns=4), steps=2)
    assert len(two.steps) == 2 and two.first(2).steps == two.steps
    assert {row.id for row in two.first(1).rows} == {row.id for row in two.steps[0]}


def test_prompts_are_counted_as_they_are_computed() -> None:
    """The sample: fewer distinct tokens with each option; a turn going on costs what its prompt does not share."""
    encoder = RowEncoder(character_tokenizer(), 10_000)
    ((dataset, records),) = prompts_section.measure_prompts(lambda _: encoder, ["sample"])["datasets"].items()
    distinct = {(one["prompt"], one["window_step"]): one["distinct"] for one in records}
    assert dataset == "sample" and len(distinct) == 4
    assert distinct["paper", 1] > distinct["paper", 6] > distinct["compact", 6] < distinct["compact", 1]
    table = prompts_section.render_prompts({"prompts": {"datasets": {dataset: records}}})[1]
    assert table.splitlines()[2].split(" | ")[:3] == ["| sample", "the paper's", "1"] and "| 1.00 |" in table
    one = small_rows(count=1, turns=1)[0]
    turns = [replace(one, id=name, prompt=prompt) for name, prompt in TURNS.items()]
    assert list(prompts_section.count_turns(turns, [(7, 2), (7, 8, 2), (9, 2)])) == [(6, 6), (7, 5), (7, 4), (5, 5)]


# Of two dialogues; the labels (7 2), (7 8 2) and (9 2) add the nodes 7, 7 8 and 9.
TURNS = {"d/a/0": (1, 5, 6), "d/a/1": (1, 5, 3, 4), "d/a/2": (1, 5, 3, 4), "d/b/0": (1, 5)}


# Contenders


@pytest.mark.parametrize("name", training.BY_NAME)
@pytest.mark.filterwarnings("ignore")
def test_training_contenders_solve_the_same_problem(name: str, base: str, workload) -> None:
    """In fp32, so that nothing but the problem could make a difference; not compiled, which takes long."""
    contender = training.BY_NAME[name]
    contender = replace(contender, precision="fp32", options={**contender.options, "compile": False})
    if contender.build == training.TRL:
        pytest.importorskip("trl")
    setting = contender_module.Setting(base, workload, "fp32", "cpu", contender.options)
    expected = reference_module.build_reference(setting)(1)[contender.reduction]
    run = contender_module.load_builder(contender.build)(setting)
    for _ in range(2):  # nothing moves: a repetition measures what the one before it did
        outcome = run(1)
        reference_module.check_against_reference(contender, outcome, expected)
        assert outcome.seconds > 0 and outcome.tokens > 0


def test_another_problem_is_noticed() -> None:
    contender = training.BY_NAME["engine_bf16"]
    reference = contender_module.Outcome(0.0, (3.0, 2.0), (1.5,), 0)
    for losses, norms in [((3.0, 2.1), (1.5,)), ((3.0, 2.0), (1.0,)), ((3.0, float("nan")), (1.5,))]:
        outcome = contender_module.Outcome(1.0, losses, norms, 100)
        with pytest.raises(reference_module.UserError, match="engine_bf16"):
            reference_module.check_against_reference(contender, outcome, reference)


def test_scoring_contenders_answer_every_row(base: str, tmp_path: Path) -> None:
    """In fp32 both ways to score find the same labels; `generate` may find none."""
    model = contender_module.load_weights(base, torch.float32, torch.device("cpu"))
    contender_module.wrap_in_lora(model, None).save_pretrained(tmp_path)
    examples = tuple(small_examples(count=4))
    task = {"examples": examples, "labels": LABELS, "max_length": 1024, "adapter": str(tmp_path)}
    found = {}
    for contender in scoring.CONTENDERS:
        options = {**contender.options, **task}
        setting = contender_module.Setting(base, workload_module.Workload(()), "fp32", "cpu", options)
        found[contender.name] = contender_module.load_builder(contender.build)(setting)(len(examples)).labels
    assert found["one_label_bf16"] == found["engine_bf16"]
    assert {len(labels) for labels in found.values()} == {len(examples)}
    assert set().union(*found.values()) <= {*LABELS, None}


def test_a_worker_reports_what_went_wrong(tmp_path: Path) -> None:
    with worker_module.Worker("benchmarks.ceiling:build_ceiling", [(8, 8)], tmp_path / "log") as worker:
        worker.ready()
        assert worker.peak_memory() > 0
        with pytest.raises(worker_module.ContenderFailed, match="KeyError.*fp7"):
            worker.run("fp7")


# Report


def section(**seconds: list[float]) -> dict:
    """A section in which the contenders took this long."""
    return {
        "work": {"rows": 32, "tokens": 6400, "nodes": 3200, "pairs": 1, "kept": 64},
        "flops": 8e12,
        "ceiling": {"small": 1e12, "large": 2e12},
        "contenders": {
            name: {"title": name, "precision": "bf16", "seconds": times, "peak_memory": 1 << 30}
            for name, times in seconds.items()
        },
    }


def test_merit_is_the_median_of_the_repetitions() -> None:
    merit = merit_module.merits(section(engine_bf16=[8.0, 4.0, 16.0]))["engine_bf16"]
    assert (merit.samples.least, merit.samples.median, merit.samples.most) == (2.0, 4.0, 8.0)
    assert (merit.tokens, merit.nodes, merit.share) == (800.0, 400.0, 0.5)


def test_factor_is_over_the_fastest_rival_that_ran() -> None:
    measured = section(engine_bf16=[4.0], padded_bf16=[16.0], trl_bf16=[12.0])
    measured["contenders"]["trl_patched_bf16"] = {"title": "", "precision": "bf16", "error": "not installed"}
    found = merit_module.factors(measured, training.OURS, training.RIVALS)
    assert found == {"the best of padded batches and TRL in bf16": 3.0}


def test_tables_stand_between_the_markers() -> None:
    begin, end = "<!-- results: begin -->", "<!-- results: end -->"
    readme = f"above\n{begin}\nold\n{end}\nbelow\n"
    assert replace_section(readme, "new") == f"above\n{begin}\nnew\n{end}\nbelow\n"
    with pytest.raises(reference_module.UserError, match="missing"):
        replace_section("no markers", "new")


def test_readme_has_its_markers() -> None:
    replace_section(report.README.read_text(encoding="utf-8"), "")


def test_readme_shows_the_committed_results() -> None:
    assert report.read_results(report.RESULTS)
    text = report.README.read_text(encoding="utf-8")
    assert replace_section(text, report.render(report.RESULTS)) == text


# Profile


def test_profile_adds_up_to_the_operations_of_the_step(base: str, workload) -> None:
    setting = contender_module.Setting(base, workload, "fp32", "cpu", {"packing": "tree"})
    run = profile_section.build_profiled(setting)
    run(1)
    seconds = run(1)
    assert set(seconds) == {*profile_section.KINDS, profile_section.OTHER}
    assert all(value > 0 for value in seconds.values())
    assert profile_section.kind_of("aten::addmm_") == profile_section.kind_of("aten::mm")
    assert profile_section.kind_of("aten::something") == profile_section.OTHER


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
    machine = {"versions": {}, "processor": "a processor", "cores": 2, "commit": "abc"}
    section = {"rows": 1248, "epochs": 1, "runs": runs, "machine": machine, "took": 60}
    *_, table, sentence = grouping.render_grouping({"grouping": section, "training": {"machine": {"cores": 8}}})
    assert table.splitlines()[3] == "| 8 | 52.00 | 51.00 | 51.50 | 1.5 |"
    assert sentence.startswith(
        "Points against fully random batches (1), seed by seed: "
        "8: +2.00, -2.00 (mean +0.00); whole dialogues: -1.50, -3.50 (mean -2.50)."
    )
    assert sentence.endswith("Cores: 2 here, 8 in the sections above: compare no times.")


def test_search_is_measured_as_deep_as_it_goes(monkeypatch) -> None:
    asked = []
    monkeypatch.setattr(retrieval, "nearest", lambda queries, base, depth: asked.append((*queries.shape, depth)))
    assert retrieval.build_search(((5, 20), 7))() >= 0 and asked == [(5, retrieval.WIDTH, 7)]
    search = {"size": (5, 20), "seconds": [1.0], "peak_memory": 0}
    searches = [search | {"neighbours": depth} for depth in retrieval.DEPTHS]
    machine = {"versions": {}, "processor": "a processor", "cores": 2, "commit": "abc"}
    *_, table = retrieval.render_retrieval({"retrieval": {"searches": searches, "machine": machine, "took": 1}})
    assert [line.split(" | ")[1] for line in table.splitlines()[2:]] == ["1", "95"]


def test_the_busy_program_is_busy_and_ends() -> None:
    with pytest.raises(KeyError), neighbours.busy_program() as process:
        deadline = time.monotonic() + 20
        while sum(psutil.Process(process.pid).cpu_times()[:2]) < 0.2 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert sum(psutil.Process(process.pid).cpu_times()[:2]) >= 0.2
        raise KeyError
    assert not psutil.pid_exists(process.pid)


def test_how_much_slower_it_is_beside_others() -> None:
    machine = {"processor": "P", "cores": 2, "commit": "c", "versions": {}}
    seconds = {"alone": [6.0, 12.0, 9.0], "beside": [18.0, 21.0, 12.0]}
    section = {"seconds": seconds, "steps": 6, "cores": 2, "precision": "bf16", "machine": machine, "took": 60}
    _, table, told = neighbours.render_neighbours({"neighbours": section})
    assert "| beside one busy program | 3.00 (2.00 to 3.50) |" in table and "**2.0 times**" in told
