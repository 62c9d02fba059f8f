"""The state of an engine of DeepSpeed without ZeRO, kept and put back; with ZeRO: processes/test_as_one.py."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from engine.deepspeed_state import gather_state, restore_state

pytest.importorskip("deepspeed")


def some_weights(seed: int) -> tuple[dict[str, nn.Parameter], torch.optim.Optimizer]:
    draw = torch.Generator().manual_seed(seed)
    named = {name: nn.Parameter(torch.randn(3, generator=draw)) for name in ("router", "often", "once", "never")}
    return named, torch.optim.AdamW(named.values(), lr=0.1, fused=True)


def test_experts_that_nothing_was_sent_to_are_kept_and_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """A weight that has had no gradient has no moments; one that has had some has steps of its own."""
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: 0)
    named, adam = some_weights(0)

    def step(named: dict[str, nn.Parameter], adam: torch.optim.Optimizer, experts: tuple[str, ...]) -> None:
        sum((named["router"] * named[name]).sum() for name in experts).backward()
        adam.step()
        adam.zero_grad()

    for experts in (("often", "once"), ("often",)):
        step(named, adam, experts)
    state = gather_state(named, adam, stage=0)
    assert {name: float(kept.get("step", 0)) for name, kept in state["moments"].items()} == {
        "router": 2,
        "often": 2,
        "once": 1,
        "never": 0,
    }
    others, resumed = some_weights(1)
    restore_state(others, SimpleNamespace(zero_optimization_stage=lambda: 0, basic_optimizer=resumed), state)
    for weights, optimizer in ((named, adam), (others, resumed)):
        step(weights, optimizer, ("often", "once", "never"))
    for name, weight in named.items():
        assert torch.equal(others[name], weight), name
