"""What stands beside names and speech in transcripts and is none of them: times of every kind, letters, marks."""

import time

import pytest

from basics.errors import UserError
from dialogue_files.reading import find_text_form, read_text
from dialogue_files.report import Report


def read(text: str) -> tuple[list[tuple[str, str]], list[str]]:
    """The turns as (speaker, text), and what is said of them."""
    report = Report()
    return [(one.speaker, one.text) for one in read_text(text, report)], list(report.lines())


@pytest.mark.parametrize(
    ("lines", "shown"),
    [
        (("Ann 10.02: {}", "Ben 10.03: {}", "Ann 10.04: {}"), "Ann 10.02"),
        (("Ann (9.59): {}", "Ben [10.03]: {}", "Ann (10h04): {}"), "Ann (9.59)"),
        (("Ann [1.25s]: {}", "Ben [1.3s]: {}", "Ann [10s]: {}"), "Ann 1.25s"),
        (("1.23-4.56 Ann: {}", "4.56-7.00 Ben: {}", "7.75-9.00 Ann: {}"), "1.23-4.56 Ann"),
        (("[0.0s - 1.5s] Ann: {}", "[1.5s - 3s] Ben: {}", "[3.0s - 4s] Ann (softly): {}"), "0.0s - 1.5s Ann"),
        (("Ann, 5/31/2024: {}", "Ben, 5/31/2024: {}", "Ann, 6/1/2024, 10:04 AM: {}"), "Ann, 5/31/2024"),
        (("Ann, 5/31/2024: {}", "Ben, 5/31/2024: {}", "Ann, 5/31/2024: {}"), "Ann, 5/31/2024"),
    ],
)
def test_times_beside_names_are_those_of_turns(lines: tuple[str, ...], shown: str) -> None:
    turns, said = read("".join(f"{line.format('a')}\n" for line in lines))
    assert turns == [("Ann", "a"), ("Ben", "a"), ("Ann", "a")]
    assert said == [f"numbers beside names, as in {shown!r}, are taken for times"]


@pytest.mark.parametrize("name", ["SPEAKER_00", "Speaker 1", "Ann"])
@pytest.mark.parametrize(
    "line",
    ["{} [{}s - {}s]: a", "{} ({}s - {}s): a", "{0} {1}: a", "{} ({}-{}): a", "{0} [{1}]: a", "{0} {1}s: a"]
    + ["[{1}s -> {2}s] {0}: a", "({1}, {2}) {0}: a", "{0}, {1}: a"],
)
def test_seconds_beside_names_with_numbers_are_those_of_turns(name: str, line: str) -> None:
    """As scripts around Whisper print them, whose speakers are numbered."""
    other = name.translate(str.maketrans("01", "23")).replace("Ann", "Ben")
    names = [name, other, name]
    text = "".join(f"{line.format(one, f'{3 * at}.12', f'{3 * at + 2}.34')}\n" for at, one in enumerate(names))
    turns, said = read(text)
    assert [one for one, _ in turns] == names
    assert len(said) == 1 and said[0].endswith("are taken for times")


@pytest.mark.parametrize(
    "names",
    [
        ("Witch 1.1", "Witch 1.2", "Witch 1.1", "Witch 1.2"),
        ("GPT 4.10", "GPT 3.50", "GPT 4.10"),
        ("Ann 1.3", "Ann 1.2", "Ben 1.4"),
        ("Ann 1.5", "Ben 1.6", "Cy 1.7"),
        ("Ann 10.02", "Ann 10.03"),
        ("Agent 7", "Agent 8", "Agent 9"),
        ("GPT 3.5", "GPT 3.5", "GPT 4.0", "GPT 4.1"),
        ("Witch 1.1", "Witch 1.2", "Witch 1.3", "Macbeth"),
        ("Caller 123-45-67", "Caller 234-56-78", "Host", "Caller 123-45-67"),
        ("Flat 12-34-56", "Flat 12-34-57", "Flat 12-34-56"),
    ],
)
def test_numbers_that_fall_or_tell_people_apart_stay(names: tuple[str, ...]) -> None:
    turns, said = read("".join(f"{name}: a\n" for name in names))
    assert [name for name, _ in turns] == list(names)
    first, second, *_ = dict.fromkeys(names)
    alike = len({name.split()[0] for name in names}) < len(set(names)) and bool({".", "-"} & {*names[0]})
    assert [line for line in said if "are the numbers times?" in line] == (
        [f"warning: {first!r} and {second!r} are taken for two people: are the numbers times?"] * alike
    )


@pytest.mark.parametrize("date", ["5/1/24", "05/31/2024", "31.12.2024", "1-5-2024", "2024-05-01", "2024/5/1"])
def test_a_single_date_beside_a_name_is_nobodys(date: str) -> None:
    assert read(f"Ann, {date}: a\nBen: b\n")[0] == [("Ann", "a"), ("Ben", "b")]


def test_a_comma_before_a_time_is_none_of_a_name() -> None:
    text = "Ann, 10:02: a\nMalcolm X, 10:03: b\nAnn, Malcolm X: c\n"
    assert read(text)[0] == [("Ann", "a"), ("Malcolm X", "b"), ("Ann, Malcolm X", "c")]


@pytest.mark.parametrize(
    "beside",
    [
        "{}, Wed",
        "{}, Yesterday",
        "{}, May 1,",
        "{} May 1, 2024 at",
        "{} on 1 May 2024,",
        "{}, on Wed,",
        "{}  5/1/2024",
        "{} 01.05.24",
    ]
    + ["{}  Sun", "{} Wednesday", "{} Wed 5/1", "{} — Today at", "{} \N{MIDDLE DOT}", "{} \N{BULLET} Thu"]
    + [
        "{}, Montag",
        "{} Mittwoch",
        "{}, Mo",
        "{} — Di.",
        "{}, gestern um",
        "{} heute",
        "{}  Heute um",
        "{}, 1. März 2024",
    ]
    + ["{}, hier à", "{} aujourd’hui", "{} lundi", "{}, le 1er mai 2024 à", "{}, ayer a las", "{} 1 de mayo de 2024"],
)
@pytest.mark.parametrize("line", ["{} 10:0{} AM\n{}\n", "{} 10:0{}\n{}\n", "{} 10:0{}: {}\n", "{} [10:0{}]: {}\n"])
def test_a_day_between_a_name_and_a_time_is_nobodys(beside: str, line: str) -> None:
    """As Teams, Google Chat and others write it, so that one person would be another every day."""
    said = [("Lena Hart", "oh: no"), ("Joe", "why"), ("Lena Hart", "rain")]
    text = "".join(line.format(beside.format(name), place, words) for place, (name, words) in enumerate(said))
    assert read(text)[0] == said


@pytest.mark.parametrize(
    "name",
    ["Lena Sun", "Theresa May", "Caller 1/2", "June", "Mon Ami", "Witch 1.1", "Caller 123-45-67", "Bot 1.2.3"]
    + ["Mi-Sun", "Jo-Mo", "Chris Hoy", "Ana Domingo", "Marie Hier", "Le Mo"]
    + ["Herr Freitag", "Frau Dr. Sonntag", "Mr. Friday"],
)
def test_a_name_that_looks_like_a_day_stays(name: str) -> None:
    assert read(f"{name} 10:02 AM\nWhy?\nBen 10:03 AM\nRain.\n")[0] == [(name, "Why?"), ("Ben", "Rain.")]


@pytest.mark.parametrize(
    "day", ["May 1,", "Wed 5/1", "1 May", "Thu,", "Yesterday at", "Montag,", "Gestern um", "mardi", "hoy", "1. Mai"]
)
@pytest.mark.parametrize("line", ["{0}\n{1} 10:0{2} AM\n{3}\n", "{1} 10:0{2} AM\n{0}\n{3}\n"])
def test_a_day_alone_before_a_time_is_nobody(day: str, line: str) -> None:
    said = [("Lena Hart", "I burnt it"), ("Joe", "why"), ("Lena Hart", "rain")]
    with pytest.raises(UserError, match="is no turn"):
        read("".join(line.format(name, day, place, words) for place, (name, words) in enumerate(said)))


@pytest.mark.parametrize("day", ["Yesterday", "Wednesday", "5/1", "May 1, 2024 at", "Gestern", "Montag", "ayer"])
@pytest.mark.parametrize("line", ["[{1} 10:0{2} AM] {0}\n{3}\n", "{0}, [{1} 10:0{2} AM]:\n{3}\n"])
def test_a_day_in_brackets_is_nobodys(day: str, line: str) -> None:
    said = [("Hart, Lena", "oh: no"), ("Joe", "why"), ("Hart, Lena", "rain")]
    text = "".join(line.format(name, day, place, words) for place, (name, words) in enumerate(said))
    assert read(text)[0] == said


@pytest.mark.parametrize("head", ["{}  [10:01 AM]", "{} 10:01", "{} — Today at 10:01 AM"])
def test_a_time_before_a_message_that_goes_on_is_none_of_it(head: str) -> None:
    """As what is copied out of Slack or Discord has it, where somebody sends several messages."""
    ann, ben = head.format("Ann"), head.format("Ben").replace("01", "04")
    text = f"{ann}\nI burnt it\n[10:02 AM] really\n[10:03 AM]burnt: all\n{ben}\nOh no\n"
    assert read(text)[0] == [("Ann", "I burnt it really burnt: all"), ("Ben", "Oh no")]


@pytest.mark.parametrize(
    "date",
    ["2024-05-01 10:01 AM UTC", "2024-05-01", "May 1, 2024", "Wed, 1 May 2024 10:01:02 +0000", "2024-05-01T10:01:02Z"],
)
def test_a_date_at_the_head_of_a_chat_is_said_by_nobody(date: str) -> None:
    for gap in ("", "\n"):
        text = f"Chat started: {date}\n{gap}(10:01:02 AM) Ann: When?\n(10:01:05 AM) Ben: {date}\n"
        turns, said = read(text)
        assert turns == [("Ann", "When?"), ("Ben", date)]
        assert said == ["left out: notices 1 (line 1)"]
    for no_date in ("May 1", "123-45-67", "555-12-3456", "1.2.3"):
        assert read(f"Ann: {no_date}\nBen: 10:30\n")[0] == [("Ann", no_date), ("Ben", "10:30")]
    assert read(f"Ann: {date} then\nBen: Yes\n")[0] == [("Ann", f"{date} then"), ("Ben", "Yes")]
    chats = f"Chat started: {date}\nAnn: When?\nBen: Now\n\n" * 2
    assert read(chats)[0] == [("Ann", "When?"), ("Ben", "Now")] * 2


def test_a_date_is_an_answer_where_blank_lines_stand_between_turns() -> None:
    said = [("Ann", "When?"), ("Ben", "5/1/1990"), ("Ann", "And Cy?"), ("Mr. Low", "May 3, 1992")]
    turns, told = read("\n".join(f"{name}: {text}\n" for name, text in said))
    assert turns == said and not any("left out" in one for one in told)


@pytest.mark.parametrize("line", ["{}. {}\n", "{}.   {}\n", "{}   {}\n", "{}\t{}\n", "  {}. {}\n"])
def test_letters_alone_before_speech_ask_and_answer(line: str) -> None:
    said = ("Q", "Where: here?"), ("A", "I was told: no."), ("Q", "Alone?"), ("A", "Yes."), ("Q", "Sure?"), ("A", "No.")
    turns, remarks = read("".join(line.format(*one) for one in said) + "MR. HALE: Objection.\n")
    assert turns == [*said, ("MR. HALE", "Objection.")]
    assert remarks == ["Q and A before a dot or a gap are taken for speakers"]
    numbered = "".join(f"Q{number}. a\nA{number}. a\n" for number in (1, 2))
    assert [name for name, _ in read(numbered)[0]] == ["Q", "A"] * 2


@pytest.mark.parametrize(
    "text",
    [
        "A. one\nB. two\nC. three\nA. one\nB. two\nC. three\n",
        "Q. Where?\nA. Here.\n",
        "I  am\nA  man\n",
        "Q Where\n" * 4,
        "A. one\nB. two\nA. one\nB. two\n",
    ],
)
def test_other_letters_are_no_speakers(text: str) -> None:
    with pytest.raises(UserError, match="line 1: .* is no turn"):
        read(text)


def test_initials_stay() -> None:
    turns = [("A. Moss", "a"), ("B. Low", "b")] * 2
    assert read("".join(f"{name}: {said}\n" for name, said in turns))[0] == turns


@pytest.mark.parametrize("end", ["\r", "\u2028", "\x85", "\v", "\f"])
def test_marks_that_end_lines_elsewhere_end_turns(end: str) -> None:
    told = "marks other than a line feed are taken to end lines, where a name and a colon follow"
    assert read(f"Ann: a{end}Ben: b\nAnn: so{end}it is\nBen: c{end}the truth is: d\n") == (
        [("Ann", "a"), ("Ben", "b"), ("Ann", "so it is"), ("Ben", "c the truth is: d")],
        [told],
    )
    assert read(f"Ann{end}Lee: a\n") == ([("Ann Lee", "a")], [])
    assert read(f"Ann: so{end}it is\nBen: b{end}\n") == ([("Ann", "so it is"), ("Ben", "b")], [])
    assert read(f"Ann: so{end}it is{end}Ben: b\n") == ([("Ann", "so it is"), ("Ben", "b")], [told])


def test_many_marks_in_a_line_take_a_time_that_grows_with_it() -> None:
    start = time.process_time()
    with pytest.raises(UserError, match="the utterance has .* characters, allowed are"):
        read("Ann: a" + "\rb" * 400_000)
    assert time.process_time() - start < 3


def test_brackets_in_brackets_are_directions() -> None:
    turns, said = read("Ann: a\n(Ben Low [North]: No!)\n[Scene (a kitchen)]\nBen: b\n(X) Cy: c (d)\n")
    assert [name for name, _ in turns] == ["Ann", "Ben", "(X) Cy"] and said == [
        "left out: directions 2 (first in line 2)"
    ]


@pytest.mark.parametrize(
    "line",
    ["(They whisper [inaudible)", "[laughs (loud]", "(smiles :( )", "(smiles :))", "(X rays)", "{x (y}", "[[a] b]"],
)
def test_a_bracket_that_has_no_end_is_of_a_direction(line: str) -> None:
    turns, said = read(f"Ann: a\n{line}\nBen: b\n")
    assert turns == [("Ann", "a"), ("Ben", "b")] and said == ["left out: directions 1 (line 2)"]


def test_nicks_of_irc_stand_in_angles_behind_a_time() -> None:
    log = "--- Log opened Wed\n[10:01] <lena> So: yes\n[10:02] * jonas says: hi\n10:03 -!- ida has joined\n"
    log += "10:04 <@jonas> a\n"
    assert find_text_form(log) == "text"
    assert read(log) == ([("lena", "So: yes"), ("jonas", "a")], ["left out: notices 3 (first in line 1)"])
    with pytest.raises(UserError, match="line 1: '<unclear> no' is no turn"):
        read("<unclear> no\n")


@pytest.mark.parametrize(
    "text", ["10:01\tAnn\tyes\n10:02\tBen\tno\n", "10:01 lena hello\n10:02 jonas hi\n10:03 lena so\n"]
)
def test_a_name_with_text_beside_it_stands_above_nothing(text: str) -> None:
    assert find_text_form(text) == "text"


def test_the_last_name_may_say_nothing() -> None:
    turns = [("Ann", "a")], ["left out: empty turns 1 (line 3)"]
    assert read("Ann:\na\nBen:\n") == read("Ann 0:05\na\nBen 0:09\n") == turns


def test_a_short_message_above_the_time_of_the_next_is_said() -> None:
    text = "Ann Fox\n10:01\nSo\nBen Low\n10:02\nWow\n10:03\nNo\nAnn Fox\n10:04\nBen Low\n10:05\nYes\n"
    turns, said = read(text)
    assert turns == [("Ann Fox", "So"), ("Ben Low", "Wow No"), ("Ben Low", "Yes")]
    assert "left out: lines of times 1 (line 7), empty turns 1 (line 10)" in said


@pytest.mark.parametrize(
    "line",
    [
        "**{}** [00:00:07]: a",
        "**{} (00:07):** a",
        "**{}:** [00:07] a",
        "__{}__: a",
        "{}: [0:05] a",
        "{}: (0:05)  a",
        "{}: a #00:00:07-1#",
        "#00:00:07-1# {}: a",
        "(laughing) {}: a",
        "[sighs] {}: a",
    ],
)
def test_marks_around_names_and_times_in_speech_are_nobodys(line: str) -> None:
    text = "\n".join((line.format("Ann_1 Lee"), "Ben: b", "Ann_1 Lee: [00:09] c [00:12] d"))
    assert read(text)[0] == [("Ann_1 Lee", "a"), ("Ben", "b"), ("Ann_1 Lee", "c d")]


def test_two_times_before_names_are_those_of_turns() -> None:
    turns, _ = read("0.5 3.2 A: a\n\n3.3 4.5 B: b\n\n4.6 5.5 A: c\n")
    assert turns == [("A", "a"), ("B", "b"), ("A", "c")]


@pytest.mark.parametrize(("last", "is_told"), [("B.4", True), ("B.2", False), ("Cy", False)])
def test_names_that_may_count_turns_are_told(last: str, is_told: bool) -> None:
    _, said = read("".join(f"{name}: a\n" for name in ("A.1", "B.2", "A.3", last)))
    told = "warning: 'A.1', 'B.2' and so on are taken for 4 people, each of whom speaks once: are the numbers those of "
    assert said == [f"{told}turns?"] * is_told


def test_a_head_ends_with_its_label_too() -> None:
    turns, said = read("Meeting Title: Sync\n\nTranscript:\n\nThem: a\n\nMe: b\n")
    assert turns == [("Them", "a"), ("Me", "b")]
    assert said[0] == "up to line 3 it is taken for the head of a transcript, below for one dialogue"
    assert read("Ann: a\nBen: my - transcript\nAnn: b\nBen: c\n")[0][1] == ("Ben", "my - transcript")


def test_marks_of_fountain_are_none_of_a_name() -> None:
    text = "INT. BOAT\n\nRUTH\nYou are late.\n\n@McCLANE\nYes.\n\nRUTH ^\nNo.\n\nPAUL\nAh.\n"
    assert read(text)[0] == [("RUTH", "You are late."), ("McCLANE", "Yes."), ("RUTH", "No."), ("PAUL", "Ah.")]


def test_what_is_to_be_done_is_not_said() -> None:
    text = "0:00 - Ann\na\nACTION ITEM: Buy - WATCH: https://fathom.video/x?t=7\n0:12 - Ben\nb\n"
    assert read(text)[0] == [("Ann", "a"), ("Ben", "b")]


def test_a_chat_of_irc_with_dates_and_one_of_discord_of_old() -> None:
    assert read("[2024-05-01 10:01:05] <@ann> a\n[2024-05-01 10:02:05] <ben> b: c\n")[0] == [
        ("ann", "a"),
        ("ben", "b: c"),
    ]
    assert read("[01-May-24 10:01 AM] ann\na: b\n\n[01-May-24 10:02 AM] ben\nc\n")[0] == [("ann", "a: b"), ("ben", "c")]


@pytest.mark.parametrize(
    "last", ["Ligação de voz perdida", "Cevapsız sesli arama", "Appel vocal manqué", "Llamada perdida"]
)
def test_calls_and_marks_of_edited_messages_in_other_languages(last: str) -> None:
    head = "13/06/2023 19:3{} - Ana: {}\n"
    said = ("até logo <Mensagem editada>", "oi <Bu mesaj düzenlendi>", last)
    assert read("".join(head.format(*one) for one in enumerate(said)))[0] == [("Ana", "até logo"), ("Ana", "oi")]
