"""The notebooks run top to bottom in a fresh kernel, and are committed with small outputs and nothing licensed."""

import json
import os
import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from commands import REPOSITORY

DEMO, PEEK = REPOSITORY / "demo" / "demo.ipynb", REPOSITORY / "original_data" / "peek_of_dataset.ipynb"
LARGEST = 400_000  # bytes


def execute(path: Path, monkeypatch: pytest.MonkeyPatch, **variables: str) -> nbformat.NotebookNode:
    """The notebook as a fresh kernel in its folder leaves it; a cell that fails fails the test."""
    for name, value in (variables | {"OMP_NUM_THREADS": "1"}).items():
        monkeypatch.setenv(name, value)
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": path.parent}})
    return client.execute()


def output_of(notebook: nbformat.NotebookNode) -> str:
    return json.dumps([cell.get("outputs", []) for cell in notebook.cells])


def test_demo_runs_with_any_checkpoint(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = execute(DEMO, monkeypatch, ERC_CHECKPOINT=str(trained / "run" / "model"))
    told = output_of(done)
    assert told.count("image/png") >= 2 and "Peaceful" in told and "Now you are expert" in told


def cells_of_tables(notebook: nbformat.NotebookNode) -> list[list[str]]:
    """The rows of all tables, cell by cell."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    tables = "".join(output["data"].get("text/html", "") for output in outputs if "data" in output)
    return [re.findall(r"<td>(.*?)</td>", row, re.S) for row in re.findall(r"<tr.*?</tr>", tables, re.S)]


@pytest.mark.slow
def test_demo_runs_with_the_shipped_adapter(shipped_adapter: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = cells_of_tables(execute(DEMO, monkeypatch))
    found = {row[1][:19]: row[2] for row in rows if row and row[0] in ("Nora", "Tim")}  # long texts are cut in tables
    assert found["Everything is fine!"] == "joyful"


def test_peek_runs_on_the_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PEEK_DATASET", raising=False)
    told = output_of(execute(PEEK, monkeypatch))
    assert told.count("image/png") >= 2 and "431" in told and "Did you feed the cat" in told


@pytest.mark.real_data
@pytest.mark.parametrize(("dataset", "utterances"), [("iemocap", "5163"), ("meld", "9989"), ("EmoryNLP", "7551")])
def test_peek_runs_on_the_published_ones(
    original_data: Path, monkeypatch: pytest.MonkeyPatch, dataset: str, utterances: str
) -> None:
    told = output_of(execute(PEEK, monkeypatch, PEEK_DATASET=dataset, ERC_ORIGINAL_DATA=str(original_data)))
    assert utterances in told and told.count("image/png") >= 2


@pytest.mark.parametrize("path", [DEMO, PEEK], ids=lambda path: path.stem)
def test_notebooks_are_committed_whole_and_small(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert path.stat().st_size < LARGEST
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert all(output.output_type != "error" for cell in cells for output in cell.outputs)
    assert any(cell.outputs for cell in cells)
    assert all(len(cell.source.splitlines()) <= 12 for cell in cells), "helpers live in code/, not in cells"
    text = path.read_text(encoding="utf-8")
    assert str(REPOSITORY) not in text and not re.search(r'"/(home|tmp|root|work|Users)/', text)
    assert os.sep + "site-packages" not in text


def test_committed_peek_is_of_the_sample() -> None:
    assert "PEEK_DATASET" in PEEK.read_text(encoding="utf-8")
    told = output_of(nbformat.read(PEEK, as_version=4))
    assert "cat_bowl" in told and "9989" not in told and "5163" not in told
