"""The processes of one run: how they meet, and how they exchange data.

A launcher (`deepspeed`, torchrun) starts every process with RANK, WORLD_SIZE and LOCAL_RANK in its environment, or
the first one starts the others by itself (`processes.py`); else a run is one process. Nothing here needs DeepSpeed.
"""

import atexit
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar

import torch

from basics.errors import UserError, raise_together
from basics.scripts import EXIT_USER_ERROR
from basics.stopping import exit_code_of
from data_utils.row_files import Example
from engine.processes import Crew, LaunchedCrew, end_with_first, started_as, stay_on_own_cores

# How long processes wait for each other: longer than writing the largest base to a slow disk takes.
PATIENCE = timedelta(hours=2)
SECONDS_BETWEEN_LOOKS = 0.05  # between two looks whether the other processes are there, while they meet
LOOPBACKS = ("lo", "lo0")  # as Linux and macOS call it
RENDEZVOUS = ("RANK", "MASTER_ADDR", "MASTER_PORT")
# Variables of a launcher that are numbers -> the least allowed.
NUMBERS = {"WORLD_SIZE": 1, "RANK": 0, "LOCAL_RANK": 0, "LOCAL_SIZE": 1, "LOCAL_WORLD_SIZE": 1, "MASTER_PORT": 1}

Item = TypeVar("Item")


@dataclass(frozen=True)
class World:
    """The processes of a run, seen from one of them; all must call each method together, but for `look`.

    crew: the other processes on this machine; None: not known, or there are none.

    Raises:
        UserError: by any method, when a process of the crew has ended.
    """

    rank: int = 0
    size: int = 1
    crew: Crew | LaunchedCrew | None = field(default=None, compare=False)

    @property
    def is_first(self) -> bool:
        """Whether this is the process that prints and writes."""
        return self.rank == 0

    def look(self) -> None:
        """UserError when another process has ended; cheap enough to call at every step."""
        if self.crew:
            self.crew.look()

    @contextmanager
    def all_here(self) -> Iterator[None]:
        """Inside, an error that is due to the end of another process becomes a UserError that says so.

        Methods of this class do so by themselves; it is for other code that communicates, such as DeepSpeed.
        """
        try:
            yield
        except RuntimeError as error:
            if not self.crew:
                raise
            self.crew.explain(error)

    def wait(self) -> None:
        """Returns once every process has called it."""
        if self.size > 1:
            with self.all_here():
                torch.distributed.barrier()

    def sum_up(self, tensor: torch.Tensor) -> torch.Tensor:
        """Sums the tensor over all processes in place, and returns it; equal to the last bit on each."""
        if self.size > 1:
            with self.all_here():
                torch.distributed.all_reduce(tensor)
        return tensor

    def gather(self, items: Sequence[Item]) -> list[Item]:
        """The items of all processes, rank by rank, on every process."""
        if self.size == 1:
            return list(items)
        parts: list[list[Item]] = [[] for _ in range(self.size)]
        with self.all_here():
            torch.distributed.all_gather_object(parts, list(items))
        return [item for part in parts for item in part]

    def from_first(self, make: Callable[[], Item]) -> Item:
        """Calls `make` on the first process alone, and returns its result on all."""
        made = [make() if self.is_first else None]
        if self.size > 1:
            with self.all_here():
                torch.distributed.broadcast_object_list(made)
        return made[0]

    def leave(self) -> None:
        """Ends the group, once every process has called it.

        A process that ends while another still works, or while threads of the group run, may abort.
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


def join_world(local_rank: int = -1, alone_too: bool = False, processes: int = 1) -> World:
    """Meets the other processes that the launcher started, over NCCL on GPUs and gloo on CPUs.

    local_rank: the launcher's flag, used where LOCAL_RANK is not in the environment. alone_too: form a group of one
    process too, which DeepSpeed needs. processes: how many to run on this machine's CPU, where no launcher has started
    any: the first process starts the others.

    Raises:
        UserError: there are several processes, but the environment does not say where they meet; or another program
            uses that port; or a variable of the launcher is no number; or `processes` are asked for although a launcher
            has started this one, or on a GPU.
    """
    raise_together(find_launcher_problems())
    size = launcher_number("WORLD_SIZE")
    if processes > 1:
        return _start_world(processes, size)
    os.environ.setdefault("LOCAL_RANK", str(max(local_rank, 0)))
    if size == 1 and not alone_too:
        return World()
    missing = [name for name in RENDEZVOUS if name not in os.environ]
    if size > 1 and missing:
        raise UserError(f"WORLD_SIZE is {size} but {', '.join(missing)} is not set: start the run with `deepspeed`")
    crew = LaunchedCrew(launcher_number("RANK"), size) if size > 1 else None
    _meet_launched(crew)
    atexit.register(_leave_group)
    world = World(torch.distributed.get_rank(), size, crew)
    if not world.is_first:
        _silence_transformers()
    return world


def _meet_launched(crew: LaunchedCrew | None) -> None:
    """Forms the group at the address of the launcher. crew: None in a run of one process."""
    place = {} if crew else {"store": torch.distributed.HashStore(), "rank": 0, "world_size": 1}
    if torch.cuda.is_available():
        device = torch.device("cuda", launcher_number("LOCAL_RANK"))
        torch.cuda.set_device(device)
        _form_at_port("nccl", device_id=device, **place)
        return
    here = max(launcher_number("LOCAL_SIZE"), launcher_number("LOCAL_WORLD_SIZE"))
    _share_cores(here)
    form = partial(_form_at_port, "gloo", **place)
    if here >= launcher_number("WORLD_SIZE"):
        _talk_on_this_machine()
    if crew:
        _meet(crew, form)
    else:
        form()


def _form_at_port(backend: str, **place: Any) -> None:
    """Forms the group; UserError names its port where another program uses that."""
    try:
        torch.distributed.init_process_group(backend, timeout=PATIENCE, **place)
    except torch.distributed.DistNetworkError as error:
        if "EADDRINUSE" not in str(error):
            raise
        raise UserError(
            f"MASTER_PORT {os.environ['MASTER_PORT']} is in use by another program, or by a run that has not ended: "
            "set it to another before the script, or give the launcher another --master_port"
        ) from error


def _start_world(size: int, launched: int) -> World:
    """Starts the other processes, or is one of them, and meets them over gloo. launched: WORLD_SIZE of a launcher."""
    if launched > 1:
        raise UserError(f"--processes {size}: a launcher has started {launched} already: leave one of them away")
    if torch.cuda.is_available():
        raise UserError(f"--processes {size}: they share a CPU, and there is a GPU: `deepspeed` starts one for each")
    rank, port = started_as()
    if rank:
        end_with_first()
    store = torch.distributed.TCPStore(
        "127.0.0.1", port, size, is_master=not rank, timeout=PATIENCE, wait_for_workers=False
    )
    crew = Crew() if rank else Crew(size, store.port)
    atexit.register(crew.end)
    _share_cores(size)
    stay_on_own_cores(rank, size)
    _talk_on_this_machine()
    store.set(f"process {rank}", "is here")
    while not rank and not store.check([f"process {other}" for other in range(1, size)]):
        crew.look()
        time.sleep(SECONDS_BETWEEN_LOOKS)
    place = {"store": store, "rank": rank, "world_size": size}
    _meet(crew, partial(torch.distributed.init_process_group, "gloo", timeout=PATIENCE, **place))
    atexit.register(_leave_group)
    if rank:
        _silence_transformers()
    return World(rank, size, crew)


def _talk_on_this_machine() -> None:
    """Has gloo use the loopback interface, unless GLOO_SOCKET_IFNAME is set; for processes of one machine.

    By default gloo takes the interface of the machine's host name: it warns where no name server knows that name, and
    else the messages of the processes would be open to the network.
    """
    for _, name in socket.if_nameindex():
        if name in LOOPBACKS:
            os.environ.setdefault("GLOO_SOCKET_IFNAME", name)


def _meet(crew: Crew | LaunchedCrew, form: Callable[[], None]) -> None:
    """Forms the group in another thread.

    gloo waits for hours for a process that has ended meanwhile, and this thread would hear no signal.
    """
    failed: list[Exception] = []

    def meet() -> None:
        try:
            form()
        except Exception as error:
            failed.append(error)

    meeting = threading.Thread(target=meet, daemon=True)
    meeting.start()
    try:
        while meeting.is_alive():
            crew.look()
            meeting.join(SECONDS_BETWEEN_LOOKS)
    except (UserError, KeyboardInterrupt) as error:
        # The meeting waits on, and Python aborts when such a thread wakes while it ends. Said before the others end, as
        # a second signal may come meanwhile.
        atexit.register(os._exit, EXIT_USER_ERROR if isinstance(error, UserError) else exit_code_of(error))
        crew.end()
        raise
    if failed:
        with World(crew=crew).all_here():
            raise failed[0]


def find_launcher_problems() -> list[str]:
    """One line for each variable of a launcher that is no number, or out of range, as of GPUs that are not there."""
    problems = []
    for name in NUMBERS:
        try:
            launcher_number(name)
        except UserError as error:
            problems.append(str(error))
    if not problems and launcher_number("RANK") >= launcher_number("WORLD_SIZE") > 1:
        problems.append(f"RANK is {os.environ['RANK']}, allowed is less than WORLD_SIZE")
    cards = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if not problems and 0 < cards <= (mine := launcher_number("LOCAL_RANK")):
        told = f"LOCAL_RANK is {mine}, and this process sees {cards} of the GPUs, numbered from 0"
        problems.append(f"{told}: start no more processes than GPUs; where each sees one of its own, set LOCAL_RANK=0")
    return problems


def launcher_number(name: str) -> int:
    """A variable of `NUMBERS` in the environment; where it is not set, the least allowed.

    Raises:
        UserError: it is no number, or out of range.
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


def _share_cores(neighbours: int) -> None:
    """Gives each process on this machine an equal part of its cores, unless OMP_NUM_THREADS is set.

    neighbours: number of processes here. Equal parts, so that all of them round alike.
    """
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, torch.get_num_threads() // neighbours))


def _silence_transformers() -> None:
    """Turns off what transformers prints; only the first process prints it."""
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()


def gather_predictions(mine: Sequence[Item], examples: Sequence[Example], world: World) -> list[Item]:
    """One prediction for every example, in the order of the examples, from those of all processes.

    mine: of this process. A prediction is anything with the id and task of its row.
    """
    found = {(row.id, row.task): row for row in world.gather(mine)}
    return [found[example.id, example.task] for example in examples]
