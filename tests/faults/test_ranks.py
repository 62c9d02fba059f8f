"""Processes of one run that are killed or stopped at any point, and ports that are taken: the job ends, and says why.

`ranks.py` does the same to whole runs.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from basics.errors import UserError
from basics.ports import find_free_ports
from commands import REPOSITORY
from engine import distributed, processes
from engine.distributed import join_world
from engine.processes import Crew, kill_those_that_stay_stopped, last_words, started_beside
from ranks import Run, compare

STOPS = "print('rows read', flush=True); print(flush=True); os.kill(os.getpid(), 19); sys.stdin.read()"
KILLED = "print('rows read', flush=True); os.kill(os.getpid(), 9)"
WAITS = "sys.stdin.read()"
WAITS_FOR_INPUT = f"import sys; {WAITS}"
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}

linux = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks for processes as Linux lists them")


def wait_for(what: Callable[[], object], seconds: float = 120) -> None:
    given_up = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < given_up
        time.sleep(0.02)


@pytest.fixture
def watched(crew: Callable[..., Crew], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Crew]:
    """The same, looked at often: number of looks that one may be stopped, a line for each of the others -> a crew."""
    monkeypatch.setattr(processes, "LOOK_SECONDS", 0.05)

    def make(looks: int, *programs: str) -> Crew:
        monkeypatch.setattr(processes, "LOOKS_TO_GO_ON", looks)
        return crew(*programs)

    return make


def test_one_that_stays_stopped_is_ended_with_its_last_words(watched) -> None:
    found = watched(3, WAITS, STOPS)
    found.others[1].wait(120)
    with pytest.raises(UserError, match=r"^process 3 of 3 was stopped \(SIGSTOP\).* ended; its last words: rows read$"):
        found.look()
    assert found.others[0].poll() is None


class Played:
    """A process whose states are written down, one a look; then it is gone."""

    def __init__(self, states: str) -> None:
        self.states, self.kills = list(states), 0

    def status(self) -> str:
        return {"S": psutil.STATUS_STOPPED, "t": psutil.STATUS_TRACING_STOP, "r": "running"}[self.states.pop(0)]

    def kill(self) -> None:
        self.kills += 1
        self.states.clear()

    def is_running(self) -> bool:
        return bool(self.states)


def test_one_that_goes_on_in_time_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """So is one that a debugger holds."""
    monkeypatch.setattr(processes, "LOOK_SECONDS", 0)
    monkeypatch.setattr(processes, "LOOKS_TO_GO_ON", 3)
    played = {1: Played("SSrSSrSrSS"), 2: Played("tttttttr"), 3: Played("rSSSr"), 4: Played("rrr")}
    told = []
    kill_those_that_stay_stopped(played, told.append)
    wait_for(lambda: not any(one.is_running() for one in played.values()))
    assert (told, [one.kills for one in played.values()]) == ([3], [0, 0, 1, 0])


def test_one_that_is_killed_has_last_words(watched) -> None:
    found = watched(30, KILLED)
    found.others[0].wait(120)
    with pytest.raises(UserError, match="^process 2 of 2 was ended by SIGKILL, as when .*; its last words: rows read$"):
        found.look()


def test_last_words_are_the_last_line_that_says_something() -> None:
    assert last_words("one\r 40%|## |\rtwo \n \n\n") == "two"
    assert last_words(" \n") == last_words("") == ""


# Processes that sum up numbers; the first prints each sum. Unless told otherwise those that it starts are forks of it.
SUMMING = """
import sys, time
sys.path[:0] = ["code", "tests/helpers"]
from basics.scripts import run_script
from engine import distributed, processes
from forked_runs import fork_others
processes.LOOK_SECONDS = 0.1
processes.LOOKS_TO_GO_ON = 10
import torch

def main():
    world = distributed.join_world(processes={processes})
    for step in range({steps}):
        total = world.sum_up(torch.tensor(float(step + world.rank)))
        if world.is_first:
            print(int(total), flush=True)
        time.sleep(0.02)
    world.leave()

def run():
    exec({before!r}, globals())
    run_script(main)

if {forks}:
    fork_others(run)
run()
"""


def start_summing(
    count: int = 2, steps: int = 100_000, before: str = "", forks: bool = True, **environment: str
) -> subprocess.Popen:
    program = SUMMING.format(processes=count, steps=steps, before=before, forks=forks)
    return subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=REPOSITORY,
        env=ENVIRONMENT | environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@linux
def test_a_sum_that_one_is_stopped_in_ends_with_one_line() -> None:
    first = start_summing()
    assert first.stdout.readline() == "1\n"
    (other,) = psutil.Process(first.pid).children()
    other.suspend()
    _, told = first.communicate(timeout=300)
    assert (first.returncode, told.count("\n")) == (2, 1)
    assert told.startswith("error: process 2 of 2 was stopped (SIGSTOP), did not go on and was ended")
    assert not other.is_running()


@linux
@pytest.mark.parametrize(
    ("number", "code", "says"), [(signal.SIGINT, 130, "stopped by Ctrl-C\n"), (signal.SIGKILL, -9, "")]
)
def test_the_others_end_with_the_first(number: signal.Signals, code: int, says: str) -> None:
    first = start_summing(3)
    assert first.stdout.readline() == "3\n"
    others = psutil.Process(first.pid).children()
    first.send_signal(number)
    _, told = first.communicate(timeout=300)
    assert (first.returncode, told) == (code, says) and len(others) == 2
    wait_for(lambda: not any(other.is_running() for other in others))


@linux
def test_a_sum_that_one_is_killed_in_ends_with_one_line() -> None:
    first = start_summing(3)
    assert first.stdout.readline() == "3\n"
    others = psutil.Process(first.pid).children()
    others[0].kill()
    _, told = first.communicate(timeout=300)
    assert (first.returncode, told) == (2, "error: process 2 of 3 was ended by SIGKILL, as when memory is short\n")
    wait_for(lambda: not any(other.is_running() for other in others))


@linux
@pytest.mark.slow
def test_all_may_be_stopped_together_and_the_first_alone_for_as_long_as_it_likes() -> None:
    """As by Ctrl-Z and `fg`, or by a machine that sleeps."""
    first = start_summing(steps=200)
    assert first.stdout.readline() == "1\n"
    one = psutil.Process(first.pid)
    (other,) = one.children()
    for stopped in ([one], [one, other]):
        for process in stopped:
            process.suspend()
        time.sleep(1.5)  # longer than one of the others may
        for process in reversed(stopped):  # the first, which looks at the other, last: however late it comes to that
            process.resume()
        time.sleep(0.1)
    out, told = first.communicate(timeout=300)
    assert (first.returncode, told) == (0, "")
    assert out.split() == [str(2 * step + 1) for step in range(1, 200)]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_one_that_ends_while_all_meet_ends_the_job(number: signal.Signals) -> None:
    """When it has said that it is there, and the others wait for its address."""
    falls = f"lambda *_, **__: os.kill(os.getpid(), {int(number)})"
    before = f"import os\nif processes.started_as()[0]:\n    torch.distributed.init_process_group = {falls}"
    first = start_summing(before=before)
    _, told = first.communicate(timeout=300)
    says = {signal.SIGKILL: "was ended by SIGKILL", signal.SIGSTOP: "was stopped (SIGSTOP)"}[number]
    assert (first.returncode, told.count("\n")) == (2, 1)
    assert told.startswith(f"error: process 2 of 2 {says}")


@linux
def test_processes_of_one_machine_talk_over_its_loopback() -> None:
    """By the machine's name gloo warns where no name server knows it, and may listen to the network."""
    tell = "import atexit, os; atexit.register(lambda: print(os.environ['GLOO_SOCKET_IFNAME'], flush=True))"
    first = start_summing(steps=1, before=tell, forks=False)
    assert first.communicate(timeout=300) == ("1\nlo\n", "") and first.returncode == 0


@linux
@pytest.mark.parametrize(
    ("told", "used"),
    [
        ({}, "lo"),  # one process, which DeepSpeed asks for
        ({"WORLD_SIZE": "2", "LOCAL_SIZE": "2"}, "lo"),
        ({"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}, "lo"),
        ({"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "GLOO_SOCKET_IFNAME": "eth9"}, "eth9"),
        # Several machines, of which the first may call itself localhost; and who does not tell.
        ({"WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "localhost"}, None),
        ({"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1"}, None),
    ],
)
def test_so_do_those_of_a_launcher_that_says_so(
    told: dict[str, str], used: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("WORLD_SIZE", "LOCAL_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "GLOO_SOCKET_IFNAME"):
        monkeypatch.setenv(name, told.get(name, ""))
        if name not in told:
            monkeypatch.delenv(name)
    monkeypatch.setattr(distributed.torch.cuda, "is_available", lambda: False)
    found = []
    monkeypatch.setattr(
        distributed, "_form_at_port", lambda *_, **__: found.append(os.environ.get("GLOO_SOCKET_IFNAME"))
    )
    distributed._meet_launched(None)
    assert found == [used]


# Another than the first listens to nobody: whom it can reach is where all meet.
WAITS_FOR_MEETING = """import os, socket
while socket.socket().connect_ex(("127.0.0.1", int(os.environ["MASTER_PORT"]))):
    time.sleep(0.05)"""


@pytest.fixture
def launched() -> Iterator[Callable[..., list[subprocess.Popen]]]:
    """Starts what a launcher would, rank by rank. before: what the second one runs before they meet."""
    started = []

    def launch(before: str = "") -> list[subprocess.Popen]:
        place = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1"}
        place["MASTER_PORT"] = str(find_free_ports(1)[0])
        for rank in range(2):
            own = place | {"RANK": str(rank), "LOCAL_RANK": str(rank)}
            started.append(start_summing(1, before=before if rank else "", **own))
        return started

    yield launch
    for one in started:
        one.kill()


@linux
@pytest.mark.parametrize("before", ["", "import os; os.kill(os.getpid(), 19)"])
def test_one_of_a_launcher_s_that_stays_stopped_is_ended_by_its_neighbour(launched, before: str) -> None:
    """In the middle of a sum, and before it has come to where all meet; the neighbour ends too, unasked."""
    first, other = launched(before)
    if not before:
        assert first.stdout.readline() == "1\n"
        other.send_signal(signal.SIGSTOP)
    _, told = first.communicate(timeout=300)
    assert told == "error: process 2 of 2 was stopped (SIGSTOP), did not go on and was ended\n"
    assert first.returncode == 2 and other.wait(60) == -signal.SIGKILL


@linux
@pytest.mark.parametrize("before", ["", f"{WAITS_FOR_MEETING}\nsys.exit()"])
def test_the_others_of_a_launcher_s_name_the_one_that_has_ended(launched, before: str) -> None:
    """In the middle of a sum, and before it has come to where all meet: the launcher's SIGTERM would not be heard."""
    first, other = launched(before)
    if not before:
        assert first.stdout.readline() == "1\n"
        other.kill()
    _, told = first.communicate(timeout=300)
    assert told.splitlines()[-1] == "error: process 2 of 2 has ended, and this one with it"
    assert first.returncode == 2 and "Traceback" not in told


@linux
def test_who_waits_for_the_others_hears_its_launcher(launched) -> None:
    first, other = launched(f"{WAITS_FOR_MEETING}\nprint('they meet', flush=True); time.sleep(600)")
    assert other.stdout.readline() == "they meet\n"
    first.terminate()
    assert first.communicate(timeout=300)[1] == "stopped by SIGTERM\n" and first.returncode == 143


@linux
def test_only_who_is_of_the_same_run_is_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not another run's process beside it, nor whatever else its launcher has started."""
    place = {"WORLD_SIZE": "3", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29501"}
    for name, value in place.items():
        monkeypatch.setenv(name, value)
    environments = [place | {"RANK": "2"}, place | {"RANK": "1", "MASTER_PORT": "29502"}, place, {"RANK": "1"}]
    beside = [
        subprocess.Popen([sys.executable, "-c", WAITS_FOR_INPUT], env=one, stdin=subprocess.PIPE)
        for one in environments
    ]
    try:
        # This process is their launcher; what it has started itself is looked for.
        monkeypatch.setattr(psutil.Process, "parent", lambda self: psutil.Process(self.pid))
        assert {rank: one.pid for rank, one in started_beside().items()} == {2: beside[0].pid}
    finally:
        for one in beside:
            one.communicate()


@pytest.mark.parametrize(
    ("first_step", "apart", "says"),
    [
        ({}, 2e-4, ""),
        ({}, 4e-4, "0: log p differs by 4.0e-04, allowed is 3.0e-04"),
        # Half as many rows counted: AdamW moves the weights as far as ever.
        ({"loss": 2.5}, 0, "step 1: loss 2.5, not 5.0"),
        ({"gradient_norm": 1.25}, 0, "step 1: gradient_norm 1.25, not 2.5"),
    ],
)
def test_a_trial_sees_rows_that_are_counted_otherwise(
    tmp_path: Path, first_step: dict, apart: float, says: str
) -> None:
    log = {"kind": "step", "loss": 5.0, "gradient_norm": 2.5}
    runs = []
    for name, changed, score in (("one", {}, -1.0), ("other", first_step, -1.0 - apart)):
        results = tmp_path / name / "results"
        results.mkdir(parents=True)
        (results / "log.jsonl").write_text(json.dumps(log | changed) + "\n")
        answer = {"id": "0", "label": "Sad", "scores": {"Sad": score, "Mad": -2.0}}
        (results / "predictions.jsonl").write_text(json.dumps(answer) + "\n")
        runs.append(Run(tmp_path, tmp_path, tmp_path / name))
    assert compare(runs[1], runs[0], 3e-4) == says


def test_a_port_that_is_taken_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("0.0.0.0", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        place = {"WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        for name, value in place.items():
            monkeypatch.setenv(name, value)
        with pytest.raises(UserError, match=f"^MASTER_PORT {port} is in use .*--master_port"):
            join_world()
