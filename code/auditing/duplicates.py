"""How many scored utterances have their text, or nearly their text, in a train."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil

from data_utils.dialogues import Dialogue
from data_utils.texts import fold_text, is_long, words_of

NEAR = 0.6  # least Jaccard index of two sets of words: shared by both, of all that either has
Words = frozenset[str]


@dataclass(frozen=True)
class Duplicates:
    """Of `utterances` scored ones, `exact` have a text of train, letter case and outer blanks aside.

    Of the `long` ones, of three distinct words or more, `near` have one there whose words are nearly the same.
    """

    utterances: int
    exact: int
    long: int
    near: int


class KnownTexts:
    """The texts of a train, in which many scored ones are looked up."""

    def __init__(self, texts: Iterable[str]) -> None:
        texts = list(texts)
        self.folded = {fold_text(text) for text in texts}
        self.sets = KnownSets(_long_sets(texts))

    def count_duplicates(self, scored: Iterable[str]) -> Duplicates:
        """Texts that are scored against these."""
        scored = list(scored)
        asked = _long_sets(scored)
        return Duplicates(
            utterances=len(scored),
            exact=sum(fold_text(text) in self.folded for text in scored),
            long=len(asked),
            near=sum(map(self.sets.have_near, asked)),
        )


def texts_of(dialogues: Iterable[Dialogue]) -> list[str]:
    """The text of every utterance with a label: of those alone a model is asked, or has learned."""
    return [utterance.text for dialogue in dialogues for _, utterance in dialogue.labelled]


def _long_sets(texts: Iterable[str]) -> list[Words]:
    return [words for text in texts if is_long(words := frozenset(words_of(text)))]


class KnownSets:
    """Sets of words, among which one is found that is near another.

    The rarest word that two such sets share is among the rarest of either, few enough to leave `NEAR` of it: those
    that share none of these are not compared (the prefix filter of Chaudhuri et al., "A primitive operator for
    similarity joins in data cleaning", 2006).
    """

    def __init__(self, sets: Iterable[Words]) -> None:
        sets = set(sets)
        self.frequency = Counter(word for words in sets for word in words)
        self.having: dict[str, list[Words]] = {}  # one of the rarest words of a set -> such sets
        for words in sets:
            for word in self._rarest(words):
                self.having.setdefault(word, []).append(words)

    def have_near(self, words: Words) -> bool:
        """Whether one of them has a Jaccard index of `NEAR` or more with `words`."""
        return any(_are_near(words, other) for word in self._rarest(words) for other in self.having.get(word, ()))

    def _rarest(self, words: Words) -> list[str]:
        least_shared = ceil(NEAR * len(words))
        return sorted(words, key=lambda word: (self.frequency[word], word))[: len(words) - least_shared + 1]


def _are_near(one: Words, other: Words) -> bool:
    shared = len(one & other)
    return shared / (len(one) + len(other) - shared) >= NEAR
