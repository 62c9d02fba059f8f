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
from basics.files import find_repository
from commands import REPOSITORY, call_script
from engine import last_layer
from engine.batching import training_batches
from engine.packing import packer_for
from planning.data import GIB, PLAIN_TEXTS, TEXTS, WAYS, Texts
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


def test_processes_without_deepspeed_share_no_state() -> None:
    load = Workload(TEXTS["sample"], 2048)
    alone, four = (by_name("SmolLM2-135M", replace(load, gpus=gpus))["all parameters"] for gpus in (1, 4))
    assert four == alone


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
