"""The rules of the house: imports point one way, names hide no library, files are short, README is true."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from commands import REPOSITORY

CODE = REPOSITORY / "code"
# A layer may import itself (but for the scripts) and what stands to its right.
LAYERS = ("scripts", "experiment_utils", "model_utils", "data_utils")
# data_utils below these knows no tensors: they are what turns rows into them.
TENSOR_MODULES = {"engine.batching", "data_utils.retrieval"}
SLOW_LIBRARIES = {"torch", "transformers", "peft", "deepspeed", "accelerate", "sentence_transformers"}
LONGEST_FUNCTION = 40
# The target of a Markdown link, without an anchor.
LINK = re.compile(r"\]\(([^)#\s]+)")
COMMAND = re.compile(r"\b(?:bash|python3?)\s+([\w./-]+)")


def list_files(*patterns: str) -> list[Path]:
    """Files that are tracked or would be, by git's patterns; all of them where there is no git."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *patterns]
    listed = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    if listed.returncode:
        found = {path for pattern in patterns for path in REPOSITORY.rglob(pattern)}
        return sorted(path for path in found if ".venv" not in path.parts)
    return [path for name in listed.stdout.splitlines() if (path := REPOSITORY / name).is_file()]


def module_name(path: Path) -> str:
    """code/data_utils/labels.py -> data_utils.labels."""
    return ".".join(path.relative_to(CODE).with_suffix("").parts)


MODULES = {module_name(path): path for path in sorted(CODE.rglob("*.py"))}


def layer_of(module: str) -> str | None:
    """The layer of a module of ours, None for a library."""
    package = module.partition(".")[0]
    if package in LAYERS:
        return package
    return "scripts" if package in MODULES else None


def imports_of(path: Path, package: str, top_level_only: bool = False) -> Iterator[str]:
    """Full names of the modules that a file imports, relative ones spelled out."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in tree.body if top_level_only else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            yield ".".join([*parents, *filter(None, [node.module])])


def wrong_imports(module: str, imported: Iterator[str]) -> list[str]:
    """The imports that point back, or from one script to another."""
    own = layer_of(module)
    wrong = []
    for name in imported:
        layer = layer_of(name)
        if layer is None:
            continue
        points_back = LAYERS.index(layer) < LAYERS.index(own)
        if points_back or layer == own == "scripts":
            wrong.append(name)
    return wrong


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_one_way(module: str) -> None:
    path = MODULES[module]
    assert wrong_imports(module, imports_of(path, module.rpartition(".")[0])) == []


def test_the_walker_sees_what_it_should(tmp_path: Path) -> None:
    source = tmp_path / "module.py"
    source.write_text("import bases.load\nfrom ..model_utils import runs\nimport torch, main_new\n")
    imported = list(imports_of(source, "data_utils"))
    assert imported == ["bases.load", "model_utils", "torch", "main_new"]
    assert wrong_imports("data_utils.labels", iter(imported)) == [*imported[:2], "main_new"]
    assert wrong_imports("training.run", iter(imported)) == ["main_new"]
    assert wrong_imports("main_new", iter(["training.run", "data_process", "torch"])) == ["data_process"]


@pytest.mark.parametrize("module", [name for name in MODULES if name.startswith("data_utils.")])
def test_data_utils_is_quick_to_import(module: str) -> None:
    allowed = {"torch"} if module in TENSOR_MODULES else set()
    imported = imports_of(MODULES[module], "data_utils", top_level_only=True)
    assert {name.partition(".")[0] for name in imported} & SLOW_LIBRARIES <= allowed


def test_no_file_hides_a_library() -> None:
    own = {path.stem for path in CODE.iterdir() if path.suffix == ".py" or path.is_dir()} - {"__pycache__"}
    assert own
    assert own & set(sys.stdlib_module_names) == set()
    assert own & set(packages_distributions()) == set()


def test_code_is_no_package() -> None:
    assert list(CODE.rglob("__init__.py")) == []


def test_python_files_are_short() -> None:
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in list_files("*.py")}
    assert len(lengths) > len(MODULES) > 0
    too_long = {str(path.relative_to(REPOSITORY)): lines for path, lines in lengths.items() if lines >= 250}
    assert too_long == {}


def test_functions_are_short() -> None:
    found = {}
    for path in list_files("code/*.py", "LLM_bases/*.py", "original_data/*.py", "benchmarks/*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                found[f"{path.relative_to(REPOSITORY)}:{node.name}"] = node.end_lineno - node.lineno + 1
    assert len(found) > len(MODULES)
    assert {name: lines for name, lines in found.items() if lines > LONGEST_FUNCTION} == {}


def test_shell_files_are_short() -> None:
    lengths = {path.name: len(path.read_text(encoding="utf-8").splitlines()) for path in list_files("*.sh")}
    assert lengths
    assert {name: lines for name, lines in lengths.items() if lines >= 250} == {}


def test_links_of_the_readme_lead_to_files_that_exist() -> None:
    readme = REPOSITORY / "README.md"
    if not readme.is_file():
        pytest.skip("no README.md yet")
    targets = {name for name in LINK.findall(readme.read_text(encoding="utf-8")) if "://" not in name}
    assert targets, "the README links nothing"
    assert {name for name in targets if not (REPOSITORY / name).exists()} == set()


def test_commands_of_the_readme_name_files_that_exist() -> None:
    readme = REPOSITORY / "README.md"
    if not readme.is_file():
        pytest.skip("no README.md yet")
    text = readme.read_text(encoding="utf-8")
    blocks = re.findall(r"^```(?:bash|sh|console)?\n(.*?)^```", text, re.S | re.M)
    named = {name for block in blocks for name in COMMAND.findall(block) if name.endswith((".sh", ".py"))}
    assert named, "the README shows no command"
    assert {name for name in named if not (REPOSITORY / name).is_file()} == set()
