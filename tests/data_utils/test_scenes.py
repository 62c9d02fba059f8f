"""Which turns are the same, which dialogues share a scene, and what is left of train without them."""

import pytest

from data_utils.dialogues import Dialogue, Utterance, recording_of
from data_utils.scenes import count_repeated, long_turns, share_scenes, without_shared
from data_utils.texts import digest_text, is_long, list_seen, words_of

SCENE = ("Where have you been?", "At my mother's place.", "All night long?", "Oh.")


def dialogue(*texts: str, name: str = "d") -> Dialogue:
    return Dialogue(name, tuple(Utterance(turn % 2, text, "neutral") for turn, text in enumerate(texts)))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Don\x92t you DARE!", ("don't", "you", "dare")),
        ("don't, you: dare...", ("don't", "you", "dare")),
        ("'Don\u2019t' - you 'dare'", ("don't", "you", "dare")),
        ("Caf\u00e9 2?", ("caf\u00e9", "2")),
        ("...", ()),
        ("दुनिया, हिन्दी!", ("दुनिया", "हिन्दी")),
        ("你好，OK吗?", ("你", "好", "ok", "吗")),
        ("ที่นี่ 2", ("ที่", "นี่", "2")),
    ],
)
def test_words_leave_case_punctuation_and_the_kind_of_apostrophe_aside(text: str, words: tuple[str, ...]) -> None:
    assert words_of(text) == words


def test_a_long_turn_has_three_distinct_words() -> None:
    assert is_long(words_of("no, I will")) and not is_long(words_of("No, no, no, no way!"))
    assert long_turns(dialogue("Hm.", "Where are you?", "Here I am!")) == [("where", "are", "you"), ("here", "i", "am")]


@pytest.mark.parametrize(
    ("long", "short"),
    [
        ("你昨天晚上去哪里了？", "你好吗？"),
        ("เมื่อคืนคุณไปไหนมา", "ไม่ ไม่ ไม่"),
        ("昨日どこに行ったの", "うん、うん"),
        ("कल रात तुम कहाँ थे", "हिन्दी, हिन्दी"),
    ],
)
def test_a_long_turn_is_one_in_any_script(long: str, short: str) -> None:
    """Where no blanks tell words apart two letters are as much as a word."""
    assert is_long(words_of(long)) and not is_long(words_of(short))
    scene = dialogue(long, short, f"{long} {long[::-1]}")
    assert share_scenes([scene], [scene]) == {0: (0,)} and len(long_turns(scene)) == 2


def test_texts_are_the_same_but_for_case_and_outer_blanks() -> None:
    assert digest_text(" Oh my God! ") == digest_text("oh my god!") != digest_text("oh my god")
    assert list_seen({"a": "1", "b": "2", "c": "1"}, {"1"}) == ["a", "c"]


def test_two_longer_turns_in_common_make_one_scene() -> None:
    others = [
        dialogue("Nothing here is alike."),
        dialogue("where have you been", "No idea at all.", "ALL night LONG?", *["Something else is said."] * 20),
        dialogue("Where have you been?", "Where have you been?", "Oh.", "Oh."),  # one turn, and short ones
        dialogue("Been where you have?", "Long all night?"),  # the same words in another order
        dialogue(*SCENE),
    ]
    assert share_scenes([dialogue("Oh."), dialogue(*SCENE)], others) == {1: (1, 4)}
    assert share_scenes(others, [dialogue(*SCENE)]) == {1: (0,), 4: (0,)}
    assert without_shared(others, [dialogue("Oh."), dialogue(*SCENE)]) == (others[0], others[2], others[3])
    assert without_shared(others, []) == tuple(others)


def test_repeated_dialogues_are_those_half_of_whose_longer_turns_are_known() -> None:
    known = {words_of(text) for text in SCENE[:2]}
    half = dialogue(*SCENE[:2], "A third longer turn.", "And a fourth longer turn.")
    less = dialogue(SCENE[0], "A third longer turn.", "And a fourth longer turn.")
    too_short = dialogue(SCENE[0], "Oh.")
    assert count_repeated([half, less, too_short, dialogue(*SCENE)], known) == (2, 3)


def test_recordings_are_told_by_iemocaps_ids() -> None:
    assert recording_of("iemocap", "Ses05F_script01_1") == "scripted"
    assert recording_of("iemocap", "Ses05M_impro03") == "improvised"
    assert recording_of("meld", "Ses05F_script01_1") is None
