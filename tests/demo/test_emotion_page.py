"""The page without its browser: limits, escaping, what is computed anew, errors in words."""

import base64
import html
import importlib.util
import re
import shutil
import sys
from pathlib import Path

import pytest
import torch

import emotion_page as page
from basics.errors import UserError
from commands import REPOSITORY, assert_one_line_error, call_script
from own_dialogues.recognizer import EmotionRecognizer
from scoring.transitions import TransitionFilter, Transitions
from tiny_models import LABELS
from training.stages import keep_filter

HOSTILE = "<script>alert(1)</script>\"'`${alert(2)}{{7*7}}&amp;"


@pytest.fixture(scope="module")
def recognizer(trained: Path) -> EmotionRecognizer:
    return EmotionRecognizer.from_pretrained(trained / "run" / "model", precision="fp32")


@pytest.fixture(scope="module")
def app():
    """demo/app.py as a module; gradio is imported only when a page is built."""
    found = importlib.util.spec_from_file_location("app_of_the_demo", REPOSITORY / "demo" / "app.py")
    module = importlib.util.module_from_spec(found)
    sys.modules[found.name] = module
    found.loader.exec_module(module)
    return module


def answers(recognizer: EmotionRecognizer, text: str, known=()):
    return list(page.answer(recognizer, text, known))


def test_emotions_appear_one_after_the_other(recognizer: EmotionRecognizer) -> None:
    text = "".join(f"{'Ann' if turn % 3 else 'Ben'}: Run {turn}\n\n" for turn in range(20))
    steps = answers(recognizer, text)
    assert [len(rows) for rows in steps] == [8, 16, 20]
    prompts = recognizer.seen_prompts([(row.turn.speaker, row.turn.text) for row in steps[-1]])
    shown = page.render_rows(steps[-1], LABELS, prompts)
    assert shown.count("<li") == shown.count("<pre>") == 20 and shown.count("<meter") == 20 * len(LABELS)
    assert shown.count("data:image/png;base64,") == 2 and 'alt="timeline: turn 0, Ben: ' in shown
    csv, jsonl = (base64.b64decode(link).decode() for link in re.findall(r'href="data:[^,]*,([^"]*)"', shown))
    assert csv.splitlines()[1].startswith("1,0,Ben,Run 0,") and len(jsonl.splitlines()) == 20
    assert "<pre>" not in page.render_rows(steps[0], LABELS)


def test_turns_that_did_not_change_are_not_asked_again(
    recognizer: EmotionRecognizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = answers(recognizer, "A: Great!\nB: Run!")[-1]
    asked = []
    predict = EmotionRecognizer.predict_turns

    def watched(self, turns, skip=0, **options):
        asked.append((len(turns), skip))
        return predict(self, turns, skip=skip, **options)

    monkeypatch.setattr(EmotionRecognizer, "predict_turns", watched)
    longer = answers(recognizer, "A: Great!\nB: Run!\nA: Fine.", known)
    assert asked == [(3, 2)] and [len(rows) for rows in longer] == [2, 3]
    fresh = answers(recognizer, "A: Great!\nB: Run!\nA: Fine.")[-1]
    for one, other in zip(longer[-1], fresh, strict=True):
        assert one.turn == other.turn and one.probabilities == pytest.approx(other.probabilities, abs=1e-4)
    answers(recognizer, "A: Great!\nB: Fine.\nA: Fine.", known)
    assert asked[-1] == (3, 1)


def test_hostile_text_stays_text(recognizer: EmotionRecognizer) -> None:
    text = f"{HOSTILE.replace(':', '')}: {HOSTILE}"
    rows = answers(recognizer, text)[-1]
    shown = page.render_rows(rows, LABELS, recognizer.seen_prompts([(row.turn.speaker, row.turn.text) for row in rows]))
    assert "<script" not in shown and "${" not in shown and "{{" not in shown and "`" not in shown
    assert HOSTILE in html.unescape(shown)
    tags = set(re.findall(r"<(\w+)", shown))
    assert tags == {"div", "ol", "li", "span", "details", "summary", "meter", "pre", "h3", "img", "p", "a"}
    assert "<script" not in page.render_error(HOSTILE) and "<script" not in page.render_status(HOSTILE)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "There is no dialogue yet"),
        (" \n\n", "There is no dialogue yet"),
        ("A: " + "x" * 100_000, "100,003 characters, this page takes 20,000"),
        ("A: b\n" * 1000, "1,000 turns, this page takes 200"),
        ("A: b\nnobody", "line 2: 'nobody' is no turn"),
    ],
)
def test_limits_are_told_in_words(app, trained: Path, text: str, told: str) -> None:
    own = app.Page([trained / "run" / "model"])
    ((status, result, _),) = own.answer(next(iter(own.folders)), text, None)
    assert 'role="alert"' in status and told in html.unescape(status) and result == ""


def test_the_most_that_is_allowed_is_answered(recognizer: EmotionRecognizer) -> None:
    turns = page.MOST_TURNS
    text = "\n".join(f"S{number % 50}: {'y' * (page.MOST_CHARACTERS // turns - 8)}" for number in range(turns))
    rows = answers(recognizer, text)[-1]
    assert len(rows) == turns and page.render_rows(rows, LABELS, ["prompt"] * turns).count("<li") == turns


CHAT = """6/13/23, 7:35 PM - Ann: Great!
6/13/23, 7:36 PM - Ben: <Media omitted>
6/13/23, 7:36 PM - Ben: Run:

now!
"""


def test_a_pasted_chat_is_shown_before_the_model_is_asked(app, trained: Path) -> None:
    own = app.Page([trained / "run" / "model"])
    name = next(iter(own.folders))
    (first, result, _), *_, (last, answer, _) = own.answer(name, CHAT, None)
    for told in ("Ann: 1 turn; Ben: 1 turn", "left out: attachments 1 (line 2)"):
        assert told in html.unescape(first) and told in html.unescape(last)
    assert (result, answer.count("<li")) == ("", 2) and "The model is being asked" in first
    assert page.add_turn(CHAT, "Ann", "Yes!") == "Ann: Great!\nBen: Run: now!\nAnn: Yes!"


def test_turns_are_added(app, trained: Path) -> None:
    own = app.Page([trained / "run" / "model"])
    name = next(iter(own.folders))
    steps = list(own.add(name, "Ann: Great!\n", " Ben ", "Run!\nNow.", None))
    assert {(step[0], step[1]) for step in steps} == {("Ann: Great!\nBen: Run! Now.", "")}
    text, field, status, result, known = steps[-1]
    assert "2 turns, labels of EmoryNLP" in status and result.count("<li") == 2 and known[0] == name
    for who, what in (("", "x"), ("A:B", "x"), ("A", " ")):
        ((text, field, status, _, _),) = own.add(name, "Ann: Great!", who, what, None)
        assert (text, field) == ("Ann: Great!", what) and "needs a name" in status
    with pytest.raises(UserError, match="201 turns"):
        page.add_turn("A: b\n" * 200, "A", "c")


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB"), "The memory did not suffice"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried ..."), "The memory did not suffice"),
        (MemoryError(), "The memory did not suffice"),
        (RuntimeError("<b>two\nlines"), "The model could not answer (<b>two lines)"),
    ],
)
def test_a_model_that_fails_is_told_and_the_page_goes_on(
    app, trained: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, told: str
) -> None:
    own = app.Page([trained / "run" / "model"])
    name = next(iter(own.folders))

    def fail(*_, **__):
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(EmotionRecognizer, "predict_turns", fail)
        *_, (status, result, known) = own.answer(name, "A: b", None)
    assert 'role="alert"' in status and told in html.unescape(status) and "<b>" not in status
    assert (result, known) == ("", ("", []))
    assert "1 turns, labels of" in list(own.answer(name, "A: b", known))[-1][0]


@pytest.mark.parametrize("port", ["70000", "0", "-1", "http"])
def test_a_port_that_cannot_be_is_one_line(app, port: str) -> None:
    result = call_script(app.main, "--port", port)
    assert_one_line_error(result, f"--port: '{port}' is not allowed, allowed are whole numbers from 1 to 65535")


def test_only_listed_checkpoints_are_opened(app, trained: Path) -> None:
    own = app.Page([trained / "run" / "model"])
    ((status, _, _),) = own.answer("/etc", "A: b", None)
    assert "There is no checkpoint" in status


def test_two_checkpoints_are_in_memory_at_most(app, trained: Path, tmp_path: Path, monkeypatch) -> None:
    """Also while a third is loaded: the one not asked for longest has gone by then."""
    own = app.Page([trained / "run" / "model"])
    (folder,) = own.folders.values()
    own.folders = dict.fromkeys("abc", folder)
    there: list[set[str]] = []
    monkeypatch.setattr(app, "ensure_base", lambda _: None)
    monkeypatch.setattr(EmotionRecognizer, "from_pretrained", lambda *_, **__: there.append({*own.loaded}) or object())
    first = [own.load(name) for name in "aba"]
    assert first[0] is first[2] and own.load("c") is not first[0]
    assert there == [set(), {"a"}, {"a"}] and [*own.loaded] == ["a", "c"]


def test_the_way_to_decode_is_said_and_refused_in_words(app, trained: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(trained / "run" / "model", tmp_path / "model"))
    (name,) = app.Page([folder]).folders
    (status, _, _) = list(app.Page([folder], "transitions").answer(name, "A: b", None))[-1]
    assert 'role="alert"' in status and "--decode score" in status
    even = ((1,) * len(LABELS),) * len(LABELS)
    keep_filter(TransitionFilter(Transitions(LABELS, even, even)), folder)
    for decode, told in ((None, "labels of EmoryNLP, with transitions; A: 1"), ("score", "labels of EmoryNLP; A: 1")):
        assert told in list(app.Page([folder], decode).answer(name, "A: b", None))[-1][0]


def test_turns_are_counted_and_not_lines() -> None:
    above = "".join(f"Ruth Hale  0:{number % 60:02}\nIt is raining.\n" for number in range(page.MOST_TURNS))
    assert len(page.read_dialogue(above)) == page.MOST_TURNS
    with pytest.raises(UserError, match="has 201 turns, this page takes 200"):
        page.read_dialogue(f"{above}Ruth Hale  0:09\nStill.\n")
    with pytest.raises(UserError, match="Nobody says anything in it"):
        page.read_dialogue("[They laugh.]\nRuth:\n")
