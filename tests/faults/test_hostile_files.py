"""Hostile files: each reader of the program ends in a result or in one line, within a second and 200 MB."""

import random
import warnings
import weakref
from contextlib import suppress
from pathlib import Path

import pytest

from basics.errors import UserError
from tests.faults.fuzz import oracle
from tests.faults.fuzz.kept import KEPT
from tests.faults.fuzz.mutations import mutate
from tests.faults.fuzz.oracle import FAULT, REFUSED, RESULT, TooSlow, try_input, within_limits
from tests.faults.fuzz.targets import load_targets

TARGETS = load_targets()
INPUTS = 100  # of each reader; fuzz/run.py tries as many as it is told
IMPORTED: set[str] = set()  # targets whose readers have read a file


@pytest.fixture(autouse=True)
def imported(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """A reader has read a good file of its kind: what it imports then takes longer than it may take for any other."""
    target = request.node.callspec.params.get("target") if hasattr(request.node, "callspec") else None
    if target and target not in IMPORTED:
        IMPORTED.add(target)
        with suppress(Exception):
            TARGETS[target].read(tmp_path, TARGETS[target].seeds()[0])


@pytest.mark.parametrize(("target", "name"), [(target, name) for target, kept in KEPT.items() for name in kept])
def test_kept_files_end_as_they_should(tmp_path: Path, target: str, name: str) -> None:
    data, refusal = KEPT[target][name]
    with within_limits():
        outcome = try_input(TARGETS[target].read, tmp_path, data)
    assert outcome.kind == (RESULT if refusal is None else REFUSED), outcome
    assert refusal is None or refusal in outcome.told, outcome.told


@pytest.mark.parametrize("target", TARGETS)
def test_changed_files_end_in_a_result_or_in_one_line(tmp_path: Path, target: str) -> None:
    one, rng = TARGETS[target], random.Random(target)
    seeds = one.seeds()
    with within_limits(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for data in (*seeds, *(mutate(rng, seeds, one.tokens) for _ in range(INPUTS))):
            outcome = try_input(one.read, tmp_path, data)
            assert outcome.kind != FAULT, (outcome, data[:300])


@pytest.mark.parametrize("target", TARGETS)
def test_good_files_are_read(tmp_path: Path, target: str) -> None:
    one = TARGETS[target]
    assert RESULT in {try_input(one.read, tmp_path, data).kind for data in one.seeds()}


def raise_error(folder: Path, data: bytes) -> None:
    raise KeyError(data)


def run_forever(folder: Path, data: bytes) -> None:
    while True:
        pass


# More than this process can have taken before and let go, which is no new memory to the system.
TOO_MUCH = 8_000_000_000


def take_memory(folder: Path, data: bytes) -> None:
    bytearray(TOO_MUCH)


def hide_memory(folder: Path, data: bytes) -> None:
    try:
        bytearray(TOO_MUCH)
    except MemoryError:
        raise UserError("corrupt") from None


def name_no_file(folder: Path, data: bytes) -> None:
    raise OSError("somewhere")


def say_nothing(folder: Path, data: bytes) -> None:
    raise UserError("")


def test_what_a_reader_holds_is_let_go_before_it_is_judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be all the memory that there is."""

    class Held:
        pass

    held, judge = [], oracle._judge_refusal

    def read(folder: Path, data: bytes) -> None:
        kept = Held()
        held.append(weakref.ref(kept))
        raise UserError("too large")

    monkeypatch.setattr(oracle, "_judge_refusal", lambda error: held.append(held[0]()) or judge(error))
    with within_limits():
        assert try_input(read, tmp_path, b"").kind == REFUSED
    assert held[1] is None


READERS = (raise_error, run_forever, take_memory, hide_memory, name_no_file, say_nothing)


@pytest.mark.parametrize("read", READERS)
def test_what_is_no_refusal_is_a_fault(tmp_path: Path, read) -> None:
    with within_limits():
        assert try_input(read, tmp_path, b"").kind == FAULT


def test_what_may_happen_is_none(tmp_path: Path) -> None:
    def refuse(folder: Path, data: bytes) -> None:
        raise UserError("line 1: no turn")

    with within_limits():
        ends = [
            try_input(read, tmp_path, b"x").kind for read in (refuse, lambda folder, data: (folder / "no").read_text())
        ]
        assert try_input(lambda folder, data: data, tmp_path, b"x").kind == RESULT
    assert ends == [REFUSED, REFUSED]


def test_limits_go_with_their_block(tmp_path: Path) -> None:
    with within_limits():
        assert try_input(run_forever, tmp_path, b"").told.startswith(TooSlow.__name__)
    bytearray(300_000_000)


def test_changes_come_again_with_their_seed() -> None:
    seeds = (b'{"a": [1, 2]}', b"Ann: Hi.\n")
    drawn = [[mutate(random.Random(seed), seeds) for seed in range(200)] for _ in range(2)]
    assert drawn[0] == drawn[1] and len(set(drawn[0])) > 100
