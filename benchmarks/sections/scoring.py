"""Scoring contenders side by side: labels of the same rows of valid, from the same briefly trained adapter."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from basics.markdown import render_table
from benchmarks.contenders.definition import Contender, Setting, ours
from benchmarks.contenders.scoring import ADAPTER, rivals, scoring_contenders
from benchmarks.figures_of_merit import Result
from benchmarks.flops import ModelShape, forward_flops
from benchmarks.inputs import DATASET, Inputs
from benchmarks.rounds import Ceilings, Rounds, say
from benchmarks.tables import ceiling_line, contender_rows, factor_lines, machine_line
from benchmarks.worker import Worker
from benchmarks.workload import ROWS_PER_STEP, Work, Workload, draw_workload, tree_counts
from data_utils.labels import DATASETS
from data_utils.row_files import Example
from engine.batching import scoring_batches

WARM_UP_ROWS = 8
UNLIMITED = 1 << 30
HEADER = (
    "contender",
    "precision",
    "rows/s (range)",
    "useful tokens/s",
    "distinct tokens/s",
    "of the ceiling",
    "peak memory",
    "same label as ours",
    "right",
    "no label",
)


@dataclass(frozen=True)
class ScoringEffort:
    """rows: least number of rows; adapter_steps: optimizer steps of the training run before."""

    rows: int
    repetitions: int
    adapter_steps: int
    rows_per_step: int = ROWS_PER_STEP
    compiles: bool = True


@dataclass(frozen=True)
class ScoringSection:
    """Everything that the measurement needs. native: the processor's precision."""

    inputs: Inputs
    shape: ModelShape
    effort: ScoringEffort
    native: str
    logs: Path
    adapter: Path  # folder to save the adapter to

    def measure(self) -> dict[str, Any]:
        """Trains the adapter, then measures in rounds."""
        examples = self.inputs.valid_examples(DATASET, self.effort.rows)
        labels = self.inputs.labels(DATASET, "window")
        trained = self._train_adapter()
        contenders = scoring_contenders(self.native, self.effort.compiles)
        rounds = Rounds(contenders, lambda contender: self._setting(contender, examples, labels), self.logs)
        with Ceilings(self.shape.linear.values(), [self.native], self.logs) as ceilings:
            rounds.run(WARM_UP_ROWS, len(examples), self.effort.repetitions, ceilings.measure)
        work = self._count_work(examples, labels)
        outcomes = rounds.outcomes[ours(self.native)]
        own = outcomes[-1].labels if outcomes else ()
        return {
            "precision": self.native,
            "work": asdict(work),
            "flops": forward_flops(self.shape, work),
            "ceiling": ceilings.found,
            "adapter": trained,
            "contenders": {one.name: _describe(rounds, one, examples, own) for one in contenders},
        }

    def _setting(self, contender: Contender, examples: Sequence[Example], labels: Sequence[str]) -> Setting:
        task = {"examples": tuple(examples), "labels": tuple(labels), "max_length": DATASETS[DATASET].max_length}
        options = {**contender.options, **task, "adapter": str(self.adapter)}
        return Setting(self.inputs.base, Workload(()), contender.precision, "cpu", options)

    def _train_adapter(self) -> dict[str, Any]:
        say(f"training an adapter for {self.effort.adapter_steps} steps, to be scored with")
        rows = self.inputs.train_rows(DATASET, "window")
        workload = draw_workload(rows, self.effort.adapter_steps, self.effort.rows_per_step)
        setting = Setting(self.inputs.base, workload, self.native, "cpu", {"folder": str(self.adapter)})
        with Worker(ADAPTER, setting, self.logs / "adapter.log") as worker:
            worker.ready()
            outcome = worker.run()
        return {"steps": len(outcome.losses), "first_loss": outcome.losses[0], "last_loss": outcome.losses[-1]}

    def _count_work(self, examples: Sequence[Example], labels: Sequence[str]) -> Work:
        """Trees of about 32 rows with all their labels, which are what the engine computes at least."""
        encoder = self.inputs.encoder(DATASET)
        rows = encoder.encode(list(examples), labels)
        choices = [encoder.encode_label(label) for label in labels]
        trees = [batch.tree() for batch in scoring_batches(rows, choices, UNLIMITED, share_prefixes=True)]
        _, nodes, pairs, kept = map(sum, zip(*map(tree_counts, trees), strict=True))
        # Useful tokens are those of the prompts: a label is an answer, whichever way it is found.
        return Work(len(rows), sum(len(row.prompt) for row in rows), nodes, pairs, kept)


def _describe(
    rounds: Rounds, contender: Contender, examples: Sequence[Example], own: Sequence[str | None]
) -> dict[str, Any]:
    described = rounds.describe(contender.name)
    if "error" in described:
        return described
    found = rounds.outcomes[contender.name][-1].labels
    targets = [example.target for example in examples]
    return described | {
        "agreement": _share_equal(found, own) if own else None,
        "accuracy": _share_equal(found, targets),
        "without_label": found.count(None),
    }


def _share_equal(found: Sequence[str | None], others: Sequence[str | None]) -> float:
    return sum(one == other for one, other in zip(found, others, strict=True)) / len(found)


def render_scoring(results: Result) -> list[str]:
    """A table of rates and answers, and the factors over the rivals."""
    section = results["scoring"]
    work, trained = section["work"], section["adapter"]

    def answers(entry: Result) -> list[str]:
        agreement = "" if entry["agreement"] is None else f"{entry['agreement']:.0%}"
        return [agreement, f"{entry['accuracy']:.0%}", str(entry["without_label"])]

    native = section["precision"]
    return [
        f"#### Scoring\n\n{machine_line(section)}",
        f"{work['rows']} rows of MELD valid, {work['tokens']:,} tokens of prompts; {work['nodes']:,} distinct tokens, "
        f"all labels with them; {ceiling_line(section['ceiling'])}. The adapter was trained for {trained['steps']} "
        f"steps before (loss {trained['first_loss']:.2f} to {trained['last_loss']:.2f}), so that `generate` answers "
        "with labels and stops.",
        render_table(HEADER, contender_rows(section, len(HEADER), answers), numbers=True),
        *factor_lines(section, "scores", ours(native), rivals(native)),
    ]
