"""The rows that every contender trains on: fixed, seeded, and the same optimizer steps for all."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from engine.batching import EncodedRow, plan_steps
from engine.prefix_tree import PrefixTree

ROWS_PER_STEP = 32
ROWS_PER_DIALOGUE = 8
SEED = 42

Steps = tuple[tuple[EncodedRow, ...], ...]


@dataclass(frozen=True)
class Workload:
    """Rows and how they fall into optimizer steps: as the engine's own trainer will plan them."""

    rows: tuple[EncodedRow, ...]

    @cached_property
    def steps(self) -> Steps:
        plan = plan_steps(self.rows, ROWS_PER_STEP, ROWS_PER_DIALOGUE, SEED, epoch=0)
        return tuple(tuple(self.rows[index] for index in step) for step in plan)

    def first(self, count: int) -> "Workload":
        """The rows of the first `count` steps; itself when that is all, since other rows are planned otherwise."""
        if count >= len(self.steps):
            return self
        return replace(self, rows=tuple(row for step in self.steps[:count] for row in step))


def draw_workload(rows: Sequence[EncodedRow], steps: int) -> Workload:
    """The rows of the first `steps` steps of an epoch over `rows`, each counting as one row of the loss."""
    plan = plan_steps(rows, ROWS_PER_STEP, ROWS_PER_DIALOGUE, SEED, epoch=0)[:steps]
    chosen = sorted(index for step in plan for index in step)
    return Workload(tuple(replace(rows[index], weight=1.0) for index in chosen))


@dataclass(frozen=True)
class Work:
    """What a set of optimizer steps has to compute at least.

    tokens: of the rows, each on its own, without padding. nodes: distinct prefixes of each step, one token
    each. pairs: how many (node, visible node) pairs attention needs. kept: nodes that predict something.
    """

    rows: int
    tokens: int
    nodes: int
    pairs: int
    kept: int

    @property
    def tokens_per_node(self) -> float:
        return self.tokens / self.nodes


def count_work(steps: Sequence[Sequence[EncodedRow]]) -> Work:
    """Counts the steps' work, each step as one tree."""
    totals = [0] * 4
    for step in steps:
        tree = PrefixTree.from_rows([row.prompt for row in step], [(row.target,) for row in step])
        counts = tree_counts(tree)
        totals = [total + count for total, count in zip(totals, counts, strict=True)]
    return Work(sum(map(len, steps)), *totals)


def tree_counts(tree: PrefixTree) -> tuple[int, int, int, int]:
    """(tokens of the rows, nodes, visible pairs, nodes that predict something)."""
    visible = int((tree.positions + 1).sum())
    return tree.row_tokens, len(tree), visible, len(set(tree.pair_nodes.tolist()))
