"""envs/setup.sh where no installation is needed: what it refuses, and the environment that is ready."""

import shutil
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import pytest

ENVS = Path(__file__).resolve().parents[2] / "envs"


@pytest.fixture
def envs(tmp_path: Path) -> Path:
    """A copy of envs/ beside which a .venv may be made."""
    return Path(shutil.copytree(ENVS, tmp_path / "a checkout" / "envs"))


def run_setup(envs: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the set-up with a PATH on which there is no package to be had."""
    environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", "PIP_NO_INDEX": "1", **variables}
    command = ["bash", str(envs / "setup.sh"), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)


def digest_of(envs: Path) -> str:
    """What a finished environment is stamped with."""
    files = (envs / name for name in ("predict.txt", "train.txt", "develop.txt", "constraints.txt", "setup.sh"))
    return sha256(b"".join(path.read_bytes() for path in files)).hexdigest()


def make_finished_venv(envs: Path, kind: str = "cpu") -> Path:
    """An environment that set-up finished, as far as set-up looks, and .venv that leads to it; returns its python."""
    digest = digest_of(envs)
    folder = envs.parent / ".venvs" / f"{digest[:12]}-{kind}"
    (folder / "bin").mkdir(parents=True)
    (folder / "bin/python").symlink_to(sys.executable)
    (folder / "erc-stamp").write_text(f"{digest} {kind}\n")
    (envs.parent / ".venv").symlink_to(folder.relative_to(envs.parent))
    return folder / "bin/python"


def test_finished_environment_is_named_and_nothing_else_is_said(envs: Path) -> None:
    python = make_finished_venv(envs)
    for variables in ({}, {"ERC_TORCH": "cpu"}):
        result = run_setup(envs, **variables)
        assert (result.returncode, result.stdout, result.stderr) == (0, f"{python}\n", "")


def test_environment_of_somebody_else_is_left_alone(envs: Path) -> None:
    own = envs.parent / ".venv/pyvenv.cfg"
    own.parent.mkdir()
    own.touch()
    result = run_setup(envs)
    assert (result.returncode, result.stdout) == (2, "")
    assert "was not made by envs/setup.sh" in result.stderr
    assert list(own.parent.iterdir()) == [own]


def test_given_python_that_has_the_pins_is_taken(envs: Path) -> None:
    result = run_setup(envs, ERC_PYTHON=sys.executable)
    assert (result.returncode, result.stdout) == (0, f"{sys.executable}\n"), result.stderr
    assert not (envs.parent / ".venv").exists()


def test_settings_are_checked_by_the_python_that_will_run(envs: Path) -> None:
    """It knows which packages are there: one that is given is taken instead of .venv."""
    made = envs.parent / ".venv" / "bin" / "python"
    made.parent.mkdir(parents=True)
    made.symlink_to(sys.executable)
    for given, found in ((sys.executable, sys.executable), ("nowhere", str(made))):
        result = run_setup(envs, "--interpreter", ERC_PYTHON=given)
        assert (result.returncode, result.stdout) == (0, f"{found}\n"), result.stderr


def test_given_python_that_lacks_something_is_refused(envs: Path) -> None:
    for name, line in (("train.txt", "no-such-package  # why\n"), ("constraints.txt", "no-such-package==1.0\n")):
        (envs / name).write_text((envs / name).read_text(encoding="utf-8") + line)
    result = run_setup(envs, ERC_PYTHON=sys.executable)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == "error: ERC_PYTHON lacks no-such-package: install envs/train.txt there\n"


@pytest.mark.parametrize(
    ("variables", "line"),
    [
        ({"ERC_PYTHON": "nowhere"}, "error: ERC_PYTHON=nowhere: there is no such program\n"),
        ({"ERC_TORCH": "gpu"}, "error: ERC_TORCH=gpu: choose one of cpu cuda\n"),
    ],
)
def test_wrong_variables_are_refused(envs: Path, variables: dict[str, str], line: str) -> None:
    result = run_setup(envs, **variables)
    assert (result.returncode, result.stdout, result.stderr) == (2, "", line)
    assert not (envs.parent / ".venv").exists()


def read_lines(name: str) -> list[str]:
    """The lines of a file of envs/ that say something, without comments."""
    lines = (line.partition("#")[0].strip() for line in (ENVS / name).read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line]


def test_the_lock_pins_what_each_file_names_and_each_takes_in_the_one_before() -> None:
    pins = read_lines("constraints.txt")
    assert all(pin.count("==") == 1 and "*" not in pin for pin in pins)
    names = [pin.split("==")[0] for pin in pins]
    assert len(names) == len({name.lower() for name in names}) and names == sorted(names)
    named = []
    for file, first in (
        ("predict.txt", "-c constraints.txt"),
        ("train.txt", "-r predict.txt"),
        ("develop.txt", "-r train.txt"),
    ):
        lines = read_lines(file)
        assert lines[0] == first
        named += lines[1:]
    assert len(named) == len(set(named)) and set(named) <= set(names)
