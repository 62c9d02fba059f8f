"""The tables of what a GPU measured."""

from basics.markdown import render_table
from benchmarks.contenders.training import OURS
from benchmarks.figures_of_merit import Result, Spread
from benchmarks.tables import GIBIBYTE, factor_lines, machine_line, training_table, work_line

RIVALS = {
    "the released program's loop in bf16": ("released_bf16",),
    "the best of padded batches and TRL": ("padded_bf16", "padded_32_bf16", "trl_bf16"),
    "this engine with nothing shared": ("engine_rows_bf16",),
}
ATTENTION_HEADER = ("attention over the tree", "milliseconds a step (range)", "peak memory", "loss")


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
        *factor_lines(model, "trains", OURS, RIVALS),
        "Forward and backward pass of one optimizer step, packed beforehand:",
        render_table(ATTENTION_HEADER, map(_attention_row, model["attention"].values()), numbers=True),
        *failed,
    ]


def _attention_row(entry: Result) -> list[str]:
    if "error" in entry:
        return [entry["title"], entry["error"].replace("|", "/"), "", ""]
    steps = Spread.of([1000 * seconds for seconds in entry["seconds"]])
    return [entry["title"], str(steps), f"{entry['peak_memory'] / GIBIBYTE:.1f} GiB", f"{entry['loss']:.4f}"]
