"""code/predict.py with several inputs: one model, an output for each, stopped and gone on with, what is refused."""

import errno
import json
import os
import resource
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

import predict
from basics.locks import alone_at, lock_beside
from commands import assert_one_line_error, call_script
from dialogue_files.turns import SpokenTurn
from own_dialogues import prediction
from own_dialogues import recognizer as recognizer_module
from own_dialogues.prediction import Position
from own_dialogues.recognizer import CHUNK_TURNS, EmotionRecognizer
from own_dialogues.tasks import FileTask
from own_dialogues.writing import TurnEmotion
from tiny_models import LINES

TURNS = {"long": CHUNK_TURNS + 6, "short": 3, "more": 5}


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Files of dialogues in the current folder, one of them more than a chunk: their paths."""
    monkeypatch.chdir(tmp_path)
    Path("calls").mkdir()
    texts = list(LINES)
    for name, turns in TURNS.items():
        said = (f"{'Ann' if turn % 2 else 'Ben'}: {texts[(turn + len(name)) % 7]}\n" for turn in range(turns))
        Path("calls", f"{name}.txt").write_text("".join(said), encoding="utf-8")
    return [f"calls/{name}.txt" for name in TURNS]


def run(trained: Path, inputs: list[str], *flags: object) -> subprocess.CompletedProcess[str]:
    command = ["--checkpoint", trained / "run" / "model", "--precision", "fp32", "--input", *inputs, *flags]
    return call_script(predict.main, *command)


OUTPUT = ("--output", "out/{name}.jsonl")
RESUMED = (*OUTPUT, "--resume", "True")


def written() -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in Path("out").iterdir()}


@pytest.fixture
def whole(trained: Path, calls: list[str]) -> Iterator[dict[str, bytes]]:
    """What each input comes to by itself; out/ is then gone."""
    for path in calls:
        assert run(trained, [path], *OUTPUT).returncode == 0  # {name} stands for one name too
    found = written()
    assert sorted(found) == sorted(f"{name}.jsonl" for name in TURNS)
    for name in found:
        Path("out", name).unlink()
    return found


def stop_when(monkeypatch: pytest.MonkeyPatch, owner: object, name: str, calls: int) -> None:
    """Ctrl-C instead of the call after so many."""
    real, left = getattr(owner, name), iter(range(calls))

    def called(*arguments):
        if next(left, None) is None:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(owner, name, called)


def test_many_files_by_one_model_come_to_what_each_comes_to(
    trained: Path, calls: list[str], whole: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    load, loaded = EmotionRecognizer.from_pretrained, []
    monkeypatch.setattr(EmotionRecognizer, "from_pretrained", lambda *how: loaded.append(1) or load(*how))
    Path(calls[1]).write_text(f"{Path(calls[1]).read_text()}\n({'x' * 9})\nAnn:\n")
    result = run(trained, calls[:1], "--input", *calls[1:], *OUTPUT)
    assert result.returncode == 0, result.stderr
    assert (written(), loaded, result.stdout) == (whole, [1], "")
    lines = result.stderr.splitlines()
    assert lines[0].startswith("calls/short.txt: left out: ") and "calls/long" not in lines[0]
    assert lines[-1].startswith(f"3 files, {sum(TURNS.values())} utterances, 3 dialogues, labels of EmoryNLP, by ")
    assert lines[-1].endswith(" -> out/{name}.jsonl")


def test_printed_each_stands_below_its_name(trained: Path, calls: list[str]) -> None:
    alone = [run(trained, [path]).stdout for path in calls[1:]]
    result = run(trained, calls[1:])
    assert result.returncode == 0, result.stderr
    assert result.stdout == f"file calls/short.txt\n{alone[0]}\nfile calls/more.txt\n{alone[1]}"
    for form in ("jsonl", "csv"):
        assert_one_line_error(run(trained, calls, "--format", form), f"--format {form}: rows of 3 inputs", "{name}")


def test_the_preview_tells_the_file_of_each_turn(calls: list[str]) -> None:
    result = call_script(predict.main, "--input", *calls[1:], "--preview", "True")
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert [row["input_file"] for row in rows] == [calls[1]] * 3 + [calls[2]] * 5
    assert result.stderr.splitlines()[0] == "calls/short.txt: 3 utterances, 1 dialogue"
    assert result.stderr.splitlines()[3] == "calls/more.txt: 5 utterances, 1 dialogue"
    alone = call_script(predict.main, "--input", calls[1], "--preview", "True")
    assert [json.loads(line) for line in alone.stdout.splitlines()] == [
        {key: value for key, value in row.items() if key != "input_file"} for row in rows[:3]
    ]


def test_stopped_anywhere_it_goes_on_with_what_is_left(
    trained: Path, calls: list[str], whole: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("out/short.jsonl").write_text("of an earlier run")
    stops = [(recognizer_module, "predict_labels", chunks) for chunks in (1, 0, 1)]  # begun, and in the second file
    stops += [(prediction, "replace_durably", 0), (recognizer_module, "predict_labels", 0)]  # which has all its answers
    whole_state, first = Path("out/long.jsonl.part.json"), None
    for number, (owner, name, times) in enumerate(stops):
        with monkeypatch.context() as patched:
            stop_when(patched, owner, name, times)
            result = run(trained, calls, *(RESUMED if number else OUTPUT))
        assert result.returncode == 130 and "--resume True goes on" in result.stderr, result.stderr
        if number >= 2:
            first = first or Path("out/long.jsonl").stat()
            assert whole_state.exists() and written()["long.jsonl"] == whole["long.jsonl"]
    Path("out/.long.jsonl.lock").touch()  # killed when this one was whole, before it gave its lock back
    result = run(trained, calls, *RESUMED)
    assert result.returncode == 0, result.stderr
    assert written() == whole
    left = Path("out/long.jsonl").stat()
    assert (left.st_ino, left.st_mtime_ns) == (first.st_ino, first.st_mtime_ns)


def stopped_in_the_last(trained: Path, calls: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A run of which the first two outputs are whole."""
    with monkeypatch.context() as patched:
        stop_when(patched, recognizer_module, "predict_labels", 3)
        assert run(trained, calls, *OUTPUT).returncode == 130
    assert sorted(name for name in written() if not name.endswith(".json")) == [
        "long.jsonl",
        "more.jsonl.part",
        "short.jsonl",
    ]


def test_what_is_not_as_it_was_is_answered_anew_and_settings_have_to_be_the_same(
    trained: Path, calls: list[str], whole: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped_in_the_last(trained, calls, monkeypatch)
    refused = run(trained, calls, *RESUMED, "--encoding", "cp1252")
    assert refused.returncode == 2
    assert refused.stderr.endswith(
        "cannot go on with out/long.jsonl: encoding is another; use the same, or --resume False\n"
    )
    Path("out/long.jsonl").write_text("by somebody else")
    with Path(calls[1]).open("a") as stream:
        stream.write("Ann: Run!\n")
    result = run(trained, calls, *RESUMED)
    assert result.returncode == 0, result.stderr
    assert written() | {"short.jsonl": whole["short.jsonl"]} == whole
    assert written()["short.jsonl"].count(b"\n") == TURNS["short"] + 1


def test_an_input_that_changes_while_its_answers_grow_is_answered_anew(
    trained: Path, calls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        stop_when(patched, recognizer_module, "predict_labels", 1)
        assert run(trained, calls, *OUTPUT).returncode == 130
    assert "long.jsonl.part.json" in written()
    with Path(calls[0]).open("a") as stream:
        stream.write("Ann: Run!\n")
    assert run(trained, calls, *RESUMED).returncode == 0
    assert written()["long.jsonl"].count(b"\n") == TURNS["long"] + 1
    assert sorted(written()) == sorted(f"{name}.jsonl" for name in TURNS)


def test_a_run_from_the_beginning_forgets_the_one_before(
    trained: Path, calls: list[str], whole: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else what another encoding, or another checkpoint, has made would be refused when this one is resumed."""
    turned = [*calls[1:], calls[0]]
    with monkeypatch.context() as patched:
        stop_when(patched, recognizer_module, "predict_labels", 3)
        assert run(trained, turned, *OUTPUT, "--encoding", "cp1252").returncode == 130
    assert {"short.jsonl", "short.jsonl.part.json", "long.jsonl.part.json"} <= set(written())
    with monkeypatch.context() as patched:
        stop_when(patched, recognizer_module, "predict_labels", 0)
        assert run(trained, turned, *OUTPUT).returncode == 130
    result = run(trained, turned, *RESUMED)
    assert result.returncode == 0 and written() == whole, result.stderr


@pytest.mark.parametrize("left", [slice(2, 3), slice(1, 3)])
def test_a_run_of_some_inputs_leaves_what_is_known_of_the_others(
    trained: Path, calls: list[str], whole: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, left: slice
) -> None:
    stopped_in_the_last(trained, calls, monkeypatch)
    first = Path("out/long.jsonl").stat()
    assert run(trained, calls[left], *RESUMED).returncode == 0
    assert run(trained, calls, *RESUMED).returncode == 0
    again = Path("out/long.jsonl").stat()
    assert (again.st_ino, again.st_mtime_ns) == (first.st_ino, first.st_mtime_ns)
    assert written() == whole


def test_of_two_into_the_same_file_the_second_is_refused(trained: Path, calls: list[str]) -> None:
    Path("out").mkdir()
    with alone_at(lock_beside(Path("out/more.jsonl")), "it"):
        result = run(trained, calls, *OUTPUT)
    assert_one_line_error(result, "another program is writing --output out/more.jsonl")
    assert written() == {}


def test_what_another_program_has_begun_meanwhile_stays(
    trained: Path, calls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("out").mkdir()
    state, find_starts = Path("out/more.jsonl.part.json"), prediction.FileRun.find_starts

    def begin(asked: prediction.FileRun) -> int:
        found = find_starts(asked)
        holding.enter_context(alone_at(lock_beside(Path("out/more.jsonl")), "it"))
        state.write_text("of another")
        return found

    monkeypatch.setattr(prediction.FileRun, "find_starts", begin)
    with ExitStack() as holding:
        result = run(trained, calls, *OUTPUT)
    assert result.returncode == 2 and "another program is writing --output out/more.jsonl" in result.stderr
    assert state.read_text() == "of another"


def test_of_one_file_the_output_is_held_while_the_model_is_loaded(
    trained: Path, calls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    load, beside = EmotionRecognizer.from_pretrained, []

    def load_beside(*asked):
        if not beside:
            beside.append(None)
            beside[0] = run(trained, calls[1:2], *OUTPUT)
        return load(*asked)

    monkeypatch.setattr(EmotionRecognizer, "from_pretrained", load_beside)
    assert run(trained, calls[1:2], *OUTPUT).returncode == 0
    assert_one_line_error(beside[0], "another program is writing --output out/short.jsonl")


def test_two_whose_inputs_are_others_run_side_by_side(
    trained: Path, calls: list[str], whole: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("calls/other.txt").write_text("Ann: Run!\n")
    answer, beside = prediction.predict_file, []

    def answer_beside(*asked):
        if not beside:
            beside.append(None)
            beside[0] = run(trained, calls[1:], *OUTPUT)
        return answer(*asked)

    monkeypatch.setattr(prediction, "predict_file", answer_beside)
    result = run(trained, [calls[0], "calls/other.txt"], *OUTPUT)
    assert (result.returncode, beside[0].returncode) == (0, 0), result.stderr + beside[0].stderr
    other = written().pop("other.jsonl")
    assert written() == whole | {"other.jsonl": other}


def test_every_input_that_cannot_be_read_is_told_and_nothing_is_written(trained: Path, calls: list[str]) -> None:
    Path("calls/bad.txt").write_text("Ann: a\nnobody\n")
    Path("calls/doubtful.txt").write_text("Ann: a\nAnn:\n")
    inputs = [*calls, "calls/doubtful.txt", "calls/bad.txt", "calls/none.txt", "calls", f"{'x' * 300}.txt"]
    told = ("bad.txt, read as text, line 2", "none.txt: cannot be read", "calls is a folder", "name too long")
    assert_one_line_error(run(trained, inputs, *OUTPUT), *told)
    assert not Path("out").exists()


def test_outputs_that_cannot_be_told_apart_or_written_are_refused(trained: Path, calls: list[str]) -> None:
    Path("other").mkdir()
    for name in ("long.vtt", "short.part.txt", "{name}.txt", "a.txt", "b.jsonl"):
        Path("other", name).write_text("Ann: a\n")
    os.mkfifo("other/short.jsonl")
    for name in ("more.csv", "short.csv"):
        Path("other", name).symlink_to("all.csv")
    Path("other/more.txt").symlink_to("a.txt/more.txt")
    cases = [
        (calls, "out/all.jsonl", "of 3 inputs each needs a file of its own", "emotions/{name}.jsonl"),
        (calls, "{name}/{name}.jsonl", "not in that of a folder"),
        (calls[:1], "{name}/all.jsonl", "not in that of a folder"),
        ([*calls, "other/long.vtt"], "out/{name}.jsonl", "out/long.jsonl would be written for calls/long.txt and for"),
        ([calls[0], calls[0]], "out/{name}.jsonl", "for calls/long.txt and for calls/long.txt"),
        ([*calls, "other/short.part.txt"], "out/{name}", "out/short.part would be written for calls/short.txt and"),
        (calls, "calls/{name}.txt", "replace the input calls/long.txt", "replace the input calls/more.txt"),
        (["other/a.txt", "other/b.jsonl", calls[1]], "other/{name}.jsonl", "replace the input other/b.jsonl"),
        (["other/b.jsonl", calls[1], "calls/long.txt"], "calls/{name}.txt", "replace the input calls/short.txt"),
        (calls, "other/{name}.jsonl", "--output other/short.jsonl is a pipe or a device, allowed is a file"),
        (calls, "other/{name}.txt", "other/a.txt/more.txt cannot be written ("),
        (calls, "other/{name}.csv", "other/all.csv would be written for calls/short.txt and for calls/more.txt"),
    ]
    for inputs, output, *parts in cases:
        form = ("--input_format", "text", "--format", "jsonl")
        assert_one_line_error(run(trained, inputs, "--output", output, *form), *parts)
    assert not Path("out").exists()


def test_a_warning_of_speakers_names_its_file(trained: Path, calls: list[str]) -> None:
    Path(calls[1]).write_text("".join(f"person {number}: Run!\n" for number in range(11)))
    result = run(trained, calls[1:])
    assert result.returncode == 0
    warned = [line for line in result.stderr.splitlines() if "training knew 9 at most" in line]
    assert len(warned) == 1 and warned[0].startswith("calls/short.txt: warning: a dialogue has 11 speakers")


def test_an_output_may_be_a_link_which_stays(trained: Path, calls: list[str]) -> None:
    Path("out").mkdir()
    Path("short.jsonl").write_text("of an earlier run")
    Path("out/short.jsonl").symlink_to("../short.jsonl")
    assert run(trained, calls[1:2], *OUTPUT).returncode == 0
    assert Path("out/short.jsonl").is_symlink() and len(Path("short.jsonl").read_bytes().splitlines()) == TURNS["short"]


@pytest.fixture
def room() -> Iterator[int]:
    """Bytes that a file may have; what goes beyond them is refused as by a full disk."""
    limits, room = resource.getrlimit(resource.RLIMIT_FSIZE), 100
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, limits[1]))
    yield room
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.parametrize("is_begun", [False, True])
def test_whatever_a_disk_refuses_of_a_growing_file_names_it(room: int, is_begun: bool, tmp_path: Path) -> None:
    """Also what is tried once more when the file is closed, and finding the place to go on from."""
    task = FileTask(tmp_path / "own.txt", "text", tmp_path / "emotions.jsonl", "jsonl")
    start = Position(1, 2 * room) if is_begun else Position()
    row = TurnEmotion(SpokenTurn(0, "1", 0, "Ann", 0, "Run!"), "joyful", 1.0, {"joyful": 1.0})
    with pytest.raises(OSError) as caught, prediction._writer(task, ("joyful",), start, {}) as write:
        write([row] * 3, Position(3))
    assert (caught.value.errno, caught.value.filename) == (errno.EFBIG, str(task.part))
