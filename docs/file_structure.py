"""The map of all files: every tracked one with its subject, as its first line says it."""

import ast
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from basics.errors import UserError
from basics.files import find_repository

# Folders of many files of a kind: counted, not listed.
COUNTED = ("experiments/runs", "experiments/predictions", "tests/dialogue_files/files")
COLUMN = 48
LONGEST = 110
# A heading or a comment, but for what is told to shellcheck.
MARKED = re.compile(r"(?:# (?!shellcheck )|// )\S")


def list_tracked(repository: Path) -> list[str]:
    """Paths that are tracked, or would be; UserError without git."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(command, cwd=repository, capture_output=True, text=True)
    if done.returncode:
        raise UserError(f"git ls-files: {done.stderr.strip()}; the map is made in a clone")
    return sorted({name for name in done.stdout.splitlines() if (repository / name).is_file()})


def render_structure() -> str:
    """The whole of file_structure.txt."""
    repository = find_repository()
    names = list_tracked(repository)
    lines = ["InstructERC: every file and its subject; made by `python docs/draw.py`.", ""]
    lines += _render_folder(repository, names, PurePosixPath("."), 0)
    return "\n".join(lines) + "\n"


def _render_folder(repository: Path, names: Sequence[str], folder: PurePosixPath, depth: int) -> list[str]:
    """Folders first, then files, each in the order of the alphabet."""
    below = [PurePosixPath(name) for name in names if folder in PurePosixPath(name).parents]
    level = len(folder.parts)
    folders = sorted({path.parts[level] for path in below if len(path.parts) > level + 1})
    lines = []
    for name in folders:
        place = folder / name
        if str(place) in COUNTED:
            count = sum(place in path.parents for path in below)
            lines.append(_line(depth, f"{name}/", f"{count} files"))
        else:
            lines += [_line(depth, f"{name}/", ""), *_render_folder(repository, names, place, depth + 1)]
    files = sorted(path for path in below if len(path.parts) == level + 1)
    return lines + [_line(depth, path.name, subject_of(repository / path)) for path in files]


def _line(depth: int, name: str, subject: str) -> str:
    return f"{('    ' * depth + name).ljust(COLUMN)}{subject}".rstrip()


def subject_of(path: Path) -> str:
    """A docstring's, comment's or heading's first line; empty for files that have none."""
    if path.suffix == ".py":
        words = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        return _shorten(words.partition("\n\n")[0].replace("\n", " "))
    if path.suffix in (".sh", ".md", ".txt", ".yaml", ".cpp") or path.name in ("Dockerfile", "run", ".gitignore"):
        lines = path.read_text(encoding="utf-8").splitlines()
        marked = (line.lstrip("#/ ") for line in lines[:12] if MARKED.match(line))
        return _shorten(next(marked, ""))
    return ""


def _shorten(words: str) -> str:
    return words if len(words) <= LONGEST else words[: LONGEST - 3].rsplit(" ", 1)[0] + " ..."
