"""Plans against what is known, counted and measured: parameters, kept bytes, operations, peak memory."""

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import AutoConfig

import plan
from bases.adapters import add_lora, count_trainable
from bases.find import find_folder
from bases.load import choose_precision, know_own_architectures
from bases.table import BASES, SHAPES
from basics.errors import UserError
from basics.files import find_repository
from commands import REPOSITORY, assert_one_line_error, call_script
from engine import last_layer
from engine.batching import TOKEN_BUDGETS, training_batches
from engine.packing import packer_for
from planning.data import ACCELERATORS, GIB, PLAIN_TEXTS, TEXTS, WAYS, Texts
from planning.estimate import Measured, Workload, estimate, measure, plan_base, training_flops, typical_batch
from planning.meta_model import add_empty_lora, build_empty, count_saved, load_config
from planning.table import name_fitting, render_bases, render_plan
from planning.texts import _counted, _read_own, load_dialogues, texts_of, utterances_of
from tiny_models import KINDS, count_products, small_rows, tiny_model

CPU, GPU = torch.device("cpu"), torch.device("cuda")
LORA, ALL = (next(way for way in WAYS if way.name == name) for name in ("LoRA", "all parameters"))
FEW = Texts(rows=100, tokens=60, shared=2.0)
# As their pages on the hub and the library's own counts give them.
PUBLISHED = {
    "SmolLM2-135M": 134_515_008,
    "LLaMA": 6_738_415_616,
    "LLaMA2": 6_738_415_616,
    "Bloom-560m": 559_214_592,
    "ChatGLM": 6_173_286_400,
    "ChatGLM2": 6_243_584_000,
    "Llama-3.2-1B": 1_235_814_400,
    "Llama-3.1-8B": 8_030_261_248,
    "Qwen2.5-0.5B": 494_032_768,
    "Qwen2.5-7B": 7_615_616_512,
    "Qwen3-0.6B": 596_049_920,
    "Qwen3-8B": 8_190_735_360,
    "Gemma-3-270M": 268_098_176,
    "Gemma-3-1B": 999_885_952,
    "Gemma-3-4B": 3_880_263_168,
    "Mistral-7B": 7_248_023_552,
    "GLM-4-9B": 9_400_279_040,
}


@pytest.mark.parametrize("name", SHAPES)
def test_shapes_have_the_published_number_of_parameters(name: str) -> None:
    know_own_architectures()
    model = build_empty(AutoConfig.for_model(BASES[name].architecture, **SHAPES[name]), torch.bfloat16, CPU)
    assert count_trainable(model) == (PUBLISHED[name],) * 2
    assert all(weight.is_meta for weight in model.parameters())


def pack_small(model):
    rows = small_rows("predict", window=2, count=2, turns=4)
    return packer_for(model, "tree", 0).pack(training_batches(rows, 10_000, True)[0])


@pytest.fixture
def whole_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a GPU: a plan counts the last layer whole, which a CPU computes where it is read."""
    monkeypatch.setattr(last_layer, "KNOWN", frozenset())


@pytest.mark.numeric
@pytest.mark.parametrize("lora", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_kept_on_paper_is_what_is_kept(kind: str, lora: bool, whole_layers: None) -> None:
    """The same hooks on numbers: every storage that autograd keeps, layer by layer."""
    real = tiny_model(kind).train()
    empty = build_empty(real.config, torch.float32, CPU)
    if lora:
        real, empty = (add_lora(model, 4, 4, 0.1, "all").train() for model in (real, empty))
    found, expected = (count_saved(model, pack_small(real)) for model in (empty, real))
    assert found.total == pytest.approx(expected.total, rel=0.01) and expected.total > 0
    assert found.layers == pytest.approx(expected.layers, rel=0.01) and len(found.layers) == 2


@pytest.mark.numeric
def test_operations_are_those_that_pytorch_counts(monkeypatch, whole_layers: None) -> None:
    """Products of the linear layers and the head; those of the attention depend on how it cuts its blocks."""
    model = tiny_model("llama").train()
    monkeypatch.setattr("bases.adapters.use_fast_lora", lambda model: 0)  # its operators show no products
    for way in (ALL, LORA):
        if way.lora:
            model = add_lora(model, 4, 4, 0.0, "all").train()
        products = count_products(model, typical_batch(FEW, 500))
        load = Workload(FEW, 500, dtype=torch.float32, rank=4, dropout=0.0, modules="all")
        found = replace(measure("tiny", model.config, way, load), pairs=0)
        first = 0 if way is ALL else 2 * found.nodes * (32 * 64 + 3 * 4 * 32)  # q, k, v of the first block and their A
        assert training_flops(found, way) - first == products


def test_a_typical_batch_is_as_long_and_as_shared_as_the_texts() -> None:
    for texts in TEXTS.values():
        batch = typical_batch(texts, 8192)
        tree = batch.tree()
        assert 0.8 * 8192 < len(tree) <= 8192
        assert {len(row.prompt) for row in batch.rows} == {round(texts.tokens)}
        assert tree.row_tokens / len(tree) == pytest.approx(texts.shared, rel=0.15)
    assert len(typical_batch(TEXTS["meld"], 1).rows) == 1


def test_labels_under_every_prompt_take_nodes_memory_and_operations() -> None:
    config, way = AutoConfig.for_model(**SMALL), WAYS[0]
    loads = [Workload(TEXTS["meld"], 4096, dtype=torch.float32, modules="all", labels=labels) for labels in (1, 7)]
    plain, labelled = (typical_batch(load.texts, load.token_budget, load.labels) for load in loads)
    (row,) = {len(choices) for choices in labelled.continuations}
    assert row == 7 and not plain.wanted and {sum(wanted) for wanted in labelled.wanted} == {1.0}
    more = len(labelled.tree()) - len(typical_batch(TEXTS["meld"], 4096, 7).rows) * 12
    assert len(labelled.rows) < len(plain.rows) and len(labelled.tree()) <= 4096
    found, expected = (measure("tiny", config, way, load) for load in reversed(loads))
    per_row = [one.kept / len(batch.rows) for one, batch in ((found, labelled), (expected, plain))]
    assert per_row == [1 + 7 * 2, 1 + 2]
    assert found.saved.outside > 3 * expected.saved.outside, "logits of every label"
    flops = [estimate(one, way, load).flops for one, load in ((found, loads[1]), (expected, loads[0]))]
    tokens = TEXTS["meld"].tokens / TEXTS["meld"].shared
    assert flops[0] / flops[1] == pytest.approx((tokens + 12) / tokens, rel=0.1) and more > 0


SMALL = {
    "model_type": "llama",
    "vocab_size": 16_384,
    "hidden_size": 384,
    "intermediate_size": 1024,
    "num_hidden_layers": 4,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
}
TOKENS = 1024
# As this processor trains: where it has no products in bf16 they are made of other numbers, which nobody plans.
COMPUTED = str(choose_precision("auto", torch.device("cpu"))).removeprefix("torch.")
LEAST, MOST = 0.75, 1.33  # a plan in parts of what was taken
CASES = [("LoRA", COMPUTED), ("LoRA, checkpointing", COMPUTED), ("all parameters", "float32")]


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc")
@pytest.mark.slow
def test_memory_is_near_measured_peaks() -> None:
    """Processes of their own train; a plan may be above what one took by a third, and below by a quarter."""
    planned = {}
    for name, dtype in CASES:
        way = next(way for way in WAYS if way.name == name)
        load = Workload(TEXTS["meld"], TOKENS, dtype=getattr(torch, dtype), modules="all")
        found = estimate(measure("tiny", AutoConfig.for_model(**SMALL), way, load), way, load)
        planned[name, dtype] = found.total - found.libraries
    peaks = measure_peaks(CASES)
    # On a busy machine the allocator now and then keeps more, and never less than is needed.
    if too_much := [case for case in CASES if planned[case] <= LEAST * peaks[case]]:
        peaks |= measure_peaks(too_much)
    ratios = {case: planned[case] / peaks[case] for case in CASES}
    assert all(LEAST < ratio < MOST for ratio in ratios.values()), ratios


def measure_peaks(cases: Sequence[tuple[str, str]]) -> dict[tuple[str, str], int]:
    """Bytes that each case takes at most."""
    wanted = {"config": SMALL, "tokens": TOKENS, "cases": cases}
    script = REPOSITORY / "tests" / "helpers" / "peak_memory.py"
    done = subprocess.run([sys.executable, str(script), json.dumps(wanted)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return dict(zip(cases, json.loads(done.stdout), strict=True))


def by_name(base: str, load: Workload) -> dict:
    return {one.way.name: one for one in plan_base(base, load)}


def test_plans_of_llama2() -> None:
    load = Workload(TEXTS["meld"], 4096, device=GPU)
    plans = by_name("LLaMA2", load)
    assert plans["LoRA"].trainable == 12_582_912
    assert plans["LoRA"].weights == pytest.approx(2 * (6_738_415_616 + 12_582_912))
    assert plans["QLoRA"].weights < plans["LoRA"].weights / 3
    assert plans["LoRA, checkpointing"].activations < plans["LoRA"].activations / 4
    assert plans["LoRA, checkpointing"].flops > 1.3 * plans["LoRA"].flops
    everything = plans["all parameters"]
    assert everything.optimizer == 12 * 6_738_415_616 and everything.total > 120 * GIB
    offloaded = plans["all parameters, checkpointing, offload"]
    assert offloaded.optimizer == 0 and offloaded.main_memory == 16 * 6_738_415_616
    assert everything.saved_state == 12 * 6_738_415_616 and plans["LoRA"].saved_state == 12 * 12_582_912
    assert "all parameters, checkpointing, ZeRO-3" not in plans
    shared = by_name("LLaMA2", replace(load, gpus=4))
    assert shared["all parameters"].optimizer == everything.optimizer / 4
    assert shared["all parameters, checkpointing, ZeRO-3"].weights == everything.weights / 4
    assert shared["LoRA"].flops == plans["LoRA"].flops


def test_rows_that_share_nothing_cost_all_their_tokens() -> None:
    plans = [plan_base(name, Workload(TEXTS["meld"], 2048, device=GPU))[0] for name in ("ChatGLM", "ChatGLM2")]
    assert plans[0].flops == pytest.approx(TEXTS["meld"].shared * plans[1].flops, rel=0.15)
    assert [one.trainable for one in plans] == [7_340_032, 7_569_408]


def test_no_cpu_quantizes_or_offloads() -> None:
    plans = by_name("SmolLM2-135M", Workload(TEXTS["sample"], 2048))
    assert list(plans) == [
        "LoRA",
        "LoRA, checkpointing",
        "all parameters",
        "all parameters, checkpointing",
    ]


def test_adapters_are_planned_in_the_precision_of_their_base() -> None:
    """PEFT leaves them in fp32 on the meta device; in half of it they keep half, and over 4 bits they are in fp32."""
    for quantized, kinds in ((False, {torch.bfloat16}), (True, {torch.bfloat16, torch.float32})):
        model = build_empty(tiny_model("llama").config, torch.bfloat16, GPU)
        model = add_empty_lora(model, "tiny", 4, 0.05, "all", quantized)
        assert {weight.dtype for weight in model.parameters()} == kinds


def test_a_gpu_keeps_no_mask_where_it_attends_in_runs() -> None:
    """Twice the nodes then take twice the bytes; a dense mask takes four times its own."""
    config, growth = tiny_model("llama").config, {}
    for dtype in (torch.bfloat16, torch.float32):
        plans = [
            measure("tiny", config, LORA, Workload(FEW, budget, device=GPU, dtype=dtype, modules="all"))
            for budget in (1000, 2000)
        ]
        kept = [one.saved.layers[0] / one.nodes for one in plans]
        growth[dtype] = kept[1] / kept[0]
    assert growth[torch.bfloat16] == pytest.approx(1, abs=0.02) and growth[torch.float32] > 1.1


def test_the_plan_of_a_run_on_a_gpu_is_near_its_peak() -> None:
    """Of the last whole run that was kept; the libraries are not in a peak that PyTorch counts."""
    kept = json.loads((REPOSITORY / "benchmarks" / "results" / "gpu_runs.json").read_text(encoding="utf-8"))
    run = kept["MELD, SmolLM2-135M, LoRA, passes replayed"]
    planned = by_name("SmolLM2-135M", Workload(TEXTS["meld"], 4096, device=GPU, modules="all"))["LoRA"]
    assert planned.total / GIB == pytest.approx(run["planned_gib"], rel=0.02)
    assert 0.9 < (planned.total - planned.libraries) / GIB / run["peak_gib"] < 1.33


def test_what_fits_is_named() -> None:
    measured = Measured(10**9, 10**6, 10**9, 10**6, 0, 0, 10**6, 1000, 1000, count_small(), 100, 1000, 10)
    ways = [way for way in WAYS if way.name in ("LoRA", "QLoRA", "all parameters")]
    load = Workload(FEW, 4096, device=GPU)
    plans = [estimate(replace(measured, trainable=10**6 if way.lora else 10**9), way, load) for way in ways]
    assert name_fitting(plans, 24) == "fits 24 GiB: LoRA; QLoRA; all parameters"
    assert name_fitting(plans, 4) == "fits 4 GiB: LoRA; QLoRA"
    assert name_fitting(plans, 1).startswith("nothing fits 1 GiB: the least is QLoRA with ")
    title, header, *rows, state, fitting = render_plan("A title", plans, 4, 7200 / plans[0].flops).splitlines()
    assert title.startswith("A title. Estimates, memory in GiB of one process") and fitting == name_fitting(plans, 4)
    ends = {name: header.index(name) + len(name) for name in ("trained", "activations", "in all", "PFLOP", "hours")}
    told = {name: rows[0][:end].split()[-1] for name, end in ends.items()}
    assert rows[0].startswith("LoRA ") and told == {
        "trained": "1,000,000",
        "activations": f"{plans[0].activations / GIB:.2f}",
        "in all": f"{plans[0].total / GIB:.2f}",
        "PFLOP": f"{plans[0].flops / 1e15:,.2f}",
        "hours": "2.00",
    }
    assert [row.endswith(way.knobs) for row, way in zip(rows, ways, strict=True)] == [True] * 3
    assert state.startswith("The state to resume from: 0.0 GiB, 11.2 GiB for all parameters; on disk")
    assert render_plan("A title", plans, None, 1).splitlines()[-1] == state


def count_small():
    model = tiny_model("llama").train()
    return count_saved(model, pack_small(model))


def test_the_script_plans_without_weights_or_network(monkeypatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    flags = ("--model_name_or_path", "LLaMA2", "--gpu", "l4", "--memory_gib", "20")
    done = call_script(plan.main, *flags)
    assert done.returncode == 0, done.stderr
    assert "12,582,912" in done.stdout and "quantize=nf4" in done.stdout
    assert "The state to resume from: 0.1 GiB, 75.3 GiB for all parameters; on disk" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("fits 20 GiB: ")
    refused = call_script(plan.main, "--model_name_or_path", "no-such-base", "--gpus", "0", "--memory_gib", "much")
    assert_one_line_error(refused, "--gpus", "from 1", "--memory_gib", "above 0")
    assert_one_line_error(call_script(plan.main, "--model_name_or_path", "no-such-base"), "no-such-base", "LLaMA2")
    assert_one_line_error(call_script(plan.main), "--model_name_or_path is missing")


def asked_of(monkeypatch: pytest.MonkeyPatch, *flags: str) -> tuple[str, Workload, str, float | None, float]:
    """What the script asks to be planned and told: base, load, title, GiB of a GPU, seconds an operation."""
    asked = []
    monkeypatch.setattr("planning.estimate.plan_base", lambda *given: asked.extend(given) or ["estimates"])
    monkeypatch.setattr("planning.table.render_plan", lambda *given: asked.extend(given) or "the plan")
    done = call_script(plan.main, "--model_name_or_path", *flags)
    assert (done.returncode, done.stdout) == (0, "the plan\n"), done.stderr
    base, load, title, estimates, *told = asked
    assert estimates == ["estimates"]
    return base, load, title, *told


def test_flags_reach_what_is_planned_and_told(monkeypatch: pytest.MonkeyPatch) -> None:
    base, load, title, memory, seconds = asked_of(monkeypatch, "LLaMA2")
    assert (base, title, memory) == ("LLaMA2", "LLaMA2 on meld, 1 x a100, 4096 tokens at a time", 80)
    assert load == Workload(TEXTS["meld"], 4096, device=GPU) and seconds == pytest.approx(1 / (312e12 * 0.35))
    flags = ("--dataset", "iemocap", "--gpu", "l4", "--gpus", "4", "--memory_gib", "20", "--utilisation", "0.5")
    flags += ("--precision", "fp32", "--token_budget", "2048", "--lora_dim", "8", "--lora_module_name", "all")
    _, load, title, memory, seconds = asked_of(monkeypatch, "Bloom-560m", *flags, "--loss", "labels")
    assert (title, memory) == ("Bloom-560m on iemocap, 4 x l4, 2048 tokens at a time", 20)
    assert load == Workload(TEXTS["iemocap"], 2048, 4, GPU, torch.float32, 8, 0.05, "all", 6)
    assert seconds == pytest.approx(1 / (4 * ACCELERATORS["l4"].fp32_tflops * 1e12 * 0.5))
    assert asked_of(monkeypatch, "Bloom-560m", "--tflops", "0.5")[-1] == pytest.approx(1 / (0.5e12 * 0.35))


def test_processes_on_a_cpu_share_its_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("planning.device.measure_tflops", lambda dtype: 0.25 if dtype == torch.float32 else 0.1)
    for gpus in ("1", "4"):
        few = ("--gpu", "cpu", "--gpus", gpus, "--precision", "fp32")
        _, load, title, memory, seconds = asked_of(monkeypatch, "SmolLM2-135M", *few)
        told = f"SmolLM2-135M on meld, processes on this CPU: {gpus}, {TOKEN_BUDGETS['cpu']} tokens at a time"
        assert (title, memory) == (told, None) and seconds == pytest.approx(1 / (0.25e12 * 0.35))
        assert (load.device, load.gpus, load.token_budget) == (CPU, int(gpus), TOKEN_BUDGETS["cpu"])


def test_processes_without_deepspeed_share_no_state() -> None:
    load = Workload(TEXTS["sample"], 2048)
    alone, four = (by_name("SmolLM2-135M", replace(load, gpus=gpus))["all parameters"] for gpus in (1, 4))
    assert four == alone


def test_the_script_prints_the_table_of_bases(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("planning.table.render_bases", lambda bases, plan: f"{len(list(bases))}, {plan.__name__}")
    done = call_script(plan.main, "--table")
    assert (done.returncode, done.stdout) == (0, f"{len(BASES)}, plan_base\n"), done.stderr


def test_dropout_is_that_of_the_scripts_for_the_base(monkeypatch: pytest.MonkeyPatch) -> None:
    """It keeps a copy of every adapted input, which the small bases, trained without, do not take."""
    asked: list[float] = []

    def note(base: str, load: Workload) -> None:
        asked.append(load.dropout)
        raise UserError("enough for this test")

    monkeypatch.setattr("planning.estimate.plan_base", note)
    for more in (("SmolLM2-135M",), ("google/gemma-3-270m",), ("LLaMA2",), ("SmolLM2-135M", "--lora_dropout", "0.1")):
        call_script(plan.main, "--model_name_or_path", *more)
    assert asked == [0, 0, 0.05, 0.1]


def test_what_cannot_be_planned_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "t5"}')
    refused = call_script(plan.main, "--model_name_or_path", tmp_path)
    assert_one_line_error(refused, str(tmp_path), "no causal language model but t5")
    for flag, values, allowed in (
        ("lora_dropout", ("2", "1", "-0.1", "nan"), "give a number from 0 to below 1"),
        ("utilisation", ("5", "0", "nan", "much"), "allowed is a number above 0 and up to 1"),
        ("memory_gib", ("0", "inf", "nan"), "allowed is a number above 0"),
        ("tflops", ("0", "inf", "-1"), "allowed is a number above 0"),
    ):
        for value in values:
            refused = call_script(plan.main, "--model_name_or_path", "LLaMA2", f"--{flag}", value)
            assert_one_line_error(refused, f"--{flag}: '{value}' is not allowed, {allowed}")


def test_the_table_of_the_page_of_bases_is_the_planners() -> None:
    """Every base is there; the lines of some are made again."""
    page = (find_repository() / "LLM_bases" / "README.md").read_text(encoding="utf-8")
    table = page.partition("<!-- bases: begin -->\n")[2].partition("\n<!-- bases: end -->")[0].splitlines()
    assert [line.split("`")[1] for line in table[2:]] == list(BASES)
    few = [BASES[name] for name in ("SmolLM2-135M", "Bloom-560m", "Gemma-3-1B", "Qwen3-8B")]
    made = render_bases(few, plan_base).splitlines()
    assert made[:2] == table[:2] and set(made) <= set(table)


def test_a_folder_is_planned_by_its_own_configuration(tmp_path: Path) -> None:
    tiny_model("qwen3").config.save_pretrained(tmp_path)
    assert load_config(str(tmp_path)).model_type == "qwen3"
    plans = by_name(str(tmp_path), Workload(FEW, 500))
    assert plans["all parameters"].trainable == count_trainable(tiny_model("qwen3"))[0]


@pytest.mark.skipif(not find_folder("SmolLM2-135M"), reason="no SmolLM2-135M in LLM_bases")
def test_texts_of_a_corpus_of_ones_own_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sample under another name comes to what is known of it, and is read once."""
    read: list[str] = []
    monkeypatch.setattr(
        "planning.texts.load_dialogues", lambda name, place: read.append(name) or load_dialogues(name, place)
    )
    _counted.cache_clear()
    _read_own.cache_clear()
    for plain, known in ((False, TEXTS["sample"]), (True, PLAIN_TEXTS["sample"])):
        counted = texts_of("sample_csv", plain)
        assert (counted.rows, counted.tokens) == (known.rows, known.tokens)
        assert counted.shared == pytest.approx(known.shared, rel=0.03)
    assert utterances_of("sample_csv") == utterances_of("sample") == {"train": 431, "valid": 111, "test": 116}
    assert read == ["sample_csv"]
    done = call_script(plan.main, "--model_name_or_path", "SmolLM2-135M", "--dataset", "sample_csv", "--gpu", "l4")
    assert done.returncode == 0, done.stderr
    assert "SmolLM2-135M on sample_csv, 1 x l4" in done.stdout


def test_whose_texts_nobody_has_counted_is_refused() -> None:
    for name, told in {"dailydialog": "its texts are not counted: choose one of sample", "nowhere": "DATA"}.items():
        refused = call_script(plan.main, "--model_name_or_path", "LLaMA2", "--dataset", name)
        assert_one_line_error(
            refused, f"--dataset: '{name}' is not allowed", told.replace("DATA", "allowed are sample")
        )
