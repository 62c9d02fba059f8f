"""Deals rows to processes: rows that share prefixes stay together, and all processes have about as much to compute.

A step takes as long as its slowest process. So rows are dealt by the nodes of their prefix trees, the largest piece
first. A piece is what a step holds of one dialogue; where that leaves one process far behind, its largest piece is cut
between two turns. Both halves then compute the prefix that they share, on cores of their own but through one memory: a
cut has to save the slowest more nodes than it costs the mean.
"""

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from engine.batching import EncodedRow, MicroBatch, group_by_dialogue, training_batches, without_weight
from engine.distributed import World
from engine.objective import LabelLoss
from engine.prefix_tree import count_nodes


@dataclass(frozen=True)
class Piece:
    """Rows that one process computes together. rows: indices, by turn. cost: nodes of their tree."""

    rows: tuple[int, ...]
    cost: int


def deal(costs: Sequence[int], parts: int) -> list[list[int]]:
    """Indices of the costs, one list for each part; the largest cost first, each to the part with the least so far."""
    loads = [(0, part) for part in range(parts)]
    shares: list[list[int]] = [[] for _ in range(parts)]
    for index in sorted(range(len(costs)), key=lambda index: -costs[index]):
        load, part = heapq.heappop(loads)
        shares[part].append(index)
        heapq.heappush(loads, (load + costs[index], part))
    return shares


def deal_rows(rows: Sequence[EncodedRow], share_prefixes: bool, processes: int) -> list[list[EncodedRow]]:
    """The rows of a step that each process computes, in the step's order; a process may have none."""
    if processes == 1:
        return [list(rows)]
    if not share_prefixes:  # without shared prefixes a cut costs nothing
        pieces = [_piece(rows, [index]) for index in range(len(rows))]
        shares = deal([piece.cost for piece in pieces], processes)
    else:
        pieces = [_piece(rows, dialogue) for dialogue in group_by_dialogue(rows)]
        pieces, shares = _cut_where_it_pays(rows, pieces, processes)
    return [[rows[index] for index in sorted(index for at in share for index in pieces[at].rows)] for share in shares]


def _cut_where_it_pays(
    rows: Sequence[EncodedRow], pieces: list[Piece], processes: int
) -> tuple[list[Piece], list[list[int]]]:
    """(the pieces, some of them cut, for each process the indices of its pieces)."""
    shares = deal([piece.cost for piece in pieces], processes)
    while True:
        slowest = max(shares, key=lambda share: _load(pieces, share))
        at = max(slowest, key=lambda index: pieces[index].cost, default=None)
        if at is None or len(pieces[at].rows) == 1:
            return pieces, shares
        cut = [*pieces[:at], *_halves(rows, pieces[at]), *pieces[at + 1 :]]
        dealt = deal([piece.cost for piece in cut], processes)
        if _price(cut, dealt) >= _price(pieces, shares):
            return pieces, shares
        pieces, shares = cut, dealt


def _price(pieces: Sequence[Piece], shares: Sequence[Sequence[int]]) -> float:
    loads = [_load(pieces, share) for share in shares]
    return max(loads) + sum(loads) / len(loads)


def _halves(rows: Sequence[EncodedRow], piece: Piece) -> tuple[Piece, Piece]:
    """A piece cut between two turns, so that the larger half is as small as it can be."""
    cuts = [(_piece(rows, piece.rows[:place]), _piece(rows, piece.rows[place:])) for place in range(1, len(piece.rows))]
    return min(cuts, key=lambda cut: max(half.cost for half in cut))


def _load(pieces: Sequence[Piece], share: Iterable[int]) -> int:
    return sum(pieces[index].cost for index in share)


def _piece(rows: Sequence[EncodedRow], indices: Sequence[int]) -> Piece:
    return Piece(tuple(indices), nodes_of([rows[index] for index in indices]))


def nodes_of(rows: Sequence[EncodedRow]) -> int:
    """About how many nodes the tree of rows with their targets has."""
    return count_nodes([row.prompt for row in rows], [(row.target,) for row in rows])


def step_batches(
    rows: Sequence[EncodedRow],
    token_budget: int,
    share_prefixes: bool,
    micro_steps: int,
    processes: int,
    label_loss: LabelLoss | None = None,
) -> list[list[MicroBatch]]:
    """The micro-batches of an optimizer step, a list for each process with `micro_steps` or more; see `deal_rows`."""
    return [
        training_batches(share, token_budget, share_prefixes, micro_steps, len(rows), label_loss)
        for share in deal_rows(rows, share_prefixes, processes)
    ]


def in_lockstep(shares: Sequence[Sequence[MicroBatch]]) -> list[list[MicroBatch]]:
    """Equally many micro-batches for each process; those with fewer get some of weight 0, see `without_weight`."""
    most = max(map(len, shares))
    spare = without_weight(next(share[0] for share in shares if share))
    return [[*share, *[spare] * (most - len(share))] for share in shares]


def share_of_dialogues(rows: Sequence[EncodedRow], world: World) -> list[EncodedRow]:
    """The rows that this process scores: whole dialogues, dealt by the nodes of their prompts.

    A process for which none is left takes one that another scores as well, so that it runs forward passes like
    the others.
    """
    dialogues = [[rows[index] for index in indices] for indices in group_by_dialogue(rows)]
    shares = deal([nodes_of(dialogue) for dialogue in dialogues], world.size)
    mine = shares[world.rank] or shares[0][:1]
    return [row for index in mine for row in dialogues[index]]


@dataclass(frozen=True)
class Dealing:
    """The cost of dealing the rows of steps to several processes, in nodes of prefix trees.

    together: nodes of the steps, each as one tree. computed: nodes that all processes compute. waited_for: nodes of the
    slowest process of each step.
    """

    processes: int
    together: int
    computed: int
    waited_for: int

    @property
    def repeated(self) -> float:
        """How many more nodes are computed than the whole trees have, as a share of these."""
        return self.computed / self.together - 1

    @property
    def behind(self) -> float:
        """How many more nodes the slowest process has than the mean, as a share of the mean."""
        return self.waited_for * self.processes / self.computed - 1

    @property
    def times(self) -> float:
        """How many times as fast as on one process steps are, if only nodes take time."""
        return self.together / self.waited_for

    def __str__(self) -> str:
        return (
            f"rows are dealt to {self.processes} processes: they compute {self.repeated:.1%} more tokens than one "
            f"would, the slowest has {self.behind:.1%} more than the mean"
        )


def measure_dealing(steps: Iterable[Sequence[EncodedRow]], share_prefixes: bool, processes: int) -> Dealing:
    """The cost of dealing these steps. steps: the rows of each."""
    together = computed = waited_for = 0
    for rows in steps:
        loads = [
            nodes_of(share) if share_prefixes else sum(nodes_of([row]) for row in share)
            for share in deal_rows(rows, share_prefixes, processes)
        ]
        together += nodes_of(rows) if share_prefixes else sum(loads)
        computed += sum(loads)
        waited_for += max(loads)
    return Dealing(processes, together, computed, waited_for)
