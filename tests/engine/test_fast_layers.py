"""The fused LoRA layers against PEFT's own: the same outputs and gradients, and PEFT's own where they do not fit."""

import gc
import weakref
from collections.abc import Callable
from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import nn

from bases.adapters import add_lora
from engine import layers as fast_layers
from engine.batching import training_batches
from engine.layers import merged_adapters, use_fast_lora
from engine.packing import batch_loss, packer_for
from tiny_models import LAYER, LAYERS, PAD, VOCABULARY_SIZE, rounding, small_rows, tiny_model

pytestmark = pytest.mark.numeric

WIDTHS = (6, 5)
RELATIVE = rounding(*2 * LAYERS * LAYER, VOCABULARY_SIZE)  # there and back
BASE = "base_model.model.linear.base_layer.weight"
Outcome = tuple[torch.Tensor, dict[str, torch.Tensor]]


class OneLayer(nn.Module):
    """The smallest base that PEFT adapts."""

    def __init__(self, bias: bool) -> None:
        super().__init__()
        self.linear = nn.Linear(*WIDTHS, bias=bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(x)


def adapted_layer(base_bias: bool = True, **settings) -> nn.Module:
    """One LoRA layer in training mode with every weight drawn; PEFT starts B at zero, which hides faults."""
    torch.manual_seed(0)
    config = {"r": 3, "lora_alpha": 7, "lora_dropout": 0.0} | settings
    model = get_peft_model(OneLayer(base_bias), LoraConfig(target_modules=["linear"], **config))
    for name, weight in model.named_parameters():
        if "lora_" in name and "magnitude" not in name:
            nn.init.normal_(weight)
    return model.train()


def run_layer(model: nn.Module, shape: tuple[int, ...] = (2, 4), input_needs_gradient: bool = True) -> Outcome:
    """Output, and the gradients of a sum that weighs every number differently; draws start at one seed."""
    torch.manual_seed(1)
    x = torch.randn(*shape, WIDTHS[0], requires_grad=input_needs_gradient)
    model.zero_grad()
    output = model(x)
    if output.requires_grad:
        (output * torch.arange(1.0, output.numel() + 1).view_as(output)).sum().backward()
    named = [*model.named_parameters(), ("x", x)]
    return output.detach(), {name: weight.grad.clone() for name, weight in named if weight.grad is not None}


def assert_same(found: Outcome, expected: Outcome) -> None:
    torch.testing.assert_close(found[0], expected[0], rtol=RELATIVE, atol=1e-5)
    assert found[1].keys() == expected[1].keys()
    for name, gradient in expected[1].items():
        torch.testing.assert_close(found[1][name], gradient, rtol=RELATIVE, atol=1e-4, msg=name)


def count_fused(model: nn.Module, run: Callable[[], object], monkeypatch) -> int:
    """How often the fused product runs."""
    calls = []
    product = fast_layers.LoraProduct
    counted = SimpleNamespace(apply=lambda *inputs: calls.append(1) or product.apply(*inputs))
    with monkeypatch.context() as patch:
        patch.setattr(fast_layers, "LoraProduct", counted)
        run()
    return len(calls)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("dropout", [0.0, 0.4])
@pytest.mark.parametrize("shape", [(2, 4), (7,)], ids=["batch", "rows"])
def test_fused_layer_is_pefts(bias: bool, dropout: float, shape: tuple[int, ...], monkeypatch) -> None:
    model = adapted_layer(bias, lora_dropout=dropout)
    expected = run_layer(model, shape)
    assert len(expected[1]) == 3  # A, B and x
    assert use_fast_lora(model) == 1
    assert count_fused(model, lambda: run_layer(model, shape), monkeypatch) == 1
    assert_same(run_layer(model, shape), expected)


@pytest.mark.parametrize("settings", [{"use_rslora": True}, {"lora_alpha": 1}])
def test_scaling_is_pefts(settings: dict) -> None:
    model = adapted_layer(**settings)
    expected = run_layer(model)
    use_fast_lora(model)
    assert_same(run_layer(model), expected)


@pytest.mark.parametrize("dropout", [0.0, 0.4])
def test_first_layer_whose_input_needs_no_gradient(dropout: float) -> None:
    model = adapted_layer(lora_dropout=dropout)
    expected = run_layer(model, input_needs_gradient=False)
    use_fast_lora(model)
    assert_same(run_layer(model, input_needs_gradient=False), expected)


def test_no_dropout_in_eval() -> None:
    model = adapted_layer(lora_dropout=0.4).eval()
    expected = run_layer(model)
    use_fast_lora(model)
    assert_same(run_layer(model), expected)
    without = adapted_layer(lora_dropout=0.0)
    assert_same(run_layer(model), run_layer(without))


def test_disabled_and_merged_adapters(monkeypatch) -> None:
    model = adapted_layer()
    use_fast_lora(model)
    plain = nn.functional.linear
    layer = model.base_model.model.linear
    with model.disable_adapter():
        assert count_fused(model, lambda: run_layer(model), monkeypatch) == 0
        torch.manual_seed(1)
        x = torch.randn(2, 4, WIDTHS[0])
        assert torch.equal(model(x), plain(x, layer.base_layer.weight, layer.base_layer.bias))
    expected = run_layer(model)[0]
    model.merge_adapter()
    assert count_fused(model, lambda: run_layer(model), monkeypatch) == 0
    torch.testing.assert_close(run_layer(model)[0], expected)
    model.unmerge_adapter()
    torch.testing.assert_close(run_layer(model)[0], expected)


@pytest.mark.parametrize("bias", [True, False])
def test_adapters_are_merged_for_a_while(bias: bool, monkeypatch) -> None:
    """One product, the same answer; afterwards every weight is the tensor that it was, also after an error."""
    model = adapted_layer(base_bias=bias)
    use_fast_lora(model)
    model.eval()
    x, base = torch.randn(5, WIDTHS[0]), model.get_parameter(BASE)
    weights = {name: (weight.data_ptr(), weight.clone()) for name, weight in model.named_parameters()}
    expected = model(x)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError), merged_adapters(model), torch.inference_mode():
            assert count_fused(model, lambda: torch.testing.assert_close(model(x), expected), monkeypatch) == 0
            assert base.data_ptr() != weights[BASE][0]
            raise ZeroDivisionError
    for name, weight in model.named_parameters():
        assert (weight.data_ptr(), True) == (weights[name][0], torch.equal(weight, weights[name][1])), name
    assert torch.equal(model(x), expected)
    assert count_fused(model.train(), lambda: run_layer(model), monkeypatch) == 1


@pytest.mark.parametrize("why", ["bf16", "large", "disabled", "dora"])
def test_adapters_that_stay_beside_their_base(why: str, monkeypatch) -> None:
    model = adapted_layer(**({"use_dora": True} if why == "dora" else {})).eval()
    model = model.to(torch.bfloat16) if why == "bf16" else model
    use_fast_lora(model)
    if why == "large":
        monkeypatch.setattr(fast_layers, "MOST_HELD_TWICE", 1)
    base = model.get_parameter(BASE)
    before = base.data_ptr()
    with model.disable_adapter() if why == "disabled" else nullcontext(), merged_adapters(model):
        assert base.data_ptr() == before


def test_an_adapted_head_does_not_change_the_embeddings_that_it_shares() -> None:
    """Of an adapter that was made elsewhere: here none sits on a head."""
    torch.manual_seed(0)
    config = LoraConfig(r=3, target_modules=["q_proj", "lm_head"], init_lora_weights=False, task_type="CAUSAL_LM")
    model = get_peft_model(tiny_model("llama", tie_word_embeddings=True), config).eval()
    assert use_fast_lora(model) == LAYERS + 1
    tokens = torch.arange(3, 20)[None]
    expected = model(tokens).logits
    with merged_adapters(model), torch.inference_mode():
        torch.testing.assert_close(model(tokens).logits, expected)


@pytest.mark.parametrize("settings", [{"use_dora": True}, {"lora_bias": True}, {"bias": "all"}], ids=str)
def test_other_kinds_of_lora_keep_pefts_forward(settings: dict) -> None:
    model = adapted_layer(**settings)
    expected = run_layer(model)
    assert use_fast_lora(model) == 0
    assert_same(run_layer(model), expected)


def test_two_adapters_and_another_precision_keep_pefts_forward() -> None:
    model = adapted_layer()
    model.add_adapter("second", LoraConfig(r=2, target_modules=["linear"]))
    assert use_fast_lora(model) == 0
    half = adapted_layer()
    half.base_model.model.linear.base_layer.to(torch.bfloat16)
    assert use_fast_lora(half) == 0


def test_a_model_is_freed_with_its_last_name() -> None:
    """No layer holds itself: a GPU's memory would be waiting for Python's collector of circles."""
    model = adapted_layer()
    use_fast_lora(model)
    layer = weakref.ref(model.base_model.model.linear)
    gc.collect()
    gc.disable()
    try:
        del model
        assert layer() is None
    finally:
        gc.enable()


def test_an_adapter_that_comes_later_is_not_overlooked() -> None:
    model = adapted_layer()
    use_fast_lora(model)
    model.add_adapter("second", LoraConfig(r=2, target_modules=["linear"], init_lora_weights=False))
    model.base_model.set_adapter(["default", "second"])
    found = run_layer(model)
    reference = adapted_layer()
    reference.add_adapter("second", LoraConfig(r=2, target_modules=["linear"], init_lora_weights=False))
    reference.load_state_dict(model.state_dict())
    reference.base_model.set_adapter(["default", "second"])
    assert_same(found, run_layer(reference))


def lora_gradients(model, rows) -> tuple[float, dict[str, torch.Tensor]]:
    """One step in micro-batches; dropout is drawn from one seed."""
    packer = packer_for(model, "tree", PAD)
    torch.manual_seed(3)
    total = 0.0
    for batch in training_batches(rows, 400, True, micro_steps=2):
        loss = batch_loss(model, packer.pack(batch))
        loss.backward()
        total += loss.item()
    taken = {name: weight.grad for name, weight in model.named_parameters() if weight.requires_grad}
    model.zero_grad()
    return total, taken


@pytest.mark.parametrize(
    ("kind", "modules", "layers"), [("qwen2", "all", 14), ("glm4", "all", 12), ("bloom", "query_key_value", 2)]
)
def test_a_whole_model_trains_as_with_peft(kind: str, modules: str, layers: int, monkeypatch) -> None:
    """Through the function that builds real runs; qwen2 and bloom have biases."""
    rows = small_rows("predict", window=2, count=2)
    found = []
    for fused in (True, False):
        with monkeypatch.context() as patch:
            if not fused:
                patch.setattr("bases.adapters.use_fast_lora", lambda model: 0)
            model = add_lora(tiny_model(kind), rank=4, alpha=8, dropout=0.2, modules=modules).train()
        torch.manual_seed(2)
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                nn.init.normal_(weight, std=0.1)
        found.append(lora_gradients(model, rows))
    assert len(found[0][1]) == 2 * layers
    assert found[0][0] == pytest.approx(found[1][0], rel=RELATIVE)
    for name, gradient in found[1][1].items():
        assert float((found[0][1][name] - gradient).norm() / gradient.norm()) < RELATIVE, name
