"""Ports where the processes of a run meet: free, different, and from where Linux gives none away."""

import socket
from contextlib import ExitStack

import pytest

from basics import ports
from basics.errors import UserError
from basics.ports import find_free_ports


def test_ports_are_free_and_different_and_below_those_that_are_given_away() -> None:
    found = find_free_ports(50)
    assert len(set(found)) == 50 and all(20_000 <= port <= 32_000 for port in found)
    assert found != sorted(found) and set(found) != set(find_free_ports(50))
    with ExitStack() as held:
        for port in found:
            held.enter_context(socket.socket()).bind(("127.0.0.1", port))


def test_a_port_that_is_taken_is_left_out(monkeypatch) -> None:
    first = find_free_ports(1)[0]
    monkeypatch.setattr(ports, "LOWEST", first)
    monkeypatch.setattr(ports, "HIGHEST", first)
    assert find_free_ports(1) == [first]
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", first))
        with pytest.raises(UserError, match=f"^1 free ports are needed, and from {first} to {first} there are 0$"):
            find_free_ports(1)
