"""What single lines of chats, transcripts and subtitles are: somebody's words, or something that is left out."""

import io

import pytest

from dialogue_files.readers.chats import is_whatsapp
from dialogue_files.readers.forms import FORMATS
from dialogue_files.readers.transcripts import is_screenplay
from dialogue_files.reading import find_text_form
from dialogue_files.report import LeftOut, Remark
from dialogue_files.turns import LineError, ReadTurn

TIMES = "00:00:01,000 --> 00:00:02,000\n"
LRM = "\u200e"  # a phone writes it before what it says itself


def read(form: str, content: str) -> list[tuple[str, str] | str]:
    """Turns as (speaker, text), what is left out as its kind, in order."""
    items = FORMATS[form].read(io.BytesIO(content.encode("utf-8")))
    kept = (one for one in items if isinstance(one, ReadTurn | LeftOut))
    return [(one.speaker, one.text.strip()) if isinstance(one, ReadTurn) else one.kind for one in kept]


def cues_of(*texts: str) -> str:
    return "".join(f"{TIMES}{text}\n\n" for text in texts)


def remarks(form: str, content: str) -> list[str]:
    return [one.text for one in FORMATS[form].read(io.BytesIO(content.encode())) if isinstance(one, Remark)]


# What Ann is said to have written in WhatsApp -> what it is.
WRITTEN = {
    "<Media omitted>": "attachments",
    f"{LRM}image omitted": "attachments",
    f"{LRM}<attached: 0001-PHOTO.jpg>": "attachments",
    "see <attached: 0001-PHOTO.jpg>": ("Ann", "see"),
    "IMG-1.jpg (file attached)": "attachments",
    "IMG-1.jpg (file attached)\nthe cake": ("Ann", "the cake"),
    "<Media omitted>\nthe cake": ("Ann", "the cake"),
    "<I am> here": ("Ann", "<I am> here"),
    "This message was deleted": "deleted messages",
    "null": "deleted messages",
    "null and void": ("Ann", "null and void"),
    "Missed voice call": "notices",
    "missed voice calls are what I hate most of all, really": (
        "Ann",
        "missed voice calls are what I hate most of all, really",
    ),
    f"{LRM}Missed group video call, tap to call back whoever has called": "notices",
    f"{LRM}Messages are end-to-end encrypted.": "notices",
    **dict.fromkeys(
        (
            *(
                "Voice call",
                "Video call, 6 min",
                "Voice call. 1 hr 20 min",
                "Voice call, No answer",
                "Group video call",
            ),
            *("Missed voice call at 7:35 PM", "Missed voice call, Tap to call back", "Silenced voice call, Focus mode"),
            *("Verpasster Sprachanruf um 19:35 Uhr", "Verpasster Gruppen-Videoanruf", "Sprachanruf, 12 Min."),
        ),
        "notices",
    ),
    **dict.fromkeys(
        (
            *(
                "Waiting for this message",
                "Waiting for this message. This may take a while.",
                "このメッセージは削除されました",
            ),
            *("此訊息已刪除", "你已删除此消息。", "삭제된 메시지입니다.", "تم حذف هذه الرسالة", "הודעה זו נמחקה"),
        ),
        "deleted messages",
    ),
    **dict.fromkeys(
        (
            *("<メディアは含まれていません>", "‹メディアなし›", "<省略多媒体文件>", "<ไฟล์สื่อถูกลบ>", "<ບໍ່ລວມມີເດຍ>"),
            *("‹Médias omis›", "VID-20230613-WA0001.mp4 (arquivo anexado)", "Live location shared"),
            *("location: https://maps.google.com/?q=1.5,-2", "Standort: https://maps.google.com/?q=1.5,-2"),
            *(
                "POLL:\nTea?\nOPTION: Yes (1 vote)\nOPTION: No, thanks (0 votes)\n",
                f"{LRM}POLL:\nTea?\n{LRM}OPTION: Yes ({LRM}1 vote)",
            ),
            "SONDAGE :\nDu thé ?\nOPTION : Oui (2 votes)",
        ),
        "attachments",
    ),
    **{
        said: ("Ann", said)
        for said in (
            *("Voice call tonight? I miss you", "Video call me", "Video call at 8:00?", "Missed voice call, sorry"),
            *("Verpasster Anruf, ich weiß", "Waiting for this message is killing me!", "Voice call, 6 minus 2"),
            *(
                "<sigh>",
                "<笑>",
                "<大爆笑>",
                "このメッセージは削除されましたか？",
                "location: the cinema",
                "POLL: who wants tea?",
            ),
            *("See location: https://maps.google.com/?q=1,2", "POLL:\nTea?", "TODO:\ncakes\nTEA: buy it (2 packs)"),
        )
    },
    "late <This message was edited>": ("Ann", "late"),
    "": ("Ann", ""),
    "a\n\nb": ("Ann", "a\n\nb"),
}


@pytest.mark.parametrize(("text", "expected"), WRITTEN.items())
def test_a_message_of_whatsapp(text: str, expected: str | tuple[str, str]) -> None:
    for head in ("6/13/23, 7:35 PM - ", "[13.06.23, 19:35:01] "):
        assert read("whatsapp", f"{head}Ann: {text}\n{head}Ben: b\n") == [expected, ("Ben", "b")]


def test_a_notice_of_whatsapp_may_hold_a_colon() -> None:
    said = "Ann Bell changed the subject to Cakes: b", 'Ann named it "Cakes": b', "You created group x", "Ann left"
    assert read("whatsapp", "".join(f"6/13/23, 7:35 PM - {line}\n" for line in said)) == ["notices"] * 4
    assert read("whatsapp", "Chats\n\n6/13/23, 7:35 PM - ~ Ann Left: a\n") == ["notices", ("Ann Left", "a")]


def test_a_notice_of_whatsapp_in_french_has_a_blank_before_its_colon() -> None:
    head = "13/06/2023 à 19:35 - "
    for notice in ("Paul a quitté le groupe : Paris", "Vous avez ajouté\u00a0Zoé Le Goff\u202f: Paris"):
        assert read("whatsapp", f"{head}{notice}\n") == ["notices"], notice
    for name in ("Paul", "Paul Le Goff a Paris", "Café à Zoé : Paul"):
        assert read("whatsapp", f"{head}{name} : a\n") == [(name.partition(" :")[0], f"{name} : a".partition(": ")[2])]


@pytest.mark.parametrize(
    "heads",
    [
        ("21:12, 05/01/2024 - ", "09:02, 06/01/2024 - "),
        ("[9:02 AM, 1/5/2024] ", "[9:03 PM, 1/15/2024] "),
        ("[9:02\u202fa.m., 2024-01-05] ", "[9:03\u202fp.m., 2024-01-05] "),
        ("[오전 9:02, 2024. 1. 5.] ", "[오후 9:03, 2024. 1. 5.] "),
        ("21:12 05.01.2024 - ", "21:13 05.01.2024 - "),
    ],
)
def test_the_time_may_stand_before_the_date(heads: tuple[str, str]) -> None:
    """As WhatsApp exports in Vietnamese, and as it is copied from WhatsApp Web."""
    content = f"{heads[0]}Lan: a\nb\n{heads[1]}Ann: c\n{heads[1]}Ann left\n"
    assert find_text_form(content) == "whatsapp"
    assert read("whatsapp", content) == [("Lan", "a\nb"), ("Ann", "c"), "notices"]


@pytest.mark.parametrize("content", ["21:12 - Lan: a\n", "[21:12] Lan: a\n", "21:12, Lan: a\n", "[9:02 AM] Ann: a\n"])
def test_a_time_without_a_date_is_not_that_of_whatsapp(content: str) -> None:
    assert find_text_form(content) == "text"


@pytest.mark.parametrize("quotes", ['""', "“”", "„“", "«»", "「」"])
def test_a_notice_of_whatsapp_quotes_a_colon(quotes: str) -> None:
    """What is quoted may hold more quotes, but the colon in it is not behind a name."""
    begin, end = quotes
    for notice in (
        f"Ann changed the subject from {begin}Trip: now{end} to {begin}Trip: later{end}",
        f"Ann created group {begin}Fox: family{end}",
        f"Robert {begin}Bob{end} Fox hat den Betreff zu {begin}Die: Füchse{end} geändert",
        f"Ann created group {begin}The {begin}Fox{end}: family{end}",
    ):
        assert read("whatsapp", f"6/13/23, 7:35 PM - {notice}\n") == ["notices"], notice


@pytest.mark.parametrize(
    "name",
    ['Robert "Bob" Fox', "Robert “Bob” Fox", "„Bob“", "Ann :)", "Ann :-)", 'ד"ר כהן', "Ann 12:30", "「Bob」", "Ann's"],
)
def test_a_name_of_whatsapp_may_hold_quotes_and_colons(name: str) -> None:
    for head in ("6/13/23, 7:35 PM - ", "[13.06.23, 19:35:01] ", "[13.06.23, 19:35:01] ~ "):
        content = f'{head}{name}: he said: "no: never"\n{head}{name}:\n'
        assert read("whatsapp", content) == [(name, 'he said: "no: never"'), (name, "")]
        assert is_whatsapp(content.splitlines())


def test_a_message_of_zoom_goes_on_in_lines_that_begin_like_another() -> None:
    content = "10:01:03 From Ann to Everyone:\n\ta\n10:02:00 From here:on\n"
    assert read("zoom_chat", content) == [("Ann", "a\n10:02:00 From here:on")]


def test_words_in_braces_are_said_on_discord_unless_they_are_its_own() -> None:
    content = "[05/01/2024 10:01 AM] ann\n{Stickers} are what I like\n\n{Stickers}\nhttps://x.y/1.png\n"
    assert read("discord_text", content) == ["attachments", ("ann", "{Stickers} are what I like")]


@pytest.mark.parametrize(
    "line",
    [
        *(
            "Ann: a",
            "Ann : a",
            "Ann：a",
            "[Ann]: a",
            "**Ann:** a",
            "**Ann**: a",
            "_Ann_: a",
            "- Ann: a",
            ">> Ann: a",
            "• Ann: a",
        ),
        *(
            "[0:05] Ann: a",
            "(00:05) Ann: a",
            "0:05 - 0:07 Ann: a",
            "[00:05] --> [00:07] | Ann: a",
            "1:02:03.500 Ann: a",
        ),
        *("Ann [0:05]: a", "Ann (0:05): a", "Ann 0:05: a", "Ann: [0:05] a", "Ann (laughing): a", "Ann 0:05 PM: a"),
    ],
)
def test_a_line_of_a_transcript_is_a_turn(line: str) -> None:
    assert read("text", f"{line}\n") == [("Ann", "a")]


@pytest.mark.parametrize(
    ("kind", "lines"),
    [
        ("directions", ("(They laugh.)", "[Scene: a kitchen]", "{x}", "INT. KITCHEN - DAY", "CUT TO:", "# Part 1")),
        ("directions", ("----", "* * *", "Note: nobody says this", "Scene 2: a street", "THE END")),
        ("lines of times", ("0:05", "[00:05] --> [00:07]", "00:05.250 to 00:07", "7:35 p.m.")),
        (
            "notices",
            ("Transcribed by some tool", "Ann Bell started transcription", "Transcription ended after 5 m 3 s"),
        ),
    ],
)
def test_a_line_of_a_transcript_is_nobodys(kind: str, lines: tuple[str, ...]) -> None:
    for line in lines:
        assert read("text", f"{line}\n") == [kind], line


def test_names_have_a_hundred_characters_at_most() -> None:
    assert read("text", f"{'n' * 100}: a\n") == [("n" * 100, "a")]
    with pytest.raises(LineError, match="line 1: 'nnn.* is no turn"):
        read("text", f"{'n' * 101}: a\n")


def test_what_somebody_says_of_transcription_is_speech() -> None:
    assert read("headings", "Ann Bell 0:01\nBen started transcription of the tape\nBen started transcription\n") == [
        *("notices", ("Ann Bell", "Ben started transcription of the tape"))
    ]


def test_blanks_behind_a_name_of_a_screenplay_are_nothing() -> None:
    assert is_screenplay(["RUTH (softly) ", "Go.", "PAUL (softly) ", "No."])


@pytest.mark.parametrize("mark", [".", "!", "?", "-"])
def test_a_shout_in_a_screenplay_is_no_name(mark: str) -> None:
    assert read("screenplay", f"RUTH\nGo.\n\nWHO{mark}\nit says.\n") == [("RUTH", "Go."), "directions", "directions"]


def test_quotes_of_a_table_with_tabs() -> None:
    """Those of the last line alone say that they are characters; blank lines say nothing."""
    assert read("tsv", 'speaker\tutterance\nAnn\thi\n\nBen\t"Never."\n') == [("Ann", "hi"), ("Ben", '"Never."')]
    assert read("tsv", 'speaker\tutterance\nAnn\t"two\nlines"\n') == [("Ann", "two\nlines")]


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
        assert read("srt", content.replace("\n", end)) == [("Ann", "a"), *expected]


def test_what_stands_before_a_cue_is_its_name_or_speech() -> None:
    """Names of cues stand after a blank line in WebVTT; SRT has numbers or nothing."""
    srt = "00:00:01,000 --> 00:00:02,000\nAnn: a\n\nb\n00:00:02,000 --> 00:00:03,000\nc\n"
    assert read("srt", srt) == [("Ann", "a b"), ("Ann", "c")]
    first, last = "first\n00:01.000 --> 00:02.000\n<v Ann>a\n", "last\n00:03.000 --> 00:04.000\nc\n"
    vtt = f"WEBVTT\n\n{first}00:02.000 --> 00:03.000\n<v Ben>b\n\n{last}"
    assert read("vtt", vtt) == [("Ann", "a"), ("Ben", "b"), ("Ben", "c")]


@pytest.mark.parametrize("end", ["\n", " \n"])
def test_marks_of_cues_need_no_blank_line_and_no_text_before_them(end: str) -> None:
    srt = "1\n00:00:01,000 --> 00:00:02,000\nAnn: a\n2\n00:00:02,000 --> 00:00:03,000\nb\n"
    assert read("srt", srt.replace("\n", end)) == [("Ann", "a"), ("Ann", "b")]
    webex = 'WEBVTT\n\n1 "Ann" (7)\n00:01.000 --> 00:02.000\na\n2 "Ben" (8)\n00:02.000 --> 00:03.000\nb\n'
    assert read("vtt", webex.replace("\n", end)) == [("Ann", "a"), ("Ben", "b")]
    silent = "WEBVTT\n\n00:01.000 --> 00:02.000\n\nlast\n00:02.000 --> 00:03.000\n<v Ann>a\n"
    assert read("vtt", silent.replace("\n", end)) == [("Ann", "a")]


def test_where_voices_are_named_a_colon_and_arrows_are_speech() -> None:
    cues = "<v Ann>a", "Ben: b", ">> c"
    content = "".join(f"00:00:0{n}.000 --> 00:00:0{n + 1}.000\n{cue}\n\n" for n, cue in enumerate(cues, start=1))
    assert read("vtt", f"WEBVTT\n\n{content}") == [("Ann", "a"), ("Ann", "Ben: b"), ("Ann", ">> c")]


def test_times_of_words_are_those_of_automatic_captions() -> None:
    cues = "Ann: do<00:00:01.500><c> you</c>", "Ann: do you\nlike it"
    content = "".join(f"00:00:0{n}.000 --> 00:00:0{n + 1}.000\n{cue}\n\n" for n, cue in enumerate(cues, start=1))
    assert read("vtt", f"WEBVTT\n\n{content}") == [("Ann", "do you like it")]


@pytest.mark.parametrize("named", [("ann: a", "cat: b"), ("Ann: a", "ben: b", "ben: c", "cat: d")])
def test_where_names_are_in_lower_case_one_may_speak_once(named: tuple[str, ...]) -> None:
    content = "".join(f"{TIMES}{cue}\n\n" for cue in named)
    assert read("srt", content) == [tuple(cue.split(": ")) for cue in named]


def test_what_is_taken_for_speech_is_told() -> None:
    told = remarks("srt", cues_of("Ann: a", "The truth is: b", "I mean: c", "My answer is: d", "Ann: e"))
    assert told == ["before a colon, and taken for speech: 'The truth is', 'I mean' and 1 more"]


def test_columns_of_substation_alpha() -> None:
    head = "Format: Start , End,Name ,Text\n"
    assert read("ass", f"{head}Dialogue: 0:01, 0:02, Ann ,a, b\\Nc\nComment: x\n") == [("Ann", "a, b c")]
    assert read("ass", "Format: Start, End, Text\nDialogue: 0:01,0:02,Ann: a\n") == [("Ann", "a")]


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
    assert read("srt", content) == [("Dana Fox", "a"), *((name, said) for said in "bc"[:times])]


@pytest.mark.parametrize(
    "said",
    ["AND THEN HE SAID THIS", "The truth about all of this is", "I told him again and again", "He said (In Rome)"],
)
def test_many_words_before_a_colon_that_are_speech_are_told(said: str) -> None:
    content = cues_of("Ann: a", "Ben: b", f"{said}: c")
    assert read("srt", content) == [("Ann", "a"), ("Ben", "b"), ("Ben", f"{said}: c")]
    assert remarks("srt", content) == [f"before a colon, and taken for speech: {said!r}"]


def test_of_what_is_taken_for_speech_the_most_frequent_is_told_first() -> None:
    long = "The man whom nobody has ever named"
    (told,) = remarks("srt", cues_of("Ann: a", "The truth is: b", f"{long}: c", f"{long}: d", "Ann: e"))
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
    assert remarks("srt", cues_of(*cues)) == [f"warning: cues that name nobody ({nameless}) {last}: {names}"]


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
    assert remarks("srt", cues_of(*cues)) == []


@pytest.mark.parametrize("cue", ["(BEN) b", "[BEN] b", "- (Ben) b", "(BEN)\nb", "(BEN)"])
def test_a_name_in_brackets_is_one_that_stands_before_a_colon(cue: str) -> None:
    content = cues_of("ANN: a", cue, "c", "BEN: d", "(LAUGHS) e", "[MUSIC] f", "[door closes] g", "(SIGHS)")
    said = [(speaker.upper(), text) for speaker, text in read("srt", content)[:-1]]
    b = [("BEN", "b")] if "b" in cue else []
    assert said == [
        *(("ANN", "a"), *b, ("BEN", "c"), ("BEN", "d"), ("BEN", "(LAUGHS) e"), ("BEN", "[MUSIC] f")),
        ("BEN", "[door closes] g"),
    ]
    told = "in brackets, and taken for no names, as none stands before a colon: 'LAUGHS', 'MUSIC'"
    assert remarks("srt", content)[0] == told


def test_a_name_in_brackets_alone_is_told() -> None:
    content = cues_of("ANN: a", "(BEN) b", "ANN: c", "[BEN] d")
    assert read("srt", content) == [("ANN", "a"), ("ANN", "(BEN) b"), ("ANN", "c"), ("ANN", "[BEN] d")]
    assert remarks("srt", content) == ["in brackets, and taken for no names, as none stands before a colon: 'BEN'"]


@pytest.mark.parametrize(
    ("cue", "two"),
    [
        *(("- BEN: b\n- c", True), ("-BEN: b\n-c", True), ("- b\n- BEN: c", True), ("b\n- c", True)),
        *(("- BEN: b\n- ANN: c", False), ("- b\nc", False), ("BEN: b\nc", False), ("-5\n-7", False)),
    ],
)
def test_two_people_of_whom_one_is_not_named_are_told(cue: str, two: bool) -> None:
    told = remarks("srt", cues_of("ANN: a", "BEN: a b", cue))
    remark = "where two people speak in a cue, who is not named there is taken for whoever spoke last"
    assert told == [remark] * two
