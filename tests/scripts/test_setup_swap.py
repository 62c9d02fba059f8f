"""envs/setup.sh makes a new environment beside the old one: with a Python whose pip only waits for a file or fails."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ENVS = Path(__file__).resolve().parents[2] / "envs"
# Makes "environments" that hold itself, and notes what pip is asked for.
FAKE_PYTHON = """#!/usr/bin/env bash
if [[ ${{1-}} == -m && $2 == venv ]]; then mkdir -p "$3/bin" && cp "$0" "$3/bin/python" && exit; fi
if [[ ${{1-}} == -m && $2 == pip ]]; then
    touch "{calls}/$$"
    for i in {{1..6000}}; do [[ -e ${{ONCE:-/}} ]] && break || sleep 0.05; done
    exit "${{PIP_FAILS:-0}}"
fi
exec {python} "$@"
"""


class Checkout:
    """A copy of envs/ in a folder with a blank in its name, and the Python that set-up finds there."""

    def __init__(self, folder: Path) -> None:
        self.root, self.calls, programs = folder / "a checkout", folder / "calls", folder / "programs"
        shutil.copytree(ENVS, self.root / "envs")
        for place in (self.calls, programs):
            place.mkdir()
        fake = programs / "python3.11"
        fake.write_text(FAKE_PYTHON.format(calls=self.calls, python=sys.executable))
        fake.chmod(0o755)
        self.path = f"{programs}:/usr/local/bin:/usr/bin:/bin"

    def start(self, **variables: str) -> subprocess.Popen[str]:
        command = ["bash", str(self.root / "envs/setup.sh")]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "start_new_session": True}
        return subprocess.Popen(command, env={"PATH": self.path, "ERC_TORCH": "cpu", **variables}, **pipes)

    def set_up(self, **variables: str) -> tuple[Path, str]:
        """The python that it prints, and what it says; it went well."""
        process = self.start(**variables)
        out, err = process.communicate(timeout=300)
        assert process.returncode == 0, err
        return Path(out.rstrip("\n")), err

    def set_up_behind(self, go: Path) -> Path:
        """The python of a set-up that finds another one at work, which ends once `go` is there."""
        process = self.start()
        told = next((line for line in process.stderr if "another set-up is at work" in line), "")
        go.touch()
        out, err = process.communicate(timeout=300)
        assert told and process.returncode == 0, told + err
        return Path(out.rstrip("\n"))

    def change_versions(self) -> None:
        with open(self.root / "envs/constraints.txt", "a", encoding="utf-8") as stream:
            stream.write("something-new==1.0\n")

    def wait_for_pip(self) -> None:
        deadline = time.monotonic() + 300
        while not any(self.calls.iterdir()):
            assert time.monotonic() < deadline
            time.sleep(0.05)

    @property
    def current(self) -> Path:
        return (self.root / ".venv").resolve()


@pytest.fixture
def place(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


def test_a_new_environment_is_made_beside_the_old_one(place: Checkout) -> None:
    old, _ = place.set_up()
    assert old == place.current / "bin/python" and old.parent.parent.parent == place.root / ".venvs"
    place.change_versions()
    new, told = place.set_up()
    assert new == place.current / "bin/python" and new != old
    assert old.is_file() and "stays for runs in progress" in told
    for call in place.calls.iterdir():
        call.unlink()
    assert place.set_up() == (new, "")
    other, _ = place.set_up(ERC_TORCH="cuda")
    assert other == place.current / "bin/python" and other != new
    for call in place.calls.iterdir():
        call.unlink()
    assert place.set_up()[0] == new == place.current / "bin/python"
    assert not any(place.calls.iterdir()), "what is whole is not made again"


def test_what_is_killed_or_fails_leaves_the_old_one(place: Checkout) -> None:
    old, _ = place.set_up()
    place.change_versions()
    for call in place.calls.iterdir():
        call.unlink()
    process = place.start(ONCE="nowhere")
    place.wait_for_pip()
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert old == place.current / "bin/python" and old.is_file()
    process = place.start(PIP_FAILS="1")
    assert "error: set-up stopped while installing torch" in process.communicate(timeout=300)[1]
    assert process.returncode == 2 and old == place.current / "bin/python"
    place.change_versions()
    new, _ = place.set_up()
    assert new == place.current / "bin/python"
    assert sorted(path for path in (place.root / ".venvs").iterdir()) == sorted({old.parents[1], new.parents[1]})


def test_what_killed_set_ups_left_goes_whatever_their_stamp_says(place: Checkout) -> None:
    """Killed before the stamp was there, or as it was written."""
    for name, stamp in (("0" * 12 + "-cpu", None), ("1" * 12 + "-cuda", ""), ("2" * 12 + "-cpu", "unfinished\n")):
        folder = place.root / ".venvs" / name
        (folder / "lib").mkdir(parents=True)
        if stamp is not None:
            (folder / "erc-stamp").write_text(stamp)
    (place.root / ".venvs/of-mine-cpu").mkdir()
    new, _ = place.set_up()
    kept = {path.name for path in (place.root / ".venvs").iterdir()}
    assert kept == {new.parents[1].name, "of-mine-cpu"}


def test_of_two_at_once_one_waits(place: Checkout) -> None:
    first = place.start(ONCE=str(place.root / "go"))
    place.wait_for_pip()
    second = place.set_up_behind(place.root / "go")
    assert first.communicate(timeout=300)[0] == f"{second}\n" and first.returncode == 0
    assert len(list(place.calls.iterdir())) == 2, "torch and the rest, once each"


def test_files_that_change_meanwhile_change_the_next_environment(place: Checkout) -> None:
    """As git does it: by a new file of the name. The one being made is of the old files, and the second call waits."""
    first = place.start(ONCE=str(place.root / "go"))
    place.wait_for_pip()
    constraints = place.root / "envs/constraints.txt"
    before = constraints.read_text(encoding="utf-8")
    (place.root / "new").write_text(before + "something-new==1.0\n", encoding="utf-8")
    os.replace(place.root / "new", constraints)
    second = place.set_up_behind(place.root / "go")
    assert first.wait(timeout=300) == 0
    made = Path(first.communicate()[0].rstrip("\n"))
    assert made.is_file() and made != second == place.current / "bin/python"
    kept = [python.parents[1] / "made_from/constraints.txt" for python in (made, second)]
    assert [path.read_text(encoding="utf-8") for path in kept] == [before, before + "something-new==1.0\n"]


def test_a_folder_of_an_earlier_version_is_moved_aside(place: Checkout) -> None:
    old = place.root / ".venv"
    old.mkdir()
    (old / "erc-stamp").write_text("of earlier files cpu\n")
    new, told = place.set_up()
    assert old.is_symlink() and new == place.current / "bin/python"
    (kept,) = (place.root / ".venvs").glob("before-*")
    assert (kept / "erc-stamp").is_file() and kept.name in told
