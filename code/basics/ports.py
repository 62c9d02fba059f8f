"""Ports of this machine on which the processes of a run can meet."""

import errno
import random
import socket
import sys
from contextlib import suppress

from basics.errors import UserError

# Below those that Linux gives to whoever asks for any: none is given away between the look and the use.
LOWEST, HIGHEST = 20_000, 32_000
_marks: list[socket.socket] = []  # of the ports that this process has found, for as long as it lives


def find_free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now, all different, in an order of its own at every call.

    On Linux no other process finds them here before this one has ended: it may yet start who listens.

    Raises:
        UserError: fewer are free.
    """
    every = range(LOWEST, HIGHEST + 1)
    found: list[int] = []
    # Of the system's chance: by a run's seed all runs would come to the same ones.
    for port in random.SystemRandom().sample(every, len(every)):
        if len(found) == count:
            break
        with suppress(OSError), socket.socket() as tried:
            tried.bind(("127.0.0.1", port))
            _mark(port)
            found.append(port)
    if len(found) < count:
        raise UserError(f"{count} free ports are needed, and from {LOWEST} to {HIGHEST} there are {len(found)}")
    return found


def _mark(port: int) -> None:
    """OSError: another process has marked it. The mark is a name that Linux takes back with the process.

    Where none can be made, as in some sandboxes, the port is left unmarked.
    """
    if sys.platform != "linux":
        return
    try:
        mark = socket.socket(socket.AF_UNIX)
    except OSError:
        return
    try:
        mark.bind(f"\0instruct_erc port {port}")
    except OSError as error:
        mark.close()
        if error.errno == errno.EADDRINUSE:
            raise
        return
    _marks.append(mark)
