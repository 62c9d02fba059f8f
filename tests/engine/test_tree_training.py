"""A tree micro-batch gives the loss and every gradient of its rows run one at a time, for every kind of base."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache

import pytest
import torch
from torch import nn

from engine.attention import tree_attention, tree_kernel
from engine.attention.tree_ways import BLOCKS, DENSE, KERNEL, SEGMENTS
from engine.batching import EncodedRow, MicroBatch, training_batches
from engine.layers import missing_for_compiling
from engine.packing import Packer, batch_loss, packer_for
from tiny_models import (
    KINDS,
    LAYER,
    LAYERS,
    OTHER_KINDS,
    PAD,
    VOCABULARY_SIZE,
    Step,
    assert_steps_agree,
    rounding,
    small_rows,
    sum_up_step,
    take_gradients,
    tiny_model,
)
from training.engines import MasterWeights

pytestmark = pytest.mark.numeric

CPU = torch.device("cpu")
RELATIVE = rounding(*2 * LAYERS * LAYER, VOCABULARY_SIZE)  # there and back
EVERY_KIND = {**KINDS, **OTHER_KINDS}
BLOCKWISE = [kind for kind in EVERY_KIND if kind not in ("gemma2", "bloom")]
SLIDING = ["gemma2", "gemma3", "gemma4", "mistral"]  # 40 tokens back; the rows are 75 to 140 long


@pytest.fixture(scope="module", params=[2, 12], ids=["window 2", "full history"])
def rows(request) -> list[EncodedRow]:
    """Both tasks; emotion prediction weighs 0.3."""
    return small_rows("predict", window=request.param, alpha=0.3, count=2, turns=4)


@pytest.fixture(scope="module")
def plain_step(rows) -> Callable[[str], Step]:
    """Of a kind of base: `one_at_a_time` of its rows, once for all that is held against it."""
    return cache(lambda kind: one_at_a_time(tiny_model(kind), rows))


@pytest.fixture
def small_blocks(monkeypatch) -> None:
    """Blocks of four queries: ragged ends, several buckets and ancestors many blocks back."""
    monkeypatch.setattr(tree_attention, "BLOCK", 4)
    monkeypatch.setattr(tree_attention, "BUCKETS", 3)


def one_at_a_time(model, rows: list[EncodedRow]) -> tuple[float, dict[str, torch.Tensor]]:
    """The loss as the method states it: nothing packed, nothing padded, no mask."""
    total = 0.0
    for row in rows:
        read = torch.tensor([[*row.prompt, *row.target[:-1]]])
        log_p = model(input_ids=read, use_cache=False).logits[0].log_softmax(-1)
        target = torch.tensor(row.target)
        loss = -log_p[len(row.prompt) - 1 :].gather(1, target[:, None]).mean() * row.weight / len(rows)
        loss.backward()
        total += loss.item()
    return total, take_gradients(model)


def in_micro_batches(
    model, rows: list[EncodedRow], packer: Packer, budget: int = 500
) -> tuple[float, dict[str, torch.Tensor]]:
    """The same step as training takes it: cut by a token budget and into at least two micro-batches."""
    batches = training_batches(rows, budget, packer.shares_prefixes, micro_steps=2)
    assert 2 < len(batches) < len(rows) / 3
    trees = [batch.tree() for batch in batches]
    assert all(tree.depth < len(tree) / 2 and len(tree) < tree.row_tokens for tree in trees), "no tree, but a chain"
    return sum_up_step(model, packer, batches)


def assert_same_step(found: Step, expected: Step) -> None:
    assert_steps_agree(found, expected, RELATIVE)


def test_rows_are_as_long_as_the_tests_need(rows) -> None:
    lengths = [len(row.prompt) for row in rows]
    assert {row.task for row in rows} == {"emotion_recognition", "emotion_prediction"}
    assert {row.weight for row in rows} == {1.0, 0.3}
    assert max(lengths) > 2 * 40


@pytest.mark.parametrize("kind", BLOCKWISE)
@pytest.mark.usefixtures("small_blocks")
def test_blockwise_attention_trains_as_rows(kind: str, rows, plain_step) -> None:
    model = tiny_model(kind)
    packer = packer_for(model, "tree", PAD)
    heads, kv_heads = {"gpt2": (4, 4), "mla": (4, 4), "gemma4": (0, 0)}.get(kind, (4, 2))
    assert packer.way == BLOCKS and (packer.heads, packer.kv_heads) == (heads, kv_heads)
    assert_same_step(in_micro_batches(model, rows, packer), plain_step(kind))


@pytest.mark.parametrize("kind", BLOCKWISE)
def test_runs_of_nodes_train_as_rows(kind: str, rows, plain_step) -> None:
    model = tiny_model(kind)
    packer = replace(packer_for(model, "tree", PAD), way=SEGMENTS)
    assert_same_step(in_micro_batches(model, rows, packer), plain_step(kind))


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_dense_mask_trains_as_rows(kind: str, rows, plain_step) -> None:
    model = tiny_model(kind, attention="sdpa" if kind in BLOCKWISE else "eager")
    packer = packer_for(model, "tree", PAD)
    assert packer.shares_prefixes and packer.way == DENSE
    assert_same_step(in_micro_batches(model, rows, packer), plain_step(kind))


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_padded_rows_train_as_rows(kind: str, rows, plain_step) -> None:
    model = tiny_model(kind)
    packed = in_micro_batches(model, rows, Packer("rows", PAD), budget=600)
    assert_same_step(packed, plain_step(kind))


def error_of_gradients(model: nn.Module, losses: Iterator[torch.Tensor], exact: torch.Tensor) -> float:
    """How far the gradients that training sums up in fp32, of a model in less, are from those in fp32."""
    masters = MasterWeights(model)
    for loss in losses:
        loss.backward()
        masters.collect_gradients()
    found = torch.cat([master.grad.flatten() for master in masters.masters])
    return float((found - exact).norm() / exact.norm())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rows", [12], ids=["full history"], indirect=True)
@pytest.mark.usefixtures("small_blocks")
def test_bf16_gradients_of_the_tree_are_as_near_as_those_of_rows(kind: str, rows) -> None:
    """Both round; a tree that saw other tokens would be off by far more than rows, one at a time, in bf16.

    Which tokens are seen in a short window too the tests above say, to the rounding of fp32.
    """
    model = tiny_model(kind).bfloat16()
    whole = tiny_model(kind)
    whole.load_state_dict(model.state_dict())
    exact = torch.cat([gradient.flatten() for gradient in one_at_a_time(whole, rows)[1].values()])
    cuts = {"tree": training_batches(rows, 500, True, micro_steps=2), "rows": [alone(row, rows) for row in rows]}
    errors = {}
    for way, batches in cuts.items():
        packer = packer_for(model, way, PAD)
        errors[way] = error_of_gradients(model, (batch_loss(model, packer.pack(batch)) for batch in batches), exact)
    assert 0 < errors["tree"] < 2 * errors["rows"] < 0.05


def alone(row: EncodedRow, rows: list[EncodedRow]) -> MicroBatch:
    return MicroBatch((row,), ((row.target,),), (row.weight / len(rows),))


def test_blocks_of_the_real_size_and_all_rows_at_once(rows, plain_step) -> None:
    model = tiny_model("llama")
    packer = packer_for(model, "tree", PAD)
    batch = MicroBatch(tuple(rows), tuple((row.target,) for row in rows), tuple(row.weight / len(rows) for row in rows))
    loss = batch_loss(model, packer.pack(batch))
    loss.backward()
    assert_same_step((loss.item(), take_gradients(model)), plain_step("llama"))


@pytest.mark.parametrize("kind", ["llama", "gemma3", "bloom"])
@pytest.mark.usefixtures("small_blocks")
def test_gradient_checkpointing_changes_nothing(kind: str, rows) -> None:
    model = tiny_model(kind)
    packer = packer_for(model, "tree", PAD)
    expected = in_micro_batches(model, rows, packer)
    model.activation_checkpointing_enable()
    model.train()
    assert_same_step(in_micro_batches(model, rows, packer), expected)


@pytest.mark.parametrize("kind", SLIDING)
def test_the_sliding_window_hides_something(kind: str, rows, plain_step) -> None:
    """Else the tests above would not see a window by node index, or none at all."""
    wide = tiny_model(kind, sliding_window=4000)
    assert plain_step(kind)[0] != pytest.approx(one_at_a_time(wide, rows)[0], rel=1e-3)


@pytest.mark.skipif(bool(missing_for_compiling(CPU)), reason="no C++ compiler")
@pytest.mark.parametrize("kind", ["llama", "qwen3", "mistral", "gemma3"])
def test_the_operator_gives_the_same_step(kind: str, rows: list[EncodedRow], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree_kernel, "QUERIES", 32)
    model = tiny_model(kind, head_dim=16).train()
    packer = packer_for(model, "tree", PAD, kernel=True)
    assert packer.way == KERNEL
    assert_same_step(in_micro_batches(model, rows, packer), one_at_a_time(model, rows))
