"""Where adapters sit, which kinds there are, and what 4-bit weights need."""

import json
import warnings
from pathlib import Path

import pytest
import torch
from peft.tuners.lora import LoraLayer
from safetensors.torch import load_file

import main_new
from bases.adapters import add_lora, choose_targets, count_trainable, find_targets
from bases.find import check_precision, find_row
from bases.load import as_in_training
from bases.table import BASES, SHAPES
from basics.errors import UserError
from commands import call_script
from planning.meta_model import build_empty, load_config
from tiny_models import main_command, save_base, save_rows, tiny_model

CPU, GPU = torch.device("cpu"), torch.device("cuda")
PAPER_LIST = "q_proj,k_proj,v_proj,query_key_value"


@pytest.mark.parametrize("modules", ["auto", PAPER_LIST])
@pytest.mark.parametrize("base", ["LLaMA", "LLaMA2"])
def test_lora_of_the_paper_on_llama_7b(base: str, modules: str) -> None:
    """12,582,912 trainable parameters, without weights."""
    model = build_empty(load_config(base), torch.bfloat16, CPU)
    with torch.device("meta"):
        model = add_lora(model, 16, 16, 0.05, choose_targets(model, modules, base)[0])
    assert count_trainable(model) == (12_582_912, 6_738_415_616 + 12_582_912)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("llama", ["q_proj", "k_proj", "v_proj", "o_proj"]),
        ("glm4", ["q_proj", "k_proj", "v_proj", "o_proj"]),
        ("bloom", ["query_key_value"]),
        ("gpt2", ["c_attn", "attn.c_proj"]),
    ],
)
def test_targets_found_by_inspection(kind: str, expected: list[str]) -> None:
    model = tiny_model(kind)
    assert find_targets(model) == expected
    targets, says = choose_targets(model, "auto", "/nowhere/of/the/table")
    assert targets == ",".join(expected) and "inspection" in says
    adapted = {name for name, _ in add_lora(model, 2, 2, 0.0, targets).named_modules() if name.endswith(".lora_A")}
    assert len(adapted) == 2 * len(expected) and all("att" in name for name in adapted)


def test_a_row_counts_before_inspection_and_the_user_before_it() -> None:
    model = tiny_model("llama")
    assert choose_targets(model, "auto", "SmolLM2-135M") == ("all", "the table's for SmolLM2-135M")
    assert choose_targets(model, "auto", "meta-llama/Llama-2-7b-hf")[0] == "q_proj,k_proj,v_proj"
    assert choose_targets(model, "down_proj", "LLaMA2") == ("down_proj", "as given")
    # A row that speaks of another architecture than the model's is not heard.
    assert choose_targets(model, "auto", "Bloom-560m")[0] == "q_proj,k_proj,v_proj,o_proj"


def test_rows_are_found_by_name_hub_id_and_folder(tmp_path: Path) -> None:
    row = BASES["Qwen3-8B"]
    fetched, other = tmp_path / "mine", tmp_path / "other"
    for folder, content in ((fetched, {"hub_id": row.hub_id}), (other, {"hub_id": "somebody/else"})):
        folder.mkdir()
        (folder / "SOURCE.json").write_text(json.dumps(content))
    (tmp_path / "Qwen3-8B").mkdir()
    assert all(find_row(name) == row for name in ("Qwen3-8B", row.hub_id, fetched, tmp_path / "Qwen3-8B"))
    assert find_row(other) is None and find_row("somebody/else") is None


def test_rows_are_whole() -> None:
    for name, row in BASES.items():
        assert row.architecture and row.licence and row.verified and row.size_mb > 0, name
        assert row.lora_targets == "all" or (row.lora_targets and isinstance(row.lora_targets, tuple)), name
        assert set(row.precisions) <= {"bf16", "fp32", "fp16"} and row.precisions, name
    assert SHAPES.keys() <= BASES.keys()


def test_a_precision_that_overflows_is_refused() -> None:
    for fine in ("auto", "bf16", "fp32", "bf61"):  # the last is told by choose_precision, as no precision
        check_precision("Gemma-3-1B", fine)
    check_precision("LLaMA2", "fp16")
    with pytest.raises(UserError, match="--precision fp16: Gemma-3-1B overflows .* bf16, fp32"):
        check_precision("google/gemma-3-1b-it", "fp16")


@pytest.mark.parametrize(
    ("wanted", "trained", "device", "expected"),
    [
        ("auto", "fp32", CPU, "fp32"),
        ("auto", "fp16", GPU, "fp16"),
        ("auto", "fp16", CPU, "auto"),  # which no CPU computes in
        ("auto", "bf16", CPU, "auto"),  # bf16 where it is to be had
        ("auto", None, GPU, "auto"),
        ("bf16", "fp32", CPU, "bf16"),
    ],
)
def test_auto_is_the_precision_of_training(wanted: str, trained: str | None, device, expected: str) -> None:
    assert as_in_training(wanted, trained, device) == expected


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("ways")
    return save_base(folder / "base"), save_rows(folder)


def run(place: tuple[Path, Path], output: Path, **flags: object):
    command = main_command(*place, output, **{"num_train_epochs": 1, "save_steps": 0} | flags)
    return call_script(main_new.main, *command)


@pytest.mark.parametrize("flags", [{"dora": True}, {"rslora": True}, {"dora": True, "rslora": True}], ids=str)
def test_other_adapters_train_and_reload(place, tmp_path: Path, flags: dict) -> None:
    flags = {"lora_module_name": "auto", "lora_dropout": 0, "learning_rate": 1e-2} | flags
    trained = run(place, tmp_path, **flags)
    assert trained.returncode == 0, trained.stderr
    assert "inspection" in trained.stderr and ("DoRA" in trained.stderr) == flags.get("dora", False)
    config = json.loads((tmp_path / "model" / "adapter_config.json").read_text())
    assert (config["use_dora"], config["use_rslora"]) == (flags.get("dora", False), flags.get("rslora", False))
    weights = load_file(tmp_path / "model" / "adapter_model.safetensors")
    magnitudes = [weight for name, weight in weights.items() if "magnitude" in name]
    assert len(magnitudes) == (2 * 4 if config["use_dora"] else 0)
    again = run(place, tmp_path / "again", do_train=False, checkpoint_dir=tmp_path / "model", lora_module_name=None)
    assert again.returncode == 0, again.stderr
    first, second = (folder / "results" / "predictions.jsonl" for folder in (tmp_path, tmp_path / "again"))
    assert first.read_bytes() == second.read_bytes()


def test_nobody_is_warned_of_what_a_library_calls_by_an_old_name(place, tmp_path: Path) -> None:
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        assert run(place, tmp_path, gradient_checkpointing=True).returncode == 0
    assert [str(one.message) for one in told if issubclass(one.category, FutureWarning)] == []
    with pytest.warns(UserWarning, match="fan_in_fan_out"):  # what else PEFT warns of is heard
        add_lora(tiny_model("gpt2"), 4, 8, 0.0, "attn.c_proj")


def test_rank_stabilised_adapters_are_scaled_by_the_root() -> None:
    model = add_lora(tiny_model("llama"), 4, 8, 0.0, "q_proj", rslora=True)
    scalings = [module.scaling for module in model.modules() if isinstance(module, LoraLayer)]
    assert scalings == [{"default": 8 / 4**0.5}] * 2
