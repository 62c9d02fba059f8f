"""What `benchmarks/run.sh` may be given: `python -m benchmarks.arguments ...` refuses the rest.

Standard library only: it is asked before anything is installed.
"""

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from basics.argument_parsing import LineParser
from basics.files import find_repository
from basics.scripts import run_script

BASE = "SmolLM2-135M"  # of whose speed the pages tell
EFFORTS = ("quick", "default", "full")
# In this order, so that a benchmark that has to be stopped has what takes longest and says most.
ALWAYS = (
    "trl_search",
    "training",
    "scoring",
    "windows",
    "neighbours",
    "first_command",
    "profile",
    "products",
    "processing",
    "retrieval",
    "trees",
    "prompts",
)
ON_DEMAND = ("epochs", "grouping")
SECTIONS = (*ALWAYS, *ON_DEMAND)
CONTENDERS = (  # of training, in the order of their table
    "released",
    "padded",
    "padded_compiled",
    "padded_targets",
    "trl",
    "trl_patched",
    "earlier",
    "engine_rows",
    "engine_plain",
    "engine",
)


def parse_arguments(words: Sequence[str] | None = None) -> Namespace:
    """Read and check the command line; UserError has all that is wrong with it."""
    parser = LineParser(
        prog="benchmarks/run.sh",
        description="Measure this engine beside other ways to train and score.",
        epilog="--quick or --full, as the first argument, is --effort of that name.",
    )
    parser.add_argument("--effort", choices=EFFORTS, default="default", help="quick shows that it runs, no more")
    base = f"name or folder of a base (default: %(default)s); of another than {BASE} the pages tell nothing"
    parser.add_argument("--base", default=BASE, help=base)
    parser.add_argument("--data", type=Path, default=find_repository() / "data", help="folder of <dataset>/<kind>")
    parser.add_argument("--sections", nargs="*", default=(), choices=SECTIONS, help="only these")
    contenders = "train these beside it, no others"
    parser.add_argument("--contenders", nargs="*", default=(), choices=CONTENDERS, help=contenders)
    return parser.parse_args(words)


def main() -> None:
    """Say nothing where the command line is right."""
    parse_arguments()


if __name__ == "__main__":
    run_script(main)
