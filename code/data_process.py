"""Write the rows of one dataset and print their folder, and nothing else, on stdout.

    python code/data_process.py --dataset meld --historical_window 12 --speaker_task None \
        --domain_base False --emotion_prediction False

With --speaker_task True or True_mixed two folders are printed, joined by a comma: the speaker rows
first. An unchanged folder is left as it is. Source: the three tasks of arXiv 2309.11911.
"""

import sys
from argparse import Namespace
from contextlib import redirect_stdout
from pathlib import Path

from basics.scripts import run_script
from data_utils.examples import RowSettings
from data_utils.retrieval import Embed, RetrievalSettings
from knobs.flags import refuse_unread
from knobs.table import WINDOW
from knobs.writers import build_row_parser, make_own_folders


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
    with redirect_stdout(sys.stderr):  # libraries print notices
        from bases.encoder import SentenceEncoder

        return SentenceEncoder(arguments.encoder, arguments.data / ".embeddings")


def main() -> None:
    """Arguments -> the settings of one or two folders -> the folders."""
    arguments = build_row_parser("Write the rows of one dataset and print their folder.", WINDOW).parse_args()
    refuse_unread(arguments, WINDOW)
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
