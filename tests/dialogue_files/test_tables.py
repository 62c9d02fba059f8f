"""Tables by their header: which column is what, and what is said where a file could be meant otherwise."""

import io
import json
import re
from pathlib import Path

import pytest

from basics.errors import UserError
from commands import REPOSITORY
from dialogue_files.readers.forms import FORMATS
from dialogue_files.reading import count_turns
from dialogue_files.report import Report
from dialogue_files.turns import LineError, SpokenTurn, number_turns


def read(content: str, form: str = "csv") -> tuple[list[SpokenTurn], list[str]]:
    """The turns of a table, and what is told of it."""
    report = Report()
    turns = list(number_turns(FORMATS[form].read(io.BytesIO(content.encode())), report))
    return turns, list(report.lines())


def cells(content: str) -> list[tuple[str, str, str]]:
    return [(one.dialogue, one.speaker, one.text) for one in read(content)[0]]


SPOKEN = [("1", "Ann", "I am so angry"), ("1", "Ben", "5")]
# A table with a column line or dialogue -> the first and second turn are those above.
NUMBERED = {
    "a number": "speaker,line,dialogue\nAnn,1,I am so angry\nBen,2,5\n",
    "dialog": "character,line,dialog\nAnn,1.,I am so angry\nBen,2.,5\n",
    "marks": "speaker,line,dialogue\nAnn,L1045,I am so angry\nBen,L1044,5\n",
    "now and then": "speaker,line,dialogue\nBen,,\nAnn,1,I am so angry\nBen,,5\n",
    "beside scenes": "scene_id,line,character,dialogue\n1,1,Ann,I am so angry\n1,2,Ben,5\n",
    "another word": "speaker,line,body\nAnn,1,I am so angry\nBen,2,5\n",
    "no line": "character,dialog\nAnn,I am so angry\nBen,5\n",
    "no line beside scenes": "scene_id,character,dialogue\n1,Ann,I am so angry\n1,Ben,5\n",
    "a line that is said": "speaker,dialogue,line\nAnn,1,I am so angry\nBen,1,5\n",
    "another separator": "speaker;line;dialogue\nAnn;1;I am so angry\nBen;2;5\n",
}


@pytest.mark.parametrize("content", NUMBERED.values(), ids=NUMBERED)
def test_lines_that_are_numbers_are_not_said(content: str) -> None:
    assert cells(content) == SPOKEN


def test_the_column_of_what_is_said_is_told_where_lines_are_numbers() -> None:
    told = "the utterance is taken from the column 'dialogue', not from 'line'"
    assert read(NUMBERED["a number"])[1] == [told]


def test_two_columns_of_one_name_are_told() -> None:
    told = "the utterance is taken from the column 'text', not from another 'text', column 3"
    assert read("speaker,text,text\nAnn,Hi,Salut\n")[1] == [told]


@pytest.mark.parametrize("first", ["I am here", "5"])
def test_lines_are_said_where_one_is_a_text_or_dialogues_are_numbers(first: str) -> None:
    said = [("d1", "Ann", first), ("d1", "Ben", "What?")]
    assert cells(f"dialogue,speaker,line\nd1,Ann,{first}\nd1,Ben,What?\n") == said
    assert cells("dialogue,speaker,line\nd1,Ann,5\nd1,Ben,6\n") == [("d1", "Ann", "5"), ("d1", "Ben", "6")]


def in_order(*numbers: object, name: str = "turn_id") -> list[str]:
    """What is told of a table of two dialogues in which turns are numbered so; `/` stands between the dialogues."""
    rows, dialogue = [], 1
    for number in numbers:
        dialogue += number == "/"
        rows += [] if number == "/" else [f"{dialogue},{number},Ann,a\n"]
    return read(f"dialogue_id,{name},speaker,text\n{''.join(rows)}")[1]


@pytest.mark.parametrize(
    ("name", "numbers", "fall"),
    [
        ("turn_id", (2, 0, 1), "line 3: 'turn_id' falls from 2 to 0"),
        ("Utterance_ID", (0, 1, 2, "/", 1, 2, 0, "/", 1, 0), "line 7: 'Utterance_ID' falls from 2 to 0"),
        ("turn", ("0.0", "", "3.0", "1.0"), "line 5: 'turn' falls from 3 to 1"),
    ],
)
def test_turns_that_do_not_stand_by_their_numbers_are_warned_of_once(name: str, numbers: tuple, fall: str) -> None:
    taken = f"turns are taken in the order of the file, not of {name!r}"
    assert in_order(*numbers, name=name) == [f"warning: {fall} within a dialogue: {taken}"]


@pytest.mark.parametrize(
    "numbers",
    [
        (0, 1, 2, "/", 0, 1, 2),
        (5, 7, 7, 9, "/", 3),
        (0, 1, 2, 0, 1, 2, 1),
        ("u2", "u1", "u0"),
        (7, 7, 7),
        ("", 2, "", 3, ""),
        ("1.5", "1.2", "-1", "-2"),
        (1724838459345, 1724838459111),
    ],
)
def test_what_counts_otherwise_is_not_warned_of(numbers: tuple) -> None:
    assert in_order(*numbers) == []


def test_lines_that_are_numbers_count_turns() -> None:
    (_, told) = read("speaker,line,dialogue\nAnn,2,Yes\nBen,1,No\n")[1]
    assert told.startswith("warning: line 3: 'line' falls from 2 to 1")


@pytest.mark.parametrize("form", ["json", "jsonl"])
def test_turns_of_json_that_do_not_stand_by_their_numbers_are_warned_of(form: str) -> None:
    turns = [{"turn": number, "speaker": "Ann", "text": "a"} for number in (2, True, [0], 1)]
    (told,) = read(json.dumps({"turns": turns}), form)[1]
    assert told.startswith("warning: line 1: 'turn' falls from 2 to 1 within a dialogue")


@pytest.mark.parametrize("header", ["role,content,name", "From,Value,Name"])
def test_messages_of_system_and_tools_in_a_table_are_left_out(header: str) -> None:
    turns, told = read(f"{header}\nsystem,You are a bot.,\nuser,I am sad,Ann\nTool,x,find_route\n")
    assert [(one.speaker, one.text) for one in turns] == [("Ann", "I am sad")]
    assert told[-1] == "left out: messages of system and tools 2 (first in line 2)"


def test_people_of_a_table_may_have_such_roles() -> None:
    content = "role,text\ndeveloper,It works\nsystem,Which hotel?\n"
    assert cells(content) == [("1", "developer", "It works"), ("1", "system", "Which hotel?")]
    assert cells("role,speaker,content\nuser,Ann,a\n") == [("1", "Ann", "a")]
    assert cells("role,dialogue\ndeveloper,It works\n") == [("1", "developer", "It works")]


@pytest.mark.parametrize("rule", ["|---|---|", "| :--- | ---: |", "| - |:-:|"])
def test_the_rule_of_a_table_in_markdown_is_nobodys(rule: str) -> None:
    turns, told = read(f"| Speaker | Text |\n{rule}\n| Ann | Hi |\n| - | - |\n", "text_table")
    assert [(one.speaker, one.text) for one in turns] == [("Ann", "Hi"), ("-", "-")]
    assert told == ["the columns are taken to be separated by a bar, as in the header"]


def test_dashes_of_other_tables_are_said() -> None:
    assert cells("speaker,text\nAnn,-\n-,---\n") == [("1", "Ann", "-"), ("1", "-", "---")]


def test_scenes_are_dialogues_where_dialogue_is_what_is_said() -> None:
    content = "scene_id,character,dialogue\nx,Ann,a b\ny,Ben,c d\n"
    assert cells(content) == [("x", "Ann", "a b"), ("y", "Ben", "c d")]


@pytest.mark.parametrize(
    ("key", "times"),
    [
        ("ts", ["1700000002.5", "1700000001.5"]),
        ("timestamp", [1700000002, 1700000001]),
        ("created_at", ["2024-05-01T10:02:00Z", "2024-05-01T10:01:00Z"]),
        ("date", ["2024-05-02", "2024-05-01"]),
        ("createdAt", ["2024-05-02", "2024-05-01"]),
        ("start", [7.5, 1.25]),
    ],
)
def test_times_that_fall_are_told(tmp_path: Path, key: str, times: list) -> None:
    """Chats that are written down from the newest message on."""
    rows = [{"speaker": "Ann", "text": "a", key: time} for time in times]
    tables = {
        "csv": f"speaker,text,{key}\n" + "".join(f"Ann,a,{time}\n" for time in times),
        "json": json.dumps({"messages": rows}),
        "jsonl": "".join(f"{json.dumps(row)}\n" for row in rows),
    }
    for form, content in tables.items():
        path = tmp_path / f"own.{form}"
        path.write_text(content, encoding="utf-8")
        (told,) = count_turns(path, form).report.lines()
        assert f"{key!r} falls from {times[0]} to {times[1]} within a dialogue".replace("Z", "") in told
        path.write_text(
            content.replace(json.dumps(times[0]), '"12:05"').replace(str(times[0]), "12:05"), encoding="utf-8"
        )
        assert list(count_turns(path, form).report.lines()) == []


@pytest.mark.parametrize("column", ["Start Time", "timeStamp", "DateTime"])
def test_tiers_that_stand_one_below_the_other_are_told(column: str) -> None:
    for mark in ".,":
        times = (f'"0:0{time}"'.replace(".", mark) for time in ("0:01.500", "1:09.000", "0:02.250"))
        _, told = read(f"{column},speaker,text\n" + "".join(f"{time},Ann,a\n" for time in times))
        assert told == [
            f"warning: line 4: '{column}' falls from 69.000 to 2.250 within a dialogue: turns are taken in the order "
            f"of the file, not of '{column}'"
        ]


CHATS = {
    "discord": {"author": {"name": "Ann"}, "content": "{}", "timestamp": "2024-05-01T10:0{}:00.1+00:00"},
    "slack": {"type": "message", "user": "Ann", "text": "{}", "ts": "170000000{}.0002"},
    "telegram": {"type": "message", "date": "", "from": "Ann", "text": "{}", "date_unixtime": "170000000{}"},
    "convokit": {"id": "{}", "root": "a", "speaker": "Ann", "reply-to": None, "text": "{}", "timestamp": "170000000{}"},
    "messenger": {"sender_name": "Ann", "content": "{}", "timestamp_ms": "170000000{}000"},
}


@pytest.mark.parametrize("form", CHATS)
def test_messages_from_the_newest_on_are_told_or_put_right(form: str) -> None:
    """Of Messenger too where another program has put them right before."""
    for order in ("321", "123"):
        messages = [json.loads(json.dumps(CHATS[form]).replace("{}", place)) for place in order]
        for message in messages if form == "messenger" else []:
            message["timestamp_ms"] = int(message["timestamp_ms"])
        turns, told = read(json.dumps(messages if form in ("slack", "convokit") else {"messages": messages}), form)
        is_told = any(" falls from " in line and "within a dialogue: turns are taken in" in line for line in told)
        assert "".join(turn.text for turn in turns) == ("123" if form == "messenger" else order)
        assert is_told == (order == "321" and form != "messenger")


@pytest.mark.parametrize(("order", "wanted"), [("1234", "1234"), ("4321", "1234"), ("1243", "1243"), ("34", "43")])
def test_messages_of_one_time_stand_as_they_were_said(order: str, wanted: str) -> None:
    """3 and 4 are of one time: forwards where times rise in the file, else backwards, as Messenger writes them."""
    messages = [
        {"sender_name": "Ann", "content": place, "timestamp_ms": 1700000000000 + min(3, int(place))} for place in order
    ]
    turns, _ = read(json.dumps({"messages": messages}), "messenger")
    assert "".join(turn.text for turn in turns) == wanted


@pytest.mark.parametrize(
    "times",
    [
        ("10:02:00Z", "10:02:00.5Z"),
        ("10:02:00.5Z", "10:02:00.52Z"),
        ("10:02:00+00:00", "10:02:00.1+00:00"),
        ("10:02", "10:02"),
    ],
)
def test_parts_of_seconds_are_in_no_order_of_letters(tmp_path: Path, times: tuple[str, str]) -> None:
    path = tmp_path / "own.csv"
    path.write_text("speaker,text,ts\n" + "".join(f"Ann,a,2024-05-01T{time}\n" for time in times), encoding="utf-8")
    assert list(count_turns(path, "csv").report.lines()) == []


def test_cells_that_hold_lists_are_no_turns(tmp_path: Path) -> None:
    path = tmp_path / "own.csv"
    path.write_text("speaker,text\n\"['Ann', 'Ben']\",\"['a', 'b']\"\n", encoding="utf-8")
    with pytest.raises(
        UserError, match=r"line 2: the cells hold lists \(\['Ann', 'Ben'\]\), allowed is a row for each"
    ):
        count_turns(path, "csv")
    path.write_text("speaker,text\nAnn,['a']\n\"['Ann']\",a\n", encoding="utf-8")
    assert count_turns(path, "csv").turns == 2


def test_marks_at_the_beginning_of_a_file_are_nothing(tmp_path: Path) -> None:
    path = tmp_path / "own.csv"
    path.write_text("\ufeff\ufeffspeaker,text\nAnn,a\n", encoding="utf-8")
    assert count_turns(path, "csv").turns == 1


@pytest.mark.parametrize("of_file", [list, lambda turns: {"turns": turns}, lambda turns: [turns]])
def test_a_key_that_all_turns_have_is_folded_once(monkeypatch: pytest.MonkeyPatch, of_file) -> None:
    """It took more time than all else of a turn; keys of any length would fill memory."""
    folded, sub = [], re.sub
    monkeypatch.setattr(re, "sub", lambda pattern, new, text: folded.append(text) or sub(pattern, new, text))
    short = f"told {of_file([])}"
    for key in (short, f"{short}{'x' * 101}"):
        turns = [{"Speaker": "Ann", "text": "a", key: 1}] * 50
        assert len(read(json.dumps(of_file(turns)), "json")[0]) == 50
        assert folded.count(key) == 1 if key == short else folded.count(key) > 50


@pytest.mark.parametrize("name", ["dialogueId", "ConversationID", "Ticket ID", "call_id"])
def test_dialogues_are_told_apart_by_what_programs_call_them(name: str) -> None:
    assert cells(f"{name},authorName,text\nx,Ann,a\ny,Ann,b\n") == [("x", "Ann", "a"), ("y", "Ann", "b")]


PAGE = (REPOSITORY / "demo" / "FORMATS.md").read_text(encoding="utf-8")
TWO_ROWS = {"dialogue": "xy", "speaker": "DE", "utterance": "ab", "emotion": "jk", "turn": "21", "time": "21"}


@pytest.mark.parametrize("what", TWO_ROWS)
def test_columns_go_by_the_names_on_the_page_of_which_the_first_counts(what: str) -> None:
    names = re.search(rf"^\| the {what} \| (.*) \|$", PAGE, re.M)[1].split(", ")
    for name, later in zip(names, [*names[1:], "other"], strict=True):
        columns = {later: "12", name: TWO_ROWS[what]}
        columns |= {} if what == "speaker" else {"speaker": "DE"}
        columns |= {} if what == "utterance" else {"text": "ab"}
        turns, told = read("\n".join(map(",".join, [list(columns), *zip(*columns.values(), strict=True)])))
        if what in ("turn", "time"):
            assert told[-1].startswith(f"warning: line 3: {name!r} falls from 2 to 1"), name
        else:
            taken = {"dialogue": "dialogue", "speaker": "speaker", "utterance": "text", "emotion": "emotion"}[what]
            assert [getattr(one, taken) for one in turns] == list(TWO_ROWS[what]), name


@pytest.mark.parametrize(
    ("form", "content"),
    [("csv", "speaker,text,\nAnn,a,\nBen,yes, and no\n"), ("text_table", "| speaker | text |\n| Ann | a \\| b |\n")],
)
def test_words_below_no_name_of_a_column_are_not_lost(form: str, content: str) -> None:
    with pytest.raises(LineError, match="what holds the separator belongs into quotes, and each column needs a name"):
        read(content, form)
