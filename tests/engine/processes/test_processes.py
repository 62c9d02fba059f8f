"""Processes that start each other on a CPU: a run of them is as one of one, and none outlives the first."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

import main_new
from basics.errors import UserError
from commands import REPOSITORY, assert_one_line_error, call_script
from engine.distributed import World, join_world
from engine.processes import LEFT_ALONE, Crew, own_cores
from tiny_models import main_command, save_base, save_rows
from training.engines import OptimizerSettings, PlainEngine

ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""}


class Doubled(World):
    """Two processes of which the other always has what this one has."""

    def sum_up(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor.mul_(2)


def test_a_weight_without_gradient_stays_as_it_is() -> None:
    """Weight decay would move it, if a sum of zeros were taken for a gradient."""

    def make() -> torch.nn.ModuleDict:
        torch.manual_seed(0)
        return torch.nn.ModuleDict({"used": torch.nn.Linear(3, 2), "unused": torch.nn.Linear(3, 2)})

    settings = OptimizerSettings(0.1, 0.0, 0.5, 0.0, 10)
    one, two, before = make(), make(), make()
    norms = []
    for model, engine, share in (
        (one, PlainEngine(one, settings), 1.0),
        (two, PlainEngine(two, settings, Doubled(0, 2)), 0.5),
    ):
        engine.backward(share * model["used"](torch.ones(3)).square().sum(), True)
        norms.append(engine.step())
        assert torch.equal(model["unused"].weight, before["unused"].weight)
        assert engine.state()["moments"]["unused.weight"] == {}
    assert norms[0] == pytest.approx(norms[1]) and norms[0] > 0
    torch.testing.assert_close(one["used"].weight, two["used"].weight)
    assert not torch.equal(one["used"].weight, before["used"].weight)


class Job:
    """main_new.py over a tiny base, in several processes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.base, self.rows = save_base(folder / "base"), save_rows(folder)

    def start(self, run: str, program: str = "code/main_new.py", **flags: object) -> subprocess.Popen:
        command = main_command(self.base, self.rows, self.folder / run, **flags)
        return subprocess.Popen(
            [sys.executable, program, *command],
            cwd=REPOSITORY,
            env=ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def finish(self, run: str, **flags: object) -> subprocess.CompletedProcess:
        process = self.start(run, **flags)
        out, told = process.communicate(timeout=300)
        return subprocess.CompletedProcess(process.args, process.returncode, out, told)

    def finish_here(self, run: str, **flags: object) -> subprocess.CompletedProcess:
        """In this process, of which a run needs no other."""
        return call_script(main_new.main, *main_command(self.base, self.rows, self.folder / run, **flags))

    def read(self, run: str, file: str) -> str:
        return (self.folder / run / "results" / file).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Job:
    return Job(tmp_path_factory.mktemp("job"))


@pytest.mark.slow
def test_a_run_of_two_ends_as_one_of_one(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    found = {}
    for name, processes in (("one", 1), ("two", 2)):
        finish = job.finish if processes > 1 else job.finish_here
        result = finish(name, processes=processes, num_train_epochs=2, save_steps=0, lora_dropout=0.0)
        assert result.returncode == 0, result.stderr
        assert result.stderr.count("written: ") == 1 and result.stderr.count("parameters are trained") == 1
        assert ("rows are dealt to 2 processes: " in result.stderr) == (processes == 2)
        log = [json.loads(line) for line in job.read(name, "log.jsonl").splitlines()]
        assert [line["kind"] for line in log] == [*["step"] * 4, "epoch"] * 2
        found[name] = json.loads(job.read(name, "results.json")), job.read(name, "predictions.jsonl"), log
    (one, alone, steps), (two, together, shared) = found["one"], found["two"]
    assert (one["processes"], two["processes"]) == (1, 2) and two["deepspeed"] is None
    assert one["score"] == two["score"]
    for row, other in zip(map(json.loads, alone.splitlines()), map(json.loads, together.splitlines()), strict=True):
        assert {**other, "scores": None} == {**row, "scores": None}
        assert other["scores"] == pytest.approx(row["scores"], rel=1e-4)
    for line, other in zip(steps, shared, strict=True):
        if line["kind"] == "step":
            assert line["tokens"] <= other["tokens"] <= 2 * other["tokens_of_slowest"]


@pytest.fixture
def under_way(job: Job) -> Iterator[Callable[..., tuple[subprocess.Popen, list[int]]]]:
    """Starts three processes that train for long; (the first, the others) once they have made a step.

    The others are forks of the first. Nothing is compiled, which would pay for so many rows and take long.
    """
    running = []

    def start(run: str) -> tuple[subprocess.Popen, list[int]]:
        long = {"num_train_epochs": 10_000, "save_steps": 0, "do_eval": False, "compile_layers": False}
        first = job.start(run, "tests/helpers/forked_runs.py", processes=3, **long)
        running.append(first)
        log = job.folder / run / "results" / "log.jsonl"
        while not (log.exists() and log.read_text()):
            assert first.poll() is None, first.communicate()[1]
            time.sleep(0.1)
        return first, children_of(first.pid)

    yield start
    for process in running:
        process.kill()


def children_of(pid: int) -> list[int]:
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def wait_until_gone(pids: list[int]) -> None:
    given_up = time.monotonic() + 120
    while any(Path(f"/proc/{pid}").exists() for pid in pids):
        assert time.monotonic() < given_up, f"still there: {pids}"
        time.sleep(0.05)


linux = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks for processes as Linux lists them")


@linux
@pytest.mark.slow
def test_one_that_is_killed_ends_the_run_with_one_line(under_way) -> None:
    first, others = under_way("killed")
    assert len(others) == 2
    os.kill(others[0], signal.SIGKILL)
    _, told = first.communicate(timeout=300)
    assert first.returncode == 2
    assert told.splitlines()[-1] == "error: process 2 of 3 was ended by SIGKILL, as when memory is short"
    assert told.count("error: ") == 1 and "Traceback" not in told
    wait_until_gone(others)


@linux
@pytest.mark.slow
def test_a_run_that_is_stopped_ends_all_of_its_processes(under_way) -> None:
    """By other signals: faults/test_ranks.py."""
    first, others = under_way("stopped")
    assert len(others) == 2
    first.send_signal(signal.SIGTERM)
    _, told = first.communicate(timeout=300)
    assert first.returncode == 143
    assert "Traceback" not in told and "stopped by SIGTERM" in told.splitlines()[-1]
    wait_until_gone(others)


WAITS = "sys.stdin.read()"
TELLS = "print('error: no such file', file=sys.stderr); sys.exit(2)"
LEFT = f"print('error: {LEFT_ALONE} (closed)', file=sys.stderr); sys.exit(2)"


@pytest.mark.parametrize(
    ("programs", "says"),
    [
        ([TELLS], "^no such file$"),
        ([LEFT, TELLS], "^no such file$"),
        ([LEFT, "os.kill(os.getpid(), 9)"], "^process 3 of 3 was ended by SIGKILL, as when memory is short$"),
        ([WAITS, "os.abort()"], "^process 3 of 3 was ended by SIGABRT$"),
        (["raise ValueError('odd')"], "^process 2 of 2 ended with code 1: ValueError: odd$"),
        (["pass"], "^process 2 of 2 ended with code 0: $"),
    ],
)
def test_why_one_has_ended(crew, programs: list[str], says: str, capfd: pytest.CaptureFixture[str]) -> None:
    found = crew(*programs)
    for one, program in zip(found.others, programs, strict=True):
        if program != WAITS:
            one.wait(30)
    with pytest.raises(UserError, match=says):
        found.look()
    with pytest.raises(UserError, match=says):
        found.explain(RuntimeError("closed"))
    assert ("Traceback" in capfd.readouterr().err) == ("ValueError" in programs[0])


def test_the_others_end_when_they_are_let_go(crew) -> None:
    found = crew(WAITS, WAITS)
    found.look()
    found.end()
    assert [one.returncode for one in found.others] == [0, 0]


def test_an_error_of_our_own_stays_one_while_all_are_there(crew, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.processes.SECONDS_TO_END", 0.2)
    with pytest.raises(RuntimeError, match="shapes differ"):
        crew(WAITS).explain(RuntimeError("shapes differ"))


def test_another_than_the_first_knows_only_that_it_is_left() -> None:
    with pytest.raises(UserError, match=rf"^{LEFT_ALONE} \(closed\)$"):
        Crew().explain(RuntimeError("closed"))


def topology(folder: Path, places: list[tuple[int, int]]) -> Path:
    for cpu, (package, core) in enumerate(places):
        (folder / f"cpu{cpu}/topology").mkdir(parents=True)
        (folder / f"cpu{cpu}/topology/physical_package_id").write_text(f"{package}\n")
        (folder / f"cpu{cpu}/topology/core_id").write_text(f"{core}\n")
    return folder


def test_cores_are_whole_and_of_one_chip(tmp_path: Path) -> None:
    """Two chips of two cores, each core with two processors, numbered as Linux does: the second ones come last."""
    cpus = topology(tmp_path, [(0, 0), (0, 1), (1, 0), (1, 1)] * 2)
    assert [own_cores(range(8), number, 2, cpus) for number in range(2)] == [{0, 1, 4, 5}, {2, 3, 6, 7}]
    assert [own_cores(range(8), number, 4, cpus) for number in range(4)] == [{0, 4}, {1, 5}, {2, 6}, {3, 7}]
    assert [own_cores(range(8), number, 3, cpus) for number in range(3)] == [{0, 4}, {1, 5}, {2, 6}], "all alike"
    assert own_cores([2, 3, 6], 0, 2, cpus) == {2, 6}
    assert own_cores(range(8), 0, 5, cpus) == set()
    assert own_cores([4, 5, 6, 7], 1, 2, tmp_path / "nowhere") == {6, 7}


def test_a_launcher_and_this_are_one_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UserError, match="--processes 3: a launcher has started 2 already"):
        join_world(processes=3)


def test_a_gpu_is_not_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with pytest.raises(UserError, match="--processes 3: .*`deepspeed` starts one for each"):
        join_world(processes=3)


def test_deepspeed_has_a_launcher_of_its_own(job: Job) -> None:
    result = job.finish_here("refused", processes=2, offload_optimizer=True)
    assert_one_line_error(result, "--processes 2: DeepSpeed's are started by its launcher")
