"""Emotions of one's own dialogues: as scoring gives them, causal, prompts as in training, limits, demonstrations."""

import json
import math
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from basics.errors import UserError
from corpora import LetterCounts
from data_utils.dialogues import Dialogue, Utterance, load_dialogues
from data_utils.draws import Draw
from data_utils.examples import RowSettings, build_examples
from data_utils.prompts import FORMS, render_plain_prompt
from data_utils.retrieval import RetrievalSettings
from data_utils.row_files import read_rows
from data_utils.row_folders import prepare_folder
from dialogue_files.turns import LONGEST_UTTERANCE, ReadTurn, number_turns
from engine.batching import RowEncoder
from own_dialogues import recognizer as recognizer_module
from own_dialogues.demonstrations import DemonstrationSource, open_demonstrator
from own_dialogues.prompts import PromptMaker
from own_dialogues.recognizer import EmotionRecognizer
from tiny_models import DATASET, LABELS, LINES, character_tokenizer, small_dialogues, tiny_model
from training.erc_config import ErcConfig, read_erc_config

pytestmark = pytest.mark.numeric

TEXTS = list(LINES)
DIALOGUE = [("Ann", TEXTS[0]), ("Ben", TEXTS[4]), ("Ann", TEXTS[1]), ("Cem", TEXTS[4]), ("Ben", TEXTS[6])]


@pytest.fixture(scope="module")
def recognizer(trained: Path) -> EmotionRecognizer:
    return EmotionRecognizer.from_pretrained(trained / "run" / "model", precision="fp32")


def test_another_process_loads_it_anew(recognizer: EmotionRecognizer, monkeypatch, tmp_path: Path) -> None:
    """By its folder, wherever that process works; its layers have classes that no module holds."""
    expected = recognizer.predict(DIALOGUE)
    monkeypatch.chdir(tmp_path)
    again = pickle.loads(pickle.dumps(recognizer))
    assert again is not recognizer and again.model.dtype == torch.float32
    assert numbers(again.predict(DIALOGUE)) == pytest.approx(numbers(expected))
    one = EmotionRecognizer(again.model, again.encoder, again.config, again.device)
    with pytest.raises(TypeError, match="only an EmotionRecognizer of from_pretrained"):
        pickle.dumps(one)


def numbers(emotions) -> list[float]:
    return [value for one in emotions for value in one.probabilities.values()]


def own_turns(*dialogues):
    return number_turns(ReadTurn(part, None, *turn) for part, one in enumerate(dialogues) for turn in one)


def maker(**changes) -> PromptMaker:
    config = ErcConfig(DATASET, LABELS, "window", 2, changes.pop("max_length", 1024), "base")
    return PromptMaker(replace(config, **changes), RowEncoder(character_tokenizer(), config.max_length))


def prompts_of(made: PromptMaker, *dialogues) -> list[str]:
    return [made.example(question)[0].input for question in made.questions(own_turns(*dialogues))]


def test_predictions_are_those_that_the_run_was_scored_with(trained: Path, recognizer: EmotionRecognizer) -> None:
    """Same prompts, same labels, same weights: what predict says of the test dialogues is what main_new.py wrote."""
    lines = (trained / "run" / "results" / "predictions.jsonl").read_text(encoding="utf-8").splitlines()
    written = [json.loads(line) for line in lines]
    dialogues = [
        [(f"person {one.speaker}", one.text) for one in dialogue.utterances]
        for dialogue in small_dialogues("test", 3, 4)
    ]
    found = [emotion for dialogue in recognizer.predict_dialogues(dialogues) for emotion in dialogue]
    assert len(found) == len(written) == 13
    for emotion, row in zip(found, written, strict=True):
        total = sum(map(math.exp, row["scores"].values()))
        expected = {label: math.exp(score) / total for label, score in row["scores"].items()}
        assert emotion.emotion == row["label"] and tuple(emotion.probabilities) == LABELS
        assert emotion.probabilities == pytest.approx(expected, abs=1e-4)
        assert emotion.probability == max(emotion.probabilities.values())
    rows = (trained / "data" / DATASET / "window_2" / "test.json").read_text(encoding="utf-8").splitlines()
    shown = [prompt for dialogue in dialogues for prompt in recognizer.seen_prompts(dialogue)]
    assert shown == ["<s>" + json.loads(row)["input"] for row in rows]


def test_no_later_turn_changes_an_earlier_answer(recognizer: EmotionRecognizer) -> None:
    whole = recognizer.predict(DIALOGUE)
    for length in range(1, len(DIALOGUE)):
        for later in ([], [("Ann", "Run! " * 20)], DIALOGUE[::-1]):
            begun = recognizer.predict(DIALOGUE[:length] + later)[:length]
            assert numbers(begun) == pytest.approx(numbers(whole[:length]), abs=1e-4)
            assert [one.emotion for one in begun] == [one.emotion for one in whole[:length]]
    # It does look back.
    alone = recognizer.predict(DIALOGUE[-1:])
    assert numbers(alone) != pytest.approx(numbers(whole[-1:]), abs=1e-4)


def test_dialogues_do_not_see_one_another_and_names_are_only_numbers(recognizer: EmotionRecognizer) -> None:
    other = [("Zoe", text) for _, text in DIALOGUE]
    together = recognizer.predict_dialogues([DIALOGUE, [], other, DIALOGUE])
    assert together[1] == [] and len(together[2]) == 5
    assert numbers(together[3]) == pytest.approx(numbers(together[0]), abs=1e-4)
    assert numbers(together[0]) == pytest.approx(numbers(recognizer.predict(DIALOGUE)), abs=1e-4)
    renamed = [({"Ann": "X", "Ben": "Y", "Cem": "Ann"}[name], text) for name, text in DIALOGUE]
    assert recognizer.seen_prompts(renamed) == recognizer.seen_prompts(DIALOGUE)


def test_a_stream_is_taken_chunk_by_chunk_and_what_was_answered_is_only_history(recognizer: EmotionRecognizer) -> None:
    dialogues = [DIALOGUE] * 4
    taken = []

    def watched():
        for turn in own_turns(*dialogues):
            taken.append(turn)
            yield turn

    chunks = recognizer.predict_turns(watched(), size=3)
    first = next(chunks)
    assert len(taken) == 3 and [row.turn for row in first] == taken
    rows = [*first, *(row for chunk in chunks for row in chunk)]
    assert [row.turn for row in rows] == list(own_turns(*dialogues))
    later = [row for chunk in recognizer.predict_turns(own_turns(*dialogues), skip=7, size=3) for row in chunk]
    assert [row.turn for row in later] == [row.turn for row in rows[7:]]
    assert numbers(later) == pytest.approx(numbers(rows[7:]), abs=1e-4)


def test_an_utterance_too_long_for_the_prompt_is_cut_and_said_to_be(recognizer: EmotionRecognizer) -> None:
    long = "abcdefghi " * (LONGEST_UTTERANCE // 10 - 1)
    dialogue = [("A", "Run!"), ("B", long), ("A", "Run!")]
    rows = [row for rows in recognizer.predict_turns(own_turns(dialogue)) for row in rows]
    assert [row.shortened for row in rows] == [False, True, False]
    prompts = recognizer.seen_prompts(dialogue)
    assert "abcdefghi " * 20 in prompts[1] and "Run!" not in prompts[1]  # history goes first, then the end
    assert "abcdefghi" not in prompts[2] or len(prompts[2]) < 1200
    room = recognizer.encoder.max_length
    assert all(len(recognizer.encoder.tokenizer(prompt)["input_ids"]) <= room + 1 for prompt in prompts)
    with pytest.raises(UserError, match="turn 2 of dialogue 1: the utterance has 10,001 characters"):
        recognizer.predict([("A", "a"), ("B", "b" * 10_001)])
    with pytest.raises(UserError, match="turn 1 of dialogue 1: the speaker is empty"):
        recognizer.predict([(" ", "a")])


def test_every_turn_has_its_answer_or_none_has(recognizer: EmotionRecognizer) -> None:
    """In files empty turns are left out; here their answers would be taken for those of other turns."""
    for empty in ("", " \n"):
        with pytest.raises(UserError, match="turn 2 of dialogue 2: the utterance is empty, allowed is a text"):
            recognizer.predict_dialogues([[], [("A", "Run!"), ("B", empty), ("A", "Run!")]])
        with pytest.raises(UserError, match="turn 1 of dialogue 1: the utterance is empty"):
            recognizer.seen_prompts([("A", empty)])
    found = recognizer.predict_dialogues([[], DIALOGUE[:1], [], DIALOGUE[:2]])
    assert [len(one) for one in found] == [0, 1, 0, 2] and recognizer.predict_dialogues([]) == []


@pytest.mark.parametrize(
    "turn", [{"speaker": "A", "text": "Run!"}, "Al", ("A", None), ("A", math.nan), ("A",), ("A", "Run!", "B"), None]
)
def test_what_is_no_pair_of_texts_is_refused(recognizer: EmotionRecognizer, turn: object) -> None:
    """The keys of a dict and the letters of a short name could be taken for a name and an utterance."""
    for ask in (recognizer.predict, recognizer.seen_prompts, lambda said: list(recognizer.predict_live(said))):
        with pytest.raises(UserError, match="^turn 2 of dialogue 1: .* is no turn, allowed is a pair of texts"):
            ask([("A", "Run!"), turn])


def test_turns_may_be_lists_and_rows_of_arrays(recognizer: EmotionRecognizer) -> None:
    found = recognizer.predict(DIALOGUE)
    assert recognizer.predict([list(turn) for turn in DIALOGUE]) == found == recognizer.predict(np.array(DIALOGUE))


def test_prompts_follow_the_checkpoint() -> None:
    crowd = [(f"person {number}", f"text {number}") for number in range(11)]
    assert "Speaker_8" in prompts_of(maker(), crowd)[10] and 'Speaker_10:"text 10"' in prompts_of(maker(), crowd)[10]
    assert "text 7" not in prompts_of(maker(), crowd)[10]  # window 2
    assert prompts_of(maker(kind="plain"), crowd[:2])[1] == render_plain_prompt("text 1", LABELS)
    assert 'Speaker_2:"text 0"' in prompts_of(maker(speaker_offset=2), crowd)[0]
    assert "don\x92t" in prompts_of(maker(), [("A", "don\x92t")])[0]
    assert "don\u2019t" in prompts_of(maker(clean_text=True), [("A", "don\x92t")])[0]
    second = prompts_of(maker(), [("A", "one")], [("B", "two")])[1]
    assert "one" not in second and 'Speaker_0:"two"' in second
    with pytest.raises(UserError, match="holds no utterance"):
        prompts_of(maker(max_length=20), [("A", "some words")])


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("window", "step"), [(2, 1), (2, 3), (0, 2)])
def test_the_history_shown_is_that_of_rows(window: int, step: int, form: str) -> None:
    dialogue = [("ABA"[number % 3], f"text {number}") for number in range(9)]
    utterances = tuple(Utterance(one.number, one.text, "Sad") for one in own_turns(dialogue))
    settings = RowSettings(DATASET, historical_window=window, window_step=step, prompt=form)
    rows = build_examples(settings, {"train": [], "valid": [], "test": [Dialogue("a", utterances)]})["test"]
    shown = prompts_of(maker(historical_window=window, window_step=step, prompt=form), dialogue[:4], dialogue)
    assert shown == [row.input for row in [*rows[:4], *rows]]


def test_one_question_finds_what_the_rows_of_its_utterance_hold(trained: Path) -> None:
    """From the drawn part of train alone, whatever else was asked with it."""
    retrieval, draw = RetrievalSettings("letters", count=3, balance=False), Draw(0.5, 7)
    rows = RowSettings(DATASET, historical_window=2, check_counts=False, retrieval=retrieval, draw=draw)
    folder = prepare_folder(rows, trained / "original", trained / "data", embed=LetterCounts())
    drawn = {row.id for row in read_rows(folder / "train.json")}
    config = replace(read_erc_config(trained / "run" / "model"), retrieval=retrieval, draw=draw)
    source = DemonstrationSource(original_data=trained / "original", embed=LetterCounts())
    demonstrator = open_demonstrator(config, source)
    texts = load_dialogues(DATASET, trained / "original", check_counts=False)["test"]
    said = [one.text for dialogue in texts for one in dialogue.utterances]
    for row, text in zip(read_rows(folder / "test.json"), said, strict=True):
        (question,) = maker(kind="plain").questions(own_turns([("Ann", text)]))
        (matches,) = demonstrator.find([question])
        assert [match.entry.id for match in matches] == [one.id for one in row.demonstrations]
        assert {match.entry.id for match in matches} <= drawn
    assert len({one.id for row in read_rows(folder / "test.json") for one in row.demonstrations}) > 3


def test_demonstrations_come_from_train_and_fit(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = DemonstrationSource(count=2, original_data=trained / "original", embed=LetterCounts())
    model = trained / "run" / "model"
    balanced = replace(read_erc_config(model), retrieval=RetrievalSettings("letters", balance=False))
    demonstrator = open_demonstrator(balanced, source)
    recognizer = EmotionRecognizer.from_pretrained(model, precision="fp32")
    asked = EmotionRecognizer(recognizer.model, recognizer.encoder, balanced, recognizer.model.device, demonstrator)
    rows = [row for rows in asked.predict_turns(own_turns([("Ann", "He died!")])) for row in rows]
    assert [(one.text, one.label) for one in rows[0].demonstrations] == [("He died.", "Sad")] * 2
    (prompt,) = asked.seen_prompts([("Ann", "He died!")])
    assert prompt.endswith("\nDemonstration:\n<He died.>: Sad\n<He died.>: Sad")
    long = [row for rows in asked.predict_turns(own_turns([("Ann", "no " * 3000)])) for row in rows]
    assert long[0].shortened and len(long[0].demonstrations) < 2
    assert open_demonstrator(balanced, DemonstrationSource(count=0)) is None
    with pytest.raises(UserError, match="--demonstrations: a checkpoint of compact prompts has no place for them"):
        open_demonstrator(replace(read_erc_config(model), prompt="compact"), source)
    fewer = replace(balanced, labels=tuple(label for label in balanced.labels if label != "Sad"))
    with pytest.raises(
        UserError, match=f"train of {DATASET} has the labels Sad now, and the checkpoint has not, allowed"
    ):
        open_demonstrator(fewer, source)
    assert open_demonstrator(read_erc_config(model), DemonstrationSource()) is None
    with pytest.raises(UserError, match="no training utterance|may demonstrate|has the label"):
        open_demonstrator(replace(read_erc_config(model), labels=("none",)), source)
    assert "trained on prompts without demonstrations" in capsys.readouterr().err
    with pytest.raises(UserError, match="no pickle of"):
        open_demonstrator(balanced, DemonstrationSource(original_data=trained))


@pytest.mark.parametrize("usual", [torch.bfloat16, torch.float64])
def test_the_precision_that_is_usual_in_the_process_changes_nothing(
    recognizer: EmotionRecognizer, usual: torch.dtype
) -> None:
    """transformers sets it while another thread loads a model."""
    wanted = numbers(recognizer.predict(DIALOGUE)), numbers(recognizer.predict_live(DIALOGUE))
    torch.set_default_dtype(usual)
    try:
        found = numbers(recognizer.predict(DIALOGUE)), numbers(recognizer.predict_live(DIALOGUE))
    finally:
        torch.set_default_dtype(torch.float32)
    assert found == wanted


@pytest.fixture
def checked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """(packing that was wanted, tokens of the largest micro-batch) of every check."""
    found, check = [], recognizer_module.packer_that_agrees

    def look(model, plan, wanted: str, *more):
        found.append((wanted, max(batch.tokens(wanted == "tree") for batch in plan(wanted == "tree")[0])))
        return check(model, plan, wanted, *more)

    monkeypatch.setattr(recognizer_module, "packer_that_agrees", look)
    return found


def test_the_check_is_made_again_when_micro_batches_have_grown(trained: Path, checked: list[tuple[str, int]]) -> None:
    recognizer = EmotionRecognizer.from_pretrained(trained / "run" / "model", precision="fp32")
    recognizer.predict([("A", "Run!")])
    recognizer.predict([("B", "Run away!")])
    assert [wanted for wanted, _ in checked] == ["tree"]
    for _ in range(3):  # as large as ever
        recognizer.predict(DIALOGUE * 3)
    recognizer.predict([("A", "Run!")])
    assert len(checked) == 2 and checked[1][1] > 2 * checked[0][1]
    # A base that agreed until now, and on larger ones does not: from here on it takes rows, checked as such.
    recognizer.model.config.attention_dropout = 0.1
    whole = recognizer.predict(DIALOGUE * 3)
    assert recognizer.settings.packer.kind == "tree"
    recognizer.checked_tokens = checked[0][1]
    again = recognizer.predict(DIALOGUE * 3)
    assert recognizer.settings.packer.kind == "rows" and numbers(again) == pytest.approx(numbers(whole), abs=1e-4)
    assert len(checked) == 3
    recognizer.checked_tokens = 1
    recognizer.predict([("A", "Run!")])
    assert [wanted for wanted, _ in checked] == ["tree", "tree", "tree", "rows"]


def test_a_base_that_adds_its_mask_is_checked_on_what_it_will_run(checked: list[tuple[str, int]]) -> None:
    config = ErcConfig(DATASET, LABELS, "window", 12, 1024, "base")
    long = [(name, f"{text} {number}") for number in range(8) for name, text in DIALOGUE]
    found = []
    for kind in ("bloom", "llama"):
        model = tiny_model(kind, attention="eager" if kind == "bloom" else None)
        recognizer = EmotionRecognizer(model, RowEncoder(character_tokenizer(), 1024), config, torch.device("cpu"))
        recognizer.predict(long)
        found.append(recognizer.settings.token_budget)
    assert found == [1024, 2048]
    assert 512 < checked[0][1] <= 1024 < checked[1][1] <= 2048


def test_a_base_larger_than_the_card_is_refused(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recognizer_module, "_checked_device", torch.device)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (0, 1000))
    monkeypatch.setattr(recognizer_module, "load_model", lambda *_: pytest.fail("the base was loaded"))
    with pytest.raises(UserError, match="cuda:0 has 0: choose a smaller base"):
        EmotionRecognizer.from_pretrained(trained / "run" / "model", device="cuda:0", precision="fp32")
