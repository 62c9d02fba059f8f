"""A checkout of code/ and envs/ alone, and its scripts run with knobs; for the tests of the scripts."""

import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
UNI = "train_and_inference_Uni.sh"
PLAIN = "train_and_inference_Plain.sh"
MIXED = "train_and_inference_Mixed.sh"

# Compiled files come along, with their times: else each of many calls would compile all of it.
MODULES = {
    "bases": ("find", "table", "tensor_files", "terms", "wheels"),
    "data_utils": ("labels", "prompts", "draws"),
    "data_utils/corpora": ("places", "description", "files", "sizes"),
    "training": ("arguments",),
}
READ_FIRST = ("envs", "code/*.sh", "code/settings.py", "code/basics", "code/dialogue_files", "code/knobs")
READ_FIRST += tuple(
    f"code/{folder}/{where}{name}.*py*"
    for folder, names in MODULES.items()
    for name in names
    for where in ("", "__pycache__/")
)

Result = subprocess.CompletedProcess[str]


def environment_of(knobs: Mapping[str, object]) -> dict[str, str]:
    """Of a dry run, unless told otherwise, with no other knobs."""
    environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", "DRY_RUN": "1"}
    return environment | {name: str(value) for name, value in knobs.items()}


@dataclass(frozen=True)
class ShellCheckout:
    """A folder, with a blank in its name, that holds code/ and envs/."""

    root: Path

    def run(self, *arguments: str, script: str = UNI, cwd: Path | None = None, **knobs: object) -> Result:
        """Run a script with knobs, a dry run unless told otherwise, in an environment that has no others."""
        environment = {"PYTHONDONTWRITEBYTECODE": "1"} | environment_of(knobs)
        command = ["bash", str(self.root / "code" / script), *arguments]
        return subprocess.run(
            command, cwd=cwd or self.root, env=environment, capture_output=True, text=True, timeout=300
        )

    def list_files(self) -> list[Path]:
        """Every path in it, to see that a run wrote nothing."""
        return sorted(self.root.rglob("*"))


def make_checkout(folder: Path) -> ShellCheckout:
    """Copy what the scripts read before anything is installed to a checkout inside `folder`."""
    root = folder / "a checkout"
    for pattern in READ_FIRST:
        for path in REPOSITORY.glob(pattern):
            target = root / path.relative_to(REPOSITORY)
            target.parent.mkdir(parents=True, exist_ok=True)
            if path.is_dir():  # another process may be about to compile what lies there
                shutil.copytree(path, target, ignore=shutil.ignore_patterns("*.pyc.*"))
            elif ".pyc." not in path.name:
                shutil.copy2(path, target)
    return ShellCheckout(root)


def training_command(result: Result) -> str:
    """The last command of a dry run that went well."""
    assert (result.returncode, result.stderr) == (0, ""), result.stderr
    return result.stdout.splitlines()[-1]
