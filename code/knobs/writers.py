"""The row writers: a command line -> folders of rows, which data_process*.py print.

data_process*.py send to stderr what is printed here, and what libraries print when they are imported.
"""

import functools
import sys
from argparse import Namespace, RawDescriptionHelpFormatter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from basics.argument_parsing import LineParser
from basics.errors import UserError
from basics.files import find_repository, shown_path
from data_utils.corpora.places import name_datasets, remember
from data_utils.corpora.reading import read_corpus
from data_utils.dialogues import find_original_data, load_dialogues
from data_utils.draws import Draw
from data_utils.examples import RowSettings
from data_utils.mixing import SEQUENCE, MixSettings, one_after_the_other, prepare_mixed_folder
from data_utils.retrieval import Embed, RetrievalSettings
from data_utils.row_folders import describe_folder, prepare_folder
from knobs.flags import add_knobs, look_for_datasets, refuse_unread
from knobs.kinds import DATASET
from knobs.readers import MIXED, PLAIN, WINDOW

Settings = TypeVar("Settings")
Loader = Callable[..., Any]


def build_row_parser(description: str, rows: str) -> LineParser:
    """Return the parser of the row writer of a kind of rows: its knobs, and the flags that name folders."""
    parser = LineParser(description=description, formatter_class=RawDescriptionHelpFormatter)
    if rows != MIXED:
        add_dataset(parser)
    add_knobs(parser, rows)
    add_places(parser)
    return parser


def add_dataset(parser: LineParser) -> None:
    """Adds --dataset and --corpus; `settle_dataset` sees to it that one of them is given."""
    parser.add_argument(
        "--dataset", type=DATASET.reader, help="name of the dataset, or of a corpus of your own that is known already"
    )
    look_for_datasets(parser, "dataset")
    parser.add_argument(
        "--corpus",
        type=Path,
        help="folder or file of a corpus of your own, which is known by its name from then on: original_data/README.md",
    )


def settle_dataset(arguments: Namespace) -> None:
    """Make --corpus known by its name, and put that name into `arguments.dataset`.

    Raises:
        UserError: neither of them is given, or both; or --original_data beside --corpus; or the corpus is bad.
    """
    corpus = arguments.corpus
    if corpus is None and arguments.dataset is None:
        raise UserError(f"--dataset is missing, allowed are {name_datasets(arguments.original_data)}")
    if corpus is None:
        return
    beside = [name for name in ("dataset", "original_data") if getattr(arguments, name) is not None]
    if beside:
        raise UserError(f"--corpus {corpus}: says where the dataset is; leave --{' and --'.join(beside)} away")
    if not corpus.exists():
        raise UserError(f"--corpus {corpus}: there is no such folder or file")
    arguments.dataset = read_corpus(corpus.resolve()).spec.name
    found = remember(corpus, arguments.dataset)
    arguments.corpus = None
    shown = shown_path(str(found))
    command = f"dataset={arguments.dataset} bash code/train_and_inference_Uni.sh"
    print(f"{arguments.dataset} is known from now on, by {shown}: {command}", file=sys.stderr)


def add_places(parser: LineParser) -> None:
    """Adds --original_data and --data: where pickles are read, and where rows are written."""
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


def make_folders(wanted: Sequence[Settings], data: Path, prepare: Callable[[Settings, Loader], Path]) -> list[Path]:
    """Build or reuse the folders of rows; a line on each is printed.

    prepare: (settings of a folder, function that reads a dataset's dialogues) -> the folder.
    Raises UserError for bad input and for a path that a comma would cut in two.
    """
    if "," in str(data.absolute()):
        raise UserError(f"--data: {data.absolute()} has a comma, allowed are paths without: it joins folders")
    # Two folders of one dataset read its pickle once.
    load = functools.cache(load_dialogues)
    folders = []
    for settings in wanted:
        folders.append(prepare(settings, load))
        print(describe_folder(folders[-1]))
    return folders


def make_own_folders(wanted: Sequence[RowSettings], arguments: Namespace, embed: Embed | None = None) -> list[Path]:
    """`make_folders` for rows in a dataset's own labels. arguments: flags, of which original_data and data count."""

    def prepare(settings: RowSettings, load: Loader) -> Path:
        source = arguments.original_data or find_original_data(settings.dataset)
        return prepare_folder(settings, source, arguments.data, load, embed)

    return make_folders(wanted, arguments.data, prepare)


def write_window_rows(description: str) -> list[Path]:
    """The command line of data_process.py -> [folder], or [folder of the speaker task, folder]."""
    arguments = build_row_parser(description, WINDOW).parse_args()
    settle_dataset(arguments)
    refuse_unread(arguments, WINDOW)
    shared = shared_settings(arguments)
    main_rows = RowSettings(
        kind="predict" if arguments.emotion_prediction else WINDOW,
        historical_window=arguments.historical_window,
        window_step=arguments.window_step,
        prompt=arguments.prompt,
        retrieval=retrieval_settings(arguments),
        **shared,
    )
    speaker_rows = RowSettings(kind="speaker", historical_window=0, **shared)
    wanted = [main_rows] if arguments.speaker_task == "None" else [speaker_rows, main_rows]
    return make_own_folders(wanted, arguments, open_encoder(arguments))


def shared_settings(arguments: Namespace) -> dict[str, Any]:
    """The fields of `RowSettings` that all folders of one command have in common."""
    shared = {name: getattr(arguments, name) for name in ("dataset", "clean_text", "check_counts")}
    return shared | {"draw": Draw(arguments.data_percent, arguments.seed)}


def retrieval_settings(arguments: Namespace) -> RetrievalSettings | None:
    """How demonstrations are retrieved, by the flags; None: there are none."""
    if not arguments.domain_base:
        return None
    return RetrievalSettings(
        encoder=Path(arguments.encoder).name,
        count=arguments.demonstrations,
        pairing=arguments.pairing,
        position=arguments.position,
        balance=arguments.domain_balance,
        exclude_identical=arguments.exclude_identical,
        seed=arguments.retrieval_seed,
    )


def open_encoder(arguments: Namespace) -> Embed | None:
    """The sentence encoder, which caches its vectors below --data; None: nothing is retrieved."""
    if not arguments.domain_base:
        return None
    from bases.encoder import SentenceEncoder

    return SentenceEncoder(arguments.encoder, arguments.data / ".embeddings")


def write_plain_rows(description: str) -> list[Path]:
    """The command line of data_process_plain.py -> [folder]."""
    arguments = build_row_parser(description, PLAIN).parse_args()
    settle_dataset(arguments)
    shared = shared_settings(arguments)
    return make_own_folders([RowSettings(kind=PLAIN, historical_window=0, **shared)], arguments)


def write_mixed_rows(description: str) -> list[Path]:
    """The command line of data_process_mixed.py -> [folder]; with --mode sequence one folder for each dataset."""
    arguments = build_row_parser(description, MIXED).parse_args()
    refuse_unread(arguments, MIXED)
    settings = MixSettings(
        datasets=arguments.datasets,
        mix=arguments.mix,
        trained=arguments.train_on,
        draw=Draw(arguments.data_percent, arguments.seed),
        without_shared_scenes=arguments.without_shared_scenes,
        historical_window=arguments.historical_window,
        window_step=arguments.window_step,
        prompt=arguments.prompt,
        clean_text=arguments.clean_text,
        check_counts=arguments.check_counts,
    )
    wanted = one_after_the_other(settings) if arguments.mode == SEQUENCE else [settings]

    def prepare(one: MixSettings, load: Loader) -> Path:
        return prepare_mixed_folder(one, arguments.original_data, arguments.data, load)

    return make_folders(wanted, arguments.data, prepare)
