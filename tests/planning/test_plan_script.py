"""plan.py: what its flags ask to be planned, and what it refuses."""

from pathlib import Path

import pytest
import torch

import plan
from bases.table import BASES
from basics.errors import UserError
from commands import assert_one_line_error, call_script
from engine.batching import TOKEN_BUDGETS
from planning.data import ACCELERATORS, TEXTS
from planning.estimate import Workload

CPU, GPU = torch.device("cpu"), torch.device("cuda")


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
    monkeypatch.setattr("planning.device.choose_precision", lambda *_: torch.float32)  # as a CPU without bf16
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


def test_whose_texts_nobody_has_counted_is_refused() -> None:
    for name, told in {"dailydialog": "its texts are not counted: choose one of sample", "nowhere": "DATA"}.items():
        refused = call_script(plan.main, "--model_name_or_path", "LLaMA2", "--dataset", name)
        assert_one_line_error(
            refused, f"--dataset: '{name}' is not allowed", told.replace("DATA", "allowed are sample")
        )
