"""Every way of grouping the products of linear layers computes the same, but for the one that leaves LoRA out."""

from pathlib import Path

import pytest
import torch
from transformers import LlamaConfig

from benchmarks.contenders.lora_products import WAYS, Bare, Layer
from benchmarks.flops import ModelShape
from benchmarks.sections import products

RANK, INPUTS, OUTPUTS, NODES = 4, 24, (24, 8, 8), 10
ENGINE = next(iter(WAYS))


@pytest.mark.parametrize("outputs", [OUTPUTS, OUTPUTS[:1]], ids=["three layers", "one layer"])
def test_every_way_gives_what_the_layers_give(outputs: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    layers = [Layer.draw(INPUTS, width, RANK, torch.float64) for width in outputs]
    x, gradient = (torch.randn(NODES, width, dtype=torch.float64) for width in (INPUTS, sum(outputs)))
    whole = torch.cat([one.weight + one.b @ one.a for one in layers])
    for name, way in WAYS.items():
        group = way(layers)
        weight = torch.cat([one.weight for one in layers]) if way is Bare else whole
        given, d_x = group.run(group.prepare(x, gradient))
        torch.testing.assert_close(torch.cat(given, dim=1), x @ weight.t(), msg=name)
        torch.testing.assert_close(d_x, gradient @ weight, msg=name)


def test_they_are_measured_and_shown_side_by_side(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = LlamaConfig(hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, vocab_size=9)
    monkeypatch.setattr(products, "NODES", (5, 7))
    section = products.measure_products(ModelShape.of(config, RANK), "fp32", tmp_path)
    assert [one["nodes"] for one in section["products"]] == [5, 7]
    for one in section["products"]:
        assert list(one["seconds"]) == list(WAYS)
        assert all(len(of) == products.REPETITIONS and min(of) > 0 for of in one["seconds"].values())

    section["products"] = [{"nodes": 5, "seconds": {name: [0.5] for name in WAYS} | {ENGINE: [1.0]}}]
    machine = {"versions": {}, "processor": "a processor", "unit": None, "cores": 2, "commit": "abc"}
    *_, table = products.render_products({"products": section | {"machine": machine, "took": 1}})
    assert (
        table.splitlines()[-1] == "| 5 | 1,000 ms | 0.50 (0.50 to 0.50) | 0.50 (0.50 to 0.50) | 0.50 (0.50 to 0.50) |"
    )
