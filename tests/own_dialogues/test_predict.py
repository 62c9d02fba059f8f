"""code/predict.py: what it prints and writes, stopped and gone on with, and every refusal in one line."""

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import main_new
import predict
from basics.files import write_atomically
from basics.locks import alone_at, lock_beside
from commands import REPOSITORY, assert_one_line_error, call_script
from dialogue_files.reading import count_turns
from own_dialogues import prediction
from own_dialogues import recognizer as recognizer_module
from own_dialogues.demonstrations import DemonstrationSource
from own_dialogues.prediction import fingerprint, fingerprint_model
from own_dialogues.tasks import FileTask
from tiny_models import DATASET, LABELS, LINES, main_command

DIALOGUES = 40
TURNS = 4 * DIALOGUES  # more than two chunks


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of dialogues of four turns each."""
    texts = list(LINES)
    path = tmp_path_factory.mktemp("source") / "own.txt"
    dialogues = (
        "".join(f"{'Ann' if turn % 2 else 'Ben'}: {texts[(number + 3 * turn) % 7]}\n" for turn in range(4))
        for number in range(DIALOGUES)
    )
    path.write_text("\n".join(dialogues), encoding="utf-8")
    return path


def run(trained: Path, source: Path, *flags: object) -> subprocess.CompletedProcess[str]:
    command = ["--checkpoint", trained / "run" / "model", "--input", source, "--precision", "fp32", *flags]
    return call_script(predict.main, *command)


def test_the_table_is_for_reading(trained: Path, source: Path) -> None:
    result = run(trained, source)
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0] == "dialogue 1" and lines[5:7] == ["", "dialogue 2"]
    assert len(lines) == TURNS + 2 * DIALOGUES - 1
    turn, name, emotion, probability, text = lines[1].split(maxsplit=4)
    assert (turn, name, text) == ("0", "Ben", "Great!") and emotion in LABELS and 0 < float(probability) <= 1
    assert result.stderr.splitlines()[-1].startswith(f"{TURNS} utterances, {DIALOGUES} dialogues, labels of EmoryNLP")


@pytest.mark.slow
def test_the_command_of_the_readme_runs_with_the_shipped_adapter(
    shipped_adapter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(REPOSITORY)
    result = call_script(predict.main, "--input", "demo/dialogue.txt")
    assert result.returncode == 0, result.stderr
    rows = [line.split(maxsplit=4) for line in result.stdout.splitlines() if line.startswith(" ")]
    written = (REPOSITORY / "demo" / "dialogue.txt").read_text(encoding="utf-8").splitlines()
    turns = [line.split(": ", 1) for line in written if line]
    assert [[name, text] for _, name, _, _, text in rows] == turns and len(turns) == 17
    emotions = {text: emotion for _, _, emotion, _, text in rows}
    assert emotions["Everything is fine! It says that everything is fine!"] == "joyful"
    assert emotions["Are you ready to order?"] == "neutral"
    assert result.stderr.splitlines()[-1].endswith("labels of sample, by demo/adapter")


def test_files_are_written_whole_in_the_form_that_their_name_says(trained: Path, source: Path, tmp_path: Path) -> None:
    for name in ("new/emotions.jsonl", "emotions.csv", "emotions.txt"):
        result = run(trained, source, "--output", tmp_path / name)
        assert (result.returncode, result.stdout) == (0, ""), result.stderr
    objects = [json.loads(line) for line in (tmp_path / "new/emotions.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [(one["dialogue"], one["turn"]) for one in objects[3:5]] == [("1", 3), ("2", 0)]
    assert len(objects) == TURNS
    assert all(sum(one["probabilities"].values()) == pytest.approx(1, abs=1e-5) for one in objects)
    with (tmp_path / "emotions.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["emotion"] for row in rows] == [one["emotion"] for one in objects]
    # An empty line stands before each dialogue: by its line a turn is found again in the input.
    said = source.read_text(encoding="utf-8").splitlines()
    assert [said[one["input_line"] - 1] for one in objects] == [f"{one['speaker']}: {one['text']}" for one in objects]
    assert [row["input_line"] for row in rows] == [str(one["input_line"]) for one in objects]
    assert (tmp_path / "emotions.txt").read_text(encoding="utf-8").startswith("dialogue 1\n")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["emotions.csv", "emotions.txt", "new"]
    # What it writes it reads.
    again = run(trained, tmp_path / "new/emotions.jsonl")
    assert again.stdout == (tmp_path / "emotions.txt").read_text(encoding="utf-8")


def stop_after(monkeypatch: pytest.MonkeyPatch, chunks: int) -> None:
    """Ctrl-C when the next chunk is about to be scored."""
    score, left = recognizer_module.predict_labels, iter(range(chunks))

    def scored(*arguments):
        if next(left, None) is None:
            raise KeyboardInterrupt
        return score(*arguments)

    monkeypatch.setattr(recognizer_module, "predict_labels", scored)


@pytest.mark.parametrize("name", ["emotions.csv", "emotions.jsonl", "emotions.table"])
def test_stopped_and_gone_on_with_gives_the_same_bytes(
    trained: Path, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    output, part = tmp_path / name, tmp_path / f"{name}.part"
    assert run(trained, source, "--output", output).returncode == 0
    whole = output.read_bytes()
    output.write_text("of an earlier run")
    for chunks in (0, 1, 1):
        with monkeypatch.context() as patched:
            stop_after(patched, chunks)
            result = run(trained, source, "--output", output, "--resume", "True")
        assert result.returncode == 130
        assert output.read_text() == "of an earlier run"  # the file is whole or not touched
        assert whole.startswith(part.read_bytes())
    # Killed while it wrote: what no state tells of is written again.
    with part.open("ab") as stream:
        stream.write(b"half a li")
    last = run(trained, source, "--output", output, "--resume", "True")
    assert last.returncode == 0 and output.read_bytes() == whole
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_one_killed_between_its_last_two_steps_is_gone_on_with(
    trained: Path, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The output has its name, and the state of its growing is still there."""
    output, state = tmp_path / "emotions.jsonl", tmp_path / "emotions.jsonl.part.json"
    unlink = Path.unlink
    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", lambda path, **how: None if path == state else unlink(path, **how))
        assert run(trained, source, "--output", output).returncode == 0
    whole = output.read_bytes()
    assert state.exists()
    result = run(trained, source, "--output", output, "--resume", "True")
    assert result.returncode == 0, result.stderr
    assert output.read_bytes() == whole and [path.name for path in tmp_path.iterdir()] == [output.name]


def test_of_two_into_one_file_the_second_is_refused(trained: Path, source: Path, tmp_path: Path) -> None:
    output = tmp_path / "emotions.jsonl"
    with alone_at(lock_beside(output), "it"):
        result = run(trained, source, "--output", output)
    assert_one_line_error(result, f"another program is writing --output {output}")
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_gone_on_with_that_came_from_something_else(
    trained: Path, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output, changed = tmp_path / "emotions.csv", tmp_path / "own.txt"
    changed.write_bytes(source.read_bytes())
    with monkeypatch.context() as patched:
        stop_after(patched, 1)
        run(trained, changed, "--output", output)
    changed.write_text(changed.read_text() + "Ann: Run!\n")
    result = run(trained, changed, "--output", output, "--resume", "True")
    assert_one_line_error(result, "input is another", "--resume False")
    with monkeypatch.context() as patched:
        patched.setattr(prediction, "COLUMNS", ("text",))  # as another version has written them
        result = run(trained, changed, "--output", output, "--resume", "True")
    assert_one_line_error(result, "output format is another", "--resume False")
    state = tmp_path / "emotions.csv.part.json"
    there = json.loads(state.read_text())
    for other in ([], there | {"marks": []}, there | {"position": {"turns": "1", "bytes": 0}}, {"position": {}}, "{"):
        state.write_text(other if isinstance(other, str) else json.dumps(other))
        told = run(trained, changed, "--output", output, "--resume", "True")
        assert_one_line_error(told, "not what this program wrote")
    assert run(trained, changed, "--output", output).returncode == 0
    assert len(output.read_text(encoding="utf-8").splitlines()) == TURNS + 2


def test_the_base_and_the_demonstrations_decide_too(trained: Path, source: Path, tmp_path: Path) -> None:
    model = Path(shutil.copytree(trained / "run" / "model", tmp_path / "model"))
    base = Path(shutil.copytree(trained / "base", tmp_path / "base"))
    pickles = Path(shutil.copytree(trained / "original", tmp_path / "original"))
    adapter = json.loads((model / "adapter_config.json").read_text())
    (model / "adapter_config.json").write_text(json.dumps(adapter | {"base_model_name_or_path": str(base)}))
    task = FileTask(source, "text", tmp_path / "emotions.csv", "csv")

    def marks(count: int | None) -> dict[str, object]:
        place = torch.device("cpu"), torch.float32
        return fingerprint(task, fingerprint_model(model, place, DemonstrationSource(count, original_data=pickles)))

    without, before = marks(None), marks(1)
    decisive = {base / "config.json": "base", pickles / "EmoryNLP" / "EmoryNLP.pkl": "demonstrations"}
    for changed, expected in decisive.items():
        with changed.open("ab") as stream:
            stream.write(b"\n")
        after = marks(1)
        assert [name for name in after if after[name] != before[name]] == [expected]
        before = after
    assert marks(None)["demonstrations"] == without["demonstrations"]


def test_the_weights_decide_by_their_content(trained: Path, source: Path, tmp_path: Path, monkeypatch) -> None:
    """Trained anew with another seed, a model has files of the same names and sizes."""
    models = []
    rows = trained / "data" / DATASET / "window_2"
    for seed in (42, 43):
        flags = main_command(trained / "base", rows, tmp_path / str(seed), lora=False, seed=seed, num_train_epochs=1)
        assert call_script(main_new.main, *flags, "--do_eval", "False").returncode == 0
        models.append(tmp_path / str(seed) / "model")
    sizes = [{path.name: path.stat().st_size for path in model.iterdir() if path.suffix != ".md"} for model in models]
    assert sizes[0] == sizes[1]
    output, place = tmp_path / "emotions.csv", tmp_path / "model"
    shutil.copytree(models[0], place)
    flags = ("--input", source, "--checkpoint", place, "--precision", "fp32", "--output", output, "--resume", "True")
    with monkeypatch.context() as patched:
        stop_after(patched, 1)
        assert call_script(predict.main, *flags).returncode == 130
    shutil.rmtree(place)
    shutil.copytree(models[1], place)
    assert_one_line_error(call_script(predict.main, *flags), "checkpoint is another", "--resume False")


@pytest.mark.parametrize("file", ["adapter_config.json", "tokenizer.json"])
def test_what_lies_beside_the_weights_decides_too(
    trained: Path, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str
) -> None:
    """Of a checkpoint whose erc_config.json does not tell of these files, as of version 2."""
    output, place = tmp_path / "emotions.csv", Path(shutil.copytree(trained / "run" / "model", tmp_path / "model"))
    config = json.loads((place / "erc_config.json").read_text(encoding="utf-8")) | {"version": 2, "files_sha256": None}
    (place / "erc_config.json").write_text(json.dumps(config), encoding="utf-8")
    flags = ("--input", source, "--checkpoint", place, "--precision", "fp32", "--output", output, "--resume", "True")
    with monkeypatch.context() as patched:
        stop_after(patched, 1)
        assert call_script(predict.main, *flags).returncode == 130
    text = (place / file).read_text(encoding="utf-8")
    changed = text.replace('"lora_alpha": 16', '"lora_alpha": 32') if "lora_alpha" in text else f"{text}\n"
    assert changed != text
    (place / file).write_text(changed, encoding="utf-8")
    assert_one_line_error(call_script(predict.main, *flags), "checkpoint is another", "--resume False")
    (place / file).write_text(text, encoding="utf-8")
    assert call_script(predict.main, *flags).returncode == 0


def test_what_can_be_read_only_once_is_refused(trained: Path, tmp_path: Path) -> None:
    empty, fifo = Path(os.devnull), tmp_path / "own.txt"
    os.mkfifo(fifo)
    for path in (empty, fifo):
        result = run(trained, path, "--input_format", "text")
        assert_one_line_error(result, str(path), "no regular file", "write it to a file first")


@pytest.mark.parametrize("change", [lambda text: text + "Ann: Run!\n", lambda text: text.rpartition("\n\n")[0]])
def test_a_file_that_changes_while_it_is_read_is_told(
    trained: Path, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change
) -> None:
    changed, output = tmp_path / "own.txt", tmp_path / "emotions.csv"
    changed.write_bytes(source.read_bytes())

    def count_then_change(*asked):
        counts = count_turns(*asked)
        changed.write_text(change(changed.read_text()))
        return counts

    monkeypatch.setattr(predict, "count_turns", count_then_change)
    result = run(trained, changed, "--output", output)
    assert result.returncode == 2 and not output.exists()
    assert f"error: {changed} was changed while it was read ({TURNS} turns when" in result.stderr.splitlines()[-1]


def test_a_file_that_is_replaced_by_one_of_as_many_turns_is_told(
    trained: Path, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed, output = tmp_path / "own.txt", tmp_path / "emotions.csv"
    changed.write_bytes(source.read_bytes())
    answer = prediction.predict_file

    def replace_and_answer(*asked):
        write_atomically(changed, changed.read_text().replace("Run", "Walk"))
        return answer(*asked)

    monkeypatch.setattr(prediction, "predict_file", replace_and_answer)
    result = run(trained, changed, "--output", output)
    assert result.returncode == 2 and not output.exists()
    assert result.stderr.splitlines()[-1] == f"error: {changed} was changed while it was read: run it again"


def test_a_file_that_is_taken_away_once_it_is_read_is_answered(
    trained: Path, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was read was of the file that was open."""
    gone, output = tmp_path / "own.txt", tmp_path / "emotions.csv"
    gone.write_bytes(source.read_bytes())
    predict_turns = recognizer_module.EmotionRecognizer.predict_turns

    def predict_and_remove(*asked, **options):
        yield from predict_turns(*asked, **options)
        gone.unlink()

    monkeypatch.setattr(recognizer_module.EmotionRecognizer, "predict_turns", predict_and_remove)
    assert run(trained, gone, "--output", output).returncode == 0
    assert len(output.read_text().splitlines()) == 1 + TURNS


def test_many_speakers_and_long_utterances_are_told(trained: Path, tmp_path: Path) -> None:
    path = tmp_path / "crowd.txt"
    path.write_text("".join(f"person {number}: Run!\n" for number in range(11)) + f"person 0: {'word ' * 500}\n")
    result = run(trained, path)
    assert "a dialogue has 11 speakers, training knew 9 at most" in result.stderr
    assert "too long for the prompt and cut at their end: 1 utterance" in result.stderr.splitlines()[-1]


def test_what_cannot_be_is_one_line(trained: Path, source: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.txt"
    bad.write_text("Ann: a\nnobody\n")
    (tmp_path / "file").touch()
    cases = [
        ((bad,), (str(bad), "line 2")),
        ((tmp_path / "none.txt",), ("none.txt", "cannot be read")),
        ((tmp_path / "own.log",), ("--input_format", ".vtt")),
        ((source, "--resume", "True"), ("--output",)),
        ((source, "--format", "xml"), ("--format", "table, jsonl, csv")),
        ((tmp_path,), ("is a folder, allowed is a file",)),
        ((source, "--output", tmp_path), ("is a folder",)),
        ((source, "--output", tmp_path / "own.xlsx"), ("own.xlsx", ".jsonl, .csv and .txt, or --format")),
        ((source, "--output", source), ("would replace the input",)),
        ((source, "--output", tmp_path / "file" / "x.csv"), ("cannot be written",)),
        ((source, "--device", "nonsense"), ("device 'nonsense'",)),
        ((source, "--demonstrations", "1", "--original_data", tmp_path), ("no pickle of EmoryNLP",)),
    ]
    for flags, parts in cases:
        assert_one_line_error(run(trained, *flags), *parts)
    assert_one_line_error(call_script(predict.main, "--input", source, "--checkpoint", tmp_path), "no adapter")


def test_a_reader_who_has_had_enough_ends_it_quietly(trained: Path, source: Path) -> None:
    command = [sys.executable, REPOSITORY / "code/predict.py", "--input", source, "--checkpoint", trained / "run/model"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment) as process:
        process.stdout.close()
        told = process.stderr.read().decode()
    assert process.returncode == 141 and "Traceback" not in told and "Broken pipe" not in told, told


def test_a_file_is_judged_in_the_encoding_that_is_said(
    trained: Path, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, output = tmp_path / "own.txt", tmp_path / "emotions.jsonl"
    path.write_bytes(source.read_text(encoding="utf-8").replace("Ann", "Łucja").encode("cp1250"))
    flags = ("--output", output, "--resume", "True")
    with monkeypatch.context() as patched:
        stop_after(patched, 1)
        assert run(trained, path, *flags, "--encoding", "cp1250").returncode == 130
    refused = run(trained, path, *flags, "--encoding", "cp1252")
    assert refused.returncode == 2 and "encoding is another; use" in refused.stderr.splitlines()[-1]
    assert run(trained, path, *flags, "--encoding", "cp1250").returncode == 0
    speakers = {json.loads(line)["speaker"] for line in output.read_text(encoding="utf-8").splitlines()}
    assert speakers == {"Ben", "Łucja"}
