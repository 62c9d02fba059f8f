"""The bar chart of a processor: samples a second of every contender, drawn without a display."""

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from basics.files import write_atomically
from benchmarks.contenders.definition import ours
from benchmarks.figures_of_merit import Result, merits
from results.figures import OKABE_ITO, own_style, to_png

CHART = "speed.png"  # in the folder of the processor's results
DOTS_PER_INCH = 160
OURS_COLOUR, OTHER_COLOUR = OKABE_ITO["blue"], "#B8B8B8"
INCHES_PER_BAR = 0.34


def draw_speeds(path: Path, results: Result) -> None:
    """Draws training on window rows and scoring as a PNG, medians with the range of the repetitions.

    Raises OSError naming the file, which is either whole or not there.
    """
    panels = (
        ("training, samples a second", results["training"]["workloads"]["window"]),
        ("scoring, rows a second", results["scoring"]),
    )
    bars = [len(merits(section)) for _, section in panels]
    with own_style():
        figure = Figure(figsize=(7.2, INCHES_PER_BAR * sum(bars) + 1.3), layout="constrained")
        axes = figure.subplots(len(panels), 1, height_ratios=bars)
        for one, (title, section) in zip(axes, panels, strict=True):
            _draw_panel(one, title, section)
        write_atomically(path, to_png(figure, DOTS_PER_INCH))


def _draw_panel(axes: Axes, title: str, section: Result) -> None:
    found = merits(section)
    entries = section["contenders"]
    own = entries[ours(section["precision"])]["title"]
    names = list(found)
    speeds = [found[name].samples for name in names]
    colours = [OURS_COLOUR if entries[name]["title"] == own else OTHER_COLOUR for name in names]
    ranges = [[one.median - one.least for one in speeds], [one.most - one.median for one in speeds]]
    places = range(len(names))
    bars = axes.barh(places, [one.median for one in speeds], color=colours, xerr=ranges, error_kw={"lw": 1.0})
    axes.bar_label(bars, [f"{one.median:.1f}" for one in speeds], padding=6)
    axes.set_yticks(places, [f"{entries[name]['title']}, {entries[name]['precision']}" for name in names])
    axes.invert_yaxis()
    axes.set_title(title, loc="left")
    axes.margins(x=0.1)
    axes.tick_params(axis="y", length=0)
