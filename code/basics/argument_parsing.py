"""Command lines whose every fault is told in one line, together with the values that are allowed."""

import argparse
import functools
import math
import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from basics.errors import UserError, raise_together
from basics.files import behind_links

_KIND_NAMES = {int: "a whole number", float: "a number"}


def true_or_false(text: str) -> bool:
    """Read the words True and False, the way the released scripts write them."""
    if text not in ("True", "False"):
        raise argparse.ArgumentTypeError(f"{text!r} is not allowed, allowed are True, False")
    return text == "True"


def output_file(text: str) -> Path:
    """Read the name of a file that is to be replaced whole: of a link the file that it leads to, so that it stays."""
    if Path(text).exists() and not Path(text).is_file():
        what = "a folder" if Path(text).is_dir() else "a pipe or a device"
        raise argparse.ArgumentTypeError(f"{text!r} is not allowed, allowed is a file, and this is {what}")
    if Path(text).exists() and _is_stdout(Path(text)):
        raise argparse.ArgumentTypeError(f"{text!r} is not allowed: what is printed goes there too, and would be lost")
    return behind_links(Path(text))


def _is_stdout(path: Path) -> bool:
    with suppress(OSError):  # stdout may be closed
        return os.path.samestat(path.stat(), os.fstat(1))
    return False


def whole_number(minimum: int, maximum: int | None = None) -> Callable[[str], int]:
    """Return a reader of whole numbers that are at least `minimum`, and at most `maximum` where there is one."""
    allowed = f"whole numbers from {minimum}" + ("" if maximum is None else f" to {maximum}")
    highest = math.inf if maximum is None else maximum

    def read(text: str) -> int:
        if not text.isascii() or not text.removeprefix("-").isdigit() or not minimum <= int(text) <= highest:
            raise argparse.ArgumentTypeError(f"{text!r} is not allowed, allowed are {allowed}")
        return int(text)

    return read


def number(meaning: str, fits: Callable[[float], bool]) -> Callable[[str], float]:
    """Return a reader of numbers that fit; `meaning` says in words which do."""

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan  # which fits nowhere
        if not fits(value):
            raise argparse.ArgumentTypeError(f"{text!r} is not allowed, allowed is a number {meaning}")
        return value

    return read


share = number("above 0 and up to 1", lambda value: 0 < value <= 1)


@dataclass(frozen=True)
class _Check:
    """What one argument must be; applied after argparse, to all arguments."""

    flag: str
    action: argparse.Action
    required: bool
    read: Callable[[str], Any]
    choices: Iterable[Any] | None

    def apply(self, parsed: argparse.Namespace) -> str | None:
        """Replace the text in `parsed` by its value, or return the problem."""
        text = getattr(parsed, self.action.dest)
        if text is None and self.required:
            meant = "" if self.flag.startswith("-") or self.choices is not None else f": {self.action.help}"
            return f"{self.flag} is missing{meant}" + self._name_choices()
        if not isinstance(text, str):
            # A default that was given as a value.
            return None
        try:
            value = self.read(text)
        except argparse.ArgumentTypeError as error:
            return f"{self.flag}: {error}"
        except (TypeError, ValueError):
            allowed = _KIND_NAMES.get(self.read, getattr(self.read, "__name__", "another value"))
            return f"{self.flag}: {text!r} is not allowed, allowed is {allowed}"
        if self.choices is not None and value not in self.choices:
            return f"{self.flag}: {text!r} is not allowed" + self._name_choices()
        setattr(parsed, self.action.dest, value)
        return None

    def _name_choices(self) -> str:
        return f", allowed are {', '.join(map(str, self.choices))}" if self.choices is not None else ""


class LineParser(argparse.ArgumentParser):
    """An ArgumentParser whose faults come as one UserError that lists them all.

    argparse stops at the first fault. This one lets it read texts only, and applies `type`, `choices`
    and `required` itself once all of them are there, in groups too. Flags cannot be shortened.
    Arguments with nargs or an action of their own keep argparse's checks.
    """

    def __init__(self, **options: Any) -> None:
        # argparse's own __init__ adds --help and its groups through the two methods below.
        self._checks: list[_Check] = []
        self._names: list[str] = []
        self._looks: list[Callable[[argparse.Namespace], Iterable[str]]] = []
        super().__init__(allow_abbrev=False, **options)

    def add_argument(self, *names: str, **options: Any) -> argparse.Action:
        """Add an argument as argparse does; see the class for what is checked later."""
        return self._add_checked(super().add_argument, *names, **options)

    def add_argument_group(self, *texts: Any, **options: Any) -> Any:
        """Add a group as argparse does; its arguments are checked like the parser's own."""
        group = super().add_argument_group(*texts, **options)
        group.add_argument = functools.partial(self._add_checked, group.add_argument)
        return group

    def _add_checked(self, add: Callable[..., argparse.Action], *names: str, **options: Any) -> argparse.Action:
        if options.get("action") != "help":
            self._names.append(names[0])
        if "action" in options or "nargs" in options:
            return add(*names, **options)
        read = options.pop("type", None) or str
        choices = options.pop("choices", None)
        if choices is not None:
            options.setdefault("metavar", "{" + ",".join(map(str, choices)) + "}")
        elif read is true_or_false:
            options.setdefault("metavar", "{True,False}")
        action = add(*names, **options)
        self._checks.append(_Check(names[0], action, action.required, read, choices))
        return action

    def add_look(self, look: Callable[[argparse.Namespace], Iterable[str]]) -> None:
        """Add what looks at all arguments at once and yields problems; of a bad one it sees the text."""
        self._looks.append(look)

    def parse_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> argparse.Namespace:
        """Return the checked arguments; UserError lists every fault."""
        for check in self._checks:
            check.action.required = False
        parsed, unknown = self.parse_known_args(args, namespace)
        problems = [problem for check in self._checks if (problem := check.apply(parsed))]
        problems += [problem for look in self._looks for problem in look(parsed)]
        if unknown:
            problems.append(f"unknown argument {' '.join(unknown)!r}, allowed are {', '.join(self._names)}")
        raise_together(problems)
        return parsed

    def format_help(self) -> str:
        """Return the help text, in which required arguments look required."""
        for check in self._checks:
            check.action.required = check.required
        return super().format_help()

    def error(self, message: str) -> NoReturn:
        """Raise what argparse itself has to say as a UserError."""
        raise UserError(message)
