"""Turns as they come: answered before the next is read, as whole dialogues are, from what is kept of those before."""

import io
import json
import sys
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path

import pytest

import emotion_page as page
import predict
from basics.errors import UserError
from commands import assert_one_line_error, call_script
from corpora import LetterCounts
from data_utils.retrieval import RetrievalSettings
from dialogue_files.turns import ReadTurn, number_turns
from own_dialogues import recognizer as recognizer_module
from own_dialogues.demonstrations import DemonstrationSource, open_demonstrator
from own_dialogues.following import follow_stream
from own_dialogues.recognizer import EmotionRecognizer
from page_input import read_dialogue
from tiny_models import LABELS, LINES, tiny_model

pytestmark = pytest.mark.numeric

TEXTS = list(LINES)
NAMES = ("Ann", "Ben", "Ann", "Cem")
DIALOGUE = [(NAMES[turn % 4], f"{TEXTS[3 * turn % 7]} {turn}") for turn in range(12)]
OTHER = [("Zoe", "Run!"), ("Ann", "Fine."), ("Zoe", "He died.")]


@pytest.fixture(scope="module")
def loaded(trained: Path) -> EmotionRecognizer:
    return EmotionRecognizer.from_pretrained(trained / "run" / "model", precision="fp32")


def asked_as(loaded: EmotionRecognizer, demonstrator=None, model=None, **changes) -> EmotionRecognizer:
    """A recognizer of its own, asked as a checkpoint of this configuration."""
    config = replace(loaded.config, **changes)
    return EmotionRecognizer(model or loaded.model, loaded.encoder, config, loaded.device, demonstrator)


def spoken(*dialogues):
    return number_turns(ReadTurn(part, None, *turn) for part, one in enumerate(dialogues) for turn in one)


def one_by_one(recognizer: EmotionRecognizer, *dialogues) -> list:
    return [row for (row,) in recognizer.predict_turns(spoken(*dialogues), size=1)]


def assert_same_answers(found, expected, within: float = 1e-5) -> None:
    for one, other in zip(found, expected, strict=True):
        assert (one.turn, one.emotion) == (other.turn, other.emotion)
        assert one.probabilities == pytest.approx(other.probabilities, abs=within)


@pytest.mark.parametrize(
    "changes",
    [
        {"historical_window": 2},
        {"historical_window": 2, "window_step": 3},
        {"historical_window": 12},
        {"historical_window": 3, "window_step": 4, "prompt": "compact"},
        {"kind": "plain", "historical_window": 0},
        {"historical_window": 2, "calibrate": True},
    ],
    ids=["window", "step", "all", "compact", "plain", "calibrated"],
)
def test_turns_one_by_one_are_answered_as_together(loaded: EmotionRecognizer, changes: dict) -> None:
    together = asked_as(loaded, **changes)
    expected = [row for rows in together.predict_turns(spoken(DIALOGUE, OTHER)) for row in rows]
    recognizer = asked_as(loaded, **changes)
    within = 2e-5 if recognizer.config.calibrate else 1e-5  # calibrated: of two likelihoods, each computed otherwise
    assert_same_answers(one_by_one(recognizer, DIALOGUE, OTHER), expected, within)
    assert together.running is None and recognizer.running.computed > 0


def test_demonstrations_stand_behind_what_is_kept(loaded: EmotionRecognizer, trained: Path) -> None:
    retrieval = RetrievalSettings("letters", balance=False)
    source = DemonstrationSource(original_data=trained / "original", embed=LetterCounts())
    demonstrator = open_demonstrator(replace(loaded.config, retrieval=retrieval), source)
    found = [asked_as(loaded, demonstrator, retrieval=retrieval) for _ in range(2)]
    expected = [row for rows in found[0].predict_turns(spoken(DIALOGUE)) for row in rows]
    rows = one_by_one(found[1], DIALOGUE)
    assert_same_answers(rows, expected)
    assert all(row.demonstrations == other.demonstrations for row, other in zip(rows, expected, strict=True))


def count_computed(recognizer: EmotionRecognizer, *dialogues) -> list[int]:
    """Tokens that each turn made the model compute; the checks aside."""
    found = []
    for _ in recognizer.predict_turns(spoken(*dialogues), size=1):
        found.append(recognizer.running.computed - sum(found))
    return found


def test_a_turn_costs_what_is_new_in_its_prompt(loaded: EmotionRecognizer) -> None:
    """Of the compact form the turn, the cue and the labels behind it."""
    recognizer = asked_as(loaded, historical_window=12, prompt="compact")
    computed = count_computed(recognizer, DIALOGUE)
    choices = [loaded.encoder.encode_label(label) for label in LABELS]
    behind = len({choice[:end] for choice in choices for end in range(1, len(choice))})

    def tokens(text: str) -> int:
        return len(loaded.encoder.encode_prompts([text])[0]) - 1  # without the leading one

    turns = [tokens(f'\t Speaker_0:"{text}" Emotion:') for _, text in DIALOGUE]
    assert computed[1:] == [turn + behind for turn in turns[1:]]
    prompts = map(tokens, recognizer.seen_prompts(DIALOGUE))
    assert sum(computed) < sum(prompts) / 3
    # A window that slides moves all that stands behind its start.
    slides, steps = (
        count_computed(asked_as(loaded, historical_window=2, window_step=step, prompt="compact"), DIALOGUE)
        for step in (1, 6)
    )
    assert steps[:3] == slides[:3]
    assert all(one < 0.8 * other for one, other in zip(steps[3:8], slides[3:8], strict=True))


def test_one_more_turn_on_the_page_goes_on(loaded: EmotionRecognizer) -> None:
    asked = {"historical_window": 12, "prompt": "compact"}
    recognizer = asked_as(loaded, **asked)
    turns, rows, computed = read_dialogue("\n".join(f"{name}: {text}" for name, text in DIALOGUE)), [], []
    for count in range(4, 8):
        *_, rows = page.answer(recognizer, turns[:count], rows)
        computed.append(recognizer.running.computed if recognizer.running else 0)
    assert_same_answers(rows, next(asked_as(loaded, **asked).predict_turns(spoken(DIALOGUE[:7]))))
    first, second, third = computed[1], computed[2] - computed[1], computed[3] - computed[2]
    assert computed[0] == 0 and first > 2 * second and first > 2 * third


def refuse_kept(model):
    forward = model.forward

    def refusing(*args, past_key_values=None, **kwargs):
        if past_key_values is not None:
            raise NotImplementedError("no cache")
        return forward(*args, **kwargs)

    model.forward = refusing
    return model


def test_a_base_that_cannot_go_on_is_asked_anew_each_time(loaded: EmotionRecognizer, capsys) -> None:
    expected = one_by_one(asked_as(loaded, model=tiny_model("llama")), DIALOGUE)
    recognizer = asked_as(loaded, model=refuse_kept(tiny_model("llama")))
    assert_same_answers(one_by_one(recognizer, DIALOGUE), expected)
    assert recognizer.running is None and capsys.readouterr().err.count("cannot go on with a prompt") == 1
    # One that shares no prefixes has nothing to go on from either.
    rows = asked_as(loaded, model=tiny_model("llama"))
    rows.model.config.attention_dropout = 0.1
    assert_same_answers(one_by_one(rows, DIALOGUE), expected)
    told = capsys.readouterr().err
    assert rows.running is None and "cannot share prefixes" in told and "cannot go on" not in told


def test_going_on_is_checked_again_when_prompts_have_grown(loaded: EmotionRecognizer, monkeypatch) -> None:
    checked, check = [], recognizer_module.can_go_on

    def watched(model, row, *more) -> bool:
        checked.append(len(row.prompt))
        return check(model, row, *more)

    monkeypatch.setattr(recognizer_module, "can_go_on", watched)
    recognizer = asked_as(loaded, historical_window=12)
    one_by_one(recognizer, DIALOGUE * 2)
    assert 1 < len(checked) < 5 and all(2 * one < next_one for one, next_one in zip(checked, checked[1:], strict=False))


class Lines(io.RawIOBase):
    """Lines that come one at a time; notes what had been printed when each was asked for."""

    def __init__(self, lines: list[str], printed: io.StringIO) -> None:
        self.lines, self.printed, self.seen = [line.encode() for line in lines], printed, []

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        self.seen.append(len([line for line in self.printed.getvalue().splitlines() if line.strip()]))
        line = self.lines.pop(0) if self.lines else b""
        buffer[: len(line)] = line
        return len(line)


def follow(recognizer: EmotionRecognizer, lines: list[str], input_format=None, output_format="jsonl"):
    """(what was printed, lines printed before each line was read, what came of it)."""
    printed = io.StringIO()
    source = Lines(lines, printed)
    with redirect_stdout(printed):
        done = follow_stream(recognizer, io.BufferedReader(source), input_format, output_format)
    return printed.getvalue(), source.seen, done


def test_from_python_each_turn_is_answered_before_the_next_is_asked_for(loaded: EmotionRecognizer) -> None:
    asked = []
    turns = (asked.append(turn) or turn for turn in DIALOGUE)
    answers = asked_as(loaded).predict_live(turns)
    for number, expected in enumerate(asked_as(loaded).predict(DIALOGUE), start=1):
        emotion, probability, probabilities = next(answers)
        assert len(asked) == number and emotion == expected.emotion and probabilities[emotion] == probability
        assert probability == pytest.approx(expected.probability, abs=1e-5)
    with pytest.raises(UserError, match="turn 2 of dialogue 1: "):
        list(asked_as(loaded).predict_live([DIALOGUE[0], ("Ann", " ")]))


@pytest.mark.parametrize("form", ["text", "jsonl"])
def test_each_turn_is_answered_before_the_next_is_read(loaded: EmotionRecognizer, form: str) -> None:
    recognizer = asked_as(loaded)
    expected = [row for rows in recognizer.predict_turns(spoken(DIALOGUE[:3], OTHER)) for row in rows]
    if form == "text":
        first, second = ([f"{name}: {text}\n" for name, text in turns] for turns in (DIALOGUE[:3], OTHER))
        lines = [*first, "\n", *second]
        answered = [0, 1, 2, 3, 3, 4, 5, 6]
    else:
        named = [("1", *turn) for turn in DIALOGUE[:3]] + [("2", *turn) for turn in OTHER]
        keys = ("dialogue", "speaker", "text")
        lines = [json.dumps(dict(zip(keys, turn, strict=True))) + "\n" for turn in named]
        answered = [0, 1, 2, 3, 4, 5, 6]
    printed, seen, done = follow(recognizer, lines)
    rows = [json.loads(line) for line in printed.splitlines()]
    assert [(row["dialogue"], row["speaker"], row["text"], row["emotion"]) for row in rows] == [
        (row.turn.dialogue, row.turn.speaker, row.turn.text, row.emotion) for row in expected
    ]
    assert seen[: len(answered)] == answered
    assert (done.counts.dialogues, done.counts.turns, done.counts.speakers, done.shortened) == (2, 6, 2, 0)


def test_a_bad_line_is_told_and_left_out(loaded: EmotionRecognizer, capsys: pytest.CaptureFixture) -> None:
    """The turns around it are answered as if it had not been there, and tell in which line they came."""
    lines = [f"{name}: {text}\n" for name, text in DIALOGUE[:4]]
    expected = list(map(json.loads, follow(asked_as(loaded), lines)[0].splitlines()))
    printed, seen, done = follow(asked_as(loaded), [*lines[:2], "nobody\n", *lines[2:]])
    rows = list(map(json.loads, printed.splitlines()))
    assert [row.pop("input_line") for row in rows] == [1, 2, 4, 5]
    assert [row.pop("input_line") for row in expected] == [1, 2, 3, 4]
    assert rows == expected and seen[:5] == [0, 1, 2, 2, 3] and not done.is_whole
    (told,) = capsys.readouterr().err.splitlines()
    assert told.startswith("warning: stdin line 3 is left out: 'nobody' is no turn, allowed is 'Name: utterance'")
    with pytest.raises(UserError, match=r"stdin holds no utterance \(left out: lines that cannot be read 1 \(line 1"):
        follow(asked_as(loaded), ["Ann: Run!\n"], "jsonl")
    with pytest.raises(UserError, match="stdin holds no utterance, allowed"):
        follow(asked_as(loaded), ["\n"])


def test_many_speakers_are_told_once(loaded: EmotionRecognizer, capsys) -> None:
    follow(asked_as(loaded), [f"person {number}: Run!\n" for number in range(12)], output_format="table")
    told = capsys.readouterr().err
    assert told.count("warning: a dialogue has") == told.count("has 10 speakers, training knew 9 at most") == 1


def test_the_script_answers_stdin(trained: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    flags = ("--checkpoint", trained / "run" / "model", "--precision", "fp32")
    text = "".join(f"{name}: {said}\n" for name, said in DIALOGUE)
    (tmp_path / "own.txt").write_text(text, encoding="utf-8")
    stdin = io.TextIOWrapper(io.BufferedReader(io.BytesIO(text.encode())))
    monkeypatch.setattr(sys, "stdin", stdin)
    followed = call_script(predict.main, *flags, "--follow", "True")
    assert followed.returncode == 0, followed.stderr
    assert followed.stdout == call_script(predict.main, *flags, "--input", tmp_path / "own.txt").stdout
    assert followed.stderr.splitlines()[-1].startswith("12 utterances, 1 dialogue, labels of EmoryNLP, by ")
    monkeypatch.setattr(
        sys, "stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(f"{text}\xff\n".encode("latin-1"))))
    )
    incomplete = call_script(predict.main, *flags, "--follow", "True")
    assert (incomplete.returncode, incomplete.stdout) == (1, followed.stdout)
    told = [line for line in incomplete.stderr.splitlines() if "left out" in line]
    assert told == [
        "warning: stdin line 13 is left out: not UTF-8 text (invalid start byte), allowed is UTF-8",
        "left out: lines that cannot be read 1 (line 13)",
    ]
    for wrong, told in (
        ((), "--input is missing"),
        (("--follow", "True", "--input", "own.txt"), "--input own.txt: --follow True reads stdin"),
        (("--input", "-"), "--input -: stdin is read by --follow True, a turn a line"),
        (("--follow", "True", "--output", "own.csv"), "--output own.csv: --follow True prints"),
        (("--follow", "True", "--input_format", "vtt"), "--input_format vtt: --follow True reads text or jsonl"),
    ):
        assert_one_line_error(call_script(predict.main, *flags, *wrong), told)
