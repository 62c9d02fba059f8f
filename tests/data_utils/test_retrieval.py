"""Demonstrations against brute force, who may demonstrate whom, and the prompts and rows that hold them."""

import json
import tracemalloc
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from unittest.mock import patch

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
    Match,
    RetrievalSettings,
    balance_labels,
    describe_matches,
    entries_of,
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


def entries_of_splits(dialogues: Mapping[str, Sequence[Dialogue]]) -> dict[str, list[Entry]]:
    return {split: entries_of("sample", split, of_split) for split, of_split in dialogues.items()}


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
    with patch("data_utils.retrieval.BLOCK_NUMBERS", 20):  # one query at a time, or a few
        indices, similarities = nearest(left, right, count)
    products = left @ right.T
    expected = -np.sort(-products, axis=1)[:, :count]
    np.testing.assert_allclose(similarities, expected, atol=1e-6)
    np.testing.assert_allclose(np.take_along_axis(products, indices, 1), expected, atol=1e-6)
    assert all(len(set(row)) == count for row in indices.tolist())
    # Those as large as the last may be cut off anywhere; the others come in the base's order.
    for row, of_row in zip(indices.tolist(), similarities.tolist(), strict=True):
        assert row == sorted(row, key=lambda place: (-of_row[row.index(place)], place))


def test_products_that_differ_beyond_six_decimals_are_equal() -> None:
    base = np.array([[0.5, 0.0], [0.5000003, 0.0], [0.500001, 0.0]], np.float32)
    indices, similarities = nearest(np.array([[1.0, 0.0]], np.float32), base, 3)
    assert indices.tolist() == [[2, 0, 1]] and similarities.tolist() == [[0.500001, 0.5, 0.5]]


def test_what_is_held_of_products_does_not_grow_with_the_queries() -> None:
    """All of them would be 134 MB in doubles, and what they are products of 67 MB; a block is half of it."""
    queries, base = np.ones((16_384, 64), np.float32), np.ones((16, 64), np.float32)
    nearest(queries[:1], base, 16)
    tracemalloc.start()
    try:
        nearest(queries, base, 16)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert most < 140e6


# Few letters: most are as near as many others, some but for the rounding of float32.
WORDS = ["".join(letters) for length in (1, 2, 3, 4) for letters in product("abc", repeat=length)] + ["AB ", "Ca"]


def by_brute_force(base: list[Entry], query: Entry, count: int, exclude_identical: bool) -> list[str]:
    """Ids of the nearest entries, each product alone."""
    embed = LetterCounts()
    distances = [-round(float(embed([one.text])[0].astype(float) @ embed([query.text])[0]), 6) for one in base]
    order = sorted(range(len(base)), key=lambda place: (distances[place], place))
    own = query.text.strip().lower() if exclude_identical else None
    shown = [base[place] for place in order if base[place].dialogue != query.dialogue]
    return [one.id for one in shown if one.text.strip().lower() != own][:count]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 4), st.booleans(), st.sampled_from([5, 60, 300]))
def test_ties_go_to_the_bases_order(seed: int, count: int, exclude_identical: bool, size: int) -> None:
    draw = np.random.default_rng(seed)
    dialogues = [f"train/d{draw.integers(size)}" for _ in range(size)]
    base = [entry(place, WORDS[draw.integers(len(WORDS))], dialogue=dialogues[place]) for place in range(size)]
    queries = [*base[:5], *(entry(9000 + place, word, dialogue="test/d") for place, word in enumerate(WORDS[::9]))]
    expected = [by_brute_force(base, query, count, exclude_identical) for query in queries]
    index = DemonstrationIndex(base, LetterCounts())
    if any(len(names) < count for names in expected):
        with pytest.raises(UserError, match="training utterances may demonstrate it"):
            index.search(queries, count, exclude_identical=exclude_identical)
        return
    found = index.search(queries, count, exclude_identical=exclude_identical)
    assert [[match.entry.id for match in of_query] for of_query in found] == expected


@pytest.mark.parametrize("distinct", [False, True], ids=["one text", "texts as near"])
def test_what_is_shown_does_not_depend_on_what_else_is_asked(distinct: bool) -> None:
    """Hundreds of entries are as near as each other: the first ones of the base are shown, whoever asks with whom."""
    tied = ["yeahs" * (1 + number % 50 if distinct else 1) for number in range(500)]
    base = [entry(1000, "no"), *(entry(number, text) for number, text in enumerate(tied)), entry(2000, "yes")]
    index = DemonstrationIndex(base, LetterCounts())
    queries = [entry(5000 + number, "YEAHS" if number % 3 else "Yeahs", dialogue="test/d") for number in range(400)]
    for size in (1, 40, 400):
        for start in range(0, 400, max(size, 40)):
            for matches in index.search(queries[start : start + size], count=3):
                assert [match.entry.id for match in matches] == ["sample/d0/0", "sample/d1/0", "sample/d2/0"]


class NearlyUncased(LetterCounts):
    """Texts of other case have one vector but for the last digits, as an encoder without capitals has them."""

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        noise = [sum(map(ord, text)) % 7 * 2e-7 for text in texts]
        return super().__call__(texts) + np.array(noise, np.float32)[:, None]


def test_rounding_does_not_decide_between_texts_of_other_case() -> None:
    base = [entry(number, text) for number, text in enumerate(["Oh", "oH", "OH", "oh", "Hm"])]
    index = DemonstrationIndex(base, NearlyUncased())
    for text in ("oh", "OH", "Oh", "oH"):
        ((first, second),) = index.search([entry(9, text, dialogue="test/d")], count=2)
        assert (first.entry.text, second.entry.text) == ("Oh", "oH")


class Cased(LetterCounts):
    """Tells the first letter's case, and nothing else of it."""

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        vectors = super().__call__(texts)
        vectors[:, 0] = [text[0].isupper() for text in texts]
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_texts_of_other_case_keep_vectors_that_differ() -> None:
    index = DemonstrationIndex([entry(number, text) for number, text in enumerate(["oh", "Oh"])], Cased())
    ((first, second),) = index.search([entry(9, "Oh", dialogue="test/d")], count=2)
    assert (first.entry.text, second.entry.text) == ("Oh", "oh")


def test_a_label_without_entries_is_one_line() -> None:
    with pytest.raises(UserError, match="0 training utterances may demonstrate it"):
        DemonstrationIndex([entry(1, "a", "sad")], LetterCounts()).search([entry(2, "a", "fear")], 1, own_label=True)


def test_neither_the_utterance_nor_its_dialogue_demonstrates_it() -> None:
    base = [entry(1, "aaa"), entry(1, "aab", dialogue="train/d1"), entry(2, "abb"), entry(3, "zzz")]
    index = DemonstrationIndex(base, LetterCounts())
    (matches,) = index.search([base[0]], count=2)
    assert texts_of(matches) == ["abb", "zzz"]
    assert [match.similarity for match in matches] == [0.4472, 0.0], "1 / sqrt(5), to four decimals"


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
    message = r"^utterance sample/d1/0 .label sad.: 0 training.*1 are asked.*--demonstrations"
    with pytest.raises(UserError, match=message):
        DemonstrationIndex(base, LetterCounts()).search([base[0]], count=1, own_label=True)


def test_balanced_base_has_as_many_of_each_label_as_of_the_rarest() -> None:
    base = [entry(n, f"text {n}", label) for n, label in enumerate(["sad"] * 9 + ["angry"] * 3 + ["neutral"] * 5)]
    chosen = balance_labels(base, ("sad", "angry", "neutral"), seed=1)
    assert Counter(one.label for one in chosen) == {"sad": 3, "angry": 3, "neutral": 3}
    assert chosen == sorted(chosen, key=base.index) == balance_labels(base, ("sad", "angry", "neutral"), seed=1)
    assert chosen != balance_labels(base, ("sad", "angry", "neutral"), seed=2)
    # Rows on disk hold what was drawn: who draws in another way makes them anew.
    assert [base.index(one) for one in chosen] == [0, 5, 8, 9, 10, 11, 12, 13, 14]
    with pytest.raises(UserError, match="label fear.*--domain_balance False"):
        balance_labels(base, ("sad", "fear"), seed=1)


def test_the_base_is_balanced_unless_it_is_not_wanted() -> None:
    train = [entry(number, f"text {number}", label) for number, label in enumerate(["sad", "sad", "sad", "angry"])]
    entries = {"train": train, "test": [entry(9, "text", dialogue="test/d9")]}
    find = lambda **options: find_demonstrations(  # noqa: E731
        ("sad", "angry"), entries, RetrievalSettings("letters", 3, **options), LetterCounts()
    )
    assert len(find(balance=False)[0]["test"]["sample/d9/0"]) == 3
    with pytest.raises(UserError, match=": [12] training utterances may demonstrate it, 3 are asked"):
        find()


# Pairing


@pytest.mark.parametrize("pairing", ["paper", "all"])
def test_every_demonstration_is_from_train_and_paper_pairs_labels_there_alone(pairing: str) -> None:
    dialogues = load_dialogues("sample", SAMPLE)
    retrieval = RetrievalSettings("letters", count=2, pairing=pairing)
    found, described = find_demonstrations(LABELS, entries_of_splits(dialogues), retrieval, LetterCounts())
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


def test_unlabelled_utterances_can_be_queries() -> None:
    """As those of somebody's own dialogues are; an utterance of a corpus that has no label is no entry."""
    train = (Dialogue("a", tuple(Utterance(0, f"text {label}", label) for label in (*LABELS, None))),)
    entries = entries_of_splits({"train": (*train, Dialogue("c", train[0].utterances)), "valid": (), "test": ()})
    assert len(entries["train"]) == 2 * len(LABELS)
    entries["test"] = [Entry("sample/b/0", "test/b", "text sad", None)]
    found, _ = find_demonstrations(LABELS, entries, RetrievalSettings("letters"), LetterCounts())
    assert found["test"]["sample/b/0"][0].entry.label == "sad"


def test_what_the_nearest_matches_give_away() -> None:
    queries = {"a": entry(7, "OH ", "sad"), "b": entry(8, "no", "angry"), "c": entry(9, "So", "fear")}
    found = {
        "a": [Match(entry(1, "oh", "sad"), 1.0), Match(entry(2, "x", "angry"), 0.1)],
        "b": [Match(entry(3, "yes", "sad"), 0.25)],
        "c": [Match(entry(4, "Hm", "angry"), 0.5)],
    }
    expected = {"label_agreement": 0.3333, "identical_text": 0.3333, "mean_similarity": 0.5833}
    assert describe_matches(queries, found) == expected and describe_matches({}, {}) == {}


# Prompts and rows

TURNS = [Utterance(0, "One.", "sad"), Utterance(1, f'Two ### "x" {ROLE}', "sad"), Utterance(0, "Three.", "sad")]


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


def test_a_folder_is_named_after_what_differs_from_the_default() -> None:
    assert RetrievalSettings("some/All MiniLM.L6-v2").folder_suffix == "demonstrations_all_All-MiniLM.L6-v2"
    others = RetrievalSettings("letters", 3, "paper", "role", balance=False, exclude_identical=True, seed=7)
    assert others.folder_suffix == "demonstrations_paper_top_3_role_unbalanced_distinct_seed_7_letters"


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
