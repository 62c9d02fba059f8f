"""Transcripts of services: which words are one turn, in which order, and what is none of them."""

import io
import json
import weakref
from pathlib import Path
from typing import Any

import pytest

from dialogue_files.readers import services
from dialogue_files.readers.services import MARKS, is_service, read_services
from dialogue_files.reading import find_format
from dialogue_files.report import EMPTY, LeftOut, Remark
from dialogue_files.turns import LONGEST_UTTERANCE, LineError, ReadTurn


def read(content: Any) -> list[Any]:
    return list(read_services(io.BytesIO(json.dumps(content).encode())))


def turns(content: Any) -> list[tuple[str, str]]:
    return [(one.speaker, one.text) for one in read(content) if isinstance(one, ReadTurn)]


def amazon(*words: tuple[str, str | None, float | None]) -> dict:
    """Words of a text, speaker and time, punctuation without one."""
    items = [
        {"type": "punctuation" if time is None else "pronunciation", "alternatives": [{"content": text}]}
        | ({} if time is None else {"start_time": str(time)})
        | ({} if speaker is None else {"speaker_label": speaker})
        for text, speaker, time in words
    ]
    return {"jobName": "x", "results": {"items": items}}


def scribe(*words: tuple[str, str]) -> dict:
    return {"words": [{"text": text, "type": kind, "speaker_id": "a"} for text, kind in words]}


def google(*results: tuple[str, int | None, float | None]) -> dict:
    """A result for each text of words, with the speaker and the time of the first."""
    return {
        "results": [
            {"alternatives": [{"words": [
                {"word": word}
                | ({} if tag is None else {"speakerTag": tag})
                | ({} if time is None else {"startTime": f"{time + place / 10}s"})
                for place, word in enumerate(text.split())
            ]}]}
            for text, tag, time in results
        ]
    }  # fmt: skip


@pytest.mark.parametrize(
    "content",
    [
        {"utterances": [{"speaker": "A", "text": "a", "start": 1}]},
        {"messages": [{"from": "Ann", "text": "a", "conversationId": "1", "startTime": "1"}]},
        {"transcript": [{"speaker": "A", "text": "a"}]},
        {"segments": [{"speaker": "A", "text": "a", "start": 1}]},
        {"results": [{"speaker": "A", "text": "a"}]},
        [{"speaker": "A", "words": "a"}],
        [{"speaker": "A", "text": "a", "words": [{"text": "a", "start": 1}]}],
        {"Transcript": [{"Speaker": "A", "Content": "a"}]},
        {"transcript": [{"speaker": "A", "text": "a", "start_time": 1, "emotion": "joy"}]},
        {"sentences": [{"speaker_name": "A", "text": "a", "label": None}]},
        {"sentences": [{"speaker": "A", "text": "a"}]},
    ],
)
def test_what_other_readers_read_is_left_to_them(content: Any, tmp_path: Path) -> None:
    path = tmp_path / "own.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    assert find_format(path) in ("json", "whisper")


def test_who_is_named_is_not_numbered() -> None:
    segment = {"text": "a", "start": 1, "speaker_id": 3}
    assert turns({"segments": [segment, segment | {"speaker": "Ann"}]}) == [("3", "a"), ("Ann", "a")]


def test_words_of_one_speaker_are_one_turn() -> None:
    assert turns(amazon(("So", "a", 0), (",", None, None), ("well", "a", 9), (".", "a", None), ("No", "b", 10))) == [
        ("a", "So, well."),
        ("b", "No"),
    ]


def test_what_is_said_on_channels_stands_by_time() -> None:
    def channel(*words: tuple[str, float, int | None]) -> dict:
        said = [{"word": word, "start": time, "speaker": speaker} for word, time, speaker in words]
        return {"alternatives": [{"words": said}]}

    both = [channel(("Hi", 0, None), ("Fine", 2, None)), channel(("And", 1, None), ("you", 1.5, None))]
    assert turns({"results": {"channels": both}}) == [
        ("channel 0", "Hi"),
        ("channel 1", "And you"),
        ("channel 0", "Fine"),
    ]
    both = [channel(("Hi", 0, 0), ("Yes", 2, 1)), channel(("No", 1, 0))]
    assert turns({"results": {"channels": both}}) == [
        ("channel 0/0", "Hi"),
        ("channel 1/0", "No"),
        ("channel 0/1", "Yes"),
    ]


@pytest.mark.parametrize(
    ("content", "answer"),
    [
        (google(("a b", None, 0), ("c", None, 1), ("a b c", 1, 0)), "a b c"),
        (google(("a b", 0, 0), ("c", 0, 1), ("a b c.", 1, 0)), "a b c."),
        (google(("yes", 1, 0), ("yes", 1, 0)), "yes"),
        (google(("yes", 1, 0), ("yes", 1, 1)), "yes yes"),
        (google(("a b", 1, 0), ("c", 1, 1)), "a b c"),
        (google(("a", 1, 0), ("a b", 1, 0), ("a b c", 1, 0)), "a b c"),
        (google(("a b", 0, 0), ("c d e", 0, 1)), "a b c d e"),
        (google(("a b", 1, None), ("a b", 1, None)), "a b a b"),
        (google(("a b", 0, None), ("a b", 1, None)), "a b"),
        (google(("a b", 0, 0), ("a b", 1, None)), "a b"),
    ],
)
def test_the_last_result_of_google_may_say_all_again(content: dict, answer: str) -> None:
    assert [text for _, text in turns(content)] == [answer]


def test_whose_word_nobody_knows_says_nothing_of_the_others() -> None:
    said = google(("a b", 0, None), ("a b", 1, None))
    del said["results"][1]["alternatives"][0]["words"][1]["speakerTag"]
    assert turns(said) == [("1", "a b")]


def test_nobody_is_lost_where_the_last_result_goes_on() -> None:
    assert turns(google(("a b", 0, 0), ("c d e", 1, 1))) == [("0", "a b"), ("1", "c d e")]
    both = google(("a b", 1, 0), ("c d", 1, 0))
    for channel, result in enumerate(both["results"], 1):
        result["channelTag"] = channel
    one, two = "channel 1/1", "channel 2/1"
    assert turns(both) == [(one, "a"), (two, "c"), (one, "b"), (two, "d")]


def test_a_blank_stands_between_lists_of_one_speaker() -> None:
    def said(*texts: str) -> dict:
        return {"speaker": 0, "elements": [{"value": text} for text in texts]}

    whole = [said("Hi", "."), said("Well", ".", " "), said("So", "?"), said(" What", "?")]
    assert turns({"monologues": whole}) == [("0", "Hi. Well. So? What?")]


def test_punctuation_stands_where_it_is_attached() -> None:
    def one(text: str, attached: str | None = None) -> dict:
        return {"type": "word", "alternatives": [{"content": text, "speaker": "S1"}]} | {"attaches_to": attached}

    said = [one("¿", "next"), one("Y"), one("tú"), one("?", "previous"), one("Casi"), one("-", "both"), one("casi")]
    assert turns({"results": said}) == [("S1", "¿Y tú? Casi-casi")]


def test_scripts_without_blanks_get_none() -> None:
    words = [("我", "a", 0), ("饿", "a", 1), ("了", "a", 2), ("OK", "a", 3), ("吗", "a", 4)]
    assert turns(amazon(*words)) == [("a", "我饿了 OK 吗")]
    assert turns(amazon(("我饿了\uff0c", "a", 0), ("你呢\uff1f", "a", 1), ("我", "a", 2))) == [
        ("a", "我饿了\uff0c你呢\uff1f我")
    ]
    assert turns(amazon(("我", "a", 0), ("饿了", "a", 1))) == [("a", "我饿了")]


def test_without_a_time_of_its_own_a_unit_has_that_of_the_one_before() -> None:
    said = [
        {"transcript": text, "speaker": 1} | time
        for text, time in (("a", {"start": 5}), ("b", {}), ("c", {"start": 7}))
    ]
    assert turns({"results": {"utterances": said, "start": 9}}) == [("1", "a"), ("1", "b"), ("1", "c")]


def test_what_is_no_speech_is_left_out() -> None:
    found = read(scribe(("Hi", "word"), (" ", "spacing"), ("(laughter)", "audio_event"), ("<end>", "word")))
    assert [one.text.strip() for one in found if isinstance(one, ReadTurn)] == ["Hi"]
    assert [one.kind for one in found if isinstance(one, LeftOut)] == [MARKS, MARKS]
    spoken = {"text": "Hi", "speaker": "1", "start_ms": 0}
    found = read({"tokens": [spoken, spoken | {"text": "Salut", "translation_status": "translation"}]})
    assert [one.kind for one in found if isinstance(one, LeftOut)] == [MARKS]
    found = read({"phrases": [{"speaker": 1, "offsetMilliseconds": 0, "text": text} for text in ("Hi", "", None)]})
    assert [one.kind for one in found if isinstance(one, LeftOut)] == [EMPTY, EMPTY]


def test_what_was_not_understood_is_left_out() -> None:
    """Also where all that is said stands once more around it."""
    said = {"transcript": "all of it", "utterances": [{"speaker": 1}, {"speaker": 1, "transcript": "Hi"}]}
    assert turns({"results": said}) == [("1", "Hi")]
    said = amazon(("Hi", "a", 0), ("there", "a", 1))
    said["results"]["items"][0]["alternatives"] = []
    assert turns(said) == [("a", "there")]


def test_who_is_not_known_is_whoever_spoke_last() -> None:
    found = read(amazon(("Um", None, 0), ("er", None, 1), ("Hi", "a", 2), ("there", None, 3)))
    assert [one.text for one in found if isinstance(one, ReadTurn)] == ["Hi there"]
    assert [one.kind for one in found if isinstance(one, LeftOut)] == [
        "segments before the first that names who speaks"
    ]


def test_a_long_speech_is_several_turns() -> None:
    word = "w" * 72  # 137 of them fill it to the last character
    found = read(amazon(*((word, "a", place) for place in range(300))))
    said = [one.text for one in found if isinstance(one, ReadTurn)]
    assert {one.part for one in found if isinstance(one, ReadTurn)} == {0}
    assert [len(one) for one in said[:-1]] == [LONGEST_UTTERANCE] * 2 and " ".join(said) == " ".join([word] * 300)
    assert [one.text for one in found if isinstance(one, Remark)][1:] == [
        "what one speaker says in more than 10,000 characters is taken as several turns"
    ] * (len(said) - 1)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({"results": "x"}, "line 1: nothing in it stands where a service writes what is said, allowed are Amazon"),
        ([], "line 1: nothing in it stands where a service writes"),
        (
            amazon(("Hi", None, 0)),
            "line 1: nobody is named in this transcript by Amazon Transcribe, allowed is one with",
        ),
        (
            {"tokens": [{"text": "<end>", "speaker": "1", "start_ms": 0}]},
            "line 1: nobody is named in this transcript by Soniox",
        ),
        (
            {"results": [{"alternatives": [{"content": "a", "speaker": "UU "}]}]},
            "line 1: nobody is named in this transcript by Speechmatics",
        ),
        (
            {"results": {"utterances": [{"transcript": "a"}, {"transcript": 5, "speaker": 1}]}},
            "line 1: results.utterances[1] has the text 5, allowed is a text",
        ),
        (
            {"monologues": [{"speaker": ["a"], "elements": [{"value": "a"}]}]},
            "line 1: monologues[0].elements[0] has the speaker a list, allowed are names and numbers",
        ),
        (
            {"data": {"transcript": {"sentences": [{"text": "a", "speaker_name": True}]}}},
            "line 1: data.transcript.sentences[0] has the speaker True",
        ),
    ],
)
def test_what_is_wrong_is_named(content: Any, told: str) -> None:
    with pytest.raises(LineError) as caught:
        read(content)
    assert str(caught.value).startswith(told)


def test_a_line_is_that_of_the_item() -> None:
    content = b'{"monologues": [\n{"speaker": 0, "elements": [{"value": "a"}]},\n{"speaker": 1, "elements": []},\n'
    content += b'{"speaker": 1, "elements": [{"value": 7}]}\n]}'
    with pytest.raises(LineError, match="line 4: "):
        list(read_services(io.BytesIO(content)))


def test_a_file_is_held_up_to_a_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "LARGEST_VALUE", 200)
    with pytest.raises(LineError, match="too large for a service's transcript"):
        read(amazon(*(("Hi", "a", place) for place in range(20))))


def test_a_beginning_is_enough() -> None:
    element = services.Element("results", False, amazon(("Hi", "a", 0))["results"], 1)

    def broken() -> Any:
        yield element
        raise LineError(2, "not JSON")

    assert is_service(broken()) and not is_service(iter(()))
    begun = broken()
    next(begun)
    assert not is_service(begun)


def test_a_file_is_told_by_one_element_at_a_time() -> None:
    held: list[weakref.ref] = []

    class Held(list):
        pass

    def elements() -> Any:
        for _ in range(5):
            assert not any(one() for one in held)
            value = Held([{"speaker": "A", "text": "a"}])
            held.append(weakref.ref(value))
            yield services.Element(None, False, value, 1)
            del value

    assert not is_service(elements())
