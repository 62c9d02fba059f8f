"""Corpora small enough to write down: pickles, and files of one's own; and what loading them says."""

import csv
import io
import random
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st

from basics.errors import UserError
from data_utils.dialogues import load_dialogues
from dialogue_files.readers.forms import FORMATS
from dialogue_files.report import LeftOut, Remark
from dialogue_files.turns import ReadTurn
from engine.prefix_tree import PrefixTree


def one_hot(speaker: int, width: int = 9) -> list[int]:
    """A speaker as MELD and EmoryNLP write it."""
    return [int(index == speaker) for index in range(width)]


def small_corpus() -> list[Any]:
    """A corpus in EmoryNLP's layout: three dialogues, one a split, that the checks accept."""
    speakers = {"a": [0, 1, 0], "b": [0, 1], "c": [2, 0]}
    return [
        {name: [one_hot(speaker) for speaker in turns] for name, turns in speakers.items()},
        {"a": [0, 3, 6], "b": [1, 2], "c": [4, 5]},
        {"a": ["Hello.", "Go away!", "Oh."], "b": ["Oh.", "Fine."], "c": ["So?", "Hello."]},
        ["a"],
        ["b"],
        ["c"],
    ]


def corpus_of(said: Mapping[str, Sequence[str]], speaker: Any) -> list[Any]:
    """A corpus of six places in which one speaker says these texts: dialogue -> texts.

    A dialogue is called by its split, and where there are several of one by what follows a dot: train.2.
    """
    splits = [[name for name in said if name.partition(".")[0] == split] for split in ("train", "test", "valid")]
    return [
        {name: [speaker] * len(texts) for name, texts in said.items()},
        {name: [turn % 7 for turn in range(len(texts))] for name, texts in said.items()},
        {name: list(texts) for name, texts in said.items()},
        *splits,
    ]


def load_unchecked(folder: Path, dataset: str = "EmoryNLP", **options: Any) -> dict[str, Any]:
    """A corpus of any size."""
    return load_dialogues(dataset, folder, **{"check_counts": False, **options})


def refusal(folder: Path, dataset: str = "EmoryNLP", **options: Any) -> str:
    """The one line that a corpus is refused with."""
    with pytest.raises(UserError) as caught:
        load_unchecked(folder, dataset, **options)
    message = str(caught.value)
    assert "\n" not in message and f"{dataset}.pkl" in message and "allowed" in message, message
    return message


class LetterCounts:
    """An encoder that can be followed by hand: how often each letter occurs, as a unit vector."""

    identity = "letter counts"

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        counts = np.zeros((len(texts), 128), np.float32)
        for row, text in enumerate(texts):
            for letter in text.lower():
                counts[row, ord(letter) % 128] += 1
        return counts / np.maximum(np.linalg.norm(counts, axis=1, keepdims=True), 1)


# A corpus of one's own, of five labels and twelve speakers. Label -> what is said then, which is easily learned.
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


def said_in(form: str, content: str) -> list[tuple[str, str] | str]:
    """A file of dialogues: turns as (speaker, text), what is left out as its kind, in order."""
    items = FORMATS[form].read(io.BytesIO(content.encode("utf-8")))
    kept = (one for one in items if isinstance(one, ReadTurn | LeftOut))
    return [(one.speaker, one.text.strip()) if isinstance(one, ReadTurn) else one.kind for one in kept]


def remarks_on(form: str, content: str) -> list[str]:
    """What is told of the way in which such a file was read."""
    return [one.text for one in FORMATS[form].read(io.BytesIO(content.encode())) if isinstance(one, Remark)]


# Token rows small enough to see their tree.
TOKEN = st.integers(0, 2)  # few tokens, so that prefixes are shared often
PROMPT = st.lists(TOKEN, min_size=1, max_size=7)
CONTINUATIONS = st.lists(st.lists(TOKEN, min_size=1, max_size=4), min_size=1, max_size=4)
ROWS = st.lists(st.tuples(PROMPT, CONTINUATIONS), min_size=1, max_size=8)


def build(rows) -> PrefixTree:
    return PrefixTree.from_rows([prompt for prompt, _ in rows], [choices for _, choices in rows])


def path_to(tree: PrefixTree, node: int) -> tuple[int, ...]:
    """The tokens that a node may attend to, in order."""
    return tuple(tree.tokens[k] for k in range(node + 1) if k <= node < tree.end[k])
