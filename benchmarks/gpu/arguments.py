"""What `run_gpu.sh` and `profile_gpu.sh` may be given: `python -m benchmarks.gpu.arguments NAME ...` refuses the rest.

Standard library only: it is asked before anything is installed.
"""

import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from basics.argument_parsing import LineParser, output_file, whole_number
from basics.files import find_repository
from basics.scripts import run_script

REPOSITORY = find_repository()
MEASURED, PROFILED = (REPOSITORY / "benchmarks" / "results" / name for name in ("gpu.json", "gpu_profile.json"))
TRIED_OUT = REPOSITORY / "benchmarks" / "quick"  # what a CPU took stands on no page of GPUs
STEPS, REPETITIONS = 3, 5
PARTS = (  # of the profile, in the order of their table
    "launches",
    "split_eager",
    "ways",
    "segments_plain",
    "segments_replayed",
    "dense_replayed",
    "sizes",
    "scoring",
    "optimizer",
    "profiled_eager",
    "profiled_replay",
    "compiled_dense",
    "compiled_segments",
    "compiled_replayed",
)


def parse_measure(words: Sequence[str] | None = None) -> Namespace:
    """Read and check the command line of run_gpu.sh; UserError has all that is wrong with it."""
    parser = _parser("run_gpu", "Measure this engine beside other ways to train, on a GPU.", MEASURED)
    parser.add_argument("--base", default="SmolLM2-135M", help="name or folder of a base (default: %(default)s)")
    parser.add_argument("--data", type=Path, default=REPOSITORY / "data", help="folder of <dataset>/<kind>")
    steps = "optimizer steps a repetition (default: %(default)s)"
    parser.add_argument("--steps", type=whole_number(1), default=STEPS, help=steps)
    parser.add_argument("--repetitions", type=whole_number(1), default=REPETITIONS, help="default: %(default)s")
    parser.add_argument("--small_only", action="store_true", help="leave the 7B model out")
    return _with_output(parser.parse_args(words), MEASURED)


def parse_profile(words: Sequence[str] | None = None) -> Namespace:
    """Read and check the command line of profile_gpu.sh; UserError has all that is wrong with it."""
    parser = _parser("profile_gpu", "Where the time of a step on a GPU goes.", PROFILED)
    base = REPOSITORY / "LLM_bases" / "SmolLM2-135M"
    parser.add_argument("--base", default=str(base), help="folder of a base (default: SmolLM2-135M)")
    parser.add_argument("--parts", nargs="*", default=PARTS, choices=PARTS, help="only these")
    return _with_output(parser.parse_args(words), PROFILED)


def _parser(script: str, description: str, output: Path) -> LineParser:
    """What both scripts know."""
    parser = LineParser(prog=f"benchmarks/{script}.sh", description=description)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="cpu: to try this script out")
    places = (one.relative_to(REPOSITORY) for one in (output, TRIED_OUT / output.name))
    parser.add_argument("--output", type=output_file, help="default: {}, of a CPU {}".format(*places))
    return parser


def _with_output(arguments: Namespace, output: Path) -> Namespace:
    if arguments.output is None:
        arguments.output = output if arguments.device == "cuda" else TRIED_OUT / output.name
    return arguments


SCRIPTS = {"run_gpu": parse_measure, "profile_gpu": parse_profile}


def main() -> None:
    """Say nothing where the command line is right; the first argument names the script."""
    SCRIPTS[sys.argv[1]](sys.argv[2:])


if __name__ == "__main__":
    run_script(main)
