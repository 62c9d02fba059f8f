"""One model on a GPU: its reference, its contenders in turn, ways to attend over its trees; the tables of it all."""

import gc
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

import torch

from bases.load import DTYPES
from basics.markdown import render_table
from benchmarks.ceiling import measure_ceiling
from benchmarks.contenders.definition import ALL_LAYERS, LORA_RANK, Contender, Outcome, Setting, ours
from benchmarks.contenders.reference import build_reference, check_against_reference
from benchmarks.contenders.training import ENGINE, LOOP, TRL
from benchmarks.figures_of_merit import Result, Spread
from benchmarks.flops import ModelShape, training_flops
from benchmarks.gpu.attention import VARIANTS, build_attention, forget_peak, peak_memory
from benchmarks.rounds import say
from benchmarks.tables import GIBIBYTE, factor_lines, machine_line, training_table, work_line
from benchmarks.worker import describe, load_builder
from benchmarks.workload import Workload, count_work

SECONDS_ALLOWED = 400.0  # no contender is begun after that
PADDED = {"collator": "padded", "fused": True}
CONTENDERS = (
    Contender("released_fp32", "released program's loop", "fp32", "row", LOOP, {"collator": "one row"}),
    Contender("released_bf16", "released program's loop", "bf16", "row", LOOP, {"collator": "one row"}),
    Contender("padded_bf16", "padded batches of 8", "bf16", "token", LOOP, PADDED | {"size": 8}),
    Contender("padded_32_bf16", "padded batches of 32", "bf16", "token", LOOP, PADDED | {"size": 32}),
    Contender("trl_bf16", "TRL SFTTrainer, batches of 8", "bf16", "token", TRL, {"size": 8}),
    Contender("engine_rows_bf16", "this engine, nothing shared", "bf16", "row", ENGINE, {"packing": "rows"}),
    Contender("engine_bf16", "this engine", "bf16", "row", ENGINE, {"packing": "tree"}),
)
RIVALS = {
    "the released program's loop in bf16": ("released_bf16",),
    "the best of padded batches and TRL": ("padded_bf16", "padded_32_bf16", "trl_bf16"),
    "this engine with nothing shared": ("engine_rows_bf16",),
}
ATTENTION_HEADER = ("attention over the tree", "milliseconds a step (range)", "peak memory", "loss")


@dataclass(frozen=True)
class Case:
    """A model to measure. adapted: comma list of layers with LoRA, None: all. without: contenders left out."""

    name: str
    base: str
    adapted: str | None = None
    without: frozenset[str] = frozenset()


class NoTimeLeft(Exception):
    """The machine is lent for so long only."""


@dataclass
class Budget:
    """Seconds since the start, and whether any are left."""

    began: float = field(default_factory=time.perf_counter)

    @property
    def spent(self) -> float:
        return time.perf_counter() - self.began

    def check(self) -> None:
        if self.spent > SECONDS_ALLOWED:
            raise NoTimeLeft("not begun, as the others took all the time")


@dataclass(frozen=True)
class Measurement:
    """How a case is measured. save: called whenever there is more to keep."""

    workload: Workload
    device: torch.device
    repetitions: int
    budget: Budget
    save: Callable[[], None]

    def run(self, case: Case, found: dict[str, Any]) -> None:
        """Fills `found`, which holds an error where something beside a contender failed."""
        with self._noting_failure(found):
            found |= self._describe(case)
            reference = self._run_reference(case)
            found["reference"] = {name: asdict(outcome) for name, outcome in reference.items()}
            for contender in CONTENDERS:
                if contender.name in case.without:
                    continue
                say(f"{case.name}: {contender.name}")
                entry = asdict(contender) | {"options": dict(contender.options)}
                found["contenders"][contender.name] = entry
                with self._noting_failure(entry):
                    entry |= self._run_contender(case, contender, reference[contender.reduction])
            self._measure_attention(case, found["attention"])

    def _setting(self, case: Case, precision: str, **options: Any) -> Setting:
        return Setting(case.base, self.workload, precision, self.device.type, options | {"adapted": case.adapted})

    def _describe(self, case: Case) -> dict[str, Any]:
        from transformers import AutoConfig

        adapted = case.adapted.split(",") if case.adapted else None
        shape = ModelShape.of(AutoConfig.from_pretrained(case.base), LORA_RANK, adapted)
        work = count_work(self.workload.steps)
        return {
            "work": asdict(work),
            "flops": training_flops(shape, work),
            "ceiling": {
                name: measure_ceiling(DTYPES[name], self.device, shape.linear.values()) for name in ("fp32", "bf16")
            },
            "contenders": {},
            "attention": {},
        }

    def _run_reference(self, case: Case) -> dict[str, Outcome]:
        say(f"{case.name}: reference")
        self._free_memory()
        return build_reference(self._setting(case, "fp32"))(len(self.workload.steps))

    def _run_contender(self, case: Case, contender: Contender, reference: Outcome) -> dict[str, Any]:
        """Repetitions after one step to warm up; UserError when the loss is another one."""
        self._free_memory()
        steps = len(self.workload.steps)
        run = load_builder(contender.build)(self._setting(case, contender.precision, **contender.options))
        forget_peak(self.device)  # loading is over
        run(1)
        outcomes = [run(steps) for _ in range(self.repetitions)]
        check_against_reference(contender, outcomes[-1], reference)
        return {
            "seconds": [outcome.seconds for outcome in outcomes],
            "peak_memory": peak_memory(self.device),
            "loss": sum(outcomes[-1].losses) / steps,
            "norm": outcomes[-1].norms[0],
            "tokens": outcomes[-1].tokens,
        }

    def _measure_attention(self, case: Case, found: dict[str, Any]) -> None:
        self._free_memory()
        run = build_attention(self._setting(case, "bf16", layers=case.adapted or ALL_LAYERS))
        for name, title in VARIANTS.items():
            say(f"{case.name}: {title}")
            entry = found[name] = {"title": title}
            with self._noting_failure(entry):
                entry |= asdict(run(name, self.repetitions))

    @contextmanager
    def _noting_failure(self, entry: dict[str, Any]) -> Iterator[None]:
        """Writes an exception into the entry, so that the others go on; saves."""
        try:
            self.budget.check()
            yield
        except Exception as error:  # whatever it is, it is this entry's
            entry["error"] = describe(error)
            say(f"failed: {entry['error']}")
        self.save()

    def _free_memory(self) -> None:
        gc.collect()
        forget_peak(self.device)


def render_gpu(results: Result) -> list[str]:
    """Contenders and ways of attention, for every model."""
    section = results["gpu"]
    parts = [f"### On a GPU\n\n{machine_line(section)}"]
    for name, model in section["models"].items():
        parts += _render_model(name, model)
    return parts


def _render_model(name: str, model: Result) -> list[str]:
    failed = [f"{name}: {model['error']}"] if "error" in model else []
    if "reference" not in model:
        return failed
    return [
        work_line(f"MELD, window 12, {name}", model),
        training_table(model),
        *factor_lines(model, "trains", ours("bf16"), RIVALS),
        "Forward and backward pass of one optimizer step, packed beforehand:",
        render_table(ATTENTION_HEADER, map(_attention_row, model["attention"].values()), numbers=True),
        *failed,
    ]


def _attention_row(entry: Result) -> list[str]:
    if "error" in entry:
        return [entry["title"], entry["error"].replace("|", "/"), "", ""]
    steps = Spread.of([1000 * seconds for seconds in entry["seconds"]])
    return [entry["title"], str(steps), f"{entry['peak_memory'] / GIBIBYTE:.1f} GiB", f"{entry['loss']:.4f}"]
