"""Ctrl-C, `kill` and a terminal that closes: one line, an exit code, and time to save for whoever asks for it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from basics import stopping
from basics.stopping import NAMES, StopHeld, Stopped, advised, in_one_go, signals_raised
from commands import REPOSITORY, call_script


def send(number: int) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", NAMES)
def test_a_signal_is_one_line_with_how_to_go_on(number: int) -> None:
    def main() -> None:
        with advised("the same command goes on"), advised(""):
            send(number)
            raise AssertionError("it goes on")

    before = [signal.getsignal(one) for one in NAMES]
    done = call_script(main)
    assert (done.returncode, done.stdout) == (128 + number, "")
    assert done.stderr == f"stopped by {NAMES[number]}; the same command goes on\n"
    assert [signal.getsignal(one) for one in NAMES] == before


def test_what_nohup_ignores_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with signals_raised(), StopHeld("waits") as stop:
            send(signal.SIGHUP)
        assert not stop.number
    finally:
        signal.signal(signal.SIGHUP, before)


def test_the_first_is_held_until_the_end_and_the_second_is_not(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(stopping, "SECONDS_OF_ONE_WISH", 0)
    reached = []
    with pytest.raises(Stopped) as caught, StopHeld("saves first") as stop:
        send(signal.SIGTERM)
        reached.append(stop.number)
    assert reached == [signal.SIGTERM] == [caught.value.number]
    assert capfd.readouterr().err == "\nSIGTERM: saves first; once more, a second later, stops at once\n"
    with pytest.raises(Stopped) as caught, StopHeld("saves first"):
        send(signal.SIGTERM)
        send(signal.SIGINT)
        raise AssertionError("it goes on")
    assert caught.value.number == signal.SIGINT


def test_one_that_a_launcher_hands_on_once_more_is_the_same_wish(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stopping, "SECONDS_OF_ONE_WISH", 600)
    saved = []
    with pytest.raises(Stopped) as caught, StopHeld("saves first"):
        send(signal.SIGINT)
        send(signal.SIGTERM)
        saved.append(True)
    assert saved == [True] and caught.value.number == signal.SIGINT
    assert capfd.readouterr().err.count("saves first") == 1
    with pytest.raises(Stopped), StopHeld("saves first") as stop:
        try:
            with stop.let_through():
                send(signal.SIGINT)
        finally:
            send(signal.SIGTERM)  # while what was let through is saved
            saved.append(True)
    assert saved == [True, True]


def test_one_that_is_let_through_is_not_held() -> None:
    with pytest.raises(Stopped), StopHeld("saves first") as stop, stop.let_through():
        send(signal.SIGINT)
        raise AssertionError("it goes on")


def test_one_that_has_come_before_is_let_through_too() -> None:
    """It may come between the last look at it and what takes long."""
    with pytest.raises(Stopped), StopHeld("saves first") as stop:
        send(signal.SIGTERM)
        with stop.let_through():
            raise AssertionError("it goes on")
    assert not stop.is_open


@pytest.mark.parametrize("place", range(1, 2 * len(NAMES) + 1))
@pytest.mark.parametrize("how", [lambda: StopHeld("saves first"), in_one_go, signals_raised])
def test_handlers_are_as_before_whenever_a_signal_comes(how, place: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between any two of those that are replaced, or set back."""
    set_handler, calls = signal.signal, []

    def interrupted(number: int, handler: object) -> object:
        calls.append(number)
        if len(calls) == place:
            send(signal.SIGINT)  # Ctrl-C's own handler raises wherever it is
        return set_handler(number, handler)

    before = [signal.getsignal(one) for one in NAMES]
    monkeypatch.setattr(signal, "signal", interrupted)
    try:
        with how():
            pass
    except KeyboardInterrupt:
        pass
    assert [signal.getsignal(one) for one in NAMES] == before


@pytest.mark.parametrize("fails", [False, True])
def test_what_goes_together_is_not_cut_in_two(fails: bool, capfd: pytest.CaptureFixture[str]) -> None:
    """However often it is said, and also where the first signal alone would wait."""
    done = []
    with pytest.raises(KeyboardInterrupt), signals_raised(), in_one_go():
        for number in NAMES:
            send(number)
        done.append("both")
        assert not fails
    with pytest.raises(Stopped), StopHeld("saves first") as stop:
        with in_one_go():
            send(signal.SIGTERM)
            assert not stop.number
        done.append("told to who waits")
    assert done == ["both", "told to who waits"] and capfd.readouterr().err.count("saves first") == 1


def test_kill_ends_a_script_with_what_it_started(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        f"import subprocess, sys\nsys.path.insert(0, {str(REPOSITORY / 'code')!r})\n"
        "from basics.scripts import run_script\n"
        "def main():\n    subprocess.run(['sh', '-c', 'echo $$; exec sleep 600'])\nrun_script(main)\n"
    )
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, script], **pipes) as process:
        started = int(process.stdout.readline())
        while psutil.Process(process.pid).status() != psutil.STATUS_SLEEPING:
            time.sleep(0.01)  # it may not know yet that it has started one
        process.terminate()
        _, told = process.communicate(timeout=300)
    assert (process.returncode, told) == (143, "stopped by SIGTERM\n")
    with pytest.raises(ProcessLookupError):
        os.kill(started, 0)
