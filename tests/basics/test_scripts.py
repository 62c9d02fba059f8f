"""The frame of every script: what a user can put right is one line, whoever reads stdout may stop, Ctrl-C ends it."""

import ast
import errno
import io
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from basics.errors import UserError
from basics.scripts import EXIT_CLOSED_PIPE, run_script
from commands import REPOSITORY, assert_one_line_error, call_script

FOLDERS = ("code", "demo", "docs", "LLM_bases", "original_data", "original_data/sample", "benchmarks", "benchmarks/gpu")
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
    conditional = (node for node in tree.body if isinstance(node, ast.If))
    (guard,) = (node for node in conditional if ast.unparse(node.test) != "TYPE_CHECKING")
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


@pytest.mark.parametrize(
    ("encoding", "printed"),
    [
        ("ascii", b"7?1 ?? \xff\n"),
        ("latin-1", b"7\xb11 ?? \xff\n"),
        ("utf-8", "7±1 \u2014😀 ".encode() + b"\xff\n"),
    ],
)
def test_stdout_takes_what_its_encoding_lacks(encoding: str, printed: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Marks in place of letters; the bytes of a path stay what they are, for whoever captures it."""
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding, errors="strict"))
    run_script(lambda: print("7±1 \u2014😀", os.fsdecode(b"\xff")))
    assert written.getvalue() == printed


def test_an_interrupt_is_one_line() -> None:
    done = call_script(failing(KeyboardInterrupt()))
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "stopped by Ctrl-C\n")


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
    # argparse lets go of what it cannot print.
    assert (done.returncode, done.stderr) == (0 if "--help" in command else EXIT_CLOSED_PIPE, "")


def test_another_broken_pipe_is_a_fault() -> None:
    with pytest.raises(BrokenPipeError):
        run_script(failing(BrokenPipeError(errno.EPIPE, "Broken pipe")))


FLAGS = ("--dataset", "sample", "--data_dir", "a", "--model_name_or_path", "b", "--output_dir", "c", "--model_dir", "d")
IMPORTS_MUCH = [
    ("code/reproduce.py", (), -signal.SIGINT),
    ("code/baselines.py", (), -signal.SIGINT),
    ("code/export.py", (), -signal.SIGINT),
    # Once its flags are read.
    ("code/main_new.py", FLAGS, 130),
    ("code/plan.py", ("--table",), 130),
    ("demo/app.py", (), 130),
]


@pytest.mark.parametrize(("name", "flags", "code"), IMPORTS_MUCH, ids=[name for name, _, _ in IMPORTS_MUCH])
def test_ctrl_c_is_one_line_while_libraries_are_imported(
    name: str, flags: tuple[str, ...], code: int, tmp_path: Path
) -> None:
    """numpy, or torch, stands in for all: it says that it is imported, and takes its time."""
    for library in ("numpy", "torch", "yaml", "pydantic", "gradio"):
        (tmp_path / f"{library}.py").write_text("import time\nprint('importing', flush=True)\ntime.sleep(600)\n")
    with subprocess.Popen(
        [sys.executable, REPOSITORY / name, *flags],
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout.readline() == "importing\n"
        process.send_signal(signal.SIGINT)
        _, told = process.communicate()
    assert (process.returncode, told) == (code, "stopped by Ctrl-C\n")


SLOW_TO_IMPORT = {"torch", "transformers", "sklearn", "scipy", "pandas", "matplotlib", "gradio"}
FOR_USERS = [name for name in ENTRIES if not name.startswith(("docs/", "benchmarks/"))]


@pytest.mark.parametrize("name", FOR_USERS)
def test_help_waits_for_no_library(name: str) -> None:
    program = (
        f"import runpy, sys; sys.argv = [{name!r}, '--help']; sys.path.insert(0, {str(Path(name).parent)!r})\n"
        f"try: runpy.run_path({name!r}, run_name='__main__')\n"
        f"except SystemExit: sys.stderr.write(' '.join({SLOW_TO_IMPORT!r} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("usage: ") or name == "code/settings.py"  # which the shell scripts ask
    assert f"python {name}" in done.stdout  # a command to begin with


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
        process.send_signal(signal.SIGINT)
        _, told = process.communicate()
    assert (process.returncode, told) == (130, "stopped by Ctrl-C\n")


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


@pytest.mark.parametrize(
    ("script", "flag", "folder"),
    [
        ("data_process.py", "--dataset", "sample/window"),
        ("data_process_plain.py", "--dataset", "sample/plain"),
        ("data_process_mixed.py", "--datasets", "unified/total_sample"),
    ],
)
def test_stdout_of_a_row_writer_holds_folders_alone(script: str, flag: str, folder: str, tmp_path: Path) -> None:
    """Even where a library prints a notice when it is imported."""
    import numpy

    (tmp_path / "numpy.py").write_text(
        "import sys\nprint('a notice of a library')\nsys.path.remove(sys.path[sys.path.index(__file__[:-9])])\n"
        "del sys.modules['numpy']\nimport numpy\n"
    )
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    command = [sys.executable, REPOSITORY / "code" / script, flag, "sample", "--data", tmp_path / "data"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert numpy and done.returncode == 0, done.stderr
    assert done.stdout == f"{tmp_path / 'data' / folder}\n"
    assert done.stderr.startswith("a notice of a library\n")


def test_an_error_of_the_system_is_one_plain_line(tmp_path: Path) -> None:
    def read() -> None:
        (tmp_path / ("\x1b[2J" + "x" * 70_000)).read_bytes()

    result = call_script(read)
    assert result.returncode == 2 and result.stderr.count("\n") == 1 and len(result.stderr) < 5_000
    assert result.stderr.endswith("File name too long\n") and "\x1b" not in result.stderr


COLLECTIONS = """
import gc, os, sys
sys.path.insert(0, "code")
usual = gc.get_threshold()
from basics.scripts import run_script
assert gc.get_threshold() == usual
made = []
def look(phase, told):
    if phase == "start" and told["generation"] == 2:
        os.write(1, b"%d\\n" % len(gc.get_objects()))
def main():
    made.extend([] for _ in range(200_000))
    print(gc.get_stats()[2]["collections"], flush=True)
    gc.callbacks.append(look)
run_script(main)
"""


def test_what_a_script_has_made_is_not_looked_through_time_and_again() -> None:
    """Neither while it grows nor at the end, when Python collects once more; an import alone changes nothing."""
    done = subprocess.run([sys.executable, "-c", COLLECTIONS], cwd=REPOSITORY, capture_output=True, text=True)
    grown, *left = map(int, done.stdout.split())
    assert (grown, done.stderr) == (0, "") and left and max(left) < 10_000
