"""Training contenders side by side on the same rows, and the settings of TRL that are fastest here."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.contenders.definition import LORA_RANK, Contender, Outcome, Setting
from benchmarks.contenders.reference import check_against_reference
from benchmarks.contenders.training import CONTENDERS, REFERENCE, TRL
from benchmarks.contenders.trl_loop import SETTINGS
from benchmarks.flops import ModelShape, training_flops
from benchmarks.rounds import Rounds, best_ceiling, say
from benchmarks.worker import ContenderFailed, Worker
from benchmarks.workload import Workload, count_work

CEILING = "benchmarks.ceiling:build_ceiling"


@dataclass(frozen=True)
class Effort:
    """How much is measured. steps: optimizer steps of a repetition."""

    steps: int
    repetitions: int


@dataclass(frozen=True)
class TrainingSection:
    """Everything that the measurements of one kind of rows share."""

    base: str
    workload: Workload
    shape: ModelShape
    effort: Effort
    logs: Path

    def setting(self, contender: Contender) -> Setting:
        return Setting(self.base, self.workload, contender.precision, "cpu", contender.options)

    def measure(self, trl_settings: Mapping[str, float]) -> dict[str, Any]:
        """Reference, then rounds; UserError when a contender's loss is another one."""
        contenders = [_with_fastest(contender, trl_settings) for contender in CONTENDERS]
        reference = self._run_reference()
        rounds = Rounds(contenders, self.setting, self.logs)
        ceilings: list[dict[str, float]] = []
        with Worker(CEILING, list(self.shape.linear.values()), self.logs / "ceiling.log") as ceiling:
            ceiling.ready()
            steps = len(self.workload.steps)
            rounds.run(1, steps, self.effort.repetitions, lambda: ceilings.append(ceiling.run("bf16")))
        work = count_work(self.workload.steps)
        return {
            "work": asdict(work),
            "steps": steps,
            "flops": training_flops(self.shape, work),
            "ceiling": best_ceiling(ceilings),
            "reference": {name: asdict(outcome) for name, outcome in reference.items()},
            "contenders": {
                contender.name: _describe(rounds, contender, reference[contender.reduction]) for contender in contenders
            },
        }

    def _run_reference(self) -> dict[str, Outcome]:
        say("computing the reference losses")
        plain = Contender("reference", "reference", "fp32", "", REFERENCE)
        with Worker(REFERENCE, self.setting(plain), self.logs / "reference.log") as worker:
            worker.ready()
            return worker.run(len(self.workload.steps))

    def measure_trl_settings(self, names: Sequence[str]) -> dict[str, float]:
        """Setting -> seconds of one optimizer step, its head patched as for a GPU; only those that ran."""
        seconds = {}
        for name in names:
            options = SETTINGS[name] | {"targets_only": True}
            contender = Contender("trl_setting", name, "bf16", "token", TRL, options)
            say(f"TRL, {name}")
            try:
                with Worker(TRL, self.setting(contender), self.logs / "trl_setting.log") as worker:
                    worker.ready()
                    worker.run(1)
                    seconds[name] = worker.run(1).seconds
            except ContenderFailed as error:
                say(f"TRL, {name}: {error}")
        return seconds


def _with_fastest(contender: Contender, settings: Mapping[str, float]) -> Contender:
    """A TRL contender with the settings that took least time."""
    if contender.build != TRL or not settings:
        return contender
    fastest = min(settings, key=settings.__getitem__)
    title = f"{contender.title} ({fastest})"
    return replace(contender, title=title, options={**contender.options, **SETTINGS[fastest]})


def _describe(rounds: Rounds, contender: Contender, reference: Outcome) -> dict[str, Any]:
    described = rounds.describe(contender.name)
    if "error" in described:
        return described
    for outcome in rounds.outcomes[contender.name]:
        check_against_reference(contender, outcome, reference)
    last = rounds.outcomes[contender.name][-1]
    return described | {
        "loss": sum(last.losses) / len(last.losses),
        "norm": last.norms[0],
        "tokens": last.tokens,
    }


def llama_shape(config) -> ModelShape:
    """The base with LoRA on every linear layer."""
    return ModelShape.of(config, LORA_RANK)
