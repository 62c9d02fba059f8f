"""How much is measured: every section's share of the quick, the usual and the full benchmark."""

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.arguments import ALWAYS, SECTIONS
from benchmarks.inputs import KINDS
from benchmarks.sections.retrieval import SIZES
from benchmarks.sections.scoring import ScoringEffort
from benchmarks.sections.training import Effort


@dataclass(frozen=True)
class Plan:
    """One effort of the whole measurement.

    minutes: on two CPU cores, for the announcement. kinds: of training rows. searches: (queries, entries).
    compiled: of TRL's settings with each head, how many are compiled too.
    """

    minutes: str
    kinds: Sequence[str]
    training: Effort
    scoring: ScoringEffort
    searches: Sequence[tuple[int, int]]
    compiled: int
    sections: Sequence[str]


A_FEW = ("processing", "retrieval", "training", "neighbours", "scoring")
LITTLE = Effort(steps=1, repetitions=1, rows_per_step=8, compiles=False)
FEW_ROWS = ScoringEffort(rows=8, repetitions=1, adapter_steps=2, rows_per_step=8, compiles=False)
ENOUGH, ROWS_ENOUGH = Effort(steps=1, repetitions=3), ScoringEffort(rows=96, repetitions=3, adapter_steps=40)
EVERY = 1 << 10
PLANS = {
    "quick": Plan("a few", KINDS[:1], LITTLE, FEW_ROWS, SIZES[:1], 0, A_FEW),
    "default": Plan("50", KINDS[:1], ENOUGH, ROWS_ENOUGH, SIZES, 1, ALWAYS),
    "full": Plan("180", KINDS, ENOUGH, ROWS_ENOUGH, SIZES, EVERY, SECTIONS),
}
