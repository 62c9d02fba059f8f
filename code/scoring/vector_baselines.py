"""A baseline of sentence vectors: that of the utterance, and means over the turns before it, by speaker."""

from collections.abc import Iterator

import numpy as np

from data_utils.retrieval import Embed
from scoring.contenders import Candidate, Grid, Task
from scoring.word_baselines import regressions


def vectors_by_speaker(task: Task, split: str, embed: Embed) -> np.ndarray:
    """(utterances, 3 width): own vector, then means of the same speaker's and of others' turns in the window, or 0."""
    texts, places = task.texts(split)
    vectors = embed(texts)
    width = vectors.shape[1]
    found = np.zeros((len(places), 3 * width), np.float32)
    found[:, :width] = vectors[places]
    for row, (place, (utterance, shown)) in enumerate(zip(places, task.turns(split), strict=True)):
        before = vectors[place - len(shown) : place]
        is_own = np.array([one.speaker == utterance.speaker for one in shown], dtype=bool)
        for number, chosen in enumerate((is_own, ~is_own), start=1):
            if chosen.any():
                found[row, number * width : (number + 1) * width] = before[chosen].mean(axis=0)
    return found


def vectors_with_history(task: Task, grid: Grid, embed: Embed) -> Iterator[Candidate]:
    """Sentence vectors of the utterance, of the same speaker's history and of the others', logistic regression."""
    features = {split: vectors_by_speaker(task, split, embed) for split in task.dialogues}
    yield from regressions(task, lambda: features, grid)
