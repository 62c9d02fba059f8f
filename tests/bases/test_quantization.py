"""Bases in 4 bits: trained, scored, saved and predicted with where bitsandbytes is, refused in one line where not."""

import json
import math
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

import main_new
from bases import quantization
from bases.adapters import add_lora, count_trainable
from bases.load import choose_device, load_model
from bases.quantization import check_quantization, check_quantized, gradient_error, refuse_stored_otherwise
from basics.errors import UserError
from commands import assert_one_line_error, call_script
from engine.batching import training_batches
from engine.packing import batch_loss, packer_for
from own_dialogues.recognizer import EmotionRecognizer
from tiny_models import PAD, main_command, save_base, save_rows, small_dialogues, small_rows, tiny_model

pytestmark = pytest.mark.numeric


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("four-bits")
    # Of whole blocks of 64 weights, as every real base.
    return save_base(folder / "base", hidden_size=64, intermediate_size=128), save_rows(folder)


@pytest.fixture
def base(place: tuple[Path, Path]) -> str:
    """A base where there is what stores it in 4 bits."""
    pytest.importorskip("bitsandbytes")
    return str(place[0])


def run(place: tuple[Path, Path], output: Path, **flags: object):
    command = main_command(*place, output, **{"save_steps": 0} | flags)
    return call_script(main_new.main, *command)


def quantized(base: str, dtype: torch.dtype):
    model = add_lora(load_model(base, dtype, choose_device(), "nf4"), 4, 8, 0.0, "all")
    torch.manual_seed(0)
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.1)
    return model


def test_four_bits_need_a_package_and_whole_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    check_quantization("none", shards_weights=True)
    monkeypatch.setattr(quantization, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="--quantize nf4 needs the package bitsandbytes: pip install bitsandbytes, or"):
        check_quantization("nf4", shards_weights=False)
    with pytest.raises(UserError, match=r"^adapter, trained over weights in 4 bits \(nf4\), needs .*bitsandbytes$"):
        check_quantization("nf4", shards_weights=False, needed_by="adapter")
    monkeypatch.setattr(quantization, "find_spec", lambda name: name)
    check_quantization("nf4", shards_weights=False)
    with pytest.raises(UserError, match="ZeRO-3"):
        check_quantization("nf4", shards_weights=True)


def test_four_bits_are_refused_in_one_line(place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quantization, "find_spec", lambda name: None)
    assert_one_line_error(run(place, tmp_path / "run", quantize="nf4"), "--quantize nf4", "pip install bitsandbytes")
    assert_one_line_error(run(place, tmp_path / "run", quantize="nf4", lora=False), "--quantize nf4", "--lora True")
    assert_one_line_error(run(place, tmp_path / "run", quantize="int8"), "--quantize", "none, nf4")
    assert not (tmp_path / "run").exists()


def test_a_base_that_is_stored_in_four_bits_is_loaded_as_such_or_refused(base: str, tmp_path: Path) -> None:
    """It was trained without the check of its gradients; with all parameters it failed when it was to be saved."""
    load_model(base, torch.bfloat16, choose_device(), "nf4").save_pretrained(tmp_path)
    assert load_model(str(tmp_path), torch.bfloat16, choose_device(), "nf4").is_quantized
    with pytest.raises(UserError, match=r"is stored quantized \(bitsandbytes\): add --quantize nf4, or give the base"):
        load_model(str(tmp_path), torch.bfloat16, choose_device())


def test_bases_that_are_stored_in_other_ways_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    stored = tiny_model("llama")
    refuse_stored_otherwise("mine", stored, "none")
    stored.is_quantized = True
    stored.config.quantization_config = SimpleNamespace(to_dict=lambda: {"quant_method": "gptq"})
    with pytest.raises(UserError, match=r"^base mine is stored quantized \(gptq\): give the base in 16 or 32 bits$"):
        refuse_stored_otherwise("mine", stored, "none")
    monkeypatch.setitem(sys.modules, "bitsandbytes.nn", SimpleNamespace(Linear4bit=torch.nn.Bilinear))
    with pytest.raises(UserError, match="--quantize nf4: no layer of this base is in 4 bits"):
        check_quantized(tiny_model("llama"), "nf4")


def test_quantized_weights_count_in_full() -> None:
    class Packed(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(50, 1), requires_grad=False)
            self.weight.quant_state = type("State", (), {"shape": torch.Size([10, 10])})()

    assert count_trainable(Packed()) == (0, 100)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_base_in_four_bits_is_trained_scored_saved_and_predicted_with(
    base: str, place, tmp_path: Path, precision: str
) -> None:
    result = run(place, tmp_path, quantize="nf4", precision=precision)
    assert result.returncode == 0, result.stderr
    assert "QLoRA, rank 4" in result.stderr
    lines = [json.loads(line) for line in (tmp_path / "results" / "log.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in lines if line["kind"] == "step"]
    assert len(losses) == 12 and losses[-1] < 0.8 * losses[0]
    config = json.loads((tmp_path / "model" / "erc_config.json").read_text())
    assert (config["quantize"], config["precision"]) == ("nf4", precision)
    written = [json.loads(line) for line in (tmp_path / "results" / "predictions.jsonl").read_text().splitlines()]
    recognizer = EmotionRecognizer.from_pretrained(tmp_path / "model")
    dialogues = [
        [(f"person {one.speaker}", one.text) for one in dialogue.utterances]
        for dialogue in small_dialogues("test", 3, 4)
    ]
    found = [emotion for dialogue in recognizer.predict_dialogues(dialogues) for emotion in dialogue]
    for emotion, row in zip(found, written, strict=True):
        total = sum(map(math.exp, row["scores"].values()))
        expected = {label: math.exp(score) / total for label, score in row["scores"].items()}
        assert emotion.probabilities == pytest.approx(expected, abs=1e-4 if precision == "fp32" else 0.05)


def test_nobody_is_advised_to_install_what_is_not_used(base: str, place, tmp_path: Path, run_code) -> None:
    """In a process of its own: bitsandbytes says so when it is first imported, on some processors."""
    result = run_code("code/main_new.py", *main_command(*place, tmp_path, quantize="nf4", do_train=False))
    assert result.returncode == 0 and "pip install" not in result.stderr, result.stderr


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_gradients_are_the_same_after_an_evaluation(base: str, dtype: torch.dtype) -> None:
    """Nor does that round to bf16: loss and gradients are those over the weights that the 4 bits stand for."""
    model = quantized(base, dtype)
    packer = packer_for(model, "tree", PAD)
    batch = packer.pack(training_batches(small_rows("predict", window=2)[:8], 4096, True)[0]).to(model.device)

    def step() -> tuple[float, list[torch.Tensor]]:
        model.train().zero_grad()
        loss = batch_loss(model, batch)
        loss.backward()
        return loss.item(), [weight.grad.clone() for weight in model.parameters() if weight.requires_grad]

    before, gradients = step()
    with torch.inference_mode():
        evaluated = batch_loss(model.eval(), batch).item()
    after, again = step()
    assert before == after and evaluated == pytest.approx(before, rel=1e-6 if dtype == torch.float32 else 1e-2)
    assert all(torch.equal(one, other) for one, other in zip(gradients, again, strict=True))
    assert sum(map(torch.count_nonzero, gradients)) > 0


def test_lost_gradients_are_refused(base: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from bitsandbytes.nn import Linear4bit

    model = load_model(base, torch.float32, choose_device(), "nf4")
    layers = [layer for layer in model.modules() if isinstance(layer, Linear4bit)]
    assert len(layers) == 14 and max(map(gradient_error, layers)) < 1e-5
    assert not any(layer.training for layer in layers)
    forward = Linear4bit.forward
    for lost in (lambda x: x.detach(), lambda x: x.detach() + 0 * x):
        monkeypatch.setattr(Linear4bit, "forward", lambda layer, x, lost=lost: forward(layer, lost(x)))
        with pytest.raises(UserError, match="--quantize nf4: bitsandbytes .* gives wrong gradients"):
            load_model(base, torch.float32, choose_device(), "nf4")
