"""Write rows of several datasets in unified labels and print their folder, and nothing else, on stdout.

    python code/data_process_mixed.py --datasets iemocap,meld,EmoryNLP
    python code/data_process_mixed.py --datasets iemocap,meld,EmoryNLP --mix ratio --data_percent 0.25 --seed 42

With --mode sequence it prints one folder for each set, joined by commas, to be trained one after the other. valid and
test hold every set. --without_shared_scenes True leaves out the training dialogues that share two longer turns or more
with one that is scored, of any of the sets (code/audit.py counts them); manifest.json tells how many of which set.
Source: the unified label mapping and data scaling of arXiv 2309.11911.
"""

from pathlib import Path

from basics.scripts import prints_folders, run_script


@prints_folders
def main() -> list[Path]:
    """Arguments -> folders of rows."""
    from knobs.writers import write_mixed_rows

    return write_mixed_rows(__doc__)


if __name__ == "__main__":
    run_script(main)
