"""The rows that every contender trains on: fixed, seeded, and the same optimizer steps for all."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import log

from engine.batching import EncodedRow, plan_steps
from engine.prefix_tree import PrefixTree

ROWS_PER_STEP = 32
ROWS_PER_DIALOGUE = 8
SEED = 42
PLANNED_ANEW = 8  # of the places where the steps could be drawn, how many are looked at closely

Steps = tuple[tuple[EncodedRow, ...], ...]


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


@dataclass(frozen=True)
class Workload:
    """Rows and how they fall into optimizer steps: as the engine's own trainer will plan them.

    epoch: the work of the whole epoch that the rows were drawn from.
    """

    rows: tuple[EncodedRow, ...]
    rows_per_step: int = ROWS_PER_STEP
    epoch: Work | None = None

    @cached_property
    def steps(self) -> Steps:
        plan = plan_steps(self.rows, self.rows_per_step, ROWS_PER_DIALOGUE, SEED, epoch=0)
        return tuple(tuple(self.rows[index] for index in step) for step in plan)

    def first(self, count: int) -> "Workload":
        """The rows of the first `count` steps; itself when that is all, since other rows are planned otherwise."""
        if count >= len(self.steps):
            return self
        return replace(self, rows=tuple(row for step in self.steps[:count] for row in step))


def draw_workload(rows: Sequence[EncodedRow], steps: int, rows_per_step: int = ROWS_PER_STEP) -> Workload:
    """The rows of `steps` steps in a row of an epoch over `rows`, each counting as one row of the loss.

    Of all such steps those whose rows, planned by themselves as the trainer will plan them, are as long and share as
    much as the rows of the whole epoch; the first of equals.
    """
    plan = plan_steps(rows, rows_per_step, ROWS_PER_DIALOGUE, SEED, epoch=0)
    counted = [count_work([[rows[index] for index in step]]) for step in plan]
    epoch = _sum(counted)
    starts = range(max(sum(work.rows == rows_per_step for work in counted) - steps, 0) + 1)
    ranked = sorted(starts, key=lambda start: _distance(_sum(counted[start : start + steps]), epoch))

    def workload(start: int) -> Workload:
        chosen = sorted(index for step in plan[start : start + steps] for index in step)
        return Workload(tuple(replace(rows[index], weight=1.0) for index in chosen), rows_per_step, epoch)

    candidates = map(workload, ranked[:PLANNED_ANEW])
    return min(candidates, key=lambda one: _distance(count_work(one.steps), epoch))


def _distance(work: Work, epoch: Work) -> float:
    """How far tokens and distinct tokens a row are from the epoch's, as a sum of logarithms."""
    pairs = ((work.tokens, epoch.tokens), (work.nodes, epoch.nodes))
    return sum(abs(log(part / work.rows) - log(whole / epoch.rows)) for part, whole in pairs)


def count_work(steps: Sequence[Sequence[EncodedRow]]) -> Work:
    """Counts the steps' work, each step as one tree."""
    trees = (PrefixTree.from_rows([row.prompt for row in step], [(row.target,) for row in step]) for step in steps)
    return _sum([Work(len(step), *tree_counts(tree)) for step, tree in zip(steps, trees, strict=True)])


def _sum(works: Sequence[Work]) -> Work:
    columns = ([getattr(work, name) for work in works] for name in Work.__dataclass_fields__)
    return Work(*map(sum, columns))


def tree_counts(tree: PrefixTree) -> tuple[int, int, int, int]:
    """(tokens of the rows, nodes, visible pairs, nodes that predict something)."""
    visible = int((tree.positions + 1).sum())
    return tree.row_tokens, len(tree), visible, len(set(tree.pair_nodes.tolist()))
