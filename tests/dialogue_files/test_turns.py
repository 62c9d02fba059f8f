"""Lines, names, texts and emotions of turns, at the borders of what is allowed."""

import io
import json

import pytest

from dialogue_files import turns
from dialogue_files.readers.corpora import is_emory_table, is_empathetic
from dialogue_files.reading import FORMATS, FileCounts, warn_of_speakers
from dialogue_files.report import Report
from dialogue_files.turns import MOST_MARKS, LineError, ReadTurn, clean, number_turns, read_lines, unescape


def test_a_line_may_be_as_long_as_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "LONGEST_LINE", 10)
    assert list(read_lines(io.BytesIO(b"\xef\xbb\xbf123456\n123456789\n\n1234567890"))) == [
        *((1, "123456\n"), (2, "123456789\n"), (3, "\n"), (4, "1234567890"))
    ]
    with pytest.raises(LineError, match="line 2: longer than 10 bytes, allowed are shorter lines"):
        list(read_lines(io.BytesIO(b"1\n1234567890\n")))


def test_a_mark_of_utf_8_stands_at_the_beginning_alone() -> None:
    assert list(read_lines(io.BytesIO(b"\xef\xbb\xbfa\n\xef\xbb\xbfb"))) == [(1, "a\n"), (2, "\ufeffb")]


def test_clean_names_and_texts() -> None:
    assert clean(" \n a\r\n\tb  c \v", "utterance", 6, 1) == "a b  c"
    assert clean(" \u200b Ann\u2060 ", "speaker", 3, 1) == "Ann" and clean("e\u0301", "speaker", 1, 1) == "é"
    assert clean("e\u0301\u200b", "dialogue", 3, 1) == "e\u0301\u200b"
    assert clean("A" + "\u200b" * (MOST_MARKS - 1), "speaker", 1, 1) == "A"
    with pytest.raises(LineError, match="the speaker has 1,001 characters"):
        clean("A" + "\u200b" * MOST_MARKS, "speaker", 1, 1)
    for text, told in ((" \u200b ", "line 7: the speaker is empty, allowed is a text"), ("Anna", "has 4 characters")):
        with pytest.raises(LineError, match=told):
            clean(text, "speaker", 3, 7)


@pytest.mark.parametrize(
    ("part", "speaker", "told"),
    [("d" * 101, "Ann", "line 2: the dialogue has 101"), ("d", "a" * 101, "line 2: the speaker has 101")],
)
def test_long_names_are_refused(part: str, speaker: str, told: str) -> None:
    with pytest.raises(LineError, match=f"{told} characters, allowed are 100"):
        list(number_turns([ReadTurn(0, part, speaker, "a", 2)]))


def test_turns_are_counted_in_each_dialogue() -> None:
    read = [
        ReadTurn(part, None, name, "a", 3, "joy") for part, name in ((0, "Ann"), (0, "Ben"), (0, "ANN"), (1, "Ben"))
    ]
    found = [(one.part, one.dialogue, one.turn, one.speaker, one.number, one.emotion) for one in number_turns(read)]
    assert [one.dialogue for one in number_turns([ReadTurn(1, None, "Ann", "a", 1)])] == ["2"]
    assert found == [
        *((0, "1", 0, "Ann", 0, "joy"), (0, "1", 1, "Ben", 1, "joy"), (0, "1", 2, "Ann", 0, "joy")),
        (1, "2", 0, "Ben", 0, "joy"),
    ]


TURN = {"speaker": "Ann", "text": "a", "emotion": "joy"}
SCENE = {"scene_id": "s1", "utterances": [{"speakers": ["Ann"], "transcript": "a", "emotion": "joy"}]}
# A turn of each form whose files can be a corpus.
LABELLED = {
    "ecf": "1 1\n\n1 | Ann | joy | a | 0.5\n",
    "text_table": "speaker\ttext\temotion\nAnn\ta\tjoy\n",
    "emory_csv": "Utterance,Speaker,Season,Episode,Scene_ID,Emotion\na,Ann,1,1,1,joy\n",
    "discord_csv": "AuthorID,Author,Date,Content,Attachments,Emotion\n1,Ann,2024,a,,joy\n",
    "csv": "Emotion,Speaker,Text\njoy,Ann,a\n",
    "tsv": "speaker\tlabel\ttext\nAnn\tjoy\ta\n",
    "emory_json": json.dumps({"episodes": [{"scenes": [SCENE]}]}),
    "json": json.dumps([TURN]),
    "jsonl": json.dumps({"id": 1, "turns": [TURN]}),
}


def turns_of(form: str, content: str) -> list[ReadTurn]:
    return [one for one in FORMATS[form].read(io.BytesIO(content.encode())) if isinstance(one, ReadTurn)]


@pytest.mark.parametrize(("form", "content"), LABELLED.items())
def test_forms_of_corpora_give_emotions(form: str, content: str) -> None:
    assert [(one.speaker, one.text, one.emotion) for one in turns_of(form, content)] == [("Ann", "a", "joy")]


def test_every_form_of_corpora_is_among_them() -> None:
    assert LABELLED.keys() == {name for name, form in FORMATS.items() if form.labelled}


def test_emotions_that_are_no_word() -> None:
    for value, expected in ((["joy", "awe"], "joy, awe"), (3, "3"), (None, None)):
        (turn,) = turns_of("json", json.dumps([TURN | {"emotion": value}]))
        assert turn.emotion == expected
    assert [turns_of("csv", "speaker,text\nAnn,a\n")[0].emotion, turns_of("whatsapp", "")] == [None, []]


def test_headers_of_corpora() -> None:
    emory = '"Utterance","Speaker","Season","Episode","Scene ID"  '
    assert is_emory_table([emory]) and not is_emory_table([]) and not is_emory_table([emory[:-20]])
    assert is_empathetic(["conv_id,utterance_idx,speaker_idx,utterance\n"]) and not is_empathetic([emory])


def test_counts_are_told() -> None:
    assert FileCounts(1, 1, 1).told == "1 utterance, 1 dialogue"
    assert FileCounts(2, 1_200, 1).told == "1,200 utterances, 2 dialogues"


def test_more_speakers_than_training_knew(capsys: pytest.CaptureFixture[str]) -> None:
    warn_of_speakers(3, 2, "plain")
    warn_of_speakers(2, 2, "window")
    assert capsys.readouterr() == ("", "")
    warn_of_speakers(3, 2, "window")
    out, told = capsys.readouterr()
    assert not out and told == (
        "warning: a dialogue has 3 speakers, training knew 2 at most: those that come later are Speaker_2 and so on to "
        "the model, names that it has never seen\n"
    )
    warn_of_speakers(3, 2, "window", offset=10)
    assert "that come later are Speaker_12 and so on" in capsys.readouterr().err


@pytest.mark.parametrize(("first", "last", "is_told"), [(2, 1, True), (17000002, 17000001, False)])
def test_ids_of_turns_in_a_corpus_need_not_ascend(first: int, last: int, is_told: bool) -> None:
    header = "conv_id,utterance_idx,context,prompt,speaker_idx,utterance,selfeval,tags\n"
    content = header + "".join(f"c,{number},sad,x,1,a,5,\n" for number in (first, last))
    report = Report()
    list(number_turns(FORMATS["empathetic"].read(io.BytesIO(content.encode())), report))
    assert bool(report.order.fault) == is_told


def test_references_to_no_character_are_marked_as_such() -> None:
    assert unescape("a &amp; b&#10;&#x41; &#99999999; &#123456789012345678901234567890;c") == "a & b\nA \ufffd \ufffdc"
