"""Draws a share of the training utterances; rows, demonstrations, seen texts and counts are made of these alone.

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

    fraction: above 0, up to 1. seed: of the draw; set to the default where fraction is 1, as it then decides nothing.
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
        """The part of a folder's name that tells the draw; empty where everything is drawn."""
        seed = f"_seed_{self.seed}" if self.seed != DEFAULT_SEED else ""
        return "" if self.is_whole else f"{self.fraction!r}{seed}"


ALL_OF_TRAIN = Draw()


class HasId(Protocol):
    """A row, or anything else that belongs to one utterance. id: `<dataset>/<dialogue>/<turn>`."""

    @property
    def id(self) -> str: ...


Row = TypeVar("Row", bound=HasId)


def draw_rows(rows: Sequence[Row], draw: Draw) -> list[Row]:
    """The rows, in their order, of the utterances that a seeded draw without replacement chooses.

    An utterance keeps its rows of all tasks, so the same utterances are drawn with and without a second task.

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
    """Whether a value that was read from JSON holds the fields of a `Draw`, with values that are allowed."""
    if not isinstance(value, dict) or set(value) != {"fraction", "seed"}:
        return False
    fraction, seed = value["fraction"], value["seed"]
    return type(seed) is int and seed >= 0 and type(fraction) in (int, float) and 0 < fraction <= 1


def read_draw(settings: Mapping[str, Any]) -> Draw:
    """The draw in a manifest's `arguments`; all of train where there is none."""
    return Draw(**settings.get("draw", {}))
