"""Estimate, before anything is downloaded, the memory, operations and hours that training a base takes.

    python code/plan.py --model_name_or_path Qwen2.5-7B --dataset meld --memory_gib 24
    python code/plan.py --model_name_or_path LLaMA2 --gpu a100 --gpus 4

The base is the language model that is trained. Its configuration alone is read, from the table, a folder or the hub,
and none of its weights. The column `knobs` has what the scripts have to be told. The hours suppose that the share
--utilisation of the device's fastest matrix products is reached.
"""

# First of all: from here on Ctrl-C is one line.
from basics.scripts import run_script

# isort: split
import argparse
import math
from dataclasses import replace
from pathlib import Path

from bases.table import BASES
from basics.argument_parsing import LineParser, number, share, whole_number
from basics.errors import UserError
from basics.files import find_repository
from data_utils.corpora.registry import find_dataset
from data_utils.labels import DATASETS
from knobs.checks import Place
from knobs.environment import find_default, name_of_base
from knobs.flags import add_knob, look_for_datasets
from knobs.kinds import dataset_of
from knobs.readers import LABELS, LORA, WINDOW
from knobs.table import KNOBS
from planning.data import ACCELERATORS, TEXTS

CPU = "cpu"
COUNTED = dataset_of(*TEXTS)


def main() -> None:
    arguments = parse_arguments()
    if arguments.model_name_or_path is None and not arguments.table:
        raise UserError(f"--model_name_or_path is missing: one of {', '.join(BASES)}, a folder, or a hub id")
    # Late: --help and what is wrong with a flag need no torch.
    import torch

    from engine.batching import TOKEN_BUDGETS
    from planning.device import measure_tflops, plan_precision
    from planning.estimate import Workload, plan_base
    from planning.table import render_bases, render_plan
    from planning.texts import texts_of

    if arguments.table:
        print(render_bases(BASES.values(), plan_base))
        return
    card = ACCELERATORS.get(arguments.gpu)
    dtype = plan_precision(arguments.precision, on_gpu=card is not None)
    stated = card and (card.fp32_tflops if dtype == torch.float32 else card.tflops)
    tflops = arguments.tflops or stated or measure_tflops(dtype)
    memory = arguments.memory_gib or (card.memory_gib if card else None)
    load = Workload(
        texts=texts_of(arguments.dataset),
        token_budget=arguments.token_budget or TOKEN_BUDGETS["cuda" if card else CPU],
        gpus=arguments.gpus,
        device=torch.device("cuda" if card else CPU),
        dtype=dtype,
        rank=arguments.lora_dim,
        dropout=choose_dropout(arguments.lora_dropout, arguments.model_name_or_path),
        modules=arguments.lora_module_name,
        labels=len(find_dataset(arguments.dataset).labels) if arguments.loss == LABELS else 1,
    )
    estimates = plan_base(arguments.model_name_or_path, load)
    # Several processes on a CPU share its cores.
    seconds_per_flop = 1 / (tflops * 1e12 * arguments.utilisation * (arguments.gpus if card else 1))
    place = f"{arguments.gpus} x {arguments.gpu}" if card else f"processes on this CPU: {arguments.gpus}"
    title = f"{arguments.model_name_or_path} on {arguments.dataset}, {place}, {load.token_budget} tokens at a time"
    print(render_plan(title, estimates, memory, seconds_per_flop))


def choose_dropout(wanted: float | None, base: str) -> float:
    """Dropout before the adapters; None: as the scripts train the base, SmolLM2-135M without any."""
    if wanted is not None:
        return wanted
    name = name_of_base(base, Place(Path.cwd(), find_repository()))
    return float(find_default(KNOBS["lora_dropout"], WINDOW, {"Experiments_setting": LORA}, name))


def counted_dataset(name: str) -> str:
    """A dataset whose texts are counted, or a corpus of one's own; argparse.ArgumentTypeError: it is neither."""
    if name in DATASETS and name not in TEXTS:
        raise argparse.ArgumentTypeError(f"{name!r} is not allowed, its texts are not counted: {COUNTED.meaning}")
    return COUNTED.reader(name)


def parse_arguments() -> argparse.Namespace:
    """Read and check the command line."""
    parser = LineParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model_name_or_path", help="base: a name of the table, a folder, or a hub id")
    parser.add_argument("--table", action="store_true", help="print the table of bases of LLM_bases/README.md and stop")
    dataset_help = "whose rows make an epoch; those of a corpus of your own are counted (default: %(default)s)"
    parser.add_argument("--dataset", type=counted_dataset, default="meld", help=dataset_help)
    look_for_datasets(parser, "dataset")
    gpu_help = "kind of GPU; cpu: this machine's CPU (default: %(default)s)"
    parser.add_argument("--gpu", choices=(*ACCELERATORS, CPU), default="a100", help=gpu_help)
    gpus_help = "how many GPUs, or processes on the CPU (default: %(default)s)"
    parser.add_argument("--gpus", type=whole_number(1), default=1, help=gpus_help)
    positive = number("above 0", lambda value: 0 < value < math.inf)
    parser.add_argument("--memory_gib", type=positive, help="GiB of one GPU (default: the kind's)")
    tflops_help = "TFLOP/s of one GPU in that precision (default: the kind's; cpu: measured)"
    parser.add_argument("--tflops", type=positive, help=tflops_help)
    parser.add_argument(
        "--utilisation", type=share, default=0.35, help="share of it that is reached (default: %(default)s)"
    )
    precision_help = "auto: bf16 where the device computes in it (default: %(default)s)"
    parser.add_argument("--precision", choices=("auto", "bf16", "fp32"), default="auto", help=precision_help)
    for name in ("token_budget", "lora_dim", "lora_module_name", "loss"):
        add_knob(parser, KNOBS[name])
    dropout = KNOBS["lora_dropout"]
    add_knob(parser, replace(dropout, default=None, meaning=f"{dropout.meaning} (default: the scripts' for the base)"))
    return parser.parse_args()


if __name__ == "__main__":
    run_script(main)
