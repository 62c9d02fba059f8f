"""The rules of the house: imports point one way, names hide no library, files are short, README is true."""

import ast
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from fnmatch import fnmatch
from graphlib import TopologicalSorter
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from commands import REPOSITORY

CODE = REPOSITORY / "code"
# The floors, from the ground up. A folder imports from those before it and from itself, but for the scripts, which
# stand on top and beside each other.
FLOORS = (
    ("basics",),
    ("dialogue_files",),
    ("data_utils",),
    ("engine",),
    ("bases",),
    ("knobs",),
    ("scoring",),
    ("training",),
    ("results",),
    ("own_dialogues", "planning", "auditing"),
    ("experiment_utils",),
    ("scripts",),
)
FLOOR_OF = {folder: height for height, floor in enumerate(FLOORS) for folder in floor}
# data_utils knows no tensors: it is quick to import.
TENSOR_MODULES = {"data_utils.retrieval"}
SLOW_LIBRARIES = {"torch", "transformers", "peft", "deepspeed", "accelerate", "sentence_transformers"}
LONGEST_FUNCTION = 40
LONGEST_FILE = 400
MOST_FILES = 16  # of a folder; 8 to 12 is the aim
MOST_LINES_OF_SHELL = 220
MOST_LINES_OF_README = 190
# The target of a Markdown link, without an anchor, or of a picture.
LINK = re.compile(r"(?:\]\(|<img src=\")([^)#\s\"]+)")
# A file of ours as pages and docstrings call it.
NAMED_PATH = re.compile(
    r"(?<![\w/.])(?:code|tests|benchmarks|demo|docs|envs|LLM_bases)/[\w/-]+\.(?:py|sh|md|txt|ipynb)\b"
)
COMMAND = re.compile(r"\b(?:bash|python3?)\s+([\w./-]+)")


def list_files(*patterns: str) -> list[Path]:
    """Files that are tracked or would be, by git's patterns; all of them where there is no git."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *patterns]
    listed = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    if listed.returncode:
        names = (path.relative_to(REPOSITORY).as_posix() for path in REPOSITORY.rglob("*") if path.is_file())
        found = (name for name in names if any(fnmatch(name, pattern) for pattern in patterns))
        return sorted(REPOSITORY / name for name in found if not name.startswith((".venv/", ".venvs/", ".git/")))
    return [path for name in listed.stdout.splitlines() if (path := REPOSITORY / name).is_file()]


def module_name(path: Path) -> str:
    """code/data_utils/labels.py -> data_utils.labels."""
    return ".".join(path.relative_to(CODE).with_suffix("").parts)


# What stands beside or above code/: nothing there imports it.
ON_TOP = {
    "benchmarks",
    "demo",
    *(path.stem for folder in ("demo", "docs") for path in (REPOSITORY / folder).glob("*.py")),
}
MODULES = {module_name(path): path for path in sorted(CODE.rglob("*.py"))}


def folder_of(module: str) -> str | None:
    """The folder below code/ of a module of ours, None for a library."""
    folder = module.partition(".")[0]
    if folder in FLOOR_OF:
        return folder
    return "scripts" if folder in MODULES or folder in ON_TOP else None


def imports_of(path: Path, package: str, top_level_only: bool = False) -> Iterator[str]:
    """Full names of the modules that a file imports, relative ones spelled out."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in tree.body if top_level_only else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            source = ".".join([*parents, *filter(None, [node.module])])
            yield source
            yield from (f"{source}.{alias.name}" for alias in node.names)


def wrong_imports(module: str, imported: Iterable[str]) -> list[str]:
    """The imports that point up, to another folder of the same floor, or from one script to another."""
    own = folder_of(module)
    wrong = []
    for name in imported:
        folder = folder_of(name)
        if folder is None:
            continue
        is_below = FLOOR_OF[folder] < FLOOR_OF[own]
        if not is_below and (folder != own or own == "scripts"):
            wrong.append(name)
    return wrong


def test_every_folder_of_code_has_a_floor() -> None:
    folders = {module.partition(".")[0] for module in MODULES if "." in module}
    assert folders == FLOOR_OF.keys() - {"scripts"}


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_down(module: str) -> None:
    path = MODULES[module]
    assert wrong_imports(module, imports_of(path, module.rpartition(".")[0])) == []


def test_no_file_leads_back_to_itself() -> None:
    imported = {name: _modules_in(imports_of(path, name.rpartition(".")[0])) for name, path in MODULES.items()}
    assert sum(map(len, imported.values())) > len(MODULES)
    order = TopologicalSorter(imported)
    order.prepare()  # CycleError names the files of a circle


def _modules_in(imported: Iterable[str]) -> set[str]:
    """Those of the names that are files of ours; `from engine import packing` names one beside its folder."""
    return {name for name in imported if name in MODULES}


def test_the_walker_sees_what_it_should(tmp_path: Path) -> None:
    source = tmp_path / "module.py"
    source.write_text("import bases.load\nfrom ..training import run\nfrom engine import packing\nimport torch, plan\n")
    imported = list(imports_of(source, "data_utils"))
    assert {"bases.load", "training.run", "engine.packing", "torch", "plan"} < set(imported)
    assert wrong_imports("data_utils.labels", imported) == [name for name in imported if name != "torch"]
    assert wrong_imports("training.run", imported) == ["plan"]
    assert wrong_imports("plan", ["training.run", "data_process", "torch"]) == ["data_process"]
    assert wrong_imports("training.run", ["emotion_page", "benchmarks.inputs"]) == ["emotion_page", "benchmarks.inputs"]
    assert wrong_imports("planning.data", ["own_dialogues.writing", "planning.table"]) == ["own_dialogues.writing"]


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
    too_long = {str(path.relative_to(REPOSITORY)): lines for path, lines in lengths.items() if lines > LONGEST_FILE}
    assert too_long == {}


def test_folders_are_rooms() -> None:
    counted = Counter(path.parent for path in list_files("*.py"))
    assert len(counted) > len(FLOOR_OF)
    crowded = {str(folder.relative_to(REPOSITORY)): files for folder, files in counted.items() if files > MOST_FILES}
    assert crowded == {}


def test_functions_are_short() -> None:
    found = {}
    for path in list_files(
        "code/*.py", "demo/*.py", "docs/*.py", "LLM_bases/*.py", "original_data/*.py", "benchmarks/*.py"
    ):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                found[f"{path.relative_to(REPOSITORY)}:{node.name}"] = node.end_lineno - node.lineno + 1
    assert len(found) > len(MODULES)
    assert {name: lines for name, lines in found.items() if lines > LONGEST_FUNCTION} == {}


def test_the_shell_of_code_is_short() -> None:
    lengths = [len(path.read_text(encoding="utf-8").splitlines()) for path in list_files("code/*.sh")]
    assert len(lengths) == 4 and sum(lengths) <= MOST_LINES_OF_SHELL


def test_shell_files_pass_shellcheck() -> None:
    files = list_files("*.sh", ".ci/run")
    assert len(files) > 8
    beside_python = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    command = [shutil.which("shellcheck", path=beside_python) or "shellcheck", "-x", *map(str, files)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


MARKDOWN = [str(path.relative_to(REPOSITORY)) for path in list_files("*.md")]


@pytest.mark.parametrize("name", MARKDOWN)
def test_links_lead_to_files_that_exist(name: str) -> None:
    page = REPOSITORY / name
    targets = {link for link in LINK.findall(page.read_text(encoding="utf-8")) if "://" not in link}
    assert {link for link in targets if not (page.parent / link).exists()} == set()


def test_paths_that_are_named_exist() -> None:
    named = {
        (str(page.relative_to(REPOSITORY)), path)
        for page in list_files("*.md", "*.py", "*.sh", "*.ipynb", "*.yaml")
        for path in NAMED_PATH.findall(page.read_text(encoding="utf-8"))
    }
    assert len(named) > 100
    assert {(page, path) for page, path in named if not (REPOSITORY / path).exists()} == set()


@pytest.mark.parametrize("name", MARKDOWN)
def test_commands_name_files_that_exist(name: str) -> None:
    text = (REPOSITORY / name).read_text(encoding="utf-8")
    blocks = re.findall(r"^```(?:bash|sh|console)?\n(.*?)^```", text, re.S | re.M)
    named = {word for block in blocks for word in COMMAND.findall(block) if word.endswith((".sh", ".py"))}
    assert name != "README.md" or len(named) > 5
    assert {word for word in named if not (REPOSITORY / word).is_file()} == set()


def test_the_readme_is_for_a_first_visit() -> None:
    assert len((REPOSITORY / "README.md").read_text(encoding="utf-8").splitlines()) <= MOST_LINES_OF_README


ANCHOR = re.compile(r"\]\(([^)#\s]*)#([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


def anchors_of(page: Path) -> set[str]:
    """The anchors that GitHub gives a page's headings: small letters, blanks to hyphens, other marks left out."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in HEADING.findall(text)}


@pytest.mark.parametrize("name", MARKDOWN)
def test_links_into_pages_lead_to_headings_that_exist(name: str) -> None:
    page = REPOSITORY / name
    links = [(where, to) for where, to in ANCHOR.findall(page.read_text(encoding="utf-8")) if "://" not in where]
    missing = [(where, to) for where, to in links if to not in anchors_of(page.parent / where if where else page)]
    assert missing == []


def left_out(path: Path, patterns: Iterable[str]) -> bool:
    """Whether Docker leaves a file out: the last line that fits it or a folder above decides, a final slash aside."""
    names, found = [path, *path.parents], False
    for line in patterns:
        pattern = Path(line.removeprefix("!").removeprefix("**/"))
        if any(len(one.parts) == len(pattern.parts) and all(map(fnmatch, one.parts, pattern.parts)) for one in names):
            found = not line.startswith("!")
    return found


def test_an_image_has_all_that_git_tracks() -> None:
    """Else results that are made in it would be of changed code."""
    lines = (REPOSITORY / "envs/Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    patterns = [line for line in lines if line and not line.startswith("#")]
    assert left_out(Path("original_data/mine/train.csv"), patterns) and left_out(Path("data/rows"), patterns)
    assert [path for path in list_files("*") if left_out(path.relative_to(REPOSITORY), patterns)] == []
