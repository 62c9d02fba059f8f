"""Visitors at once get what they get alone, whatever others send; `faults/crowd.py` is fifty, of a real base."""

from crowd import crowd, find_tracebacks


def test_visitors_at_once_see_their_own_dialogue_alone(address: str, page_log) -> None:
    came = crowd(address, visitors=8, visits=1, turns=2)
    assert (came.faults, len(came.seconds)) == ([], 8)
    assert find_tracebacks(page_log) == []
