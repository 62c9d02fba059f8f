"""What single lines of chats and transcripts are: somebody's words, or something that is left out."""

import pytest

from corpora import said_in
from dialogue_files.readers.chats.discord import is_discord_text
from dialogue_files.readers.chats.whatsapp import is_whatsapp
from dialogue_files.readers.lines import is_direction
from dialogue_files.readers.screenplays import is_screenplay
from dialogue_files.reading import find_text_form
from dialogue_files.turns import LineError

LRM = "\u200e"  # a phone writes it before what it says itself


# What Ann is said to have written in WhatsApp -> what it is.
WRITTEN = {
    "<Media omitted>": "attachments",
    f"{LRM}image omitted": "attachments",
    f"{LRM}<attached: 0001-PHOTO.jpg>": "attachments",
    "see <attached: 0001-PHOTO.jpg>": ("Ann", "see"),
    "IMG-1.jpg (file attached)": "attachments",
    "IMG-1.jpg (file attached)\nthe cake": ("Ann", "the cake"),
    "<Media omitted>\nthe cake": ("Ann", "the cake"),
    "see\n \u200eIMG-1.jpg (file attached) \nthe cake": ("Ann", "see\nthe cake"),
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
            *("afbeelding weggelaten", "document manquant", "GIF retiré", "imagem ocultada", "figurinha omitida"),
            *("Tarjeta de contacto omitida", "sticker non incluso", "görüntü dahil edilmedi", "видео отсутствует"),
            *("התמונה הושמטה", "لم يتم إدراج الصورة", "画像は含まれていません", "이미지 생략됨", "影片已省略"),
        ),
        "attachments",
    ),
    **{
        said: ("Ann", said)
        for said in (
            *("Voice call tonight? I miss you", "Video call me", "Video call at 8:00?", "Missed voice call, sorry"),
            *("video of us was omitted", "Bild, das ich weggelassen", "ich bin ausgeschlossen"),
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
        assert said_in("whatsapp", f"{head}Ann: {text}\n{head}Ben: b\n") == [expected, ("Ben", "b")]


def test_an_iphone_in_arabic_marks_what_it_says_from_right_to_left() -> None:
    """With U+200F, around numbers too; numbers of unknown people stand between U+202A and U+202C."""
    rlm, ann = "\u200f", "\u202a+966 55 000 0001\u202c"
    head = f"[{rlm}21{rlm}/9{rlm}/2026، 9:47:45 م] {ann}: "
    content = "".join(
        f"{head}{said}\n"
        for said in (
            f"{rlm}الرسائل والمكالمات مشفرة",
            "وصلت",
            f"{rlm}لم يتم إدراج الصورة",
            f"{rlm}انضم {ann}",
            f"{rlm}<المُرفق: 0001-PHOTO.jpg>",
            f"خطة.pdf • {rlm}22 صفحة {rlm}لم يتم إدراج المستند",
            f"انظر {rlm}لم يتم إدراج الصورة",
        )
    )
    assert said_in("whatsapp", f"{rlm}{content}") == [
        *("notices", ("+966 55 000 0001", "وصلت"), "attachments", "notices", "attachments", "attachments"),
        ("+966 55 000 0001", "انظر"),
    ]
    pasted = f"6/13/23, 7:35 PM - Ann: {rlm}أهلا\n"
    assert said_in("whatsapp", pasted) == [("Ann", "أهلا")]


@pytest.mark.parametrize(
    "time",
    [
        *("7:35 p. m.", "7:35 م", "7:35 ب.ظ.", "7:35 אחה״צ", '7:35 לפנה"צ', "7:35 μ.μ.", "7:35 сл.об.", "7:35 пп"),
        *("7:35 odp.", "7:35 pop.", "7.35 ip.", "7:35 em", "7:35 CH", "7:35 PTG", "du. 7:35", "오후 7:35", "ÖS 7:35"),
    ],
)
def test_halves_of_the_day_in_a_chat_of_whatsapp(time: str) -> None:
    for head in (f"13.6.2023, {time} - ", f"[13.6.2023, {time}] "):
        content = f"{head}Ann: a\n{head}Ben: b\n"
        assert find_text_form(content) == "whatsapp"
        assert said_in("whatsapp", content) == [("Ann", "a"), ("Ben", "b")]


def test_a_notice_of_whatsapp_may_hold_a_colon() -> None:
    said = "Ann Bell changed the subject to Cakes: b", 'Ann named it "Cakes": b', "You created group x", "Ann left"
    assert said_in("whatsapp", "".join(f"6/13/23, 7:35 PM - {line}\n" for line in said)) == ["notices"] * 4
    assert said_in("whatsapp", "Chats\nof Ann\n\n6/13/23, 7:35 PM - ~ Ann Left: a\n") == [
        *("notices", "notices", ("Ann Left", "a"))
    ]


def test_a_notice_of_whatsapp_in_french_has_a_blank_before_its_colon() -> None:
    head = "13/06/2023 à 19:35 - "
    for notice in ("Paul a quitté le groupe : Paris", "Vous avez ajouté\u00a0Zoé Le Goff\u202f: Paris"):
        assert said_in("whatsapp", f"{head}{notice}\n") == ["notices"], notice
    for name in ("Paul", "Paul Le Goff a Paris", "Café à Zoé : Paul"):
        assert said_in("whatsapp", f"{head}{name} : a\n") == [
            (name.partition(" :")[0], f"{name} : a".partition(": ")[2])
        ]


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
    assert said_in("whatsapp", content) == [("Lan", "a\nb"), ("Ann", "c"), "notices"]


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
        assert said_in("whatsapp", f"6/13/23, 7:35 PM - {notice}\n") == ["notices"], notice


@pytest.mark.parametrize(
    "name",
    ['Robert "Bob" Fox', "Robert “Bob” Fox", "„Bob“", "Ann :)", "Ann :-)", 'ד"ר כהן', "Ann 12:30", "「Bob」", "Ann's"]
    + ['Dan 5" Pipes', "The one named Bob"],
)
def test_a_name_of_whatsapp_may_hold_quotes_and_colons(name: str) -> None:
    for head in ("6/13/23, 7:35 PM - ", "[13.06.23, 19:35:01] ", "[13.06.23, 19:35:01] ~ "):
        content = f'{head}{name}: he said: "no: never"\n{head}{name}:\n'
        assert said_in("whatsapp", content) == [(name, 'he said: "no: never"'), (name, "")]
        assert is_whatsapp(content.splitlines())


def test_a_message_of_zoom_goes_on_in_lines_that_begin_like_another() -> None:
    content = "10:01:03 From Ann to Everyone:\n\ta\n10:02:00 From here:on\n"
    assert said_in("zoom_chat", content) == [("Ann", "a\n10:02:00 From here:on")]


@pytest.mark.parametrize("head", ["From Ann to Everyone:", "from ann to everyone:", "From  Ann :"])
def test_a_message_of_zoom_stands_behind_its_head(head: str) -> None:
    name = "ann" if head.startswith("f") else "Ann"
    content = f"Meeting chat\nof Ann\n\n10:01:03 {head} a\n10:01:04 Ben:\tb\n"
    assert said_in("zoom_chat", content) == ["notices", "notices", (name, "a"), ("Ben", "b")]


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ('Replying to "a "b" c..." d', "d"),
        ('Replying to ""b", so c..." d "e"', 'd "e"'),
        ('Replying to "a "b" c"\n\nd', "d"),
        ('Replying to "a "b..." c":\nd "e"\nf', 'd "e"\nf'),
        ('Replying to "a\nb..."\n\nd', "d"),
        ('Replying to "a" d', "d"),
        ('Replying to "a"', ""),
    ],
)
def test_what_a_message_of_zoom_replies_to_is_not_said(said: str, expected: str) -> None:
    assert said_in("zoom_chat", f"10:01:04\tBen:\t{said}\n") == [("Ben", expected)]


def test_reactions_stand_below_a_message_of_the_newest_zoom() -> None:
    head = "2025-12-11 22:04:04 From Ann to Everyone:\n"
    below = "\tBen:\u2764\ufe0f\n\tCy (he), D | E:\U0001f44d\U0001f3fd\n\t\n"
    assert said_in("zoom_chat", f"{head}\tSo: yes\n\t\n{below}") == ["reactions"] * 2 + [("Ann", "So: yes")]
    for said in (
        "pizza:\U0001f355\nbeer:\U0001f37a\nwhich?",
        "so:\u2026",
        "a\nb:\u2026",
        "see you:)",
        "a\nb: \U0001f355",
        "a\nb:\U0001f355 c",
    ):
        assert said_in("zoom_chat", f"{head}\t{said}\n") == [("Ann", said)]
    assert said_in("zoom_chat", f"{head}\tpizza:\U0001f355\n") == [("Ann", "pizza:\U0001f355")]


def test_a_name_and_a_time_of_discord_may_stand_on_lines_of_their_own() -> None:
    time = " \u2014 10:01 AM\n"
    for tag in ("", "OP\n", "[ERC]\n", "\n"):
        content = f"ann\n{tag}{time}a\nben{time}b\nOPhelia\n{tag}{time}c\n"
        assert said_in("discord_text", content) == [("ann", "a"), ("ben", "b"), ("OPhelia", "c")]
    for tag in ("APP", "BOT"):
        content = f"ann{time}a\nmee6\n{tag}\n{time}ben left\nben:smile:\n{time}b\nAPP\n"
        assert said_in("discord_text", content) == [("ann", "a"), "messages of bots", ("ben", "b\nAPP")]
    assert said_in("discord_text", f"ann{time}{time}b\n") == [("ann", "\u2014 10:01 AM\nb")]
    assert said_in("discord_text", f"{time}ann{time}a\n") == ["notices", ("ann", "a")]
    assert said_in("discord_text", f"APP\n{time}a\n") == [("APP", "a")]
    assert is_discord_text(["ann", "\u2014 10:01 AM", *"abcde"]) and not is_discord_text(
        ["\u2014 10:01 AM", *"abcdefg"]
    )
    assert not is_discord_text([])


def test_words_in_braces_are_said_on_discord_unless_they_are_its_own() -> None:
    assert said_in("discord_text", "[05/01/2024 10:01 AM] ann\nXmas!\n\nIs it?\n") == [("ann", "Xmas!\nIs it?")]
    content = "[05/01/2024 10:01 AM] ann\n{Stickers} are what I like\n\n{Stickers}\nhttps://x.y/1.png\n"
    assert said_in("discord_text", content) == ["attachments", ("ann", "{Stickers} are what I like")]


def test_words_like_those_of_discord_itself_are_said_within_others() -> None:
    for said in ("Joined the server. Hello", "Attachment file type: what is it?", "\u2014 10:01 AM is late"):
        assert said_in("discord_text", f"ann \u2014 10:01 AM\n{said}\n") == [("ann", said)]
    footer = f"{'=' * 62}\nExported 1 message(s)\n{'=' * 62}\n"
    assert said_in("discord_text", f"[05/01/2024 10:01 AM] ann\na\n\n{footer}") == [("ann", "a"), "notices"]


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
        *("10.02 Ann: a", "10.02.30 Ann: a", "[10.02] Ann: a", "(10.02) Ann: a", "10.02 - Ann: a", "75.30 Ann: a"),
        *("10h02 Ann: a", "10.02 Uhr Ann: a", "[10.02 pm] - Ann: a", "10.02 **Ann:** a", "- 10.02 Ann: a"),
        *("Ann [0:05]: a", "Ann (0:05): a", "Ann 0:05: a", "Ann: [0:05] a", "Ann (laughing): a", "Ann 0:05 PM: a"),
        *("Ann: [0.12 - 3.34] a", "Ann: (0.12, 3.34) a", "Ann: [0.12s -> 3.34s] a", "Ann: [0:05 - 0:07] a"),
        *("Ann: (0:05 --> 0:07) a", "Ann: [12s to 15s]a"),
    ],
)
def test_a_line_of_a_transcript_is_a_turn(line: str) -> None:
    assert said_in("text", f"{line}\n") == [("Ann", "a")]


SAID = ["(0.5) well", "[2-3] of us", "0.12 - 3.34", "10:15 - 11:15 suits me", "(2, 3)", "(10:00-11:00) suits me"]


@pytest.mark.parametrize("said", [*SAID, "(1.5 - 2.5) is what I get"])
def test_numbers_after_a_colon_are_said_unless_they_are_times(said: str) -> None:
    assert said_in("text", f"Ann: {said}\n") == [("Ann", said)]


@pytest.mark.parametrize("name", ["2.75 Ann", "3.5 Ann", "10.02", "10.02m", "4h Ann", "1.105 Ann", "Psalm 23.10", "U2"])
def test_a_number_beside_a_name_is_no_time(name: str) -> None:
    assert said_in("text", f"{name}: a\n") == [(name, "a")]


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
        assert said_in("text", f"{line}\n") == [kind], line


@pytest.mark.parametrize("line", ["(Ann) )", "(Ann) Ben (Cy)", "[Ann)", "Ann (Ben)", "(Ann) Ben"])
def test_brackets_that_end_within_a_line_are_no_direction(line: str) -> None:
    assert not is_direction(line)


def test_names_have_a_hundred_characters_at_most() -> None:
    for time in ("", " 0:05", " [0:05]"):
        assert said_in("text", f"{'n' * 100}{time}: a\n") == [("n" * 100, "a")]
        with pytest.raises(LineError, match="line 1: 'nnn.* is no turn"):
            said_in("text", f"{'n' * 101}{time}: a\n")


def test_what_somebody_says_of_transcription_is_speech() -> None:
    assert said_in("headings", "Ann Bell 0:01\nBen started transcription of the tape\nBen started transcription\n") == [
        *("notices", ("Ann Bell", "Ben started transcription of the tape"))
    ]
    assert said_in("text", "Ann: Ben stopped transcription\n10:02 Ben started transcription\n") == [
        *(("Ann", "Ben stopped transcription"), "notices")
    ]
    with pytest.raises(LineError, match="line 1: 'Ben started .* is no turn"):
        said_in("text", "Ben started transcription of the tape\n")


def test_blanks_behind_a_name_of_a_screenplay_are_nothing() -> None:
    assert is_screenplay(["RUTH (softly) ", "Go.", "PAUL (softly) ", "No."])


@pytest.mark.parametrize("mark", [".", "!", "?", "-"])
def test_a_shout_in_a_screenplay_is_no_name(mark: str) -> None:
    assert said_in("screenplay", f"RUTH\nGo.\n\nWHO{mark}\nit says.\n") == [("RUTH", "Go."), "directions", "directions"]


def test_quotes_of_a_table_with_tabs() -> None:
    """Those of the last line alone say that they are characters; blank lines say nothing."""
    assert said_in("tsv", 'speaker\tutterance\nAnn\thi\n\nBen\t"Never."\n') == [("Ann", "hi"), ("Ben", '"Never."')]
    assert said_in("tsv", 'speaker\tutterance\nAnn\t"two\nlines"\n') == [("Ann", "two\nlines")]


def test_excel_quotes_cells_with_commas_between_tabs() -> None:
    """Where all that hold a comma are quoted; one that is bare tells that quotes are said."""
    excel = 'speaker\tutterance\nAnn\t"Well, no"\nBen\tOh\n"Lee, Ann"\t"Yes, ""no"""\n'
    assert said_in("tsv", excel) == [("Ann", "Well, no"), ("Ben", "Oh"), ("Lee, Ann", 'Yes, "no"')]
    said = 'speaker\tutterance\nAnn\t"Well, no"\nBen\tOh, well\n'
    assert said_in("tsv", said) == [("Ann", '"Well, no"'), ("Ben", "Oh, well")]
