"""Write rows of several datasets in unified labels and print their folder, and nothing else, on stdout.

    python code/data_process_mixed.py --datasets iemocap,meld,EmoryNLP --mode mixed --mix total \
        --data_percent 0.25 --historical_window 12 --seed 42

--mode sequence prints one folder for each set, joined by commas, to be trained one after the other; valid and
test hold every set. Source: the unified label mapping and data scaling of arXiv 2309.11911.
"""

import argparse
from argparse import Namespace
from pathlib import Path

from basics.argument_parsing import share, whole_number
from basics.errors import UserError
from basics.scripts import run_script
from data_utils.examples import DEFAULT_WINDOW
from data_utils.labels import DATASETS
from data_utils.mixing import (
    MIXED,
    MIXES,
    MODES,
    SEQUENCE,
    SINGLE,
    TOTAL,
    MixSettings,
    one_after_the_other,
    prepare_mixed_folder,
)
from data_utils.row_command import Loader, build_row_parser, make_folders


def several_datasets(text: str) -> tuple[str, ...]:
    """Read names joined by commas, each once."""
    names = tuple(text.split(","))
    if not set(names) <= set(DATASETS) or len(set(names)) != len(names):
        known = ", ".join(DATASETS)
        raise argparse.ArgumentTypeError(f"{text!r} is not allowed, allowed are, joined by commas: {known}")
    return names


def parse_arguments() -> Namespace:
    """Read and check the command line."""
    parser = build_row_parser("Write rows of several datasets in unified labels and print their folder.", one=False)
    flags = (
        ("datasets", ("iemocap", "meld", "EmoryNLP"), {"type": several_datasets}, "sets to mix and to score"),
        ("mode", MIXED, {"choices": MODES}, "mixed: one folder; sequence: one for each set, one after the other"),
        ("mix", TOTAL, {"choices": MIXES}, "total: merge, then draw; ratio: draw of each, then merge; single: one set"),
        ("train_on", None, {"choices": tuple(DATASETS)}, "the set that --mix single trains on"),
        ("data_percent", 1.0, {"type": share}, "share of the training rows that is drawn"),
        ("historical_window", DEFAULT_WINDOW, {"type": whole_number(0)}, "utterances shown before the target"),
        ("seed", 42, {"type": whole_number(0)}, "seed of the draw"),
    )
    for name, default, options, meaning in flags:
        parser.add_argument(f"--{name}", default=default, help=f"{meaning} (default: %(default)s)", **options)
    return parser.parse_args()


def find_problem(arguments: Namespace) -> str | None:
    """One line when flags do not fit together."""
    if arguments.mode == SEQUENCE and arguments.mix != TOTAL:
        return f"--mix {arguments.mix}: --mode sequence draws of each set in turn; leave --mix away"
    if arguments.mix == SINGLE and arguments.train_on not in arguments.datasets:
        return f"--mix single: --train_on names the set, allowed are {', '.join(arguments.datasets)}"
    if arguments.mix != SINGLE and arguments.train_on:
        return f"--train_on {arguments.train_on}: only --mix single reads it"
    return None


def main() -> None:
    """Arguments -> the settings of one folder, or one of each set -> the folders."""
    arguments = parse_arguments()
    if problem := find_problem(arguments):
        raise UserError(problem)
    settings = MixSettings(
        datasets=arguments.datasets,
        mix=arguments.mix,
        trained=arguments.train_on,
        fraction=arguments.data_percent,
        historical_window=arguments.historical_window,
        clean_text=arguments.clean_text,
        check_counts=arguments.check_counts,
        seed=arguments.seed,
    )
    wanted = one_after_the_other(settings) if arguments.mode == SEQUENCE else [settings]

    def prepare(one: MixSettings, load: Loader) -> Path:
        return prepare_mixed_folder(one, arguments.original_data, arguments.data, load)

    make_folders(wanted, arguments.data, prepare)


if __name__ == "__main__":
    run_script(main)
