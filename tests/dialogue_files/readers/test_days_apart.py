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
    "[sighs]": ("Ann", "[sighs]"),
    '"Plan\n2024/05/08(Wed)\n10:00 station\n10:30\tTrain leaves\nBye"': (
        "Ann",
        "Plan\n2024/05/08(Wed)\n10:00 station\n10:30\tTrain leaves\nBye",
    ),
    '"Open': ("Ann", '"Open'),
    '"One ""\n2024/05/08(Wed)\nend"': ("Ann", 'One "\n2024/05/08(Wed)\nend'),
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
    "File: what do you mean?": ("Ann", "File: what do you mean?"),
    "Video": "attachments",
    "Video killed it": ("Ann", "Video killed it"),
    "삭제된 메시지입니다.": "deleted messages",
    "This message was deleted.": "deleted messages",
    "This message was deleted. Why?": ("Ann", "This message was deleted. Why?"),
    "보이스톡 0:12": "notices",
    "Voice Call ended 0:12": "notices",
    "Voice call is fine": ("Ann", "Voice call is fine"),
    "보이스톡 할까?": ("Ann", "보이스톡 할까?"),
    "Remember\nonly three days left.\nThen": ("Ann", "Remember\nonly three days left.\nThen"),
    "Voice call me, as soon as you have read what I sent": (
        "Ann",
        "Voice call me, as soon as you have read what I sent",
    ),
    "One\n\nBen: two\n[three] [four]": ("Ann", "One\n\nBen: two\n[three] [four]"),
    "One\n[Ben] [10:02 AM]: two": ("Ann", "One\n[Ben] [10:02 AM]: two"),
    "One\n메시지가 삭제되었습니다. 왜?": ("Ann", "One\n메시지가 삭제되었습니다. 왜?"),
    "One\n방장이 변경되었습니다. 왜?": ("Ann", "One\n방장이 변경되었습니다. 왜?"),
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
        f"{DAYS[0]}\n10:01\tAnn\nHi\n10:02\tBen\nHo\n",
        f"{DAYS[0]}\n10:01 Ann Bell\nIt is late.\n",
        f"{DAYS[0]}\n10:01 Ann: Hi\n10:02 Ben: Ho\n",
        f"{DAYS[0]}\n10:01 Ann Hi\n10:02 Ben Ho\n{DAYS[0]} at noon\n{DAYS[0]} at one\n",
    ],
)
def test_what_is_not_of_line(content: str) -> None:
    assert find_text_form(content) != "line"


def test_two_lines_are_a_chat_of_line() -> None:
    assert find_text_form(f"{DAYS[0]}\n10:01\tAnn\tHi\n") == "line"


def test_a_quote_that_a_text_does_not_begin_with_is_no_more_than_said() -> None:
    content = f'{DAYS[0]}\n10:01\tAnn\t5" long\n{DAYS[0]}\n10:02\tBen\tHo\n'
    assert said_in("line", content) == [("Ann", '5" long'), ("Ben", "Ho")]


def test_what_line_saves_on_computers_is_refused_however_many_days_it_has() -> None:
    for later in (
        "",
        f"{DAYS[3]}\n10:03 Ann and: more\n",
        f"{DAYS[3]}\nAnn\n",
        "10:04 Ann https://example.org\nand more\n",
    ):
        content = f"{DAYS[3]}\n10:01 Ann Hi\n{DAYS[3]}\n10:02 Ben Ho\n{later}"
        assert find_text_form(content) == "line"
        with pytest.raises(LineError, match="line 2: no tab ends the name"):
            said_in("line", content)
    assert find_text_form("Chat\n" * 4 + f"{DAYS[3]}\n10:01 Ann Hi\n10:02 Ben Ho\n") == "line"


def test_only_above_all_messages_a_line_without_tabs_is_refused() -> None:
    assert said_in("line", f"{DAYS[0]}\n10:01\tAnn\tHi\n{DAYS[0]}\n10:02 Ann Ho\n") == ["notices", ("Ann", "Hi")][::-1]
    assert said_in("line", "10:01 Ann: Hi\n10:01 there was\tnone\n10:02\tAnn\tHi\n")[-1] == ("Ann", "Hi")


@pytest.mark.parametrize(
    "content",
    [
        "[Ann] [10:01 AM] Hi\n",
        f"[Ann] [10:01 AM] Hi\n{RULE}\nBen: Ho\n",
        f"{RULE} and more\n[Ann] [10:01 AM] Hi\n",
        f"{RULE}\n{RULE} and more\n[Ann] [10:01 AM] Hi\n",
        f"{RULE}\n방장이 변경되었습니다. 왜?\n[Ann] [10:01 AM] Hi\n",
        f"{RULE}\n[Ann] [10:01 AM]: Hi\n",
        f"{RULE}\nAnn: Hi\n",
        f"{RULE}\nAnn: Hi\n[Kim] [10:01 AM] hello\n",
        "----- pasted from chat -----\n[Kim] [10:01 AM] hello\n",
        f"Ann: Hi\nBen: Ho\nAnn: Hi\nBen: Ho\n{RULE}\n[Kim] [10:01 AM] hello\n",
    ],
)
def test_what_is_not_of_kakaotalk(content: str) -> None:
    assert find_text_form(content) != "kakao"
    assert find_text_form(f"{RULE} and more\n{RULE}\n[Ann] [10:01 AM] Hi\n") == "kakao"


@pytest.mark.parametrize(
    "notice",
    [
        "앤님이 들어왔습니다.",
        "벤님이 나갔습니다.",
        "앤님이 벤님을 초대했습니다.",
        "Ann invited Ben to this chatroom.",
        "카이님이 부방장이 되었습니다.",
        "방장이 변경되었습니다.",
        "벤님이 들어왔습니다.운영정책을 위반한 메시지로 신고 접수 시 카카오톡 이용에 제한이 있을 수 있습니다.",
        "Ann joined this chatroom.",
        RULE,
    ],
)
def test_a_notice_of_kakaotalk_is_nobodys(notice: str) -> None:
    told = [] if notice == RULE else ["notices"]
    content = f"{RULE}\n[Ann [A]] [오전 10:01] Hi\n{notice}\n[Ben] [오후 1:02]\n"
    assert said_in("kakao", content) == [*told, ("Ann [A]", "Hi"), ("Ben", "")]


def test_a_message_of_kakaotalk_that_was_deleted_is_told_below_another() -> None:
    content = f"{RULE}\n[Ann] [10:01 AM] 사진\n메시지가 삭제되었습니다.\n[Ben] [10:02 AM] Ho\n"
    assert said_in("kakao", content) == ["deleted messages", "attachments", ("Ben", "Ho")]


def test_only_a_rule_is_nothing_above_the_messages() -> None:
    assert said_in("kakao", f"{RULE}\n{RULE} and more\n\n[Ann] [10:01 AM] Hi\n") == ["notices", ("Ann", "Hi")]


def test_a_rule_that_is_said_ends_no_message() -> None:
    assert said_in("kakao", f"{RULE}\n[Ann] [10:01 AM] a\n---- b ----\n{RULE} c\n") == [
        ("Ann", f"a\n---- b ----\n{RULE} c")
    ]
