"""The GPUs that a run may use, as CUDA_VISIBLE_DEVICES says, by their numbers on this machine. Needs no library."""

import re
import subprocess
from collections.abc import Mapping, Sequence

from basics.errors import UserError
from basics.ports import find_free_ports
from basics.words import counted

VISIBLE = "CUDA_VISIBLE_DEVICES"
LISTED = re.compile(r"^GPU (\d+): .*\(UUID: (GPU-[0-9a-f-]+)\)", re.MULTILINE)


def visible_gpus(environment: Mapping[str, str]) -> tuple[str, ...]:
    """Names of the GPUs that are there and visible, in the order of CUDA_VISIBLE_DEVICES; none without nvidia-smi.

    A GPU is named by its number or the beginning of its UUID, a part of one (MIG) by its own UUID. Names are returned
    as they are given, since CUDA may number GPUs otherwise than nvidia-smi. A name that fits no GPU, or one that was
    named before, ends the list.
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
    """Environment variables for each of `parallel` jobs: its GPUs, and the port where its processes meet.

    One job alone gets none: it uses the caller's.

    Raises:
        UserError: there are GPUs, but fewer than jobs at once.
    """
    if parallel == 1:
        return [{}]
    if gpus and len(gpus) < parallel:
        raise UserError(
            f"--jobs {parallel}: {counted(len(gpus), 'visible GPU')}, and each run takes one; give {len(gpus)} or fewer"
        )
    each = len(gpus) // parallel
    shares = [",".join(gpus[number * each : (number + 1) * each]) for number in range(parallel)]
    ports = find_free_ports(parallel)
    return [
        {"MASTER_PORT": str(port)} | ({VISIBLE: share} if share else {})
        for port, share in zip(ports, shares, strict=True)
    ]
