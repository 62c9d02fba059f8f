"""Waiting asleep beside other programs: when it begins and ends, and that the second team of threads comes and goes."""

import time
from pathlib import Path

import pytest
import torch

from engine import neighbours
from engine.neighbours import IdleTeam, Neighbours, seconds_held_up

CPU = torch.device("cpu")


class Machine:
    """What Linux would say of two threads, and a clock."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.seconds, self.held_up = folder, 100.0, [5.0, 7.0]
        self.teams: list[str] = []
        monkeypatch.setattr(neighbours.time, "monotonic", lambda: self.seconds)
        monkeypatch.setattr(neighbours, "IdleTeam", lambda: self)
        self.teams.clear()
        self.tell()

    def tell(self) -> None:
        for number, seconds in enumerate(self.held_up):
            (self.folder / str(number)).mkdir(exist_ok=True)
            (self.folder / str(number) / "schedstat").write_text(f"1 {int(seconds * 1e9)} 3\n")

    def pass_on(self, seconds: float, share: float) -> None:
        """Time goes by, of which one thread or the other was held up a share."""
        self.seconds += seconds
        self.held_up[0] += share * seconds
        self.tell()

    def end(self) -> None:
        self.teams.append("ended")


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(tmp_path, monkeypatch)


def test_threads_sleep_while_others_want_the_processor(machine: Machine) -> None:
    with Neighbours(CPU, machine.folder) as found:
        seen = []
        for share in (0.02, 0.7, 0.6, 0.2, 0.05, 0.2, 0.4):
            machine.pass_on(2.0, share)
            found.look()
            seen.append(found.waits_asleep)
        assert seen == [False, True, True, True, False, False, True]
        assert machine.teams == ["ended"]
    assert machine.teams == ["ended", "ended"] and not found.waits_asleep


def test_short_steps_are_weighed_together(machine: Machine) -> None:
    found = Neighbours(CPU, machine.folder)
    for _ in range(3):
        machine.pass_on(0.3, 1.0)
        found.look()
        assert not found.waits_asleep
    machine.pass_on(0.3, 1.0)
    found.look()
    assert found.waits_asleep


def test_where_nobody_tells_nothing_changes(machine: Machine, tmp_path: Path) -> None:
    (tmp_path / "0" / "schedstat").write_text("no number\n")
    (tmp_path / "1" / "schedstat").unlink()
    assert seconds_held_up(tmp_path) is None and seconds_held_up(tmp_path / "none") is None
    for quiet in (Neighbours(CPU, tmp_path), Neighbours(torch.device("cuda"), machine.folder)):
        machine.pass_on(9.0, 1.0)
        quiet.look()
        assert not quiet.waits_asleep


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="no Linux")
def test_a_team_comes_and_goes() -> None:
    def tasks() -> set[str]:
        return {path.name for path in Path("/proc/self/task").iterdir()}

    assert seconds_held_up(Path("/proc/self/task")) is not None
    threads = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        before = tasks()
        team = IdleTeam()
        new = tasks() - before
        assert len(new) == 3
        team.end()
        until = time.monotonic() + 60
        while tasks() & new and time.monotonic() < until:
            time.sleep(0.01)
        assert not tasks() & new
    finally:
        torch.set_num_threads(threads)
