"""What is committed of a run: answers without text, from which anyone with the corpus works the counts out anew."""

import gzip
from dataclasses import replace
from pathlib import Path

import pytest

import reproduce
from basics.errors import UserError
from commands import call_script
from data_utils.dialogues import find_original_data, load_dialogues, row_id
from data_utils.labels import DATASETS, UNIFIED_PROMPT_LABELS
from experiment_utils.checks import check_answers, join_gold, recount
from experiment_utils.dialogue_counts import Counts
from experiment_utils.evidence import (
    BaselineRun,
    answers_file,
    gold_labels,
    keep_baseline,
    read_answers,
    valid_answers_file,
    write_answers,
)
from experiment_utils.records import Records, beside_file
from scoring.beside import KINDS
from scoring.metrics import Prediction, evaluate_predictions

LABELS = DATASETS["sample"].labels


def make_predictions() -> list[Prediction]:
    """Of the sample's test: right but for every fifth, which has no label."""
    rows = []
    for dialogue in load_dialogues("sample", find_original_data("sample"))["test"]:
        for turn, utterance in enumerate(dialogue.utterances):
            scores = {label: -0.123456 if label == utterance.label else -3.0 for label in LABELS}
            said = None if len(rows) % 5 == 4 else utterance.label
            rows.append(Prediction(row_id("sample", dialogue.dialogue_id, turn), "", utterance.label, said, scores))
    return rows


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    run = BaselineRun("words", "sample", "words and who said them", "generate", 61.5, make_predictions(), 90.0, "abc")
    keep_baseline(run, LABELS, "python code/baselines.py --dataset sample", tmp_path)
    return tmp_path


@pytest.mark.parametrize("kind", KINDS)
def test_what_evidence_came_to_is_of_the_utterances_of_its_run(kind: str, kept: Path) -> None:
    (run,) = Records.read(kept).runs
    counts, beside = run.counts["sample"].write(), beside_file(kept, run.condition, "sample", run.seed, kind)
    beside.parent.mkdir(parents=True, exist_ok=True)
    beside.write_text(counts, encoding="utf-8")
    assert Records.read(kept).runs[0].beside[kind]["sample"].score("weighted_f1") == run.score("sample")
    beside.write_text("".join(counts.splitlines(keepends=True)[:-1]), encoding="utf-8")
    with pytest.raises(UserError, match=f"those with {KINDS[kind].called} are of other utterances"):
        Records.read(kept)


def test_a_baseline_is_kept_like_a_run(kept: Path) -> None:
    (record,) = Records.read(kept).baselines("sample")
    assert (record.row, record.valid, record.minutes, record.commit) == ("words", 61.5, 1.5, "abc")
    assert record.score("sample") == pytest.approx(evaluate_predictions(make_predictions(), LABELS).weighted_f1)
    where = Records.read(kept).breakdowns(record, "sample")
    for answers in where.values():
        assert sum(of.rows for of in answers.values()) == record.counts["sample"].rows, "each utterance has one answer"
    assert list(check_answers(Records.read(kept))) == []


@pytest.mark.parametrize("fast", [True, False])
def test_the_precision_of_a_fine_tuned_encoder_is_the_machines(fast: bool, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("bases.load._has_fast_bf16", lambda: fast)
    run = BaselineRun("finetuned_MiniLM", "sample", "an encoder", "score", 61.5, make_predictions(), 90.0, "abc")
    keep_baseline(run, LABELS, "python code/baselines.py --dataset sample", tmp_path)
    (kept,) = Records.read(tmp_path).runs
    assert kept.precision == ("bfloat16" if fast else "float32")


def test_no_text_and_no_gold_label_is_kept(kept: Path) -> None:
    texts = {
        utterance.text
        for dialogue in load_dialogues("sample", find_original_data("sample"))["test"]
        for utterance in dialogue.utterances
    }
    files = [path for path in kept.rglob("*") if path.is_file()]
    contents = [gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes() for path in files]
    assert len(files) == 4 and not any(text.encode() in content for text in texts for content in contents)
    answers = gzip.decompress((kept / "predictions/baselines/words/sample/sample-seed_0.csv.gz").read_bytes()).decode()
    assert answers.splitlines()[0] == ",".join(["id", "answer", *LABELS])
    assert "-0.1235" in answers and "-0.123456" not in answers


def test_a_clone_without_the_corpora_checks_what_it_can(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ERC_ORIGINAL_DATA", str(tmp_path))
    done = call_script(reproduce.main, "--check")
    assert done.returncode == 0, done.stdout
    assert done.stdout.rstrip().endswith(" files of answers")
    assert done.stderr.startswith("not checked, as their pickles are not here: EmoryNLP, iemocap, meld; ")


def test_counts_that_the_answers_do_not_make_are_found(kept: Path) -> None:
    path = kept / "predictions/baselines/words/sample/sample-seed_0.csv.gz"
    lines = gzip.decompress(path.read_bytes()).decode().splitlines()
    first = lines[1].split(",")
    other = next(label for label in LABELS if label != first[1])
    lines[1] = ",".join([first[0], other, *first[2:]])
    path.write_bytes(gzip.compress("\n".join(lines).encode()))
    assert list(check_answers(Records.read(kept))) == [
        f"baselines/words/sample, sample, seed 0: the answers make other {what} than are committed"
        for what in ("counts", "counts by place")
    ]
    path.write_bytes(gzip.compress("\n".join(lines[:-1]).encode()))
    with pytest.raises(UserError, match="is not of the 116 utterances of sample's test"):
        list(check_answers(Records.read(kept)))
    path.write_bytes(b"no gzip")
    with pytest.raises(UserError, match="cannot be read"):
        read_answers(path)


def test_equal_answers_make_equal_bytes(kept: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    again = tmp_path_factory.mktemp("again")
    run = BaselineRun("words", "sample", "words and who said them", "generate", 61.5, make_predictions(), 90.0, "abc")
    keep_baseline(run, LABELS, "python code/baselines.py --dataset sample", again)
    for path in kept.rglob("*.csv*"):
        assert path.read_bytes() == (again / path.relative_to(kept)).read_bytes()


@pytest.mark.parametrize("question", ["turn position", "text"])
def test_counts_by_place_that_the_answers_do_not_make_are_found(kept: Path, question: str) -> None:
    """A line is taken away; which texts were trained on nobody can work out, so there the sum must be right."""
    path = kept / "runs/baselines/words/sample/sample-seed_0.where.csv.gz"
    lines = gzip.decompress(path.read_bytes()).decode().splitlines(keepends=True)
    first = next(number for number, line in enumerate(lines) if line.startswith(f"{question},"))
    path.write_bytes(gzip.compress("".join(lines[:first] + lines[first + 1 :]).encode()))
    assert list(check_answers(Records.read(kept))) == [
        "baselines/words/sample, sample, seed 0: the answers make other counts by place than are committed"
    ]


def test_own_answers_that_log_p_does_not_make_are_found(kept: Path) -> None:
    """Log p is rounded: labels that it leaves equal may both have been the answer, and nothing else may differ."""
    (baseline,), rows = Records.read(kept).runs, make_predictions()
    where = {"sample": Records.read(kept).breakdowns(baseline, "sample")}
    trained = {"emotion_recognition": 431}
    run = replace(baseline, condition="small/window/sample", decode="transitions", training_rows=trained)
    other = next(label for label in LABELS if label != rows[0].target)
    nearly = rows[0].scores | {other: rows[0].scores[rows[0].target] + 1e-6}
    rows[0] = replace(rows[0], scores=nearly)
    write_answers(kept / f"predictions/{run.condition}/sample-seed_0.csv.gz", rows, LABELS)
    for labels, wrong in (([other], 0), ([rows[0].target], 0), ([other, other], 1)):
        own = [replace(row, label=label) for row, label in zip(rows, labels, strict=False)]
        own += [replace(row, label=row.target) for row in rows[len(labels) :]]
        replace(run, without={"sample": Counts.of_predictions(own, LABELS)}).write(kept, where)
        found = list(check_answers(Records.read(kept)))
        assert len(found) == wrong and all("other counts without transitions than" in line for line in found)


def test_answers_on_valid_must_have_the_score_that_chose(kept: Path) -> None:
    (baseline,) = Records.read(kept).runs
    where = {"sample": Records.read(kept).breakdowns(baseline, "sample")}
    trained = {"emotion_recognition": 431}
    run = replace(baseline, condition="small/window/sample", training_rows=trained, valid_of={"sample": 100.0})
    run.write(kept, where)
    write_answers(answers_file(kept, run, "sample"), make_predictions(), LABELS)
    gold = gold_labels("sample", "valid", LABELS)
    right = [Prediction(name, "", label, label) for name, label in gold.items()]
    write_answers(valid_answers_file(kept, run, "sample"), right, LABELS)
    assert list(check_answers(Records.read(kept))) == []
    wrong = [replace(right[0], label=next(label for label in LABELS if label != right[0].target)), *right[1:]]
    write_answers(valid_answers_file(kept, run, "sample"), wrong, LABELS)
    assert list(check_answers(Records.read(kept))) == [
        "small/window/sample, sample, seed 0: the answers make other score on valid than are committed"
    ]
    write_answers(valid_answers_file(kept, run, "sample"), right[1:], LABELS)
    with pytest.raises(UserError, match="is not of the .* utterances of sample's valid"):
        list(check_answers(Records.read(kept)))


def test_answers_in_unified_words_are_counted_by_them(tmp_path: Path) -> None:
    own = gold_labels("sample", "test", LABELS)
    unified = gold_labels("sample", "test", UNIFIED_PROMPT_LABELS)
    assert {name: DATASETS["sample"].unified_labels[label] for name, label in own.items()} == unified
    words = DATASETS["sample"].unified_labels
    rows = [
        replace(row, target=words[row.target], label=row.label and words[row.label], scores=None)
        for row in make_predictions()
    ]
    write_answers(tmp_path / "answers.csv.gz", rows, UNIFIED_PROMPT_LABELS)
    path = tmp_path / "answers.csv.gz"
    found = recount(join_gold(path, "sample", "test", UNIFIED_PROMPT_LABELS), UNIFIED_PROMPT_LABELS)
    wanted = Counts.of_predictions(rows, UNIFIED_PROMPT_LABELS)
    assert found.is_paired_with(wanted) and (found.table == wanted.table).all()
    with pytest.raises(UserError, match="is not among the labels"):
        recount(join_gold(path, "sample", "test", LABELS), LABELS)


def test_log_p_that_does_not_make_the_answers_is_found(kept: Path) -> None:
    (run,), rows = Records.read(kept).runs, make_predictions()
    where = {"sample": Records.read(kept).breakdowns(run, "sample")}
    replace(run, decode="score").write(kept, where)
    assert list(check_answers(Records.read(kept))) == [
        "baselines/words/sample, sample, seed 0: the answers make other log p than are committed"
    ], "every fifth has no label"
    assert rows[4].label is None


def test_texts_that_were_trained_on_are_worked_out_anew(kept: Path) -> None:
    """What `moved` is said of is in the dialogue that it was in before, and its sums are the same."""
    path = kept / "runs/baselines/words/sample/sample-seed_0.where.csv.gz"
    lines = gzip.decompress(path.read_bytes()).decode().splitlines(keepends=True)
    moved = next(number for number, line in enumerate(lines) if line.startswith("text,not in train,"))
    lines[moved] = lines[moved].replace("not in train", "also in train")
    path.write_bytes(gzip.compress("".join(lines).encode()))
    assert list(check_answers(Records.read(kept))) == [
        "baselines/words/sample, sample, seed 0: the answers make other counts by place than are committed"
    ]


def test_a_record_without_its_counts_and_answers_without_a_record_are_told(kept: Path) -> None:
    folder = kept / "runs/baselines/words/sample"
    counts = (folder / "sample-seed_0.csv").read_text()
    (folder / "sample-seed_0.csv").unlink()
    with pytest.raises(UserError, match="its counts cannot be read"):
        Records.read(kept)
    (folder / "sample-seed_0.csv").write_text(counts.replace(",1\n", ",-1\n", 1))
    with pytest.raises(UserError, match="a count is not between 1 and"):
        Records.read(kept)
    (folder / "seed_0.json").unlink()
    assert list(check_answers(Records.read(kept))) == [
        "predictions/baselines/words/sample/sample-seed_0.csv.gz: answers of a run that has no record"
    ]


def test_a_row_that_is_answered_twice_is_refused(kept: Path) -> None:
    path = kept / "predictions/baselines/words/sample/sample-seed_0.csv.gz"
    lines = gzip.decompress(path.read_bytes()).decode().splitlines(keepends=True)
    path.write_bytes(gzip.compress("".join([*lines, lines[1]]).encode()))
    with pytest.raises(UserError, match="a row is answered twice"):
        list(check_answers(Records.read(kept)))
