"""What any result should beat: scores that need no language model to be fine-tuned.

majority: the commonest label of train. embedding: logistic regression on the sentence vector of the utterance.
embedding_history: the same, with the mean vector of the turns before beside it. previous_label: the gold label of
the same speaker's previous utterance (neutral for the first), which no model is given: what gold labels would leak.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from sklearn.linear_model import LogisticRegression

from data_utils.dialogues import Dialogue
from data_utils.retrieval import Embed
from scoring.metrics import NEUTRAL, EvalResult, Prediction, evaluate_predictions

MAJORITY, EMBEDDING, EMBEDDING_HISTORY = "majority", "embedding", "embedding_history"
PREVIOUS_LABEL = "previous_label"
STRENGTHS = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0)  # inverse regularisation; chosen on valid

Splits = Mapping[str, Sequence[Dialogue]]


def gold_labels(dialogues: Sequence[Dialogue]) -> list[str]:
    """Every utterance's label, in order."""
    return [utterance.label for dialogue in dialogues for utterance in dialogue.utterances]


def previous_labels(dialogues: Sequence[Dialogue], otherwise: str) -> list[str]:
    """The gold label of the same speaker's previous utterance, `otherwise` for the first."""
    said = []
    for dialogue in dialogues:
        last: dict[int, str] = {}
        for utterance in dialogue.utterances:
            said.append(last.get(utterance.speaker, otherwise))
            last[utterance.speaker] = utterance.label
    return said


def utterance_features(dialogues: Sequence[Dialogue], embed: Embed, window: int) -> np.ndarray:
    """(utterances, width), or (utterances, 2 width) with the mean of up to `window` turns before; 0: without."""
    vectors = embed([utterance.text for dialogue in dialogues for utterance in dialogue.utterances])
    if not window:
        return vectors
    history = np.zeros_like(vectors)
    start = 0
    for dialogue in dialogues:
        for turn in range(1, len(dialogue.utterances)):
            history[start + turn] = vectors[start + max(0, turn - window) : start + turn].mean(axis=0)
        start += len(dialogue.utterances)
    return np.hstack([vectors, history])


def fit_and_answer(
    features: Mapping[str, np.ndarray], targets: Mapping[str, Sequence[str]], labels: Sequence[str], metric: str
) -> list[str]:
    """Logistic regression on train, its regularisation chosen on valid; the answers for test."""
    models = [
        LogisticRegression(C=strength, max_iter=2000).fit(features["train"], targets["train"]) for strength in STRENGTHS
    ]
    scores = [score(targets["valid"], model.predict(features["valid"]), labels, metric).score for model in models]
    return list(models[int(np.argmax(scores))].predict(features["test"]))


def score(targets: Sequence[str], answers: Sequence[str], labels: Sequence[str], metric: str) -> EvalResult:
    """Scores of answers in the order of their targets."""
    pairs = enumerate(zip(targets, answers, strict=True))
    predictions = [Prediction(str(place), "", target, str(said)) for place, (target, said) in pairs]
    return evaluate_predictions(predictions, labels, metric)


def measure_baselines(
    dialogues: Splits, labels: Sequence[str], metric: str, embed: Embed, window: int
) -> dict[str, EvalResult]:
    """Baseline -> its scores on test."""
    targets = {split: gold_labels(of_split) for split, of_split in dialogues.items()}
    commonest = Counter(targets["train"]).most_common(1)[0][0]
    answers = {MAJORITY: [commonest] * len(targets["test"])}
    for name, shown in ((EMBEDDING, 0), (EMBEDDING_HISTORY, window)):
        features = {split: utterance_features(of_split, embed, shown) for split, of_split in dialogues.items()}
        answers[name] = fit_and_answer(features, targets, labels, metric)
    neutral = next((label for label in labels if label.lower() == NEUTRAL), commonest)
    answers[PREVIOUS_LABEL] = previous_labels(dialogues["test"], neutral)
    return {name: score(targets["test"], said, labels, metric) for name, said in answers.items()}
