"""Renders what the pages say of speed, and the charts, from the results that are committed.

python benchmarks/render.py
"""

import sys
from argparse import Namespace
from pathlib import Path

HOME = Path(__file__).resolve().parent
# In place of this folder, whose files are known as parts of `benchmarks` alone.
sys.path[:1] = [str(HOME.parent / "code"), str(HOME.parent)]

from basics.scripts import run_script  # noqa: E402

# isort: split
from basics.argument_parsing import LineParser  # noqa: E402
from benchmarks.report import RESULTS, pages, write_pages  # noqa: E402


def main() -> None:
    parse_arguments()
    write_pages(RESULTS)
    for page, _, _ in pages(RESULTS):
        print(page)


def parse_arguments() -> Namespace:
    """There are none but --help."""
    return LineParser(
        description="Render what the pages say of speed from the results that are committed."
    ).parse_args()


if __name__ == "__main__":
    run_script(main)
