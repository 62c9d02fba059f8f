"""A corpus of one's own: found by name, read from any form that has emotions, refused in one line, told in words."""

import json
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from basics.errors import UserError
from commands import REPOSITORY, SHARED
from corpora import COLUMNS, SAID, SPEAKERS, TURNS, rows_of, write_own_corpus, write_table
from data_utils.corpora import places
from data_utils.corpora.description import Description
from data_utils.corpora.places import find_corpus, list_own, remember
from data_utils.corpora.reading import describe, read_corpus
from data_utils.corpora.registry import find_dataset, record_own, recorded_own
from data_utils.corpora.sizes import _count, has_small_train
from data_utils.dialogues import load_dialogues
from data_utils.examples import RowSettings
from data_utils.labels import DATASETS, SPLITS, UNIFIED_PROMPT_LABELS
from data_utils.prompts import drop_oldest_utterances
from data_utils.row_files import read_rows
from data_utils.row_folders import prepare_folder
from dialogue_files.readers.tables import SPLIT_WORDS

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
    assert "; ".join(", ".join(words) for words in SPLIT_WORDS.values()) in page
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
    assert any(line.startswith("speakers: corpus in corpus.yaml: a name is one person") for line in found.remarks)
    assert found.spec.speakers == 12 and sorted(numbers) == sorted(SPEAKERS) and set(numbers.values()) == {*range(12)}
    (corpus / "corpus.yaml").write_text(
        "labels: [rage, glee, calm, awe, gloom]\nmetric: micro_f1_without_neutral\nneutral: calm"
    )
    assert not any(line.startswith("speakers: ") for line in read_corpus(corpus).remarks)
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
        split = f"split: {{train: 0.5, valid: 0.225, test: 0.275, seed: {seed}}}"
        (folder / "corpus.yaml").write_text(split, "utf-8")
        corpus = read_corpus(folder)
        found = corpus.splits
        assert [len(found[name]) for name in SPLITS] == [10, 4, 6]
        told = f"all.csv is split by dialogue with seed {seed} (train 50%, valid 22.5%, test 27.5%), as corpus.yaml may"
        assert any(line.startswith(told) for line in describe(corpus))
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


def test_a_split_of_one_dialogue_is_told(corpus: Path) -> None:
    """Of one file it is the share that makes it so."""
    write_table(corpus / "test.csv", rows_of("test", 1))
    told = [line for line in describe(read_corpus(corpus)) if "is one dialogue" in line]
    assert told == [
        "warning: test is one dialogue of 5 turns; where it is several, a column or key dialogue tells them apart"
    ]
    told = [line for line in describe(read_corpus(corpus / "train.csv")) if "is one dialogue" in line]
    assert told == [
        f"warning: {name} is one dialogue of 5 turns, its share of 12; corpus.yaml may set another under split"
        for name in ("valid", "test")
    ]


def test_turns_that_do_not_stand_by_their_numbers_are_told(corpus: Path) -> None:
    rows = [(*row, turn) for row, turn in zip(rows_of("train", 12), [0, 1, 3, 2, 4] * 12, strict=True)]
    write_table(corpus / "train.csv", rows, (*COLUMNS, "turn"))
    (told,) = (line for line in describe(read_corpus(corpus)) if "order of the file" in line)
    assert told.startswith("train.csv: warning: line 5: 'turn' falls from 3 to 2 within a dialogue")


def test_a_dialogue_of_another_name_in_an_earlier_split_is_told(corpus: Path) -> None:
    again = [("elsewhere", *row[1:]) for row in rows_of("train", 1)]
    write_table(corpus / "test.csv", [*again, *rows_of("test", 3)])
    (told,) = (line for line in describe(read_corpus(corpus)) if "word for word" in line)
    assert told == (
        "warning: 1 of 4 dialogues of test stand word for word in an earlier split too: 'elsewhere' is 'train0'; "
        "scores there may be too high"
    )


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
    assert find_corpus("two") is None
    loud = write_table(original / "two.CSV", rows_of("d", 5))
    assert find_corpus("two") == remember(loud, "two") == loud and list_own(original) == ["one", "two"]


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


# What people's files are like


def test_labels_that_look_alike_are_one(corpus: Path) -> None:
    """By Unicode form, blanks and marks that show nothing; in the files and in corpus.yaml."""
    spelt = (
        "fro\N{COMBINING DIAERESIS}h  lich",
        "fr\N{LATIN SMALL LETTER O WITH DIAERESIS}h\N{NO-BREAK SPACE}lich\u200b ",
    )
    for split, count in (("train", 12), ("valid", 3), ("test", 3)):
        rows = [(*row[:3], spelt[split == "test"] if row[3] == "glee" else row[3]) for row in rows_of(split, count)]
        write_table(corpus / f"{split}.csv", rows)
    (corpus / "corpus.yaml").unlink()
    assert set(read_corpus(corpus).spec.labels) == {*LABELS, "fr\N{LATIN SMALL LETTER O WITH DIAERESIS}h lich"} - {
        "glee"
    }
    description = f'labels: [awe, calm, "{spelt[1]}", gloom, rage]\nneutral: {spelt[0]}\n'
    mapped = f'unified: {{awe: powerful, calm: neutral, "{spelt[0]}": joyful, gloom: sad, rage: mad}}\n'
    (corpus / "corpus.yaml").write_text(description + mapped, "utf-8")
    spec = read_corpus(corpus).spec
    assert spec.labels[2] == spec.neutral and spec.unified[2] == "joyful"


@pytest.mark.parametrize(
    ("encoding", "separator"), [("utf-8-sig", ","), ("utf-16", "\t"), ("cp1252", ";"), ("utf-8", "|")]
)
def test_tables_as_spreadsheets_write_them(encoding: str, separator: str, corpus: Path) -> None:
    known = load_dialogues("mine", corpus.parent)
    for split, count in (("train", 12), ("valid", 3), ("test", 3)):
        rows, path = [COLUMNS, *rows_of(split, count)], corpus / f"{split}.csv"
        text = "\r\n".join(separator.join(f'"{cell}"' for cell in row) for row in rows)
        path.write_bytes(text.replace('Person 1"', 'Jos\N{LATIN SMALL LETTER E WITH ACUTE}"').encode(encoding))
    found = read_corpus(corpus)
    assert load_dialogues("mine", corpus.parent) == known
    assert not any("--" in line for line in found.remarks), "nobody can give flags of predict.py here"


def test_odd_names_and_texts_go_through(corpus: Path, tmp_path: Path) -> None:
    """Colons in names, breaks and quotes in texts, slashes in the names of dialogues, a label that begins another."""
    rows = [
        (f"a/{row[0]}/b", f"Dr: {row[1]}", f'He said:\n"{row[2]}"\t### <x>', {"awe": "cal"}.get(row[3], row[3]))
        for row in rows_of("train", 12)
    ]
    for split, part in (("train", rows[:40]), ("valid", rows[40:50]), ("test", rows[50:])):
        write_table(corpus / f"{split}.csv", part)
    (corpus / "corpus.yaml").unlink()
    spec, found = read_corpus(corpus).spec, load_dialogues("mine", corpus.parent)
    assert spec.labels[:2] == ("cal", "calm")
    assert [one.text for one in found["train"][0].utterances] == [" ".join(row[2].split()) for row in rows[:5]]
    folder = prepare_folder(RowSettings("mine"), corpus.parent, tmp_path / "data")
    read = read_rows(folder / "test.json")
    assert [row.id for row in read[:2]] == ["mine/a/train10/b/0", "mine/a/train10/b/1"]
    assert drop_oldest_utterances(read[4].input, 4).count("Speaker_") == 2


def test_what_begins_with_a_dot_is_no_file_of_a_corpus(corpus: Path, original: Path) -> None:
    """As macOS leaves them beside what is copied to a stick, and editors while they are open."""
    for name in ("._train.csv", ".train.csv", "._corpus.yaml"):
        (corpus / name).write_bytes(b"\x00\x05\x16\x07")
    assert len(read_corpus(corpus).files) == 4
    (original / "empty").mkdir()
    (original / "empty" / "._train.csv").write_bytes(b"\x00")
    assert "empty" not in list_own()


def test_a_file_is_read_without_the_description_beside_it(corpus: Path) -> None:
    told = "corpus.yaml beside train.csv is of the folder, and not read: give the folder"
    assert any(line == told for line in read_corpus(corpus / "train.csv").remarks)


# Size


@pytest.mark.parametrize("has_charsets", [True, False])
def test_few_utterances_are_a_small_train(has_charsets: bool, original: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not has_charsets:
        monkeypatch.setitem(sys.modules, "charset_normalizer", None)
    monkeypatch.setitem(sys.modules, "yaml", None)
    _count.cache_clear()
    assert has_small_train("sample") and has_small_train("sample_csv") and not has_small_train("meld")
    write_own_corpus(original / "small")
    assert has_small_train("small")
    many = [(*row[:3], "" if place % TURNS == 0 else row[3]) for place, row in enumerate(rows_of("train", 500))]
    for name, rows in (("large", many), ("nearly", many[:-TURNS])):
        folder = write_own_corpus(original / name)
        write_table(folder / "train.csv", [("d", "Zo\N{LATIN SMALL LETTER E WITH DIAERESIS}", "Hi.", ""), *rows])
        text = (folder / "train.csv").read_text("utf-8")
        (folder / "train.csv").write_bytes(text.encode("cp1252"))
    assert not has_small_train("large") and has_small_train("nearly")
    write_table(original / "one.csv", rows_of("d", 500))
    write_table(original / "fewer.csv", rows_of("d", 499))
    assert not has_small_train("one") and has_small_train("fewer"), "four fifths of it are train"
    (original / "broken").mkdir()
    (original / "broken" / "train.csv").write_text("no header", "utf-8")
    assert not has_small_train("broken") and not has_small_train("nowhere")
