"""What the notebook about the corpora counts, on a corpus small enough to count by hand and on the sample."""

from collections import Counter
from dataclasses import replace

from corpus_peek import (
    count_labels,
    count_lengths,
    render_dialogue,
    score_majority,
    share_labels_of_texts,
    share_transitions,
    tell_sizes,
)
from data_utils.dialogues import Dialogue, Utterance, find_original_data, load_dialogues
from data_utils.labels import DATASETS

LABELS = ("sad", "joyful")
FIRST = Dialogue(
    "a",
    (
        Utterance(0, "Oh no.", "sad"),
        Utterance(1, "Great news!", "joyful"),
        Utterance(0, "oh no. ", "joyful"),
        Utterance(1, "I am glad.", "joyful"),
    ),
)
SECOND = Dialogue("b", (Utterance(0, "Well.", "sad"), Utterance(0, "Oh no.", "sad")))


def test_sizes() -> None:
    splits = {"train": [FIRST, SECOND], "test": [SECOND]}
    assert tell_sizes(splits) == "train: 2 dialogues, 6 utterances\ntest: 1 dialogue, 2 utterances"
    lengths = count_lengths(splits)
    assert {quantity: dict(of_split["train"]) for quantity, of_split in lengths.items()} == {
        "turns of a dialogue": {4: 1, 2: 1},
        "speakers of a dialogue": {2: 1, 1: 1},
        "words of an utterance": {2: 4, 3: 1, 1: 1},
    }
    assert lengths["words of an utterance"]["test"] == Counter({1: 1, 2: 1})


def test_labels_and_transitions() -> None:
    assert count_labels({"train": [FIRST, SECOND]}, LABELS) == {"train": {"sad": 3, "joyful": 3}}
    assert share_transitions([FIRST, SECOND], LABELS) == [[0.5, 0.5], [0.0, 1.0]]
    assert share_transitions([FIRST], LABELS, same_speaker=True) == [[0.0, 1.0], [0.0, 1.0]]
    assert share_transitions([SECOND], LABELS) == [[1.0, 0.0], [0.0, 0.0]]


def test_the_majority_scores_what_counting_by_hand_gives() -> None:
    # Train says sad 3 times of 6, and so joyful: the first label wins. Of test's two, both are sad.
    spec = replace(DATASETS["sample"], labels=LABELS)
    splits = {"train": [FIRST, SECOND], "test": [SECOND]}
    assert score_majority(splits, spec) == "Always answering 'sad' scores 100.0 weighted F1 on test."
    # A turn without a label, as corpora of one's own may have, is neither counted nor scored.
    unlabelled = replace(SECOND, utterances=(*SECOND.utterances, replace(SECOND.utterances[0], label=None)))
    with_unlabelled = {name: [*of, unlabelled] for name, of in splits.items()}
    assert score_majority(with_unlabelled, spec) == "Always answering 'sad' scores 100.0 weighted F1 on test."
    assert count_labels({"train": [unlabelled]}, LABELS) == {"train": {"sad": 2, "joyful": 0}}
    # One of four is sad: precision 1/4, recall 1, F1 0.4, which counts for a quarter.
    assert score_majority(splits | {"test": [FIRST]}, spec) == "Always answering 'sad' scores 10.0 weighted F1 on test."


def test_texts_and_a_dialogue_in_full() -> None:
    shares = share_labels_of_texts([FIRST, SECOND], LABELS, 1)
    assert shares == {"oh no. (3 times)": {"sad": 2 / 3, "joyful": 1 / 3}}
    without = replace(FIRST, utterances=tuple(replace(one, text="Hm.", label=None) for one in FIRST.utterances))
    assert share_labels_of_texts([FIRST, SECOND, without], LABELS, 1) == shares, "its bar had no label, and a name"
    lines = render_dialogue(FIRST).splitlines()
    assert lines[0] == "dialogue a" and lines[2] == "  1  Speaker_1  joyful  Great news!" and len(lines) == 5
    assert render_dialogue(FIRST, turns=2).splitlines() == lines[:3]


def test_the_sample_is_what_its_readme_says() -> None:
    splits = load_dialogues("sample", find_original_data("sample"))
    assert tell_sizes(splits).splitlines() == [
        "train: 40 dialogues, 431 utterances",
        "valid: 10 dialogues, 111 utterances",
        "test: 10 dialogues, 116 utterances",
    ]
    lengths = count_lengths(splits)
    assert [max(lengths[f"{what} of a dialogue"]["train"]) for what in ("turns", "speakers")] == [14, 5]
    labels = DATASETS["sample"].labels
    assert tuple(count_labels(splits, labels)["train"].values()) == (191, 48, 16, 36, 82, 13, 45)
    for row in share_transitions(splits["train"], labels):
        assert abs(sum(row) - 1) < 1e-9
