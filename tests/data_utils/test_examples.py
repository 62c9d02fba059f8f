"""Dialogues -> rows: which rows, in which order, equal to the released ones; files that read back."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from basics.errors import UserError
from data_utils.dialogues import Dialogue, Utterance, load_dialogues
from data_utils.examples import RowSettings, build_examples, render_window, window_start
from data_utils.labels import DATASETS, SPLITS
from data_utils.row_files import Example, read_manifest, read_rows, write_rows
from data_utils.texts import digest_texts, list_seen

ROW = Example("sample/a/0", "emotion_recognition", "a prompt", "neutral")
DATASETS_WITH_GOLD = ("iemocap", "meld", "EmoryNLP")
# Name of the gold variants -> how this project names the same rows.
GOLD_VARIANTS = {
    "window_12": {"kind": "window", "historical_window": 12},
    "predict_12": {"kind": "predict", "historical_window": 12},
    "speaker": {"kind": "speaker"},
    "plain": {"kind": "plain"},
}


def make_dialogue(turns: int) -> Dialogue:
    return Dialogue("a", tuple(Utterance(turn % 2, f"text {turn}", "sad") for turn in range(turns)))


def make_rows(turns: int, **options: object) -> list[Example]:
    settings = RowSettings(dataset="sample", **options)
    return build_examples(settings, {"train": [make_dialogue(turns)], "valid": [], "test": []})["train"]


def test_where_nothing_stands_before_an_utterance_its_emotion_is_not_predicted() -> None:
    assert len(make_rows(1)) == 1
    with pytest.raises(UserError, match="^--emotion_prediction True: no utterance of sample's train with a label has"):
        make_rows(1, kind="predict")


# The released rows


@pytest.fixture(scope="session")
def published_rows(original_data: Path) -> Callable[[str, str, str, str], list[Example]]:
    """(dataset, gold variant, split, task) -> rows, each corpus read once."""
    corpora = {name: load_dialogues(name, original_data) for name in DATASETS_WITH_GOLD}
    built: dict[tuple[str, str], dict[str, list[Example]]] = {}

    def select(dataset: str, variant: str, split: str, task: str) -> list[Example]:
        if (dataset, variant) not in built:
            settings = RowSettings(dataset, **GOLD_VARIANTS[variant])
            built[dataset, variant] = build_examples(settings, corpora[dataset])
        return [row for row in built[dataset, variant][split] if row.task == task]

    return select


@pytest.mark.real_data
def test_all_gold_digests(gold: Path, published_rows: Callable[..., list[Example]]) -> None:
    expected = json.loads((gold / "prompt_digests.json").read_text(encoding="utf-8"))
    found = {}
    for key in expected:
        rows = published_rows(*key.split("/"))
        content = "".join(f"{row.input}\x1f{row.target}\n" for row in rows)
        found[key] = hashlib.sha256(content.encode("utf-8")).hexdigest()
    assert len(found) >= 20
    assert found == expected


@pytest.mark.real_data
def test_all_gold_rows(gold: Path, published_rows: Callable[..., list[Example]]) -> None:
    lines = (gold / "prompt_examples.jsonl").read_text(encoding="utf-8").removesuffix("\n").split("\n")
    for expected in map(json.loads, lines):
        names = [expected[key] for key in ("dataset", "variant", "split", "task")]
        row = published_rows(*names)[expected["row"]]
        assert (row.input, row.target) == (expected["input"], expected["target"]), names


@pytest.mark.real_data
@pytest.mark.parametrize(("dataset", "seen"), [("iemocap", 284), ("meld", 328), ("EmoryNLP", 168)])
def test_utterances_seen_in_train(original_data: Path, dataset: str, seen: int) -> None:
    dialogues = load_dialogues(dataset, original_data)
    trained, scored = (digest_texts(dataset, dialogues[split]) for split in ("train", "test"))
    ids = list_seen(scored, set(trained.values()))
    assert (len(ids), len(set(ids))) == (seen, seen)
    settings = RowSettings(dataset)
    assert set(ids) <= {row.id for row in build_examples(settings, dialogues)["test"]}


# Which rows


def test_one_main_row_per_turn_with_its_id() -> None:
    rows = make_rows(3)
    assert [(row.id, row.task, row.target) for row in rows] == [
        (f"sample/a/{turn}", "emotion_recognition", "sad") for turn in range(3)
    ]


@pytest.mark.parametrize("window", [0, 1, 5])
def test_window_counts_the_turns_before_the_target(window: int) -> None:
    for turn, row in enumerate(make_rows(8, historical_window=window)):
        history = row.input.split(" ### ")[1]
        assert history.count("Speaker_") == min(turn, window) + 1
        assert history.endswith(f'"text {turn}"')


def test_a_window_that_moves_by_steps() -> None:
    """Written down by hand: window 2, start moving every three turns, so that 2 to 4 turns stand before the target."""
    starts = [0, 0, 0, 0, 0, 3, 3, 3, 6, 6]
    assert [window_start(turn, 2, 3) for turn in range(10)] == starts
    for kind in ("window", "predict"):
        rows = make_rows(10, kind=kind, historical_window=2, window_step=3)
        for row in rows:
            turn = int(row.id.rsplit("/", 1)[1])
            asks_next = row.task == "emotion_prediction" and turn > 0
            shown = [f'"text {one}"' for one in range(starts[turn], turn + (not asks_next))]
            history = row.input.split(" ### ", 1)[1].split("###")[0].strip()
            assert [one.split(":")[1] for one in history.split("\t ") if one] == shown
    turns = make_dialogue(10).utterances[:8]
    assert (
        render_window(turns, 2, DATASETS["sample"].labels, 3)
        == make_rows(8, historical_window=2, window_step=3)[7].input
    )


def test_compact_rows_begin_with_one_another() -> None:
    rows = make_rows(6, prompt="compact", historical_window=2, window_step=3)
    plain = make_rows(6, historical_window=2, window_step=3)
    assert [(row.id, row.task, row.target) for row in rows] == [(row.id, row.task, row.target) for row in plain]
    for row, before, shown in zip(rows[1:], rows, plain[1:], strict=False):
        shares = row.input.startswith(before.input.removesuffix(" Emotion:"))
        assert shares == (not row.id.endswith("/5"))  # where the window moves
        history = shown.input.split(" ### ")[1]
        assert row.input.endswith(f">:{history} Emotion:")


def test_compact_rows_of_prediction_begin_with_the_turn_before() -> None:
    rows = make_rows(6, kind="predict", prompt="compact", historical_window=2, window_step=3)
    recognition, prediction = rows[::2], rows[1::2]
    assert prediction[0].input == recognition[0].input  # nothing stands before it
    for before, row in zip(recognition[:4], prediction[1:5], strict=True):
        assert row.input == f"{before.input.removesuffix(' Emotion:')} Next emotion, of Speaker_{int(row.id[-1]) % 2}:"


def test_six_turns_share_one_start() -> None:
    """As in the review: 12 to 17 turns before the target; step 1 is the plain window."""
    before = [turn - window_start(turn, 12, 6) for turn in range(40)]
    assert before[:19] == [*range(18), 12] and before[18:36] == [*range(12, 18)] * 3
    assert [window_start(turn, 12) for turn in range(40)] == [max(0, turn - 12) for turn in range(40)]
    assert [window_start(turn, 0, 6) for turn in (0, 5, 6, 11, 12)] == [0, 0, 6, 6, 12]


def test_prediction_rows_stand_in_train_only_beside_their_main_row() -> None:
    settings = RowSettings("sample", kind="predict", historical_window=2)
    splits = build_examples(settings, {split: [make_dialogue(4)] for split in SPLITS})
    train = splits["train"]
    assert [row.task for row in train] == ["emotion_recognition", "emotion_prediction"] * 4
    assert [row.id for row in train[::2]] == [row.id for row in train[1::2]]
    assert {row.task for row in splits["valid"] + splits["test"]} == {"emotion_recognition"}
    # At turn 0 there is nothing to predict from.
    assert train[1].input == train[0].input
    assert '"text 0"\t Speaker_1:"text 1"###Based' in train[5].input and "by <0>," in train[5].input
    assert '"text 0"' not in train[7].input


def test_speaker_rows() -> None:
    rows = make_rows(2, kind="speaker")
    assert [(row.task, row.target) for row in rows] == [
        ("speaker_identification", "Speaker_0"),
        ("speaker_identification", "Speaker_1"),
    ]
    assert rows[0].input.endswith("Speaker_7, Speaker_8>:")


def test_gold_emotions_of_other_turns_never_stand_in_a_prompt() -> None:
    utterances = (Utterance(0, "one", "joyful"), Utterance(1, "two", "fear"))
    corpus = {"train": [Dialogue("a", utterances)], "valid": [], "test": []}
    for kind in ("window", "predict", "speaker", "plain"):
        for row in build_examples(RowSettings("sample", kind=kind), corpus)["train"]:
            question = row.input.rsplit(" from <", 1)[0]
            assert not any(label in question for label in DATASETS["sample"].labels)


def test_a_window_is_rendered_without_labels() -> None:
    """One's own dialogue has none; the prompt is the one that training saw."""
    unlabelled = tuple(Utterance(turn % 2, f"text {turn}", None) for turn in range(5))
    prompt = render_window(unlabelled, 2, DATASETS["sample"].labels)
    assert prompt == make_rows(5, historical_window=2)[4].input


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({}, "window"),
        ({"historical_window": 5}, "window_5"),
        ({"kind": "predict"}, "predict"),
        ({"kind": "predict", "historical_window": 5, "clean_text": True}, "predict_5_clean"),
        ({"window_step": 6}, "window_step_6"),
        ({"kind": "predict", "historical_window": 5, "window_step": 6, "clean_text": True}, "predict_5_step_6_clean"),
        ({"prompt": "compact"}, "window_compact"),
        ({"historical_window": 5, "window_step": 6, "prompt": "compact"}, "window_5_step_6_compact"),
        ({"kind": "speaker", "historical_window": 0}, "speaker"),
        ({"kind": "plain", "historical_window": 0, "clean_text": True}, "plain_clean"),
    ],
)
def test_folder_names(options: dict[str, object], name: str) -> None:
    assert RowSettings("sample", **options).folder_name == name


# Files


def test_rows_read_back_whatever_the_text(tmp_path: Path) -> None:
    texts = ["\x85\x92 \u2028 \r\n\t", '"quoted"', "語", "\\u0041"]
    rows = [Example(f"sample/a/{turn}", ROW.task, text + ".", "neutral") for turn, text in enumerate(texts)]
    path = tmp_path / "train.json"
    write_rows(path, rows)
    assert read_rows(path) == rows
    assert "語" in path.read_text(encoding="utf-8")
    assert [set(json.loads(line)) for line in path.read_bytes().splitlines()] == [{"id", "task", "input", "target"}] * 4


@pytest.mark.slow
def test_rows_are_readable_by_datasets(tmp_path: Path) -> None:
    import datasets  # slow to import, and nothing else needs it

    rows = [ROW, Example("sample/a/1", ROW.task, "a\x85b\u2028c", "sad")]
    write_rows(tmp_path / "train.json", rows)
    loaded = datasets.load_dataset(
        "json", data_files=str(tmp_path / "train.json"), split="train", cache_dir=str(tmp_path / "cache")
    )
    assert [Example(**row) for row in loaded] == rows


GOOD_LINE = json.dumps({name: value for name, value in vars(ROW).items() if value})
BAD_LINES = {
    "{": "line 2: not a row",
    "": "line 2: not a row",
    "[1]": "holds a list",
    '{"id": "x"}': "holds id",
    GOOD_LINE[:-1] + ', "extra": "x"}': "holds extra, id, input, target, task",
    GOOD_LINE.replace('"neutral"', "3"): "target is empty or no text",
    GOOD_LINE.replace('"neutral"', '" "'): "target is empty or no text",
    GOOD_LINE.replace("emotion_recognition", "guessing"): "task is 'guessing'",
    GOOD_LINE.replace("sample/a/0", "sample/0"): "id is 'sample/0'",
    GOOD_LINE.replace("sample/a/0", "sample/a/x"): "id is 'sample/a/x'",
    GOOD_LINE.replace("sample/a/0", "sample//0"): "id is 'sample//0'",
    GOOD_LINE[:-1] + ', "demonstrations": [{"id": "x"}]}': "demonstrations are no list of id, label and similarity",
    "\udcff": "line 2: not a row",
}


@pytest.mark.parametrize("line", BAD_LINES)
def test_a_bad_row_is_named_by_file_and_line(tmp_path: Path, line: str) -> None:
    path = tmp_path / "test.json"
    path.write_bytes(f"{GOOD_LINE}\n{line}\n{GOOD_LINE}\n".encode(errors="surrogateescape"))
    with pytest.raises(UserError) as caught:
        read_rows(path)
    message = str(caught.value)
    assert f"{path} line 2" in message and BAD_LINES[line] in message and "allowed" in message


def test_missing_files_are_one_line(tmp_path: Path) -> None:
    for read in (lambda: read_rows(tmp_path / "train.json"), lambda: read_manifest(tmp_path)):
        with pytest.raises(UserError, match="data_process.py writes it"):
            read()
    (tmp_path / "manifest.json").write_text("[]", encoding="utf-8")
    with pytest.raises(UserError, match="holds a list"):
        read_manifest(tmp_path)


MANIFEST = {"dataset": "sample", "labels": ["sad"], "sha256": {"train.json": "0"}}


@pytest.mark.parametrize(
    ("key", "value"),
    [("dataset", 1), ("labels", "sad"), ("labels", []), ("labels", [1]), ("sha256", []), ("sha256", {})],
)
def test_a_manifest_lacks_nothing_that_a_run_reads(tmp_path: Path, key: str, value: object) -> None:
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps(MANIFEST), encoding="utf-8")
    assert read_manifest(tmp_path) == MANIFEST
    path.write_text(json.dumps(MANIFEST | {key: value}), encoding="utf-8")
    with pytest.raises(UserError, match=f"{key} missing or of the wrong kind.*writes it anew"):
        read_manifest(tmp_path)
    path.write_text(json.dumps({name: value for name, value in MANIFEST.items() if name != key}), encoding="utf-8")
    with pytest.raises(UserError, match=f"{key} missing"):
        read_manifest(tmp_path)


def test_an_empty_file_has_no_rows(tmp_path: Path) -> None:
    write_rows(tmp_path / "valid.json", [])
    assert read_rows(tmp_path / "valid.json") == []
