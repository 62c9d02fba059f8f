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
    """What a contender reached. samples: a second; tokens, nodes: a second; share: of the ceiling, 0 to 1."""

    samples: Spread
    tokens: float
    nodes: float
    share: float


def merit_of(seconds: Sequence[float], section: Result) -> Merit:
    """From the seconds of its repetitions and the section's work, operations and ceiling."""
    work, typical = section["work"], median(seconds)
    return Merit(
        samples=Spread.of([work["rows"] / one for one in seconds]),
        tokens=work["tokens"] / typical,
        nodes=work["nodes"] / typical,
        share=section["flops"] / typical / max(section["ceiling"].values()),
    )


def merits(section: Result) -> dict[str, Merit]:
    """Contender -> merit, of those that ran."""
    return {
        name: merit_of(entry["seconds"], section)
        for name, entry in section["contenders"].items()
        if "error" not in entry
    }


def factors(section: Result, ours: str, rivals: Mapping[str, Iterable[str]]) -> dict[str, float]:
    """Rivals' description -> how many times the samples of the fastest of them ours does, where both ran."""
    found = merits(section)
    if ours not in found:
        return {}
    speeds = {
        title: max((found[name].samples.median for name in names if name in found), default=0.0)
        for title, names in rivals.items()
    }
    return {title: found[ours].samples.median / speed for title, speed in speeds.items() if speed}
