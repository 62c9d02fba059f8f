"""The GPUs that a run may use, as CUDA_VISIBLE_DEVICES says, by their numbers on this machine. Needs no library."""

import re
import subprocess
from collections.abc import Mapping, Sequence

from basics.errors import UserError
from basics.ports import find_free_ports

VISIBLE = "CUDA_VISIBLE_DEVICES"
LISTED = re.compile(r"^GPU (\d+): .*\(UUID: (GPU-[0-9a-f-]+)\)", re.MULTILINE)


def visible_gpus(environment: Mapping[str, str]) -> tuple[str, ...]:
    """Names of the GPUs that are there and visible, in the order of CUDA_VISIBLE_DEVICES; none without nvidia-smi.

    A GPU may be named by its number or by the beginning of its UUID, and a part of one (MIG) by its own: each stays as
    it is named, since CUDA counts in an order of its own. What follows a name of no GPU, or of one that has been named
    already, is hidden too.
    """
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True).stdout
    except OSError:
        return ()
    return choose_visible(dict(LISTED.findall(listed)), environment.get(VISIBLE))


def choose_visible(there: Mapping[str, str], wanted: str | None) -> tuple[str, ...]:
    """What `visible_gpus` returns, from what is listed. there: number -> UUID. wanted: the variable; None: not set."""
    if wanted is None:
        return tuple(there)
    found: list[str] = []
    meant: set[str] = set()
    for word in map(str.strip, wanted.split(",")):
        named = [number for number, uuid in there.items() if word and word in (number, uuid[: len(word)])]
        named = [word] if there and word.startswith("MIG-") else named
        if len(named) != 1 or named[0] in meant:
            break
        meant.add(named[0])
        found.append(word)
    return tuple(found)


def share_out(parallel: int, gpus: Sequence[str]) -> list[dict[str, str]]:
    """What the environment of each of the jobs at once says of its GPUs, and of the port where its processes meet.

    A job alone takes what the caller's environment gives it.

    Raises:
        UserError: there are GPUs, but fewer than jobs at once.
    """
    if parallel == 1:
        return [{}]
    if gpus and len(gpus) < parallel:
        raise UserError(
            f"--jobs {parallel}: {len(gpus)} GPUs are visible, and each run takes one; give {len(gpus)} or fewer"
        )
    each = len(gpus) // parallel
    shares = [",".join(gpus[number * each : (number + 1) * each]) for number in range(parallel)]
    ports = find_free_ports(parallel)
    return [
        {"MASTER_PORT": str(port)} | ({VISIBLE: share} if share else {})
        for port, share in zip(ports, shares, strict=True)
    ]
