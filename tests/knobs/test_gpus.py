"""Which GPUs a run takes: those that CUDA_VISIBLE_DEVICES shows, as DeepSpeed's own launcher understands it."""

import os
from pathlib import Path

import pytest

from knobs.checks import Place
from knobs.commands import Commands
from knobs.environment import read_settings
from knobs.gpus import choose_visible, visible_gpus
from knobs.readers import WINDOW
from shell_checkout import ShellCheckout, training_command

FOUR = {str(number): f"GPU-{number}a3c5e7f-0000-1111-2222-333344445555" for number in range(4)}
LISTING = "".join(f"GPU {number}: NVIDIA H100 (UUID: {uuid})\\n" for number, uuid in FOUR.items())


@pytest.mark.parametrize(
    ("wanted", "numbers"),
    [
        (None, ("0", "1", "2", "3")),
        ("2,3", ("2", "3")),
        ("3,1", ("3", "1")),
        (" 1, 2", ("1", "2")),
        ("GPU-2a3,0", ("GPU-2a3", "0")),
        ("1,1", ("1",)),
        ("1,GPU-1a,2", ("1",)),
        ("MIG-GPU-1/3/0", ("MIG-GPU-1/3/0",)),
        ("", ()),
        ("-1", ()),
        ("1,7,2", ("1",)),
        ("GPU-", ()),  # of all of them
        ("NoDevFiles", ()),
    ],
)
def test_visible_ones(wanted: str | None, numbers: tuple[str, ...]) -> None:
    assert choose_visible(FOUR, wanted) == numbers


@pytest.fixture
def with_four(tmp_path: Path) -> str:
    """A PATH on which nvidia-smi lists four."""
    tool = tmp_path / "bin" / "nvidia-smi"
    tool.parent.mkdir()
    tool.write_text(f"#!/bin/sh\nprintf '{LISTING}'\n")
    tool.chmod(0o755)
    return f"{tool.parent}:/usr/local/bin:/usr/bin:/bin"


def test_they_are_listed_by_nvidia_smi(with_four: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", with_four)
    assert visible_gpus({"CUDA_VISIBLE_DEVICES": "2,3"}) == ("2", "3")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert visible_gpus({}) == ()


def resources_by_deepspeed(words: list[str], monkeypatch: pytest.MonkeyPatch) -> dict[str, list[int]]:
    """What DeepSpeed's launcher makes of the words on a machine of four."""
    from deepspeed.launcher.runner import apply_num_nodes_and_gpus, parse_args, parse_inclusion_exclusion

    arguments = parse_args([*words, "code/main_new.py"])
    pool = parse_inclusion_exclusion({"localhost": 4}, arguments.include, arguments.exclude)
    return dict(apply_num_nodes_and_gpus(pool, arguments.num_nodes, arguments.num_gpus))


@pytest.mark.parametrize(
    ("gpus", "knobs", "taken"),
    [
        (("2", "3"), {"graphics_card": "4"}, [2, 3]),
        (("0", "1", "2", "3"), {"graphics_card": "2", "deepspeed_config": "none"}, [0, 1]),
        (("3", "1", "0"), {"NPROC": "2"}, [1, 3]),
        (("2",), {"offload_optimizer": "True"}, [2]),
    ],
)
def test_deepspeed_takes_them(gpus, knobs: dict[str, str], taken: list[int], tmp_path: Path, monkeypatch) -> None:
    settings, problems = read_settings(WINDOW, knobs, Place(tmp_path, tmp_path))
    assert problems == []
    launcher = Commands(settings, gpus, port="29511").launcher()
    assert launcher[:4] == ["-m", "deepspeed.launcher.runner", "--master_port", "29511"]
    monkeypatch.setenv("DS_ACCELERATOR", os.environ.get("DS_ACCELERATOR", "cpu"))
    found = resources_by_deepspeed(launcher[2:], monkeypatch)
    assert {host: sorted(slots) for host, slots in found.items()} == {"localhost": taken}


def test_the_scripts_hand_them_on(checkout: ShellCheckout, with_four: str) -> None:
    knobs = {"MODEL_NAME": "LLaMA2", "PATH": with_four}
    command = training_command(checkout.run(CUDA_VISIBLE_DEVICES="2,3", **knobs))
    assert command.startswith('"$python" -m deepspeed.launcher.runner --include localhost:2,3 code/main_new.py ')
    command = training_command(checkout.run(CUDA_VISIBLE_DEVICES="2,3", MASTER_PORT=29501, **knobs))
    assert " --master_port 29501 --include localhost:2,3 " in command
    assert "--include localhost:0,1,2,3 " in training_command(checkout.run(**knobs))
    alone = training_command(checkout.run(CUDA_VISIBLE_DEVICES="1", **knobs))
    assert alone.startswith('"$python" code/main_new.py')  # torch sees the one
    # For another machine the number is as it was asked for.
    assert "--num_accelerators 3 " in training_command(checkout.run(CUDA_VISIBLE_DEVICES="2,3", NPROC=3, **knobs))
    by_uuid = checkout.run(CUDA_VISIBLE_DEVICES="GPU-2a3,GPU-3a3", DRY_RUN=0, FLAG=0, **knobs)
    assert by_uuid.stderr == (
        "error: CUDA_VISIBLE_DEVICES=GPU-2a3,GPU-3a3: DeepSpeed's launcher knows GPUs by number alone; name them so\n"
    )
    refused = checkout.run(CUDA_VISIBLE_DEVICES="2,3", NPROC=3, DRY_RUN=0, FLAG=0, **knobs)
    assert refused.stderr == "error: NPROC=3: 2 visible GPUs, and each process takes one; give 2 or fewer\n"
