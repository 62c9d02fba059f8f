"""Rows are dealt to processes whole, by dialogue, and evenly; what that costs is counted."""

import pytest

from distributed_worker import SCORED
from engine.batching import EncodedRow, RowEncoder, training_batches
from engine.dealing import deal, deal_rows, in_lockstep, measure_dealing, nodes_of, share_of_dialogues, step_batches
from engine.distributed import World
from engine.prefix_tree import PrefixTree, count_nodes
from tiny_models import LABELS, character_tokenizer, small_rows

SIZES = [1, 2, 3, 4, 8]


def test_the_largest_goes_to_whom_has_least() -> None:
    assert deal([3, 9, 4, 4, 2], 2) == [[1, 4], [2, 3, 0]]
    assert deal([5, 5], 3) == [[0], [1], []]
    assert deal([], 2) == [[], []]


def test_nodes_are_counted_as_the_tree_has_them() -> None:
    rows = small_rows(count=3, turns=5)
    prompts, targets = [row.prompt for row in rows], [(row.target,) for row in rows]
    assert count_nodes(prompts, targets) == len(PrefixTree.from_rows(prompts, targets)) == nodes_of(rows)
    assert nodes_of([]) == 0


def row(dialogue: str, turn: int, *prompt: int) -> EncodedRow:
    return EncodedRow(f"set/{dialogue}/{turn}", "emotion_recognition", prompt, (1, 2), 1.0, 0)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("shares", [True, False])
def test_every_row_is_dealt_once(size: int, shares: bool) -> None:
    rows = small_rows(count=4, turns=4)
    dealt = deal_rows(rows, shares, size)
    assert len(dealt) == size
    assert sorted(row.id for share in dealt for row in share) == sorted(row.id for row in rows)
    places = {row.id: place for place, row in enumerate(rows)}
    assert all([places[row.id] for row in share] == sorted(places[row.id] for row in share) for share in dealt)


def test_dialogues_stay_whole_where_that_is_even() -> None:
    long = [row("long", turn, *range(10 + turn)) for turn in range(4)]
    short = [row(f"short{number}", 0, 100 + number, *range(5)) for number in range(2)]
    mixed = [long[0], short[0], *long[1:], short[1]]
    assert deal_rows(mixed, True, 2) == [long, short]
    # 17 nodes; a cut would save the slowest 2, or 3, and cost the mean as much.
    assert deal_rows(long, True, 4) == [long, [], [], []]


def test_a_dialogue_is_cut_where_the_slowest_has_less_then() -> None:
    apart = [row("one", turn, turn, *range(20)) for turn in range(4)]  # share nothing
    first, second = deal_rows(apart, True, 2)
    assert (first, second) == (apart[:2], apart[2:])
    alike = [row("one", turn, *range(50), *range(60, 100), turn) for turn in range(4)]
    assert deal_rows(alike, True, 2) == [alike, []], "the slowest would have 94 nodes in place of 98, the mean 94 of 49"
    one = [row("one", 0, *range(50))]
    assert deal_rows(one, True, 3) == [one, [], []]


def test_a_cut_that_gains_nothing_is_not_made() -> None:
    """Two dialogues of the same cost for two processes, and one row more that each has to wait for."""
    pairs = [row(name, turn, start, *range(30), turn) for start, name in enumerate("ab") for turn in range(2)]
    assert [{one.dialogue for one in share} for share in deal_rows(pairs, True, 2)] == [{"set/a"}, {"set/b"}]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("micro_steps", [1, 2])
def test_losses_of_all_processes_add_up_to_the_mean(size: int, micro_steps: int) -> None:
    """Also in a step of one row, of which most processes have none."""
    rows = small_rows("predict", count=2, turns=3, alpha=0.25)
    for step in (rows, rows[:1]):
        shares = step_batches(step, 250, True, micro_steps, size)
        weights = {row.id + row.task: 0.0 for row in step}
        for batch in (batch for share in shares for batch in share):
            for one, weight in zip(batch.rows, batch.weights, strict=True):
                weights[one.id + one.task] += weight
        assert weights == pytest.approx({row.id + row.task: row.weight / len(step) for row in step})
        if size == 1:
            assert shares == [training_batches(step, 250, True, micro_steps)]


@pytest.mark.parametrize("size", SIZES)
def test_in_lockstep_all_run_as_many_micro_batches(size: int) -> None:
    """Also in a step of one row, which most of the processes can only pad."""
    rows = small_rows(count=2, turns=3)
    for step in (rows, rows[:1]):
        shares = in_lockstep(step_batches(step, 250, True, 1, size))
        assert len({len(share) for share in shares}) == 1 and len(shares) == size
        counted = [row.id for share in shares for batch in share if any(batch.weights) for row in batch.rows]
        assert sorted(counted) == sorted(row.id for row in step)
        assert sum(sum(batch.weights) for share in shares for batch in share) == pytest.approx(1)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7])
def test_shares_are_whole_dialogues_of_even_size(size: int) -> None:
    rows = RowEncoder(character_tokenizer(), 1024).encode(SCORED, LABELS)
    shares = [share_of_dialogues(rows, World(rank, size)) for rank in range(size)]
    dialogues = [{row.dialogue for row in share} for share in shares]
    assert all(dialogues), "a process with nothing to score would leave the others waiting"
    assert set().union(*({row.id for row in share} for share in shares)) == {row.id for row in SCORED}
    if size <= 5:
        assert sum(map(len, shares)) == len(SCORED)
        assert sum(map(len, dialogues)) == len(set().union(*dialogues)) == 5
        assert max(map(len, shares)) - min(map(len, shares)) <= 3  # rows of the longest dialogue


def test_what_dealing_costs_is_counted() -> None:
    tails = [range(100 * turn, 100 * turn + 38) for turn in range(1, 5)]
    alike = [row("one", turn, *range(20), *tail) for turn, tail in enumerate(tails)]  # 20 + 4 * 39, 98 each of two
    found = measure_dealing([alike], True, 2)
    assert (found.together, found.computed, found.waited_for) == (176, 196, 98)
    assert found.repeated == pytest.approx(20 / 176) and found.behind == 0 and found.times == pytest.approx(176 / 98)
    uneven = [row("one", turn, *range(50), turn) for turn in range(2)] + [row("two", 0, *range(100, 120))]
    found = measure_dealing([uneven, uneven], True, 2)
    assert (found.together, found.computed, found.waited_for) == (2 * 75, 2 * 75, 2 * 54)
    assert found.behind == pytest.approx(54 / 37.5 - 1)
    assert str(found) == (
        "rows are dealt to 2 processes: they compute 0.0% more tokens than one would, the slowest has 44.0% more than "
        "the mean"
    )
    apart = measure_dealing([[row(str(turn), 0, *range(20), *tail) for turn, tail in enumerate(tails)]], True, 4)
    assert apart.repeated == pytest.approx(3 * 20 / 176), "the 20 that all share are three times too many, not once"
    padded = measure_dealing([alike], False, 2)
    assert (padded.together, padded.computed, padded.waited_for) == (236, 236, 118)
