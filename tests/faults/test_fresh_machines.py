"""Machines that are poorer than ours: no network, no home, nothing writable but the checkout, C's locale, odd names.

README.md beside this file lists what was tried on whole systems, which no quick test sets up.
"""

import json
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from commands import REPOSITORY, call_script
from tiny_models import main_command, save_base, save_rows

ODD = 'it\'s "a" checkout, é日 $x;&(1) [z] %s'
TEXT = "Zoë: Great!\n日本 😀: He died.\nZoë: Run!\n"
# Said by Python before every write, name look-up and connection: raises where the machine would refuse, and notes it.
GUARD = """
import os, sys
PLACE, NOTES = os.environ["ERC_PLACE"], os.environ["ERC_NOTES"]
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
NAMES = {"os.mkdir": 1, "os.rename": 2, "os.remove": 1, "os.rmdir": 1, "os.link": 2, "os.symlink": 2, "os.truncate": 1}

def note(what):
    notes = os.open(NOTES, os.O_WRONLY | os.O_APPEND)
    os.write(notes, (what + "\\n").encode("utf-8", "backslashreplace"))
    os.close(notes)

def watch(event, given):
    if event in ("socket.getaddrinfo", "socket.connect") and "127.0.0.1" not in str(given):
        note(f"{event} {given}")
        raise OSError(101, "Network is unreachable")
    if event == "open" and given[2] & WRITES and not isinstance(given[0], int):
        paths = given[:1]
    else:
        paths = given[: NAMES.get(event, 0)]
    for path in map(os.fsdecode, paths):
        absolute = os.path.abspath(path)
        if absolute != NOTES and not absolute.startswith((PLACE, "/dev/", "/proc/")):
            note(f"{event} {absolute}")
            raise PermissionError(13, "Permission denied", path)

sys.addaudithook(watch)
"""


@dataclass(frozen=True)
class Machine:
    """A checkout at a place of an odd name. notes: a file of all that the guard has refused."""

    root: Path
    notes: Path
    guard: Path

    def run(self, script: str, *arguments: object) -> subprocess.CompletedProcess[str]:
        """A script of the checkout, in the poorest environment."""
        environment = {
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "HOME": "/dev/null/nobody",
            "LC_ALL": "C",
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": str(self.guard),
            "ERC_PLACE": str(self.root),
            "ERC_NOTES": str(self.notes),
        }
        command = [sys.executable, self.root / "code" / script, *arguments]
        return subprocess.run(
            list(map(str, command)),
            cwd=self.root,
            env=environment,
            umask=0o077,
            capture_output=True,
            encoding="utf-8",
            timeout=600,
        )


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """On it a base and rows; what is under test is trained and asked there."""
    folder = tmp_path_factory.mktemp("machine")
    guard, notes, root = folder / "guard", folder / "notes", folder / ODD
    guard.mkdir()
    notes.touch()
    (guard / "sitecustomize.py").write_text(GUARD)
    shutil.copytree(REPOSITORY / "code", root / "code", ignore=shutil.ignore_patterns("*.pyc.*"))
    save_base(root / "LLM_bases" / "tiny")
    save_rows(root)
    (root / "chat.txt").write_text(TEXT, encoding="utf-8")
    return Machine(root, notes, guard)


@pytest.fixture(scope="module")
def trained_there(machine: Machine) -> Machine:
    """The same after a run of main_new.py."""
    (rows,) = (machine.root / "data").glob("*/*")
    flags = main_command(machine.root / "LLM_bases/tiny", rows, machine.root / "run", num_train_epochs=1)
    before = set(machine.root.rglob("*"))
    done = machine.run("main_new.py", *flags)
    assert done.returncode == 0, done.stderr
    for path in set(machine.root.rglob("*")) - before:
        assert not stat.S_IMODE(path.stat().st_mode) & 0o077, f"{path}: umask 077 was not heeded"
    return machine


def test_a_run_is_what_it_is_elsewhere(trained_there: Machine, tmp_path: Path) -> None:
    """Same answers, file by file, as on a machine that has all of it."""
    import main_new

    (rows,) = (trained_there.root / "data").glob("*/*")
    flags = main_command(trained_there.root / "LLM_bases/tiny", rows, tmp_path, num_train_epochs=1)
    assert call_script(main_new.main, *flags).returncode == 0
    name = "results/predictions.jsonl"
    assert (trained_there.root / "run" / name).read_bytes() == (tmp_path / name).read_bytes()


def test_answers_are_whole_and_written_in_utf_8(trained_there: Machine) -> None:
    flags = ("--checkpoint", trained_there.root / "run/model", "--input", trained_there.root / "chat.txt")
    done = trained_there.run("predict.py", *flags, "--output", "answers, 'é\".jsonl")
    assert done.returncode == 0, done.stderr
    lines = (trained_there.root / "answers, 'é\".jsonl").read_text(encoding="utf-8").splitlines()
    said = [f"{one['speaker']}: {one['text']}\n" for one in map(json.loads, lines)]
    assert "".join(said) == TEXT
    assert "3 utterances, 1 dialogue" in done.stderr


def test_nothing_was_asked_of_the_network(trained_there: Machine) -> None:
    assert [line for line in trained_there.notes.read_text().splitlines() if line.startswith("socket.")] == []


def test_the_guard_sees_what_it_should(machine: Machine) -> None:
    program = machine.root / "code" / "try_all.py"
    program.write_text(
        "import socket, pathlib, tempfile\n"
        "for work in (lambda: pathlib.Path('/tmp/x').write_text(''), lambda: pathlib.Path('/tmp/y').mkdir(),\n"
        "             lambda: socket.create_connection(('192.0.2.1', 9))):\n"
        "    try:\n        work()\n    except OSError as error:\n        print(error.errno)\n"
        "print(tempfile.gettempdir())\n"
    )
    before = machine.notes.read_text()
    done = machine.run("try_all.py")
    program.unlink()
    assert done.stdout.split("\n", 3)[:3] == ["13", "13", "101"] and str(machine.root) in done.stdout, done.stderr
    machine.notes.write_text(before)


# --- set-up ----------------------------------------------------------------------------------------------------------

MUSL = """
import os, sysconfig
def confstr(name):
    raise ValueError("unrecognized configuration name")
os.confstr = confstr
config = sysconfig.get_config_var
sysconfig.get_config_var = lambda name: "cpython-312-x86_64-linux-musl" if name == "SOABI" else config(name)
"""
OLD_GLIBC = "import os\nos.confstr = lambda name: 'glibc 2.27'\n"
OLD_PROCESSOR = "import platform\nplatform.machine = lambda: 'i686'\n"
INTEL_MAC = """
import platform
platform.system, platform.machine = lambda: "Darwin", lambda: "x86_64"
platform.mac_ver = lambda: ("14.5", ("", "", ""), "x86_64")
"""


@pytest.mark.parametrize(
    ("stub", "told"),
    [
        (MUSL, "there is no torch for a Linux with the C library musl, such as Alpine, on "),
        (OLD_GLIBC, "there is no torch for glibc 2.27 on "),
        (OLD_PROCESSOR, " on i686: use"),
        (INTEL_MAC, "there is no torch for macOS 14.5 on x86_64: use"),
    ],
    ids=["musl", "old glibc", "old processor", "old mac"],
)
def test_a_system_without_torch_is_refused_in_one_line(stub: str, told: str, tmp_path: Path) -> None:
    """Before anything is fetched or written; what the system is, Python is told by a stub."""
    envs = shutil.copytree(REPOSITORY / "envs", tmp_path / "checkout" / "envs")
    programs, stubs = tmp_path / "programs", tmp_path / "stubs"
    for folder in (programs, stubs):
        folder.mkdir()
    (stubs / "sitecustomize.py").write_text(stub)
    wrapper = programs / "python3.11"
    wrapper.write_text(f'#!/bin/sh\nPYTHONPATH={stubs} exec {sys.executable} "$@"\n')
    wrapper.chmod(0o755)
    environment = {"PATH": f"{programs}{os.pathsep}/usr/bin:/bin", "PIP_NO_INDEX": "1"}
    command = ["bash", str(envs / "setup.sh")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    (line,) = done.stderr.splitlines()
    assert (done.returncode, done.stdout) == (2, "") and line.startswith("error: ") and told in line, line
    assert [path.name for path in envs.parent.iterdir()] == ["envs"]
