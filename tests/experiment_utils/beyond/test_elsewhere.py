"""score_elsewhere.py: a checkpoint's answers to other corpora, compared in unified labels."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

import score_elsewhere
from basics.errors import UserError
from commands import assert_one_line_error, call_script
from corpora import write_own_corpus
from data_utils.corpora.places import ORIGINAL_DATA_VARIABLE
from data_utils.corpora.reading import read_corpus
from data_utils.dialogues import Dialogue, Utterance, find_original_data
from data_utils.labels import DATASETS, UNIFIED, WEIGHTED_F1, DatasetSpec
from data_utils.mixing import unify
from data_utils.retrieval import RetrievalSettings
from data_utils.texts import digest_text
from dialogue_files.turns import SpokenTurn
from experiment_utils.beyond import elsewhere
from own_dialogues.recognizer import EmotionRecognizer
from own_dialogues.writing import TurnEmotion
from tiny_models import DATASET
from training import erc_config
from training.erc_config import read_erc_config

MELD, EMORY = DATASETS["meld"], DATASETS["EmoryNLP"]


class Answering:
    """In place of a recognizer: says the same label to what is said, and keeps what it was asked."""

    def __init__(self, said: dict[str, str]) -> None:
        self.said, self.asked = said, []

    def predict_turns(self, turns: Iterable[SpokenTurn]) -> Iterator[list[TurnEmotion]]:
        for turn in turns:
            self.asked.append((turn.dialogue, turn.turn, turn.number, turn.text))
            yield [TurnEmotion(turn, self.said[turn.text], 1.0, {})]


def dialogues() -> Sequence[Dialogue]:
    """Of EmoryNLP: a peaceful turn, a mad one and a joyful one; one nobody has labelled."""
    first = Dialogue("a", (Utterance(3, "Calm.", "Peaceful"), Utterance(5, "Hm.", None), Utterance(3, "Out!", "Mad")))
    return first, Dialogue("b", (Utterance(0, "Great!", "Joyful"),))


SAID = {"Calm.": "neutral", "Hm.": "sad", "Out!": "angry", "Great!": "joyful"}  # in MELD's labels


def test_labels_of_two_corpora_meet_in_the_unified_ones() -> None:
    recognizer = Answering(SAID)
    found = elsewhere.score_elsewhere(recognizer, MELD, EMORY, "test", dialogues(), frozenset({digest_text("Great!")}))
    assert recognizer.asked == [("a", 0, 3, "Calm."), ("a", 1, 5, "Hm."), ("a", 2, 3, "Out!"), ("b", 0, 0, "Great!")]
    # angry and Mad are both mad; of three labels that occur once each two are found; always the first: 1/3 of F1 1/2
    assert (found.utterances, found.weighted_f1) == (3, pytest.approx(200 / 3))
    assert found.majority == 16.6667  # held to four places, as files have it
    assert found.low <= found.weighted_f1 <= found.high
    # without Great!, whose words were trained on, one of two
    assert (found.unseen, found.unseen_f1) == (2, pytest.approx(50))


def test_what_was_trained_on_may_be_unknown_or_everything() -> None:
    everything = frozenset(map(digest_text, SAID))
    for trained in (None, everything):
        found = elsewhere.score_elsewhere(Answering(SAID), MELD, EMORY, "test", dialogues(), trained)
        assert (found.unseen, found.unseen_f1) == (None, None)
        assert "not known" in elsewhere.render_elsewhere([found])


def test_mixed_rows_have_the_unified_labels_already() -> None:
    assert elsewhere.unified_labels(UNIFIED) == {label: label for label in UNIFIED.labels}
    own = DatasetSpec("mine", ("good", "bad"), (), 2, 100, {}, WEIGHTED_F1, "")
    with pytest.raises(UserError, match="mine has no unified labels; corpus.yaml maps"):
        elsewhere.unified_labels(own)


def test_a_mix_is_asked_with_the_speaker_numbers_of_its_rows() -> None:
    learned = replace(UNIFIED, speaker_offset=MELD.speaker_offset)  # what MELD, the first of the mix, has there
    recognizer = Answering({text: "neutral" for text in SAID})
    elsewhere.score_elsewhere(recognizer, learned, EMORY, "test", dialogues(), None)
    shown = [learned.speaker_offset + number for _, _, number, _ in recognizer.asked]
    assert shown == [one.speaker for dialogue in dialogues() for one in unify(EMORY, dialogue).utterances]


def test_the_checkpoint_of_a_mix_tells_its_first_speaker_number(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = replace(read_erc_config(trained / "run/model"), dataset=UNIFIED.name, speaker_offset=2)
    monkeypatch.setattr(erc_config, "read_erc_config", lambda folder: config)
    given = []
    nothing = elsewhere.Elsewhere(DATASET, "test", 1, 0.0, 0.0, 0.0, 0.0, None, None)
    monkeypatch.setattr(elsewhere, "score_elsewhere", lambda *values: given.append(values) or nothing)
    flags = ["--checkpoint", trained / "run/model", "--datasets", DATASET, "--original_data", trained / "original"]
    assert call_script(score_elsewhere.main, *flags, "--check_counts", "False").returncode == 0
    ((_, learned, asked, *_),) = given
    assert (learned.name, learned.speaker_offset, asked) == (UNIFIED.name, 2, EMORY)


def test_the_corpus_that_it_has_learned_from_is_found_beside_those_that_are_asked(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    monkeypatch.setenv(ORIGINAL_DATA_VARIABLE, str(there))
    learned = read_corpus(write_own_corpus(here / "mine")).spec
    config = replace(read_erc_config(trained / "run/model"), dataset="mine", labels=learned.labels)

    def find(original_data: Path | None) -> DatasetSpec:
        return score_elsewhere.find_learned(config, score_elsewhere.find_place("mine", original_data))

    assert find(here) == replace(learned, speaker_offset=config.speaker_offset)
    for place in (None, there):
        with pytest.raises(UserError, match="unknown dataset 'mine'"):
            find(place)
    changed = replace(config, labels=(*learned.labels, "lost"))
    told = "mine has no label lost now, and the checkpoint answers so, allowed is the corpus that it was trained on"
    with monkeypatch.context() as patch:
        patch.setattr(erc_config, "read_erc_config", lambda folder: changed)
        flags = ["--checkpoint", trained / "run/model", "--datasets", "mine", "--original_data", here]
        assert_one_line_error(call_script(score_elsewhere.main, *flags), told)
    there.mkdir()
    (here / "mine").rename(there / "mine")
    assert find(here).labels == learned.labels, "those that are asked lie elsewhere"


def test_demonstrations_are_those_of_training_and_never_the_utterance_itself(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They come from --original_data where the corpus lies there, and not from another release of it."""
    config = replace(read_erc_config(trained / "run/model"), retrieval=RetrievalSettings("letters"))
    monkeypatch.setattr(erc_config, "read_erc_config", lambda folder: config)
    given = []
    monkeypatch.setattr(EmotionRecognizer, "from_pretrained", lambda *_, **told: given.append(told))
    nothing = elsewhere.Elsewhere(DATASET, "test", 1, 0.0, 0.0, 0.0, 0.0, None, None)
    monkeypatch.setattr(elsewhere, "score_elsewhere", lambda *values: nothing)
    flags = ["--checkpoint", trained / "run/model", "--check_counts", "False", "--original_data", trained / "original"]
    assert call_script(score_elsewhere.main, *flags, "--datasets", DATASET).returncode == 0
    flags[-1] = find_original_data("sample")
    assert call_script(score_elsewhere.main, *flags, "--datasets", "sample").returncode == 0
    assert [told["demonstrations"].original_data for told in given] == [trained / "original", None]
    told = f"--split train: the prompts of the checkpoint show utterances of {DATASET}'s train with their labels"
    result = call_script(score_elsewhere.main, *flags, "--datasets", f"sample,{DATASET}", "--split", "train")
    assert_one_line_error(result, told)


def test_on_its_own_corpus_it_scores_what_its_run_did(trained: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("Before.\n<!-- elsewhere: begin -->\nold\n<!-- elsewhere: end -->\nAfter.\n")
    flags = ["--checkpoint", trained / "run/model", "--datasets", DATASET, "--original_data", trained / "original"]
    flags += ["--check_counts", "False", "--json", tmp_path / "numbers.json", "--output", page]
    result = call_script(score_elsewhere.main, *flags)
    assert result.returncode == 0, result.stderr
    run = json.loads((trained / "run/results/results.json").read_bytes())
    (found,) = json.loads((tmp_path / "numbers.json").read_bytes())
    assert (found["dataset"], found["split"], found["utterances"]) == (DATASET, "test", run["rows"])
    assert found["weighted_f1"] == pytest.approx(run["weighted_f1"], abs=1e-4)
    assert found["unseen"] is None or found["unseen"] == run["unseen"]["rows"]
    assert result.stdout.strip() in page.read_text() and page.read_text().startswith("Before.\n")
    assert f"| {DATASET}, test | {run['rows']} | {run['weighted_f1']:.2f} (" in result.stdout
    told = (
        f"`python code/data_process.py --dataset {DATASET} --prompt paper --window_step 1 --historical_window 2` writes"
    )
    assert told in page.read_text(), "the rows of its run have a window of two"


def test_the_command_that_writes_the_rows_of_a_checkpoint_is_that_of_its_rows(trained: Path) -> None:
    config = replace(read_erc_config(trained / "run/model"), historical_window=12)
    flags = f"--dataset {DATASET}"
    usual = f"data_process.py {flags} --prompt compact --window_step 6"
    assert score_elsewhere.command_of_rows(replace(config, prompt="compact", window_step=6)) == usual
    clean = f"data_process.py {flags} --prompt paper --window_step 1 --clean_text True"
    assert score_elsewhere.command_of_rows(replace(config, clean_text=True, kind="predict")) == clean
    assert score_elsewhere.command_of_rows(replace(config, kind="plain")) == f"data_process_plain.py {flags}"
    for unknown in ({"dataset": UNIFIED.name}, {"retrieval": RetrievalSettings("encoder")}):
        assert score_elsewhere.command_of_rows(replace(config, **unknown)) is None


def test_what_cannot_be_scored_is_one_line(trained: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("no marks")
    flags = ["--checkpoint", trained / "run/model", "--datasets", "sample"]
    assert_one_line_error(call_script(score_elsewhere.main, *flags, "--output", page), "page.md has no section")
    assert page.read_text() == "no marks"
    flags[-1] = "nothing"
    assert_one_line_error(call_script(score_elsewhere.main, *flags), "'nothing' is not allowed")
