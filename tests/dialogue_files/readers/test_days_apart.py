"""Chats in which days stand on lines of their own, of LINE and of KakaoTalk on computers: what each line of them is."""

import pytest

from corpora import said_in
from dialogue_files.reading import find_text_form
from dialogue_files.turns import LineError

DAYS = ("2024/05/01(Wed)", "2024/05/01（水）", "2024/5/1 (mié.)", "2024.05.01 Wednesday", "Wed, 5/1/2024", "水, 2024")
RULE = "--------------- Wednesday, May 1, 2024 ---------------"
# What Ann has written in LINE -> what it is.
LINE = {
    "[Sticker]": "attachments",
    "[貼圖]": "attachments",
    "[Sticker]\n\n": "attachments",
    "[Sticker] of a cat": ("Ann", "[Sticker] of a cat"),
    "[File] list.pdf": "attachments",
    "[アルバム] 夏": "attachments",
    "[File] list.pdf\nthe list": ("Ann", "[File] list.pdf\nthe list"),
    "[1] and [2]": ("Ann", "[1] and [2]"),
    "[1]": ("Ann", "[1]"),
    "☎ Call time 0:12": "notices",
    "call me ☎": ("Ann", "call me ☎"),
    '"One\ntwo"': ("Ann", "One\ntwo"),
    '"One ""two""\n\nthree"': ("Ann", 'One "two"\n\nthree'),
    '"One" two\nthree': ("Ann", '"One" two\nthree'),
    '"One\ntwo"\n': ("Ann", "One\ntwo"),
    "On\n2024/05/01(Wed) I was out": ("Ann", "On\n2024/05/01(Wed) I was out"),
    '"One"': ("Ann", '"One"'),
    "\n": ("Ann", ""),
    "X marks it, FAX": ("Ann", "X marks it, FAX"),
    "10:02 is the time": ("Ann", "10:02 is the time"),
}
# The same in KakaoTalk.
KAKAO = {
    "사진 3장": "attachments",
    "사진\n": "attachments",
    "사진 봤어?": ("Ann", "사진 봤어?"),
    "Photos 12": "attachments",
    "File: list.pdf": "attachments",
    "Video": "attachments",
    "Video killed it": ("Ann", "Video killed it"),
    "삭제된 메시지입니다.": "deleted messages",
    "This message was deleted.": "deleted messages",
    "This message was deleted. Why?": ("Ann", "This message was deleted. Why?"),
    "보이스톡 0:12": "notices",
    "Voice Call ended 0:12": "notices",
    "Voice call me, as soon as you have read what I sent": (
        "Ann",
        "Voice call me, as soon as you have read what I sent",
    ),
    "One\n\nBen: two\n[three] [four]": ("Ann", "One\n\nBen: two\n[three] [four]"),
    "One\n[Ben] [10:02 AM]: two": ("Ann", "One\n[Ben] [10:02 AM]: two"),
    "She left.": ("Ann", "She left."),
    "One\nI left. You?": ("Ann", "One\nI left. You?"),
    "One\n- two -": ("Ann", "One\n- two -"),
}


@pytest.mark.parametrize(("text", "expected"), LINE.items())
def test_a_message_of_line(text: str, expected: str | tuple[str, str]) -> None:
    content = f"2024/05/01(Wed)\n10:01\tAnn\t{text}\n10:02\tBen \tHo\n"
    assert said_in("line", content) == [expected, ("Ben", "Ho")]


@pytest.mark.parametrize(("text", "expected"), KAKAO.items())
def test_a_message_of_kakaotalk(text: str, expected: str | tuple[str, str]) -> None:
    assert said_in("kakao", f"{RULE}\n[Ann] [10:01 AM] {text}\n[Ben] [10:02 AM] Ho\n") == [expected, ("Ben", "Ho")]


@pytest.mark.parametrize("time", ["10:01", "9:01PM", "9:01 am", "午前9:01", "下午 9:01", "오후 9:01"])
@pytest.mark.parametrize("day", DAYS[:-1])
def test_days_and_times_of_line(day: str, time: str) -> None:
    content = f"Chat history with Ann\n\n{day}\n{time}\tAnn\tHi\n\n{day}\n{time}\tAnn\tHo\n"
    assert find_text_form(content) == "line"
    assert said_in("line", content) == ["notices", ("Ann", "Hi"), ("Ann", "Ho")]


@pytest.mark.parametrize("said", ["10:01\t\tBen left", "10:01\tBen has left the group", "10:01\t \tBen left"])
def test_what_line_says_itself_has_no_name(said: str) -> None:
    assert said_in("line", f"{DAYS[0]}\n{said}\nand more\n10:02\tAnn\tHi\n") == ["notices", ("Ann", "Hi")]


@pytest.mark.parametrize(
    "content",
    [
        f"{DAYS[-1]}\n10:01\tAnn\tHi\n",
        f"{DAYS[0]} at noon\n10:01\tAnn\tHi\n",
        f"{DAYS[0]}\nAnn: Hi\n10:01\tAnn\tHi\n",
        f"10:01\tAnn\tHi\n{DAYS[0]}\n",
        f"{DAYS[0]}\n10:01 Ann Bell\n",
        f"{DAYS[0]}\n10:01 Ann Bell\nIt is late.\n",
        f"{DAYS[0]}\n10:01 Ann: Hi\n10:02 Ben: Ho\n",
    ],
)
def test_what_is_not_of_line(content: str) -> None:
    assert find_text_form(content) != "line"


def test_what_line_saves_on_computers_is_refused_however_many_days_it_has() -> None:
    for later in ("", f"{DAYS[0]}\n10:03 Ann and: more\n", f"{DAYS[0]}\nAnn\n"):
        content = f"{DAYS[3]}\n10:01 Ann Hi\n10:02 Ben Ho\n{later}"
        assert find_text_form(content) == "line"
        with pytest.raises(LineError, match="line 2: no tab ends the name"):
            said_in("line", content)


def test_only_above_all_messages_a_line_without_tabs_is_refused() -> None:
    assert said_in("line", "10:01 Ann: Hi\n10:01 there was\tnone\n10:02\tAnn\tHi\n")[-1] == ("Ann", "Hi")


@pytest.mark.parametrize(
    "content",
    [
        "[Ann] [10:01 AM] Hi\n",
        f"[Ann] [10:01 AM] Hi\n{RULE}\nBen: Ho\n",
        f"{RULE} and more\n[Ann] [10:01 AM] Hi\n",
        f"{RULE}\n[Ann] [10:01 AM]: Hi\n",
        f"{RULE}\nAnn: Hi\n",
    ],
)
def test_what_is_not_of_kakaotalk(content: str) -> None:
    assert find_text_form(content) != "kakao"


@pytest.mark.parametrize(
    "notice",
    [
        "앤님이 들어왔습니다.",
        "벤님이 나갔습니다.",
        "앤님이 벤님을 초대했습니다.",
        "Ann invited Ben.",
        "Ann joined this chatroom.",
        RULE,
    ],
)
def test_notices_of_kakaotalk_end_a_message(notice: str) -> None:
    told = [] if notice == RULE else ["notices"]
    content = f"{RULE}\n[Ann [A]] [오전 10:01] Hi\n{notice}\n[Ben] [오후 1:02]\n"
    assert said_in("kakao", content) == [("Ann [A]", "Hi"), *told, ("Ben", "")]


def test_only_a_rule_is_nothing_above_the_messages() -> None:
    assert said_in("kakao", f"{RULE}\n{RULE} and more\n\n[Ann] [10:01 AM] Hi\n") == ["notices", ("Ann", "Hi")]


def test_a_rule_that_is_said_ends_no_message() -> None:
    assert said_in("kakao", f"{RULE}\n[Ann] [10:01 AM] a\n---- b ----\n{RULE} c\n") == [
        ("Ann", f"a\n---- b ----\n{RULE} c")
    ]
