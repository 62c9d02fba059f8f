"""Corpora of one's own, made up: five labels, twelve speakers, in CSV or whatever a test wants to write."""

import csv
import random
from collections.abc import Iterable, Sequence
from pathlib import Path

# Label -> what is said then. A model that learns anything learns these.
SAID = {
    "awe": ("Look at that sky!", "How big it is!"),
    "calm": ("It is fine.", "Nothing new here."),
    "glee": ("Hooray, it works!", "What a day!"),
    "gloom": ("He is gone.", "I lost it all."),
    "rage": ("Stop that now!", "I hate this."),
}
SPEAKERS = tuple(f"Person {number}" for number in range(1, 13))
COLUMNS = ("dialogue", "speaker", "utterance", "emotion")
TURNS = 5  # of each dialogue, one for each label
DESCRIPTION = """\
neutral: calm
speakers: corpus
licence: made up
unified: {awe: powerful, calm: neutral, glee: joyful, gloom: sad, rage: mad}
"""

Row = Sequence[str]  # of COLUMNS


def rows_of(split: str, count: int, seed: int = 0) -> list[Row]:
    """Turns of dialogues called train0, train1, ...; every speaker has one from twelve turns on."""
    draw, labels, said = random.Random(f"{split}/{seed}"), list(SAID), []
    for number in range(count):
        for turn in range(TURNS):
            label = labels[(number + turn) % len(labels)]
            speaker = SPEAKERS[(2 * number + turn % 3) % len(SPEAKERS)]
            said.append((f"{split}{number}", speaker, draw.choice(SAID[label]), label))
    return said


def write_table(path: Path, rows: Iterable[Row], columns: Row = COLUMNS, separator: str = ",") -> Path:
    """A table with a header."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", encoding="utf-8", newline="") as stream:
        lines = csv.writer(stream, delimiter=separator, lineterminator="\n")
        lines.writerow(columns)
        lines.writerows(rows)
    return path


def write_own_corpus(folder: Path, description: str | None = DESCRIPTION) -> Path:
    """A folder of train.csv, valid.csv, test.csv and, unless it is None, corpus.yaml."""
    for split, count in (("train", 12), ("valid", 3), ("test", 3)):
        write_table(folder / f"{split}.csv", rows_of(split, count))
    if description is not None:
        (folder / "corpus.yaml").write_text(description, encoding="utf-8")
    return folder
