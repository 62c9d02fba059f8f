"""A reader that is fuzzed, as tables name it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Target:
    """A reader of a file.

    read: (an empty folder of its own, the file's bytes) -> whatever comes of it; it writes the file and those that
    belong beside it. seeds: good files, or nearly so. tokens: what such files are made of.
    """

    read: Callable[[Path, bytes], object]
    seeds: Callable[[], Sequence[bytes]]
    tokens: tuple[bytes, ...] = ()
