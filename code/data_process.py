"""Write the rows of one dataset and print their folder, and nothing else, on stdout.

    python code/data_process.py --dataset meld --historical_window 12 --speaker_task None \
        --domain_base False --emotion_prediction False

With --speaker_task True or True_mixed two folders are printed, joined by a comma: the speaker rows
first. An unchanged folder is left as it is. Source: the three tasks of arXiv 2309.11911.
"""

from argparse import Namespace
from pathlib import Path

from basics.argument_parsing import LineParser, true_or_false, whole_number
from basics.scripts import run_script
from data_utils.examples import DEFAULT_WINDOW, RowSettings
from data_utils.retrieval import PAIRINGS, POSITIONS, Embed, RetrievalSettings
from data_utils.row_command import build_row_parser, make_own_folders

SPEAKER_TASKS = ("None", "True", "True_mixed")


def parse_arguments() -> Namespace:
    """Read and check the command line."""
    parser = build_row_parser("Write the rows of one dataset and print their folder.")
    parser.add_argument(
        "--historical_window",
        type=whole_number(0),
        default=DEFAULT_WINDOW,
        help="utterances shown before the target (default: %(default)s)",
    )
    parser.add_argument(
        "--speaker_task",
        choices=SPEAKER_TASKS,
        default="None",
        help="also write the rows of speaker identification (default: %(default)s)",
    )
    parser.add_argument(
        "--domain_base",
        type=true_or_false,
        default=False,
        help="demonstrations from the training set in the main prompt (default: %(default)s)",
    )
    parser.add_argument(
        "--emotion_prediction",
        type=true_or_false,
        default=False,
        help="also write training rows of emotion prediction (default: %(default)s)",
    )
    add_retrieval_flags(parser)
    return parser.parse_args()


def add_retrieval_flags(parser: LineParser) -> None:
    """The flags that --domain_base True reads."""
    usual = RetrievalSettings("all-MiniLM-L6-v2")
    yes_or_no = {"type": true_or_false}
    flags = (
        ("encoder", usual.encoder, {}, "sentence encoder: a name of LLM_bases/fetch.py, a folder, or a hub id"),
        ("demonstrations", usual.count, {"type": whole_number(1)}, "demonstrations of a prompt"),
        ("pairing", usual.pairing, {"choices": PAIRINGS}, "whose label they have in train; paper: the row's, all: any"),
        ("position", usual.position, {"choices": POSITIONS}, "after the question, as in the paper, or after the role"),
        ("domain_balance", usual.balance, yes_or_no, "of every label as many to choose from as of the rarest"),
        ("exclude_identical", usual.exclude_identical, yes_or_no, "none with the text of the row's utterance"),
        ("retrieval_seed", usual.seed, {"type": whole_number(0)}, "seed of the balancing draw"),
    )
    for name, default, options, meaning in flags:
        parser.add_argument(f"--{name}", default=default, help=f"{meaning} (default: %(default)s)", **options)


def retrieval_settings(arguments: Namespace) -> RetrievalSettings | None:
    """What the flags ask for; None: no demonstrations."""
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
    """The sentence encoder, its vectors kept beside the rows; None: nothing is retrieved."""
    if not arguments.domain_base:
        return None
    from bases.encoder import SentenceEncoder

    return SentenceEncoder(arguments.encoder, arguments.data / ".embeddings")


def main() -> None:
    """Arguments -> the settings of one or two folders -> the folders."""
    arguments = parse_arguments()
    shared = {
        "dataset": arguments.dataset,
        "clean_text": arguments.clean_text,
        "check_counts": arguments.check_counts,
    }
    main_rows = RowSettings(
        kind="predict" if arguments.emotion_prediction else "window",
        historical_window=arguments.historical_window,
        retrieval=retrieval_settings(arguments),
        **shared,
    )
    speaker_rows = RowSettings(kind="speaker", historical_window=0, **shared)
    wanted = [main_rows] if arguments.speaker_task == "None" else [speaker_rows, main_rows]
    make_own_folders(wanted, arguments, open_encoder(arguments))


if __name__ == "__main__":
    run_script(main)
