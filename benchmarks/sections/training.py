"""Training contenders side by side on the same rows, and the settings of TRL that are fastest here."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.chart import CHART
from benchmarks.contenders.definition import LORA_RANK, Contender, Outcome, Setting
from benchmarks.contenders.reference import check_against_reference
from benchmarks.contenders.training import CONTENDERS, OURS, REFERENCE, RIVALS, TRL
from benchmarks.contenders.trl_loop import SETTINGS
from benchmarks.figures_of_merit import Result
from benchmarks.flops import ModelShape, training_flops
from benchmarks.rounds import Rounds, best_ceiling, say
from benchmarks.tables import factor_lines, machine_line, training_table, work_line
from benchmarks.worker import ContenderFailed, Worker
from benchmarks.workload import Workload, count_work

CEILING = "benchmarks.ceiling:build_ceiling"
KIND_TITLES = {"window": "MELD, window 12", "predict": "MELD, window 12 with the prediction task"}


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


def render_training(results: Result) -> list[str]:
    """The chart, then a table and the factors for each kind of rows, and the settings of TRL that were tried."""
    section = results["training"]
    chart = [f"![Samples a second of every contender]({CHART.name})"] if "scoring" in results else []
    parts = [f"### Training\n\n{machine_line(section)}", *chart]
    for kind, workload in section["workloads"].items():
        parts.append(work_line(KIND_TITLES[kind], workload))
        parts.append(training_table(workload))
        parts += factor_lines(workload, "trains", OURS, RIVALS)
        parts += _compile_lines(workload)
    return parts + _trl_lines(section["trl_settings"])


def _compile_lines(workload: Result) -> list[str]:
    """What compiling costs, once a run: the first step beside the others."""
    entry = workload["contenders"][OURS]
    if "error" in entry:
        return []
    return [f"Its first optimizer step, in which the layers are compiled, took {entry['warm_up']:.0f} s; once a run."]


def _trl_lines(settings: Mapping[str, float]) -> list[str]:
    listed = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in settings.items())
    return [f"Settings of TRL tried, one optimizer step each (bf16, head patched): {listed}."] if listed else []
