"""Pickle -> dialogues: what is read, and what is refused in one line."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from basics.errors import UserError
from commands import REPOSITORY
from corpora import load_unchecked as load
from corpora import one_hot, refusal, small_corpus
from data_utils.dialogues import clean_text, count_split, find_original_data, load_dialogues
from data_utils.labels import DATASETS, SPLITS, UNIFIED_PROMPT_LABELS

WriteCorpus = Callable[..., Path]


# What is read


def test_a_small_corpus_is_read_whole(write_corpus: WriteCorpus) -> None:
    splits = load(write_corpus(small_corpus()))
    (dialogue,) = splits["train"]
    assert dialogue.dialogue_id == "a"
    assert [(one.speaker, one.text, one.label) for one in dialogue.utterances] == [
        (0, "Hello.", "Joyful"),
        (1, "Go away!", "Neutral"),
        (0, "Oh.", "Scared"),
    ]
    assert [splits[split][0].dialogue_id for split in SPLITS] == ["a", "c", "b"]


def test_dailydialog_speakers_are_zero_or_other(write_corpus: WriteCorpus) -> None:
    corpus = small_corpus()
    corpus[0] = {"a": ["0", "1", "0"], "b": ["0", "B"], "c": ["1", "0"]}
    splits = load(write_corpus(corpus, "dailydialog"), "dailydialog")
    assert [one.speaker for split in SPLITS for one in splits[split][0].utterances] == [0, 1, 0, 1, 0, 0, 1]
    assert splits["train"][0].utterances[1].label == "sad"


def test_meld_has_a_slot_of_sentiments(write_corpus: WriteCorpus) -> None:
    corpus = small_corpus()
    corpus.insert(2, {"a": [0, 0, 0], "b": [0, 0], "c": [0, 0]})
    assert load(write_corpus(corpus, "meld"), "meld")["train"][0].utterances[2].label == "angry"


def test_dialogue_ids_may_be_numbers(write_corpus: WriteCorpus) -> None:
    corpus = small_corpus()
    numbers = {"a": 0, "b": 1, "c": 2}
    corpus[:3] = [{numbers[name]: turns for name, turns in slot.items()} for slot in corpus[:3]]
    corpus[3:] = [[0], [1], [2]]
    assert load(write_corpus(corpus))["test"][0].dialogue_id == "1"


def test_cp1252_characters_are_repaired_and_never_deleted() -> None:
    every_code = "".join(map(chr, range(0x80, 0xA0)))
    repaired = clean_text("it\x92s \x85 " + every_code)
    assert repaired.startswith("it’s … €\x81‚ƒ")
    assert len(repaired) == len("it s   ") + len(every_code)
    assert clean_text("plain ä 語") == "plain ä 語"


def test_text_is_cleaned_only_when_asked(write_corpus: WriteCorpus) -> None:
    corpus = small_corpus()
    corpus[2]["a"][0] = "It\x92s me."
    folder = write_corpus(corpus)
    assert load(folder)["train"][0].utterances[0].text == "It\x92s me."
    assert load(folder, clean_text=True)["train"][0].utterances[0].text == "It’s me."


def test_sample_comes_from_the_repository_when_elsewhere_has_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ERC_ORIGINAL_DATA", str(tmp_path))
    assert find_original_data("meld") == tmp_path
    assert find_original_data("sample").name == "original_data"
    (tmp_path / "sample").mkdir()
    assert find_original_data("sample") == tmp_path


# What is known beforehand


def test_unified_labels_follow_the_feeling_wheel() -> None:
    assert all(len(one.unified) == len(one.labels) for one in DATASETS.values())
    assert DATASETS["iemocap"].unified_labels["frustrated"] == "fear"
    assert {label for one in DATASETS.values() for label in one.unified} == set(UNIFIED_PROMPT_LABELS)


def test_the_sample_comes_with_the_repository() -> None:
    splits = load_dialogues("sample", REPOSITORY / "original_data")
    lengths = [len(dialogue.utterances) for split in SPLITS for dialogue in splits[split]]
    assert (len(lengths), min(lengths), max(lengths)) == (60, 6, 14)


@pytest.mark.real_data
@pytest.mark.parametrize("dataset", ["iemocap", "meld", "EmoryNLP"])
def test_published_counts(original_data: Path, dataset: str) -> None:
    """The table of the method, held against the pickles by load_dialogues and once more here."""
    splits = load_dialogues(dataset, original_data)
    for split, expected in DATASETS[dataset].expected.items():
        assert count_split(splits[split], DATASETS[dataset].labels) == expected


@pytest.mark.real_data
def test_meld_keeps_its_control_characters(original_data: Path) -> None:
    def damaged(clean: bool) -> int:
        splits = load_dialogues("meld", original_data, clean_text=clean)
        texts = [one.text for split in SPLITS for dialogue in splits[split] for one in dialogue.utterances]
        return sum(any("\x80" <= character <= "\x9f" for character in text) for text in texts)

    assert (damaged(clean=False), damaged(clean=True)) == (3741, 0)


# What is refused


def test_missing_pickle_says_where_it_looked(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        load_dialogues("meld", tmp_path)
    for part in (str(tmp_path / "meld" / "meld.pkl"), "ERC_ORIGINAL_DATA", "--original_data", "README.md"):
        assert part in str(caught.value)


def test_unknown_dataset_names_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="sample, iemocap, meld, EmoryNLP, dailydialog"):
        load_dialogues("friends", tmp_path)


def test_number_and_kind_of_slots(write_corpus: WriteCorpus) -> None:
    assert "holds 5 places" in refusal(write_corpus(small_corpus()[:5]))
    assert "holds a dict" in refusal(write_corpus({"a": 1}))
    assert "holds 6 places" in refusal(write_corpus(small_corpus(), "meld"), "meld")
    assert "slot labels is a list" in refusal(write_corpus([{}, [], {}, [], [], []]))
    assert "slot test is a set" in refusal(write_corpus([{}, {}, {}, [], {"b"}, []]))


def change(slot: int, dialogue: str, turn: int | None, value: Any) -> list[Any]:
    """The small corpus with one value changed (turn None: the whole list of the dialogue)."""
    corpus = small_corpus()
    if turn is None:
        corpus[slot][dialogue] = value
    else:
        corpus[slot][dialogue][turn] = value
    return corpus


SPEAKERS, LABELS, SENTENCES = 0, 1, 2
FAULTS = [
    (
        change(LABELS, "a", 1, 7),
        "dialogue 'a' (train) turn 1: label index 7 is out of range, allowed are 0 to",
    ),
    (change(LABELS, "c", 0, -1), "dialogue 'c' (valid) turn 0: label index -1"),
    (change(LABELS, "c", 0, True), "label index True"),
    (change(LABELS, "c", 0, "Mad"), "label index 'Mad'"),
    (change(LABELS, "a", None, [0, 1]), "dialogue 'a' (train): has 3 speakers, 2 labels, 3 sentences"),
    (change(SPEAKERS, "b", None, [one_hot(0)]), "dialogue 'b' (test): has 1 speakers, 2 labels, 2 sentences"),
    (change(SENTENCES, "b", None, "Oh"), "its sentences are a str"),
    (change(SENTENCES, "b", 1, ""), "dialogue 'b' (test) turn 1: utterance '' is empty"),
    (change(SENTENCES, "b", 1, " \t\n"), "is empty or no text"),
    (change(SENTENCES, "b", 1, 5), "utterance 5 is empty or no text"),
    (change(SENTENCES, "b", 1, "\ud800"), "half a character"),
    (change(SPEAKERS, "a", 2, [0] * 9), "dialogue 'a' (train) turn 2: speaker [0, 0, 0, 0, 0, 0, ...]"),
    (change(SPEAKERS, "a", 2, one_hot(0, 8)), "allowed are 9 whole numbers, one of them 1"),
    (change(SPEAKERS, "a", 2, [1, 1] + [0] * 7), "is not understood"),
    (change(SPEAKERS, "a", 2, "M"), "speaker 'M' is not understood"),
    (
        [*small_corpus()[:3], ["a", "z"], ["b"], ["c"]],
        "dialogue 'z' (train): is in the list of its split",
    ),
    ([*small_corpus()[:3], ["a", "b"], ["b"], ["c"]], "dialogue 'b' is listed in train and in test"),
    ([*small_corpus()[:3], ["a", "a"], ["b"], ["c"]], "dialogue 'a' is listed in train and in train"),
    ([*small_corpus()[:3], [7], ["7"], ["c"]], "dialogue '7' is listed in train and in test"),
    ([*small_corpus()[:3], [["a"]], ["b"], ["c"]], "slot train holds ['a']"),
    ([*small_corpus()[:3], ["a", "\ud800"], ["b"], ["c"]], r"slot train holds '\ud800' with half a character"),
]


@pytest.mark.parametrize(("corpus", "expected"), FAULTS)
def test_faults_name_the_place_and_what_is_allowed(write_corpus: WriteCorpus, corpus: list[Any], expected: str) -> None:
    assert expected in refusal(write_corpus(corpus))


def test_letters_are_the_speakers_of_iemocap(write_corpus: WriteCorpus) -> None:
    corpus = small_corpus()
    corpus[0] = {"a": ["M", "F", "M"], "b": ["M", "X"], "c": ["F", "M"]}
    message = refusal(write_corpus(corpus, "iemocap"), "iemocap")
    assert "dialogue 'a' (train) turn 2: label index 6 is out of range, allowed are 0 to 5" in message
    corpus[1]["a"] = [0, 0, 0]
    message = refusal(write_corpus(corpus, "iemocap"), "iemocap")
    assert "dialogue 'b' (test) turn 1: speaker 'X' is not understood, allowed are 'M' or 'F'" in message


def test_further_problems_are_counted(write_corpus: WriteCorpus) -> None:
    corpus = change(LABELS, "a", None, [9, 9, 9])
    assert "and 2 more problems" in refusal(write_corpus(corpus))


def test_another_release_is_told_by_its_counts(write_corpus: WriteCorpus) -> None:
    message = refusal(write_corpus(small_corpus()), check_counts=True)
    assert "train utterances: expected 7551, found 3" in message
    assert "test per_label: expected (217, 86, 111, 288, 70, 96, 116), found (0, 1, 1, 0, 0, 0, 0)" in message
    assert "--check_counts False" in message


def test_dailydialog_counts_are_checked(write_corpus: WriteCorpus) -> None:
    corpus = small_corpus()
    corpus[0] = {"a": ["0", "1", "0"], "b": ["0", "1"], "c": ["1", "0"]}
    message = refusal(write_corpus(corpus, "dailydialog"), "dailydialog", check_counts=True)
    assert "train dialogues: expected 11118, found 1" in message
    assert "valid utterances: expected 8069, found 2" in message
    assert "train utterances: expected 87170, found 3" in message


def dailydialog(numbers: Sequence[int]) -> list[Any]:
    """A file of DailyDialog's size whose label `old` has the number `numbers[old]`."""
    slots: list[Any] = [{}, {}, {}, [], [], []]
    for place, split in ((3, "train"), (4, "test"), (5, "valid")):
        known = DATASETS["dailydialog"].expected[split]
        labels = [numbers[old] for old, count in enumerate(known.per_label) for _ in range(count)]
        names = slots[place] = [f"{split}{number}" for number in range(known.dialogues)]
        for start, name in enumerate(names):
            own = labels[start :: known.dialogues]
            columns = (["0" if turn % 2 else "1" for turn in range(len(own))], own, ["Hm."] * len(own))
            for slot, column in zip(slots, columns, strict=False):
                slot[name] = column
    return slots


def test_dailydialog_whose_labels_are_numbered_otherwise_is_refused(write_corpus: WriteCorpus) -> None:
    """Also where other releases are allowed: its rows would ask for one emotion and score another."""
    labels = DATASETS["dailydialog"].labels
    straight = load_dialogues("dailydialog", write_corpus(dailydialog(range(7)), "dailydialog"))
    assert count_split(straight["valid"], labels).per_label == (684, 7108, 77, 79, 11, 107, 3)
    folder = write_corpus(dailydialog([3, 0, 1, 2, 6, 5, 4]), "dailydialog")
    for check_counts in (True, False):
        message = refusal(folder, "dailydialog", check_counts=check_counts)
        assert "its labels are numbered otherwise" in message and "\n" not in message
        expected = "0 -> 1 (neutral), 1 -> 2 (angry), 2 -> 3 (sad), 3 -> 0 (happy), 4 -> 6 (disgust), 5 -> 5 (surprise)"
        assert f"{expected}, 6 -> 4 (fear)" in message


def test_a_file_that_is_not_the_published_one_is_told(write_corpus: WriteCorpus, capsys) -> None:
    load_dialogues("EmoryNLP", write_corpus(small_corpus()), check_counts=False)
    told = capsys.readouterr().err
    assert told.startswith("warning: ") and told.count("\n") == 1
    counts = "train 1 / 3, valid 1 / 2, test 1 / 2 (dialogues / utterances)"
    assert "EmoryNLP.pkl is not the published file of EmoryNLP" in told and counts in told


@pytest.mark.real_data
@pytest.mark.parametrize("dataset", ["iemocap", "meld", "EmoryNLP"])
def test_the_published_files_are_told_of_by_nothing(original_data: Path, dataset: str, capsys) -> None:
    load_dialogues(dataset, original_data)
    assert capsys.readouterr().err == ""
