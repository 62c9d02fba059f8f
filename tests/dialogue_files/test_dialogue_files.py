"""Readers of one's own dialogues: every format, the same turns; bad lines by file and number."""

import json
from pathlib import Path

import pytest

from basics.errors import UserError
from dialogue_files.live import LIVE_FORMATS
from dialogue_files.readers import json_stream as dialogue_json
from dialogue_files.reading import FORMATS, count_turns, find_format, read_text, read_turns
from dialogue_files.turns import LONGEST_LINE, LONGEST_UTTERANCE, MOST_SPEAKERS

# Two dialogues: Ben speaks first in the second one.
SPOKEN = [("1", 0, "Ann", 0, "Hello: you!"), ("1", 1, "Ben Ö.", 1, "Oh?"), ("1", 2, "Ann", 0, 'He said "no".')]
SECOND = [("2", 0, "Ben Ö.", 0, "Fine, thanks."), ("2", 1, "Ann", 1, "Good.")]

PLAIN = 'Ann: Hello: you!\nBen Ö.: Oh?\n  Ann :  He said "no".\n\n\nBen Ö.: Fine, thanks.\nAnn: Good.\n'
TABLE = (
    "Sr No.,Utterance,Speaker,Dialogue_ID\n1,Hello: you!,Ann,1\n2,Oh?,Ben Ö.,1\n"
    '3,"He said ""no"".",Ann,1\n4,"Fine, thanks.",Ben Ö.,2\n\n5,Good.,Ann,2\n'
)
OBJECTS = [
    {"dialogue": dialogue, "turn": turn, "speaker": speaker, "text": text, "emotion": "sad"}
    for dialogue, turn, speaker, _, text in SPOKEN + SECOND
]
LISTS = [[{"name": name, "utterance": text} for _, _, name, _, text in spoken] for spoken in (SPOKEN, SECOND)]
GOOD = {
    "text": [PLAIN, "\ufeff" + PLAIN.replace("\n", "\r\n"), PLAIN.replace(":", "：", 1), PLAIN.encode("utf-16")],
    "csv": [TABLE, TABLE.replace("\n", "\r\n")],
    "json": [
        json.dumps(OBJECTS),
        json.dumps(LISTS, indent=1),
        json.dumps({"dialogues": [{"utterances": turns} for turns in LISTS]}),
        json.dumps({"1": LISTS[0], "2": {"turns": LISTS[1]}}),
    ],
    "jsonl": [
        "\n\n".join(map(json.dumps, OBJECTS)),
        "\n".join(json.dumps({"id": str(n), "messages": turns}) for n, turns in enumerate(LISTS, start=1)),
    ],
}
GOOD["tsv"] = ["speaker\tdialogue id\ttext\n" + "".join(f"{s}\t{d}\t{t}\n" for d, _, s, _, t in SPOKEN + SECOND)]

VTT = """WEBVTT - a title

NOTE a comment
of two lines

STYLE
::cue {color: red}

intro
00:00:01.000 --> 00:00:02.500 align:start
<v.loud Ann>Hello: <i>you</i>!</v>

00:02.500 --> 00:04.000
<v Ben Ö.>Oh?
<v Ann>He said
&quot;no&quot;.

00:04.000 --> 00:05.000
And left.
"""
SRT = """1
00:00:01,000 --> 00:00:02,500
Ann: Hello: you!

2
00:00:02,500 --> 00:00:04,000
- Ben Ö.: Oh?
- Ann: He said
{\\an8}<i>"no".</i>

3

4
00:00:04,000 --> 00:00:05,000
And left.
"""


def write(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / f"own{FORMATS[name].suffixes[0]}"
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    return path


def seen(path: Path, name: str) -> list[tuple]:
    return [(one.dialogue, one.turn, one.speaker, one.number, one.text) for one in read_turns(path, name)]


@pytest.mark.parametrize(("name", "content"), [(name, content) for name, all_of in GOOD.items() for content in all_of])
def test_every_format_gives_the_same_turns(tmp_path: Path, name: str, content: str | bytes) -> None:
    path = write(tmp_path, name, content)
    assert find_format(path) == name
    assert seen(path, name) == SPOKEN + SECOND
    counts = count_turns(path, name)
    assert (counts.dialogues, counts.turns, counts.speakers) == (2, 5, 2)


@pytest.mark.parametrize(("name", "content"), [("vtt", VTT), ("srt", SRT)])
def test_subtitles(tmp_path: Path, name: str, content: str) -> None:
    assert seen(write(tmp_path, name, content), name) == [*SPOKEN, ("1", 3, "Ann", 0, "And left.")]


def test_tables_without_a_column_for_dialogues_are_one(tmp_path: Path) -> None:
    path = write(tmp_path, "csv", 'Speaker,Text\nAnn,"two\nlines"\nBen,b\n')
    assert seen(path, "csv") == [("1", 0, "Ann", 0, "two lines"), ("1", 1, "Ben", 1, "b")]


def test_empty_cells_beyond_the_header_are_nothing(tmp_path: Path) -> None:
    path = write(tmp_path, "csv", "Speaker,Text\nAnn,a,, \nBen,b\n")
    assert [row[-1] for row in seen(path, "csv")] == ["a", "b"]


@pytest.mark.parametrize(
    ("name", "separator", "told"),
    [("csv", ";", "a semicolon"), ("csv", "\t", "a tab"), ("csv", "|", "a bar"), ("tsv", ",", "a comma")],
)
def test_another_separator_than_the_name_says_is_told(tmp_path: Path, name: str, separator: str, told: str) -> None:
    path = write(tmp_path, name, "speaker,text\nAnn,a\n".replace(",", separator))
    assert seen(path, name) == [("1", 0, "Ann", 0, "a")]
    remark = f"the columns are taken to be separated by {told}, as in the header"
    assert list(count_turns(path, name).report.lines()) == [remark]


LONG = "x" * (LONGEST_UTTERANCE + 1)
DEEP = "[" * 100_000
BAD = [
    ("text", "Ann: a\nno name here\n", "line 2: 'no name here' is no turn"),
    ("text", "Ann:\n", "holds no utterance (left out: empty turns 1 (line 1))"),
    ("text", ": hello\n", "line 1"),
    ("text", f"{'n' * 101}: hello\n", "line 1"),
    ("text", f"A: b\n\nAnn: {LONG}\n", "line 3: the utterance has 10,001 characters"),
    ("text", b"Ann: a\nBen: \xff\n", "line 2: not UTF-8"),
    ("text", "Ann: a\n".encode("utf-16-le"), "line 1: not UTF-8 text (zero bytes"),
    ("text", b"\xff\xfeA", "line 1: not utf-16 text"),
    ("text", b"Ann: " + b"x" * LONGEST_LINE, "line 1: longer than"),
    ("text", "\n \n", "holds no utterance"),
    ("text", "".join(f"S{n}: a\n" for n in range(MOST_SPEAKERS + 1)), f"line {MOST_SPEAKERS + 1}: speaker 1001 of"),
    ("csv", "", "line 1: the header names no speaker and no utterance"),
    ("csv", "who,text\nAnn,a\n", "names no speaker (it names who, text)"),
    ("csv", "speaker,text\nAnn,a\nBen\n", "line 3: 1 cell, but the header has 2"),
    ("csv", "speaker,text\nAnn,a,b\n", "line 2: 3 cells, but the header has 2: what holds the separator belongs into"),
    ("csv", 'speaker,text\nAnn,"a"b\n', "line 2: not a row"),
    ("csv", f'speaker,text\nAnn,"{"y" * 200_000}\n', "line 2: not a row of a table: a cell has more than 131,072"),
    ("csv", 'speaker,text\nAnn,"a\n', "line 2: not a row of a table: a cell begins with a quote that has no end"),
    ("csv", "speaker,text\nAnn,a\rb\nBen,c\n", "line 2: not a row of a table: a carriage return (CR) stands within"),
    ("tsv", "speaker\ttext\nAnn\ta\rb\nBen\tc\n", "line 2: not a row of a table: a carriage return (CR) stands"),
    ("csv", "speaker,text\nAnn,\n", "holds no utterance (left out: empty turns 1 (line 2))"),
    ("csv", "speaker,text,scene id\nA,a,1\nA,b,2\nA,c,1\n", "line 4: dialogue '1' begins a second time"),
    ("json", "", "line 1: not JSON"),
    ("json", "[]", "holds no utterance"),
    ("json", '[{"speaker": "A", "text": "a"}\n{"speaker": "A"}]', "line 2: not JSON, allowed is ','"),
    ("json", '[\n{"speaker": "A", "text": "a"},\n{"speaker": "A"}\n]', "line 3: a turn has no utterance"),
    ("json", '[{"speaker": "A", "text": 5}]', "line 1: a turn has the utterance 5"),
    ("json", '[{"speaker": "A", "text": "\\ud800"}]', "line 1: the utterance holds half of a surrogate"),
    ("json", '["a"]', "line 1: holds 'a'"),
    ("json", '[["a"]]', "line 1: a turn is 'a'"),
    ("json", '{"a": 1}', "line 1: 'a' is no dialogue"),
    ("json", '[{"speaker": "A", "text": "a"}] 5', "line 1: more follows"),
    ("json", '[{"speaker": "A", "text": "a"}', "line 1: not JSON"),
    ("json", "[" + "9" * 5_000 + "]", "line 1: not JSON"),
    ("json", DEEP, "not JSON"),
    ("json", b'[{"speaker": "A", "text": "\xff"}]', "not UTF-8"),
    ("jsonl", '{"speaker": "A", "text": "a"}\n{', "line 2: not JSON"),
    ("jsonl", DEEP, "line 1: not JSON (nested too deeply)"),
    ("vtt", "WEBVTT\n\n00:01.000 --> 00:02.000\nHello.\n", "line 4: nobody has been named yet"),
    ("vtt", "WEBVTT\n\nsome words\nAnn: a\n", "line 3: no cue begins with 'some words'"),
    ("srt", "1\n00:00:01,000 --> 00:00:02,000\nA: b\n\n2\n00:0x:03 --> 00:04\nB: c\n", "line 6: '00:0x:03 --> 00:04'"),
    ("srt", "1\n00:00:01,000 --> 00:00:02,000\nThis is what I have said: go\n", "line 3: nobody has been named"),
]


@pytest.mark.parametrize(("name", "content", "told"), BAD, ids=range(len(BAD)))
def test_bad_lines_are_named(tmp_path: Path, name: str, content: str | bytes, told: str) -> None:
    path = write(tmp_path, name, content)
    with pytest.raises(UserError) as caught:
        count_turns(path, name)
    message = str(caught.value)
    assert str(path) in message and told in message and len(message) < 600, message


def test_formats_are_found_by_name_or_refused(tmp_path: Path) -> None:
    assert [find_format(Path(f"a{suffix.upper()}")) for suffix in (".srt", ".ndjson")] == ["srt", "jsonl"]
    assert find_format(Path("a.log"), "csv") == "csv"
    with pytest.raises(UserError, match=r"\.txt, \.csv, \.tsv.*, \.ndjson.*--input_format"):
        find_format(Path("a.log"))
    for missing in (tmp_path / "none.txt", tmp_path):
        with pytest.raises(UserError, match="cannot be read"):
            count_turns(missing, "text")


# A file of JSON that is like that of a tool, or is one -> its form.
ALIKE = [
    ({"segments": [{"text": "a", "speaker": "A"}]}, "json"),
    ({"segments": [{"text": "a", "speaker": "A", "start": 0.5}]}, "whisper"),
    ({"transcription": [{"text": "a", "offsets": {"from": 0}}]}, "whisper"),
    ({"data": [{"scene_id": "s", "utterances": [{"speaker": "A", "text": "a"}]}]}, "json"),
    ({"scenes": [{"scene_id": "s", "utterances": []}]}, "emory_json"),
    ({"messages": [{"type": "message", "date": "2024"}]}, "telegram"),
    ({"posts": [{"type": "message", "date": "2024"}]}, "json"),
    ([{"type": "message", "date": "2024", "chats": {}}], "json"),
]


@pytest.mark.parametrize(("content", "form"), ALIKE)
def test_the_form_of_json(tmp_path: Path, content: list | dict, form: str) -> None:
    assert find_format(write(tmp_path, "json", json.dumps(content))) == form


def test_a_json_object_that_is_too_large_to_hold_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dialogue_json, "LARGEST_VALUE", 1 << 18)
    turns = '{"speaker": "A", "text": "a"},\n' * 20_000 + '{"speaker": "A", "text": "a"}'
    path = write(tmp_path, "json", f'{{"dialogues": [[{turns}]]}}')
    told = (
        "or a value of more than 32 Mi characters, and each is held as a whole .*: write JSON Lines, a dialogue on each"
    )
    with pytest.raises(UserError, match=told):
        count_turns(path, "json")
    path.write_text(f"[{turns}]")
    assert count_turns(path, "json").turns == 20_001


def turns_in(*dialogues: object) -> list[dict]:
    """Utterances that name these dialogues."""
    turn = {"speaker": "Ann", "text": "a"}
    return [turn if name is None else {"dialogue_id": name} | turn for name in dialogues]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ([turns_in("a", "a", "b"), turns_in("c", "d")], ["a", "a", "b", "c", "d"]),
        ([turns_in("a", "b", None), turns_in("b", "c")], ["a", "b", "b", "b", "c"]),
        ([turns_in("a", "a"), turns_in(None), turns_in("a")], ["1", "1", "2", "3"]),
        ({"id": "x", "utterances": turns_in("a", "b")}, ["a", "b"]),
        ({"id": "x", "utterances": turns_in(None, None)}, ["x", "x"]),
        (
            [{"id": "x", "turns": turns_in("a", None, "b")}, {"id": "y", "turns": turns_in("c")}],
            ["x/a", "x/a", "x/b", "y"],
        ),
        ([{"id": name, "turns": turns_in(1, 2)} for name in "xy"], ["x/1", "x/2", "y/1", "y/2"]),
        ({"x": turns_in("a", "b"), "y": turns_in(None)}, ["x/a", "x/b", "y"]),
        ([turns_in(["a"], ["a", "b"])], ["1", "1"]),
        ({"data": [turns_in("a", "b")]}, ["a", "b"]),
    ],
)
def test_utterances_of_a_list_may_name_their_dialogues(tmp_path: Path, content: list | dict, expected: list) -> None:
    """Where they name several they are of several; else a list is a dialogue, and its own name or number counts."""
    path = tmp_path / "own.json"
    path.write_text(json.dumps(content))
    assert [one.dialogue for one in read_turns(path, "json")] == expected


def test_typed_text_names_its_line() -> None:
    assert [one.text for one in read_text("A: b\nC: \ud800")] == ["b", "?"]
    with pytest.raises(UserError, match="^line 2"):
        read_text("A: b\nC")


def test_the_other_form_of_a_name_is_told_as_it_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "chat.txt"
    path.write_text("12/31/20, 9:41 PM - Ann: hi\n12/31/20, 9:42 PM - Ben: you\n")
    remarks = list(count_turns(path, find_format(path)).report.lines())
    assert any(
        line.startswith("read as whatsapp") and line.endswith("; otherwise: --input_format text") for line in remarks
    )


def test_a_file_without_an_utterance_is_told_of_whole(tmp_path: Path) -> None:
    path = tmp_path / "own.txt"
    path.write_text("\n \n")
    with pytest.raises(UserError) as caught:
        count_turns(path, "text")
    assert str(caught.value) == f"{path}: holds no utterance, allowed is text: {FORMATS['text'].meaning}"


def test_what_is_read_as_it_comes_are_forms() -> None:
    assert {*LIVE_FORMATS} <= FORMATS.keys() and not {*LIVE_FORMATS} & {"json", "csv"}
