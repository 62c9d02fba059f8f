"""The page without its browser: limits, escaping, what is computed anew, errors in words."""

import base64
import html
import json
import re
import shutil
import weakref
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import emotion_page as page
import page_events
import page_input
from basics.errors import UserError
from own_dialogues.facts import find_facts
from own_dialogues.recognizer import EmotionRecognizer
from page_events import Page
from scoring.transitions import TransitionFilter, Transitions
from tiny_models import LABELS
from training.stages import keep_filter

HOSTILE = "<script>alert(1)</script>\"'`${alert(2)}{{7*7}}&amp;"


@pytest.fixture(scope="module")
def recognizer(trained: Path) -> EmotionRecognizer:
    return EmotionRecognizer.from_pretrained(trained / "run" / "model", precision="fp32")


def answers(recognizer: EmotionRecognizer, text: str, known=()):
    return list(page.answer(recognizer, page_input.read_dialogue(text), known))


@pytest.fixture
def own(trained: Path) -> Page:
    """The events of a page with one checkpoint."""
    return Page([trained / "run" / "model"])


def name_in(own: Page) -> str:
    return next(iter(own.folders))


def test_emotions_appear_one_after_the_other(recognizer: EmotionRecognizer) -> None:
    text = "".join(f"{'Ann' if turn % 3 else 'Ben'}: Run {turn}\n\n" for turn in range(20))
    steps = answers(recognizer, text)
    assert [len(rows) for rows in steps] == [8, 16, 20]
    prompts = recognizer.seen_prompts([(row.turn.speaker, row.turn.text) for row in steps[-1]])
    shown = page.render_rows(steps[-1], LABELS, prompts)
    assert shown.count("<li") == shown.count("<pre>") == 20 and shown.count("<meter") == 20 * len(LABELS)
    assert shown.count("data:image/png;base64,") == 2 and 'alt="timeline: turn 0, Ben: ' in shown
    csv, jsonl = (base64.b64decode(link).decode() for link in re.findall(r'href="data:[^,]*,([^"]*)"', shown))
    assert csv.splitlines()[1].startswith("1,0,,Ben,Run 0,") and len(jsonl.splitlines()) == 20
    assert not re.search("<pre>|<meter|<img", page.render_rows(steps[0], LABELS))


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
    assert tags == {"div", "ol", "li", "span", "bdi", "details", "summary", "meter", "pre", "h2", "img", "p", "a"}
    assert "<script" not in page.render_error(HOSTILE) + page.render_status(HOSTILE, 1, 2)


def test_hostile_files_and_checkpoints_stay_text(tmp_path: Path, trained: Path) -> None:
    """Names of files, of dialogues, of speakers, of labels and of corpora are all somebody else's."""
    path = tmp_path / "<script>$`{x}.jsonl"
    path.write_text(json.dumps({"dialogue": HOSTILE, "speaker": HOSTILE, "text": HOSTILE}) + "\n", encoding="utf-8")
    opened = page_input.open_file(path)
    shown = page.render_preview(opened, opened.read(0))
    config = replace(find_facts(trained / "run" / "model").config, labels=(HOSTILE,), dataset=HOSTILE, base=HOSTILE)
    facts = replace(find_facts(trained / "run" / "model"), config=config, base=HOSTILE, name=HOSTILE)
    for made in (shown, page.render_facts(facts)):
        assert "<script" not in made and "${" not in made and "{{" not in made and "`" not in made
        assert HOSTILE in html.unescape(made)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "There is no dialogue yet"),
        (" \n\n", "There is no dialogue yet"),
        ("A: " + "x" * 100_000, "100,003 characters, this page takes 60,000"),
        ("A: b\n" * 1000, "more than 500 turns, which this page takes"),
        ("A: b\nnobody", "line 2: 'nobody' is no turn"),
    ],
)
def test_limits_are_told_in_words(own: Page, text: str, told: str) -> None:
    ((status, result, _),) = own.answer(name_in(own), text, None, None)
    assert 'role="alert"' in status and told in html.unescape(status) and result == ""


def test_the_most_that_is_allowed_is_answered(recognizer: EmotionRecognizer) -> None:
    turns = page_input.MOST_TURNS
    text = "\n".join(f"S{number % 50}: {'y' * (page_input.MOST_CHARACTERS // turns - 8)}" for number in range(turns))
    rows = answers(recognizer, text)[-1]
    assert len(rows) == turns and page.render_rows(rows, LABELS, ["prompt"] * turns).count("<li") == turns


CHAT = """6/13/23, 7:35 PM - Ann: Great!
6/13/23, 7:36 PM - Ben: <Media omitted>
6/13/23, 7:36 PM - Ben: Run:

now!
"""


def test_a_pasted_chat_is_shown_before_the_model_is_asked(own: Page) -> None:
    (first, result, _), *_, (last, answer, _) = own.answer(name_in(own), CHAT, None, None)
    for told in ("Ann: 1 turn; Ben: 1 turn", "left out: attachments 1 (line 2)"):
        assert told in html.unescape(first) and told in html.unescape(last)
    assert (result, answer.count("<li")) == ("", 2) and "The model is being asked" in first
    assert page_input.add_turn(CHAT, "Ann", "Yes!") == "Ann: Great!\nBen: Run: now!\nAnn: Yes!"


def test_progress_is_told_and_what_is_found_is_kept(own: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    name, text = name_in(own), "".join(f"{'Ann' if turn % 3 else 'Ben'}: Run {turn}\n" for turn in range(20))
    steps = own.answer(name, text, None, None)
    begun = [next(steps) for _ in range(3)]
    told = [re.search('<progress max="20" value="([0-9]+)"', status)[1] for status, _, _ in begun]
    assert told == ["0", "8", "16"] and "16 of 20 turns" in begun[-1][0]
    steps.close()  # stopped, or gone
    assert not own.lock.locked()
    known = begun[-1][2]
    assert (known[0], len(known[1])) == (name, 16)
    again = list(own.answer(name, text, None, known))
    assert [html.count("<li") for _, html, _ in again] == [0, 16, 20, 20] and "<progress" not in again[-1][0]


def test_what_history_does_to_the_last_turn_is_said(own: Page, recognizer: EmotionRecognizer) -> None:
    name = name_in(own)
    *_, (_, result, (_, rows)) = own.answer(name, "Ann: Great!\nBen: Run!", None, None)
    (alone,) = own.loaded[name].predict([("Ben", "Run!")])
    shares = [f"<b>{one.emotion} {100 * one.probability:.0f}%</b>" for one in (rows[-1], alone)]
    assert f"The last turn after all that was said: {shares[0]}; on its own: {shares[1]}." in result
    *_, (_, result, _) = own.answer(name, "Ann: Great!", None, None)
    assert "on its own" not in result


def test_turns_of_a_file_are_asked_as_they_were_read(own: Page, tmp_path: Path) -> None:
    """A name with a colon, and brackets that a line of text would lose; what is edited is read as text."""
    path, name = tmp_path / "talk.csv", name_in(own)
    path.write_text("dialogue,speaker,utterance\ncat,Dr: Ann,[sighs] Great!\ncat,Ben,Run!\n", encoding="utf-8")
    opened, choices, text, given, status, preview = own.open(str(path), "", "", None)
    assert choices == [("cat: 2 turns", 0)] and text == "Dr Ann: [sighs] Great!\nBen: Run!"
    assert "Dr: Ann: 1 turn" in preview and "not been asked" in status
    *_, (_, _, (_, rows)) = own.answer(name, text, given, None)
    assert [(row.turn.dialogue, row.turn.line, row.turn.speaker, row.turn.text) for row in rows] == [
        ("cat", 2, "Dr: Ann", "[sighs] Great!"),
        ("cat", 3, "Ben", "Run!"),
    ]
    *_, (_, _, (_, rows)) = own.answer(name, f"{text}\nAnn: Yes!", given, None)
    assert [(row.turn.speaker, row.turn.line) for row in rows] == [("Dr Ann", 0), ("Ben", 0), ("Ann", 0)]


def test_turns_are_added(own: Page) -> None:
    name = name_in(own)
    steps = list(own.add(name, "Ann: Great!\n", " Ben ", "Run!\nNow.", None, None))
    assert {(step[0], step[1]) for step in steps} == {("Ann: Great!\nBen: Run! Now.", "")}
    text, field, status, result, known = steps[-1]
    assert "2 turns, labels of EmoryNLP" in status and result.count("<li") == 2 and known[0] == name
    for who, what in (("", "x"), ("A:B", "x"), ("A", " ")):
        with pytest.raises(UserError, match="needs a name"):
            next(own.add(name, "Ann: Great!", who, what, None, None))


def test_what_a_visitor_asked_before_ends_with_the_next_question() -> None:
    """But not with one that cannot be asked, nor with another visitor's."""
    page, ended = Page([]), []

    def steps(name: str, problem: str = "") -> Iterator[tuple]:
        if problem:
            raise UserError(problem)
        try:
            for number in range(3):
                yield name, number
        finally:
            ended.append(name)

    first, other = page.of_newest("Ann", steps("first")), page.of_newest("Ben", steps("other"))
    assert (next(first), next(other)) == (("first", 0), ("other", 0))
    with pytest.raises(UserError, match="no"):
        next(page.of_newest("Ann", steps("refused", "no")))
    assert next(first) == ("first", 1)
    second = page.of_newest("Ann", steps("second"))
    assert next(second) == ("second", 0) and list(first) == [] and ended == ["first"]
    assert len(list(second)) == len(list(other)) == 2 and not page.newest


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
    own: Page, monkeypatch: pytest.MonkeyPatch, error: Exception, told: str
) -> None:
    name = name_in(own)

    def fail(*_, **__):
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(EmotionRecognizer, "predict_turns", fail)
        *_, (status, result, known) = own.answer(name, "A: b", None, None)
    assert 'role="alert"' in status and told in html.unescape(status) and "<b>" not in status
    assert (result, known) == ("", ("", []))
    assert "1 turn, labels of" in list(own.answer(name, "A: b", None, known))[-1][0]


def test_only_listed_checkpoints_are_opened(own: Page) -> None:
    ((status, _, _),) = own.answer("/etc", "A: b", None, None)
    assert "There is no checkpoint" in status and "There is no checkpoint" in own.describe("/etc")


def test_two_checkpoints_are_in_memory_at_most(own: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also while a third is loaded: the one not asked for longest has gone by then."""
    (folder,) = own.folders.values()
    own.folders = dict.fromkeys("abc", folder)
    there: list[set[str]] = []
    monkeypatch.setattr(page_events, "ensure_base", lambda _: None)
    monkeypatch.setattr(EmotionRecognizer, "from_pretrained", lambda *_, **__: there.append({*own.loaded}) or object())
    first = [own.load(name) for name in "aba"]
    assert first[0] is first[2] and own.load("c") is not first[0]
    assert there == [set(), {"a"}, {"a"}] and [*own.loaded] == ["a", "c"]


def test_two_are_in_memory_at_most_however_many_visitors_are_being_answered(
    own: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each goes on from what it has, once its checkpoint is there again."""
    (folder,) = own.folders.values()
    text = "".join(f"{'Ann' if turn % 3 else 'Ben'}: Run {turn}\n" for turn in range(20))
    alone = list(own.answer(name_in(own), text, None, None))[-1][2][1]
    own.loaded.clear()
    own.folders = dict.fromkeys("abc", folder)
    load, ever, most = EmotionRecognizer.from_pretrained, [], 0
    monkeypatch.setattr(page_events, "ensure_base", lambda _: None)

    def loaded(*given, **options) -> EmotionRecognizer:
        found = load(*given, **options)
        ever.append(weakref.ref(found))
        return found

    monkeypatch.setattr(EmotionRecognizer, "from_pretrained", loaded)
    visits = {name: own.answer(name, text, None, None) for name in "abc"}
    last = {}
    while len(visits) > 0:
        for name, visit in list(visits.items()):
            if (shown := next(visit, None)) is None:
                del visits[name]
            else:
                last[name] = shown[2][1]
            most = max(most, sum(one() is not None for one in ever))
    assert most == 2 and not own.begun
    for rows in last.values():
        assert [row.turn for row in rows] == [row.turn for row in alone]
        for row, other in zip(rows, alone, strict=True):
            assert row.probabilities == pytest.approx(other.probabilities, abs=1e-4)


def test_who_had_to_wait_for_a_checkpoint_is_answered_for_as_long(
    own: Page, recognizer: EmotionRecognizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else three visitors with a checkpoint each would wait for loading most of the time."""
    (folder,) = own.folders.values()
    own.folders = dict.fromkeys("abc", folder)
    clock, loads = [0.0], []
    answer = page.answer

    def load_slowly(*given, **options) -> EmotionRecognizer:
        clock[0] += 3.5
        loads.append(given)
        return recognizer

    def answer_slowly(*given):
        for rows in answer(*given):
            clock[0] += 1
            yield rows

    monkeypatch.setattr(page_events, "ensure_base", lambda _: None)
    monkeypatch.setattr(page_events, "monotonic", lambda: clock[0], raising=False)
    monkeypatch.setattr(EmotionRecognizer, "from_pretrained", load_slowly)
    monkeypatch.setattr(page, "answer", answer_slowly)
    text = "".join(f"{'Ann' if turn % 3 else 'Ben'}: Run {turn}\n" for turn in range(64))
    visits = [own.answer(name, text, None, None) for name in "abc"]
    told = [[len(rows) for _, _, (_, rows) in shown] for shown in zip(*visits, strict=True)]
    assert told == [[turns] * 3 for turns in (0, 8, 32, 56, 64, 64)] and len(loads) == 15


def test_an_answer_is_of_its_own_dialogue_though_its_checkpoint_goes_before_every_step(
    own: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also before the first one, when the rows that are known are those of the dialogue before."""
    (folder,) = own.folders.values()
    own.folders, in_turn = dict.fromkeys("abc", folder), own._in_turn
    monkeypatch.setattr(page_events, "ensure_base", lambda _: None)
    *_, (_, _, known) = own.answer("a", "Ann: Run!", None, None)

    def ask_others_then(work, *given):
        for other in "bc":
            in_turn(own.load, other)
        return in_turn(work, *given)

    monkeypatch.setattr(own, "_in_turn", ask_others_then)
    for text in ("Ben: Great!", "Ann: Run!\nBen: Great!"):
        *_, (_, _, (_, rows)) = own.answer("a", text, None, known)
        assert "\n".join(f"{row.turn.speaker}: {row.turn.text}" for row in rows) == text


def test_the_way_to_decode_is_said_and_refused_in_words(trained: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(trained / "run" / "model", tmp_path / "model"))
    (name,) = Page([folder]).folders
    (status, _, _) = list(Page([folder], "transitions").answer(name, "A: b", None, None))[-1]
    assert 'role="alert"' in status and "--decode score" in status
    even = ((1,) * len(LABELS),) * len(LABELS)
    keep_filter(TransitionFilter(Transitions(LABELS, even, even)), folder)
    for decode, told in ((None, "labels of EmoryNLP, with transitions; A: 1"), ("score", "labels of EmoryNLP; A: 1")):
        assert told in list(Page([folder], decode).answer(name, "A: b", None, None))[-1][0]
