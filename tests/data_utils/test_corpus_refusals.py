"""A corpus of one's own that cannot be: one line that names the file, the line where there is one, and what can."""

import fcntl
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from basics.errors import UserError
from corpora import COLUMNS, SAID, rows_of, write_own_corpus, write_table
from data_utils.corpora.places import remember
from data_utils.corpora.reading import BY_CHANCE, describe, read_corpus
from data_utils.labels import SPLITS
from dialogue_files import turns

LABELS = tuple(SAID)


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return write_own_corpus(tmp_path / "mine")


def refusal(path: Path) -> str:
    """The one line that a corpus is refused with; it names the corpus."""
    with pytest.raises(UserError) as caught:
        read_corpus(path)
    message = str(caught.value)
    assert "\n" not in message and str(path) in message, message
    return message


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


def only_json(*emotions: object) -> Callable[[Path], object]:
    """A dialogue for each, on a line of its own."""
    said = [
        {"dialogue": number, "speaker": "Ann", "text": "Hi.", "emotion": one} for number, one in enumerate(emotions)
    ]

    def make(folder: Path) -> None:
        for path in folder.iterdir():
            path.unlink()
        (folder / "all.json").write_text("[" + ",\n".join(map(json.dumps, said)) + "]", "utf-8")

    return make


TURN = ("d", "Ann", "Hello.")
REFUSALS: dict[str, tuple[Callable[[Path], object], str]] = {
    "no emotions": (
        edit("test", lambda rows: [row[:3] for row in rows], COLUMNS[:3]),
        "test.csv line 1: the header names no emotion (it names dialogue, speaker, utterance), name the columns so: "
        "emotion: emotion, emotion_label, label",
    ),
    "emotions under another name": (
        edit("test", lambda rows: rows, (*COLUMNS[:3], "feeling")),
        "test.csv line 1: the header names no emotion (it names dialogue, speaker, utterance, feeling), name the",
    ),
    "emotions under another name, as EmoryNLP": (
        text("test.csv", "Utterance,Speaker,Season,Episode,Scene_ID,Feeling\na,Ann,1,1,1,joy\n"),
        "test.csv line 1: the header names no emotion (it names Utterance, Speaker, Season, Episode, Scene_ID, Feel",
    ),
    "no emotion in the column": (
        edit("test", lambda rows: [(*row[:3], " ") for row in rows]),
        "test.csv line 2: no turn has an emotion, allowed is a label in the column or under the key emotion",
    ),
    "no emotion in JSON": (
        only_json(None, None, None),
        "all.json line 1: no turn has an emotion, allowed is a label in the column or under the key emotion (or emoti",
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
    "the same dialogue in valid and test, another of its name in train": (
        lambda folder: [
            write_table(
                folder / f"{split}.csv", [*rows_of(split, 3), *(("train0", *row[1:]) for row in rows_of("other", 1))]
            )
            for split in ("valid", "test")
        ],
        "test.csv line 17: dialogue 'train0' stands word for word in valid.csv line 17 too",
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
    "JSON in a file of text": (
        lambda folder: (folder / "test.csv").unlink() or (folder / "test.txt").write_text('[{"speaker": "Ann"}]'),
        "test.txt: it holds JSON, allowed is text of 'Name: utterance' lines: put it into a file .json, or .jsonl",
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
    "what nobody sees in a label": (
        only(*((f"d{number}", "Ann", "Hello.", ("calm", "sa\ad")[number % 2]) for number in range(6))),
        "all.csv line 3: the label 'sa\\x07d' has a comma, < or >, as prompts have around labels, or what cannot be",
    ),
    "two labels in a list": (
        only_json("calm", "rage", ["calm"], ["sad", "angry"]),
        "all.json line 4: the label 'sad, angry' has a comma",
    ),
    "an encoding that cannot be": (
        lambda folder: (folder / "test.csv").write_bytes(b"speaker,utterance,emotion\nZo\xc3\xab,a,b\nZo\xeb,a,b\n"),
        "test.csv, read as csv, line 3: not UTF-8 text (invalid continuation byte), allowed is UTF-8: save it so ("
        "'CSV UTF-8' in a spreadsheet, 'encoding' in an editor's 'save as')",
    ),
    "another name for the description": (
        lambda folder: (folder / "corpus.yaml").rename(folder / "corpus.yml"),
        "corpus.yml: is not read, allowed for what it says of the corpus is corpus.yaml",
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
    message = refusal(corpus)
    assert told in message
    assert "--" not in message, "no flag of predict.py, which a corpus has not"


def test_a_dialogue_that_comes_back_after_any_number_of_others_is_refused(
    corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two of its rows would have one id."""
    monkeypatch.setattr(turns, "NAMES_REMEMBERED", 2)
    write_table(corpus / "train.csv", [*rows_of("train", 5), *rows_of("train", 1)])
    told = "train.csv line 27: dialogue 'train0' begins a second time, allowed are turns that stand together"
    assert refusal(corpus) == f"{corpus}/{told}"


@pytest.mark.parametrize("length", [1, BY_CHANCE, BY_CHANCE + 1])
def test_short_dialogues_of_a_number_may_have_the_same_words(length: int, tmp_path: Path) -> None:
    """In JSON Lines the first dialogue of each file is called 1, which says nothing of what is said there."""
    folder = tmp_path / "chats"
    folder.mkdir()
    for split, count in (("train", 12), ("valid", 3), ("test", 3)):
        said = [[] for _ in range(count)]
        for row in rows_of(split, count):
            said[int(row[0].removeprefix(split))].append(dict(zip(COLUMNS[1:], row[1:], strict=True)))
        if split != "valid":
            said[0] = [{"speaker": "Ann", "utterance": f"Hi {turn}", "emotion": "awe"} for turn in range(length)]
        (folder / f"{split}.jsonl").write_text("\n".join(map(json.dumps, said)), "utf-8")
    if length > BY_CHANCE:
        with pytest.raises(UserError, match=r"test\.jsonl line 1: dialogue '1' stands word for word in train\.jsonl"):
            read_corpus(folder)
        return
    found = read_corpus(folder)
    assert [found.splits[split][0].name for split in SPLITS] == ["train_1", "valid_1", "test_1"]
    (told,) = (line for line in describe(found) if "word for word" in line)
    assert told.startswith("warning: 1 of 3 dialogues of test stand word for word in an earlier split too: 'test_1'")


def test_a_train_without_history_is_told(corpus: Path) -> None:
    told = "warning: every dialogue of train is one utterance, so that no prompt shows any before it"
    assert not any(line.startswith(told) for line in read_corpus(corpus).remarks)
    write_table(corpus / "train.csv", [(f"d{place}", *row[1:]) for place, row in enumerate(rows_of("train", 12))])
    assert any(line.startswith(told) for line in read_corpus(corpus).remarks)


def test_cells_that_pandas_left_empty_are_no_label_and_numbers_are_told_of(corpus: Path) -> None:
    told = "warning: the labels are numbers (0, 1, 2, 3, 4), and prompts show them so"
    (corpus / "corpus.yaml").unlink()
    assert not any(line.startswith(told) for line in read_corpus(corpus).remarks)
    numbers = {label: str(number) for number, label in enumerate(LABELS)}
    for split in SPLITS:
        rows = [(*row[:3], numbers[row[3]]) for row in rows_of(split, 3)]
        write_table(
            corpus / f"{split}.csv",
            [*rows, *(("more", "Ann", f"To {split}!", cell) for cell in ("nan", "<NA>", "NaN"))],
        )
    found = read_corpus(corpus)
    assert found.spec.labels == tuple(numbers.values()) and any(line.startswith(told) for line in found.remarks)
    assert [turn.emotion for turn in found.splits["test"][-1].turns] == [None] * 3


def said_with(**more: str) -> list[dict[str, str]]:
    """Utterances of six dialogues."""
    names = ("dialogue", "speaker", "text", "emotion")
    return [
        dict(zip(names, (f"d{n}", "Ann", f"Hi {n}.", "joy" if n % 2 else "awe"), strict=True)) | more for n in range(6)
    ]


TURNS = said_with()
ALONE = [{"id": f"d{number}", "turns": [turn]} for number, turn in enumerate(TURNS)]


@pytest.mark.parametrize(
    ("name", "content", "line", "said"),
    [
        (
            "all.csv",
            "dialogue,speaker,text,emotion,Split\n" + "".join(f"{n},Ann,Hi {n}.,joy,train\n" for n in "abcd"),
            2,
            "Split",
        ),
        ("all.json", json.dumps(said_with(subset="train"), indent=1), 8, "subset"),
        ("all.jsonl", "\n".join(json.dumps(one | {"split": "test"}) for one in ALONE), 1, "split"),
        ("all.json", json.dumps({"train": TURNS[:3], "dev": TURNS[3:4], "test": TURNS[4:]}), 1, "train, dev, test"),
        ("all.json", json.dumps({"train": TURNS[:1], "valid": TURNS[1:2], "test": TURNS[2:]}), 1, "train, valid, test"),
        (
            "all.json",
            json.dumps({f"n{n}": one | {"split": "train"} for n, one in enumerate(ALONE)}, indent=1),
            13,
            "split",
        ),
    ],
)
def test_a_file_that_says_its_splits_is_not_drawn_anew_unasked(
    name: str, content: str, line: int, said: str, tmp_path: Path
) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / name).write_text(content, "utf-8")
    assert refusal(folder) == (
        f"{folder}/{name} line {line}: {said} says which split is which, and the splits of one file are drawn; "
        "allowed are a folder of three files, train, valid and test, or split in its corpus.yaml, which has them drawn "
        "all the same"
    )
    (folder / "corpus.yaml").write_text("split: {seed: 1}\nlabels: [joy, awe]", "utf-8")
    assert all(read_corpus(folder).splits.values())


def test_files_of_three_splits_may_say_so_and_a_dialogue_may_be_called_test(corpus: Path, tmp_path: Path) -> None:
    for split in SPLITS:
        rows = [(*row, split) for row in rows_of(split, 3)]
        write_table(corpus / f"{split}.csv", rows, (*COLUMNS, "split"))
    assert read_corpus(corpus).spec.name == "mine"
    (tmp_path / "others.json").write_text(json.dumps(said_with(subset="clean", partition="", split="")), "utf-8")
    assert sum(map(len, read_corpus(tmp_path / "others.json").splits.values())) == 6
    named = {name: [turn] for name, turn in zip(("test", *"abcde"), TURNS, strict=True)}
    (tmp_path / "all.json").write_text(json.dumps(named), "utf-8")
    assert sum(map(len, read_corpus(tmp_path / "all.json").splits.values())) == 6


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
    "yes: a": " line 1: the key 'yes' is no text, allowed is a text (in quotes",
    "licence: mine\n1: a": " line 2: the key '1' is no text",
    "unified: {yes: joyful}": " line 1: the key 'yes' is no text",
    "unified:\n  calm: sad\n  calm: neutral": " line 3: calm stands there twice, allowed is once",
    "<<: {name: a}": " line 1: the key '<<' is no text",
    "licence: 2001-13-45": ": cannot be read (month must be in 1..12), allowed is YAML in UTF-8",
    "licence: \x07": ": cannot be read (special characters are not allowed)",
    "labels: " + 1000 * "[": " line 1: cannot be read (nested too deeply), allowed is YAML in UTF-8",
    "labels: [calm, NaN]": " line 1: labels: the label 'NaN' is how tables write that there is none",
    "labels: [calm, Invalid]": " line 1: labels: the label 'invalid' stands for",
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


def test_of_two_corpora_of_a_name_at_once_one_is_remembered(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where both find a link to what is gone: the second does not take the first one's away."""
    original = tmp_path / "original"
    original.mkdir()
    monkeypatch.setenv("ERC_ORIGINAL_DATA", str(original))
    other, lock, remembered = tmp_path / "other" / "mine", fcntl.flock, []
    shutil.copytree(corpus, other)
    (original / "mine").symlink_to(tmp_path / "gone")

    def faster(descriptor: int, how: int) -> None:
        if not remembered:
            remembered.append(True)
            remember(other, "mine")
        lock(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", faster)
    with pytest.raises(UserError, match="another corpus is called mine"):
        remember(corpus, "mine")
    assert (original / "mine").resolve() == other.resolve()
