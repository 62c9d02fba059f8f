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

    suffix: what it is called in the name of a result folder; empty for what leaves the result as it is or stands
    there already. default: everywhere but where `recipes` says otherwise; None: it has to be said or is left out.
    recipes: words (a base, a dataset, small_train, a kind of rows, a setting; up to two) -> the default there.
    readers: in the order of their flags. also: another name under which it may be set. guesses: what people type for
    it, which is then told to be it. later: runs were kept before there was this knob: as usual it is not said, so that
    their commands and plans are still those of today; anything else is.
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
        """What it is, and beside which other setting alone it is read."""
        under = self.readers[0].under
        return f"{self.meaning}; only with `{under}`" if under else self.meaning
