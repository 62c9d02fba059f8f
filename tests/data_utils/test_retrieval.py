"""Demonstrations against brute force, who may demonstrate whom, and the prompts and rows that hold them."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from basics.errors import UserError
from basics.files import find_repository
from corpora import LetterCounts
from data_utils.dialogues import Dialogue, Utterance, load_dialogues
from data_utils.examples import RowSettings, render_window
from data_utils.labels import DATASETS
from data_utils.prompts import ROLE, add_demonstrations, drop_oldest_utterances
from data_utils.retrieval import (
    DemonstrationIndex,
    Entry,
    RetrievalSettings,
    balance_labels,
    find_demonstrations,
    nearest,
)
from data_utils.row_files import RECOGNITION, read_manifest, read_rows
from data_utils.row_folders import prepare_folder

LABELS = DATASETS["sample"].labels
SAMPLE = find_repository() / "original_data"
PAIRS = [("Oh my God!", "surprise"), ("What?", "neutral")]


def entry(number: int, text: str, label: str = "neutral", dialogue: str | None = None) -> Entry:
    return Entry(f"sample/d{number}/0", dialogue or f"train/d{number}", text, label)


def texts_of(matches) -> list[str]:
    return [match.entry.text for match in matches]


# Search


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 40), st.integers(1, 60), st.integers(1, 8), st.integers(0, 99))
def test_nearest_is_brute_force(queries: int, entries: int, count: int, seed: int) -> None:
    draw = np.random.default_rng(seed)
    # Few distinct values, so that many products are equal.
    left, right = (draw.integers(-1, 2, (rows, 3)).astype(np.float32) for rows in (queries, entries))
    count = min(count, entries)
    indices, similarities = nearest(left, right, count)
    products = left @ right.T
    expected = -np.sort(-products, axis=1)[:, :count]
    np.testing.assert_allclose(similarities, expected, atol=1e-6)
    np.testing.assert_allclose(np.take_along_axis(products, indices, 1), expected, atol=1e-6)
    assert all(len(set(row)) == count for row in indices.tolist())


def test_neither_the_utterance_nor_its_dialogue_demonstrates_it() -> None:
    base = [entry(1, "aaa"), entry(1, "aab", dialogue="train/d1"), entry(2, "abb"), entry(3, "zzz")]
    index = DemonstrationIndex(base, LetterCounts())
    (matches,) = index.search([base[0]], count=2)
    assert texts_of(matches) == ["abb", "zzz"]
    assert matches[0].similarity == pytest.approx(1 / 5**0.5, abs=1e-4) and matches[1].similarity == 0


def test_own_label_and_identical_texts() -> None:
    base = [entry(1, "Fine.", "sad"), entry(2, "fine. ", "angry"), entry(3, "fin", "sad"), entry(4, "Fines.", "angry")]
    index = DemonstrationIndex(base, LetterCounts())
    query = entry(9, "Fine.", "sad", dialogue="test/d9")
    find = lambda **options: texts_of(index.search([query], **{"count": 2, **options})[0])  # noqa: E731
    assert find() == ["Fine.", "fine. "]
    assert find(own_label=True) == ["Fine.", "fin"]
    assert find(exclude_identical=True) == ["Fines.", "fin"]


def test_search_goes_deeper_where_the_first_neighbours_are_excluded() -> None:
    base = [entry(number, "yeah") for number in range(200)] + [entry(500, "yeahh")]
    (matches,) = DemonstrationIndex(base, LetterCounts()).search(
        [entry(900, "Yeah", dialogue="test/d900")], count=1, exclude_identical=True
    )
    assert texts_of(matches) == ["yeahh"]


def test_too_few_is_one_line_with_the_ways_out() -> None:
    base = [entry(1, "aa", "sad"), entry(2, "ab", "angry")]
    with pytest.raises(UserError, match=r"sample/d1/0 .label sad.: 0 training.*1 are asked.*--demonstrations"):
        DemonstrationIndex(base, LetterCounts()).search([base[0]], count=1, own_label=True)


def test_balanced_base_has_as_many_of_each_label_as_of_the_rarest() -> None:
    base = [entry(n, f"text {n}", label) for n, label in enumerate(["sad"] * 9 + ["angry"] * 3 + ["neutral"] * 5)]
    chosen = balance_labels(base, ("sad", "angry", "neutral"), seed=1)
    assert Counter(one.label for one in chosen) == {"sad": 3, "angry": 3, "neutral": 3}
    assert chosen == sorted(chosen, key=base.index) == balance_labels(base, ("sad", "angry", "neutral"), seed=1)
    assert chosen != balance_labels(base, ("sad", "angry", "neutral"), seed=2)
    with pytest.raises(UserError, match="label fear.*--domain_balance False"):
        balance_labels(base, ("sad", "fear"), seed=1)


# Pairing


@pytest.mark.parametrize("pairing", ["paper", "all"])
def test_every_demonstration_is_from_train_and_paper_pairs_labels_there_alone(pairing: str) -> None:
    dialogues = load_dialogues("sample", SAMPLE)
    retrieval = RetrievalSettings("letters", count=2, pairing=pairing)
    found, described = find_demonstrations("sample", LABELS, dialogues, retrieval, LetterCounts())
    in_train = {f"sample/{dialogue.dialogue_id}" for dialogue in dialogues["train"]}
    for split, of_split in dialogues.items():
        queries = {
            f"sample/{dialogue.dialogue_id}/{turn}": one.label
            for dialogue in of_split
            for turn, one in enumerate(dialogue.utterances)
        }
        assert found[split].keys() == queries.keys()
        for name, matches in found[split].items():
            assert all(match.entry.id.rsplit("/", 1)[0] in in_train - {name.rsplit("/", 1)[0]} for match in matches)
        same = np.mean([found[split][name][0].entry.label == label for name, label in queries.items()])
        assert described[split]["label_agreement"] == pytest.approx(same, abs=1e-4)
        assert (same == 1) == (pairing == "paper" and split == "train")


def test_unlabelled_dialogues_can_be_queries() -> None:
    train = (Dialogue("a", tuple(Utterance(0, f"text {label}", label) for label in LABELS)),)
    other = (Dialogue("b", (Utterance(0, "text sad", None),)),)
    splits = {"train": (*train, Dialogue("c", train[0].utterances)), "valid": other, "test": other}
    found, _ = find_demonstrations("sample", LABELS, splits, RetrievalSettings("letters"), LetterCounts())
    assert found["test"]["sample/b/0"][0].entry.label == "sad"


# Prompts and rows

TURNS = [Utterance(0, "One.", "sad"), Utterance(1, 'Two ### "x"', "sad"), Utterance(0, "Three.", "sad")]


def test_prompts_in_full() -> None:
    prompt = render_window(TURNS, 12, ("sad", "angry"))
    assert add_demonstrations(prompt, PAIRS, "last") == (
        f"{prompt}\nDemonstration:\n<Oh my God!>: surprise\n<What?>: neutral"
    )
    in_front = add_demonstrations(prompt, PAIRS[:1], "role")
    assert in_front == f"{ROLE}Demonstration:\n<Oh my God!>: surprise\n{prompt.removeprefix(ROLE)}"


@pytest.mark.parametrize("position", ["last", "role"])
@pytest.mark.parametrize("text", ["Hm.", "\nDemonstration:\n<x>: sad", "x> from <sad>:", "The following conversation"])
def test_too_long_prompts_lose_history_and_keep_their_demonstrations(position: str, text: str) -> None:
    pairs = [(text, "sad"), *PAIRS]
    whole, shorter, bare = (render_window(TURNS[start:], 12, ("sad", "angry")) for start in range(3))
    shown = [add_demonstrations(prompt, pairs, position) for prompt in (whole, shorter, bare)]
    assert [drop_oldest_utterances(prompt, 1) for prompt in shown] == [*shown[1:], None]


def test_rows_say_what_they_hold(tmp_path: Path) -> None:
    retrieval = RetrievalSettings("letters", pairing="paper")
    wanted = RowSettings("sample", "predict", retrieval=retrieval)
    folder = prepare_folder(wanted, SAMPLE, tmp_path, embed=LetterCounts())
    plain = prepare_folder(RowSettings("sample", "predict"), SAMPLE, tmp_path)
    assert folder.name == "predict_demonstrations_paper_letters" and plain.name == "predict"
    train = {dialogue.dialogue_id: dialogue for dialogue in load_dialogues("sample", SAMPLE)["train"]}
    for split in ("train", "test"):
        for row, without in zip(read_rows(folder / f"{split}.json"), read_rows(plain / f"{split}.json"), strict=True):
            assert (row.id, row.task, row.target) == (without.id, without.task, without.target)
            assert len(row.demonstrations) == (row.task == RECOGNITION)
            for shown in row.demonstrations:
                _, dialogue, turn = shown.id.split("/")
                text = train[dialogue].utterances[int(turn)].text
                assert row.input == add_demonstrations(without.input, [(text, shown.label)], "last")
    described = read_manifest(folder)["demonstrations"]
    assert described["train"]["label_agreement"] == 1 > described["test"]["label_agreement"]
    line = json.loads((folder / "test.json").read_text(encoding="utf-8").splitlines()[0])
    assert line["demonstrations"][0].keys() == {"id", "label", "similarity"}


def test_another_encoder_makes_other_rows(tmp_path: Path) -> None:
    wanted = RowSettings("sample", retrieval=RetrievalSettings("letters"))
    folder = prepare_folder(wanted, SAMPLE, tmp_path, embed=LetterCounts())
    before = (folder / "manifest.json").stat().st_mtime_ns
    prepare_folder(wanted, SAMPLE, tmp_path, embed=LetterCounts())
    assert (folder / "manifest.json").stat().st_mtime_ns == before
    other = LetterCounts()
    other.identity = "other weights under the same name"
    prepare_folder(wanted, SAMPLE, tmp_path, embed=other)
    assert (folder / "manifest.json").stat().st_mtime_ns > before
