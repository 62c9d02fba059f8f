"""LineParser: every fault of a command line in one UserError."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from basics.argument_parsing import LineParser, output_file, true_or_false, whole_number
from basics.errors import UserError, raise_together
from commands import REPOSITORY


def make_parser() -> LineParser:
    parser = LineParser(prog="program")
    parser.add_argument("--name", required=True, choices=("a", "b"))
    parser.add_argument("--flag", type=true_or_false, default=False)
    parser.add_argument("--many", nargs="*", default=[])
    group = parser.add_argument_group("numbers")
    group.add_argument("--rate", type=float, default=0.5)
    group.add_argument("--count", type=whole_number(1), default=1)
    group.add_argument("--steps", type=int, required=True)
    return parser


def test_good_values_are_read() -> None:
    words = "--name b --flag True --rate 2e-4 --count 3 --steps -1 --many x y"
    assert vars(make_parser().parse_args(words.split())) == {
        "name": "b",
        "flag": True,
        "rate": 2e-4,
        "count": 3,
        "steps": -1,
        "many": ["x", "y"],
    }


def test_defaults_stay_as_they_are() -> None:
    parsed = make_parser().parse_args(["--name", "a", "--steps", "1"])
    assert (parsed.flag, parsed.rate, parsed.count, parsed.many) == (False, 0.5, 1, [])


def test_every_fault_is_told_at_once_in_groups_too() -> None:
    words = "--flag true --rate fast --count 0 --nam a"
    with pytest.raises(UserError) as caught:
        make_parser().parse_args(words.split())
    assert str(caught.value).split("; ") == [
        "--name is missing, allowed are a, b",
        "--flag: 'true' is not allowed, allowed are True, False",
        "--rate: 'fast' is not allowed, allowed is a number",
        "--count: '0' is not allowed, allowed are whole numbers from 1",
        "--steps is missing",
        "unknown argument '--nam a', allowed are --name, --flag, --many, --rate, --count, --steps",
    ]


@pytest.mark.parametrize("text", ["1.5", "", "-", "١", "1 2", "--1"])
def test_whole_numbers_are_plain_digits(text: str) -> None:
    with pytest.raises(UserError, match="--count"):
        make_parser().parse_args(["--name", "a", "--steps", "1", f"--count={text}"])


def test_an_output_takes_the_place_of_files_alone(tmp_path: Path) -> None:
    """A file that is renamed to a pipe, a device or a link takes its place, also that of /dev/null where root asks."""
    file, link, loose, pipe = (tmp_path / name for name in ("file", "link", "loose", "pipe"))
    file.touch()
    link.symlink_to(file.name)
    loose.symlink_to("none")
    os.mkfifo(pipe)
    parser = LineParser(prog="program")
    parser.add_argument("--json", type=output_file)

    def read(path: Path | str) -> Path:
        return parser.parse_args(["--json", str(path)]).json

    assert [read(path) for path in (file, link, loose)] == [file, file, tmp_path / "none"]
    for path in (pipe, os.devnull):
        with pytest.raises(UserError, match=f"^--json: '{path}' is not allowed, allowed is a file, and this is a pipe"):
            read(path)
    for path in (tmp_path, ".", ""):  # an empty variable of a shell is the current folder
        with pytest.raises(UserError, match=f"^--json: '{path}' is not allowed, allowed is a file, and this is a fold"):
            read(path)


@pytest.mark.parametrize("spelling", ["all.txt", "./all.txt", "link"])
def test_an_output_is_not_where_stdout_goes(tmp_path: Path, spelling: str) -> None:
    """Its new content takes the place of the file, and what is printed went to one without a name."""
    (tmp_path / "link").symlink_to("all.txt")
    told = f"--json: {spelling!r} is not allowed: what is printed goes there too, and would be lost"
    with open(tmp_path / "all.txt", "w") as stdout:
        command = [sys.executable, REPOSITORY / "code" / "audit.py", "--json", spelling]
        done = subprocess.run(command, stdout=stdout, stderr=subprocess.PIPE, cwd=tmp_path, text=True)
    assert (done.returncode, done.stderr.strip()) == (2, f"error: {told}")


def test_help_still_shows_choices(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        make_parser().parse_args(["--help"])
    told = capsys.readouterr().out
    assert caught.value.code == 0 and "{a,b}" in told and "{True,False}" in told
    assert "[-h] --name {a,b} [--flag" in told


def test_problems_are_raised_together_or_not_at_all() -> None:
    raise_together([])
    with pytest.raises(UserError, match="^a; b$"):
        raise_together(["a", "b"])
