"""Runs tests on mutants: of a function those that call it, in forks of a process that has collected all tests.

Else a process imports the module with the fault in it, and runs the files of tests that call any of its functions.
"""

import ast
import builtins
import contextlib
import importlib
import importlib.machinery
import inspect
import json
import os
import resource
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from types import CodeType, FunctionType, ModuleType

import hypothesis
import pytest

from mutations import Mutant, mutate

REPOSITORY = Path(__file__).resolve().parents[3]
PATIENCE = 10  # times the CPU seconds of the tests alone, then a mutant counts as killed: it goes on for ever
LEAST_PATIENCE = 5  # CPU seconds
LARGEST_GROWTH = 4 << 30  # bytes of address space
NOTE = "note_a_call_of"


@dataclass(frozen=True)
class Ended:
    """code: pytest's, or minus the number of a signal. seconds: of CPU time."""

    code: int
    seconds: float


@dataclass(frozen=True)
class Tried:
    """What became of a mutant, by number: whether tests noticed it, and the CPU seconds until then."""

    number: int
    killed: bool
    seconds: float


def try_mutants(tests: Sequence[str], path: Path, mutants: Sequence[Mutant], tell: Callable[[Tried], None]) -> None:
    """Run tests, pytest's arguments, on mutants of a module; SystemExit where they fail without a mutant.

    tell: called with what became of each, in any order.
    """
    load_libraries(tests)
    source = path.read_text(encoding="utf-8")
    inside = {one.number: name for one in mutants if (name := function_of(source, one))}
    left = {one.number for one in mutants}
    alone = []

    def hear(line: str) -> None:
        told = json.loads(line)
        if not alone:
            alone.extend(told)
        else:
            left.discard(told[0])
            tell(Tried(*told))

    ended = in_a_fork(lambda writing: call_pytest(tests, [_Trials(path, source, inside, writing)]), hear)
    if ended.code:
        sys.exit(f"{path}: {' '.join(tests)} fail without a mutant (exit code {ended.code})")
    seconds, files = alone
    nearest = [one for one in tests if not one.endswith(".py") or str(REPOSITORY / one) in files]
    for number in sorted(left):
        whole = run_tests(nearest, path, mutate(source, number), LEAST_PATIENCE + int(PATIENCE * seconds))
        tell(Tried(number, bool(whole.code), whole.seconds))


def _functions(tree: ast.Module, path: str) -> dict[str, CodeType]:
    """The code of the functions, methods and classes of a module, by their dotted names; not within functions.

    Of a class without its methods, which are functions of their own.
    """

    def walk(code: CodeType) -> Iterator[CodeType]:
        for one in code.co_consts:
            if not isinstance(one, CodeType):
                continue
            if one.co_flags & inspect.CO_OPTIMIZED:
                yield one
            else:  # the body of a class
                yield one.replace(co_consts=tuple(kept for kept in one.co_consts if not isinstance(kept, CodeType)))
                yield from walk(one)

    return {code.co_qualname: code for code in walk(compile(tree, path, "exec"))}


def function_of(source: str, mutant: Mutant) -> str:
    """The function or method whose code alone a mutant changes; empty: it changes something else."""
    plain, other = _functions(ast.parse(source), ""), _functions(mutate(source, mutant.number), "")
    changed = [name for name, code in plain.items() if code != other.get(name)]
    if len(changed) != 1 or not mutant.within.startswith(changed[0]):
        return ""
    before, after = plain[changed[0]], other[changed[0]]
    # A function takes no code that closes over other names, as of a method without its `super()`.
    takes = before.co_flags & inspect.CO_OPTIMIZED and before.co_freevars == after.co_freevars
    return changed[0] if takes else ""


def _noting(source: str) -> tuple[ast.Module, set[str]]:
    """(the tree of a module of which each function first says its name to the builtin NOTE, the names)."""
    tree, names = ast.parse(source), set()
    waiting = [(tree, "")]
    while waiting:
        node, within = waiting.pop()
        for child in node.body:
            if isinstance(child, ast.ClassDef):
                waiting.append((child, f"{within}{child.name}."))
            elif isinstance(child, ast.FunctionDef):
                names.add(f"{within}{child.name}")
                child.body.insert(0, ast.parse(f"{NOTE}({within + child.name!r})").body[0])
    return ast.fix_missing_locations(tree), names


class _Trials:
    """A plugin of pytest that, in place of running the tests once, runs them for each mutant in a fork.

    functions: number of a mutant -> the function that it is in. Writes JSON to the file descriptor `writing`: a line
    with the CPU seconds of all tests and the files of those that call the module, then one for each `Tried`. Mutants of
    functions that were called while tests were collected are left out, as what they gave may be kept.
    """

    def __init__(self, path: Path, source: str, functions: dict[int, str], writing: int) -> None:
        self._path, self._source, self._functions, self._writing = path, source, functions, writing
        self._called: set[str] = set()
        tree, self._noted = _noting(source)
        setattr(builtins, NOTE, self._called.add)
        replace_module(path, tree)

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Run the tests alone, then on each mutant; true: nobody else needs to run them."""
        called = frozenset(self._called)
        calls: list[tuple[float, list[str]]] = []  # of each test
        ended = in_a_fork(lambda writing: self._look(session, writing), lambda line: calls.append(json.loads(line)))
        session.testsfailed = int(ended.code != 0)
        if ended.code:
            return True
        callers = zip(session.items, calls, strict=True)
        files = {str(item.path) for item, (_, names) in callers if names}
        _write(self._writing, (ended.seconds, sorted(files)))
        for number, name in self._functions.items():
            function = self._find(name) if name in self._noted - called else None
            if function:
                chosen = [place for place, (_, names) in enumerate(calls) if name in names]
                seconds = sum(calls[place][0] for place in chosen)
                _write(self._writing, self._try(session, number, function, chosen, seconds))
        return True

    def _look(self, session: pytest.Session, writing: int) -> int:
        """Write (CPU seconds, functions that are called) of each test."""
        for item, following in _in_order(session.items):
            self._called.clear()
            start = time.process_time()
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            _write(writing, (time.process_time() - start, sorted(self._called)))
        return session.testsfailed

    def _find(self, name: str) -> FunctionType | None:
        modules = [one for one in list(sys.modules.values()) if getattr(one, "__file__", None) == str(self._path)]
        found: object = modules[0] if len(modules) == 1 else None
        for part in name.split("."):
            found = found.__dict__.get(part) if isinstance(found, (ModuleType, type)) else None
        found = getattr(found, "__func__", None) or getattr(found, "fget", None) or getattr(found, "func", found)
        found = inspect.unwrap(found) if callable(found) else None
        return found if isinstance(found, FunctionType) else None

    def _try(
        self, session: pytest.Session, number: int, function: FunctionType, chosen: Sequence[int], seconds: float
    ) -> tuple[int, bool, float]:
        def work(_: int) -> int:
            _set_limits(LEAST_PATIENCE + int(PATIENCE * seconds))
            tree = mutate(self._source, number)
            function.__code__ = _functions(tree, str(self._path))[function.__code__.co_qualname]
            for item, following in _in_order([session.items[place] for place in chosen]):
                item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
                if session.testsfailed:
                    return 1
            return 0

        ended = in_a_fork(work)
        return number, ended.code != 0, ended.seconds


def _write(writing: int, one: object) -> None:
    os.write(writing, f"{json.dumps(one)}\n".encode())


def _in_order(items: Sequence[pytest.Item]) -> Iterator[tuple[pytest.Item, pytest.Item | None]]:
    """Each test and the next one, which says what fixtures stay."""
    return zip_longest(items, items[1:])


def _set_limits(seconds: int) -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + LARGEST_GROWTH
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def run_tests(tests: Sequence[str], path: Path, tree: ast.Module, limit: int) -> Ended:
    """Run tests on a module that is this tree; limit: CPU seconds."""

    def work(_: int) -> int:
        _set_limits(limit)
        replace_module(path, tree)
        return call_pytest(tests)

    return in_a_fork(work)


def load_libraries(tests: Sequence[str]) -> None:
    """Import here what the tests import, but for what is ours."""

    def work(writing: int) -> int:
        code = call_pytest([*tests, "--collect-only"])
        ours = (str(REPOSITORY / "code"), str(REPOSITORY / "tests"), str(REPOSITORY / "demo"))
        files = {name: getattr(module, "__file__", None) for name, module in list(sys.modules.items())}
        names = [name for name, file in files.items() if isinstance(file, str) and not file.startswith(ours)]
        _write(writing, names)
        return code

    names: list[str] = []
    ended = in_a_fork(work, lambda line: names.extend(json.loads(line)))
    if ended.code:
        sys.exit(f"{' '.join(tests)}: cannot be collected (exit code {ended.code})")
    for name in names:
        with contextlib.suppress(Exception):  # one that is there by another name
            importlib.import_module(name)


def replace_module(path: Path, tree: ast.Module) -> None:
    """Let this process import the tree where it would import the file."""
    plain = importlib.machinery.SourceFileLoader.get_code

    def get_code(loader: importlib.machinery.SourceFileLoader, name: str) -> object:
        return compile(tree, path, "exec") if Path(loader.path) == path else plain(loader, name)

    importlib.machinery.SourceFileLoader.get_code = get_code


def call_pytest(arguments: Sequence[str], plugins: Sequence[object] = ()) -> int:
    # The same inputs for each mutant, none of them kept, and none made smaller.
    phases = [hypothesis.Phase.explicit, hypothesis.Phase.generate]
    patient = {"deadline": None, "suppress_health_check": [hypothesis.HealthCheck.too_slow]}
    hypothesis.settings.register_profile("mutants", database=None, derandomize=True, phases=phases, **patient)
    hypothesis.settings.load_profile("mutants")
    quiet = ["-x", "-q", "-p", "no:cacheprovider", "-m", "not slow", "--rootdir", str(REPOSITORY)]
    return int(pytest.main([*quiet, *arguments], plugins=plugins))


def in_a_fork(work: Callable[[int], int], hear: Callable[[str], None] | None = None) -> Ended:
    """Run it in a process of its own. It is given a file descriptor; `hear` gets the lines that it writes to it."""
    sys.stdout.flush()
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        code = 1
        try:
            os.chdir(REPOSITORY)
            silence = os.open(os.devnull, os.O_WRONLY)
            os.dup2(silence, 1)
            os.dup2(silence, 2)
            code = work(writing)
        finally:
            os._exit(code)
    os.close(writing)
    with open(reading) as stream:
        for line in stream:
            hear(line)
    _, status, used = os.wait4(child, 0)
    return Ended(os.waitstatus_to_exitcode(status), used.ru_utime + used.ru_stime)
