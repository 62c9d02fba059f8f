"""Which training utterances are drawn: the one train that rows, demonstrations, seen texts and counts are made of.

Source: arXiv 2309.11911, section 4 (data scaling).
"""

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from basics.errors import UserError

DEFAULT_SEED = 42


@dataclass(frozen=True)
class Draw:
    """A share of the training utterances.

    fraction: above 0 up to 1. seed: of the draw; where everything is drawn it decides nothing and is the usual one.
    """

    fraction: float = 1.0
    seed: int = DEFAULT_SEED

    def __post_init__(self) -> None:
        if self.is_whole:
            object.__setattr__(self, "seed", DEFAULT_SEED)

    @property
    def is_whole(self) -> bool:
        return self.fraction == 1

    @property
    def folder_suffix(self) -> str:
        """How a folder of drawn rows is told from others; empty where everything is drawn."""
        seed = f"_seed_{self.seed}" if self.seed != DEFAULT_SEED else ""
        return "" if self.is_whole else f"{self.fraction!r}{seed}"


ALL_OF_TRAIN = Draw()


class HasId(Protocol):
    """A row, or another thing of one utterance. id: `<dataset>/<dialogue>/<turn>`."""

    @property
    def id(self) -> str: ...


Row = TypeVar("Row", bound=HasId)


def draw_rows(rows: Sequence[Row], draw: Draw) -> list[Row]:
    """The rows, in their order, of a seeded draw of utterances without replacement.

    Utterances are drawn, and come with their rows of every task: rows with and without another task are of the same.

    Raises:
        UserError: no row would be left.
    """
    if draw.is_whole:
        return list(rows)
    chosen = _draw_ids(dict.fromkeys(row.id for row in rows), draw)
    return [row for row in rows if row.id in chosen]


def _draw_ids(ids: Iterable[str], draw: Draw) -> frozenset[str]:
    utterances = list(ids)
    count = round(len(utterances) * draw.fraction)
    if not count:
        raise UserError(
            f"--data_percent {draw.fraction} of {len(utterances)} training utterances leaves none; "
            "choose a larger share"
        )
    return frozenset(random.Random(f"fraction/{draw.seed}").sample(utterances, count))


def is_draw(value: Any) -> bool:
    """Whether a value of a JSON file is a draw, as the fields of one."""
    if not isinstance(value, dict) or set(value) != {"fraction", "seed"}:
        return False
    fraction, seed = value["fraction"], value["seed"]
    return type(seed) is int and seed >= 0 and type(fraction) in (int, float) and 0 < fraction <= 1


def read_draw(settings: Mapping[str, Any]) -> Draw:
    """The draw that the settings of rows in a manifest tell of; all of train where they tell of none."""
    return Draw(**settings.get("draw", {}))
