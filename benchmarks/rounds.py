"""Contenders taking turns: each in its own process, one at a time, round after round, another first in each."""

import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.ceiling import BANDWIDTH
from benchmarks.contenders.definition import Contender
from benchmarks.worker import ContenderFailed, Worker

CEILING = "benchmarks.ceiling:build_ceiling"


class Rounds:
    """Starts contenders, runs them in turns, keeps what each said. A contender that fails leaves the rounds.

    make_setting: contender -> what its builder takes.
    """

    def __init__(self, contenders: Sequence[Contender], make_setting: Callable[[Contender], Any], logs: Path) -> None:
        self.contenders = {contender.name: contender for contender in contenders}
        self.make_setting, self.logs = make_setting, logs
        self.outcomes: dict[str, list[Any]] = {name: [] for name in self.contenders}
        self.warm_ups: dict[str, float] = {}
        self.errors: dict[str, str] = {}
        self.peaks: dict[str, int] = {}
        self.workers: dict[str, Worker] = {}

    def run(self, warm_up: int, size: int, repetitions: int, between: Callable[[], None]) -> None:
        """Builds and warms up each contender, then `repetitions` rounds; `between` runs once a round."""
        with ExitStack() as stack:
            for name in self.contenders:
                self._attempt(name, lambda name=name: self._start(name, stack, warm_up))
            for number in range(repetitions):
                between()
                for name in rotated(list(self.workers), number):
                    say(f"round {number + 1} of {repetitions}: {name}")
                    self._attempt(name, lambda name=name: self._measure(name, size))
            for name in list(self.workers):
                self._attempt(name, lambda name=name: self._read_peak(name))

    def _start(self, name: str, stack: ExitStack, warm_up: int) -> None:
        say(f"building {name}")
        contender = self.contenders[name]
        worker = stack.enter_context(Worker(contender.build, self.make_setting(contender), self.logs / f"{name}.log"))
        worker.ready()
        self.warm_ups[name] = worker.run(warm_up).seconds
        self.workers[name] = worker

    def _measure(self, name: str, size: int) -> None:
        self.outcomes[name].append(self.workers[name].run(size))

    def _read_peak(self, name: str) -> None:
        self.peaks[name] = self.workers[name].peak_memory()

    def _attempt(self, name: str, action: Callable[[], None]) -> None:
        try:
            action()
        except ContenderFailed as error:
            say(f"{name} failed: {error} (more in {self.logs / name}.log)")
            self.errors[name] = str(error)
            self.workers.pop(name, None)

    def describe(self, name: str) -> dict[str, Any]:
        """What is the same for every kind of contender, for the results file."""
        contender = self.contenders[name]
        described = asdict(contender) | {"options": dict(contender.options)}
        if name in self.errors:
            return described | {"error": self.errors[name]}
        return described | {
            "seconds": [outcome.seconds for outcome in self.outcomes[name]],
            "warm_up": self.warm_ups[name],
            "peak_memory": self.peaks[name],
        }


def rotated(names: Sequence[str], number: int) -> list[str]:
    """The order of a round: each begins with the contender that was second in the one before."""
    first = number % max(len(names), 1)
    return [*names[first:], *names[:first]]


class Ceilings:
    """What the machine does at most, measured once a round in a process of its own.

    linear: (inputs, outputs) of the model's linear layers. precisions: of the contenders.
    """

    def __init__(self, linear: Iterable[tuple[int, int]], precisions: Iterable[str], logs: Path) -> None:
        self.worker = Worker(CEILING, list(linear), logs / "ceiling.log")
        self.found: dict[str, dict[str, float]] = {name: {} for name in sorted({*precisions})} | {BANDWIDTH: {}}

    def __enter__(self) -> "Ceilings":
        self.worker.__enter__()
        self.worker.ready()
        return self

    def __exit__(self, *error: Any) -> None:
        self.worker.__exit__(*error)

    def measure(self) -> None:
        """Once more; the best of all rounds is kept."""
        for name, best in self.found.items():
            for what, rate in self.worker.run(name).items():
                best[what] = max(rate, best.get(what, 0.0))


def say(text: str) -> None:
    """One line of progress on stderr."""
    print(text, file=sys.stderr, flush=True)
