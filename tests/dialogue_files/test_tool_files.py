"""Files as tools make them: the right turns, or the right refusal, as files/answers.yaml and trials.yaml have them."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

import predict
from basics.errors import UserError
from commands import REPOSITORY, SHARED, assert_one_line_error, call_script
from dialogue_files import turns
from dialogue_files.reading import FORMATS, count_turns, find_format, read_turns
from dialogue_files.report import Remark, Report
from dialogue_files.turns import LineError, ReadTurn, number_turns
from own_dialogues.formats_page import render_formats

HERE = Path(__file__).parent
FILES, TRIALS = HERE / "files", SHARED / "trials"
CORPORA = SHARED / "corpora_files"


def cases() -> Iterator:
    for folder, table in ((FILES, FILES / "answers.yaml"), (TRIALS, HERE / "trials.yaml")):
        for name, answer in yaml.safe_load(table.read_text(encoding="utf-8")).items():
            yield pytest.param(folder / name, answer, id=name)


CASES = list(cases())


@pytest.mark.parametrize(("path", "answer"), CASES)
def test_a_file_of_a_tool_gives_the_right_turns(path: Path, answer: dict) -> None:
    if path.parent == TRIALS and not TRIALS.is_dir():
        pytest.skip("no trials beside this checkout")
    if "refused" in answer:
        assert_one_line_error(call_script(predict.main, "--input", path, "--preview", "True"), answer["refused"])
        return
    form = find_format(path)
    counts = count_turns(path, form)
    found: dict[str, list[list[str]]] = {}
    for one in read_turns(path, form):
        found.setdefault(one.dialogue, []).append([one.speaker, one.text])
    assert (form, found) == (answer["form"], answer["dialogues"])
    assert {kind: one.count for kind, one in counts.report.left_out.items()} == answer.get("left_out", {})
    told = list(counts.report.lines())
    assert [line for line in answer.get("said", []) if line not in told] == []
    is_told = any(line.startswith(f"read as {form} (") for line in told)
    assert is_told == (FORMATS[form].recognise is not None)


def test_the_tables_hold_every_file_and_every_form() -> None:
    answers = yaml.safe_load((FILES / "answers.yaml").read_text(encoding="utf-8"))
    assert {path.name for path in FILES.iterdir()} == {*answers, "answers.yaml"} and len(CASES) >= 47
    assert {name: answers[f"{name}{form.suffixes[0]}"]["form"] for name, form in FORMATS.items()} == {
        name: name for name in FORMATS
    }
    if TRIALS.is_dir():
        trials = {path.name for path in TRIALS.iterdir()} - {"README.md"}
        assert trials == {param.values[0].name for param in CASES if param.values[0].parent == TRIALS}


def test_the_page_of_formats_is_current() -> None:
    result = call_script(predict.main, "--formats")
    assert (result.returncode, result.stdout) == (0, render_formats())
    assert (REPOSITORY / "demo" / "FORMATS.md").read_text(encoding="utf-8") == result.stdout


def test_another_way_is_taken_when_it_is_asked_for() -> None:
    with pytest.raises(
        UserError, match="read as text, line 1: '2023-06-13, 7:35 p.m. - Lena Hart: I got .* is no turn"
    ):
        count_turns(FILES / "whatsapp_iso.txt", "text")
    counts = count_turns(FILES / "name_above.txt", "headings")
    assert counts.turns == 3
    with pytest.raises(UserError, match=r"allowed is whatsapp: .*; or read it as another form: --input_format text"):
        count_turns(FILES / "name_above.txt", "whatsapp")


def test_the_preview_shows_what_would_be_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "own_dialogues.recognizer.EmotionRecognizer.from_pretrained", lambda *_: pytest.fail("a model is loaded")
    )
    result = call_script(predict.main, "--input", FILES / "text.txt", "--preview", "True", "--checkpoint", "nowhere")
    assert result.returncode == 0, result.stderr
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    first = {"dialogue": "1", "turn": 0, "input_line": 1, "speaker": "Ruth", "text": "It is burning!"}
    assert rows[0] == first and [row["input_line"] for row in rows] == [1, 3, 4, 7, 9]
    assert result.stderr.splitlines() == [
        "'ruth' is taken for 'Ruth'",
        "'Paul' is taken for 'PAUL'",
        "left out: directions 2 (first in line 2), empty turns 1 (line 6)",
        "5 utterances, 2 dialogues",
        "Ruth: 2 turns",
        "PAUL: 2 turns",
        "Ida: 1 turn",
    ]
    for more in (("--output", "x.jsonl"), ("--format", "csv")):
        refused = call_script(predict.main, "--input", FILES / "text.txt", "--preview", "True", *more)
        assert_one_line_error(refused, "--preview True prints JSON Lines")


def test_a_name_that_is_speech_is_warned_of(tmp_path: Path) -> None:
    path = tmp_path / "own.txt"
    path.write_text("Ruth: One question.\nThe truth is: I never loved that job.\nA Waiter: Coffee?\n", encoding="utf-8")
    told = list(count_turns(path, "text").report.lines())
    assert len(told) == 1 and told[0].startswith("warning: line 2: 'The truth is' is taken for a speaker")


def test_a_report_stays_short() -> None:
    report = Report()
    for number in range(10):
        report.note(Remark(f"remark {number % 9}"))
    for number in range(117):
        report.speak(f"Speaker {number}", 1)
    for number in range(5):
        report.speak(f"What I said {number}", 3 + number)
    report.speak("SPEAKER 7", 9)
    names = list(report.speaker_lines())
    assert names[:2] == ["Speaker 7: 2 turns", "Speaker 0: 1 turn"]
    assert len(names) == 101 and names[-1] == "and 22 more speakers"
    *told, last = report.lines()
    assert told[:8] == [f"remark {number}" for number in range(8)] and len(told) == 9 + 3
    assert told[8] == "and more remarks like these, of which 8 are told"
    assert told[9].startswith("warning: line 3: 'What I said 0' is taken for a speaker")
    assert last == "warning: more names like these: 2"


@pytest.mark.parametrize(("count", "more"), [(3, []), (4, ["warning: more names like these: 1"])])
def test_three_names_that_are_speech_are_told(count: int, more: list[str]) -> None:
    report = Report()
    for number in range(count):
        report.speak(f"What I said {number} {'x' * 60}", number + 1)
    *told, third = list(report.lines())[:3]
    name = f"What I said 2 {'x' * 60}"[:60]
    assert third == (
        f"warning: line 3: '{name}' is taken for a speaker, speaks once and reads like the beginning of a sentence"
    )
    assert len(told) == 2 and list(report.lines())[3:] == more


def test_of_many_names_the_first_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dialogue_files.report.MOST_NAMES", 2)
    report = Report()
    for name in ("Ann", "Ben", "Cat", "Ann", "Cat"):
        report.speak(name, 1)
    assert list(report.speaker_lines()) == ["Ann: 2 turns", "Ben: 1 turn"]


def test_a_dialogue_may_come_back_after_many_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a file of any size so many names are remembered."""
    monkeypatch.setattr(turns, "NAMES_REMEMBERED", 2)

    def read(names: str) -> list[str]:
        return [one.dialogue for one in number_turns(ReadTurn(part, name, "A", "a") for part, name in enumerate(names))]

    assert read("abca") == list("abca")
    with pytest.raises(LineError, match="dialogue 'a' begins a second time"):
        read("aba")


def test_blank_lines_between_all_turns_are_told(tmp_path: Path) -> None:
    path = tmp_path / "own.txt"
    path.write_text("Ruth: a\n\nPaul: b\n\nRuth: c\n", encoding="utf-8")
    counts = count_turns(path, "text")
    assert counts.dialogues == 3 and "in 3 of 3 dialogues one person speaks alone" in next(counts.report.lines())
    for text in ("Ruth: a\n\nPaul: b\nRuth: c\n\nPaul: d\n", "Ruth: a\n\nPaul: b\n\nRuth: c\nPaul: d\n"):
        path.write_text(text, encoding="utf-8")
        assert list(count_turns(path, "text").report.lines()) == []


@pytest.mark.parametrize(
    ("name", "counted"),
    [
        ("MELD/train_sent_emo.csv", (1038, 9989)),
        ("MELD/dev_sent_emo.csv", (114, 1109)),
        ("MELD/test_sent_emo.csv", (280, 2610)),
        ("EmoryNLP/emotion-detection-dev.json", (99, 1344)),
        ("EmoryNLP/emotion-detection-tst.json", (85, 1328)),
        ("EmoryNLP/emorynlp_train_final.csv", (659, 7551)),
    ],
)
def test_the_corpora_as_their_owners_publish_them(name: str, counted: tuple[int, int]) -> None:
    if not CORPORA.is_dir():
        pytest.skip("no corpora files beside this checkout")
    path = CORPORA / name
    counts = count_turns(path, find_format(path))
    assert (counts.dialogues, counts.turns) == counted and not counts.report.left_out


def test_a_dialogue_of_empty_turns_is_none(tmp_path: Path) -> None:
    path = tmp_path / "own.csv"
    path.write_text("dialogue,speaker,text\na,Ann,x\nb,Ben,\nc,Ann,y\n", encoding="utf-8")
    assert (count_turns(path, "csv").dialogues, [one.dialogue for one in read_turns(path, "csv")]) == (2, ["a", "c"])


def test_a_name_cannot_steer_the_terminal() -> None:
    report = Report()
    report.speak("Ann\x1b[2J\x9b1m", 1)
    assert list(report.speaker_lines()) == ["Ann\ufffd[2J\ufffd1m: 1 turn"]
