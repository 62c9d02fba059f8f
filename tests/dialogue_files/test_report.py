"""The report on a file: which remarks, names and splits it holds, and the lines that it makes of them."""

import pytest

from dialogue_files import report as module
from dialogue_files.report import Header, LeftOut, Remark, Report, SplitSaid

MORE = "and more remarks like these, of which 8 are told"


@pytest.mark.parametrize(("ninth", "told"), [("remark 3", []), ("another", [MORE])])
def test_eight_remarks_are_told_and_that_there_are_more(ninth: str, told: list[str]) -> None:
    report, first = Report(), [f"remark {place}" for place in range(8)]
    for text in (*first, ninth):
        report.note(Remark(text))
    assert list(report.lines()) == [*first, *told]
    report.note(Remark("on the whole file", of_file=True))
    assert list(report.lines()) == [*first, "on the whole file", *told]


def test_the_first_split_and_the_header_are_kept() -> None:
    report = Report()
    for one in (SplitSaid("split", 2), SplitSaid("subset", 3), Header(("speaker", "text"), 1)):
        report.note(one)
    assert (report.split, report.header) == (SplitSaid("split", 2), Header(("speaker", "text"), 1))
    assert list(report.lines()) == []


def test_what_is_left_out_is_counted_and_its_line_told_where_it_is_known() -> None:
    report = Report()
    for kind, line in [
        ("notices", 3),
        ("empty turns", 7),
        ("sounds", 0),
        *[("times", line) for line in range(5, 1505)],
    ]:
        report.note(LeftOut(kind, line))
    told = "notices 1 (line 3), empty turns 1 (line 7), sounds 1, times 1,500 (first in line 5)"
    assert report.told_left_out() == told
    assert list(report.lines()) == [f"left out: {told}"]
    assert Report().told_left_out() == ""


def test_those_with_most_turns_are_told_first_and_a_hundred_at_most() -> None:
    report = Report()
    for name in ("Ann", "BEN", "Ben", *(f"Witch {place:03}" for place in range(98))):
        report.speak(name, 1)
    rest = [f"Witch {place:03}: 1 turn" for place in range(98)]
    assert list(report.speaker_lines()) == ["BEN: 2 turns", "Ann: 1 turn", *rest]
    assert report.spelling("ben") == "BEN" and report.spelling("Cy") == "Cy"
    report.speak("Cy", 2)
    assert list(report.speaker_lines()) == ["BEN: 2 turns", "Ann: 1 turn", *rest, "and 1 more speaker"]


def test_of_more_names_than_are_held_the_first_are_counted_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_NAMES", 2)
    report = Report()
    for name in ("Ann", "Ben", "Cy", "Ann", "Cy"):
        report.speak(name, 1)
    assert list(report.speaker_lines()) == ["Ann: 2 turns", "Ben: 1 turn"]


def test_three_names_that_read_like_sentences_are_told_and_how_many_more() -> None:
    report = Report()
    names = ["The truth is", "I told him", "Ruth said", "Who is it", "What we want"]
    for line, name in enumerate(names[:3], start=1):
        report.speak(name, line)
    told = [
        f"warning: line {line}: {name!r} is taken for a speaker, speaks once and reads like the beginning of a sentence"
        for line, name in enumerate(names[:3], start=1)
    ]
    assert list(report.lines()) == told
    for name in names[3:]:
        report.speak(name, 9)
    assert list(report.lines()) == [*told, "warning: more names like these: 2"]
    report.speak(names[0], 10)
    assert names[0] not in "".join(report.lines())


def test_numbers_of_those_who_speak_again_are_not_those_of_turns() -> None:
    report = Report()
    for name in ("A.1", "B.2", "A.3", "B.4"):
        report.speak(name, 1)
    (told,) = report.lines()
    assert told.startswith("warning: 'A.1', 'B.2' and so on are taken for 4 people, each of whom speaks once")
    report.speak("A.1", 5)
    assert list(report.lines()) == []
