"""What each reader refuses, by line, and what it makes of the odd entries that exports have."""

import io
import json
from collections import Counter
from typing import Any

import pytest

from basics.json_files import DEEPEST
from dialogue_files.readers import json_stream
from dialogue_files.readers.json_dialogues import COLUMNS
from dialogue_files.reading import FORMATS
from dialogue_files.report import LeftOut
from dialogue_files.turns import LONGEST_UTTERANCE, LineError, ReadTurn

EMORY_HEAD = "Utterance,Speaker,Season,Episode,Scene_ID,Emotion\n"
EMPATHETIC_HEAD = "conv_id,utterance_idx,speaker_idx,utterance\n"
ASS_HEAD = "[Events]\nFormat: Start, End, Text\n"
TIMES = "00:00:01,000 --> 00:00:02,000\n"
NESTED = "[" * (DEEPEST + 1) + "]" * (DEEPEST + 1)
NO_TURN = (
    "is no turn, allowed is 'Name: utterance' on one line (a name has at most 100 characters and no colon), with a "
    "blank line between dialogues"
)
LONG = "word " * (LONGEST_UTTERANCE // 10)
REFUSED = [
    ("telegram", '{"messages": [\n1]}', "line 2: a message is 1, allowed is an object with from and text"),
    ("telegram", '{"messages": [{"type": "message", "text": 5}]}', "line 1: a message has the text 5, allowed are"),
    ("telegram", '{"chats": {"list": 5}}', "line 1: chats are 5, allowed is a list of objects"),
    ("telegram", '{"chats": {"list": [{"id": 3, "messages": [7]}]}}', "line 1: messages of 'chat 3' are a list, allow"),
    (
        "messenger",
        '{"messages": [{"content": "a"}]}',
        "line 1: a message has no sender_name, allowed is what Messenger",
    ),
    ("messenger", '{"messages": [{"sender_name": 5}]}', "line 1: a message has no sender_name"),
    ("slack", '[\n\n"a"]', "line 3: a message is 'a', allowed is an object with user and text"),
    ("slack", '[{"text": 5}]', "line 1: a message has the text 5, allowed is a text"),
    ("discord", '{"messages": [{"content": "a"}]}', "line 1: a message has no author or no content, allowed is what"),
    ("discord", '{"messages": [{"author": {}}]}', "line 1: a message has no author or no content"),
    ("discord", '{"messages": ["a"]}', "line 1: a message has no author or no content"),
    (
        "google_chat",
        '{"messages": [{"text": "a"}]}',
        "line 1: a message has no creator, or a text that is none, all",
    ),
    ("google_chat", '{"messages": [\n{"creator": {}, "text": 5}]}', "line 2: a message has no creator, or a text that"),
    ("google_chat", '{"messages": ["a"]}', "line 1: a message has no creator, or a text that is none"),
    ("line", "2024/05/01(Wed)\n10:01 Ann Hi\n10:02 Ben Ho", "line 2: no tab ends the name, allowed is what LINE saves"),
    ("whisper", '{"segments": [\n{"speaker": "A"}]}', "line 2: a segment has no text, allowed is what Whisper writes"),
    ("convokit", "[1]", "line 1: an utterance is 1, allowed is an object with speaker and text"),
    ("convokit", '{"text": "a", "user": "A"}', "line 1: an utterance has no conversation_id, speaker or text, allow"),
    ("convokit", '{"text": "a", "id": "1"}', "line 1: an utterance has no conversation_id, speaker or text"),
    ("emory_json", '{"episodes": [{"scenes": 5}]}', "line 1: scenes are 5, allowed is a list of objects"),
    ("emory_json", '{"scenes": [{"utterances": [\n\n{}]}]}', "line 3: an utterance has no speakers or no transcript"),
    ("emory_json", '{"scenes": ["a"]}', "line 1: scenes are a list, allowed is a list of objects"),
    ("emory_csv", f"{EMORY_HEAD}a,Ann,1,x,1,joy\n", "line 2: Season, Episode, Scene_ID are 1, x, 1, allowed are whole"),
    ("emory_csv", f"{EMORY_HEAD}a,Ann,1,1\n", "line 2: 4 cells, but the header has 6"),
    ("emory_csv", "Utterance,Speaker\n", "line 1: the header names no season, episode, scene_id, allowed is the corp"),
    ("empathetic", f"{EMPATHETIC_HEAD}a,1,2\n", "line 2: 3 cells, but the header has 4"),
    ("ecf", "a b\n", "line 1: 'a b' begins no conversation, allowed are its number and its length"),
    ("ecf", "1 1\n(1,1)\nAnn: a\n", "line 3: 'Ann: a' is no utterance, allowed is 'number | speaker | emotion |"),
    ("ass", f"{ASS_HEAD}Dialogue: 0:00:01.00\n", "line 3: a cue without its columns, allowed is a line 'Format:'"),
    ("srt", f"{TIMES}Ann: a\n{'b' * 6_000}\n{'c' * 6_000}\n", "line 4: a cue does not end, allowed is a line of times"),
    ("srt", f"{TIMES}Ann: a\n" + "b\n" * 1_000, "line 1002: a cue does not end"),
    (
        "whatsapp",
        f"6/13/23, 7:35 PM - Ann: {LONG}\n{LONG}\n{LONG}\n",
        "line 3: a message of 'Ann' has more than 10,000",
    ),
    ("line", f"10:01\tAnn\t{LONG}\n{LONG}\n{LONG}\n", "line 2: a message of 'Ann' has more than 10,000"),
    ("kakao", f"[Ann] [10:01 AM] {LONG}\n{LONG}\n{LONG}\n", "line 3: a message of 'Ann' has more than 10,000"),
    (
        "headings",
        f"Ann Bell 0:01\n{LONG}\n{LONG}\n{LONG}\n",
        "line 4: the turn of 'Ann Bell' has more than 10,000 char",
    ),
    ("csv", "sep=;\nspeaker;text\nAnn;a\nBen\n", "line 4: 1 cell, but the header has 2"),
    ("text", "Ann\n", f"line 1: 'Ann' {NO_TURN}"),
    ("jsonl", f"[]\n{NESTED}", "line 2: not JSON (nested too deeply), allowed is one value on each line"),
    ("json", b"[[]]\xc3", "line 1: not UTF-8 text from here on (unexpected end of data), allowed is UTF-8"),
    ("convokit", '{"id": "1", "speaker": "\\ud800", "text": "a"}', "line 1: the speaker holds half of a surrogate"),
    ("convokit", '{"id": "1", "speaker": "A", "text": "\\ud800"}', "line 1: the utterance holds half of a surrogate"),
    ("convokit", '{"id": "\\ud800", "speaker": "A", "text": "a"}', "line 1: the dialogue holds half of a surrogate"),
    ("json", "[1 2]", "line 1: holds 1, allowed are utterances"),
    ("json", "[[]\n[]]", "line 2: not JSON, allowed is ',' or ']' after an element"),
    ("json", '{"a": []\n"b": []}', "line 2: not JSON, allowed is ',' or '}' after a value"),
    ("json", "{\n1: []}", "line 2: not JSON, allowed is a key in quotes"),
    ("json", '{"a"\n\n[]}', "line 3: not JSON, allowed is ':' after a key"),
    ("json", b'[[],\n"\xff"]', "line 1: not UTF-8 text from here on (invalid start byte), allowed is UTF-8"),
    *(
        (form, json.dumps(content), f"line 1: {COLUMNS}")
        for form in ("json", "jsonl")
        for content in (
            {"speaker": {"0": "Ann", "1": "Ben"}, "text": {"0": "Hi", "1": "Ho"}},
            {"dialogue": {"0": 1, "1": 1}, "Speaker": {"0": "Ann", "1": "Ben"}, "Utterance": {"0": "Hi", "1": "Ho"}},
            {"speaker": ["Ann", "Ben"], "text": ["Hi", "Ho"]},
            {"turns": [{"speaker": ["Ann", "Ben"], "text": ["Hi", "Ho"]}]},
        )
    ),
    ("json", '{"dialogue": [1, 1], "speaker": ["Ann", "Ben"], "text": ["Hi", "Ho"]}', f"line 1: {COLUMNS}"),
]


def read(form: str, content: str | bytes) -> list[Any]:
    content = content.encode("utf-8") if isinstance(content, str) else content
    return list(FORMATS[form].read(io.BytesIO(content)))


@pytest.mark.parametrize(("form", "content", "told"), REFUSED)
def test_a_bad_line_is_named(form: str, content: str | bytes, told: str) -> None:
    with pytest.raises(LineError) as caught:
        read(form, content)
    assert str(caught.value).startswith(told)


def test_a_bad_turn_is_counted_in_its_dialogue() -> None:
    turns = [{"speaker": "A", "text": "a"}, 5]
    for content, told in (
        (turns, "it is turn 2 (from 1) of dialogue 'd'"),
        ([], "it is turn 1 (from 1) of dialogue 'd'"),
    ):
        with pytest.raises(LineError) as caught:
            read("jsonl", json.dumps({"id": "d", "turns": content or turns[1:]}))
        assert str(caught.value).endswith(told)


MEDIA = ("photo", "file", "media_type", "location_information", "contact_information", "poll", "sticker_emoji")
# (form, entry, what it is): a turn's speaker and text, or the kind that is left out.
ENTRIES = [
    *(("telegram", {"type": "message", "text": " ", key: "x"}, "attachments") for key in MEDIA),
    ("telegram", {"type": "message", "text": ""}, "empty turns"),
    ("telegram", {"type": "service", "text": "a"}, "notices"),
    ("telegram", {"type": "message", "text": "a"}, ("Deleted Account", "a")),
    ("telegram", {"type": "message", "text": "a", "from": None, "from_id": "user7"}, ("user7", "a")),
    *(("messenger", {"sender_name": "Ann", "content": "a", key: [1]}, "notices") for key in ("call_duration", "users")),
    ("messenger", {"sender_name": "Ann", "content": "a", "is_unsent": True}, "notices"),
    ("messenger", {"sender_name": "Ann", "content": "a", "is_unsent": False}, ("Ann", "a")),
    ("messenger", {"sender_name": "Ann"}, "attachments"),
    ("messenger", {"sender_name": "Zo\u00c3\u00ab", "content": "\u2764 as it is"}, ("Zoë", "\u2764 as it is")),
    *(
        ("messenger", {"sender_name": "Ann Bell", "content": text}, kind)
        for kind, texts in (
            ("reactions", ("Liked a message", "Reacted \u00e2\u009d\u00a4\u00ef\u00b8\u008f to your message ")),
            ("reactions", ("Hat mit \u2764 auf deine Nachricht reagiert", "Reaccionó con 😂 a tu mensaje")),
            ("attachments", ("Ann Bell sent an attachment.", "Ann sent a photo.", "You sent an attachment.")),
            (
                "notices",
                ("Ann Bell named the group Flat!", "Ann set the nickname for Ben to B.", "User unsent a message"),
            ),
            ("notices", ("You set your own nickname to A.", "Ann added Ben Fox to the group.", "You left the group.")),
            ("notices", ("Ann changed the theme to Love.", "Ann pinned a message.", "The video chat ended.")),
            ("notices", ("You created a poll: where to go.", "Ann turned on disappearing messages. New ones go.")),
        )
        for text in texts
    ),
    *(
        ("messenger", {"sender_name": "Ann Bell", "content": text}, ("Ann Bell", text))
        for text in (
            *("Liked a message of yours", "Reacted badly to your message", "Ben sent an attachment."),
            *(
                "Ann sent a photo. Look!",
                "sent an attachment.",
                "Ben left the group.",
                "You left the group?",
                "You left the group before I could explain.",
                "You started a chat with me and never came back.",
                "You removed me from the group because of a joke.",
                "You changed the theme and I hate it.",
                "Ann left",
            ),
        )
    ),
    ("messenger", {"sender_name": "", "content": "a"}, ("", "a")),
    ("messenger", {"sender_name": "Ann", "is_unsent": True}, "notices"),
    *(
        ("messenger", {"senderName": "Ann", "timestamp": 5, "isUnsent": unsent, "text": text}, kind)
        for unsent, text, kind in ((False, "a", ("Ann", "a")), (True, "a", "notices"), (False, "", "attachments"))
    ),
    ("slack", {"text": "a", "user": "U1", "user_profile": {"real_name": "Ann"}}, ("Ann", "a")),
    ("slack", {"text": "a", "username": "ann"}, ("ann", "a")),
    ("slack", {"text": "a"}, ("unknown", "a")),
    ("slack", {"text": "a", "user": "U1", "bot_id": "B1"}, "messages of bots"),
    ("slack", {"text": "a", "user": "U1", "bot_id": "B1", "user_profile": {"name": "ann"}}, ("ann", "a")),
    (
        "slack",
        {"text": "a", "user": "U1", "subtype": "bot_message", "user_profile": {"name": "ann"}},
        "messages of bots",
    ),
    *(("slack", {"text": "a", "subtype": kind}, ("unknown", "a")) for kind in ("thread_broadcast", "me_message")),
    ("slack", {"text": "a", "files": [1], "subtype": "file_share"}, ("unknown", "a")),
    ("slack", {"text": "", "files": [1]}, "attachments"),
    ("slack", {"text": "a", "subtype": "channel_join"}, "notices"),
    (
        "slack",
        {"text": "<@U9|bo> <#C1|cakes> <mailto:a@b.c> <http://x.y|x> &lt;"},
        ("unknown", "@bo #cakes mailto:a@b.c x <"),
    ),
    ("slack", {"text": "<!subteam^S1|@cooks> <!channel> <!everyone>"}, ("unknown", "@cooks @channel @everyone")),
    *(("discord", {"author": {"name": "a"}, "content": "b", "type": kind}, ("a", "b")) for kind in ("Reply", 0, "19")),
    ("discord", {"author": {"name": "a", "nickname": "A"}, "content": "b"}, ("A", "b")),
    ("discord", {"author": {"name": "a"}, "content": "b", "type": "Call"}, "notices"),
    *(("discord", {"author": {}, "content": " ", key: [1]}, "attachments") for key in ("stickers", "embeds")),
]


@pytest.mark.parametrize(("form", "entry", "expected"), ENTRIES)
def test_an_entry_of_an_export(form: str, entry: dict[str, Any], expected: str | tuple[str, str]) -> None:
    found = read(form, json.dumps([entry] if form == "slack" else {"messages": [entry]}))
    made = [(one.speaker, one.text) for one in found if isinstance(one, ReadTurn)]
    left_out = Counter(one.kind for one in found if isinstance(one, LeftOut))
    assert (made, left_out) == (([], {expected: 1}) if isinstance(expected, str) else ([expected], {}))


@pytest.mark.parametrize(
    ("form", "begin"),
    [
        ("whatsapp", "6/13/23, 7:35 PM - Ann: "),
        ("zoom_chat", "10:01:03 From Ann to Everyone:\n"),
        ("discord_text", "[05/01/2024 10:01 AM] Ann\n"),
        ("headings", "Ann Bell 0:01\n"),
    ],
)
def test_a_turn_of_several_lines_may_be_as_long_as_is_allowed(form: str, begin: str) -> None:
    """With the end of a line between its parts it has 10,000 characters, and one more is refused."""
    left = LONGEST_UTTERANCE // 2
    (turn,) = read(form, f"{begin}{'a' * left}\n{'b' * (left - 1)}\n")
    assert len(turn.text.strip()) == LONGEST_UTTERANCE
    with pytest.raises(LineError, match="has more than 10,000 characters"):
        read(form, f"{begin}{'a' * left}\n{'b' * left}\n")


# What holds nothing that anybody says -> what it is.
SILENT = [
    ("telegram", '{"messages": []}', []),
    ("messenger", '{"participants": [{"name": "Ann"}], "messages": []}', []),
    ("discord", '{"messages": []}', []),
    ("json", '{"turns": []}', []),
    (
        "convokit",
        '{"id": "1", "speaker": "A", "text": null}\n{"id": "2", "speaker": "B", "text": ""}',
        ["empty turns"] * 2,
    ),
]


@pytest.mark.parametrize(("form", "content", "expected"), SILENT)
def test_a_file_in_which_nobody_speaks(form: str, content: str, expected: list[str]) -> None:
    assert [one.kind for one in read(form, content)] == expected


def test_words_of_a_transcript_are_not_held(monkeypatch: pytest.MonkeyPatch) -> None:
    """WhisperX lists them once more, in a list of their own."""
    monkeypatch.setattr(json_stream, "LARGEST_VALUE", 1 << 17)
    words = [{"word": "a", "start": 0.5, "speaker": "A"}] * 10_000
    segments = [{"text": "a", "start": 0.5, "speaker": "A"}]
    found = read("whisper", json.dumps({"segments": segments, "word_segments": words}))
    assert [(one.speaker, one.text) for one in found] == [("A", "a")]


NOBODY: dict[str, Any] = {"text": "x", "start": 0.5}
UNNAMED = "segments before the first that names who speaks"


@pytest.mark.parametrize("nobody", [NOBODY, {**NOBODY, "speaker": None}])
def test_a_segment_without_a_speaker_is_of_whoever_spoke_last(nobody: dict[str, Any]) -> None:
    segments = [nobody, nobody, {**NOBODY, "speaker": "A"}, nobody, {**NOBODY, "speaker": 0}, nobody]
    found = read("whisper", json.dumps({"segments": segments}, indent=0))
    said = [one.speaker if isinstance(one, ReadTurn) else one.kind for one in found]
    assert said == [UNNAMED, UNNAMED, "A", "A", "0", "0"] and found[0].line < found[1].line


@pytest.mark.parametrize("nobody", [NOBODY, {**NOBODY, "speaker": None}])
def test_segments_of_which_none_has_a_speaker_are_refused(nobody: dict[str, Any]) -> None:
    segments = f'{{"segments": [\n{json.dumps(nobody)},\n{json.dumps(nobody)}]}}'
    with pytest.raises(LineError, match="line 2: nobody is named here or in a later segment: Whisper alone does not"):
        read("whisper", segments)


@pytest.mark.parametrize("role", ["system", "developer", "tool", "function", "ipython", "observation", "System"])
def test_what_a_chat_model_is_told_is_nobodys(role: str) -> None:
    (found,) = read("json", json.dumps([{"role": role, "content": "a"}]))
    assert found == LeftOut("messages of system and tools", 1)
    (found,) = read("json", json.dumps([{"speaker": role, "content": "a"}]))
    assert (found.speaker, found.text) == (role, "a")


@pytest.mark.parametrize(
    "message",
    [
        {"role": "tool", "name": "find_route", "content": {"route": [1]}},
        {"role": "system", "name": "example_user", "content": "a"},
        {"from": "observation", "user": "Ann", "value": "a"},
    ],
)
def test_the_role_of_a_message_counts_beside_a_name(message: dict[str, Any]) -> None:
    assert read("json", json.dumps([message])) == [LeftOut("messages of system and tools", 1)]
    (found,) = read("json", json.dumps([{"name": "Ann", "role": "developer", "text": "a"}]))
    assert found.speaker == "Ann"


# One turn in JSON of one's own -> its dialogue, speaker and text.
TURNS = [
    ({"speaker": "Ann", "text": "a"}, (None, "Ann", "a")),
    ([{"speaker": 7, "text": "a"}], (None, "7", "a")),
    ([{"speaker": ["Ann", "Ben"], "text": [{"text": "a"}, "b", {"type": "image"}]}], (None, "Ann, Ben", "ab")),
    ([{"speaker": "Ann", "text": None}], (None, "Ann", "")),
    ({"speaker": "Ann", "text": ["a", {"text": "b"}]}, (None, "Ann", "ab")),
    ({"speaker": ["Ann", "Ben"], "text": ["a"]}, (None, "Ann, Ben", "a")),
    ({"role": "user", "content": [{"type": "text", "text": "a"}], "dict": {"x": []}}, (None, "user", "a")),
    ([{"speaker": ["Ann"], "text": ["a"]}], (None, "Ann", "a")),
    ({"id": 5, "turns": [{"speaker": "Ann", "text": "a"}]}, ("5", "Ann", "a")),
    ({"id": [5], "turns": [{"speaker": "Ann", "text": "a"}]}, (None, "Ann", "a")),
    ([{"id": [5], "turns": [{"speaker": "Ann", "text": "a"}]}], (None, "Ann", "a")),
]


@pytest.mark.parametrize(("content", "expected"), TURNS)
def test_a_turn_in_json(content: Any, expected: tuple[str | None, str, str]) -> None:
    (turn,) = read("json", json.dumps(content))
    assert (turn.dialogue, turn.speaker, turn.text) == expected


def test_a_turn_of_emory_without_a_speaker_a_text_or_a_label() -> None:
    silent = {"speakers": [], "transcript": None, "emotion": None}
    (turn,) = read("emory_json", json.dumps({"scenes": [{"scene_id": "s", "utterances": [silent]}]}))
    assert turn == ReadTurn(0, "s", "nobody", "", 1)
