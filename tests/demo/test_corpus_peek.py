"""What the notebook about the corpora counts, on a corpus small enough to count by hand and on the sample."""

from corpus_peek import common_texts, count_labels, count_sizes, render_dialogue, share_transitions
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
    sizes = count_sizes({"train": [FIRST, SECOND]})["train"]
    assert (sizes["dialogues"], sizes["utterances"]) == (2, 6)
    assert (sizes["turns, mean"], sizes["turns, median"], sizes["turns, most"]) == (3.0, 3.0, 4)
    assert (sizes["speakers, mean"], sizes["speakers, most"], sizes["words, most"]) == (1.5, 2, 3)


def test_labels_and_transitions() -> None:
    assert count_labels({"train": [FIRST, SECOND]}, LABELS) == {"train": {"sad": 3, "joyful": 3}}
    assert share_transitions([FIRST, SECOND], LABELS) == [[0.5, 0.5], [0.0, 1.0]]
    assert share_transitions([FIRST], LABELS, same_speaker=True) == [[0.0, 1.0], [0.0, 1.0]]
    assert share_transitions([SECOND], LABELS) == [[1.0, 0.0], [0.0, 0.0]]


def test_texts_and_a_dialogue_in_full() -> None:
    assert common_texts([FIRST, SECOND], 1) == [("oh no.", 3, 2)]
    lines = render_dialogue(FIRST).splitlines()
    assert lines[0] == "dialogue a" and lines[2] == "  1  Speaker_1  joyful  Great news!"


def test_the_sample_is_what_its_readme_says() -> None:
    splits = load_dialogues("sample", find_original_data("sample"))
    sizes = count_sizes(splits)
    assert [of_split["utterances"] for of_split in sizes.values()] == [431, 111, 116]
    assert max(of_split["turns, most"] for of_split in sizes.values()) == 14
    labels = DATASETS["sample"].labels
    assert tuple(count_labels(splits, labels)["train"].values()) == (191, 48, 16, 36, 82, 13, 45)
    for row in share_transitions(splits["train"], labels):
        assert abs(sum(row) - 1) < 1e-9
