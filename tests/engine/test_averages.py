"""The moving average of weights: its numbers by hand, and that training never sees it."""

import pytest
import torch
from torch import nn

from engine.averages import MovingAverage
from training.engines import OptimizerSettings, PlainEngine

pytestmark = pytest.mark.numeric


def layer(dtype: torch.dtype = torch.float32) -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(4, 3, bias=False).to(dtype)


def engine_of(model: nn.Module, average: float) -> PlainEngine:
    return PlainEngine(model, OptimizerSettings(0.1, 0.0, 0.0, 0.0, 100, average=average))


def take_steps(engine: PlainEngine, model: nn.Module, count: int) -> list[torch.Tensor]:
    """The fp32 weights after each of some steps down a curve."""
    after = []
    for _ in range(count):
        engine.backward((model.weight.float() ** 2).sum(), last=True)
        engine.step()
        after.append(engine.masters.masters[0].detach().clone())
    return after


def test_a_step_counts_decay_times_as_much_as_the_next() -> None:
    values = [torch.tensor([1.0]), torch.tensor([3.0]), torch.tensor([-5.0])]
    weight = torch.zeros(1)
    average = MovingAverage(["w"], [weight], [weight], 0.5)
    expected = [1.0, (0.5 * 1 + 3) / 1.5, (0.25 * 1 + 0.5 * 3 - 5) / 1.75]
    for value, mean in zip(values, expected, strict=True):
        weight.copy_(value)
        average.add_step()
        assert average.means[0].item() == pytest.approx(mean)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_model_has_the_average_inside_and_its_own_weights_after(dtype: torch.dtype) -> None:
    model = layer(dtype)
    engine = engine_of(model, 0.9)
    with engine.scored_weights():
        assert torch.equal(model.weight, layer(dtype).weight), "no step, no average"
    steps = take_steps(engine, model, 4)
    shares = [0.9**age for age in (3, 2, 1, 0)]
    expected = sum(share * step for share, step in zip(shares, steps, strict=True)) / sum(shares)
    own = model.weight.detach().clone()
    with engine.scored_weights():
        assert model.weight.dtype == dtype and not torch.equal(model.weight, own)
        assert torch.allclose(model.weight.float(), expected, atol=1e-6 if dtype == torch.float32 else 4e-3)
    assert torch.equal(model.weight, own)


def test_training_is_the_same_with_and_without() -> None:
    models = layer(), layer()
    engines = engine_of(models[0], 0.0), engine_of(models[1], 0.99)
    for engine, model in zip(engines, models, strict=True):
        take_steps(engine, model, 2)
        with engine.scored_weights():
            pass
        take_steps(engine, model, 2)
    assert torch.equal(models[0].weight, models[1].weight)
    assert "average" not in engines[0].state() and engines[1].state()["average"]["steps"] == 4


def test_an_error_inside_gives_the_weights_back() -> None:
    model = layer()
    engine = engine_of(model, 0.9)
    take_steps(engine, model, 2)
    own = model.weight.detach().clone()
    with pytest.raises(KeyboardInterrupt), engine.scored_weights():
        raise KeyboardInterrupt
    assert torch.equal(model.weight, own)


def test_replayed_steps_are_counted_too() -> None:
    models = layer(), layer()
    plain, held = engine_of(models[0], 0.9), engine_of(models[1], 0.9)
    held.hold_sums()
    for _ in range(3):
        for engine, model in ((plain, models[0]), (held, models[1])):
            engine.backward((model.weight.float() ** 2).sum(), last=True)
            if engine is plain:
                engine.step()
            else:
                engine.step_unread(torch.zeros(()))
                engine.schedule.step()
    assert held.average.steps == 3
    assert torch.allclose(plain.average.means[0], held.average.means[0], atol=1e-6)
