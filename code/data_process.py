"""Write the rows of one dataset and print their folder, and nothing else, on stdout.

    python code/data_process.py --dataset meld --historical_window 12 --speaker_task None \
        --domain_base False --emotion_prediction False

With --speaker_task True or True_mixed two folders are printed, joined by a comma: the speaker rows
first. An unchanged folder is left as it is. Source: the three tasks of arXiv 2309.11911.
"""

from argparse import Namespace

from data_utils.argument_parsing import true_or_false, whole_number
from data_utils.errors import run_script
from data_utils.examples import DEFAULT_WINDOW, RowSettings
from data_utils.row_command import build_row_parser, make_folders

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
        choices=(False,),
        default=False,
        help="demonstrations from the training set in the prompt; not built yet (default: %(default)s)",
    )
    parser.add_argument(
        "--emotion_prediction",
        type=true_or_false,
        default=False,
        help="also write training rows of emotion prediction (default: %(default)s)",
    )
    return parser.parse_args()


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
        domain_base=arguments.domain_base,
        **shared,
    )
    speaker_rows = RowSettings(kind="speaker", historical_window=0, **shared)
    wanted = [main_rows] if arguments.speaker_task == "None" else [speaker_rows, main_rows]
    make_folders(wanted, arguments.original_data, arguments.data)


if __name__ == "__main__":
    run_script(main)
