"""A library that is missing, told in one line: which one, and the command that installs it."""

import re
import shlex
import sys
from pathlib import Path

CODE = Path(__file__).resolve().parents[1]
ENVS = CODE.parent / "envs"
# Each takes in the one before; the first one suffices for these scripts, the second for all others but those of docs.
FILES = ("predict.txt", "train.txt", "develop.txt")
SMALL_SCRIPTS = frozenset({"predict.py", "export.py"})
# What is imported -> by what name it is installed, where the two differ by more than hyphens.
INSTALLED_AS = {"faiss": "faiss-cpu", "sklearn": "scikit-learn", "yaml": "pyyaml"}


def is_ours(error: ModuleNotFoundError) -> bool:
    """Whether what is missing is a file of this program, which nobody can install."""
    top = _top(error)
    return not top or (CODE / top).is_dir() or (CODE / f"{top}.py").is_file()


def say_missing(error: ModuleNotFoundError) -> str:
    """The line for a library that is not installed, with the command that installs all that the script uses."""
    listing = ENVS / FILES[max(_place_of_script(Path(sys.argv[0]).name), _place_of_library(_top(error)))]
    shown = listing.relative_to(Path.cwd()) if listing.is_relative_to(Path.cwd()) else listing
    command = shlex.join([sys.executable or "python", "-m", "pip", "install", "-r", str(shown)])
    return (
        f"the library {_top(error)} is not installed for this Python: `{command}` installs what the script uses, and "
        "`bash envs/setup.sh` makes an environment that has it, .venv"
    )


def _top(error: ModuleNotFoundError) -> str:
    return (error.name or "").partition(".")[0]


def _place_of_script(name: str) -> int:
    return 0 if name in SMALL_SCRIPTS else 1


def _place_of_library(name: str) -> int:
    """The place among FILES of the first that names a library; 0 for what none names, as others bring it along."""
    sought = INSTALLED_AS.get(name, name.replace("_", "-"))
    for place, file in enumerate(FILES):
        if re.search(rf"^{re.escape(sought)}\b(?!-)", (ENVS / file).read_text(encoding="utf-8"), re.MULTILINE):
            return place
    return 0
