"""The data_process commands as a user types them: one folder on stdout, faults in one line."""

import os
import pickle
import resource
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

import data_process
import data_process_plain
from bases import encoder as sentence_encoder
from commands import assert_one_line_error, call_script
from corpora import LetterCounts, small_corpus
from data_utils.row_files import read_manifest, read_rows

Run = Callable[..., subprocess.CompletedProcess[str]]
UNCHECKED = ("--check_counts", "False")


@pytest.fixture
def command(write_corpus: Callable[..., Path], tmp_path: Path) -> Callable[..., list[Any]]:
    """The flags that write the rows of a corpus (default: the small one) into tmp_path/data, and further ones."""

    def flags(*further: Any, corpus: Any = None) -> list[Any]:
        folder = write_corpus(small_corpus() if corpus is None else corpus)
        return ["--dataset", "EmoryNLP", "--original_data", folder, "--data", tmp_path / "data", *further]

    return flags


@pytest.fixture
def process(command: Callable[..., list[Any]]) -> Run:
    """Run data_process.py, or another main, with them."""

    def run(*further: Any, corpus: Any = None, main: Callable[[], None] = data_process.main) -> Any:
        return call_script(main, *command(*further, corpus=corpus))

    return run


def after_warning(result: CompletedProcess[str]) -> CompletedProcess[str]:
    """The same without its first line, which says that the pickle is not the published one."""
    first, _, rest = result.stderr.partition("\n")
    assert first.startswith("warning: ") and "is not the published file of EmoryNLP" in first
    return CompletedProcess(result.args, result.returncode, result.stdout, rest)


def test_stdout_is_the_folder_and_nothing_else(process: Run, tmp_path: Path) -> None:
    result = process(*UNCHECKED)
    assert (result.returncode, result.stdout) == (0, f"{tmp_path}/data/EmoryNLP/window\n")
    assert after_warning(result).stderr.count("\n") == 1 and "train 3 emotion_recognition" in result.stderr
    assert len(read_rows(tmp_path / "data" / "EmoryNLP" / "window" / "train.json")) == 3


@pytest.mark.parametrize("speaker_task", ["True", "True_mixed"])
def test_speaker_folder_comes_first(process: Run, tmp_path: Path, speaker_task: str) -> None:
    flags = ("--speaker_task", speaker_task, "--historical_window", 5, "--emotion_prediction", "True")
    result = process(*UNCHECKED, *flags)
    speaker, main = result.stdout.removesuffix("\n").split(",")
    assert (speaker, main) == (f"{tmp_path}/data/EmoryNLP/speaker", f"{tmp_path}/data/EmoryNLP/predict_5")
    assert read_manifest(Path(speaker))["counts"]["test"] == {"speaker_identification": 2}
    assert read_manifest(Path(main))["counts"] == {
        "train": {"emotion_recognition": 3, "emotion_prediction": 3},
        "valid": {"emotion_recognition": 2},
        "test": {"emotion_recognition": 2},
    }


def test_plain_rows(process: Run, tmp_path: Path) -> None:
    result = process(*UNCHECKED, main=data_process_plain.main)
    assert result.stdout == f"{tmp_path}/data/EmoryNLP/plain\n"
    (row, _) = read_rows(tmp_path / "data" / "EmoryNLP" / "plain" / "test.json")
    assert row.input.startswith("Please select the emotional label of <Oh.> from <Joyful, ")


def test_relative_folders_are_printed_absolute(process: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = process(*UNCHECKED, "--data", "here")
    assert result.stdout == f"{tmp_path}/here/EmoryNLP/window\n"


def test_the_environment_variable_names_the_pickles(
    write_corpus: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ERC_ORIGINAL_DATA", str(write_corpus(small_corpus())))
    monkeypatch.chdir(tmp_path)
    result = call_script(data_process.main, "--dataset", "EmoryNLP", *UNCHECKED, "--data", tmp_path / "data")
    assert result.returncode == 0, result.stderr


# Faults, each one line and exit code 2, nothing written


class _Hostile:
    """Touches a file when it is unpickled by an ordinary loader."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return os.system, (f"touch '{self.mark}'",)


def changed(slot: int, turn: int, value: Any) -> list[Any]:
    corpus = small_corpus()
    corpus[slot]["a"][turn] = value
    return corpus


BAD_CORPORA = {
    "truncated": (pickle.dumps(small_corpus())[:-30], "truncated or corrupt"),
    "slots": (small_corpus()[:5], "holds 5 places"),
    "label": (
        changed(1, 2, 7),
        "dialogue 'a' (train) turn 2: label index 7 is out of range, allowed are 0 to 6",
    ),
    "lengths": (
        [*small_corpus()[:2], {"a": ["x"], "b": ["y"], "c": ["z"]}, ["a"], ["b"], ["c"]],
        "1 sentences",
    ),
    "empty": (changed(2, 0, ""), "dialogue 'a' (train) turn 0: utterance '' is empty"),
    "newline": (changed(2, 0, "\n"), "dialogue 'a' (train) turn 0: utterance"),
    "speaker": (changed(0, 1, "M"), "speaker 'M' is not understood"),
    "stranger": ([*small_corpus()[:3], ["a"], ["b"], ["d"]], "dialogue 'd' (valid): is in the list"),
    "twice": ([*small_corpus()[:3], ["a"], ["b"], ["b"]], "dialogue 'b' is listed in valid and in test"),
}


@pytest.mark.parametrize("name", BAD_CORPORA)
def test_bad_corpora(process: Run, tmp_path: Path, name: str) -> None:
    corpus, expected = BAD_CORPORA[name]
    assert_one_line_error(process(*UNCHECKED, corpus=corpus), "EmoryNLP.pkl", expected, "allowed")
    assert not (tmp_path / "data").exists()


def test_hostile_pickle_is_refused_without_running(process: Run, tmp_path: Path) -> None:
    mark = tmp_path / "it ran"
    result = process(corpus=[*small_corpus()[:5], _Hostile(mark)])
    assert_one_line_error(result, "foreign object", "system", "nothing of it was run")
    assert not mark.exists() and not (tmp_path / "data").exists()


def test_counts_are_checked_unless_told_otherwise(process: Run, tmp_path: Path) -> None:
    assert_one_line_error(process(), "train dialogues: expected 659, found 1", "--check_counts False")
    assert not (tmp_path / "data").exists()


def test_missing_pickle(tmp_path: Path) -> None:
    flags = ("--dataset", "meld", "--original_data", tmp_path, "--data", tmp_path / "data")
    result = call_script(data_process.main, *flags)
    assert_one_line_error(result, f"{tmp_path}/meld/meld.pkl", "ERC_ORIGINAL_DATA", "original_data/README.md")
    assert not (tmp_path / "data").exists()


def test_all_bad_arguments_are_told_at_once() -> None:
    flags = "--dataset friends --clean_text yes --historical_window -1 --speaker_task Maybe --domain_base 1"
    result = call_script(data_process.main, *flags.split(), "--colour", "red")
    assert_one_line_error(
        result,
        "--dataset: 'friends' is not allowed, allowed are sample, iemocap, meld, EmoryNLP, dailydialog",
        "--clean_text: 'yes' is not allowed, allowed are True, False",
        "--historical_window: '-1' is not allowed, give a whole number, 0 or more",
        "--speaker_task: 'Maybe' is not allowed, allowed are None, True, True_mixed",
        "--domain_base: '1' is not allowed, allowed are True, False",
        "unknown argument '--colour red'",
    )


def test_required_and_shortened_arguments() -> None:
    assert_one_line_error(call_script(data_process.main), "--dataset is missing")
    assert_one_line_error(call_script(data_process.main, "--data_set", "meld"), "--data_set", "--dataset")
    assert_one_line_error(call_script(data_process.main, "--dataset"), "--dataset")


def test_a_comma_would_cut_the_folder_in_two(process: Run, tmp_path: Path) -> None:
    assert_one_line_error(process(*UNCHECKED, "--data", tmp_path / "a,b"), "comma")
    assert not (tmp_path / "a,b").exists()


def test_a_file_in_the_way(process: Run, tmp_path: Path) -> None:
    (tmp_path / "data").write_text("not a folder", encoding="utf-8")
    assert_one_line_error(after_warning(process(*UNCHECKED)), "cannot write", "data/EmoryNLP")


def limit_file_size() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (500, 500))


def test_no_space_leaves_no_part(command: Callable[..., list[Any]], run_code: Run, tmp_path: Path) -> None:
    """A limit on the size of a file stops the write the way a full disk does."""
    result = run_code("code/data_process.py", *command(*UNCHECKED), preexec_fn=limit_file_size)
    assert_one_line_error(after_warning(result), "no space left", "train.json")
    assert list((tmp_path / "data" / "EmoryNLP").iterdir()) == []


def large_dailydialog(share: float) -> list[Any]:
    """A share of as many dialogues and turns as DailyDialog has: 13118 and about 103 thousand."""
    splits = {"train": 11118, "test": 1000, "valid": 1000}
    names = {split: [f"{split}_{number}" for number in range(round(share * size))] for split, size in splits.items()}
    turns = 8
    everyone = [name for split in names.values() for name in split]
    return [
        {name: [str(turn % 2) for turn in range(turns)] for name in everyone},
        {name: [turn % 7 for turn in range(turns)] for name in everyone},
        {
            name: [f"A sentence of turn {turn}, as long as they are. {name}" for turn in range(turns)]
            for name in everyone
        },
        *names.values(),
    ]


@pytest.mark.slow
def test_the_work_grows_with_the_corpus_and_not_with_its_square(
    write_corpus: Callable[..., Path], tmp_path: Path
) -> None:
    took = {}
    for share in (0.125, 1):
        where = ("--original_data", write_corpus(large_dailydialog(share), "dailydialog"))
        began = time.process_time()  # of this process: neighbours lengthen it little
        result = call_script(
            data_process.main, "--dataset", "dailydialog", *UNCHECKED, *where, "--data", tmp_path / f"data {share}"
        )
        took[share] = time.process_time() - began
        assert result.returncode == 0, result.stderr
    assert read_manifest(Path(result.stdout.strip()))["counts"]["train"] == {"emotion_recognition": 88944}
    assert took[1] < 22 * took[0.125], took  # 8 times if it grows with it, 64 if with its square


def test_more_demonstrations_than_there_are_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sentence_encoder, "SentenceEncoder", lambda name, cache: LetterCounts())
    flags = ("--dataset", "sample", "--data", tmp_path / "data", "--domain_base", "True", "--demonstrations", 99999)
    result = call_script(data_process.main, *flags)
    assert_one_line_error(result, "training utterances may demonstrate it, 99999 are asked for", "--demonstrations")
    assert not list(tmp_path.rglob("*.json"))
    assert call_script(data_process.main, *flags[:-1], 2).returncode == 0
