"""Write the rows of one dataset and print their folder, and nothing else, on stdout.

    python code/data_process.py --dataset meld
    python code/data_process.py --dataset meld --data_percent 0.25 --seed 7     # of a share of train alone
    python code/data_process.py --corpus ~/my_corpus    # files of your own, with a column emotion: known from then on

A row is one question to the model with its answer. The folder is data/<dataset>/<kind of rows>, and one that would not
change is left as it is. With --speaker_task True or True_mixed two folders are printed, joined by a comma: that of the
speaker rows comes first. With --prompt compact and --window_step 6 prompts have more in common, which training and
scoring compute once. Source: the three tasks of arXiv 2309.11911.
"""

from pathlib import Path

from basics.scripts import prints_folders, run_script


@prints_folders
def main() -> list[Path]:
    """Arguments -> folders of rows."""
    from knobs.writers import write_window_rows

    return write_window_rows(__doc__)


if __name__ == "__main__":
    run_script(main)
