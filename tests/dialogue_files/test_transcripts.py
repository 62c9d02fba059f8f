"""Transcripts as people and services write them: which form they are of, who speaks, what is said of them."""

import pytest

from basics.errors import UserError
from dialogue_files.reading import find_text_form, read_text
from dialogue_files.report import Report


def read(text: str) -> tuple[str, list[tuple[str, str]]]:
    """The form that is found, and the turns as (speaker, text)."""
    return find_text_form(text), [(one.speaker, one.text) for one in read_text(text)]


def told(text: str) -> list[str]:
    """What is said of a text, but for what is left out."""
    report = Report()
    read_text(text, report)
    return list(report.remarks)


TIMED = "Dana Fox  00:03\nGood morning.\n{}\nSam Lee  00:12\nI am fine.\n{}\n"


@pytest.mark.parametrize(
    "head",
    [
        "Sync\nFri, Jan 05, 2024 9:12AM • 14:32\n\nSUMMARY KEYWORDS\nrice, pan\n\nSPEAKERS\nDana Fox, Sam Lee\n\n",
        "TRANSCRIPT\nWeekly sync\n\nATTENDEES\nDana Fox, Sam Lee\n\n",
    ],
)
def test_a_head_in_capitals_makes_no_screenplay(head: str) -> None:
    turns = [("Dana Fox", "Good morning."), ("Sam Lee", "I am fine.")]
    assert read(head + TIMED.format("", "")) == ("headings", turns)
    assert read(head + TIMED[: TIMED.index("Sam")].format("")) == ("headings", turns[:1])


def test_what_is_shouted_makes_no_screenplay() -> None:
    shouted = TIMED.format("I SAID GO\nand he went", "NO WAY\nhe did")
    assert read(shouted) == (
        "headings",
        [("Dana Fox", "Good morning. I SAID GO and he went"), ("Sam Lee", "I am fine. NO WAY he did")],
    )


@pytest.mark.parametrize("line", ["At 7:30", "It's 7:30\nat 7:30"])
def test_a_time_that_is_said_makes_no_heading_of_a_screenplay(line: str) -> None:
    scene = f"RUTH\nSee you then.\n{line}\n\nPAUL\nFine.\n\n"
    assert read(scene * 4)[0] == "screenplay" and read("RUTH\nAt 7:30\n\nPAUL\nFine.\n")[0] == "screenplay"


STACKED = [("Dana Fox", "Who is in? Me!"), ("Sam Lee", "At 7:30"), ("Dana Fox", "Fine.")]


@pytest.mark.parametrize(
    "time", ["{}", "{}:05", "[{}]", "({} AM)", "{} p. m.", "{} Uhr", "— {} AM", "• {}", "- {} - {}"]
)
@pytest.mark.parametrize("gap", ["", "\n"])
def test_a_time_below_a_name_is_nobodys(time: str, gap: str) -> None:
    """As Google Meet, Otter and others show transcripts, and so as they are copied."""
    one, two, three = (time.replace("{}", f"10:0{minute}") for minute in (2, 3, 4))
    lines = "Dana Fox", one, "Who is in?", "Me!", "Sam Lee", two, "At 7:30", "Dana Fox", three, "Fine."
    text = "".join(f"{line}\n{gap}" for line in lines)
    for head in (
        "",
        "Weekly sync\nFri, Jan 5, 2024\n\nAttendees\nDana Fox\nSam Lee\n\nTranscript\n\n",
        "Sync\n10:00\n",
    ):
        form, turns = read(head + text)
        assert form == ("discord_text" if time.startswith("—") else "headings")  # where names have a tag beside them
        assert [turn for turn in turns if turn[1]] == STACKED
    assert read(text.replace("Dana Fox", "DANA FOX").replace("Sam Lee", "SAM LEE"))[0] == form


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0:00\nWelcome\n0:05\nPython\n0:07\nThanks\n0:09\n", None),
        ("0:00\nso today\nPython\n0:05\nwe look\n0:07\nat cats\n0:09\n", None),
        ("Lunch\n12:30\nbuy rice\n", None),
        ("Lunch\n12:30\nrice\n13:00\nwork\nDinner\n18:30\npeas\n19:00\n", None),
        ("Sync\n10:00\nAnn: Yes\nBen: No\n", None),
        ("Ann: Yes\n0:05\nBen: No\n0:07\nAnn: Oh\n0:09\n", [("Ann", "Yes"), ("Ben", "No"), ("Ann", "Oh")]),
        ("Ann:\nYes\n0:05\nBen:\nNo\n0:07\n", [("Ann", "Yes"), ("Ben", "No")]),
        ("Ann 0:01\nYes\n0:05\nBen 0:05\nNo\n0:07\n", [("Ann", "Yes"), ("Ben", "No")]),
    ],
)
def test_a_time_below_other_words_makes_no_speaker(text: str, expected: list | None) -> None:
    if expected is None:
        with pytest.raises(UserError, match="line [12]: .* is no turn"):
            read(text)
    else:
        assert read(text)[1] == expected


@pytest.mark.parametrize("chapter", ["Intro", "Outro", "Chapter 2", "PART III"])
@pytest.mark.parametrize("gap", ["\n", " ", "\n\u2022 "])
def test_a_part_of_a_recording_above_a_time_is_nobodys(chapter: str, gap: str) -> None:
    """Whoever stands below it had been a short message."""
    said = [(chapter, ""), ("Ann", "a\n"), ("Ben", "b\n"), (chapter, ""), ("Cy", "c\n"), ("Ann", "d\n")]
    text = "".join(f"{name}{gap}0:0{time}\n{words}" for time, (name, words) in enumerate(said))
    assert read(text) == ("headings", [("Ann", "a"), ("Ben", "b"), ("Cy", "c"), ("Ann", "d")])


def test_what_only_begins_like_a_part_of_a_recording_is_said() -> None:
    text = "Ann\n0:01\na\nBen\n0:02\nPart of me\n0:03\nb\nAnn\n0:04\nc\n"
    assert read(text) == ("headings", [("Ann", "a"), ("Ben", "Part of me b"), ("Ann", "c")])


def test_times_that_are_said_make_no_headings_of_a_screenplay() -> None:
    scene = "RUTH\nSee you then.\n\nPAUL\nFine.\n\n" * 4
    assert read(f"RUTH\n7:30\n\nPAUL\n8:00 pm\n\n{scene}")[0] == "screenplay"


@pytest.mark.parametrize("name", ["Amy", "Uhrig", "A. Moss", "+49 170 1234567", "🌸", "Śaṇkara"])
def test_who_speaks_before_or_after_a_time(name: str) -> None:
    for heading in ("{}  10:02 AM", "{} 10:02 Uhr:", "{} - 10:02"):
        assert read(f"{heading.format(name)}\nMe!\n") == ("headings", [(name, "Me!")])
    if name[0].isalpha():
        assert read(f"10:02 {name}\nMe!\n") == ("headings", [(name, "Me!")])
        assert read(f"10:02 AM {name}\nMe!\n") == ("headings", [(name, "Me!")])


def test_who_has_a_number_for_a_name_speaks_below_it() -> None:
    assert read("1:\nWho is in?\n2:\nMe!\n1:\nFine.\n") == (
        "headings",
        [("1", "Who is in?"), ("2", "Me!"), ("1", "Fine.")],
    )


MINUTES = "Participants: Ann, Ben\nPresent: both\nApologies: Cy\n"


def test_the_head_of_minutes_is_nobodys() -> None:
    turns = [("Ann", "hi"), ("Ben", "you")]
    parts = "Session 1: the boat\nAnn: hi\nBen: you\n\nConversation 2:\nPresent: Ann, Ben\nAnn: hi\nBen: you\n"
    assert read(f"{MINUTES}\n{parts}") == ("text", turns * 2)
    assert read(f"{MINUTES}\nParticipants:\nAnn, Ben\n\nAnn:\nhi\nSession 2:\nBen:\nyou\n") == ("headings", turns)


MEETING = "00:00:00\n \nAnn Fox: Hello.\nBen Low: Hi.\n\n00:05:00\n\nAnn Fox: Bye.\nMeeting ended after 00:06:00\n"


@pytest.mark.parametrize(
    ("head", "lines"),
    [
        ("Sync (2024-01-05 10:02 GMT-8) - Transcript\nAttendees\nAnn Fox, Ben Low\nTranscript\n", 4),
        ("Sync\nJan 5, 2024\n\nAttendees\n\nAnn Fox\nBen Low\n\nTranscript\nMade by a machine.\n\n", 7),
        ("Sync\nOrganizer: Ann Fox\nDate: Jan 5\nTRANSCRIPT\n", 4),
        ("\N{OPEN BOOK} Transcript\nJan 5, 2024\nSync - Transcript\n", 3),
        ("Sync at 10:02 – transcript\n\n", 1),
    ],
)
def test_the_head_of_a_meeting_is_nobodys(head: str, lines: int) -> None:
    """As Google Meet saves it; a blank line then stands between its parts, and not between dialogues."""
    report = Report()
    text = head + MEETING
    assert {one.dialogue for one in read_text(text, report)} == {"1"}
    assert read(text) == ("text", [("Ann Fox", "Hello."), ("Ben Low", "Hi."), ("Ann Fox", "Bye.")])
    assert {kind: one.count for kind, one in report.left_out.items()} == {"notices": lines + 1, "lines of times": 2}
    end = head.rstrip().count("\n") + 1
    assert list(report.remarks) == [
        f"up to line {end} it is taken for the head of a transcript, below for one dialogue"
    ]


@pytest.mark.parametrize(
    "text",
    [
        "Ann: a\nBen: b\nTranscript\nAnn: c\n",
        "Ann: a\nBen: b\nTranscript\n",
        "Sync\nAnn: I read it - Transcript\nBen: b\nCy: c\n",
        "Sync\nAnn: a\nBen: b\nTranscript\nCy: c\nDi: d\n",
        "Sync\nAnn: a\nBen: b\n",
    ],
)
def test_what_is_no_head_of_a_meeting_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="line [13]: '(Transcript|Sync)' is no turn"):
        read(text)


@pytest.mark.parametrize("gap", ["", "\n"])
def test_what_people_say_in_turn_is_no_head_of_a_meeting(gap: str) -> None:
    """Two transcripts in one file: the first is no head of the second, though fewer turns stand in it."""
    talk = "Q: a\nA: b\nQ: c\nA: d\n"
    text = f"One\nTranscript\n{gap}{talk}Two\nTranscript\n{gap}{talk}Q: e\n"
    with pytest.raises(UserError, match=f"line {8 if gap else 7}: 'Two' is no turn"):
        read(text)


def test_a_heading_of_markdown_ends_no_head_of_a_meeting() -> None:
    dialogues = [one.dialogue for one in read_text("# Transcript\n\nAnn: a\nBen: b\n\nAnn: c\n")]
    assert dialogues == ["1", "1", "2"]
    parts = "# One - Transcript\n\nAnn: a\nBen: b\n\n# Two - Transcript\n\nAnn: c\\!\n"
    assert read(parts) == ("text", [("Ann", "a"), ("Ben", "b"), ("Ann", "c\\!")])
    assert [one.dialogue for one in read_text(parts)] == ["1", "1", "2"]


@pytest.mark.parametrize("part", ["\n### 00:00:00", "### 00:00:00 {#00:00:00}"])
def test_a_heading_of_markdown_above_a_time_ends_the_head_of_a_meeting(part: str) -> None:
    """As Google Docs writes the transcript of a meeting, which is one dialogue."""
    text = f"Jan 5, 2026\n\n## Sync \\- Transcript\n{part}\n\n**Ann:** 24\\. a\\b\n\n**Ben\\_B:** b\n"
    assert read(text) == ("text", [("Ann", "24. a\\b"), ("Ben_B", "b")])
    assert {one.dialogue for one in read_text(text)} == {"1"}
    for other in (text.replace("Transcript", "Transcript 2"), text.replace(f"{part}\n", f"{part} and on\n")):
        with pytest.raises(UserError, match="line 1: 'Jan 5, 2026' is no turn"):
            read(other)


def test_those_who_are_present_may_speak_at_once_later() -> None:
    for blank in ("", "\n"):
        assert read(f"Ann: Ready?\n{blank}Participants: Yes!\n")[1] == [("Ann", "Ready?"), ("Participants", "Yes!")]
        for said in ("Bravo", "Well, I never"):
            assert read(f"Ann: Ready?\n{blank}Participants: {said}\n")[1][1] == ("Participants", said)
    scene = "RUTH\nReady?\n\nPARTICIPANTS\nYes!\n\n"
    assert read(scene * 2) == ("screenplay", [("RUTH", "Ready?"), ("PARTICIPANTS", "Yes!")] * 2)
    assert read("Ann:\nReady?\nAll:\nNo!\nParticipants:\nYes!\n")[1][2] == ("Participants", "Yes!")


@pytest.mark.parametrize("line", ["{}. {}:", "{}) {}:", "({}) {} :", "[{}] {}:", "#{} {}:", "0{} {}:", "{}. **{}:**"])
def test_numbers_of_lines_are_left_out(line: str) -> None:
    said = [(1, "Ann", "a"), (2, "Ben", "b"), (3, "Ann", "c")]
    lines = [f"{line.format(number, name)} {text}\n" for number, name, text in said]
    turns = [(name, text) for _, name, text in said]
    remark = ["numbers before names are taken for those of the lines, and left out"]
    assert read("".join(lines)) == ("text", turns) and told("".join(lines)) == remark
    again = [*lines, "[They laugh.]\n", "\n", *lines]  # a dialogue counts from 1 anew
    assert read("".join(again)) == ("text", turns * 2)
    pairs = [*lines[:2], "\n"] * 2
    assert read("".join(pairs)) == ("text", turns[:2] * 2)
    most = [lines[0], "Cy: d\n", lines[1], "Cy: e\n", lines[2]]
    assert read("".join(most)) == ("text", [turns[0], ("Cy", "d"), turns[1], ("Cy", "e"), turns[2]])
    gaps = [lines[0], "3. [They laugh.]\n", "\n", "5. Ben: b\n"]
    assert read("".join(gaps)) == ("text", [("Ann", "a"), ("Ben", "b")])


@pytest.mark.parametrize(
    "names",
    [
        ("1. Witch", "2. Witch", "3. Witch"),
        ("1. Witch", "2. Witch", "1. Witch", "Ann"),
        ("1. Witch", "Ann", "2. Guard", "Ben"),
        ("#1 Guard", "#2 Prisoner", "#1 Guard"),
        ("Speaker 1", "Speaker 2", "Speaker 3"),
        ("1", "2", "3"),
        *(("Q1", "A2", "Q2"), ("Q3", "A3", "Q2", "A2"), ("Q1", "A1", "A2"), ("Q1", "A1"), ("Q1", "Q2"), ("A1", "A2")),
        ("A1", "Q2", "A2"),
    ],
)
def test_numbers_of_people_stay(names: tuple[str, ...]) -> None:
    for between in ("\n", "\n\n"):
        assert [name for name, _ in read(between.join(f"{name}: a" for name in names))[1]] == list(names)


@pytest.mark.parametrize(
    ("names", "first"),
    [
        (("Q1", "A1", "Q2", "A2", "Q3"), "Q1"),
        (("Q1", "A1", "A1", "Q2", "Q2", "A2"), "Q1"),
        (("Q.7", "A", "Q.9", "A", "Moderator", "Q.10"), "Q.7"),
        (("Q1", "A1", "Q2", "A2", "Q1", "A1"), "Q1"),
        (("Q 1", "A 1", "Q 2"), "Q 1"),
    ],
)
def test_numbers_of_questions_and_answers_are_left_out(names: tuple[str, ...], first: str) -> None:
    remark = f"{first!r} and the like are taken for one who asks and one who answers, whose turns are numbered"
    for line in ("{}: a\n", "{}: a\n\n", "{}:\na\n", "[0:05] {} (softly): a\n"):
        text = "".join(line.format(name) for name in names)
        assert {name for name, _ in read(text)[1]} - {"Moderator"} == {"Q", "A"}
        assert [one for one in told(text) if "asks" in one] == [remark]
    assert read("Question 1: a\nAnswer 1: b\nQuestion 2: c\n")[1] == [
        ("Question", "a"),
        ("Answer", "b"),
        ("Question", "c"),
    ]


MESSAGE = "Jan 05, 2024  9:1{0}:03 PM (Read by them after 1 second)\nDana\nWho is in?\nTapbacks:\n    Loved by {0}\n\n"


@pytest.mark.parametrize(
    "text",
    [
        MESSAGE.format(2),
        f"{MESSAGE.format(2)}{MESSAGE.format(3)}Jan 05, 2024  9:14:03 PM\nMe\nListen:\n    Emphasized by Dana\n",
        "Some notes\nAction items:\nbuy rice\nwash up\n",
        "Some notes\nDecisions:\nbuy rice\n",
        "Some notes\nshopping:\nbuy rice\nkitchen:\nwash up\n",
        "Action items:\nbuy rice\n",
    ],
)
def test_a_colon_at_the_end_of_a_line_makes_no_speaker(text: str) -> None:
    with pytest.raises(UserError, match="line [12]: .* is no turn"):
        read(text)


@pytest.mark.parametrize("names", [("Ann",), ("Ann", "Ben"), ("ann", "ben", "ann"), ("Speaker one", "Speaker two")])
def test_names_with_colons_stand_above_the_text(names: tuple[str, ...]) -> None:
    text = "".join(f"{name}:\nThe truth is: a\nso b\n\n" for name in names)
    turns = [(name, "The truth is: a so b") for name in names]
    assert read(text) == ("headings", turns)
    if len(names) > 1 and " " not in names[0]:
        assert read(f"A talk\n\n{text}") == ("headings", turns)


def test_a_name_before_a_text_is_one_where_others_stand_above() -> None:
    turns = [
        ("Ann", "Hello there."),
        ("Ben", "What? Who?"),
        ("Ann", "Nothing."),
        ("Ann", "One thing: no."),
        ("Cy", "Ah."),
    ]
    text = "A talk\n\nAnn:\nHello there.\nBen (softly): What?\nWho?\n\nAnn:\nNothing.\nann: One thing: no.\nCy:\nAh.\n"
    assert read(text) == ("headings", turns)
    assert read(f"Host: Cy\n{text}Ann:\nBye.\n") == ("headings", [*turns, ("Ann", "Bye.")])
    remark = "'Ben' is taken for a speaker, though the text stands beside it and not below"
    assert [one for one in told(text) if "text" in one] == [remark]


def test_a_name_before_a_text_is_speech_where_names_with_times_stand_above() -> None:
    text = "Ann Fox 0:01\nGreat: at last\nBen Low 0:02\nAnn Fox: yes\nAnn Fox 0:03\nOh\n"
    assert [said for _, said in read(text)[1]] == ["Great: at last", "Ann Fox: yes", "Oh"]


def test_asides_in_any_case_and_bracket_are_left_out() -> None:
    asides = ["", " [laughs]", " (Laughing)", " (LAUGHING)", " [Laughs softly]"]
    assert {name for name, _ in read("".join(f"Ann{aside}: a\n" for aside in asides))[1]} == {"Ann"}
    assert [name for name, _ in read("[Ann]: a\n[Ann] (laughs): a\n**Ann [laughs]:** a\n")[1]] == ["Ann"] * 3
    assert told("".join(f"Ann{aside}: a\n" for aside in asides)) == []


@pytest.mark.parametrize("line", ["{}: a\n", "{}:\na\n", "{}  0:05\na\n"])
def test_people_who_differ_in_brackets_alone_are_told_of_once(line: str) -> None:
    names = "Sam (tenant)", "SAM (TENANT)", "Sam", "Sam (landlord)", "Sam (agent)", "Sam (laughing)"
    text = "".join(line.format(name) for name in names)
    remark = "'Sam (tenant)' and 'Sam (landlord)' are taken for one person: without the brackets they are two"
    assert [one for one in told(text) if "brackets" in one] == [remark]


def test_people_of_a_screenplay_who_differ_in_brackets_alone_are_told_of() -> None:
    text = "GUARD (young)\nGo.\n\nGUARD (old)\nNo.\n\nRUTH (V.O.) (CONT'D)\nSo?\n"
    assert read(text) == ("screenplay", [("GUARD", "Go."), ("GUARD", "No."), ("RUTH", "So?")])
    assert told(text) == [
        "'GUARD (young)' and 'GUARD (old)' are taken for one person: without the brackets they are two"
    ]


ALONE = (
    "Dana: I lost it.\nDana: I really did.\n\nSam: Oh no.\n\nDana: Yes.\nDANA (softly): All of it.\n\nSam: Poor you.\n"
)
TOGETHER = "\nDana: So?\nSam: So.\n"
REMARK = "in {} of {} dialogues one person speaks alone, as blank lines stand between speakers: without these lines it "


@pytest.mark.parametrize(
    ("text", "counts"),
    [
        (ALONE, (4, 4)),
        (f"\n{ALONE}{TOGETHER}\n\n", (4, 5)),
        ("Dana: a\n\nSam: b\n", (2, 2)),
        (ALONE + TOGETHER * 2, None),
        (f"Sam: b\n{TOGETHER}", None),
        ("Dana: a\nDana: b\n", None),
        ("", None),
    ],
)
def test_blank_lines_between_speakers_are_told_of(text: str, counts: tuple[int, int] | None) -> None:
    remarks = [one for one in told(text) if "blank lines" in one]
    assert remarks == ([f"{REMARK.format(*counts)}is one dialogue"] if counts else [])


def test_what_is_said_of_a_whole_file_is_told_after_any_number_of_remarks() -> None:
    lines = [f"{name}: Hi.\n\n{name.title()}: Ho.\n" for name in ("RUTH", "PAUL", "ANNA", "BERT", "CARL", "DORA")]
    lines += [f"Sam{place} (tenant): a\n\nSam{place} (landlord): b\n" for place in range(9)]
    report = Report()
    read_text("\n".join(lines), report)
    assert list(report.remarks)[-1].startswith("in 30 of 30 dialogues one person speaks alone")
    assert "and more remarks like these, of which 8 are told" in report.lines()
