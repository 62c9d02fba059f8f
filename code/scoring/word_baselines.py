"""Baselines of words, by scikit-learn: those of the utterance, and of the turns before it by speaker."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from scipy import sparse
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import ComplementNB, MultinomialNB
from threadpoolctl import threadpool_limits

from basics.errors import UserError
from data_utils.texts import MARKS
from dialogue_files.turns import WITHOUT_BLANKS
from scoring.baseline_table import REGRESSION
from scoring.contenders import Candidate, Grid, Task, log_probabilities, settings_of

LETTER, BARE = rf"[^\W\d_{WITHOUT_BLANKS}]", rf"(?=[^\W\d_])[{WITHOUT_BLANKS}]"
# Words of any script, letters with their marks; single letters in scripts without blanks.
WORD = rf"(?:{LETTER}|')(?:{LETTER}|['{MARKS}])*|{BARE}[{MARKS}]*|[!?！？؟]"

OWN, SAME, OTHERS = range(3)
Blocks = Mapping[str, tuple[sparse.csr_array, ...]]  # split -> (rows, words) of OWN, SAME and OTHERS
Features = Mapping[str, Any]  # split -> (rows, features)


def words_by_speaker(task: Task, split: str) -> tuple[list[str], list[str], list[str]]:
    """(texts of the utterances, for each the same speaker's turns in the window, those of others)."""
    own, same, others = [], [], []
    for utterance, shown in task.turns(split):
        own.append(utterance.text)
        same.append("\n".join(one.text for one in shown if one.speaker == utterance.speaker))
        others.append("\n".join(one.text for one in shown if one.speaker != utterance.speaker))
    return own, same, others


def count_words(task: Task, vectorizer: type[CountVectorizer], **options: Any) -> Blocks:
    """Counts the words of every split in the three blocks; each block has its own vocabulary, from train.

    Raises:
        UserError: the utterances of train have no word, or none as often as the options ask.
    """
    texts = {split: words_by_speaker(task, split) for split in task.dialogues}
    found: dict[str, list[sparse.csr_array]] = {split: [] for split in texts}
    for block in (OWN, SAME, OTHERS):
        words = vectorizer(token_pattern=WORD, **options)
        try:
            words.fit(texts["train"][block])
        except ValueError:  # no words, as in the history of dialogues of one utterance
            if block == OWN:
                least = options.get("min_df", 1)
                raise UserError(
                    f"no word stands in {least} utterances of train or more: nothing to learn from"
                ) from None
            words = None
        for split, of_split in texts.items():
            rows = words.transform(of_split[block]) if words else sparse.csr_array((len(of_split[block]), 0))
            found[split].append(sparse.csr_array(rows))
    return {split: tuple(blocks) for split, blocks in found.items()}


def weighted(blocks: tuple[sparse.csr_array, ...], weights: tuple[float, ...]) -> sparse.csr_array:
    """(rows, words of all blocks), each block times its weight."""
    return sparse.csr_array(sparse.hstack([one * weight for one, weight in zip(blocks, weights, strict=True)]))


def regressions(task: Task, features_of: Callable[..., Features], grid: Grid) -> Iterator[Candidate]:
    """Logistic regressions over a grid. features_of: settings of the grid beside C and class_weight -> features.

    Raises:
        UserError: train has one label alone, which no classifier learns to tell from others.
    """
    if len(set(task.gold("train"))) < 2:
        raise UserError(f"train of {task.dataset} has the one label {task.gold('train')[0]!r}: nothing to learn from")
    of_features = {name: values for name, values in grid.items() if name not in REGRESSION}
    for kind in settings_of(of_features):
        features = features_of(**kind)
        for settings in settings_of({name: grid[name] for name in REGRESSION}):
            model = LogisticRegression(**settings, max_iter=1000)
            with threadpool_limits(1):  # more sum otherwise, and scores moved by 0.2 points with their number
                model.fit(features["train"], task.numbers["train"])
            yield Candidate(
                kind | settings,
                lambda split, model=model, features=features: log_probabilities(
                    model, features[split], len(task.labels)
                ),
            )


def tf_idf(task: Task) -> Blocks:
    """TF-IDF of words and pairs of words that train has twice or more."""
    return count_words(task, TfidfVectorizer, ngram_range=(1, 2), min_df=2, sublinear_tf=True)


def own_words(task: Task, grid: Grid) -> Iterator[Candidate]:
    """TF-IDF of the utterance alone, logistic regression."""
    features = {split: blocks[OWN] for split, blocks in tf_idf(task).items()}
    yield from regressions(task, lambda: features, grid)


def words_with_history(task: Task, grid: Grid) -> Iterator[Candidate]:
    """TF-IDF of the utterance, of the same speaker's history and of the others', logistic regression."""
    blocks = tf_idf(task)

    def scaled(history_scale: float) -> Features:
        weights = (1.0, history_scale, history_scale)
        return {split: weighted(of_split, weights) for split, of_split in blocks.items()}

    yield from regressions(task, scaled, grid)


def naive_bayes(task: Task, grid: Grid, kind: type[MultinomialNB] | type[ComplementNB]) -> Iterator[Candidate]:
    """Naive Bayes over word counts in the three blocks; ComplementNB is made for uneven labels."""
    blocks = count_words(task, CountVectorizer)
    train = weighted(blocks["train"], (1.0, 1.0, 1.0))
    fitted = {alpha: kind(alpha=alpha).fit(train, task.numbers["train"]) for alpha in grid["alpha"]}
    for settings in settings_of(grid):
        model, history = fitted[settings["alpha"]], settings["history_weight"]
        weights = (settings["utterance_weight"], history, history)
        yield Candidate(
            settings,
            lambda split, model=model, weights=weights: log_probabilities(
                model, weighted(blocks[split], weights), len(task.labels)
            ),
        )
