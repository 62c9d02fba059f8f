"""What a GPU would refuse, without one: the parts of a run on fake tensors, for every kind of base, packing and way.

Through the trainer's own epoch (packed ahead, losses, gradients, fp32 masters, clipping, schedule, fused AdamW; LoRA,
DoRA, checkpointing, all parameters; a dense mask, and runs of the tree as a kernel takes them), `predict_labels` with
calibration, greedy generation, and the check of a run. Not reached, as fake tensors have no numbers and this
machine no CUDA: what its kernels compute or refuse (flash attention, 4 bits, Triton under `--compile_layers`), the
memory they take, loading onto a card (`device_map`), the end of an epoch, which copies from it what is saved, DeepSpeed
and several cards, beams, and whatever Python decides by a number: each that it asks for is taken as 0, 1 or True.
"""

import json

import pytest

from commands import REPOSITORY
from forked_runs import ForkedRun, run_all
from tiny_models import KINDS

Case = tuple[str, str, str, str, bool]  # part, kind, packing, way, whether something is left on the CPU
WHOLE: list[Case] = [
    *(("train", kind, "tree", "lora", False) for kind in KINDS),
    *(("train", kind, "rows", "lora", False) for kind in ("llama", "gemma3", "bloom")),
    *(("score", kind, "tree", "lora", False) for kind in KINDS),
    *(("score", kind, "rows", "lora", False) for kind in ("llama", "bloom")),
    *(("train", "llama", "tree", way, False) for way in ("all", "checkpointing", "dora")),
    *((part, kind, "tree", "segments", False) for part in ("train", "score") for kind in ("llama", "gemma3", "gpt2")),
    *(("generate", kind, "rows", "lora", False) for kind in KINDS),
    *(("check", kind, "tree", "lora", False) for kind in ("llama", "bloom", "gemma2")),
    ("check", "llama", "rows", "lora", False),
]
PLANTED: list[Case] = [
    ("train", "llama", "tree", "lora", True),
    ("train", "bloom", "tree", "all", True),
    ("train", "llama", "tree", "dora", True),
    ("score", "llama", "tree", "lora", True),
    ("score", "llama", "tree", "all", True),
    ("generate", "llama", "rows", "lora", True),
    ("check", "llama", "tree", "lora", True),
]


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[Case, str]:
    """Case -> "fine" or what stopped it; all in one process, which cannot give the card back."""
    script, told = REPOSITORY / "tests/helpers/fake_card.py", tmp_path_factory.mktemp("card") / "told.txt"
    (code,) = run_all([ForkedRun([json.dumps([*WHOLE, *PLANTED])], str(told), program=str(script))])
    assert code == 0, told.read_text()[-2000:]
    return dict(zip([*WHOLE, *PLANTED], json.loads(told.read_text().splitlines()[-1]), strict=True))


@pytest.mark.parametrize("case", WHOLE, ids=lambda case: " ".join(case[:4]))
def test_nothing_is_left_on_the_cpu(outcomes: dict[Case, str], case: Case) -> None:
    assert outcomes[case] == "fine"


@pytest.mark.parametrize("case", PLANTED, ids=lambda case: " ".join(case[:4]))
def test_what_is_left_there_is_noticed(outcomes: dict[Case, str], case: Case) -> None:
    assert "Expected all tensors to be on the same device" in outcomes[case]
