"""Write rows of several datasets in unified labels and print their folder, and nothing else, on stdout.

    python code/data_process_mixed.py --datasets iemocap,meld,EmoryNLP --mode mixed --mix total \
        --data_percent 0.25 --historical_window 12 --seed 42

--mode sequence prints one folder for each set, joined by commas, to be trained one after the other; valid and
test hold every set. Source: the unified label mapping and data scaling of arXiv 2309.11911.
"""

from pathlib import Path

from basics.scripts import run_script
from data_utils.mixing import SEQUENCE, MixSettings, one_after_the_other, prepare_mixed_folder
from knobs.flags import refuse_unread
from knobs.table import MIXED
from knobs.writers import Loader, build_row_parser, make_folders


def main() -> None:
    """Arguments -> the settings of one folder, or one of each set -> the folders."""
    description = "Write rows of several datasets in unified labels and print their folder."
    arguments = build_row_parser(description, MIXED).parse_args()
    refuse_unread(arguments, MIXED)
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
