"""The pieces of README.md's tables that several sections share."""

from collections.abc import Callable, Iterable, Mapping

from basics.markdown import render_table
from basics.words import counted
from benchmarks.ceiling import BANDWIDTH
from benchmarks.figures_of_merit import Merit, Result, Spread, factors, merits

GIBIBYTE = 1 << 30
TERA, GIGA = 1e12, 1e9
TRAINING_HEADER = (
    "contender",
    "precision",
    "samples/s (range)",
    "useful tokens/s",
    "distinct tokens/s",
    "of the ceiling",
    "peak memory",
    "loss",
    "should be",
)


def machine_line(section: Result) -> str:
    """Where, with what and how long a section was measured."""
    machine = section["machine"]
    versions = ", ".join(f"{name} {found}" for name, found in machine["versions"].items() if found)
    where = machine.get("gpu") or f"{machine['processor']}, {counted(machine['cores'], 'core')}"
    return f"{where}; {versions}; commit {machine['commit']}; measured in {section['took'] / 60:.0f} minutes."


def work_line(title: str, section: Result) -> str:
    """What one repetition of a training section holds, and the ceilings above it."""
    work, ceiling = section["work"], ceiling_line(section["ceiling"])
    drawn = f"{work['tokens']:,} tokens, {work['nodes']:,} of them distinct"
    if epoch := section.get("epoch"):
        drawn += (
            f" ({work['nodes'] / work['tokens']:.1%}; of the epoch that they are drawn from "
            f"{epoch['nodes'] / epoch['tokens']:.1%}; {work['tokens'] / work['rows']:.0f} tokens a row, of the epoch "
            f"{epoch['tokens'] / epoch['rows']:.0f})"
        )
    return f"**{title}**: {work['rows']} rows a repetition, {drawn}; {ceiling}."


def ceiling_line(ceiling: Mapping[str, Mapping[str, float]]) -> str:
    """The best product in each precision, and the memory's rate where it was measured."""
    products = [f"{max(of.values()) / TERA:.2f} TFLOP/s in {name}" for name, of in ceiling.items() if name != BANDWIDTH]
    memory = [f"memory {max(ceiling[BANDWIDTH].values()) / GIGA:.1f} GB/s"] if BANDWIDTH in ceiling else []
    return f"ceiling {', '.join([*products, *memory])}"


def training_table(section: Result) -> str:
    """Every contender's rates, and its loss beside the one that it should have."""

    def losses(entry: Result) -> list[str]:
        expected = section["reference"][entry["reduction"]]["losses"]
        return [f"{entry['loss']:.4f}", f"{sum(expected) / len(expected):.4f}"]

    return render_table(TRAINING_HEADER, contender_rows(section, len(TRAINING_HEADER), losses), numbers=True)


def contender_rows(section: Result, columns: int, last_cells: Callable[[Result], list[str]]) -> list[list[str]]:
    """The cells of every contender; of one that failed, its error."""
    found = merits(section)
    rows = []
    for name, entry in section["contenders"].items():
        first = [entry["title"], entry["precision"]]
        if name in found:
            memory = f"{entry['peak_memory'] / GIBIBYTE:.1f} GiB"
            rows.append([*first, *_merit_cells(found[name]), memory, *last_cells(entry)])
        else:
            rows.append([*first, entry["error"], *[""] * (columns - len(first) - 1)])
    return rows


def _merit_cells(merit: Merit) -> list[str]:
    share = "" if merit.share is None else f"{merit.share:.0%}"
    return [str(merit.samples), f"{merit.tokens:,.0f}", f"{merit.nodes:,.0f}", share]


def factor_lines(section: Result, verb: str, ours: str, rivals: Mapping[str, Iterable[str]]) -> list[str]:
    """How many times as fast as its rivals this engine is, where it and any of them ran."""
    found = factors(section, ours, rivals)
    listed = "; ".join(f"**{of.median:.1f} times** ({in_range(of)}) as fast as {title}" for title, of in found.items())
    precision = section["contenders"][ours]["precision"]
    return [f"In {precision} this engine {verb} {listed}."] if found else []


def in_range(spread: Spread) -> str:
    """Its least and most, to one decimal."""
    return f"{spread.least:.1f} to {spread.most:.1f}"
