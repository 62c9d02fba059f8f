"""`auto` is bf16 only where products are made in it; everywhere else fp32, also where torch cannot be asked."""

import platform
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


YES, NO = ({"_is_mkldnn_bf16_supported": lambda answer=answer: answer} for answer in (True, False))
# What torch was built with, what oneDNN says, the processor's kind, whether it has the instructions of x86.
CPUS = [
    (True, YES, "x86_64", True, torch.bfloat16),
    (True, YES, "x86_64", False, torch.float32),  # emulated
    (True, YES, "AMD64", False, torch.float32),  # as Windows says it
    (True, YES, "aarch64", False, torch.bfloat16),
    (True, NO, "x86_64", False, torch.float32),
    (True, NO, "aarch64", False, torch.float32),
    (True, {}, "x86_64", True, torch.float32),
    (False, YES, "x86_64", True, torch.float32),
    (False, {}, "arm64", False, torch.float32),  # Apple's, without oneDNN: its operators are not there
]


@pytest.mark.parametrize(("built_in", "operators", "kind", "has_units", "expected"), CPUS)
def test_auto_on_a_cpu(
    built_in: bool, operators: dict, kind: str, has_units: bool, expected, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With AVX-512 alone oneDNN computes in bf16 by emulation, and says that it is supported."""
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: built_in)
    monkeypatch.setattr(platform, "machine", lambda: kind)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: has_units)
    monkeypatch.setattr(torch, "ops", SimpleNamespace(mkldnn=SimpleNamespace(**operators)))
    assert choose_precision("auto", CPU) == expected


def test_fp16_is_refused_on_a_cpu_and_trained_only_with_a_scaled_loss() -> None:
    with pytest.raises(UserError, match="--precision fp16 needs a GPU"):
        choose_precision("fp16", CPU)
    with pytest.raises(UserError, match="--deepspeed_config"):
        refuse_unscaled_fp16(torch.float16, scaled=False)
    refuse_unscaled_fp16(torch.float16, scaled=True)
    refuse_unscaled_fp16(torch.bfloat16, scaled=False)
