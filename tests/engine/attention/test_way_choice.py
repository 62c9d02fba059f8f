"""The way of attention that is kept: the fastest that agrees with the dense mask; a line tells of the others."""

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from engine.attention import way_choice
from engine.attention.tree_ways import BLOCKS, DENSE, KERNEL, SEGMENTS, WAYS
from engine.attention.way_choice import DensePlan, Tried, choose_way
from engine.batching import MicroBatch, training_batches
from engine.packing import packer_for
from engine.prefix_tree import PrefixTree
from tiny_models import PAD, small_rows, tiny_model

CPU = torch.device("cpu")


@dataclass
class Clock:
    """Goes on where it is told to, whatever else a busy machine does."""

    seconds: float = 0.0

    def perf_counter(self) -> float:
        return self.seconds


CLOCK = Clock()


@dataclass
class Plan:
    """The dense mask after some milliseconds, changed in some way."""

    tree: PrefixTree
    milliseconds: float = 0.0
    change: object = None

    def to(self, device: torch.device) -> "Plan":
        return self

    def attend(self, query: Tensor, key: Tensor, value: Tensor, scale: float, window: int | None) -> Tensor:
        CLOCK.seconds += self.milliseconds / 1000
        answer = DensePlan(self.tree).attend(query, key, value, scale, window)
        return self.change(answer, query) if self.change else answer


class Slower(DensePlan):
    """The dense mask after forty milliseconds."""

    def attend(self, *asked: object) -> Tensor:
        CLOCK.seconds += 0.04
        return super().attend(*asked)


def refuses(answer: Tensor, query: Tensor) -> Tensor:
    raise RuntimeError("head dimension 6 is not one of mine\nand more")


OTHERS = {
    "slow": (lambda tree, packer: Plan(tree, 80), None),
    "quick": (lambda tree, packer: Plan(tree, 0), None),
    "other answer": (lambda tree, packer: Plan(tree, 0, lambda answer, query: 1.01 * answer), "differs"),
    "no number": (lambda tree, packer: Plan(tree, 0, lambda answer, query: answer * torch.nan), "differs"),
    # Right answers, and gradients that are not theirs.
    "other gradient": (
        lambda tree, packer: Plan(tree, 0, lambda answer, query: answer + (query - query.detach())),
        "differs",
    ),
    "refuses": (
        lambda tree, packer: Plan(tree, 0, refuses),
        "does not run (RuntimeError: head dimension 6 is not one of mine)",
    ),
}


@pytest.fixture
def others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ways that stand in for kernels of a GPU; the dense mask itself is slower than the quick one."""
    monkeypatch.setattr(way_choice, "WAYS", {name: make for name, (make, _) in OTHERS.items()})
    monkeypatch.setattr(way_choice, "DensePlan", Slower)
    monkeypatch.setattr(way_choice, "time", CLOCK)


def a_batch() -> MicroBatch:
    return training_batches(small_rows("predict", window=2, count=2, turns=4), 500, True)[0]


@pytest.mark.usefixtures("others")
def test_the_fastest_that_agrees_is_kept_and_the_others_are_told_of() -> None:
    model = tiny_model("llama")
    packer, tried = choose_way(model, packer_for(model, "tree", PAD), a_batch(), CPU, "auto", compiles=False)
    assert packer.way == "quick"
    assert [one.way for one in tried] == [DENSE, *OTHERS]
    for one in tried[1:]:
        told = OTHERS[one.way][1]
        assert (one.seconds is None) == (told is not None) and one.why.startswith(told or "")
    dense, slow, quick, *_ = (one.seconds for one in tried)
    assert (quick, pytest.approx(0.04), pytest.approx(0.08)) == (0, dense, slow)
    assert [str(Tried("a", 0.00123)), str(Tried("b", None, "does not run"))] == ["a 1.23 ms", "b does not run"]


@pytest.mark.parametrize(("factor", "agrees"), [(1.0, True), (1.05, False)])
def test_half_precision_is_held_to_what_the_dense_mask_reaches_there(factor, agrees, monkeypatch) -> None:
    change = {"way": lambda tree, packer: Plan(tree, 0, lambda answer, query: factor * answer)}
    monkeypatch.setattr(way_choice, "WAYS", change)
    model = tiny_model("llama").bfloat16()
    _, tried = choose_way(model, packer_for(model, "tree", PAD), a_batch(), CPU, "auto", compiles=False)
    assert [one.seconds is not None for one in tried] == [True, agrees]


@pytest.mark.usefixtures("others")
@pytest.mark.parametrize("wanted", ["slow", "other answer"])
def test_one_that_is_asked_for_is_held_too(wanted: str) -> None:
    model = tiny_model("llama")
    packer = packer_for(model, "tree", PAD)
    if OTHERS[wanted][1] is None:
        assert choose_way(model, packer, a_batch(), CPU, wanted, False)[0].way == wanted
    else:
        with pytest.raises(ValueError, match=f"^{wanted} differs from the dense mask, by "):
            choose_way(model, packer, a_batch(), CPU, wanted, False)


@pytest.mark.parametrize("kind", ["llama", "gemma3", "gemma4", "mla"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_ways_of_a_cpu_agree_on_what_models_ask(kind: str, dtype: torch.dtype) -> None:
    model = tiny_model(kind).to(dtype)
    _, tried = choose_way(model, packer_for(model, "tree", PAD), a_batch(), CPU, "auto", compiles=False)
    found = {one.way: one.why for one in tried}
    if dtype == torch.bfloat16:  # in which blocks round the probabilities before they sum with them
        found[BLOCKS] = found[BLOCKS].partition(",")[0].replace("differs from the dense mask", "")
    assert found == {DENSE: "", SEGMENTS: "", BLOCKS: ""}
    assert set(WAYS) == {SEGMENTS, BLOCKS, KERNEL, *way_choice.COMPILED}


def test_what_has_to_be_compiled_is_tried_for_long_runs_alone() -> None:
    model = tiny_model("llama")
    _, tried = choose_way(model, packer_for(model, "tree", PAD), a_batch(), CPU, "auto", compiles=True)
    assert next(one for one in tried if one.way == "flex").why.startswith("does not run (NotImplementedError")
