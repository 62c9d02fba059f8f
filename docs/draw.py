"""Draws the pictures of the pages, and writes the map of files, from what is committed; no model is asked.

python docs/draw.py
"""

import sys
from argparse import Namespace
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "code"))

from basics.scripts import run_script  # noqa: E402

# isort: split
from basics.argument_parsing import LineParser  # noqa: E402
from basics.files import find_repository, write_atomically  # noqa: E402
from draw_method import draw_method  # noqa: E402
from draw_timeline import draw_timeline  # noqa: E402
from draw_tree import draw_tree  # noqa: E402
from file_structure import render_structure  # noqa: E402

# File -> what makes its text.
MADE = {
    "docs/pictures/method.svg": draw_method,
    "docs/pictures/prefix_tree.svg": draw_tree,
    "docs/pictures/timeline.svg": draw_timeline,
    "file_structure.txt": render_structure,
}


def main() -> None:
    parse_arguments()
    for name, make in MADE.items():
        path = find_repository() / name
        path.parent.mkdir(exist_ok=True)
        path.touch()  # the map lists itself
        write_atomically(path, make())
        print(path)


def parse_arguments() -> Namespace:
    """There are none but --help."""
    return LineParser(description="Draw the pictures of the pages, and write the map of files.").parse_args()


if __name__ == "__main__":
    run_script(main)
