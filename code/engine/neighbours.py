"""Has threads of OpenMP wait asleep while other programs want the processor, and awake while they do not.

The threads of a matrix product wait for each other at its end. Awake they lose no time, but one of them that shares its
core with another program is waited for by all: measured on two cores, a step beside one busy program takes 3.3 times as
long. Asleep it takes 1.7 times, and 1.13 times with the machine to itself. GNU's OpenMP waits asleep as soon as it has
started more threads than there are cores: a second team of threads that does nothing sees to that.

How much others want the processor is what Linux says of each thread: how long it was ready to run and did not. Where it
does not say so, nothing is changed.
"""

import os
import threading
import time
from pathlib import Path
from typing import Self

import torch

NANOSECONDS = 1e9
# Seconds that threads were held up, over seconds passed. Measured on two cores: 0.01 to 0.06 alone, 0.6 to 0.8 beside
# one busy program, waiting either way.
CROWDED, FREE = 0.3, 0.15
ENOUGH = 1 << 20  # numbers that torch shares out over all of its threads
SECONDS_TO_START = 10


class Neighbours:
    """Looks every now and then whether others want the processor, and makes this process's threads wait accordingly.

    A context manager: on leaving threads wait as they did before. device: where the model computes; only on a CPU there
    is something to wait for. tasks: what Linux says of this process's threads.
    """

    def __init__(self, device: torch.device, tasks: Path = Path("/proc/self/task")) -> None:
        self.tasks = tasks if device.type == "cpu" else Path(os.devnull)
        self.held_up, self.clock = seconds_held_up(self.tasks), time.monotonic()
        self.team: IdleTeam | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._wait_awake()

    @property
    def waits_asleep(self) -> bool:
        return self.team is not None

    def look(self) -> None:
        """Decides how threads wait, by the time since the last look, a second or more; call it between steps."""
        now = time.monotonic()
        passed = now - self.clock
        if self.held_up is None or passed < 1 or (held_up := seconds_held_up(self.tasks)) is None:
            return
        share = (held_up - self.held_up) / passed
        self.held_up, self.clock = held_up, now
        if share > CROWDED and not self.waits_asleep:
            self.team = IdleTeam()
        elif share < FREE:
            self._wait_awake()

    def _wait_awake(self) -> None:
        if self.team:
            self.team.end()
            self.team = None


def seconds_held_up(tasks: Path) -> float | None:
    """Seconds that the threads of this process, in all, were ready to run but did not; None: not known."""
    total, known = 0, False
    for task in tasks.iterdir() if tasks.is_dir() else ():
        try:
            total += int((task / "schedstat").read_text().split()[1])
            known = True
        except (OSError, IndexError, ValueError):  # the thread has ended, or the kernel keeps no such record
            continue
    return total / NANOSECONDS if known else None


class IdleTeam:
    """A second team of OpenMP's threads, asleep for as long as it lives."""

    def __init__(self) -> None:
        self.ended, started = threading.Event(), threading.Event()
        self.thread = threading.Thread(target=self._live, args=(started,), daemon=True)
        self.thread.start()
        started.wait(SECONDS_TO_START)

    def _live(self, started: threading.Event) -> None:
        torch.ones(ENOUGH).add_(1)  # in this thread the first of its kind: it makes the team
        started.set()
        self.ended.wait()

    def end(self) -> None:
        """Ends its threads, so that others wait awake again."""
        self.ended.set()
        self.thread.join()
