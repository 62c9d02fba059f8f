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


YES, NO = ({"_is_mkldnn_bf16_supported": lambda answer=answer: answer} for answer in (True, False))
# What torch was built with, what oneDNN says, which instructions the processor has.
CPUS = [
    (True, YES, {"avx512_bf16": True}, torch.bfloat16),
    (True, YES, {"avx512_bf16": False}, torch.float32),  # emulated
    (True, YES, {}, torch.bfloat16),  # ARM's
    (True, NO, {"avx512_bf16": False}, torch.float32),
    (True, NO, {}, torch.float32),
    (True, {}, {}, torch.float32),
    (False, YES, {"avx512_bf16": True}, torch.float32),
    (False, {}, {}, torch.float32),  # Apple's, without oneDNN: its operators are not there
]


@pytest.mark.parametrize(("built_in", "operators", "capabilities", "expected"), CPUS)
def test_auto_on_a_cpu(
    built_in: bool, operators: dict, capabilities: dict, expected: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With AVX-512 alone oneDNN computes in bf16 by emulation, and says that it is supported."""
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: built_in)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    monkeypatch.setattr(torch, "ops", SimpleNamespace(mkldnn=SimpleNamespace(**operators)))
    assert choose_precision("auto", CPU) == expected


def test_fp16_is_refused_on_a_cpu_and_trained_only_with_a_scaled_loss() -> None:
    with pytest.raises(UserError, match="--precision fp16 needs a GPU"):
        choose_precision("fp16", CPU)
    with pytest.raises(UserError, match="--deepspeed_config"):
        refuse_unscaled_fp16(torch.float16, scaled=False)
    refuse_unscaled_fp16(torch.float16, scaled=True)
    refuse_unscaled_fp16(torch.bfloat16, scaled=False)
