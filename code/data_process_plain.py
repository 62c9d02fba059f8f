"""Write the rows of the Plain setting, the utterance alone, and print their folder on stdout.

    python code/data_process_plain.py --dataset meld

This is the published "LoRA + Backbone" baseline of arXiv 2309.11911, whose prompts show no history.
"""

from basics.scripts import print_folders, run_script


def main() -> None:
    """Arguments -> folders of rows."""

    def write() -> list:
        from knobs.writers import write_plain_rows

        return write_plain_rows(__doc__)

    print_folders(write)


if __name__ == "__main__":
    run_script(main)
