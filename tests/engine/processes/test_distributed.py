"""Processes that a launcher starts: a run by DeepSpeed's, and what no launcher can mean."""

import atexit
import json
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import data_process
import main_new
from basics.errors import UserError
from basics.ports import find_free_ports
from commands import REPOSITORY, call_script
from corpora import one_hot
from engine import distributed
from engine.distributed import World, join_world
from engine.processes import Crew
from tiny_models import DATASET, LABELS, LINES, save_base

PROCESSES = 2


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., list[str]]:
    """The arguments of main_new.py for a tiny base and rows that data_process.py wrote, all in one folder."""
    folder = tmp_path_factory.mktemp("job")
    turns = {
        f"{split}{number}": [list(LINES)[(5 * number + turn * (number + 2)) % 7] for turn in range(2 + number % 3)]
        for split, count in (("train", 5), ("valid", 2), ("test", 5))
        for number in range(count)
    }
    splits = [[name for name in turns if name.startswith(split)] for split in ("train", "valid", "test")]
    speakers = {name: [one_hot(turn % 2) for turn in range(len(texts))] for name, texts in turns.items()}
    labels = {name: [LABELS.index(LINES[text]) for text in texts] for name, texts in turns.items()}
    original = folder / "original" / DATASET
    original.mkdir(parents=True)
    (original / f"{DATASET}.pkl").write_bytes(pickle.dumps([speakers, labels, turns, *splits]))
    command = ["--dataset", DATASET, "--check_counts", "False"]
    command += ["--original_data", str(original.parent), "--data", str(folder / "data")]
    done = call_script(data_process.main, *command)
    assert done.returncode == 0, done.stderr
    base = save_base(folder / "base")

    def arguments(name: str, **flags: Any) -> list[str]:
        flags = {
            "lora": False,
            "num_train_epochs": 1,
            "batch_size": 5,
            "precision": "fp32",
            "token_budget": 300,
        } | flags
        flags |= {
            "dataset": DATASET,
            "data_dir": done.stdout.strip(),
            "model_name_or_path": base,
            "learning_rate": 0.01,
        }
        flags |= {"output_dir": folder / name, "model_dir": folder / f"{name}_model", "select_on": "test"}
        return [word for flag, value in flags.items() for word in (f"--{flag}", str(value))]

    return arguments


@pytest.mark.slow
def test_the_launcher_ends_with_the_predictions_of_one_process(job: Callable[..., list[str]]) -> None:
    launcher = [sys.executable, "-m", "deepspeed.launcher.runner", "--num_accelerators", str(PROCESSES)]
    launcher += ["--master_port", str(find_free_ports(1)[0]), "code/main_new.py"]
    config = Path(job("two")[job("two").index("--output_dir") + 1]).with_name("zero3.json")
    config.write_text(json.dumps({"zero_optimization": {"stage": 3, "stage3_param_persistence_threshold": 0}}))
    environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    command = [*launcher, *job("two", deepspeed_config=config)]
    results = {
        "one": call_script(main_new.main, *job("one")),
        "two": subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=1800, env=environment),
    }
    found = {}
    for name, result in results.items():
        assert result.returncode == 0, result.stderr
        assert result.stderr.count("written: ") == 1
        folder = config.with_name(name)
        predictions = [json.loads(line) for line in (folder / "predictions.jsonl").read_text().splitlines()]
        found[name] = json.loads((folder / "results.json").read_text()), predictions
        assert sum("loss" in line for line in (folder / "log.jsonl").read_text().splitlines()) == 3 + 1
    (one, alone), (two, together) = found["one"], found["two"]
    assert (one["processes"], two["processes"]) == (1, PROCESSES)
    assert one["score"] == two["score"]
    for row, other in zip(alone, together, strict=True):
        assert {**other, "scores": None} == {**row, "scores": None}
        assert other["scores"] == pytest.approx(row["scores"], rel=1e-4)


BROKEN = [
    ({"WORLD_SIZE": "x"}, ["WORLD_SIZE is 'x'"]),
    ({"WORLD_SIZE": "0"}, ["WORLD_SIZE is '0'", "from 1"]),
    ({"WORLD_SIZE": "2", "RANK": "one", "LOCAL_RANK": "-1"}, ["RANK is 'one'", "LOCAL_RANK is '-1'"]),
    ({"LOCAL_RANK": "1.5", "LOCAL_WORLD_SIZE": "two", "MASTER_PORT": "http"}, ["'1.5'", "'two'", "'http'"]),
    ({"WORLD_SIZE": "2", "RANK": "2"}, ["RANK is 2, allowed is less than WORLD_SIZE"]),
]


@pytest.mark.parametrize(("environment", "parts"), BROKEN)
def test_what_a_launcher_cannot_mean_is_one_line(environment: dict[str, str], parts: list[str], monkeypatch) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError) as error:
        join_world()
    assert all(part in str(error.value) for part in parts) and "\n" not in str(error.value)


def test_a_process_without_a_gpu_of_its_number_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """More processes than GPUs, or a launcher that shows each process its own: CUDA says 'invalid device ordinal'."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert join_world() == World()
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(UserError, match="LOCAL_RANK is 2, and this process sees 2 of the GPUs.* set LOCAL_RANK=0"):
        join_world()


def test_one_process_may_have_a_rank_that_nobody_counts(monkeypatch) -> None:
    monkeypatch.setenv("RANK", "3")
    monkeypatch.setenv("WORLD_SIZE", "")
    assert join_world() == World()


def test_several_processes_need_a_place_to_meet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    with pytest.raises(UserError, match="WORLD_SIZE is 2 but .*MASTER_ADDR.* start the run with `deepspeed`"):
        join_world()


def test_a_second_signal_finds_the_end_prepared(monkeypatch: pytest.MonkeyPatch) -> None:
    """It comes while the others are waited for; the thread in which all meet still waits, and Python would abort."""
    registered, given_up = [], threading.Event()

    class Leaving(Crew):
        def look(self) -> None:
            raise UserError("another has ended")

        def end(self) -> None:
            raise KeyboardInterrupt

    monkeypatch.setattr(atexit, "register", lambda *what: registered.append(what))
    try:
        with pytest.raises(KeyboardInterrupt):
            distributed._meet(Leaving(), given_up.wait)
    finally:
        given_up.set()
    assert registered == [(os._exit, 2)]
