"""Compiled layers compute what eager ones do, and `auto` compiles only where it pays and a compiler is there."""

import os
import shutil

import pytest
import torch
from torch import nn
from torch._inductor.utils import fresh_cache

from bases.adapters import add_lora
from engine import layers as compilation
from engine import tree_attention
from engine.batching import training_batches
from engine.layers import COMPILERS, ROWS_THAT_PAY, compile_layers, decoder_layers, should_compile
from engine.packing import batch_loss, packer_for
from rounding import LAYER, rounding
from tiny_models import LAYERS, PAD, VOCABULARY_SIZE, small_rows, tiny_model

pytestmark = pytest.mark.numeric

CPU, GPU = torch.device("cpu"), torch.device("cuda")
RELATIVE = rounding(*2 * LAYERS * LAYER, VOCABULARY_SIZE)  # there and back
has_compiler = any(map(shutil.which, [os.environ.get("CXX", ""), *COMPILERS]))


@pytest.fixture
def compiled_afresh():
    """Nothing compiled before counts, as by a process that was told of another processor.

    compile_layers registers the tree attention anew, for every model of the process; it is put back.
    """
    with fresh_cache():
        yield
    tree_attention.register()
    torch.compiler.reset()


def train_steps(model: nn.Module) -> list[tuple[float, dict[str, torch.Tensor]]]:
    """Loss and every gradient of the micro-batches of one step, of several sizes; all trees, not chains."""
    rows = small_rows("predict", window=12, alpha=0.3, count=3, turns=4)
    batches = training_batches(rows, 500, share_prefixes=True)
    trees = [batch.tree() for batch in batches]
    assert len({len(tree) for tree in trees}) > 1 and all(len(tree) < tree.row_tokens for tree in trees)
    found = []
    for batch in batches:
        loss = batch_loss(model, packer_for(model, "tree", PAD).pack(batch))
        loss.backward()
        found.append((loss.item(), {name: p.grad for name, p in model.named_parameters() if p.requires_grad}))
        model.zero_grad()
    return found


@pytest.mark.slow
@pytest.mark.skipif(not has_compiler, reason="no C++ compiler")
def test_compiled_layers_give_the_eager_loss_and_gradients(compiled_afresh) -> None:
    torch.manual_seed(0)
    model = add_lora(tiny_model("llama"), rank=4, alpha=4, dropout=0.0, modules="all")
    for name, weight in model.named_parameters():
        weight.requires_grad_("base_layer" not in name)  # norms and embeddings beside the adapters
        if "lora_B" in name:  # PEFT starts it at zero, which would leave A without a gradient
            nn.init.normal_(weight, std=0.1)
    model.train()
    expected = train_steps(model)
    compile_layers(model)
    counted = torch._dynamo.utils.counters
    counted.clear()
    found = train_steps(model)
    assert counted["stats"]["unique_graphs"] > 0, "nothing was compiled"
    for (loss, gradients), (eager_loss, eager) in zip(found, expected, strict=True):
        assert loss == pytest.approx(eager_loss, rel=RELATIVE)
        errors = {name: float((gradients[name] - one).norm() / one.norm()) for name, one in eager.items()}
        assert {name: error for name, error in errors.items() if not error <= RELATIVE} == {}


DECISIONS = [
    ("True", 1, CPU, (), True),
    ("False", ROWS_THAT_PAY, GPU, ("g++",), False),
    ("auto", ROWS_THAT_PAY, CPU, ("g++",), True),
    ("auto", ROWS_THAT_PAY, CPU, ("my-compiler",), True),  # what CXX names
    ("auto", ROWS_THAT_PAY, CPU, (), False),
    ("auto", ROWS_THAT_PAY - 1, CPU, ("g++",), False),
    ("auto", ROWS_THAT_PAY, GPU, (), True),  # Triton brings its own
    ("auto", ROWS_THAT_PAY - 1, GPU, ("g++",), False),
]


@pytest.mark.parametrize(("wanted", "rows", "device", "compilers", "decision"), DECISIONS)
def test_when_layers_are_compiled(wanted, rows, device, compilers, decision, monkeypatch) -> None:
    monkeypatch.setenv("CXX", "my-compiler")
    monkeypatch.setattr(compilation.shutil, "which", lambda name: name if name in compilers else None)
    assert should_compile(wanted, rows, device) is decision


def test_the_layers_are_found_among_other_lists() -> None:
    model = tiny_model("llama", num_hidden_layers=3)
    model.more = nn.ModuleList([nn.Linear(1, 1)] * 2)
    assert decoder_layers(model) is model.model.layers
