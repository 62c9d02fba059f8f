"""Subtitles: whose words a cue holds, and what is said where that is doubtful."""

import time
from itertools import pairwise

import pytest

from corpora import remarks_on, said_in

TIMES = "00:00:01,000 --> 00:00:02,000\n"


def cues_of(*texts: str) -> str:
    return "".join(f"{TIMES}{text}\n\n" for text in texts)


# A cue, after one in which Ann speaks -> what it is.
CUES = {
    "Ben: b": [("Ben", "b")],
    "[Ben]: b": [("Ben", "b")],
    "- Ben: b": [("Ben", "b")],
    ">> Ben: b": [("Ben", "b")],
    "(Speaker 2) b": [("Speaker 2", "b")],
    "<i>b</i> {\\an8}c": [("Ann", "b c")],
    "5 &lt; 7": [("Ann", "5 < 7")],
    "Ben: b&#10;c": [("Ben", "b\nc")],
    "[Speaker 2] b&#10;c": [("Speaker 2", "b\nc")],
    "ben: b": [("Ann", "ben: b")],
    "(Ann) b": [("Ann", "b")],
    "[ANN]\nb: c": [("ANN", "b: c")],
    "- (ANN) LISTEN: b": [("ANN", "LISTEN: b")],
    "(Ben): b": [("Ben", "b")],
    "(softly): b": [("Ann", "(softly): b")],
    "(LAUGHS) b": [("Ann", "(LAUGHS) b")],
    "-b\n–-5": [("Ann", "b –-5")],
    "b\nc": [("Ann", "b c")],
    "- b\n- c": [("Ann", "b c")],
    "- b - c": [("Ann", "b - c")],
    "♪ la la ♪": ["cues of sounds"],
    "[door closes]": ["cues of sounds"],
    "Ben: ♪♪": ["cues of sounds"],
    "see http://x.y": [("Ann", "see http://x.y")],
    "at 7:30": [("Ann", "at 7:30")],
}


@pytest.mark.parametrize(("cue", "expected"), CUES.items())
def test_a_cue(cue: str, expected: list) -> None:
    for end in ("\n", " \r\n"):
        content = f"1\n00:00:01,000 --> 00:00:02,000\nAnn: a\n\n2\n00:00:02,000 --> 00:00:03,000\n{cue}\n"
        assert said_in("srt", content.replace("\n", end)) == [("Ann", "a"), *expected]


def test_what_stands_before_a_cue_is_its_name_or_speech() -> None:
    """Names of cues stand after a blank line in WebVTT; SRT has numbers or nothing."""
    srt = "00:00:01,000 --> 00:00:02,000\nAnn: a\n\nb\n00:00:02,000 --> 00:00:03,000\nc\n"
    assert said_in("srt", srt) == [("Ann", "a b"), ("Ann", "c")]
    first, last = "first\n00:01.000 --> 00:02.000\n<v Ann>a\n", "last\n00:03.000 --> 00:04.000\nc\n"
    vtt = f"WEBVTT\n\n{first}00:02.000 --> 00:03.000\n<v Ben>b\n\n{last}"
    assert said_in("vtt", vtt) == [("Ann", "a"), ("Ben", "b"), ("Ben", "c")]


@pytest.mark.parametrize("end", ["\n", " \n"])
def test_marks_of_cues_need_no_blank_line_and_no_text_before_them(end: str) -> None:
    srt = "1\n00:00:01,000 --> 00:00:02,000\nAnn: a\n2\n00:00:02,000 --> 00:00:03,000\nb\n"
    assert said_in("srt", srt.replace("\n", end)) == [("Ann", "a"), ("Ann", "b")]
    webex = 'WEBVTT\n\n1 "Ann" (7)\n00:01.000 --> 00:02.000\na\n2 "Ben" (8)\n00:02.000 --> 00:03.000\nb\n'
    assert said_in("vtt", webex.replace("\n", end)) == [("Ann", "a"), ("Ben", "b")]
    silent = "WEBVTT\n\n00:01.000 --> 00:02.000\n\nlast\n00:02.000 --> 00:03.000\n<v Ann>a\n"
    assert said_in("vtt", silent.replace("\n", end)) == [("Ann", "a")]


def test_where_voices_are_named_a_colon_and_arrows_are_speech() -> None:
    cues = "<v Ann>a", "Ben: b", ">> c"
    content = "".join(f"00:00:0{n}.000 --> 00:00:0{n + 1}.000\n{cue}\n\n" for n, cue in enumerate(cues, start=1))
    assert said_in("vtt", f"WEBVTT\n\n{content}") == [("Ann", "a"), ("Ann", "Ben: b"), ("Ann", ">> c")]


def test_times_of_words_are_those_of_automatic_captions() -> None:
    cues = "Ann: do<00:00:01.500><c> you</c>", "Ann: do you\nlike it"
    content = "".join(f"00:00:0{n}.000 --> 00:00:0{n + 1}.000\n{cue}\n\n" for n, cue in enumerate(cues, start=1))
    assert said_in("vtt", f"WEBVTT\n\n{content}") == [("Ann", "do you like it")]


@pytest.mark.parametrize("named", [("ann: a", "cat: b"), ("Ann: a", "ben: b", "ben: c", "cat: d")])
def test_where_names_are_in_lower_case_one_may_speak_once(named: tuple[str, ...]) -> None:
    content = "".join(f"{TIMES}{cue}\n\n" for cue in named)
    assert said_in("srt", content) == [tuple(cue.split(": ")) for cue in named]


def test_what_is_taken_for_speech_is_told() -> None:
    told = remarks_on("srt", cues_of("Ann: a", "The truth is: b", "I mean: c", "My answer is: d", "Ann: e"))
    assert told == ["before a colon, and taken for speech: 'The truth is', 'I mean' and 1 more"]


def test_columns_of_substation_alpha() -> None:
    head = "Format: Start , End,Name ,Text\n"
    assert said_in("ass", f"{head}Dialogue: 0:01, 0:02, Ann ,a, b\\Nc\nComment: x\n") == [("Ann", "a, b c")]
    assert said_in("ass", "Format: Start, End, Text\nDialogue: 0:01,0:02,Ann: a\n") == [("Ann", "a")]


@pytest.mark.parametrize(
    ("name", "times"),
    [
        ("Ana Maria de la Cruz", 1),
        ("Sam Lee (Head of Sales, Berlin)", 1),
        ("Sam Lee (Head of the Sales Department at Acme)", 1),
        ("Nora Bell, Tim Rowe and Ida Voss", 1),
        ("THE MAN IN THE HAT", 2),
    ],
)
def test_names_of_many_words(name: str, times: int) -> None:
    content = cues_of("Dana Fox: a", *(f"{name}: {said}" for said in "bc"[:times]))
    assert said_in("srt", content) == [("Dana Fox", "a"), *((name, said) for said in "bc"[:times])]


@pytest.mark.parametrize(
    "said",
    ["AND THEN HE SAID THIS", "The truth about all of this is", "I told him again and again", "He said (In Rome)"],
)
def test_many_words_before_a_colon_that_are_speech_are_told(said: str) -> None:
    content = cues_of("Ann: a", "Ben: b", f"{said}: c")
    assert said_in("srt", content) == [("Ann", "a"), ("Ben", "b"), ("Ben", f"{said}: c")]
    assert remarks_on("srt", content) == [f"before a colon, and taken for speech: {said!r}"]


def test_of_what_is_taken_for_speech_the_most_frequent_is_told_first() -> None:
    long = "The man whom nobody has ever named"
    (told,) = remarks_on("srt", cues_of("Ann: a", "The truth is: b", f"{long}: c", f"{long}: d", "Ann: e"))
    assert told == f"before a colon, and taken for speech: {long!r}, 'The truth is'"


@pytest.mark.parametrize(
    ("cues", "nameless", "names"),
    [
        (("Three Days Later:", "a", "b"), 2, "'Three Days Later'"),
        (("Previously on Kitchen: a", "b", "c"), 2, "'Previously on Kitchen'"),
        (("London: a", "b", "c", "Paris: d", "e"), 3, "'London', 'Paris'"),
        (("London: a", "b"), 1, "'London'"),
        (("London: a", "London: b", *map(str, range(19))), 19, "'London'"),
    ],
)
def test_names_that_hardly_stand_in_a_file_are_warned_of(cues: tuple[str, ...], nameless: int, names: str) -> None:
    last = "are given to whoever was named last; before a colon, and taken for names"
    assert remarks_on("srt", cues_of(*cues)) == [f"warning: cues that name nobody ({nameless}) {last}: {names}"]


@pytest.mark.parametrize(
    "cues",
    [
        ("Ann: a", "Ben: b", "c"),
        ("Ann: a", "ANN: b", "c", "d", "e"),
        ("Ann: a", "Ann: b", *map(str, range(18))),
        ("<v Ann>a", "b", "c"),
        ("Ann: a", "[music]", "♪"),
    ],
)
def test_names_that_stand_twice_or_with_most_cues_are_not_doubted(cues: tuple[str, ...]) -> None:
    assert remarks_on("srt", cues_of(*cues)) == []


@pytest.mark.parametrize("cue", ["(BEN) b", "[BEN] b", "- (Ben) b", "(BEN)\nb", "(BEN)"])
def test_a_name_in_brackets_is_one_that_stands_before_a_colon(cue: str) -> None:
    content = cues_of("ANN: a", cue, "c", "BEN: d", "(LAUGHS) e", "[MUSIC] f", "[door closes] g", "(SIGHS)")
    said = [(speaker.upper(), text) for speaker, text in said_in("srt", content)[:-1]]
    b = [("BEN", "b")] if "b" in cue else []
    assert said == [
        *(("ANN", "a"), *b, ("BEN", "c"), ("BEN", "d"), ("BEN", "(LAUGHS) e"), ("BEN", "[MUSIC] f")),
        ("BEN", "[door closes] g"),
    ]
    told = "in brackets, and taken for no names, as none stands before a colon: 'LAUGHS', 'MUSIC'"
    assert remarks_on("srt", content)[0] == told


def test_a_name_in_brackets_alone_is_told() -> None:
    content = cues_of("ANN: a", "(BEN) b", "ANN: c", "[BEN] d")
    assert said_in("srt", content) == [("ANN", "a"), ("ANN", "(BEN) b"), ("ANN", "c"), ("ANN", "[BEN] d")]
    assert remarks_on("srt", content) == ["in brackets, and taken for no names, as none stands before a colon: 'BEN'"]


@pytest.mark.parametrize(
    ("cue", "told"),
    [
        *(
            ("(Tom)", "Tom"),
            ("[TOM]", "TOM"),
            ("- (TOM)", "TOM"),
            ("(TOM)\nb", "TOM"),
            ("[MAN ON RADIO]\nb", "MAN ON RADIO"),
        ),
        *(
            ("[DOOR SLAMS]", "DOOR SLAMS"),
            ("(Tom Bell)", "Tom Bell"),
            ("b\n(TOM)", "TOM"),
            ("(STEPHEN KING)", "STEPHEN KING"),
            ("(King)", "King"),
        ),
        *((cue, "") for cue in ("(sighs)", "(SIGHS)", "[MUSIC]", "[Music playing]", "(LAUGHING)", "[PHONE RINGING]")),
        *((cue, "") for cue in ("[SOFT MUSIC]", "(SIGHS)\nb", "[door slams]", "♪ (Tom) ♪", "(ANN)", "(APPLAUSE)")),
    ],
)
def test_a_name_alone_in_brackets_may_be_a_sound_and_is_told(cue: str, told: str) -> None:
    content = cues_of("ANN: a", "BEN: b", cue, "ANN: c")
    remark = "in brackets, and taken for no names, as none stands before a colon: "
    assert remarks_on("srt", content) == ([f"{remark}{told!r}"] if told else [])
    assert remarks_on("vtt", f"WEBVTT\n\n{cues_of('<v Ann>a', cue)}".replace(",", ".")) == []


@pytest.mark.parametrize("name", ["MUSIC", "[MUSIC]", "(SIGHS)", "Laughter", "APPLAUSE"])
def test_a_sound_that_stands_before_a_colon_is_told(name: str) -> None:
    bare, content = (
        name.strip("[]()"),
        cues_of("ANN: a", "BEN: b", f"{name}: c", "LAUGHING MAN: d", "PAUL: e", "KING: f"),
    )
    assert (bare, "c") in said_in("srt", content)
    assert remarks_on("srt", content) == [f"before a colon, and taken for speakers, though perhaps sounds: {bare!r}"]


@pytest.mark.parametrize(
    ("cue", "two"),
    [
        *(("- BEN: b\n- c", True), ("-BEN: b\n-c", True), ("- b\n- BEN: c", True), ("b\n- c", True)),
        *(("- BEN: b\n- ANN: c", False), ("- b\nc", False), ("BEN: b\nc", False), ("-5\n-7", False)),
    ],
)
def test_two_people_of_whom_one_is_not_named_are_told(cue: str, two: bool) -> None:
    told = remarks_on("srt", cues_of("ANN: a", "BEN: a b", cue))
    remark = "where two people speak in a cue, who is not named there is taken for whoever spoke last"
    assert told == [remark] * two


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (r"{\an8\p1}m 0 0 l 1 1{\p0}a", "a"),
        (r"{\p1}m 0 0{\c&H0&}l 5 5{\p0}a{\p2}m 1 1", "a"),
        (r"{\p1\p0}a", "a"),
        (r"{\pos(1,2)\pbo3}a", "a"),
    ],
)
def test_drawings_of_subtitles_are_not_said(text: str, said: str) -> None:
    lines = [f"Ann,{text}", r"Ann,{\p1}m 0 0", "Ben,b"]
    content = "Format: Start, End, Name, Text\n" + "".join(f"Dialogue: 0,1,{line}\n" for line in lines)
    assert said_in("ass", content) == [("Ann", said), ("Ben", "b")]


def test_blocks_of_a_drawing_take_a_time_that_grows_with_the_line() -> None:
    start = time.process_time()
    said_in("ass", "Format: Start, End, Name, Text\nDialogue: 0,1,Ann,{" + r"\p1" * 30_000 + "}a\n")
    said_in("ass", "Format: Start, End, Name, Text\nDialogue: 0,1,Ann,{" + r"\p1" * 30_000 + "\n")
    assert time.process_time() - start < 1


@pytest.mark.parametrize("form", ["srt", "ass"])
def test_cues_that_do_not_stand_by_their_times_are_told_of(form: str) -> None:
    """Those that are shown at once do."""
    cue = {
        "srt": "0:00:0{0},000 --> 0:00:0{1},000\n{2}: by {2}\n\n",
        "ass": "Dialogue: 0:00:0{0}.00,0:00:0{1}.00,{2},by {2}\n",
    }[form]
    head = "Format: Start, End, Name, Text\n" if form == "ass" else ""
    content = head + cue.format(1, 5, "Ann") + cue.format(3, 4, "Ben") + cue.format(3, 4, "Cy")
    assert remarks_on(form, content) == []
    told = remarks_on(form, content + cue.format(2, 3, "Di"))
    line = {"srt": 10, "ass": 5}[form]
    assert told == [
        f"warning: line {line}: this cue is shown before the one above it: turns are taken in the order of the file, "
        "not of times"
    ]


@pytest.mark.parametrize(("form", "cue"), [("ass", "Dialogue: 0:00,0:01,{},No.\n"), ("vtt", "{}<v {}>No.</v>\n\n")])
def test_what_another_says_again_is_no_line_that_is_shown_again(form: str, cue: str) -> None:
    head = {"ass": "Format: Start, End, Name, Text\n", "vtt": "WEBVTT\n\n"}[form]
    names = ["Ann", "Ben"] * 3
    content = "".join(cue.format(*["00:01.000 --> 00:02.000\n"] * (form == "vtt"), name) for name in names)
    assert said_in(form, head + content) == [(name, "No.") for name in names]


@pytest.mark.parametrize("again", ["<v {}>", ""])
def test_lines_that_are_shown_again_above_another_voice_are_one(again: str) -> None:
    said = [("Ann", "one"), ("Ben", "two"), ("Ann", "three"), ("Ben", "four"), ("Ann", "five")]
    cues = ["<v Ann>one\n"]
    for (before, above), (name, text) in pairwise(said):
        cues.append(f"{again.format(before)}{above}\n<v {name}>{text}\n")
    content = "".join(f"00:0{place}.000 --> 00:0{place}.900\n{cue}\n" for place, cue in enumerate(cues))
    assert said_in("vtt", f"WEBVTT\n\n{content}") == said


def test_a_cue_of_ass_needs_no_times() -> None:
    assert said_in("ass", "Format: Start, End, Name, Text\nDialogue: x,,Ann,a\n") == [("Ann", "a")]


@pytest.mark.parametrize("aside", ["(SIGHS)", "[laughing]"])
def test_how_it_is_said_may_stand_before_a_name(aside: str) -> None:
    lines = ("RUTH: One.", "PAUL: Two.", f"{aside} RUTH: Three.", f"{aside} Four.")
    cues = "".join(f"{n}\n00:00:0{n},000 --> 00:00:0{n},900\n{line}\n\n" for n, line in enumerate(lines, start=1))
    assert said_in("srt", cues) == [
        ("RUTH", "One."),
        ("PAUL", "Two."),
        ("RUTH", "Three."),
        ("RUTH", f"{aside} Four."),
    ]
