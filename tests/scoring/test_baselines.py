"""Baselines on dialogues small enough to follow, on the sample, and against numbers measured elsewhere."""

import json
import math
import re
from collections import Counter
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression

import baselines as script
from basics.errors import UserError
from basics.files import find_repository
from commands import assert_one_line_error, call_script
from corpora import LetterCounts
from data_utils.dialogues import Dialogue, Utterance, load_dialogues
from data_utils.labels import DATASETS
from scoring import baseline_table, baselines
from scoring.baseline_table import (
    CONTENDERS,
    MAJORITY,
    MEANINGS,
    PREVIOUS_LABEL,
    VECTORS,
    WITH_TRANSITIONS,
    baseline_plan,
)
from scoring.baselines import CANDIDATES, leak_bound, measure, measure_baselines, previous_labels
from scoring.contenders import LOWEST, Candidate, Task, choose, log_probabilities
from scoring.metrics import baseline_majority
from scoring.prediction_files import read_predictions
from scoring.vector_baselines import vectors_by_speaker
from scoring.word_baselines import OWN, SAME, WORD, count_words, tf_idf, words_by_speaker

TURNS = [(0, "aa", "sad"), (1, "bb", "joyful"), (0, "cc", "angry"), (0, "dd", "sad"), (1, "ee", "sad")]
DIALOGUE = Dialogue("d", tuple(Utterance(*turn) for turn in TURNS))


def small_task(window: int = 2, **splits: tuple[Dialogue, ...]) -> Task:
    """The dialogue twice in every split, if nothing else is said."""
    usual = {split: (DIALOGUE, DIALOGUE) for split in ("train", "valid", "test")}
    return Task("small", usual | splits, ("joyful", "sad", "angry"), "weighted_f1", window)


@pytest.fixture(scope="module")
def sample() -> Task:
    spec = DATASETS["sample"]
    dialogues = load_dialogues("sample", find_repository() / "original_data")
    return Task("sample", dialogues, spec.labels, spec.metric, 12, spec.neutral)


def load_task(dataset: str, original_data: Path) -> Task:
    spec = DATASETS[dataset]
    return Task(dataset, load_dialogues(dataset, original_data), spec.labels, spec.metric, 12, spec.neutral)


def test_previous_label_is_the_same_speakers() -> None:
    said = previous_labels([DIALOGUE, DIALOGUE], otherwise="neutral")
    assert said == ["neutral", "neutral", "sad", "angry", "joyful"] * 2


def test_words_before_are_by_who_said_them_in_the_window() -> None:
    own, same, others = words_by_speaker(small_task(), "train")
    assert own == ["aa", "bb", "cc", "dd", "ee"] * 2
    assert same == ["", "", "aa", "cc", ""] * 2
    assert others == ["", "aa", "bb", "bb", "cc\ndd"] * 2


def test_vectors_before_are_means_by_who_said_them_in_the_window() -> None:
    vectors = LetterCounts()(["aa", "bb", "cc", "dd", "ee"])
    found = vectors_by_speaker(small_task(window=3), "train", LetterCounts())
    assert found.shape == (10, 3 * 128)
    np.testing.assert_array_equal(found[:5], found[5:])
    own, same, others = np.split(found[:5], 3, axis=1)
    np.testing.assert_array_equal(own, vectors)
    nothing = np.zeros(128)
    np.testing.assert_allclose(same, [nothing, nothing, vectors[0], (vectors[0] + vectors[2]) / 2, vectors[1]])
    np.testing.assert_allclose(others, [nothing, vectors[0], vectors[1], vectors[1], (vectors[2] + vectors[3]) / 2])


def test_dialogues_of_one_turn_have_no_words_before() -> None:
    alone = tuple(Dialogue(str(number), (Utterance(0, "aa bb aa", "sad"),)) for number in range(2))
    blocks = tf_idf(small_task(train=alone))["test"]
    assert blocks[OWN].shape[1] == 4  # aa, bb, aa bb, bb aa
    assert blocks[SAME].shape == (10, 0)


def test_words_are_of_any_letters() -> None:
    said = ("Déjà vu, mon cœur!", "Привет, мой друг!", "It isn't 42.")
    dialogues = tuple(Dialogue(text, (Utterance(0, text, "sad"),)) for text in said * 2)
    counted = count_words(small_task(train=dialogues, test=dialogues), CountVectorizer)["test"][OWN]
    assert counted[:3].sum(axis=1).tolist() == [5, 4, 2]


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("नमस्ते दुनिया!", ["नमस्ते", "दुनिया", "!"]),  # vowels and the virama are marks
        ("Cafe\u0301 d'ici ❤\ufe0f", ["cafe\u0301", "d'ici"]),  # a mark by itself is no word
        ("می\u200cخواهم؟", ["می\u200cخواهم", "؟"]),
        ("ที่นี่ 5", ["ที่", "นี่"]),  # of scripts without blanks, letter by letter with its marks
        ("好，ok吗？", ["好", "ok", "吗", "？"]),
    ],
)
def test_marks_stay_on_their_letters(said: str, words: list[str]) -> None:
    assert CountVectorizer(token_pattern=WORD).build_analyzer()(said) == words


def test_no_word_to_learn_from_is_one_line() -> None:
    alone = tuple(Dialogue(str(number), (Utterance(0, text, "sad"),)) for number, text in enumerate(("aa", "bb", "1")))
    with pytest.raises(UserError, match="no word stands in 2 utterances of train or more: nothing to learn"):
        tf_idf(small_task(train=alone))
    assert count_words(small_task(train=alone), CountVectorizer)["test"][OWN].shape[1] == 2


def test_one_label_to_learn_from_is_one_line() -> None:
    alone = tuple(Dialogue(str(number), (Utterance(0, "aa bb aa", "sad"),)) for number in range(2))
    with pytest.raises(UserError, match="has the one label 'sad': nothing to learn from"):
        measure_baselines(small_task(train=alone))


def test_the_first_of_those_that_are_best_on_valid_is_chosen() -> None:
    task = small_task()
    asked = []

    def candidate(name: str, right: int) -> Candidate:
        """Answers the first `right` utterances of valid rightly."""

        def log_p(split: str) -> np.ndarray:
            asked.append((name, split))
            numbers = task.numbers[split].copy()
            numbers[right:] = (numbers[right:] + 1) % 3
            return np.log(np.eye(3)[numbers] + 0.01)

        return Candidate({"name": name}, log_p)

    found = choose(iter([candidate("a", 3), candidate("b", 7), candidate("c", 7), candidate("d", 5)]), task)
    assert found.settings == {"name": "b"}
    # Test is answered by what leads on valid alone.
    assert [name for name, split in asked if split == "test"] == ["a", "b"]
    np.testing.assert_array_equal(found.log_p["valid"], candidate("b", 7).log_p("valid"))
    with pytest.raises(ValueError, match="no candidate"):
        choose([], task)


def test_a_label_that_train_does_not_have_is_least_probable() -> None:
    model = LogisticRegression().fit(np.array([[0.0], [1.0]]), np.array([0, 2]))
    found = log_probabilities(model, np.array([[0.0], [1.0], [5000.0]]), 4)
    assert found.shape == (3, 4) and np.isfinite(found).all()
    assert (found[:, [1, 3]] == LOWEST).all()
    np.testing.assert_allclose(np.exp(found).sum(axis=1), 1)


def bayes_by_hand(task: Task, utterance: float, history: float) -> np.ndarray:
    """(utterances of test, labels) log p: add-one smoothing over words that are marked by where they stand."""
    marked = {
        split: [
            [
                f"{kind}:{word}"
                for kind, text in zip("uso", texts, strict=True)
                for word in re.findall(r"[a-z']+|[!?]", text.lower())
            ]
            for texts in zip(*words_by_speaker(task, split), strict=True)
        ]
        for split in ("train", "test")
    }
    counts = [Counter() for _ in task.labels]
    for number, words in zip(task.numbers["train"], marked["train"], strict=True):
        counts[number].update(words)
    known = set().union(*counts)
    rows = []
    for words in marked["test"]:
        row = np.log(np.bincount(task.numbers["train"], minlength=len(task.labels)) / len(task.numbers["train"]))
        for word in filter(known.__contains__, words):
            weight = utterance if word.startswith("u:") else history
            row += [weight * math.log((of[word] + 1) / (of.total() + len(known))) for of in counts]
        rows.append(row - np.logaddexp.reduce(row))
    return np.array(rows)


def test_every_contender_has_its_candidates() -> None:
    assert CANDIDATES.keys() == CONTENDERS.keys()


def test_naive_bayes_is_what_it_says(sample: Task) -> None:
    contender = CONTENDERS["multinomial_bayes"]
    candidates = {tuple(one.settings.values()): one for one in CANDIDATES["multinomial_bayes"](sample, contender.grid)}
    for history, utterance in ((0.2, 0.7), (0.0, 1.0)):
        found = candidates[1.0, history, utterance].log_p("test")
        np.testing.assert_allclose(found, bayes_by_hand(sample, utterance, history), rtol=1e-9, atol=1e-12)


def test_every_baseline_is_measured_on_the_sample(sample: Task) -> None:
    begun: list[str] = []
    found = measure_baselines(sample, LetterCounts(), begin=begun.append)
    of_name = {one.name: one for one in found}
    plain = [name for name in MEANINGS if name in of_name and name != PREVIOUS_LABEL]
    assert begun == plain and VECTORS in plain
    assert list(of_name) == [each for name in plain for each in (name, name + WITH_TRANSITIONS)] + [PREVIOUS_LABEL]
    gold = {split: sample.gold(split) for split in ("train", "test")}
    wanted = baseline_majority(gold["train"], gold["test"], sample.labels, sample.metric).result
    assert of_name[MAJORITY].results["test"] == wanted
    best = max(one.results["valid"].score for one in found[:-1])
    assert [one.results["valid"].score for one in found if one.chosen] == [best]
    for name in plain:
        one, decoded = of_name[name], of_name[name + WITH_TRANSITIONS]
        assert decoded.results["valid"].score == decoded.transitions.score
        assert one.results["valid"].score == decoded.transitions.score_without <= decoded.transitions.score
        for split in ("valid", "test"):
            assert [row.target for row in one.predictions[split]] == sample.gold(split)
            assert all(row.label == max(row.scores, key=row.scores.get) for row in one.predictions[split])
            assert [row.scores for row in decoded.predictions[split]] == [row.scores for row in one.predictions[split]]
    first = of_name["words"].predictions["test"][0]
    assert first.id == f"sample/{sample.dialogues['test'][0].dialogue_id}/0"
    assert set(of_name["words"].settings) == {"C", "class_weight"}
    assert of_name["words"].results["test"].score > 2 * of_name[MAJORITY].results["test"].score


def test_nothing_is_chosen_on_test(sample: Task) -> None:
    def relabelled(dialogue: Dialogue) -> Dialogue:
        return replace(dialogue, utterances=tuple(replace(one, label="fear") for one in dialogue.utterances))

    contender = CONTENDERS["complement_bayes"]
    bayes = partial(CANDIDATES["complement_bayes"], grid=contender.grid)
    other = replace(sample, dialogues={**sample.dialogues, "test": tuple(map(relabelled, sample.dialogues["test"]))})
    for one, same in zip(
        measure("complement_bayes", bayes, sample),
        measure("complement_bayes", bayes, other),
        strict=True,
    ):
        assert one.settings == same.settings and one.results["valid"] == same.results["valid"]
        assert one.results["test"] != same.results["test"]
        labels = [[row.label for row in baseline.predictions["test"]] for baseline in (one, same)]
        assert labels[0] == labels[1]


@pytest.mark.real_data
def test_published_leak_bound(original_data: Path) -> None:
    found = leak_bound(load_task("iemocap", original_data))
    assert round(found.results["test"].score, 2) == 72.24


@pytest.mark.real_data
@pytest.mark.parametrize(("dataset", "wanted"), [("iemocap", 61.62), ("meld", 53.63), ("EmoryNLP", 31.58)])
def test_naive_bayes_is_that_of_others(dataset: str, wanted: float, original_data: Path) -> None:
    """With their alpha of 1: test W-F1 of forty lines without scikit-learn, by a reviewer of an earlier version."""
    contender = CONTENDERS["multinomial_bayes"]
    theirs = partial(CANDIDATES["multinomial_bayes"], grid={**contender.grid, "alpha": (1.0,)})
    plain, _ = measure("multinomial_bayes", theirs, load_task(dataset, original_data))
    assert plain.results["test"].score == pytest.approx(wanted, abs=0.05)


def test_what_decides_a_baseline_is_in_its_digest(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [name for name in MEANINGS if name != PREVIOUS_LABEL]
    digests = {name: baseline_plan(name) for name in [*names, *(name + WITH_TRANSITIONS for name in names)]}
    assert len(set(digests.values())) == len(digests)
    wider = replace(CONTENDERS["words"], grid={**CONTENDERS["words"].grid, "C": (1.0,)})
    monkeypatch.setitem(CONTENDERS, "words", wider)
    assert {name for name in digests if baseline_plan(name) != digests[name]} == {"words", "words+transitions"}
    monkeypatch.setattr(baseline_table, "GRID", baseline_table.GRID[:4])
    assert {name for name in digests if baseline_plan(name) != digests[name]} == {
        "words",
        *(name for name in digests if name.endswith(WITH_TRANSITIONS)),
    }
    with pytest.raises(UserError, match="words_hist is not known, allowed are majority, words, "):
        baseline_plan("words_hist")


def test_script_without_its_encoder_is_one_line(tmp_path: Path) -> None:
    for flag in ("--encoder", "--encoder_finetune"):
        flags = ("--dataset", "sample", "--encoder", "none", flag, tmp_path, "--output", tmp_path / "out")
        assert_one_line_error(call_script(script.main, *flags), str(tmp_path))
        assert not (tmp_path / "out").exists()


def test_script_prints_and_writes(tmp_path: Path) -> None:
    result = call_script(script.main, "--dataset", "sample", "--encoder", "none", "--output", tmp_path)
    assert result.returncode == 0, result.stderr
    lines = {line.split()[0]: line.split() for line in result.stdout.splitlines()[3:-1]}
    assert lines["majority"][2] == "25.97" and lines[PREVIOUS_LABEL][3:5] == ["-", "-"]
    written = json.loads((tmp_path / "sample.json").read_text())
    scores = {name: of for name, of in written.items() if isinstance(of, dict)}
    for name, columns in lines.items():
        said = [word for word in columns[1:6] if word != "*"][:4]
        rows = [scores[name], scores.get(name + WITH_TRANSITIONS)]
        numbers = [f"{score:.2f}" for row in rows if row for score in (row["valid"]["score"], row["score"])]
        assert said[: len(numbers)] == numbers
    best = [name for name, of in scores.items() if of["chosen"]]
    assert result.stdout.splitlines()[-1].startswith(f"* the best on valid: {best[0]}, ") and len(best) == 1
    kept = {name: read_predictions(tmp_path / "sample" / name / "test" / "predictions.jsonl") for name in scores}
    assert {len(rows) for rows in kept.values()} == {116}
    assert all(len(row.scores) == 7 for row in kept[best[0]]) and kept[PREVIOUS_LABEL][0].scores is None


def test_predictions_by_other_settings_do_not_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is by the same ones does, as that of an encoder which took its time."""
    monkeypatch.setattr(baselines, "CONTENDERS", {MAJORITY: CONTENDERS[MAJORITY]})
    flags = ("--dataset", "sample", "--encoder", "none", "--output", tmp_path)
    assert call_script(script.main, *flags).returncode == 0
    of_others, notes = tmp_path / "sample" / "finetuned_x" / "valid", tmp_path / "sample" / "words" / "notes.txt"
    for path in (of_others / "predictions.jsonl", notes.parent / "test" / "predictions.jsonl", notes):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    assert call_script(script.main, *flags).returncode == 0 and of_others.is_dir()
    assert call_script(script.main, *flags, "--historical_window", 3).returncode == 0
    left = {path.name: [one.name for one in path.iterdir()] for path in (tmp_path / "sample").iterdir()}
    assert left.keys() == {MAJORITY, MAJORITY + WITH_TRANSITIONS, PREVIOUS_LABEL, "words"}
    assert left["words"] == ["notes.txt"] and sorted(left[MAJORITY]) == ["test", "valid"]


@pytest.mark.slow
def test_script_embeds_with_the_encoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baselines, "CONTENDERS", {name: CONTENDERS[name] for name in (MAJORITY, VECTORS)})
    if not (find_repository() / "LLM_bases" / "all-MiniLM-L6-v2" / "SOURCE.json").is_file():
        pytest.skip("all-MiniLM-L6-v2 has not been fetched")
    result = call_script(script.main, "--dataset", "sample", "--data", tmp_path / "data", "--output", tmp_path)
    assert result.returncode == 0, result.stderr
    written = json.loads((tmp_path / "sample.json").read_text())
    assert written["encoder"] == "all-MiniLM-L6-v2"
    assert written[VECTORS]["score"] > 2 * written[MAJORITY]["score"]
