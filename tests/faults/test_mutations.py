"""Which faults are put into a module, that each is one, and that those explained are of the code as it is."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from commands import REPOSITORY
from mutate import SUBJECTS, read_survivors
from mutations import list_mutants, mutate
from trials import function_of

SOURCE = '''
"""A docstring."""
@cache(size=3)
def pick(values: list[int], most: int = 7) -> int:
    """Another."""
    if not values:
        raise ValueError("none of " + str(most - 1))
    flag_help = "1 or 2"
    best = max(values[-1], key=len, strict=True, help="one")
    values[0] = best
    return best if best <= most and flag else None
'''
EXPECTED = """
pick: 7 -> 8
pick: not values -> values
pick: raise ValueError('none of ' + str(most - 1)) -> pass
pick: ValueError('none of ' + str(most - 1)) -> ValueError('none of ' - str(most - 1))
pick: str(most - 1) -> str(most + 1)
pick: most - 1 -> most - 2
pick: max(key=len) -> max()
pick: max(values[-1], key=len, strict=True, help='one') -> min(values[-1], key=len, strict=True, help='one')
pick: values[-1] -> values[1]
pick: values[-1] -> values[-2]
pick: values[0] = best -> pass
pick: values[0] -> values[1]
pick: return best if best <= most and flag else None -> return None
pick: best if best <= most and flag else None -> best if not (best <= most and flag) else None
pick: best if best <= most and flag else None -> best if best <= most or flag else None
pick: best <= most and flag -> best < most and flag
"""


def test_the_faults_of_a_function() -> None:
    assert "\n".join(one.key for one in list_mutants(SOURCE)) == EXPECTED.strip()


@pytest.mark.parametrize("module", SUBJECTS)
def test_each_mutant_of_a_module_is_another_program(module: str) -> None:
    source = (REPOSITORY / "code" / f"{module}.py").read_text(encoding="utf-8")
    plain = ast.unparse(ast.parse(source))
    mutants = list_mutants(source)
    assert len(mutants) > 20
    for one in mutants[:: len(mutants) // 4]:
        mutated = mutate(source, one.number)
        assert ast.unparse(mutated) != plain
        compile(mutated, module, "exec")


@pytest.mark.parametrize("module", read_survivors())
def test_what_is_explained_is_a_mutant_of_the_code_as_it_is(module: str) -> None:
    assert module in SUBJECTS
    source = (REPOSITORY / "code" / f"{module}.py").read_text(encoding="utf-8")
    assert read_survivors()[module].keys() <= {one.key for one in list_mutants(source)}


CLASSES = """
class Room:
    seats = 2

    def has(self, wanted):
        return any(wanted <= free for free in (self.seats,))

    class Door:
        @property
        def width(self):
            return 80

class Hall(Room):
    def has(self, wanted):
        return super().has(wanted)
"""


def test_faults_of_a_method_are_of_it_alone() -> None:
    """So that the tests that call it are enough; but not where it is a closure no longer, whose code it cannot take."""
    found = {(one.within, function_of(CLASSES, one)) for one in list_mutants(CLASSES)}
    methods = ("Room.has", "Room.Door.width")
    assert found == {("Room", ""), ("Hall.has", ""), *zip(methods, methods, strict=True)}


MODULE = """
MOST = 2
KEPT = frozenset((MOST,))

def is_small(number):
    return number < MOST

def is_kept(number):
    return number in KEPT

def never_called(number):
    return number + 1
"""
TESTS = """
from sizes import is_kept, is_small

def test_small():
    assert is_small(1) and not is_small(2)

def test_kept():
    assert is_kept(2)
"""
TRY = """
import sys
from pathlib import Path
from mutations import list_mutants
from trials import try_mutants
tests, path = sys.argv[1], Path(sys.argv[2])
mutants = list_mutants(path.read_text())
try_mutants([tests], path, mutants, lambda one: print(one.killed, mutants[one.number].key))
"""


def test_faults_of_functions_and_of_all_else_are_tried(tmp_path: Path) -> None:
    for name, text in (("sizes.py", MODULE), ("test_sizes.py", TESTS)):
        (tmp_path / name).write_text(text, encoding="utf-8")
    files = [str(tmp_path / name) for name in ("test_sizes.py", "sizes.py")]
    command = [sys.executable, "-c", TRY, *files]
    ended = subprocess.run(command, cwd=REPOSITORY / "tests/faults/mutants", capture_output=True, text=True, check=True)
    assert sorted(ended.stdout.splitlines()) == [
        "False never_called: number + 1 -> number + 2",
        "False never_called: number + 1 -> number - 1",
        "False never_called: return number + 1 -> return None",
        "True is_kept: number in KEPT -> number not in KEPT",
        "True is_kept: return number in KEPT -> return None",
        "True is_small: number < MOST -> number <= MOST",
        "True is_small: return number < MOST -> return None",
        "True module: 2 -> 3",
    ]
