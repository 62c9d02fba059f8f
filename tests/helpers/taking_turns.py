"""Two threads at one place of the program: do both come in at once? Found out without waiting for a clock."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from threading import Event, get_ident
from typing import Any, Self

PATIENCE = 300  # seconds, if the other never comes


class Meeting:
    """Stands in for the lock of a place, and is told who is inside. The first there waits for another at the door.

    most: how many have been inside at the same time.
    """

    def __init__(self, lock: AbstractContextManager) -> None:
        self.lock, self.first, self.inside, self.most = lock, 0, set(), 0
        self.has_begun, self.other_came = Event(), Event()

    def __enter__(self) -> Self:
        self._look()
        self.lock.__enter__()
        return self

    def __exit__(self, *trouble: Any) -> None:
        self.lock.__exit__(*trouble)

    def _look(self) -> None:
        if self.first not in (0, get_ident()):
            self.other_came.set()

    @contextmanager
    def within(self) -> Iterator[None]:
        """Around what is done at the place."""
        self.inside.add(get_ident())
        self.most = max(self.most, len(self.inside))
        self._look()
        if not self.first:
            self.first = get_ident()
            self.has_begun.set()
            assert self.other_came.wait(PATIENCE)
        try:
            yield
        finally:
            self.inside.discard(get_ident())

    def around(self, work: Callable) -> Callable:
        """The same work, known to be done at the place."""

        def done(*given: Any, **named: Any) -> Any:
            with self.within():
                return work(*given, **named)

        return done

    def of(self, first: Callable[[], Any], other: Callable[[], Any]) -> tuple[Any, Any]:
        """What both answer; the other begins once the first is inside."""
        with ThreadPoolExecutor(2) as pool:
            one = pool.submit(first)
            assert self.has_begun.wait(PATIENCE)
            return pool.submit(other).result(), one.result()
