"""A file named .txt that holds another form is refused with the way out, and never read as people who speak."""

import json
from pathlib import Path

import pytest

from basics.errors import UserError
from dialogue_files.reading import find_format, find_text_form

TURNS = [{"speaker": "Ann", "text": "Hi"}, {"speaker": "Ben", "text": "Go"}]
TEXTGRID = (
    'File type = "ooTextFile"\nObject class = "TextGrid"\n\nxmin = 0\ntiers? <exists>\nitem []:\n    item [1]:\n'
    '        name = "Ann"\n        intervals: size = 1\n        intervals [1]:\n            text = "Hello."\n'
)
# What a text holds -> what is told.
OTHERS = [
    (json.dumps(TURNS), "it holds JSON"),
    (json.dumps(TURNS, indent=2), "put it into a file .json"),
    (json.dumps({"turns": TURNS}, indent=2), "it holds JSON"),
    ("\n".join(map(json.dumps, TURNS)), "it holds JSON"),
    (TEXTGRID, "it holds a TextGrid of Praat"),
    ('"ooTextFile"\n"TextGrid"\n0\n6.1\n<exists>\n', "write a table of its tiers"),
    ("@UTF8\n@Begin\n*MOT:\tgo on .\n", "it holds CHAT"),
    ("*MOT:\twhat is\n\tit ?\n%mor:\tpro|what\n*CHI:\tno .\n", "it holds CHAT"),
    ("{\\rtf1\\ansi\nAnn: Hi\\par\nBen: Go\\par\n}\n", "save it as plain text"),
    ("%PDF-1.7\n1 0 obj: x\n", "it holds a PDF"),
    ("<!DOCTYPE html>\n<p>Ann: Hi</p>\n", "it holds HTML"),
    ('<?xml version="1.0"?>\n<p>Ann: Hi</p>\n', "it holds XML"),
    ("- speaker: Ann\n  text: Hi\n- speaker: Ben\n  text: Go\n", "it holds records of keys and values"),
    ("--- # two turns\n- speaker: Ann\n  text: Hi\n- speaker: Ben\n  text: Go\n", "it holds records of keys"),
    ("Name: Ann\nMessage: Hi\n\nName: Ben\nMessage: Go\n\nName: Ann\n", "write it as JSON Lines"),
    ("text: Hi\ntime: 5\nuser: Ann\n\ntext: Go\ntime: 6\nuser: Ben\n", "it holds records of keys and values"),
]
TEXTS = [
    "[Ann comes in.]\nAnn: Hi\nBen: Go\n",
    "[SPEAKER_00]: Hi\n[SPEAKER_01]: Go\n",
    "User: Hi\nAssistant: Go\nUser: Hm\nAssistant: Yes\n",
    "Speaker: Hi\nSpeaker: Go\nSpeaker: Hm\nSpeaker: Yes\n",
    "Speaker: Ann Lee\nMessage: none\n\nAnn: Hi\nBen: Go\n",
    "*MOT:\tgo on .\n*CHI:\tno .\n",
    "Ann: Here it is.\nName: Lee\nMessage: two\nName: Jo\nMessage: one\nBen: Fine.\nAnn: Good.\nBen: Yes.\nAnn: Bye.\n",
    "@Begin: hi\nBen: Go\n",
]
# A form that is read out in others than plain text, and what they are.
FORM = ("Name: Lee", "Message: two", "Name: Jo", "Message: one")
WITH_A_FORM = [
    ("whatsapp", "".join(f"12/31/21, 9:0{minute} PM - Ann: {line}\n" for minute, line in enumerate(FORM))),
    ("whatsapp", "12/31/21, 9:00 PM - Ann: Orders\n" + "\n".join(FORM) + "\n12/31/21, 9:05 PM - Ben: Fine\n"),
]


@pytest.mark.parametrize(("content", "told"), OTHERS, ids=range(len(OTHERS)))
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_what_is_no_text_is_refused(tmp_path: Path, content: str, told: str, encoding: str) -> None:
    path = tmp_path / "call.txt"
    path.write_bytes(content.encode(encoding))
    with pytest.raises(UserError) as caught:
        find_format(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ") and told in message and "\n" not in message
    assert find_format(path, "text") == "text"
    with pytest.raises(UserError, match="it holds"):
        find_text_form(content)


@pytest.mark.parametrize("content", TEXTS, ids=range(len(TEXTS)))
def test_what_is_text_stays_text(content: str) -> None:
    assert find_text_form(content) == "text"


@pytest.mark.parametrize(("form", "content"), WITH_A_FORM)
def test_a_form_that_somebody_has_pasted_makes_no_records(form: str, content: str) -> None:
    assert find_text_form(content) == form
