"""Plans of bases that no row of the table has: experts, layers that differ, latent attention, no shared prefixes."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

import plan
from commands import assert_one_line_error, call_script
from engine import last_layer
from planning.data import WAYS, Texts
from planning.estimate import Workload, measure, plan_base, sum_head_widths, training_flops, typical_batch, used_share
from tiny_models import OTHER_KINDS, count_products, tiny_model

CPU, GPU = torch.device("cpu"), torch.device("cuda")
LORA, ALL = (next(way for way in WAYS if way.name == name) for name in ("LoRA", "all parameters"))
FEW = Texts(rows=100, tokens=60, shared=2.0)


@pytest.mark.numeric
def test_operations_of_experts_are_those_of_the_ones_that_a_token_meets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of four experts each token meets two; the planner leaves out the router alone."""
    monkeypatch.setattr(last_layer, "KNOWN", frozenset())
    load, config = Workload(FEW, 500), tiny_model("mixtral").config
    found = replace(measure("tiny", config, ALL, load), pairs=0)
    model = tiny_model("mixtral").train()
    model.set_experts_implementation("eager")  # PyTorch does not count the products of the others
    products = count_products(model, typical_batch(FEW, 500))
    router = 2 * 3 * 2 * found.nodes * 32 * 4
    assert training_flops(found, ALL) + router == products
    assert found.frozen_experts == 0 < measure("tiny", config, LORA, load).frozen_experts == found.trained_experts


@pytest.mark.parametrize("kind", OTHER_KINDS)
@pytest.mark.parametrize(
    ("device", "dtype"), [(GPU, torch.bfloat16), (GPU, torch.float32), (CPU, torch.bfloat16)], ids=str
)
def test_bases_of_other_shapes_are_planned(kind: str, device: torch.device, dtype: torch.dtype, tmp_path: Path) -> None:
    """Layers with heads of their own, keys wider than values, experts; these multiply in bf16 alone without numbers."""
    if (kind, dtype) == ("mixtral", torch.float32):
        return
    tiny_model(kind).config.save_pretrained(tmp_path)
    for one in plan_base(str(tmp_path), Workload(FEW, 500, device=device, dtype=dtype)):
        assert one.activations > 0 and one.flops > 0


def test_bases_that_share_no_prefixes_are_planned_so(tmp_path: Path) -> None:
    """As in training, which then pads rows: all tokens are computed, however many the rows share."""
    for kind, changes in {"dropping": {"attn_pdrop": 0.1}, "sharing": {}}.items():
        tiny_model("gpt2", **changes).config.save_pretrained(tmp_path / kind)
    for device in (GPU, CPU):
        load = Workload(FEW, 500, device=device)
        dropping, sharing = (plan_base(str(tmp_path / kind), load) for kind in ("dropping", "sharing"))
        alone = plan_base(str(tmp_path / "sharing"), replace(load, texts=replace(FEW, shared=1.0)))
        for one, other, whole in zip(dropping, sharing, alone, strict=True):
            assert one.flops == whole.flops > 1.5 * other.flops
            assert one.activations == pytest.approx(whole.activations, rel=0.01)


def test_widths_of_heads_are_summed_over_layers_that_differ() -> None:
    llama, gemma, latent = (tiny_model(kind).config for kind in ("llama", "gemma4", "mla"))
    assert sum_head_widths(llama) == 2 * 4 * 8
    assert sum_head_widths(gemma) == sum(4 * gemma.per_layer_config[number].head_dim for number in (0, 1))
    assert sum_head_widths(latent) == 2 * 4 * (10 + 6) / 2


def test_experts_may_be_counted_for_each_block() -> None:
    """As `moe_topk` of HunYuan-A13B counts them."""
    experts = torch.empty(8, 2, 2)
    shares = [used_share(experts, SimpleNamespace(moe_topk=used)) for used in (4, [4, 4], [2, 6], [16, 16])]
    assert shares == [0.5, 0.5, 0.5, 1]
    assert used_share(experts, SimpleNamespace()) == 1


@pytest.mark.parametrize(
    ("stored", "told"),
    [({"quant_method": "gptq", "bits": 4}, "(gptq): give"), ({"load_in_4bit": True}, "(bitsandbytes): add --quantize")],
)
def test_a_base_whose_files_are_quantized_is_planned_with_a_warning(
    stored: dict, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Training refuses it as it is; memory and hours are those of the base in 16 bits."""
    config = tiny_model("llama").config
    config.save_pretrained(tmp_path / "whole")
    config.quantization_config = stored
    config.save_pretrained(tmp_path / "quantized")
    load = Workload(FEW, 500, device=CPU)
    assert plan_base(str(tmp_path / "whole"), load) and not capsys.readouterr().err
    assert plan_base(str(tmp_path / "quantized"), load) == plan_base(str(tmp_path / "whole"), load)
    assert f"warning: base {tmp_path / 'quantized'} is stored quantized {told}" in capsys.readouterr().err


def test_a_base_that_does_not_run_without_numbers_is_refused_in_one_line(tmp_path: Path) -> None:
    """Experts multiply in bf16 alone on the meta device."""
    tiny_model("mixtral").config.save_pretrained(tmp_path)
    refused = call_script(plan.main, "--model_name_or_path", tmp_path, "--precision", "fp32")
    assert_one_line_error(refused, str(tmp_path), "(mixtral) cannot be planned: RuntimeError: Expected inputs of BF16")
