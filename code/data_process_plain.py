"""Write the rows of the Plain setting, the utterance alone, and print their folder on stdout.

    python code/data_process_plain.py --dataset meld

The published "LoRA + Backbone" baseline of arXiv 2309.11911: no role sentence, no history.
"""

from basics.scripts import run_script
from data_utils.examples import RowSettings
from knobs.table import PLAIN
from knobs.writers import build_row_parser, make_own_folders


def main() -> None:
    """Arguments -> the settings of one folder -> the folder."""
    arguments = build_row_parser("Write utterance-only rows and print their folder.", PLAIN).parse_args()
    settings = RowSettings(
        dataset=arguments.dataset,
        kind=PLAIN,
        historical_window=0,
        clean_text=arguments.clean_text,
        check_counts=arguments.check_counts,
    )
    make_own_folders([settings], arguments)


if __name__ == "__main__":
    run_script(main)
