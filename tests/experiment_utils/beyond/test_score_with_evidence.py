"""score_with_evidence.py: committed answers, and those of a file, with evidence of train beside the model."""

import fcntl
import json
import os
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import bases.encoder
import score_with_evidence as script
from commands import assert_one_line_error, call_script, cells
from corpora import LetterCounts
from data_utils.dialogues import name_utterances
from data_utils.labels import DATASETS, MICRO_F1_WITHOUT, WEIGHTED_F1
from data_utils.texts import fold_text
from experiment_utils.beyond import beside
from experiment_utils.beyond.beside import WEIGHTS, Compared
from experiment_utils.conditions import EXPERIMENTS
from experiment_utils.dialogue_counts import Counts
from experiment_utils.evidence import read_corpus
from experiment_utils.records import Record, beside_file
from scoring.beside import KINDS, LINEAR_MODELS, NEIGHBOURS
from scoring.metrics import Prediction
from scoring.prediction_files import write_predictions

LABELS = DATASETS["sample"].labels
WRONG = {"joyful": "sad", "sad": "joyful"}


@pytest.fixture(autouse=True)
def letters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bases.encoder, "SentenceEncoder", lambda name, cache: LetterCounts())


@pytest.mark.parametrize("kind", KINDS)
def test_committed_answers_get_a_line_each_and_are_kept(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page, kept = tmp_path / "page.md", tmp_path / "kept"
    monkeypatch.setattr(beside, "beside_file", lambda folder, *rest: beside_file(kept, *rest))
    page.write_text(f"before\n<!-- {kind}: begin -->\nold\n<!-- {kind}: end -->\nafter\n")
    result = call_script(script.main, "--datasets", "sample", "--evidence", kind, "--output", page, "--keep")
    assert result.returncode == 0, result.stderr
    header, _, *lines = map(cells, result.stdout.splitlines())
    named = {line[0]: dict(zip(header, line, strict=True)) for line in lines}
    joint, alone = f"with {KINDS[kind].called}", f"{KINDS[kind].called} alone"
    # What is committed of the sample, as REPORT.md has it, the baseline that valid chose, and no model.
    assert {"sample/window", "sample/plain", "sample/zero_shot", alone} < named.keys()
    assert sum(name.startswith("baselines/") for name in named) == 1
    window = named["sample/window"]
    assert (window["own (W-F1)"], window["seeds"], window["dataset"]) == ("89.48", "42", "sample")
    moved = float(window[joint]) - 89.48
    assert float(window["points"]) == pytest.approx(moved, abs=0.011)
    low, high = map(float, window["its 95% interval"].split(" to "))
    assert low < float(window[joint]) < high
    assert 0 < float(window["p"]) <= float(window["p, Holm"]) <= 1
    counts = Counts.read(beside_file(kept, "sample/window/sample", "sample", 42, kind).read_text(), LABELS)
    assert f"{counts.score(DATASETS['sample'].metric):.2f}" == window[joint]
    assert {path.parent.parent.name for path in kept.rglob("*.csv")} == {"window", "plain", "zero_shot"}
    assert named[alone]["own (W-F1)"] == named[alone]["p"] == "-"
    told = page.read_text(encoding="utf-8")
    assert told.startswith("before\n") and told.endswith("after\n") and "old" not in told
    assert result.stdout.strip() in told


def test_nobody_else_reads_or_writes_records_while_they_are_compared_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A report between two of the files would show a run with evidence and its fellow without."""
    held = []

    def look(*_: object) -> list[Compared]:
        descriptor = os.open(tmp_path, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            held.append(False)
        except BlockingIOError:
            held.append(True)
        finally:
            os.close(descriptor)
        return []

    monkeypatch.setattr(beside, "EXPERIMENTS", tmp_path)
    for name in ("compare_committed", "keep_counts"):
        monkeypatch.setattr(beside, name, look)
    monkeypatch.setattr(beside, "render_comparison", lambda _: "")
    for flags in ((), ("--keep",)):
        assert call_script(script.main, "--datasets", "sample", *flags).returncode == 0
    assert held == [False, True, True]


def compare(name: str, dataset: str, *rights: int) -> Compared:
    """Of each seed so many of 16 own answers right, and with neighbours all; MELD with answers of seed 0 on valid."""
    labels = ("joyful", "sad")
    gold = labels * 8
    said = [[one if number < right else WRONG[one] for number, one in enumerate(gold)] for right in rights]
    pairs = {
        seed: tuple(
            Counts.of([(f"d{number}", *both, 1) for number, both in enumerate(zip(gold, of, strict=True))], labels)
            for of in (own, gold)
        )
        for seed, own in enumerate(said)
    }
    unseen, valid = {seed: 1.5 + seed for seed in pairs}, {0: -0.25} if dataset == "meld" else {}
    return Compared(NEIGHBOURS, name, name, dataset, WEIGHTED_F1, pairs, unseen, {0: pairs[0][1]}, valid)


def rendered(compared: Sequence[Compared]) -> dict[tuple[str, str], dict[str, str]]:
    """(model, datasets) -> column -> cell of the table, whose lines differ."""
    header, rule, *lines = map(cells, beside.render_comparison(compared).splitlines())
    assert header[:6] == ["answers of", "dataset", "seeds", "own (W-F1)", "with neighbours", "its 95% interval"]
    assert header[6:] == [
        *("with transitions too", "points", "mean, its 95% interval", "p", "p, Holm"),
        *("points on unseen text", "points on valid"),
    ]
    assert rule == ["---", *["---:"] * (len(header) - 1)]
    named = {(line[0], line[1]): dict(zip(header, line, strict=True)) for line in lines}
    assert len(named) == len(lines)
    return named


def test_a_model_of_several_datasets_gets_a_line_of_them_together() -> None:
    """Own answers 50, 100 and 0 percent right, with neighbours all right; two datasets of one model, and another's."""
    compared = [compare("a/b", "meld", 8, 16), compare("a/b", "iemocap", 0), compare("a/c", "meld", 16, 16, 16)]
    compared[0].filtered[1] = compared[1].pairs[0][0]
    alone = replace(compared[1], name="", condition="")
    named = rendered([*compared, alone])
    lines = [*((one.name, one.dataset) for one in compared), ("a/b, together", "meld, iemocap")]
    assert list(named) == [*lines, ("neighbours alone", "iemocap")]
    evidence = list(named["neighbours alone", "iemocap"].values())
    assert evidence[2:] == ["-", "-", "100.00", "100.00 to 100.00", *"-" * 7]
    together = named["a/b, together", "meld, iemocap"]
    assert together["own (W-F1)"] == "37.50" and together["with neighbours"] == "100.00"
    assert together["points"] == "+25.00, +100.00" and together["points on unseen text"] == "+2.00, +1.50"
    assert together["seeds"] == together["its 95% interval"] == "-"
    assert together["mean, its 95% interval"] == together["with transitions too"] == "-"
    assert named["a/b", "meld"]["with transitions too"] == "50.00" and named["a/b", "meld"]["seeds"] == "0, 1"
    assert named["a/c", "meld"]["with transitions too"] == "100.00 of 0"
    assert named["a/b", "meld"]["points on unseen text"] == "+1.50, +2.50"
    assert named["a/b", "iemocap"]["with transitions too"] == "100.00"
    assert named["a/c", "meld"]["mean, its 95% interval"] == "+0.00 (+0.00 to +0.00)"
    assert named["a/b", "meld"]["points"] == "+50.00, +0.00"
    assert named["a/b", "meld"]["points on valid"] == "-0.25 of 0"
    assert named["a/b", "iemocap"]["points on valid"] == together["points on valid"] == "-"
    assert float(together["p"]) <= float(named["a/b", "iemocap"]["p"]) < 0.01 < float(named["a/c", "meld"]["p"]) == 1


def test_three_seeds_of_several_datasets_have_an_interval_together() -> None:
    compared = [compare("a/b", "meld", 8, 8, 8), compare("a/b", "iemocap", 0, 0, 0), compare("a/c", "meld", 16)]
    compared[0].filtered[1] = compared[0].pairs[0][0]
    compared[1].filtered.clear()
    named = rendered([*compared, compare("a/d", "iemocap", 16)])
    assert [name for name, _ in named] == ["a/b", "a/b", "a/c", "a/d", "a/b, together"]
    assert named["a/b, together", "meld, iemocap"]["mean, its 95% interval"].startswith("+75.00 (")
    assert named["a/b", "meld"]["with transitions too"] == "75.00 of 0, 1"
    assert named["a/b", "iemocap"]["with transitions too"] == "-"


def test_points_on_unseen_text_are_of_it_alone() -> None:
    corpus = read_corpus("sample")
    trained = {fold_text(one.text) for dialogue in corpus["train"] for _, one in dialogue.labelled}
    spoken = dict(name_utterances("sample", corpus["test"]))
    unseen = {name for name, one in spoken.items() if fold_text(one.text) not in trained}
    nothing = np.zeros((len(spoken), len(LABELS)))
    evidence = beside.SplitEvidence(DATASETS["sample"], "test", NEIGHBOURS, nothing)

    def answer(wrong: Collection[str]) -> list[Prediction]:
        """Right answers, but for those to `wrong`."""
        other = dict(zip(LABELS, (*LABELS[1:], LABELS[0]), strict=True))
        return [
            Prediction(name, "", one.label, other[one.label] if name in wrong else one.label)
            for name, one in spoken.items()
        ]

    assert 0 < len(unseen) < len(spoken)
    assert evidence.gain_on_unseen(answer(unseen), answer(())) == pytest.approx(100)
    assert evidence.gain_on_unseen(answer(spoken.keys() - unseen), answer(())) == 0
    evidence.unseen = frozenset()
    assert evidence.gain_on_unseen(answer(unseen), answer(())) == 0


def test_scores_are_named_by_the_metrics_of_the_corpora() -> None:
    """A corpus of one's own may have another than weighted F1."""
    counts = Counts.of([("d", "calm", "calm", 1), ("e", "glad", "calm", 1)], ("calm", "glad"))
    metrics = {"meld": WEIGHTED_F1, "chats": f"{MICRO_F1_WITHOUT}calm", "notes": f"{MICRO_F1_WITHOUT}calm"}
    compared = [
        Compared(NEIGHBOURS, "a/b", "a/b", name, metric, {0: (counts, counts)}, {}, {}, {})
        for name, metric in metrics.items()
    ]
    heads = [cells(beside.render_comparison(of).splitlines()[0])[3] for of in (compared, compared[1:], compared[:1])]
    assert heads == ["own (W-F1, micro F1)", "own (micro F1)", "own (W-F1)"]


def write_answers(folder: Path, split: str, are_right: bool = False) -> Path:
    """Answers of a model that holds every label for as likely, as far as log p tell: the first, or all right."""
    equal = dict.fromkeys(LABELS, float(np.log(1 / len(LABELS))))
    spoken = [
        (dialogue.dialogue_id, turn, one.label)
        for dialogue in read_corpus("sample")[split]
        for turn, one in dialogue.labelled
    ]
    rows = [
        Prediction(f"sample/{name}/{turn}", "", label, label if are_right else LABELS[0], equal)
        for name, turn, label in spoken
    ]
    write_predictions(folder, rows)
    return folder / "predictions.jsonl"


def test_committed_answers_get_transitions_where_those_on_valid_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of the two files themselves."""
    valid = write_answers(tmp_path, "valid")

    def lies_at(folder: Path, run: Record, dataset: str) -> Path:
        return valid if run.condition == "sample/window/sample" else tmp_path / "nowhere"

    monkeypatch.setattr(beside, "valid_answers_file", lies_at)
    header, _, *lines = map(cells, call_script(script.main, "--datasets", "sample").stdout.splitlines())
    named = {line[0]: dict(zip(header, line, strict=True)) for line in lines}
    found = {name: line["with transitions too"] for name, line in named.items()}
    test = EXPERIMENTS / "predictions/sample/window/sample/sample-seed_42.csv.gz"
    both = call_script(script.main, "--datasets", "sample", "--predictions", test, "--valid", valid)
    ways = {line[0]: line[1:] for line in map(cells, both.stdout.splitlines())}
    joint = f"with {KINDS[LINEAR_MODELS].called}"
    assert found.pop("sample/window") == ways[f"{joint}, transitions"][1]
    on_valid = float(ways[joint][0]) - float(ways["own"][0])
    assert float(named["sample/window"]["points on valid"]) == pytest.approx(on_valid, abs=0.011) != 0
    assert set(found.values()) == {"-"} and f"{KINDS[LINEAR_MODELS].called} alone" in found


def test_points_on_valid_are_from_the_answers_that_were_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Committed log p are rounded: what they leave equal, the committed answers tell apart."""
    valid = write_answers(tmp_path, "valid", are_right=True)
    monkeypatch.setattr(beside, "valid_answers_file", lambda *_: valid)
    done = call_script(script.main, "--datasets", "sample", "--evidence", NEIGHBOURS)
    header, _, *lines = map(cells, done.stdout.splitlines())
    named = {line[0]: dict(zip(header, line, strict=True)) for line in lines}
    assert float(named["sample/window"]["points on valid"]) < 0  # all were right before


@pytest.mark.parametrize("kind", KINDS)
def test_weights_are_tried_on_valid_alone(kind: str, tmp_path: Path) -> None:
    scores = {}
    for split in ("valid", "test"):
        path = write_answers(tmp_path / split, split)
        result = call_script(script.main, "--datasets", "sample", "--evidence", kind, "--predictions", path)
        header, rule, line = map(cells, result.stdout.splitlines())
        assert (header[0], line[0]) == (f"sample, {split}; weight", "score")
        assert rule == ["---", *["---:"] * (len(header) - 1)]
        scores[split] = dict(zip(map(float, header[1:]), map(float, line[1:]), strict=True))
    assert set(scores["valid"]) == {*WEIGHTS, KINDS[kind].weight} and tuple(scores["test"]) == (0.0, KINDS[kind].weight)
    # A model that knows nothing says its first label; train knows more, whatever its weight is.
    assert len({score for weight, score in scores["valid"].items() if weight}) == 1
    assert scores["valid"][1.0] > scores["valid"][0.0] and len(set(scores["test"].values())) == 2


@pytest.mark.parametrize("kind", KINDS)
def test_transitions_are_fitted_to_either(kind: str, tmp_path: Path) -> None:
    valid, test = (write_answers(tmp_path / split, split) for split in ("valid", "test"))
    of, joint = ("--datasets", "sample", "--evidence", kind), f"with {KINDS[kind].called}"
    result = call_script(script.main, *of, "--predictions", test, "--valid", valid)
    header, rule, *lines = map(cells, result.stdout.splitlines())
    assert header == ["sample, answers", "valid", "test"] and rule == ["---", "---:", "---:"]
    found = {line[0]: tuple(map(float, line[1:])) for line in lines}
    assert list(found) == ["own", "own, transitions", joint, f"{joint}, transitions"]
    plain = call_script(script.main, *of, "--predictions", test).stdout.splitlines()[-1]
    assert [found["own"][1], found[joint][1]] == [float(score) for score in cells(plain)[1:]]
    # Who knows nothing hears of no transition either; who knows something does.
    assert found["own, transitions"] == found["own"]
    assert found[f"{joint}, transitions"][0] > found[joint][0]
    rows = test.read_text().splitlines(keepends=True)
    test.write_text("".join(reversed(rows)))
    again = call_script(script.main, *of, "--predictions", test, "--valid", valid)
    assert again.stdout == result.stdout
    test.write_text("".join(rows[1:]))
    short = call_script(script.main, *of, "--predictions", test, "--valid", valid)
    assert_one_line_error(short, "not one answer to each of all 116 utterances of sample's test")


@pytest.mark.parametrize("fault", ["none", "unscored", "other labels", "unknown", "twice", "short"])
def test_what_cannot_be_compared_is_one_line(fault: str, tmp_path: Path) -> None:
    path = write_answers(tmp_path, "valid")
    first, *others = map(json.loads, path.read_text().splitlines())
    rows = {
        "none": [],
        "unscored": [first | {"scores": None}, *others],
        "other labels": [first | {"scores": {"calm": -1.0}}, *others],
        "unknown": [first, others[0] | {"id": "sample/nowhere/0"}, *others[1:]],
        "twice": [first, first, *others],
        "short": [first, *others[1:]],
    }[fault]
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    done = call_script(script.main, "--datasets", "sample", "--predictions", path)
    assert_one_line_error(done, "predictions.jsonl: not one answer to each of all", "utterances of sample's")


def test_flags_that_do_not_go_together_are_one_line(tmp_path: Path) -> None:
    path = write_answers(tmp_path, "valid")
    assert_one_line_error(call_script(script.main, "--datasets", "sample,meld", "--predictions", path), "one run")
    kept = call_script(script.main, "--datasets", "sample", "--predictions", path, "--keep")
    assert_one_line_error(kept, "--keep is of committed answers")
    other = call_script(script.main, "--datasets", "sample", "--encoder", "all-mpnet-base-v2", "--keep")
    assert_one_line_error(other, "leave --predictions and --encoder away")
    assert_one_line_error(call_script(script.main, "--datasets", "sample", "--valid", path), "beside --predictions")
    assert_one_line_error(call_script(script.main, "--datasets", "sample", "--output", path), "has no section")
