"""Ctrl-C, `kill` and a terminal that closes: one way to end, with time to save for whoever asks for it."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType

NAMES = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM", signal.SIGHUP: "SIGHUP"}
# What comes so soon after the first is the same wish: a terminal's Ctrl-C reaches a launcher too, which hands it on.
SECONDS_OF_ONE_WISH = 1.0

Handler = Callable[[int, FrameType | None], None] | int | None


class Stopped(KeyboardInterrupt):
    """A signal of `NAMES` has come. number: which."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


def raise_stopped(number: int, frame: FrameType | None) -> None:
    """A handler of signals."""
    raise Stopped(number)


@contextmanager
def signals_raised() -> Iterator[None]:
    """Inside, SIGTERM and SIGHUP raise `Stopped` where they would end this process unasked (nohup's do not)."""
    with _handled(raise_stopped, [number for number in NAMES if signal.getsignal(number) == signal.SIG_DFL]):
        yield


@contextmanager
def _handled(handler: Handler, numbers: list[int]) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before: dict[int, Handler] = {}
    try:
        _replace_handlers(numbers, handler, before)
        yield
    finally:
        _set_back(before)


def _replace_handlers(numbers: Iterable[int], handler: Handler, before: dict[int, Handler]) -> None:
    """before: gets those of earlier, each before it goes: a signal may come in between."""
    for number in numbers:
        before[number] = signal.getsignal(number)
        signal.signal(number, handler)


def _set_back(before: Mapping[int, Handler]) -> None:
    try:
        for number, earlier in before.items():
            signal.signal(number, earlier)
    except KeyboardInterrupt:  # of a signal whose handler was back
        _set_back(before)
        raise


def _heeded() -> list[int]:
    """The signals that this process does not ignore."""
    return [number for number in NAMES if signal.getsignal(number) not in (signal.SIG_IGN, None)]


@contextmanager
def in_one_go() -> Iterator[None]:
    """Inside, signals wait for the end, however many come: for a few calls that belong together and take no time."""
    late: list[int] = []
    try:
        with _handled(lambda number, _: late.append(number), _heeded()):
            yield
    finally:
        for number in late:
            signal.raise_signal(number)


def tell_stopped(stop: KeyboardInterrupt) -> int:
    """Says on stderr, in one line, what has ended this process and how to go on; the exit code."""
    print("; ".join([f"stopped by {NAMES[_signal_of(stop)]}", *getattr(stop, "__notes__", ())]), file=sys.stderr)
    return exit_code_of(stop)


def exit_code_of(stop: KeyboardInterrupt) -> int:
    """128 and the signal."""
    return 128 + _signal_of(stop)


def _signal_of(stop: KeyboardInterrupt) -> int:
    return stop.number if isinstance(stop, Stopped) else signal.SIGINT


@contextmanager
def advised(how: str) -> Iterator[None]:
    """Whoever is stopped inside is told how to go on. how: a part of a sentence, empty for nothing."""
    try:
        yield
    except KeyboardInterrupt as stop:
        if how:
            stop.add_note(how)
        raise


class StopHeld:
    """Inside, the first signal is only noted, as `number`, until the end of the block; one after it is not held.

    what: is going on, for people. since: when the first one came, in seconds of the monotonic clock.
    """

    def __init__(self, what: str) -> None:
        self.what, self.number, self.is_open, self.since = what, 0, False, 0.0
        self._before: dict[int, Handler] = {}

    def __enter__(self) -> "StopHeld":
        if threading.current_thread() is threading.main_thread():
            try:
                _replace_handlers(_heeded(), self._note, self._before)
            except KeyboardInterrupt:  # of a signal that is not held yet
                _set_back(self._before)
                raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: object) -> None:
        _set_back(self._before)
        if kind is None:
            self.raise_noted()

    def raise_noted(self) -> None:
        """Stopped, if a signal has come."""
        if self.number:
            raise Stopped(self.number)

    @contextmanager
    def let_through(self) -> Iterator[None]:
        """Inside, a signal is not held, nor is one that has come before."""
        try:
            self.is_open = True
            self.raise_noted()
            yield
        finally:
            self.is_open = False

    def _note(self, number: int, frame: FrameType | None) -> None:
        now, first = time.monotonic(), not self.number
        if not first and now - self.since < SECONDS_OF_ONE_WISH:
            return
        self.number, self.since = number, now
        if self.is_open or not first:
            raise Stopped(number)
        # Not print(): what it writes to may be in the middle of a line of its own.
        told = f"{NAMES[signal.Signals(number)]}: {self.what}; once more, a second later, stops at once"
        os.write(2, f"\n{told}\n".encode())
