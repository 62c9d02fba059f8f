"""The frame of every script: what a user can put right is one line, whoever reads stdout may stop, Ctrl-C ends it."""

import ast
import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from basics.errors import UserError
from basics.scripts import EXIT_INTERRUPTED, run_script
from commands import REPOSITORY, assert_one_line_error, call_script

FOLDERS = ("code", "demo", "LLM_bases", "original_data", "original_data/sample", "benchmarks", "benchmarks/gpu")
ENTRIES = sorted(
    str(path.relative_to(REPOSITORY))
    for folder in FOLDERS
    for path in (REPOSITORY / folder).glob("*.py")
    if '__name__ == "__main__"' in path.read_text(encoding="utf-8")
)
# Started by other programs of ours, which read what they say.
WORKERS = {"benchmarks/worker.py", "benchmarks/gpu/case.py", "benchmarks/gpu/attention.py"}


@pytest.mark.parametrize("name", sorted(set(ENTRIES) - WORKERS))
def test_every_script_runs_in_the_frame(name: str) -> None:
    tree = ast.parse((REPOSITORY / name).read_text(encoding="utf-8"))
    (guard,) = (node for node in tree.body if isinstance(node, ast.If))
    assert ast.unparse(guard.body) == "run_script(main)"


def failing(error: BaseException):
    def main() -> None:
        raise error

    return main


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (UserError("--seed: give\na number"), "error: --seed: give a number"),
        (
            OSError(errno.ENOSPC, "No space", "rows/train.json"),
            "no space left on the disk while writing rows/train.json",
        ),
        (OSError(errno.ENOSPC, "No space"), "no space left on the disk while writing a file"),
        (PermissionError(errno.EACCES, "Permission denied", "/etc/rows"), "error: /etc/rows: Permission denied"),
        (FileNotFoundError(errno.ENOENT, "No such file or directory", b"a\xff"), "No such file or directory"),
        (NotADirectoryError(errno.ENOTDIR, "Not a directory", "README.md/x"), "error: README.md/x: Not a directory"),
    ],
)
def test_what_a_user_can_put_right_is_one_line(error: BaseException, line: str) -> None:
    assert_one_line_error(call_script(failing(error)), line)


@pytest.mark.parametrize("error", [ValueError("a fault"), OSError("no file named"), KeyError("key")])
def test_a_fault_of_the_program_keeps_its_traceback(error: Exception) -> None:
    with pytest.raises(type(error)):
        run_script(failing(error))


def test_an_interrupt_is_one_line() -> None:
    done = call_script(failing(KeyboardInterrupt()))
    assert (done.returncode, done.stdout, done.stderr) == (EXIT_INTERRUPTED, "", "stopped by Ctrl-C\n")


@pytest.mark.parametrize(
    "command",
    [
        ["LLM_bases/fetch.py", "--list"],
        ["code/main_new.py", "--help"],
        ["code/settings.py", "--table"],
        ["code/reproduce.py", "--list"],
        ["original_data/fetch.py", "--help"],
    ],
    ids=lambda command: command[0],
)
def test_a_reader_may_stop_reading(command: list[str]) -> None:
    """As `| head -1` does, only sooner: the pipe is closed before the script writes."""
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as closed:
        done = subprocess.run(
            [sys.executable, *command], cwd=REPOSITORY, stdout=closed, stderr=subprocess.PIPE, text=True
        )
    assert (done.returncode, done.stderr) == (0, "")


def test_ctrl_c_ends_a_script_with_one_line(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        f"import sys, time\nsys.path.insert(0, {str(REPOSITORY / 'code')!r})\n"
        "from basics.scripts import run_script\n"
        "def main():\n    print('ready', flush=True)\n    time.sleep(600)\nrun_script(main)\n"
    )
    with subprocess.Popen(
        [sys.executable, script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        _, told = process.communicate()
    assert (process.returncode, told) == (EXIT_INTERRUPTED, "stopped by Ctrl-C\n")


@pytest.mark.parametrize(
    "command",
    [
        ["code/data_process.py", "--dataset", "sample", "--data", "{file}/data"],
        ["code/data_process_mixed.py", "--datasets", "sample", "--data", "{file}/data"],
        ["original_data/sample/build.py", "--output", "{file}/sample.pkl"],
        ["LLM_bases/fetch.py", "SmolLM2-135M", "--bases_dir", "{file}/bases"],
    ],
    ids=lambda command: command[0],
)
def test_a_folder_that_cannot_be_made_is_one_line(command: list[str], tmp_path: Path) -> None:
    file = tmp_path / "a file"
    file.touch()
    words = [word.format(file=file) for word in command]
    done = subprocess.run([sys.executable, *words], cwd=REPOSITORY, capture_output=True, text=True)
    assert_one_line_error(done, str(file))


def test_stdout_of_a_row_writer_holds_folders_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even where a library prints a notice when it is imported or called."""
    import data_process

    def noisy(*_arguments: object) -> None:
        print("a notice of a library")

    monkeypatch.setattr("knobs.writers.describe_folder", lambda folder: noisy() or "described")
    done = call_script(data_process.main, "--dataset", "sample", "--data", tmp_path)
    assert (done.returncode, done.stdout) == (0, f"{tmp_path / 'sample' / 'window'}\n")
    assert done.stderr == "a notice of a library\ndescribed\n"
