"""Whatever is written down in a format is read back, however the file is cut into blocks."""

import csv
import io
import json
from unittest.mock import patch

from hypothesis import assume, given
from hypothesis import strategies as st

from dialogue_files.names import UNSEEN, is_label, name_key
from dialogue_files.readers import json_stream as dialogue_json
from dialogue_files.reading import FORMATS, find_format
from dialogue_files.turns import LineError, ReadTurn, clean, number_turns

CHARACTERS = st.characters(exclude_categories=("Cs", "Cc"), include_characters="\t\r\n,\"'")
WORDS = st.text(CHARACTERS, min_size=1, max_size=30)
TEXTS = WORDS.filter(str.strip)
NAMES = TEXTS.filter(lambda name: not {":", "："} & set(name) and UNSEEN.sub("", name).strip())
# In text, brackets, stars, numbers before names and some words mean something.
PLAIN_NAMES = st.text(st.characters(categories=("L", "N", "Zs")), min_size=1, max_size=30).filter(
    lambda name: name.strip() and not is_label(name) and not name.split()[0].isdecimal()
)
TURNS = st.lists(st.tuples(NAMES, TEXTS), min_size=1, max_size=6)
PLAIN_DIALOGUES = st.lists(st.lists(st.tuples(PLAIN_NAMES, TEXTS), min_size=1, max_size=6), min_size=1, max_size=4)
DIALOGUES = st.lists(TURNS, min_size=1, max_size=4)


def cleaned(dialogues) -> list[tuple[int, str, str]]:
    found, shown = [], {}
    for part, turns in enumerate(dialogues):
        for name, text in turns:
            speaker = clean(name, "speaker", 100, 0)
            found.append((part, shown.setdefault(name_key(speaker), speaker), clean(text, "utterance", 100, 0)))
    return found


def read(name: str, content: str) -> list[tuple[int, str, str]]:
    turns = number_turns(FORMATS[name].read(io.BytesIO(content.encode("utf-8"))))
    return [(one.part, one.speaker, one.text) for one in turns]


def read_named(content: bytes) -> list[tuple[str, str]]:
    return [(one.dialogue, one.speaker) for one in number_turns(FORMATS["json"].read(io.BytesIO(content)))]


@given(DIALOGUES, st.integers(1, 40), st.sampled_from([None, 1]))
def test_json(dialogues, block: int, indent: int | None) -> None:
    objects = [{"turns": [{"speaker": name, "text": text} for name, text in turns]} for turns in dialogues]
    with patch.object(dialogue_json, "BLOCK", block):
        assert read("json", json.dumps(objects, indent=indent)) == cleaned(dialogues)
    assert read("jsonl", "\n".join(map(json.dumps, objects))) == cleaned(dialogues)


def test_numbers_and_letters_are_read_to_their_ends_wherever_the_file_is_cut() -> None:
    content = '{"id": 12345, "turns": [{"speaker": "Zoë", "text": "a"}]}'.encode()
    for block in range(1, len(content)):
        with patch.object(dialogue_json, "BLOCK", block):
            assert read_named(content) == [("12345", "Zoë")]


@given(DIALOGUES, st.sampled_from([("csv", ","), ("csv", ";"), ("tsv", "\t")]), st.booleans())
def test_tables(dialogues, form: tuple[str, str], all_quoted: bool) -> None:
    name, separator = form
    # Where a cell goes over lines that look like rows, quotes may be characters: nobody can tell.
    assume(
        all_quoted or not any("\t" in cell and "\n" in cell for turns in dialogues for turn in turns for cell in turn)
    )
    text = io.StringIO()
    writer = csv.writer(text, delimiter=separator, quoting=csv.QUOTE_ALL if all_quoted else csv.QUOTE_MINIMAL)
    writer.writerow(["dialogue", "speaker", "utterance"])
    writer.writerows((part, *turn) for part, turns in enumerate(dialogues) for turn in turns)
    assert read(name, text.getvalue()) == cleaned(dialogues)


@given(PLAIN_DIALOGUES)
def test_plain_text(dialogues) -> None:
    plain = [[(name, text) for _, name, text in cleaned([turns])] for turns in dialogues]
    text = "\n\n".join("\n".join(f"{name}: {text}" for name, text in turns) for turns in plain)
    assert read("text", text) == cleaned(dialogues)


@given(TURNS)
def test_numbers_follow_the_order_of_appearance(turns) -> None:
    numbered = list(number_turns(ReadTurn(0, None, name, text) for name, text in turns))
    first = list(dict.fromkeys(one.speaker for one in numbered))
    assert [one.number for one in numbered] == [first.index(one.speaker) for one in numbered]
    assert [one.turn for one in numbered] == list(range(len(turns)))


KEYS = st.sampled_from(
    [
        *("messages", "type", "date", "text", "from", "from_id", "chats", "list", "ts", "user", "subtype", "author"),
        *("content", "isBot", "segments", "start", "speaker", "speakers", "episodes", "scenes", "utterances", "id"),
        *("transcript", "scene_id", "conversation_id", "reply-to", "root", "role", "value", "turns", "sender_name"),
        *("timestamp_ms", "user_profile", "dialogues", "participants", "files"),
    ]
)
SCALARS = st.none() | st.booleans() | st.integers(-9, 9) | st.floats() | st.sampled_from(["message", "a", "", "system"])
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=6))
LINES = st.sampled_from(
    [
        *(
            "Ann: a",
            "Ann:",
            "ANN",
            "",
            " ",
            "[a]",
            "0:05",
            "Ann  0:05",
            "[0:05] Ann",
            ">> a",
            "- a",
            "7",
            "a | b",
            "__eou__",
        ),
        *(
            "00:01.000 --> 00:02.000",
            "0:00:01.000,0:00:02.000",
            "WEBVTT",
            "NOTE a",
            "<v Ann>a",
            "<0:00:01.0><c>a</c>",
            "♪",
        ),
        *(
            "6/13/23, 7:35 PM - Ann: a",
            "6/13/23, 7:35 PM - a",
            "10:01:03 From Ann to Ben : a",
            "[5/1/2024 10:01 AM] ann",
        ),
        *(
            "{Reactions}",
            "=" * 30,
            "5 3",
            "(1,1)",
            "1 | Ann | joy | a",
            "Ses01F_impro01_F000 [1.0-2.0]: a",
            "INT. A",
            "**A:** b",
        ),
        *(
            "speaker\tutterance",
            "speaker,utterance",
            "a\tb",
            '"a","b"',
            '"a',
            "sep=;",
            "a,b",
            "conv_id,utterance_idx,speaker_idx",
        ),
        "Utterance,Speaker,Season,Episode,Scene_ID",
    ]
)


def ends_well(name: str, content: bytes) -> None:
    """Turns, or a line that is named: nothing else comes out of a reader."""
    try:
        for one in number_turns(FORMATS[name].read(io.BytesIO(content))):
            assert one.text and one.speaker
    except LineError as error:
        assert error.line > 0


@given(st.sampled_from(sorted(FORMATS)), st.lists(LINES | TEXTS, max_size=12), st.booleans())
def test_lines_in_any_order_end_well(name: str, lines: list[str], windows: bool) -> None:
    ends_well(name, ("\r\n" if windows else "\n").join(lines).encode("utf-8"))


@given(st.sampled_from([name for name, form in FORMATS.items() if form.is_json]), VALUES, st.sampled_from([None, 1]))
def test_any_json_ends_well(name: str, value, indent: int | None) -> None:
    ends_well(name, json.dumps(value, indent=indent).encode("utf-8"))


@given(VALUES, st.sampled_from([None, 1]))
def test_any_json_is_recognised_as_something(tmp_path_factory, value, indent: int | None) -> None:
    path = tmp_path_factory.mktemp("json") / "own.json"
    path.write_text(json.dumps(value, indent=indent), encoding="utf-8")
    assert find_format(path) in FORMATS


@given(st.sampled_from(sorted(FORMATS)), st.binary(max_size=200))
def test_any_bytes_end_well(name: str, content: bytes) -> None:
    ends_well(name, content)
