"""Training contenders side by side on the same rows."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from basics.errors import UserError
from benchmarks.contenders.definition import LORA_RANK, Contender, Outcome, Setting, ours
from benchmarks.contenders.reference import check_against_reference, compute_reference
from benchmarks.contenders.training import rivals, training_contenders
from benchmarks.figures_of_merit import Result
from benchmarks.flops import ModelShape, training_flops
from benchmarks.rounds import Ceilings, Rounds, say
from benchmarks.tables import factor_lines, machine_line, training_table, work_line
from benchmarks.workload import ROWS_PER_STEP, Workload, count_work

KIND_TITLES = {"window": "MELD, window 12", "predict": "MELD, window 12 with the prediction task"}


@dataclass(frozen=True)
class Effort:
    """How much is measured. steps: optimizer steps of a repetition."""

    steps: int
    repetitions: int
    rows_per_step: int = ROWS_PER_STEP
    compiles: bool = True


@dataclass(frozen=True)
class TrainingSection:
    """Everything that the measurements of one kind of rows share. native: the processor's precision."""

    base: str
    workload: Workload
    shape: ModelShape
    effort: Effort
    native: str
    logs: Path
    only: Sequence[str] = ()  # names of rivals without their precision; none: all of them

    def setting(self, contender: Contender) -> Setting:
        return Setting(self.base, self.workload, contender.precision, "cpu", contender.options)

    def measure(self, trl: Mapping[bool, Mapping[str, Any]]) -> dict[str, Any]:
        """Reference, then rounds; another loss is a contender's error. trl: its fastest options."""
        contenders = training_contenders(self.native, trl, self.effort.compiles, self.only)
        say("computing the reference losses")
        reference = compute_reference(self.setting(contenders[0]), self.logs)
        rounds = Rounds(contenders, self.setting, self.logs)
        steps = len(self.workload.steps)
        linear = self.shape.linear.values()
        with Ceilings(linear, (contender.precision for contender in contenders), self.logs) as ceilings:
            rounds.run(1, steps, self.effort.repetitions, ceilings.measure)
        work = count_work(self.workload.steps)
        return {
            "precision": self.native,
            "work": asdict(work),
            "epoch": asdict(self.workload.epoch),
            "steps": steps,
            "flops": training_flops(self.shape, work),
            "ceiling": ceilings.found,
            "reference": {name: asdict(outcome) for name, outcome in reference.items()},
            "contenders": {
                contender.name: _describe(rounds, contender, reference[contender.reduction]) for contender in contenders
            },
        }


def _describe(rounds: Rounds, contender: Contender, reference: Outcome) -> dict[str, Any]:
    described = rounds.describe(contender.name)
    if "error" in described:
        return described
    try:
        for outcome in rounds.outcomes[contender.name]:
            check_against_reference(contender, outcome, reference)
    except UserError as error:  # its speed is worth nothing, that of the others as much as before
        say(str(error))
        return described | {"error": f"another problem: {error}"}
    last = rounds.outcomes[contender.name][-1]
    return described | {
        "loss": sum(last.losses) / len(last.losses),
        "norm": last.norms[0],
        "tokens": last.tokens,
    }


def llama_shape(config) -> ModelShape:
    """The base with LoRA on every linear layer."""
    return ModelShape.of(config, LORA_RANK)


def render_training(results: Result) -> list[str]:
    """A table and the factors for each kind of rows."""
    section = results["training"]
    parts = [f"#### Training\n\n{machine_line(section)}"]
    for kind, workload in section["workloads"].items():
        native = workload["precision"]
        parts.append(work_line(KIND_TITLES[kind], workload))
        parts.append(training_table(workload))
        parts += factor_lines(workload, "trains", ours(native), rivals(native))
        parts += _compile_lines(workload["contenders"][ours(native)])
    return parts


def _compile_lines(entry: Result) -> list[str]:
    """What compiling costs, once a run: the first step beside the others."""
    if "error" in entry or not entry["options"]["compile"]:
        return []
    return [f"Its first optimizer step, in which the layers are compiled, took {entry['warm_up']:.0f} s; once a run."]
