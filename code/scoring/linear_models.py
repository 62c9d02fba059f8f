"""Evidence of two linear models that were fitted to train, to be added to a model's scores (scoring.beside).

They are the baselines `words_history` and `vectors_history` with settings that are fixed for every dataset: logistic
regressions over TF-IDF of words and pairs of words, and over sentence vectors, each of the utterance, of the same
speaker's turns before it and of the others'. They are fitted to all of train in a minute. They weigh
single words, which a small model that reads train once or twice has not learned. scoring.beside adds the evidence.
"""

from collections.abc import Iterable

import numpy as np

from data_utils.retrieval import Embed
from scoring.beside import log_shares
from scoring.contenders import Grid, Task
from scoring.vector_baselines import vectors_with_history
from scoring.word_baselines import words_with_history

# C: inverse regularisation. history_scale: factor of the columns of the history.
VECTORS: Grid = {"class_weight": (None,), "C": (3.0,)}
WORDS: Grid = {"history_scale": (0.6,)} | VECTORS


def linear_evidence(task: Task, splits: Iterable[str], embed: Embed) -> dict[str, np.ndarray]:
    """Split -> (utterances, labels): mean log p of both models, minus log of the label's share of train.

    task.dialogues: of train and of the splits.

    Raises:
        UserError: train has no word, or one label alone.
    """
    models = [*words_with_history(task, WORDS), *vectors_with_history(task, VECTORS, embed)]
    return {split: np.mean([model.log_p(split) for model in models], axis=0) - log_shares(task) for split in splits}
