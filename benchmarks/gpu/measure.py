"""The same contenders on a GPU, and ways to attend over a tree: writes results/gpu.json and renders README.md.

    bash benchmarks/run_gpu.sh

One contender after the other in this process. One that fails, or has no time left, is written down as such
and the others go on; what is measured is on disk at once. A base of which only configuration and tokenizer
are there runs with random weights: speed is the same.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from bases.load import resolve_base
from bases.table import LLAMA_7B
from basics.errors import UserError
from basics.scripts import run_script
from benchmarks.gpu.arguments import MEASURED, parse_measure
from benchmarks.gpu.case import Budget, Case, Measurement
from benchmarks.inputs import DATASET, Inputs
from benchmarks.machine import describe_machine
from benchmarks.report import RESULTS, write_pages, write_results
from benchmarks.workload import draw_workload


def main() -> None:
    arguments = parse_measure()
    device = torch.device(arguments.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UserError("no CUDA device: run benchmarks/run.sh on a CPU, or --device cpu to try this script out")
    torch.set_float32_matmul_precision("high")  # TF32, as fp32 is computed on such a GPU
    inputs = Inputs(resolve_base(arguments.base), arguments.data)
    workload = draw_workload(inputs.train_rows(DATASET, "window"), arguments.steps)
    budget = Budget()
    measured: dict[str, Any] = {"machine": describe_machine(device.type), "models": {}}

    def save() -> None:
        write_results(arguments.output, measured | {"took": round(budget.spent)})

    measurement = Measurement(workload, device, arguments.repetitions, budget, save)
    with tempfile.TemporaryDirectory() as scratch:
        for case in _cases(inputs, Path(scratch), arguments.small_only):
            measured["models"][case.name] = found = {}
            measurement.run(case, found)
    if arguments.output == MEASURED:
        write_pages(RESULTS)


def _cases(inputs: Inputs, scratch: Path, small_only: bool) -> Iterator[Case]:
    """The base as it is, and a 7B LLaMA that exists as a configuration alone."""
    from transformers import LlamaConfig

    yield Case(Path(inputs.base).name, inputs.base)
    if not small_only:
        tokenizer = inputs.encoder(DATASET).tokenizer
        tokenizer.save_pretrained(scratch)
        tokens = {"vocab_size": len(tokenizer), "pad_token_id": tokenizer.pad_token_id}
        LlamaConfig(**(LLAMA_7B | tokens)).save_pretrained(scratch)
        adapted, without = "q_proj,k_proj,v_proj", frozenset({"released_fp32"})
        yield Case("LLaMA of 7B random weights, LoRA on q, k, v", str(scratch), adapted, without)


if __name__ == "__main__":
    run_script(main)
