"""Columns of tables: what a header lacks or has twice, which name splits, and what is no header and no rule."""

import io

import pytest

from corpora import remarks_on, said_in
from dialogue_files.readers.forms import FORMATS
from dialogue_files.readers.tables import splits_named
from dialogue_files.report import SplitSaid
from dialogue_files.turns import LineError


def test_a_header_without_speaker_and_utterance_is_refused_with_all_that_is_allowed() -> None:
    told = "the header names no speaker and no utterance (it names a, b), name the columns so: speaker: speaker, "
    told += "speaker_name, name, character, author, role, from, speaker_id; utterance: utterance, text, sentence, "
    told += "message, content, value, transcript, transcription"
    with pytest.raises(LineError) as caught:
        said_in("csv", "a,b\n1,2\n")
    assert str(caught.value).endswith(told) and caught.value.line == 1


def test_all_other_columns_of_a_meaning_are_told() -> None:
    told = "the utterance is taken from the column 'text', not from 'sentence', 'message'"
    assert remarks_on("csv", "speaker,sentence,text,message\nAnn,x,a,y\n") == [told]


@pytest.mark.parametrize(
    ("column", "values", "said"),
    [
        ("split", ("", "train", "dev"), [3, 4]),
        ("Data-Split", ("one", "two", " "), [2, 3]),
        ("subset", ("easy", "test", "latest"), [3]),
        ("partition", ("", "trn", "x"), [3]),
        ("group", ("train", "test", "dev"), []),
    ],
)
def test_columns_that_name_the_split_of_a_turn_are_said(column: str, values: tuple, said: list[int]) -> None:
    content = f"speaker,text,{column}\n" + "".join(f"Ann,a,{value}\n" for value in values)
    items = FORMATS["csv"].read(io.BytesIO(content.encode()))
    assert [one for one in items if isinstance(one, SplitSaid)] == [SplitSaid(column, line) for line in said]


@pytest.mark.parametrize(
    ("split", "words"),
    [
        ("train", ("train", "TRAINING", "emory_trn.csv")),
        ("valid", ("valid", "validation", "my-val", "dev")),
        ("test", ("test", "tst 2")),
    ],
)
def test_words_that_mean_a_split(split: str, words: tuple[str, ...]) -> None:
    assert [splits_named(word) for word in words] == [[split]] * len(words)
    assert splits_named("trained on latest devices") == [] and splits_named("dev/test") == ["valid", "test"]


def test_what_is_neither_a_rule_nor_a_line_of_the_separator_is_read() -> None:
    assert said_in("text_table", "|Speaker|Text|\n|X-|-X|\n|Ann|a|\n") == [("X-", "-X"), ("Ann", "a")]
    assert said_in("csv", "sep=a,speaker,text\n1,Ann,Hi\n") == [("Ann", "Hi")]
    assert said_in("csv", "sep=;\nspeaker;text\nAnn;a\n") == [("Ann", "a")]
