"""What a GPU would refuse, without one: tree and rows of every kind of base, and ways to train, on fake tensors.

Steps, gradients, masters and label scores; not the trainer around them, generation or DeepSpeed.
"""

import json
import subprocess
import sys

import pytest

from commands import REPOSITORY
from tiny_models import KINDS

PLANTED = ["llama", "tree", "planted"]
CASES = [
    *([kind, packing, "lora"] for kind in KINDS for packing in ("tree", "rows")),
    ["llama", "tree", "all"],
    ["llama", "tree", "checkpointing"],
]


@pytest.fixture(scope="module")
def outcomes() -> dict[tuple[str, ...], str]:
    """Case -> "fine" or what stopped it; all in one process, which cannot give the card back."""
    script = REPOSITORY / "tests" / "helpers" / "fake_card.py"
    command = [sys.executable, str(script), json.dumps([*CASES, PLANTED])]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return dict(zip(map(tuple, [*CASES, PLANTED]), json.loads(done.stdout.splitlines()[-1]), strict=True))


@pytest.mark.parametrize("case", CASES, ids=" ".join)
def test_nothing_is_left_on_the_cpu(outcomes: dict[tuple[str, ...], str], case: list[str]) -> None:
    assert outcomes[tuple(case)] == "fine"


def test_a_batch_that_is_left_there_is_noticed(outcomes: dict[tuple[str, ...], str]) -> None:
    assert "Expected all tensors to be on the same device" in outcomes[tuple(PLANTED)] or (
        "DeviceMismatch" in outcomes[tuple(PLANTED)]
    )
