"""How many scored utterances have their text, or nearly their text, in a train."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_matrix
from sklearn.feature_extraction.text import CountVectorizer

from data_utils.dialogues import Dialogue
from data_utils.texts import fold_text, is_long, words_of

NEAR = 0.6  # least Jaccard index of two sets of words: shared by both, of all that either has
BLOCK_ROWS = 256  # of scored texts at once: their products with all of a train are nearly dense


@dataclass(frozen=True)
class Duplicates:
    """Of `utterances` scored ones, `exact` have a text of train, letter case and outer blanks aside.

    Of the `long` ones, of three distinct words or more, `near` have one there whose words are nearly the same.
    """

    utterances: int
    exact: int
    long: int
    near: int


def count_duplicates(scored: Iterable[str], train: Iterable[str]) -> Duplicates:
    """Texts that are scored against those of a train."""
    scored, train = list(scored), list(train)
    known = {fold_text(text) for text in train}
    asked, there = _long_sets(scored), _long_sets(train)
    return Duplicates(
        utterances=len(scored),
        exact=sum(fold_text(text) in known for text in scored),
        long=len(asked),
        near=int((greatest_jaccard(asked, list(set(there))) >= NEAR).sum()),
    )


def texts_of(dialogues: Iterable[Dialogue]) -> list[str]:
    """The text of every utterance."""
    return [utterance.text for dialogue in dialogues for utterance in dialogue.utterances]


def _long_sets(texts: Iterable[str]) -> list[frozenset[str]]:
    return [words for text in texts if is_long(words := frozenset(words_of(text)))]


def greatest_jaccard(asked: Sequence[frozenset[str]], there: Sequence[frozenset[str]]) -> np.ndarray:
    """(asked,): for each set of words the greatest Jaccard index that it has with one of the others, 0 without any."""
    greatest = np.zeros(len(asked))
    if not asked or not there:
        return greatest
    vectorizer = CountVectorizer(analyzer=sorted, dtype=np.int32)
    base = vectorizer.fit_transform(there)
    queries = vectorizer.transform(asked)  # words that train never has add to the union alone
    sizes, base_sizes = np.array([len(words) for words in asked]), np.array([len(words) for words in there])
    columns = csr_matrix(base.T)
    for start in range(0, len(asked), BLOCK_ROWS):
        shared = queries[start : start + BLOCK_ROWS] @ columns
        rows = np.repeat(np.arange(shared.shape[0]), np.diff(shared.indptr))
        union = sizes[start + rows] + base_sizes[shared.indices] - shared.data
        np.maximum.at(greatest, start + rows, shared.data / union)
    return greatest
