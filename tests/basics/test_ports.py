"""Ports where the processes of a run meet: free, different, and from where Linux gives none away."""

import errno
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from basics import ports
from basics.errors import UserError
from basics.ports import find_free_ports
from commands import REPOSITORY


def test_ports_are_free_and_different_and_below_those_that_are_given_away() -> None:
    found = find_free_ports(50)
    assert len(set(found)) == 50 and all(20_000 <= port <= 32_000 for port in found)
    assert found != sorted(found) and set(found) != set(find_free_ports(50))
    with ExitStack() as held:
        for port in found:
            held.enter_context(socket.socket()).bind(("127.0.0.1", port))


@pytest.fixture(autouse=True)
def forget() -> Iterator[Callable[[], None]]:
    """Takes back the marks of ports that a test has found; called after each test."""
    before = len(ports._marks)

    def take_back() -> None:
        while len(ports._marks) > before:
            ports._marks.pop().close()

    yield take_back
    take_back()


@pytest.fixture
def only(monkeypatch: pytest.MonkeyPatch, forget: Callable[[], None]) -> int:
    """The one port that may be found from now on."""
    (port,) = find_free_ports(1)
    for name in ("LOWEST", "HIGHEST"):
        monkeypatch.setattr(ports, name, port)
    forget()
    return port


def test_a_port_that_is_taken_is_left_out(only: int) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", only))
        with pytest.raises(UserError, match=f"^1 free ports are needed, and from {only} to {only} there are 0$"):
            find_free_ports(1)
    assert find_free_ports(1) == [only]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has names that end with their process")
def test_what_another_process_has_found_is_left_to_it_until_it_ends(only: int) -> None:
    """It may be about to start who listens there."""
    find = f"import sys; sys.path.insert(0, {str(REPOSITORY / 'code')!r}); from basics import ports; "
    find += f"ports.LOWEST = ports.HIGHEST = {only}; print(ports.find_free_ports(1), flush=True); sys.stdin.read()"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", find], **pipes) as other:
        assert other.stdout.readline() == f"[{only}]\n"
        with pytest.raises(UserError, match="there are 0$"):
            find_free_ports(1)
        other.communicate()
    assert find_free_ports(1) == [only]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has names that end with their process")
def test_where_no_marks_can_be_made_ports_are_found_without(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where a sandbox allows sockets of the net alone."""
    make = socket.socket

    def of_the_net(family: int = socket.AF_INET, *given: int) -> socket.socket:
        if family == socket.AF_UNIX:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return make(family, *given)

    monkeypatch.setattr(ports.socket, "socket", of_the_net)
    assert len(find_free_ports(2)) == 2
