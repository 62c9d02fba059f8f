"""A corpus of one's own: found by name, read from any form that has emotions, refused in one line, told in words."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from basics.errors import UserError
from commands import REPOSITORY, SHARED
from corpora import COLUMNS, SAID, SPEAKERS, rows_of, write_own_corpus, write_table
from data_utils.corpora import places
from data_utils.corpora.description import Description
from data_utils.corpora.files import WORDS
from data_utils.corpora.places import find_corpus, list_own, remember
from data_utils.corpora.reading import describe, read_corpus
from data_utils.corpora.registry import find_dataset, record_own, recorded_own
from data_utils.dialogues import load_dialogues
from data_utils.labels import DATASETS, SPLITS, UNIFIED_PROMPT_LABELS

LABELS = tuple(SAID)


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return write_own_corpus(tmp_path / "mine")


@pytest.fixture
def original(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that ERC_ORIGINAL_DATA points to."""
    folder = tmp_path / "original"
    folder.mkdir()
    monkeypatch.setenv("ERC_ORIGINAL_DATA", str(folder))
    return folder


def refusal(path: Path) -> str:
    """The one line that a corpus is refused with; it names the corpus."""
    with pytest.raises(UserError) as caught:
        read_corpus(path)
    message = str(caught.value)
    assert "\n" not in message and str(path) in message, message
    return message


def test_the_worked_example_is_the_sample() -> None:
    folder = REPOSITORY / "original_data"
    assert load_dialogues("sample_csv", folder) == load_dialogues("sample", folder)
    own, sample = find_dataset("sample_csv", folder), DATASETS["sample"]
    for name in ("labels", "unified_labels", "neutral", "metric"):
        assert getattr(own, name) == getattr(sample, name)
    assert own.licence == "CC0 1.0" and own.slots == ()


def test_the_page_names_every_key_and_every_word_of_a_split() -> None:
    page = (REPOSITORY / "original_data" / "README.md").read_text("utf-8")
    keys = set(Description.__dataclass_fields__) - {"path", "lines"}
    assert keys and all(f"| `{key}` |" in page for key in keys)
    assert "; ".join(", ".join(words) for words in WORDS.values()) in page
    assert ", ".join(UNIFIED_PROMPT_LABELS) in page


# Forms


def as_json(rows: list, path: Path) -> None:
    named: dict[str, list] = {}
    for dialogue, speaker, text, label in rows:
        named.setdefault(dialogue, []).append({"speaker": speaker, "text": text, "emotion": label})
    path.write_text(json.dumps(named, indent=1), encoding="utf-8")


def as_lines(rows: list, path: Path) -> None:
    lines = (json.dumps(dict(zip(COLUMNS, row, strict=True))) for row in rows)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


FORMS: dict[str, Callable[[list, Path], object]] = {
    ".csv": lambda rows, path: write_table(path, rows),
    ".tsv": lambda rows, path: write_table(path, rows, separator="\t"),
    ".json": as_json,
    ".jsonl": as_lines,
}


@pytest.mark.parametrize("suffix", FORMS)
def test_every_form_gives_the_same_corpus(suffix: str, corpus: Path, tmp_path: Path) -> None:
    other = tmp_path / "other" / "mine"
    other.mkdir(parents=True)
    for split, name, count in (("train", "my-training", 12), ("valid", "dev_sent_emo", 3), ("test", "Test", 3)):
        FORMS[suffix](rows_of(split, count), other / f"{name}{suffix}")
    (other / "corpus.yaml").write_text((corpus / "corpus.yaml").read_text("utf-8"), "utf-8")
    (other / "README.md").write_text("What this is.\n", "utf-8")
    assert load_dialogues("mine", other.parent) == load_dialogues("mine", corpus.parent)
    assert read_corpus(other).spec == read_corpus(corpus).spec


OF_MELD = {"joyful": "joy", "sad": "sadness", "angry": "anger"}


@pytest.mark.parametrize(("dataset", "folder", "ending"), [("meld", "MELD", ".csv"), ("EmoryNLP", "EmoryNLP", ".csv")])
def test_published_files_are_read_as_their_owners_give_them(
    dataset: str, folder: str, ending: str, tmp_path: Path
) -> None:
    """They have the counts of the pickles, label by label."""
    files = list((SHARED / "corpora_files" / folder).glob(f"*{ending}"))
    if not files:
        pytest.skip("no corpora files beside this checkout")
    for path in files:
        (tmp_path / path.name).symlink_to(path)
    (tmp_path / "corpus.yaml").write_text("name: published", "utf-8")
    spec, found = DATASETS[dataset], read_corpus(tmp_path).splits
    for split, expected in spec.expected.items():
        counts = Counter(turn.emotion for one in found[split] for turn in one.turns)
        own = [OF_MELD.get(label, label) if dataset == "meld" else label for label in spec.labels]
        assert (len(found[split]), tuple(counts[label] for label in own)) == (expected.dialogues, expected.per_label)


def test_labels_speakers_and_neutral_are_as_described(corpus: Path) -> None:
    found = read_corpus(corpus)
    assert (found.spec.labels, found.spec.neutral, found.spec.metric) == (LABELS, "calm", "weighted_f1")
    assert found.spec.unified == ("powerful", "neutral", "joyful", "sad", "mad") and found.spec.licence == "made up"
    numbers = {turn.speaker: turn.number for of in found.splits.values() for one in of for turn in one.turns}
    assert found.spec.speakers == 12 and sorted(numbers) == sorted(SPEAKERS) and set(numbers.values()) == {*range(12)}
    (corpus / "corpus.yaml").write_text(
        "labels: [rage, glee, calm, awe, gloom]\nmetric: micro_f1_without_neutral\nneutral: calm"
    )
    again = read_corpus(corpus).spec
    assert again.labels == ("rage", "glee", "calm", "awe", "gloom") and again.metric == "micro_f1_without_calm"
    assert again.speakers == 3 and again.unified == ()  # in order of appearance in each dialogue


def test_a_manifest_tells_all_that_a_run_needs(corpus: Path) -> None:
    spec = read_corpus(corpus).spec
    recorded = json.loads(json.dumps(record_own({"sample": DATASETS["sample"], spec.name: spec})))
    assert recorded_own(recorded) == {"mine": spec}
    assert record_own(DATASETS) == {} and recorded_own({"dataset": "sample"}) == {}


# One file


def test_one_file_is_split_by_dialogue(tmp_path: Path) -> None:
    path = write_table(tmp_path / "mine.csv", rows_of("d", 20))
    found = read_corpus(path)
    assert found.spec.name == "mine" and {split: len(of) for split, of in found.splits.items()} == {
        "train": 16,
        "valid": 2,
        "test": 2,
    }
    names = [one.name for split in SPLITS for one in found.splits[split]]
    assert sorted(names) == sorted(f"d{number}" for number in range(20))
    order = [int(one.name[1:]) for one in found.splits["train"]]
    assert order == sorted(order) != list(range(16))
    told = "mine.csv is split by dialogue with seed 42 (train 80%, valid 10%, test 10%)"
    assert any(line.startswith(told) for line in describe(found))


def test_shares_and_seed_of_a_split_are_said_in_the_description(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    write_table(folder / "all.csv", rows_of("d", 20))
    parts = {}
    for seed in (1, 2, 1):
        split = f"split: {{train: 0.5, valid: 0.2, test: 0.3, seed: {seed}}}"
        (folder / "corpus.yaml").write_text(split, "utf-8")
        found = read_corpus(folder).splits
        assert [len(found[name]) for name in SPLITS] == [10, 4, 6]
        assert parts.setdefault(seed, found) == found
    assert parts[1] != parts[2]


# What is said


def test_sizes_and_shares_are_told(corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (corpus / "corpus.yaml").unlink()
    load_dialogues("mine", corpus.parent)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("mine: 5 labels, scored by weighted_f1, 3 speakers; without unified labels")
    shares = ", ".join(f"{label} 12 (20.0%)" for label in LABELS)
    assert lines[1] == f"train: 12 dialogues, 60 utterances: {shares}"
    assert lines[4].startswith(f"labels found in train.csv, in the order of the alphabet: {', '.join(LABELS)}")
    assert len(lines) == 5


def test_what_can_hardly_be_learned_is_told(corpus: Path) -> None:
    rows = [row for row in rows_of("train", 12) if row[3] != "rage" or row[0] == "train4"]
    write_table(corpus / "train.csv", rows)
    write_table(corpus / "test.csv", [row for row in rows_of("test", 3) if row[3] != "awe"])
    (corpus / "corpus.yaml").write_text("labels: [awe, calm, glee, gloom, rage, envy]", "utf-8")
    assert [line for line in describe(read_corpus(corpus)) if line.startswith("warning")] == [
        "warning: test has no 'awe', of which train has 12",
        "warning: in train 'rage' stands in one dialogue only, 'train4'",
        "warning: train has no 'envy', so it cannot be learned",
    ]


def test_dialogues_that_are_numbered_anew_in_each_file_are_told_apart(corpus: Path) -> None:
    for split, count in (("train", 12), ("valid", 3), ("test", 3)):
        write_table(corpus / f"{split}.csv", [(row[0].removeprefix(split), *row[1:]) for row in rows_of(split, count)])
    found = read_corpus(corpus)
    assert [one.name for one in found.splits["valid"]] == ["valid_0", "valid_1", "valid_2"]
    assert any(
        "names of dialogues stand in two splits for different dialogues ('0' in train" in line for line in found.remarks
    )


# Refusals


def test_an_unknown_label_names_file_line_and_the_labels(corpus: Path) -> None:
    rows = rows_of("valid", 3)
    rows[6] = (*rows[6][:3], "angr")
    rows[9] = (*rows[9][:3], "Calm")
    write_table(corpus / "valid.csv", rows)
    told = f"valid.csv line 8: the emotion 'angr' is no label, allowed are {', '.join(LABELS)} (and 1 more)"
    assert refusal(corpus) == f"{corpus}/{told}"


def edit(name: str, change: Callable[[list], object], columns: tuple[str, ...] = COLUMNS) -> Callable[[Path], object]:
    """Writes a split's table anew, its rows changed."""
    return lambda folder: write_table(folder / f"{name}.csv", change(rows_of(name, 3)), columns)


def text(name: str, content: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_text(content, "utf-8")


def only(*rows: tuple[str, ...]) -> Callable[[Path], object]:
    def make(folder: Path) -> None:
        for path in folder.iterdir():
            path.unlink()
        write_table(folder / "all.csv", rows)

    return make


TURN = ("d", "Ann", "Hello.")
REFUSALS: dict[str, tuple[Callable[[Path], object], str]] = {
    "no emotions": (
        edit("test", lambda rows: [row[:3] for row in rows], COLUMNS[:3]),
        "test.csv line 2: no turn has an emotion, allowed is a label in the column or under the key emotion",
    ),
    "a turn without one": (
        edit("test", lambda rows: [*rows[:2], (*rows[2][:3], " "), *rows[3:]]),
        "test.csv line 4: turn 3 of dialogue test0 has no emotion",
    ),
    "a speaker without a name": (
        edit("test", lambda rows: [*rows[:2], (rows[2][0], "", *rows[2][2:]), *rows[3:]]),
        "test.csv, read as csv, line 4: the speaker is empty",
    ),
    "no speakers": (
        edit("test", lambda rows: [(row[0], *row[2:]) for row in rows], ("dialogue", "utterance", "emotion")),
        "test.csv, read as csv, line 1: the header names no speaker",
    ),
    "the same dialogue twice": (
        edit("test", lambda rows: [("train0", *row[1:]) for row in rows_of("train", 1)]),
        "test.csv line 2: dialogue 'train0' stands word for word in train.csv line 2 too",
    ),
    "no valid": (
        lambda folder: (folder / "valid.csv").unlink(),
        "holds train.csv, test.csv but no file of valid (named valid or",
    ),
    "two of one split": (text("train.jsonl", "{}"), "train.csv and train.jsonl are of one split"),
    "subtitles": (
        lambda folder: (folder / "test.csv").rename(folder / "test.srt"),
        "test.srt: is read as srt (editors, WhisperX, YouTube), which has no emotions, allowed in a corpus are",
    ),
    "nothing": (edit("test", lambda rows: []), "test.csv: holds no utterance"),
    "one dialogue to split": (only((*TURN, "calm")), "all.csv: holds 1 dialogue, allowed are 3 or more"),
    "one label": (
        only(*((f"d{number}", "Ann", "Hello.", "calm") for number in range(4))),
        "all.csv: its turns have 1 different emotions (calm), allowed are 2 to 40",
    ),
    "letter case alone": (
        only(*((f"d{number}", "Ann", "Hello.", ("calm", "Calm", "rage")[number % 3]) for number in range(6))),
        "all.csv: the labels 'Calm' (line 3) and 'calm' (line 2) differ by letter case alone",
    ),
    "a comma in a label": (
        only(*((f"d{number}", "Ann", "Hello.", ("calm", "sad, angry")[number % 2]) for number in range(6))),
        "all.csv line 3: the label 'sad, angry' has a comma",
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_what_cannot_be_is_refused(case: str, corpus: Path) -> None:
    spoil, told = REFUSALS[case]
    spoil(corpus)
    assert told in refusal(corpus)


# Content of corpus.yaml -> what is said of it, after the file's name.
DESCRIPTIONS = {
    "licence: mine\nlabel: [a, b]": " line 2: 'label' is not known, allowed are name, labels, neutral",
    "name: a\nname: b": " line 2: name stands there twice",
    "name: a\nlabels: [a": " line 2: cannot be read",
    "- a": " line 1: holds a list, allowed are keys",
    "labels: [calm, 1]": " line 1: labels: 1 is no text",
    "labels: calm": " line 1: labels: allowed is a list",
    "labels: [calm, Calm]": " line 1: labels: 'calm' stands there twice",
    "labels: [calm]": " line 1: labels: allowed are two labels or more",
    "labels: [calm, invalid]": " line 1: labels: the label 'invalid' stands for",
    "metric: f1": " line 1: metric: 'f1' is not allowed, allowed are weighted_f1, micro_f1_without_neutral",
    "metric: micro_f1_without_neutral": " line 1: metric: micro_f1_without_neutral needs a neutral label",
    "neutral: bored": " line 1: neutral: 'bored' is no label, allowed are awe, calm",
    "speakers: all": " line 1: speakers: 'all' is not allowed, allowed are dialogue, corpus",
    "unified: {awe: wow}": " line 1: unified: awe is 'wow', allowed are joyful, sad",
    "unified: {awe: fear}": " line 1: unified: calm, glee, gloom, rage has no unified label; unified labels are joyful",
    "neutral: calm\nmetric: micro_f1_without_neutral\n"
    "unified: {awe: powerful, calm: sad, glee: joyful, gloom: sad, rage: mad}": " line 3: unified: calm is the neutral",
    "split: {train: 0.5, valid: 0.2, test: 0.2}": " line 1: split: the shares add up to 0.9, allowed is 1",
    "split: {train: 1, valid: 0, test: 0}": " line 1: split: train is 1, allowed are three shares above 0",
    "split: {seed: one}": " line 1: split: seed is 'one', allowed is a whole number",
    "split: {seed: 3}": " line 1: split: only one file is split, and here are train, valid and test",
    "name: meld": " line 1: name: 'meld' is taken, allowed are up to 60 letters",
    "name: MELD": " line 1: name: 'MELD' is taken",
    "name: plain": " line 1: name: 'plain' is taken",
    "name: ../meld": " line 1: name: '../meld' is no name, allowed are up to 60",
}


@pytest.mark.parametrize("content", DESCRIPTIONS)
def test_a_bad_description_is_refused(content: str, corpus: Path) -> None:
    (corpus / "corpus.yaml").write_text(content, "utf-8")
    assert refusal(corpus).startswith(f"{corpus}/corpus.yaml{DESCRIPTIONS[content]}")


# Names


def test_a_corpus_is_remembered_by_its_name(corpus: Path, original: Path) -> None:
    assert find_corpus("mine") is None and "mine" not in list_own()
    link = remember(corpus, "mine")
    assert link == original / "mine" and link.resolve() == corpus and remember(corpus, "mine") == link
    assert find_corpus("mine") == link and "mine" in list_own() and find_dataset("mine").labels == LABELS
    other = write_own_corpus(corpus.parent / "other")
    with pytest.raises(UserError, match="another corpus is called mine"):
        remember(other, "mine")
    moved = corpus.rename(corpus.parent / "moved")
    assert find_corpus("mine") is None
    assert remember(moved, "mine") == link and link.resolve() == moved


def test_one_file_is_remembered_too(tmp_path: Path, original: Path) -> None:
    path = write_table(tmp_path / "one.csv", rows_of("d", 5))
    assert remember(path, "one") == original / "one.csv" and find_dataset("one").labels == LABELS


def test_where_links_cannot_be_made_the_corpus_can_be_moved(
    corpus: Path, original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder for links that may only be read: the repository's is next."""
    monkeypatch.setenv("ERC_ORIGINAL_DATA", str(tmp_path / "none"))
    monkeypatch.setattr(places, "find_repository", lambda: tmp_path / "checkout")
    with pytest.raises(UserError, match="cannot be written, allowed is a folder"):
        remember(corpus, "mine")
    (tmp_path / "checkout" / "original_data").mkdir(parents=True)
    assert remember(corpus, "mine") == tmp_path / "checkout" / "original_data" / "mine"


def test_an_unknown_name_lists_those_that_are_known(corpus: Path, original: Path) -> None:
    remember(corpus, "mine")
    with pytest.raises(UserError, match="unknown dataset 'mime', allowed are sample, .*corpora of your own: mine"):
        find_dataset("mime")
    (original / "yours").symlink_to(corpus)
    (corpus / "corpus.yaml").write_text("name: mine", "utf-8")
    with pytest.raises(UserError, match="is called mine in corpus.yaml"):
        find_dataset("yours")


def test_a_corpus_is_read_anew_once_a_file_of_it_changes(corpus: Path) -> None:
    first = read_corpus(corpus)
    assert read_corpus(corpus) is first
    write_table(corpus / "train.csv", rows_of("train", 13))
    assert len(read_corpus(corpus).splits["train"]) == 13
