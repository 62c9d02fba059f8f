"""What the row writers have in common: their flags, and folders made and named."""

import functools
import sys
from argparse import Namespace
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, TypeVar

from basics.argument_parsing import LineParser
from basics.errors import UserError
from basics.files import find_repository
from data_utils.dialogues import find_original_data, load_dialogues
from data_utils.examples import RowSettings
from data_utils.labels import DATASETS
from data_utils.retrieval import Embed
from data_utils.row_folders import describe_folder, prepare_folder
from knobs.flags import add_knobs
from knobs.table import MIXED

Settings = TypeVar("Settings")
Loader = Callable[..., Any]


def build_row_parser(description: str, rows: str) -> LineParser:
    """Return a parser with the flags of the row writer of a kind of rows: its knobs, and where files are."""
    parser = LineParser(description=description)
    if rows != MIXED:
        add_dataset(parser)
    add_knobs(parser, rows)
    add_places(parser)
    return parser


def add_dataset(parser: LineParser) -> None:
    """--dataset: one, which has to be said."""
    parser.add_argument("--dataset", choices=tuple(DATASETS), required=True, help="name of the dataset")


def add_places(parser: LineParser) -> None:
    """--original_data and --data: where pickles are read and rows written."""
    parser.add_argument(
        "--original_data",
        type=Path,
        help="folder of <dataset>/<dataset>.pkl (default: $ERC_ORIGINAL_DATA, else original_data/)",
    )
    parser.add_argument(
        "--data",
        type=Path,
        default=find_repository() / "data",
        help="folder that <dataset>/<kind of rows> is written to (default: data/ of the repository)",
    )


def make_folders(wanted: Sequence[Settings], data: Path, prepare: Callable[[Settings, Loader], Path]) -> None:
    """Build or reuse the folders; their paths, joined by commas, are the one line on stdout.

    prepare: settings of a folder, what reads a dataset's dialogues -> the folder.
    Raises UserError for bad input and for a path that a comma would cut in two.
    """
    if "," in str(data.absolute()):
        raise UserError(f"--data: {data.absolute()} has a comma, allowed are paths without: it joins folders")
    # Two folders of one dataset read its pickle once.
    load = functools.cache(load_dialogues)
    folders = []
    with redirect_stdout(sys.stderr):  # libraries print notices, and whoever captures stdout wants folders alone
        for settings in wanted:
            folders.append(prepare(settings, load))
            print(describe_folder(folders[-1]))
    print(",".join(map(str, folders)))


def make_own_folders(wanted: Sequence[RowSettings], arguments: Namespace, embed: Embed | None = None) -> None:
    """`make_folders` for rows in a dataset's own labels; arguments: with original_data and data."""

    def prepare(settings: RowSettings, load: Loader) -> Path:
        source = arguments.original_data or find_original_data(settings.dataset)
        return prepare_folder(settings, source, arguments.data, load, embed)

    make_folders(wanted, arguments.data, prepare)
