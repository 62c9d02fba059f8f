"""What a visitor may give the page: texts, files and turns within their limits, and dialogues to click."""

from pathlib import Path

import pytest

import page_input
import predict
from basics.errors import UserError
from commands import call_script
from own_dialogues.recognizer import EmotionRecognizer


def test_turns_are_counted_and_not_lines() -> None:
    above = "".join(f"Ruth Hale  0:{number % 60:02}\nIt is raining.\n" for number in range(page_input.MOST_TURNS))
    assert len(page_input.read_dialogue(above)) == page_input.MOST_TURNS
    with pytest.raises(UserError, match="more than 500 turns, which this page takes"):
        page_input.read_dialogue(f"{above}Ruth Hale  0:09\nStill.\n")
    with pytest.raises(UserError, match="more than 500 turns"):
        page_input.add_turn("A: b\n" * page_input.MOST_TURNS, "A", "c")
    with pytest.raises(UserError, match="Nobody says anything in it"):
        page_input.read_dialogue("[They laugh.]\nRuth:\n")


VTT = "WEBVTT\n\n00:00.000 --> 00:02.000\n<v Ann>Great!\n\n00:02.000 --> 00:03.000\n[music]\n\n"
VTT += "00:03.000 --> 00:04.000\n<v Ben>Run!\n"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("talk.vtt", VTT),
        ("talk.csv", "dialogue;Speaker;Text\na;Ann;Great!\na;Ben;\nb;Ann;Rün!\n"),
        ("chat.txt", "6/13/23, 7:35 PM - Ann: Great!\n6/13/23, 7:36 PM - Ben: <Media omitted>\n"),
    ],
)
def test_a_file_is_told_as_predict_previews_it(tmp_path: Path, name: str, content: str) -> None:
    path = tmp_path / name
    path.write_text(content, encoding="cp1252")
    previewed = call_script(predict.main, "--input", path, "--preview", "True")
    assert previewed.returncode == 0, previewed.stderr
    opened = page_input.open_file(path)
    assert sorted(opened.told[1:]) == sorted(previewed.stderr.splitlines())
    turns = [one for part in range(opened.count) for one in opened.read(part)]
    assert len(turns) == len(previewed.stdout.splitlines()) == sum(count for _, count in opened.dialogues)


def test_faults_name_the_file_and_not_where_it_lies(tmp_path: Path) -> None:
    path = tmp_path / "talk.csv"
    path.write_text("a,b\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"^talk\.csv, read as csv, line 1: the header names no speaker"):
        page_input.open_file(path)
    path.write_text("speaker,text\n" + "A,b\n" * (page_input.MOST_TURNS + 1), encoding="utf-8")
    with pytest.raises(UserError, match="more than 500 turns"):
        page_input.open_file(path).read(0)
    with pytest.raises(UserError, match="^Encoding: 'klingon' is no encoding"):
        page_input.known_encoding("klingon")
    assert page_input.known_encoding(" Windows-1252 ") == "cp1252" and page_input.known_encoding(" ") is None


def test_of_many_dialogues_the_first_are_told(tmp_path: Path) -> None:
    path = tmp_path / "talk.csv"
    count = page_input.MOST_DIALOGUES + 5
    path.write_text("dialogue,speaker,text\n" + "".join(f"d{n},A,b\n" for n in range(count)), encoding="utf-8")
    opened = page_input.open_file(path)
    assert (len(opened.dialogues), opened.count) == (page_input.MOST_DIALOGUES, count)
    assert opened.read(3)[0].dialogue == opened.dialogues[3][0] == "d3"


def test_dialogues_to_click_come_in_pairs_that_end_alike() -> None:
    texts = list(page_input.read_histories().values())
    assert len(texts) >= 4 and len(texts) % 2 == 0
    for one, other in zip(texts[::2], texts[1::2], strict=True):
        lines, others = one.split("\n"), other.split("\n")
        assert lines[-1] == others[-1] and not {*lines[:-1]} & {*others[:-1]}
        assert page_input.as_text(page_input.read_dialogue(one)) == one


@pytest.mark.slow
def test_the_last_words_are_judged_by_their_history(shipped_adapter: Path, agreement_known: None) -> None:
    recognizer = EmotionRecognizer.from_pretrained(shipped_adapter)
    texts = page_input.read_histories().values()
    dialogues = [[(one.speaker, one.text) for one in page_input.read_dialogue(text)] for text in texts]
    found = [rows[-1].emotion for rows in recognizer.predict_dialogues(dialogues)]
    pairs = list(zip(found[::2], found[1::2], strict=True))
    assert all(one != other for one, other in pairs), pairs
