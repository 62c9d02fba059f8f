"""What one setting of an experiment is; the table of them is knobs/table.py."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from knobs.kinds import Kind
from knobs.readers import Reader

NOTHING = "none"

Recipe = Mapping[str, str]


@dataclass(frozen=True)
class Knob:
    """One setting.

    suffix: its name in that of a result folder; empty where it does not change the result, or the path names it
    already. default: used where no recipe applies; None: it must be set, or is left out. recipes: one or two of a base,
    a dataset, small_train, a kind of rows and a setting, joined by a blank -> the default there. readers: in the order
    of their flags. also: another name under which it may be set. guesses: names that people type for it; an error then
    names the right one. later: the knob was added after results had been committed: at its default it is not passed on,
    so that commands and plans of those runs stay the same.
    """

    name: str
    readers: tuple[Reader, ...] | Reader
    kind: Kind
    suffix: str
    default: str | None
    meaning: str
    recipes: Recipe = field(default_factory=dict)
    also: str = ""
    guesses: tuple[str, ...] = ()
    later: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.readers, Reader):
            object.__setattr__(self, "readers", (self.readers,))

    @property
    def told(self) -> str:
        """Its meaning, and the other setting without which it is not read."""
        under = self.readers[0].under
        return f"{self.meaning}; only with `{under}`" if under else self.meaning
