"""Which faults are put into a module, that each is one, and that those explained are of the code as it is."""

import ast

import pytest

from commands import REPOSITORY
from mutate import SUBJECTS, read_survivors
from mutations import list_mutants, mutate

SOURCE = '''
"""A docstring."""
@cache(size=3)
def pick(values: list[int], most: int = 7) -> int:
    """Another."""
    if not values:
        raise ValueError("none of " + str(most - 1))
    best = max(values[-1], key=len, strict=True)
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
pick: max(values[-1], key=len, strict=True) -> min(values[-1], key=len, strict=True)
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
