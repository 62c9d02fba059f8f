"""The notebooks run top to bottom in a fresh kernel, and are committed with small outputs and nothing licensed."""

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from IPython.display import Image

from basics.errors import UserError
from commands import REPOSITORY
from run_notebooks import NOTEBOOKS, run_notebook

DEMO, PEEK = (REPOSITORY / name for name in NOTEBOOKS)
LARGEST = 400_000  # bytes


def run(path: Path, **variables: str) -> nbformat.NotebookNode:
    return run_notebook(path, os.environ | {"OMP_NUM_THREADS": "1"} | variables)


def run_here(path: Path, monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What the cells end in, where that is a value; run in this process, which has imported what a kernel has not."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    names: dict[str, object] = {}
    shown = []
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "code":
            *lines, last = ast.parse(cell.source).body
            exec(compile(ast.Module(lines, []), path.name, "exec"), names)
            if isinstance(last, ast.Expr):
                shown.append(eval(compile(ast.Expression(last.value), path.name, "eval"), names))
            else:
                exec(compile(ast.Module([last], []), path.name, "exec"), names)
    return shown


def output_of(notebook: nbformat.NotebookNode) -> str:
    return json.dumps([cell.get("outputs", []) for cell in notebook.cells])


def without_pictures(notebook: nbformat.NotebookNode) -> list[object]:
    """What every cell shows but for the bytes of its pictures."""
    copy = nbformat.from_dict(notebook)
    outputs = [output for cell in copy.cells for output in cell.get("outputs", [])]
    return [output | {"data": {**output.get("data", {}), "image/png": ""}} for output in outputs]


def test_demo_runs_with_any_checkpoint(
    trained: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setenv("ERC_CHECKPOINT", str(trained / "run" / "model"))
    monkeypatch.chdir(DEMO.parent)
    shown = run_here(DEMO, monkeypatch)
    told = capsys.readouterr().out
    assert len([one for one in shown if isinstance(one, Image)]) >= 5
    assert "Peaceful" in told and "Now you are expert" in told
    assert re.search(r"The history changes the label of \d+ of 11 turns", told)


@pytest.mark.slow
def test_demo_runs_with_what_ships(
    shipped_adapter: Path, agreement_known: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setenv("ERC_CHECKPOINT", "meld")
    monkeypatch.chdir(DEMO.parent)
    told = [one.alt or "" for one in run_here(DEMO, monkeypatch) if isinstance(one, Image)]
    assert re.search(r"7 Tim: Everything is fine! It says that everything is fine!: joyful 0\.[3-9]", "; ".join(told))
    assert "9,989 utterances of meld" in capsys.readouterr().out


def imported(source: str) -> set[str]:
    """The modules that a program imports, wherever it does."""
    nodes = list(ast.walk(ast.parse(source)))
    named = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    return {*named, *(node.module for node in nodes if isinstance(node, ast.ImportFrom))}


def test_a_fresh_kernel_finds_what_demo_imports() -> None:
    """By the paths that its first cell of code adds; what runs it here has them already."""
    cells = [cell.source for cell in nbformat.read(DEMO, as_version=4).cells if cell.cell_type == "code"]
    steps = (REPOSITORY / "demo" / "demo_steps.py").read_text(encoding="utf-8")
    names = sorted({name.partition(".")[0] for source in (*cells, steps) for name in imported(source)})
    assert {"demo_steps", "own_dialogues"} <= set(names)
    look = f"print([name for name in {names} if importlib.util.find_spec(name) is None])"
    command = [sys.executable, "-c", f"{cells[0]}\nimport importlib.util\n{look}"]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, cwd=DEMO.parent, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr


def test_peek_shows_what_is_committed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PEEK_DATASET", raising=False)
    done = run(PEEK)
    assert without_pictures(done) == without_pictures(nbformat.read(PEEK, as_version=4))
    assert output_of(done).count("image/png") == 5


@pytest.mark.real_data
@pytest.mark.parametrize(("dataset", "utterances"), [("iemocap", "5,163"), ("meld", "9,989"), ("EmoryNLP", "7,551")])
def test_peek_runs_on_the_published_ones(
    original_data: Path, dataset: str, utterances: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setenv("PEEK_DATASET", dataset)
    monkeypatch.setenv("ERC_ORIGINAL_DATA", str(original_data))
    monkeypatch.chdir(PEEK.parent)
    shown = run_here(PEEK, monkeypatch)
    assert f"{utterances} utterances" in capsys.readouterr().out
    assert [one.data[:4] for one in shown if isinstance(one, Image)] == [b"\x89PNG"] * 5


@pytest.mark.parametrize("path", [DEMO, PEEK], ids=lambda path: path.stem)
def test_notebooks_are_committed_whole_and_small(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert path.stat().st_size < LARGEST
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert all(output.output_type != "error" for cell in cells for output in cell.outputs)
    assert any(cell.outputs for cell in cells)
    assert all(len(cell.source.splitlines()) <= 15 for cell in notebook.cells), "more than that lives in demo_steps.py"
    text = path.read_text(encoding="utf-8")
    assert str(REPOSITORY) not in text and not re.search(r'"/(home|tmp|root|work|Users)/', text)
    assert os.sep + "site-packages" not in text


@pytest.mark.parametrize("path", [DEMO, PEEK], ids=lambda path: path.stem)
def test_a_question_has_an_answer_and_a_sentence(path: Path) -> None:
    """Below every heading that asks stand a cell that shows something, and words that say how to read it."""
    cells = nbformat.read(path, as_version=4).cells
    asked = [place for place, cell in enumerate(cells) if cell.source.startswith("## ")]
    assert len(asked) >= 6 and all(cells[place].source.endswith("?") for place in asked)
    for start, end in zip(asked, [*asked[1:], len(cells)], strict=True):
        *shown, sentence = cells[start + 1 : end]
        assert shown and {cell.cell_type for cell in shown} == {"code"} and shown[-1].outputs
        assert sentence.cell_type == "markdown" and sentence.source.endswith(".")


def test_committed_peek_is_of_the_sample() -> None:
    assert "PEEK_DATASET" in PEEK.read_text(encoding="utf-8")
    told = output_of(nbformat.read(PEEK, as_version=4))
    assert "cat_bowl" in told and "9,989" not in told and "5,163" not in told


def test_a_cell_that_fails_is_one_line(tmp_path: Path) -> None:
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("print(1)"), nbformat.v4.new_code_cell("1/0")])
    (tmp_path / "a.ipynb").write_text(nbformat.writes(notebook))
    with pytest.raises(UserError, match="a.ipynb: ZeroDivisionError: division by zero"):
        run_notebook(tmp_path / "a.ipynb", os.environ)
