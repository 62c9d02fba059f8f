"""The processes of one run: who they are, and what they tell each other.

A launcher (`deepspeed`, torchrun) starts every process with RANK, WORLD_SIZE and LOCAL_RANK in its
environment; without them a run is one process. Nothing here needs DeepSpeed.
"""

import atexit
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch

from basics.errors import UserError, raise_together
from data_utils.row_files import Example

# Longer than the first process needs to write the largest base to a slow disk.
PATIENCE = timedelta(hours=2)
RENDEZVOUS = ("RANK", "MASTER_ADDR", "MASTER_PORT")
# What a launcher tells in numbers -> the least that it may be.
NUMBERS = {"WORLD_SIZE": 1, "RANK": 0, "LOCAL_RANK": 0, "LOCAL_SIZE": 1, "LOCAL_WORLD_SIZE": 1, "MASTER_PORT": 1}

Item = TypeVar("Item")


@dataclass(frozen=True)
class World:
    """The processes of a run, seen from one of them; every method is to be called by all of them at once."""

    rank: int = 0
    size: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this is the process that prints and writes."""
        return self.rank == 0

    def wait(self) -> None:
        """Returns once every process has come here."""
        if self.size > 1:
            torch.distributed.barrier()

    def gather(self, items: Sequence[Item]) -> list[Item]:
        """The items of all processes, rank by rank, on every process."""
        if self.size == 1:
            return list(items)
        parts: list[list[Item]] = [[] for _ in range(self.size)]
        torch.distributed.all_gather_object(parts, list(items))
        return [item for part in parts for item in part]

    def from_first(self, make: Callable[[], Item]) -> Item:
        """What `make` returns on the first process, which alone calls it."""
        made = [make() if self.is_first else None]
        if self.size > 1:
            torch.distributed.broadcast_object_list(made)
        return made[0]

    def leave(self) -> None:
        """Ends the group, once every process has come here.

        A process that ends while another still works, or with the group's threads alive, may abort on its way out.
        """
        self.wait()
        _leave_group()

    def in_step(self, batches: Sequence[Item]) -> list[Item]:
        """The batches, the first one repeated at the end until every process has as many.

        A model whose weights are sharded (ZeRO-3) gathers them in every forward pass, so all processes must
        run as many.
        """
        most = max(self.gather([len(batches)]))
        return [*batches, *batches[:1] * (most - len(batches))]


def join_world(local_rank: int = -1, alone_too: bool = False) -> World:
    """Meets the other processes that the launcher started, over NCCL on GPUs and gloo on CPUs.

    local_rank: the launcher's flag, for when LOCAL_RANK is not in the environment. alone_too: one process
    forms a group as well, which DeepSpeed asks for.

    Raises:
        UserError: there are several processes, but the environment does not say where they meet; or a number of the
            launcher's is none.
    """
    raise_together(find_launcher_problems())
    size = launcher_number("WORLD_SIZE")
    os.environ.setdefault("LOCAL_RANK", str(max(local_rank, 0)))
    if size == 1 and not alone_too:
        return World()
    missing = [name for name in RENDEZVOUS if name not in os.environ]
    if size > 1 and missing:
        raise UserError(f"WORLD_SIZE is {size} but {', '.join(missing)} is not set: start the run with `deepspeed`")
    place = {} if size > 1 else {"store": torch.distributed.HashStore(), "rank": 0, "world_size": 1}
    if torch.cuda.is_available():
        device = torch.device("cuda", launcher_number("LOCAL_RANK"))
        torch.cuda.set_device(device)
        torch.distributed.init_process_group("nccl", timeout=PATIENCE, device_id=device, **place)
    else:
        _share_cores()
        torch.distributed.init_process_group("gloo", timeout=PATIENCE, **place)
    atexit.register(_leave_group)
    world = World(torch.distributed.get_rank(), size)
    if not world.is_first:
        _silence_transformers()
    return world


def find_launcher_problems() -> list[str]:
    """One line for each variable of a launcher that is no number, or one that cannot be."""
    problems = []
    for name in NUMBERS:
        try:
            launcher_number(name)
        except UserError as error:
            problems.append(str(error))
    if not problems and launcher_number("RANK") >= launcher_number("WORLD_SIZE") > 1:
        problems.append(f"RANK is {os.environ['RANK']}, allowed is less than WORLD_SIZE")
    return problems


def launcher_number(name: str) -> int:
    """A number of `NUMBERS` as a launcher has left it in the environment; without one the least that it may be.

    Raises:
        UserError: what stands there is no such number.
    """
    value = os.environ.get(name) or str(NUMBERS[name])
    if not (value.isascii() and value.isdigit() and int(value) >= NUMBERS[name]):
        raise UserError(
            f"{name} is {value!r} in the environment, where a launcher puts a whole number from {NUMBERS[name]}"
        )
    return int(value)


def _leave_group() -> None:
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def _share_cores() -> None:
    """Several processes on one machine take an equal part of its cores each, unless OMP_NUM_THREADS says how many."""
    neighbours = max(launcher_number("LOCAL_SIZE"), launcher_number("LOCAL_WORLD_SIZE"))
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, torch.get_num_threads() // neighbours))


def _silence_transformers() -> None:
    """The first process says what all of them would."""
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()


def share_of_dialogues(examples: Sequence[Example], world: World) -> list[Example]:
    """The rows that this process scores: every world.size-th dialogue, the longest first.

    Dialogues stay whole, since their rows share prefixes; sorting them spreads the work evenly. A process for
    which none is left takes one that another scores as well, so that it runs forward passes like the others.
    """
    dialogues: dict[str, list[Example]] = {}
    for row in examples:
        dialogues.setdefault(row.id.rsplit("/", 1)[0], []).append(row)
    longest_first = sorted(dialogues.values(), key=lambda rows: -sum(len(row.input) for row in rows))
    mine = longest_first[world.rank :: world.size] or longest_first[-1:]
    return [row for rows in mine for row in rows]


def gather_predictions(mine: Sequence[Item], examples: Sequence[Example], world: World) -> list[Item]:
    """One prediction for every example, in the examples' order, from the shares of all processes.

    A prediction is anything that bears the id and the task of its row.
    """
    found = {(row.id, row.task): row for row in world.gather(mine)}
    return [found[example.id, example.task] for example in examples]
