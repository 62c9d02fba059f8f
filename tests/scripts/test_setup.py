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


def run_setup(envs: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the set-up with a PATH on which there is no package to be had."""
    environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", "PIP_NO_INDEX": "1", **variables}
    command = ["bash", str(envs / "setup.sh")]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)


def digest_of(envs: Path) -> str:
    """What a finished .venv is stamped with."""
    files = (envs / name for name in ("requirements.txt", "constraints.txt", "setup.sh"))
    return sha256(b"".join(path.read_bytes() for path in files)).hexdigest()


def make_finished_venv(envs: Path, kind: str = "cpu") -> Path:
    """A .venv that set-up finished, as far as set-up looks; returns its python."""
    python = envs.parent / ".venv/bin/python"
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    (envs.parent / ".venv/erc-stamp").write_text(f"{digest_of(envs)} {kind}\n")
    return python


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


def test_given_python_that_lacks_something_is_refused(envs: Path) -> None:
    requirements = envs / "requirements.txt"
    requirements.write_text(requirements.read_text(encoding="utf-8") + "no-such-package==1.0 # why\n")
    result = run_setup(envs, ERC_PYTHON=sys.executable)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == "error: ERC_PYTHON lacks no-such-package: install envs/requirements.txt there\n"


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


def test_every_requirement_is_pinned_exactly() -> None:
    for name in ("requirements.txt", "constraints.txt"):
        lines = (ENVS / name).read_text(encoding="utf-8").splitlines()
        pins = [pin for line in lines if (pin := line.partition("#")[0].strip())]
        assert pins and all(pin.count("==") == 1 and "*" not in pin for pin in pins)
        names = [pin.split("==")[0].lower() for pin in pins]
        assert len(names) == len(set(names))
