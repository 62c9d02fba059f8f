"""Measured seconds -> rates, shares and factors: all that the tables and the chart show is derived here."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

Result = Mapping[str, Any]


@dataclass(frozen=True)
class Spread:
    """The median of repetitions, and their range."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        return cls(median(values), min(values), max(values))

    def __str__(self) -> str:
        digits = 1 if self.median >= 10 else 2
        return f"{self.median:.{digits}f} ({self.least:.{digits}f} to {self.most:.{digits}f})"


@dataclass(frozen=True)
class Merit:
    """What a contender reached. samples: a second; tokens, nodes: a second.

    share: of the ceiling in its precision, 0 to 1; None where that was not measured.
    """

    samples: Spread
    tokens: float
    nodes: float
    share: float | None


def merit_of(entry: Result, section: Result) -> Merit:
    """From the seconds of its repetitions and the section's work, operations and ceilings."""
    work, typical = section["work"], median(entry["seconds"])
    products = section["ceiling"].get(entry["precision"])
    return Merit(
        samples=Spread.of([work["rows"] / one for one in entry["seconds"]]),
        tokens=work["tokens"] / typical,
        nodes=work["nodes"] / typical,
        share=section["flops"] / typical / max(products.values()) if products else None,
    )


def merits(section: Result) -> dict[str, Merit]:
    """Contender -> merit, of those that ran."""
    return {name: merit_of(entry, section) for name, entry in section["contenders"].items() if "error" not in entry}


def fastest(names: Iterable[str], found: Mapping[str, Merit]) -> str | None:
    """The one of the contenders with the most samples a second; None where none ran."""
    return max((name for name in names if name in found), key=lambda name: found[name].samples.median, default=None)


def factors(section: Result, ours: str, rivals: Mapping[str, Iterable[str]]) -> dict[str, Spread]:
    """Rivals' description -> how many times the samples of the fastest of them ours does, round by round.

    Only those of which any ran; none where ours did not.
    """
    found, entries = merits(section), section["contenders"]
    if ours not in found:
        return {}
    best = {title: fastest(names, found) for title, names in rivals.items()}
    return {
        title: Spread.of(
            [theirs / own for theirs, own in zip(entries[name]["seconds"], entries[ours]["seconds"], strict=True)]
        )
        for title, name in best.items()
        if name
    }
