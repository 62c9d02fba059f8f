"""A Python that lacks a library, or is too old: one line that says so and what to type, exit code 2."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from basics.libraries import FILES, INSTALLED_AS, SMALL_SCRIPTS
from basics.scripts import run_script
from commands import REPOSITORY, assert_one_line_error, call_script

SCRIPTS = sorted(
    path.relative_to(REPOSITORY).as_posix()
    for folder in ("code", "demo", "docs", "LLM_bases", "original_data", "original_data/sample")
    for path in (REPOSITORY / folder).glob("*.py")
    if '__name__ == "__main__"' in path.read_text(encoding="utf-8")
)
# Script, a library that it lacks, the file of envs/ that is named.
LACKING = (
    ("code/predict.py --input demo/dialogue.txt", "rich", "predict.txt"),
    ("code/predict.py --input demo/dialogue.txt", "torch", "predict.txt"),
    (
        "code/main_new.py --dataset sample --data_dir a --model_name_or_path b --output_dir c --model_dir d",
        "torch",
        "train.txt",
    ),
    ("code/plan.py --model_name_or_path LLaMA2 --dataset sample", "transformers", "train.txt"),
    ("code/baselines.py --dataset sample", "sklearn", "train.txt"),
    ("code/data_process.py --dataset sample", "numpy", "train.txt"),
    ("code/reproduce.py --list", "yaml", "train.txt"),
    ("code/reproduce.py --list", "pydantic", "train.txt"),
    ("demo/app.py --checkpoint sample", "gradio", "train.txt"),
    ("demo/app.py --checkpoint sample", "torch", "train.txt"),
    ("docs/run_notebooks.py", "nbformat", "develop.txt"),
)
# Runs the script that is named second, with the folder that is named first in front of all others.
AS_OLD_PYTHON = """
import runpy, sys
sys.version_info = (3, 10, 4, "final", 0)
sys.path.insert(0, sys.argv[1])
runpy.run_path(sys.argv[2], None, "__main__")
"""


def run_without(command: str, library: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """A script, in a Python that says of one library what it says of those that are not there."""
    (folder / f"{library}.py").write_text(f"raise ModuleNotFoundError('No module', name={library!r})\n")
    return subprocess.run(
        [sys.executable, *command.split()],
        cwd=REPOSITORY,
        env=os.environ | {"PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        timeout=600,
    )


@pytest.mark.parametrize(("command", "library", "file"), LACKING, ids=lambda word: word.replace("/", "_"))
def test_a_library_that_is_missing_is_one_line(command: str, library: str, file: str, tmp_path: Path) -> None:
    told = f"the library {library} is not installed for this Python: `{sys.executable} -m pip install -r envs/{file}`"
    assert_one_line_error(run_without(command, library, tmp_path), told, "`bash envs/setup.sh`")


@pytest.mark.parametrize("script", SCRIPTS)
def test_no_script_needs_a_library_to_say_which(script: str) -> None:
    """In a Python without any library: its help, or the line."""
    command = [sys.executable, "-S", script, "--help"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=600)
    if done.returncode:
        assert_one_line_error(done, "is not installed for this Python")
    else:
        assert done.stdout and not done.stderr


def test_the_file_that_is_named_has_the_library(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """By the names that are imported, below any folder; what no file names comes along with the others."""

    def named(library: str, script: str = "predict.py") -> str:
        def main() -> None:
            sys.argv = [script]
            raise ModuleNotFoundError("No module", name=library)

        return call_script(main).stderr.partition("pip install -r ")[2].partition("`")[0]

    monkeypatch.chdir(tmp_path)
    for library, file in (
        ("torch.cuda", "predict.txt"),
        ("PIL", "predict.txt"),
        ("sentence_transformers", "train.txt"),
    ):
        assert named(library) == str(REPOSITORY / "envs" / file)
    assert named("faiss.swig").endswith("train.txt") and named("playwright").endswith("develop.txt")
    assert named("torch", "main_new.py").endswith("train.txt")
    listed = "".join((REPOSITORY / "envs" / file).read_text(encoding="utf-8") for file in FILES)
    assert [name for name in INSTALLED_AS.values() if f"\n{name} " not in listed] == []
    assert all((REPOSITORY / "code" / name).is_file() for name in SMALL_SCRIPTS)


def test_a_file_of_ours_that_is_missing_is_a_fault() -> None:
    def main() -> None:
        raise ModuleNotFoundError("No module", name="training.no_such_file")

    with pytest.raises(ModuleNotFoundError):
        run_script(main)


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_python_that_is_too_old_is_one_line(script: str) -> None:
    """Said before any library is asked for: in a Python without one that takes itself for 3.10."""
    command = [sys.executable, "-S", "-c", AS_OLD_PYTHON, REPOSITORY / "code", script]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=600)
    assert_one_line_error(done, "is Python 3.10.4: use 3.11 or newer")


@pytest.mark.parametrize("script", [*SCRIPTS, "code/basics/errors.py"])
def test_an_older_python_can_read_what_comes_before_the_check(script: str) -> None:
    """It reads a file as a whole before it runs any of it."""
    assert ast.parse((REPOSITORY / script).read_text(encoding="utf-8"), feature_version=(3, 8)).body
