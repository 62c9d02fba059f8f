"""`auto` is bf16 only where products are made in it; everywhere else fp32, also where torch cannot be asked."""

from types import SimpleNamespace

import pytest
import torch

from bases.load import choose_precision, refuse_unscaled_fp16
from basics.errors import UserError

CPU, GPU = torch.device("cpu"), torch.device("cuda")


def answer_on_gpu(computes: bool):
    """What `torch.cuda.is_bf16_supported` says: emulation counts unless one says that it does not."""
    return lambda including_emulation=True: computes or including_emulation


@pytest.mark.parametrize(("computes", "expected"), [(True, torch.bfloat16), (False, torch.float32)])
def test_auto_on_a_gpu(computes: bool, expected: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    """T4 and V100 emulate bf16."""
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", answer_on_gpu(computes))
    assert choose_precision("auto", GPU) == expected
    assert choose_precision("bf16", GPU) == torch.bfloat16 and choose_precision("fp16", GPU) == torch.float16


CPUS = [
    (True, {"_is_mkldnn_bf16_supported": lambda: True}, torch.bfloat16),
    (True, {"_is_mkldnn_bf16_supported": lambda: False}, torch.float32),
    (True, {}, torch.float32),
    (False, {"_is_mkldnn_bf16_supported": lambda: True}, torch.float32),
    (False, {}, torch.float32),
]


@pytest.mark.parametrize(("built_in", "operators", "expected"), CPUS)
def test_auto_on_a_cpu(built_in: bool, operators: dict, expected, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last is torch for Apple's processors: without oneDNN, its operators are not there."""
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: built_in)
    monkeypatch.setattr(torch, "ops", SimpleNamespace(mkldnn=SimpleNamespace(**operators)))
    assert choose_precision("auto", CPU) == expected


def test_fp16_is_refused_on_a_cpu_and_trained_only_with_a_scaled_loss() -> None:
    with pytest.raises(UserError, match="--precision fp16 needs a GPU"):
        choose_precision("fp16", CPU)
    with pytest.raises(UserError, match="--deepspeed_config"):
        refuse_unscaled_fp16(torch.float16, scaled=False)
    refuse_unscaled_fp16(torch.float16, scaled=True)
    refuse_unscaled_fp16(torch.bfloat16, scaled=False)
