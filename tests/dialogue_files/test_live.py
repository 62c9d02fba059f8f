"""Lines that come through a pipe: what cannot be read is told and left out, and changes nothing for the others."""

import io
import json
import time
import tracemalloc

import pytest

from basics.errors import UserError
from dialogue_files import turns
from dialogue_files.live import MOST_AT_FIRST, LiveLines
from dialogue_files.report import Report


class Pipe(io.BytesIO):
    """Bytes of which none can be read twice."""

    def seekable(self) -> bool:
        return False


def follow(content: str | bytes, form: str | None = None, kind: type[io.BytesIO] = Pipe):
    """(turns as (dialogue, turn, speaker, text), what is told of lines, what is told at the end)."""
    stream, report, told = kind(content.encode() if isinstance(content, str) else content), Report(), []
    found = [
        (one.dialogue, one.turn, one.speaker, one.text) for one in LiveLines(stream, form, report, told.append).turns()
    ]
    return found, told, list(report.lines())


def line(speaker: object = "Ann", text: object = "a", **more: object) -> str:
    return json.dumps({"speaker": speaker, "text": text} | more) + "\n"


GOOD = [("1", 0, "Ann", "a"), ("1", 1, "Ben", "b")]


@pytest.mark.parametrize(
    ("bad", "problem"),
    [
        ('{"speaker": "Cy"\n', "not JSON (Expecting ',' delimiter), allowed is one value on each line"),
        ("INFO: ready\n", "not JSON (Expecting value), allowed is one value on each line"),
        ('{"speaker": "Cy"}\n', "a turn has no utterance, allowed are utterances"),
        ("3\n", "holds 3, allowed are utterances"),
        (line(text={"a": 1}), "a turn has the utterance a dict, allowed are"),
        (line(" "), "the speaker is empty, allowed is a text"),
        (line(text="x" * 10_001), "the utterance has 10,001 characters, allowed are 10,000"),
        ("[" * 500 + "]" * 500 + "\n", "nested too deeply"),
        (b"\xff\xfe\n", "not UTF-8 text (invalid start byte), allowed is UTF-8"),
        (b"a\0b\n", "not UTF-8 text (zero bytes: UTF-16 without its mark, or no text), allowed is UTF-8"),
    ],
)
def test_a_line_that_cannot_be_read_is_left_out(bad: str | bytes, problem: str) -> None:
    bad = bad.encode() if isinstance(bad, str) else bad
    found, told, said = follow(line().encode() + bad + line("Ben", "b").encode())
    assert found == GOOD and said == ["left out: lines that cannot be read 1 (line 2)"]
    assert len(told) == 1 and told[0].startswith("warning: stdin line 2 is left out: ") and problem in told[0]
    assert "--input_format" not in told[0] and "--encoding" not in told[0]


def test_a_line_of_any_length_is_left_out_in_little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "LONGEST_LINE", 1_000)
    monkeypatch.setattr("dialogue_files.live.LONGEST_LINE", 1_000)
    for length in (1_000, 1_001, 2_002, 300_000):
        content = line() + "x" * length + "\n" + line("Ben", "b")
        stream, told = Pipe(content.encode()), []
        tracemalloc.start()
        found = [one.speaker for one in LiveLines(stream, None, Report(), told.append).turns()]
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert found == ["Ann", "Ben"] and peak < 100_000
        assert told == ["warning: stdin line 2 is left out: longer than 1,000 bytes, allowed are shorter lines"]
    assert follow(f"{line()}{'x' * 1_001}")[0] == GOOD[:1]


def test_an_empty_text_is_no_fault() -> None:
    assert follow(line() + line(text="") + line("Ben", "b")) == (GOOD, [], ["left out: empty turns 1 (line 2)"])


def test_a_dialogue_is_read_whole_or_not_at_all() -> None:
    """And may come again, mended; one that comes back is left out, and the one that is being spoken goes on."""
    turn = {"speaker": "Ann", "text": "a"}
    broken, whole = ({"id": "x", "turns": [turn, last]} for last in ({"speaker": "Ben"}, turn))
    unspoken = {"id": "x", "turns": [turn, turn | {"speaker": " "}]}
    found, told, _ = follow("".join(json.dumps(one) + "\n" for one in (broken, unspoken, whole)))
    assert found == [("x", 0, "Ann", "a"), ("x", 1, "Ann", "a")] and [one[:30] for one in told] == [
        *("warning: stdin line 1 is left ", "warning: stdin line 2 is left ")
    ]
    several = [turn | {"dialogue": name} for name in "xyz"]
    lines = [*several[:1], [*several[1:], {"speaker": "Ben"}], several[1:]]
    found, told, _ = follow("".join(json.dumps(one) + "\n" for one in lines))
    assert [one[0] for one in found] == ["x", "y", "z"] and len(told) == 1
    found, told, _ = follow("".join(line(text=str(turn), dialogue=name) for turn, name in enumerate("abab")))
    assert found == [("a", 0, "Ann", "0"), ("b", 0, "Ann", "1"), ("b", 1, "Ann", "3")]
    assert len(told) == 1 and "line 3 is left out: dialogue 'a' begins a second time" in told[0]


@pytest.mark.parametrize("last", [{"speaker": "Ben"}, {"speaker": "Ben", "text": "x" * 10_001}])
def test_of_a_dialogue_that_is_left_out_nothing_is_kept(last: dict) -> None:
    """Neither how it spells a name, nor how often somebody speaks in it, nor what else would be told of it."""
    turns = [
        *({"speaker": "ann", "text": "a", "turn": 2}, {"speaker": "Ann", "text": "a", "turn": 1}),
        *({"role": "system", "content": "a"}, {"speaker": "Cy", "text": ""}),
    ]
    stream, report = Pipe((json.dumps([*turns, last]) + "\n" + line("Ann")).encode()), Report()
    found = [(one.speaker, one.number) for one in LiveLines(stream, None, report, [].append).turns()]
    assert found == [("Ann", 0)] and list(report.speaker_lines()) == ["Ann: 1 turn"]
    assert list(report.lines()) == ["left out: lines that cannot be read 1 (line 1)"]
    whole = json.dumps(turns) + "\n" + line("ANN")
    assert [one[2] for one in follow(whole)[0]] == ["ann"] * 3


def test_a_line_of_text_that_cannot_be_read_is_left_out() -> None:
    content = "Ann: a\nnobody\n\nnobody\nBen: " + "b" * 10_001 + "\n\nBen: b\n"
    found, told, _ = follow(content)
    assert found == [("1", 0, "Ann", "a"), ("2", 0, "Ben", "b")]
    assert [one.split(" is ")[0][-6:] for one in told] == ["line 2", "line 4", "line 5"]


def test_the_form_is_that_of_the_first_turn() -> None:
    assert follow("Listening on port 80\n" + line() + line("Ben", "b"))[0] == GOOD
    assert follow("[They laugh.]\n[0:05] Ann: a\n{They cry.}\nBen: b\n")[0] == GOOD
    assert follow("{They cry.}\n\n[a]\nAnn: a\nBen: b\n") == (
        *(GOOD, []),
        ["left out: directions 2 (first in line 1)"],
    )
    found, told, _ = follow("Ann: a\n" + line("Cy") + "{'speaker': 'Cy'}\nBen: b\n")
    assert found == GOOD and len(told) == 2 and "line 2 is left out: JSON among lines of text, allowed is" in told[0]
    found, told, _ = follow("Ann: a\n" + json.dumps([{"speaker": "Cy", "text": "c"}]) + "\n[They laugh.]\nBen: b\n")
    assert found == GOOD and len(told) == 1 and "line 2 is left out: JSON among lines of text" in told[0]
    assert follow("{'speaker': 'Cy'}\n" + line() + line("Ben", "b"))[1][0].startswith(
        "warning: stdin line 1 is left out: not JSON (Expecting property name enclosed in double quotes)"
    )


@pytest.mark.parametrize("form", [None, "text", "jsonl"])
def test_what_is_of_another_form_from_its_beginning_ends_it(form: str | None) -> None:
    with pytest.raises(UserError, match=r"^stdin line 1: not UTF-8 text \(zero bytes.* allowed is UTF-8$"):
        follow("Ann: a\nBen: b\n".encode("utf-16"), form)
    begin = "nobody\n" * (MOST_AT_FIRST - 1)
    assert len(follow(f"{begin}{line() if form == 'jsonl' else 'Ann: a'}\n" + "nobody\n" * 9, form)[1]) == 28
    with pytest.raises(UserError, match=f"^stdin line 20: none of {MOST_AT_FIRST} lines could be read, allowed are"):
        follow(f"{begin}nobody\nAnn: a\n", form)


def test_of_a_line_that_is_left_out_its_brackets_are_not_told() -> None:
    long = f"Sam (landlord): {'x' * 10_001}\n"
    assert len(follow(f"Sam (tenant): a\n{long}Sam (agent): b\n")[2]) == 2
    assert follow(f"{long}Sam (tenant): a\n")[2] == ["left out: lines that cannot be read 1 (line 1)"]


@pytest.mark.parametrize("line", ["{}1: a\n", "{}1. a\n", "{}. a\n", "{}  a\n"])
def test_the_first_question_tells_that_there_are_answers(line: str) -> None:
    content = "".join(line.format(name) for name in "QAQA")
    assert [speaker for _, _, speaker, _ in follow(content)[0]] == list("QAQA")
    assert follow(f"Ann: a\n{content}")[0][0] == GOOD[0]
    for names in (["A1", "B1"], ["Q", "A1"]):
        assert [one[2] for one in follow("".join(f"{name}: a\n" for name in names))[0]] == names


@pytest.mark.parametrize("heading", ["{}:\n", "{} (0:05):\n", "{} (softly):\n\n", "0:05 {}:\n"])
def test_names_may_stand_above_what_is_said(heading: str) -> None:
    lines = heading.format("Ann"), "a\n(They laugh.)\nNote: c\nso\n\n", heading.format("Ben"), "The truth is: b\n"
    found, told, said = follow("".join(lines))
    assert found == [*GOOD[:1], ("1", 1, "Ann", "so"), ("1", 2, "Ben", "The truth is: b")] and not told
    place = "".join(lines).split("\n").index("(They laugh.)") + 1
    assert said == [
        "names are taken to stand above the text: each line below one is a turn",
        f"left out: directions 2 (first in line {place})",
    ]


def test_a_name_that_says_nothing_stands_above_nothing() -> None:
    turns = [("1", 0, "Ben", "b"), ("1", 1, "Cy", "c"), ("2", 0, "Ann", "a")]
    assert follow("Ann:\nBen: b\nCy: c\n\nAnn: a\n") == (turns, [], ["left out: empty turns 1 (line 1)"])
    assert follow("Ann:\nBen:\n" + line())[2] == ["left out: empty turns 2 (first in line 1)"]
    found, _, said = follow("Ann:\n\nBen:\nb\nAnn:\nCy:\nc\nAnn:\n")
    assert [one[2:] for one in found] == [("Ben", "b"), ("Cy", "c")]
    assert said[1:] == ["left out: empty turns 3 (first in line 1)"]
    found = follow("Ann:\na\nBen: b\nso\nAnn (softly):\nc\n")[0]
    assert [(speaker, text) for *_, speaker, text in found] == [("Ann", "a"), ("Ben", "b"), ("Ben", "so"), ("Ann", "c")]


def test_a_time_beside_words_makes_no_name_of_them() -> None:
    """Each line of such a stream is told of, and after twenty the stream ends."""
    for line in ("10:02 lena hello\n", "10:02 Lena\n", "Server 10:02\n"):
        told = follow(f"{line}Ann: a\nBen: b\n")
        assert told[0] == GOOD and len(told[1]) == 1 and told[2] == ["left out: lines that cannot be read 1 (line 1)"]
        with pytest.raises(UserError, match=f"none of {MOST_AT_FIRST} lines could be read"):
            follow(line * MOST_AT_FIRST)
    assert [one[2:] for one in follow("Ann:\na\nLunch 12:30\n")[0]] == [("Ann", "a"), ("Ann", "Lunch 12:30")]


@pytest.mark.parametrize("kind", [Pipe, io.BytesIO])
def test_names_stand_above_in_a_file_on_stdin_as_through_a_pipe(kind: type[io.BytesIO]) -> None:
    asked = "".join(f"{name}:\na\n" for name in ("Q1", "A1", "Q2", "A2"))
    assert [one[2] for one in follow(asked, kind=kind)[0]] == list("QAQA")
    found = follow("Ann:\na\nBen:\nb\n", kind=kind)[0]
    assert found == GOOD
    head = "Board\nMay 2\nItems:\nBudget\nTranscript\n\nAnn: a\nBen: b\n"
    assert follow(head, kind=io.BytesIO)[0] == GOOD


def test_brackets_of_many_names_take_a_time_that_grows_with_the_lines() -> None:
    def seconds(lines: int) -> float:
        content = "".join(f"S{number} (tenant{number}): a\n\n" for number in range(lines))
        start = time.process_time()
        assert len(follow(content)[0]) == lines
        return time.process_time() - start

    # 8 times if it grows with them, 64 if with their square. The least of two: what else the machine does adds to one.
    few, many = (min(seconds(lines) for _ in range(2)) for lines in (1_000, 8_000))
    assert many < 16 * max(few, 0.05)


def test_numbers_of_lines_are_those_of_a_file_on_stdin() -> None:
    content = "1. Ann: a\n2. Ben: b\nnobody\n"
    assert follow(content, kind=io.BytesIO)[0] == GOOD
    assert [speaker for _, _, speaker, _ in follow(content)[0]] == ["1. Ann", "2. Ben"]


@pytest.mark.parametrize("kind", [Pipe, io.BytesIO])
def test_lines_may_end_as_on_old_macs(kind: type[io.BytesIO]) -> None:
    """As those of files may; a CR that others have within a line is none."""
    old = "its lines end as on old Macs, in CR alone"
    for content in (line() + line("Ben", "b"), "Ann: a\nBen: b\n", "Ann:\n\na\nBen:\nb\n"):
        found, told, said = follow(content.replace("\n", "\r"), kind=kind)
        assert (found, told) == (GOOD, []) and said[-1:] == [old]
        assert old not in follow(content.replace("\n", "\r\n"), kind=kind)[2]
    assert follow("Ann: a\r\rBen: b", kind=kind)[0] == [GOOD[0], ("2", 0, "Ben", "b")]
    assert follow("Ann: a\rb\nBen: b\n", kind=kind)[0] == [("1", 0, "Ann", "a b"), GOOD[1]]
    assert follow(f"Ann: {'x' * 8184}\r\nBen: b\r\n", kind=kind)[0][1] == GOOD[1]


def test_lines_of_old_macs_are_read_as_they_come() -> None:
    class Slow(Pipe):
        asked = 0

        def read1(self, size: int = -1) -> bytes:
            self.asked += 1
            return super().read1(min(size, 1))

    stream = Slow(b"Ann: a\rBen: b\rAnn: c\r")
    asked = [stream.asked for _ in LiveLines(stream, None, Report(), [].append).turns()]
    assert asked == [8, 14, 21]  # after the first end it takes a byte to tell that no line feed is of it
