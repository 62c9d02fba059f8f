"""Compiled layers compute what eager ones do, and `auto` compiles only where it pays and a compiler is there."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from bases.adapters import add_lora
from basics.errors import UserError
from basics.files import find_repository
from engine import layers as compilation
from engine.attention import tree_attention
from engine.batching import training_batches
from engine.layers import (
    COMPILERS,
    ROWS_THAT_PAY,
    compile_layers,
    decoder_layers,
    missing_for_compiling,
    should_compile,
)
from engine.packing import batch_loss, packer_for
from tiny_models import LAYER, PAD, VOCABULARY_SIZE, rounding, small_rows, tiny_model

CPU, GPU = torch.device("cpu"), torch.device("cuda")
CXX = COMPILERS["cpu"][1]
RELATIVE = rounding(*2 * LAYER, VOCABULARY_SIZE)  # there and back


@pytest.fixture
def attention_restored():
    """compile_layers registers the tree attention anew, for every model of the process."""
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
@pytest.mark.skipif(bool(missing_for_compiling(CPU)), reason="no C++ compiler")
def test_compiled_layers_give_the_eager_loss_and_gradients(attention_restored, monkeypatch) -> None:
    """In C++ that is not optimized: a compiler spends most of the time on that, and is not what is tested."""
    monkeypatch.setenv("TORCHINDUCTOR_DEBUG_COMPILE", "1")
    torch.manual_seed(0)
    model = add_lora(tiny_model("llama", num_hidden_layers=1), rank=4, alpha=4, dropout=0.0, modules="all")
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


COMPILED = """
import basics.scripts
import torch
from engine.layers import tell_caches_apart

tell_caches_apart()
torch.manual_seed(0)
numbers = torch.randn(64, 1536) * 5
double = lambda numbers: torch.nn.functional.silu(numbers) * 2
print(float((torch.compile(double)(numbers) - double(numbers)).abs().max()))
"""


@pytest.mark.slow
@pytest.mark.skipif(bool(missing_for_compiling(CPU)), reason="no C++ compiler")
def test_code_for_other_vectors_is_not_taken_from_the_disk(tmp_path: Path) -> None:
    """As when a home is shared between machines; without the tag the second ends by a signal, or with other numbers."""
    for vectors in ("avx2", "default"):
        told = {"ATEN_CPU_CAPABILITY": vectors, "TORCHINDUCTOR_CACHE_DIR": str(tmp_path), "OMP_NUM_THREADS": "1"}
        environment = os.environ | told | {"PYTHONPATH": str(find_repository() / "code")}
        command = [sys.executable, "-c", COMPILED]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
        assert (done.returncode, float(done.stdout)) == (0, pytest.approx(0, abs=1e-5)), done.stderr


DECISIONS = [
    ("True", 1, CPU, (CXX,), True),
    ("False", ROWS_THAT_PAY, GPU, ("gcc",), False),
    ("auto", ROWS_THAT_PAY, CPU, (CXX,), True),
    ("auto", ROWS_THAT_PAY, CPU, ("gcc",), False),
    ("auto", ROWS_THAT_PAY, CPU, (), False),
    ("auto", ROWS_THAT_PAY - 1, CPU, (CXX,), False),
    ("True", 1, GPU, ("gcc",), True),
    ("auto", ROWS_THAT_PAY, GPU, ("clang",), True),
    ("auto", ROWS_THAT_PAY, CPU, ("gcc", "clang"), False),
    ("auto", ROWS_THAT_PAY, GPU, (CXX,), False),
    ("auto", ROWS_THAT_PAY, GPU, (), False),  # Triton writes C for the host, and brings no compiler for it
    ("auto", ROWS_THAT_PAY - 1, GPU, ("gcc",), False),
]


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch):
    """Says which compilers there are, and what CC and CXX name."""

    def choose(*compilers: str, named: str = "") -> None:
        for variable in ("CC", "CXX"):
            monkeypatch.setenv(variable, named)
        monkeypatch.setattr(compilation.shutil, "which", lambda name: name if name in compilers else None)
        monkeypatch.setattr(compilation.Path, "is_file", lambda path: path.name == "Python.h")

    return choose


@pytest.mark.parametrize(("wanted", "rows", "device", "compilers", "decision"), DECISIONS)
def test_when_layers_are_compiled(wanted, rows, device, compilers, decision, install, capsys) -> None:
    install(*compilers)
    assert should_compile(wanted, rows, device) is decision
    told = capsys.readouterr().err
    lacking = wanted == "auto" and rows >= ROWS_THAT_PAY and not decision
    assert told.count("\n") == lacking and told.startswith("layers are not compiled: no compiler" if lacking else "")


@pytest.mark.parametrize("device", [CPU, GPU])
def test_the_compiler_that_the_environment_names_is_the_one_that_counts(device, install) -> None:
    install("mine", named="mine")
    assert not missing_for_compiling(device)
    install("gcc", "g++", "clang++", named="mine")
    assert "no compiler" in missing_for_compiling(device)


@pytest.mark.parametrize("device", [CPU, GPU])
def test_what_is_lacking_is_told_before_anything_is_compiled(device, install, monkeypatch) -> None:
    install()
    with pytest.raises(UserError, match="--compile_layers True: no compiler, .*; install it, or choose False"):
        should_compile("True", 1, device)
    install("gcc", "g++", "clang++")
    monkeypatch.setattr(compilation.Path, "is_file", lambda path: False)
    with pytest.raises(UserError, match="no .*Python.h"):
        should_compile("True", 1, device)


def test_the_layers_are_found_among_other_lists() -> None:
    model = tiny_model("llama", num_hidden_layers=3)
    model.more = nn.ModuleList([nn.Linear(1, 1)] * 2)
    assert decoder_layers(model) is model.model.layers
