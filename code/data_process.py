"""Write the rows of one dataset and print their folder, and nothing else, on stdout.

    python code/data_process.py --dataset meld --historical_window 12 --speaker_task None \
        --domain_base False --emotion_prediction False
    python code/data_process.py --corpus ~/my_corpus    # files of one's own, with a column emotion: known from then on

A row is one question to the model with its answer. --data_percent 0.25 --seed 7 draws a share of train, of which rows,
demonstrations and counts are then made. --window_step 6 moves the start of the history every six turns only, and
--prompt compact asks in fewer words: with both, prompts have more in common, which is computed once.
With --speaker_task True or True_mixed two folders are printed, joined by a comma: the speaker rows
first. An unchanged folder is left as it is. Source: the three tasks of arXiv 2309.11911.
"""

from pathlib import Path

from basics.scripts import prints_folders, run_script


@prints_folders
def main() -> list[Path]:
    """Arguments -> folders of rows."""
    from knobs.writers import write_window_rows

    return write_window_rows()


if __name__ == "__main__":
    run_script(main)
