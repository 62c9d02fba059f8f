"""One's own dialogues by a checkpoint with a filter over label transitions: from Python, files, page, exports."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import emotion_page as page
import export
import predict
from basics.errors import UserError
from commands import REPOSITORY, assert_one_line_error, call_script
from dialogue_files.turns import ReadTurn, number_turns
from own_dialogues import recognizer as recognizer_module
from own_dialogues.recognizer import EmotionRecognizer
from page_input import read_dialogue
from scoring.transitions import Follower, TransitionFilter, Transitions, order_turns
from tiny_models import LABELS, LINES
from training.decoding import TRANSITIONS_FILE, find_filter
from training.erc_config import find_erc_config, refuse_changed_files
from training.stages import keep_filter

TEXTS = list(LINES)
NAMES = ("Ann", "Ben", "Ben", "Cem", "Ann")


def strong_filter() -> TransitionFilter:
    """Whatever is felt now, the next label of the list is felt next; a speaker keeps theirs."""
    size = len(LABELS)
    own = tuple(tuple(200 if now == before else 1 for now in range(size)) for before in range(size))
    dialogue = tuple(tuple(150 if now == (before + 1) % size else 2 for now in range(size)) for before in range(size))
    return TransitionFilter(Transitions(LABELS, own, dialogue), 5.0, 0.25, 1.5)


@pytest.fixture(scope="module")
def checkpoint(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = Path(shutil.copytree(trained / "run" / "model", tmp_path_factory.mktemp("filtered") / "model"))
    keep_filter(strong_filter(), folder)
    return folder


@pytest.fixture(scope="module")
def recognizer(checkpoint: Path) -> EmotionRecognizer:
    return EmotionRecognizer.from_pretrained(checkpoint, precision="fp32")


@pytest.fixture(scope="module")
def plain(checkpoint: Path) -> EmotionRecognizer:
    return EmotionRecognizer.from_pretrained(checkpoint, precision="fp32", decode="score")


def spoken(number: int, turns: int = 10) -> list[tuple[str, str]]:
    return [(NAMES[turn % 5], TEXTS[(number + 3 * turn) % 7]) for turn in range(turns)]


def shares(emotions) -> np.ndarray:
    return np.array([[one.probabilities[label] for label in LABELS] for one in emotions])


def test_beliefs_are_those_of_the_filter(recognizer: EmotionRecognizer, plain: EmotionRecognizer) -> None:
    dialogues = [spoken(0), spoken(3, 4)]
    alone = [one for dialogue in plain.predict_dialogues(dialogues) for one in dialogue]
    found = [one for dialogue in recognizer.predict_dialogues(dialogues) for one in dialogue]
    order = order_turns([0] * 10 + [1] * 4, [name for dialogue in dialogues for name, _ in dialogue])
    wanted = strong_filter().shown(strong_filter().beliefs(np.log(shares(alone)), order))
    np.testing.assert_allclose(shares(found), wanted, rtol=1e-6)
    assert [one.emotion for one in found] == [LABELS[number] for number in wanted.argmax(axis=1)]
    assert [one.emotion for one in found] != [one.emotion for one in alone]
    assert [one.probability for one in found] == shares(found).max(axis=1).tolist()


def turns_of(*dialogues):
    return number_turns(ReadTurn(part, None, *turn) for part, one in enumerate(dialogues) for turn in one)


def test_no_later_turn_is_seen_and_pieces_change_nothing(recognizer: EmotionRecognizer) -> None:
    whole = shares(recognizer.predict(spoken(1)))
    np.testing.assert_allclose(shares(recognizer.predict(spoken(1, 6))), whole[:6], rtol=1e-4)
    pieces = [row for rows in recognizer.predict_turns(turns_of(spoken(1)), size=3) for row in rows]
    np.testing.assert_allclose(shares(pieces), whole, rtol=1e-4)


def test_a_follower_goes_on_from_its_state() -> None:
    found = strong_filter()
    numbers = np.random.default_rng(0)
    steps = [(0, 1), (0, 0), (0, 1), (1, 0), (1, 2), (1, 2)]
    scores = [dict(zip(LABELS, row, strict=True)) for row in numbers.normal(size=(6, 7)).tolist()]
    whole, first, second = Follower(found), Follower(found), Follower(found)
    wanted = [whole.follow(*step, score) for step, score in zip(steps, scores, strict=True)]
    for stop in range(7):
        first, second = Follower(found), Follower(found)
        beliefs = [first.follow(*step, score) for step, score in zip(steps[:stop], scores, strict=False)]
        second.restore(json.loads(json.dumps(first.state)))
        beliefs += [second.follow(*step, score) for step, score in zip(steps[stop:], scores[stop:], strict=True)]
        assert beliefs == wanted
    state = whole.state
    second.restore(state | {"own": {"2": [1.0] + [0.0] * 6}})
    no_beliefs = ([0.5, 0.5], *([float(first)] + [0.5] * 6 for first in ("nan", "inf", "-1")))
    for damaged in (
        state | {"speaker": 9},
        {},
        state | {"own": [1]},
        *(state | {"own": {"2": no}} for no in no_beliefs),
    ):
        with pytest.raises((ValueError, KeyError, TypeError, AttributeError)):
            second.restore(damaged)


def test_a_first_turn_has_the_models_own_probability() -> None:
    """Whatever the temperature; a turn after it is told apart by what was felt before alone."""
    found = replace(strong_filter(), temperature=3.0)
    scores = dict(zip(LABELS, np.log([0.9, 0.04, 0.02, 0.01, 0.01, 0.01, 0.01]).tolist(), strict=True))
    follower = Follower(found)
    first, second = follower.follow(0, 0, scores), follower.follow(0, 0, scores)
    assert first == pytest.approx({label: np.exp(score) for label, score in scores.items()})
    assert second != pytest.approx(first)
    again = Follower(found)
    again.remember(0, 0, first)
    assert again.follow(0, 0, scores) == pytest.approx(second)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Twenty dialogues of ten turns: chunks end within them."""
    path = tmp_path / "own.txt"
    texts = ["".join(f"{name}: {text}\n" for name, text in spoken(number)) for number in range(20)]
    path.write_text("\n".join(texts), encoding="utf-8")
    return path


def run(checkpoint: Path, source: Path, *flags: object):
    return call_script(predict.main, "--checkpoint", checkpoint, "--input", source, "--precision", "fp32", *flags)


def test_the_python_of_the_readme_answers_conversations_side_by_side(recognizer: EmotionRecognizer) -> None:
    readme = (REPOSITORY / "demo" / "README.md").read_text(encoding="utf-8")
    _, _, example = (block.split("```")[0] for block in readme.split("```python\n"))
    names = {"recognizer": recognizer}
    exec(example, names)
    for turns in range(1, 5):
        found = {number: names["answer"](f"call {number}", spoken(number, turns)) for number in range(2)}
    for number, rows in found.items():
        assert {row.turn.dialogue for row in rows} == {f"call {number}"}
        assert shares(rows) == pytest.approx(shares(recognizer.predict(spoken(number, 4))), abs=1e-4)


def stop_after(monkeypatch: pytest.MonkeyPatch, chunks: int) -> None:
    score, left = recognizer_module.predict_labels, [None] * chunks

    def scored(*arguments):
        if not left:
            raise KeyboardInterrupt
        left.pop()
        return score(*arguments)

    monkeypatch.setattr(recognizer_module, "predict_labels", scored)


def test_a_file_that_was_stopped_gives_the_same_bytes(
    checkpoint: Path, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "emotions.jsonl"
    done = run(checkpoint, source, "--output", output)
    assert done.returncode == 0 and "labels of EmoryNLP, with transitions" in done.stderr
    whole = output.read_bytes()
    for _ in range(2):
        with monkeypatch.context() as patched:
            stop_after(patched, 1)
            assert run(checkpoint, source, "--output", output, "--resume", "True").returncode == 130
    state = tmp_path / "emotions.jsonl.part.json"
    there = json.loads(state.read_text())
    assert there["position"]["turns"] == 128
    # What was believed is needed, and so is the same way to decode.
    for beliefs in (None, {"dialogue": 12}):
        state.write_text(json.dumps(there | {"position": there["position"] | {"beliefs": beliefs}}))
        told = run(checkpoint, source, "--output", output, "--resume", "True")
        assert told.returncode == 2 and "not what this program wrote" in told.stderr.splitlines()[-1]
    state.write_text(json.dumps(there))
    told = run(checkpoint, source, "--output", output, "--resume", "True", "--decode", "score")
    assert_one_line_error(told, "transitions is another")
    assert run(checkpoint, source, "--output", output, "--resume", "True").returncode == 0
    assert output.read_bytes() == whole


def test_the_flag_decides(trained: Path, checkpoint: Path, source: Path) -> None:
    model = trained / "run" / "model"
    flags = ((), ("--decode", "transitions"), ("--decode", "score"))
    usual, filtered, alone = (run(checkpoint, source, *one) for one in flags)
    assert usual.stdout == filtered.stdout != alone.stdout
    assert alone.stdout == run(model, source).stdout and "transitions" not in alone.stderr
    assert_one_line_error(run(model, source, "--decode", "transitions"), TRANSITIONS_FILE, "use --decode score")


def test_another_filter_beside_a_shipped_adapter_is_refused(tmp_path: Path) -> None:
    """It has no tokenizer of its own, and its answers are the filter's."""
    folder = Path(shutil.copytree(REPOSITORY / "demo/adapters/meld", tmp_path / "meld"))
    config = find_erc_config(folder)
    refuse_changed_files(folder, config)
    content = json.loads((folder / TRANSITIONS_FILE).read_text())
    (folder / TRANSITIONS_FILE).write_text(json.dumps(content | {"temperature": 93.0}))
    with pytest.raises(UserError, match="transitions.json not as erc_config.json beside it tells"):
        refuse_changed_files(folder, config)
    (folder / TRANSITIONS_FILE).unlink()
    with pytest.raises(UserError, match="transitions.json not as"):
        refuse_changed_files(folder, config)


def test_scores_elsewhere_may_lie_beside_a_checkpoint(checkpoint: Path) -> None:
    beside = checkpoint / "elsewhere.json"
    beside.write_text("[]")
    refuse_changed_files(checkpoint, find_erc_config(checkpoint))
    beside.unlink()


def test_the_page_goes_on_from_what_it_knows(recognizer: EmotionRecognizer) -> None:
    turns = read_dialogue("".join(f"{name}: {said}\n" for name, said in spoken(2, 6)))
    whole = list(page.answer(recognizer, turns))[-1]
    np.testing.assert_allclose(shares(whole), shares(recognizer.predict(spoken(2, 6))), rtol=1e-4)
    known = list(page.answer(recognizer, turns[:4]))[-1]
    longer = list(page.answer(recognizer, turns, known))[-1]
    np.testing.assert_allclose(shares(longer), shares(whole), rtol=1e-4)
    forgotten = [replace(row, probabilities=dict.fromkeys(LABELS, 1 / 7)) for row in known]
    other = list(page.answer(recognizer, turns, forgotten))[-1]
    assert not np.allclose(shares(other)[4:], shares(whole)[4:], rtol=1e-2)


def test_exports_take_the_filter_along(checkpoint: Path, tmp_path: Path) -> None:
    for kind, more in (("merged", ("--precision", "fp32")), ("adapter", ())):
        flags = ("--checkpoint_dir", checkpoint, "--output_dir", tmp_path / kind, "--kind", kind, *more)
        result = call_script(export.main, *flags)
        assert result.returncode == 0, result.stderr
        assert find_filter(tmp_path / kind, LABELS) == strong_filter()
