"""Contenders live in processes that take turns, and none of them outlives the benchmark, however that ends."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from benchmarks.ceiling import BANDWIDTH, measure_bandwidth
from benchmarks.contenders.definition import Contender
from benchmarks.rounds import Ceilings, Rounds, rotated
from benchmarks.sections import neighbours
from benchmarks.worker import ContenderFailed, Worker, run_to_end
from commands import REPOSITORY
from tiny_models import save_base

PATIENCE = 60.0
# Processes of these contenders import nothing that is large. One never comes to an end, the other writes its name down
# whenever it runs.
CONTENDERS = """
from types import SimpleNamespace

def build_endless(setting):
    def run():
        while True:
            pass
    return run

def build_counted(setting):
    name, path = setting
    def run(size):
        with open(path, "a", encoding="utf-8") as log:
            log.write(f"{name} {size}\\n")
        return SimpleNamespace(seconds=1.0)
    return run
"""
DRIVER = """
import sys
from pathlib import Path
from benchmarks.worker import Worker, stop_on_signals

if __name__ == "__main__":
    stop_on_signals()
    with Worker("light_contenders:build_endless", None, Path(sys.argv[1])) as worker:
        worker.ready()
        print(worker.process.pid, flush=True)
        worker.run()
"""


def wait_until(holds: Callable[[], bool]) -> bool:
    """Whether it comes to hold before patience ends."""
    deadline = time.monotonic() + PATIENCE
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.05)
    return holds()


def computes(process: psutil.Process) -> bool:
    """Whether it has been at work for a while; not one that has ended since it was listed."""
    try:
        return sum(process.cpu_times()[:2]) > 0.2
    except psutil.NoSuchProcess:
        return False


def start(*command: str | Path, here: Path = REPOSITORY) -> subprocess.Popen[str]:
    """A program that finds the code and the benchmarks; signals are as a terminal leaves them."""
    folders = (REPOSITORY / "code", REPOSITORY)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, folders))}
    piped = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, *command], cwd=here, env=environment, **piped)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_a_stopped_driver_leaves_no_worker(number: signal.Signals, tmp_path: Path) -> None:
    """SIGKILL, of which a program learns nothing, too."""
    script = tmp_path / "driver.py"
    (tmp_path / "light_contenders.py").write_text(CONTENDERS)
    script.write_text(DRIVER)
    driver = start(script, tmp_path / "log")
    worker = psutil.Process(int(driver.stdout.readline()))
    assert wait_until(lambda: computes(worker))
    children = [worker, *worker.children(recursive=True)]
    driver.send_signal(number)
    driver.communicate(timeout=PATIENCE)
    assert wait_until(lambda: not any(child.is_running() for child in children))
    # Python ends itself by an interrupt that nobody caught, or says the same by its exit code.
    ends = {signal.SIGKILL: (-9,), signal.SIGINT: (-2, 130)}
    assert driver.returncode in ends.get(number, (128 + number,))


@pytest.mark.slow
def test_a_stopped_benchmark_leaves_nothing(tmp_path: Path) -> None:
    """The benchmark itself, while it searches among vectors."""
    base, rows = save_base(tmp_path / "base"), tmp_path / "data" / "meld" / "window"
    rows.mkdir(parents=True)
    (rows / "manifest.json").write_text("{}")
    asked = ("--effort", "quick", "--sections", "retrieval", "--base", base, "--data", tmp_path / "data")
    benchmark = start("-m", "benchmarks.measure", *asked)
    for line in benchmark.stderr:
        if line.startswith("searching"):
            break
    found = psutil.Process(benchmark.pid)
    assert wait_until(lambda: any(map(computes, found.children(recursive=True))))
    children = found.children(recursive=True)
    benchmark.send_signal(signal.SIGTERM)
    benchmark.communicate(timeout=PATIENCE)
    assert benchmark.returncode == 128 + signal.SIGTERM
    assert wait_until(lambda: not any(child.is_running() for child in children))


def test_a_program_that_is_run_takes_its_own_with_it() -> None:
    """A script's child goes on when the script has ended; not here."""
    done = run_to_end(["bash", "-c", "sleep 600 & echo $!"])
    assert wait_until(lambda: not psutil.pid_exists(int(done.stdout)))
    with pytest.raises(subprocess.CalledProcessError):
        run_to_end(["bash", "-c", "exit 3"])


def test_a_worker_reports_what_went_wrong(tmp_path: Path) -> None:
    with Worker("benchmarks.ceiling:build_ceiling", [(8, 8)], tmp_path / "log") as worker:
        worker.ready()
        assert worker.peak_memory() > 0
        with pytest.raises(ContenderFailed, match="KeyError.*fp7"):
            worker.run("fp7")


def test_a_worker_that_ends_between_its_turns_fails_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the system ends one where memory runs out, while another is at work."""
    (tmp_path / "light_contenders.py").write_text(CONTENDERS)
    monkeypatch.syspath_prepend(tmp_path)
    with Worker("light_contenders:build_counted", ("a", str(tmp_path / "told")), tmp_path / "log") as worker:
        worker.ready()
        worker.process.kill()
        worker.process.join()
        with pytest.raises(ContenderFailed, match="ended with code -9"):
            worker.run(1)


def test_every_round_begins_with_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "light_contenders.py").write_text(CONTENDERS)
    monkeypatch.syspath_prepend(tmp_path)
    told, names = tmp_path / "told", ("a", "b")
    contenders = [Contender(name, name, "fp32", "", "light_contenders:build_counted") for name in names]
    contenders.append(Contender("c", "c", "fp32", "", "no_such_library:build"))
    rounds = Rounds(contenders, lambda one: (one.name, str(told)), tmp_path)
    between = []
    rounds.run(1, 5, 3, lambda: between.append(told.read_text().splitlines()[2:]))
    assert told.read_text().splitlines() == ["a 1", "b 1", "a 5", "b 5", "b 5", "a 5", "a 5", "b 5"]
    assert [len(lines) for lines in between] == [0, 2, 4]
    assert rounds.describe("a")["seconds"] == [1.0] * 3 and rounds.describe("a")["peak_memory"] > 0
    assert "no_such_library" in rounds.describe("c")["error"]
    assert [rotated("abc", number) for number in range(4)] == [
        ["a", "b", "c"],
        ["b", "c", "a"],
        ["c", "a", "b"],
        ["a", "b", "c"],
    ]


def test_every_precision_has_its_ceiling(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measured = iter([{"x": 2.0}, {"y": 5.0}, {"x": 3.0}, {"y": 4.0}])
    asked = []

    class Spoken:
        def __init__(self, build: str, setting: object, log: Path) -> None:
            pass

        def __enter__(self) -> None:
            pass

        def __exit__(self, *error: object) -> None:
            pass

        def ready(self) -> None:
            pass

        def run(self, what: str) -> dict[str, float]:
            asked.append(what)
            return next(measured)

    monkeypatch.setattr("benchmarks.rounds.Worker", Spoken)
    with Ceilings([(8, 8)], ["fp32", "fp32"], tmp_path) as ceilings:
        ceilings.measure()
        ceilings.measure()
    assert asked == ["fp32", BANDWIDTH] * 2
    assert ceilings.found == {"fp32": {"x": 3.0}, BANDWIDTH: {"y": 5.0}}


def test_memory_is_read_and_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twelve bytes a number, over the seconds of the fastest time."""
    monkeypatch.setattr("benchmarks.ceiling._fastest", lambda work, device: work() is None or 2.0)
    assert measure_bandwidth(1000) == {"a + 2 b": 6000.0}


def test_the_busy_program_is_busy_and_ends() -> None:
    with pytest.raises(KeyError), neighbours.busy_program() as process:
        assert wait_until(lambda: sum(psutil.Process(process.pid).cpu_times()[:2]) >= 0.2)
        raise KeyError
    assert not psutil.pid_exists(process.pid)
