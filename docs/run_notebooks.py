"""Runs both notebooks from top to bottom and keeps what their cells show, with the shipped adapter and the sample.

    python docs/run_notebooks.py

Needs the small base; a minute or two. Run it when a notebook, its pictures or the shipped adapter have changed.
"""

import os
import sys
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "code"))

from basics.scripts import run_script  # noqa: E402

# isort: split
import nbformat  # noqa: E402
from nbclient import NotebookClient  # noqa: E402
from nbclient.exceptions import CellExecutionError  # noqa: E402

from basics.argument_parsing import LineParser  # noqa: E402
from basics.errors import UserError  # noqa: E402
from basics.files import find_repository, write_atomically  # noqa: E402

NOTEBOOKS = ("demo/demo.ipynb", "original_data/peek_of_dataset.ipynb")
SECONDS_OF_A_CELL = 600
# What a user has set would show in the pages.
OF_USERS = ("ERC_CHECKPOINT", "PEEK_DATASET", "ERC_ORIGINAL_DATA")


def main() -> None:
    parse_arguments()
    environment = {name: value for name, value in os.environ.items() if name not in OF_USERS}
    for name in NOTEBOOKS:
        path = find_repository() / name
        write_atomically(path, nbformat.writes(run_notebook(path, environment)) + "\n")
        print(path)


def run_notebook(path: Path, environment: Mapping[str, str]) -> nbformat.NotebookNode:
    """The notebook as a fresh kernel in its folder leaves it, without the time and the version of Python.

    Raises:
        UserError: a cell failed; the line names the notebook and the error.
    """
    notebook = nbformat.read(path, as_version=4)
    described = notebook.metadata.copy()
    resources = {"metadata": {"path": path.parent}}
    patience = {"timeout": SECONDS_OF_A_CELL, "startup_timeout": SECONDS_OF_A_CELL}
    client = NotebookClient(notebook, record_timing=False, coalesce_streams=True, resources=resources, **patience)
    try:
        done = client.execute(env=dict(environment))
    except CellExecutionError as error:
        raise UserError(f"{path}: {error.ename}: {error.evalue}") from None
    done.metadata = described
    return done


def parse_arguments() -> Namespace:
    """There are none but --help."""
    return LineParser(description=__doc__.partition("\n")[0]).parse_args()


if __name__ == "__main__":
    run_script(main)
