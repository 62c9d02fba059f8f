"""Figures of a run, drawn without a display or pyplot's global state; equal input gives equal bytes."""

import io
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import MaxNLocator

from basics.files import write_atomically
from data_utils.labels import WEIGHTED_F1
from results.fonts import give_fonts
from scoring.metrics import INVALID, EvalResult, field_of, name_metric

# `give_fonts` says it once, and what helps.
warnings.filterwarnings("ignore", message=r"Glyph \d+ .* missing from font", category=UserWarning)

DOTS_PER_INCH = 200
CELL_INCHES = 0.72
DARK_SHADE = 0.68  # above it, white figures are easier to read than black ones
# Okabe and Ito's colours, told apart by the colour-blind too.
OKABE_ITO = {
    "blue": "#0072B2",
    "vermilion": "#D55E00",
    "green": "#009E73",
    "purple": "#CC79A7",
    "orange": "#E69F00",
    "sky": "#56B4E9",
    "black": "#000000",
    "yellow": "#F0E442",
}
COLOURS = {"train": OKABE_ITO["vermilion"], "valid": OKABE_ITO["blue"], "test": OKABE_ITO["green"]}
MARKERS = {"train": "s", "valid": "o", "test": "^"}
STYLE = {
    "font.size": 9.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10.0,
    # A "$" in the name of a model or label is a character, not a formula.
    "text.parse_math": False,
}
_ONE_AT_A_TIME = threading.RLock()


def draw_confusion_matrix(path: Path, result: EvalResult, labels: Sequence[str], title: str) -> None:
    """Draw counts and the shares of each row as a PNG; invalid answers have a column where there are any.

    labels: the result's labels in the order in which they are to stand. Raises ValueError when they are
    others, OSError naming the file, which is either whole or not there.
    """
    if sorted(labels) != sorted(result.labels):
        raise ValueError(f"labels {list(labels)} are not those of the result, {list(result.labels)}")
    rows = [result.labels.index(label) for label in labels]
    columns = [*rows, len(rows)] if result.invalid else rows
    counts = [[result.confusion[row][column] for column in columns] for row in rows]
    totals = [sum(result.confusion[row]) for row in rows]
    shares = [[count / max(total, 1) for count in row] for row, total in zip(counts, totals, strict=True)]
    with own_style():
        # The cells alone fill the figure: saving adds room for whatever stands around them.
        figure = Figure(figsize=(CELL_INCHES * len(columns), CELL_INCHES * len(rows)))
        axes = figure.add_axes((0, 0, 1, 1))
        image = axes.imshow(shares, cmap="Blues", vmin=0.0, vmax=1.0)
        _write_cells(axes, counts, shares)
        _name_axes(axes, labels, totals, bool(result.invalid))
        axes.set_title(title, pad=10)
        _draw_scale(figure, axes, image)
        save_figure(figure, path)


def _draw_scale(figure: Figure, axes: Axes, image: AxesImage) -> None:
    """Draw the colour scale beside the matrix, equally high."""
    inches_wide = axes.figure.get_figwidth()
    place = axes.inset_axes((1 + 0.15 / inches_wide, 0, 0.14 / inches_wide, 1))
    bar = figure.colorbar(image, cax=place, format=lambda share, _: f"{share:.0%}")
    bar.set_label("share of the true label")
    bar.outline.set_visible(False)


def _write_cells(axes: Axes, counts: Sequence[Sequence[int]], shares: Sequence[Sequence[float]]) -> None:
    """Write the count into each cell, its share of the row beneath; an empty cell gets a pale 0."""
    for row, (row_counts, row_shares) in enumerate(zip(counts, shares, strict=True)):
        for column, (count, share) in enumerate(zip(row_counts, row_shares, strict=True)):
            colour = "white" if share > DARK_SHADE else "black" if count else "#9a9a9a"
            middle = {"ha": "center", "va": "center", "color": colour}
            if not count:
                axes.text(column, row, "0", fontsize=8, **middle)
                continue
            axes.text(column, row - 0.12, str(count), fontsize=10, **middle)
            axes.text(column, row + 0.24, _percent(share), fontsize=7, **middle)


def _percent(share: float) -> str:
    """A share in percent; one above 0 is never shown as 0%."""
    return f"{share:.0%}" if share >= 0.005 else "<1%"


def _name_axes(axes: Axes, labels: Sequence[str], totals: Sequence[int], invalid: bool) -> None:
    """Name rows (with their support) and columns; a gap in the grid sets the invalid column apart."""
    columns = [*labels, INVALID] if invalid else labels
    axes.set_xticks(range(len(columns)), columns, rotation=35, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(labels)), [f"{label} ({n})" for label, n in zip(labels, totals, strict=True)])
    axes.set_xlabel("predicted label")
    axes.set_ylabel("true label (utterances)")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    for edge in range(1, len(columns)):
        axes.axvline(edge - 0.5, color="white", linewidth=5 if edge == len(labels) else 1.2)
    for edge in range(1, len(labels)):
        axes.axhline(edge - 0.5, color="white", linewidth=1.2)


def draw_learning_curve(
    path: Path, epochs: Sequence[Mapping[str, Any]], best_epoch: float, title: str, metric: str = WEIGHTED_F1
) -> None:
    """Draw the score and the loss of every epoch as a PNG, side by side, the best epoch marked.

    epochs: each scoring with its `epoch` (1 is the end of the first) and any of `valid_<metric>`, `test_<metric>`
    (percent), `train_loss`, `valid_loss`; other keys are ignored. metric: the score that chose the best epoch, a
    dataset's. Raises ValueError where no epoch has that score, OSError naming the file, which is either
    whole or not there.
    """
    quantity = field_of(metric)
    if not _splits_with(epochs, quantity):
        raise ValueError(f"no epoch has a score to draw: {metric}")
    with own_style():
        figure = Figure(figsize=(7.2, 2.9), layout="constrained")
        score_axes, loss_axes = figure.subplots(1, 2)
        _draw_series(score_axes, epochs, quantity, axis_name(metric))
        _draw_series(loss_axes, epochs, "loss", "loss")
        loss_axes.set_ylim(bottom=0.0)
        for axes in (score_axes, loss_axes):
            axes.axvline(best_epoch, color="#7a7a7a", linewidth=1.0, linestyle=(0, (4, 3)), zorder=0)
        _mark_best(score_axes, epochs, quantity, best_epoch)
        figure.suptitle(title, fontsize=10)
        figure.get_layout_engine().set(wspace=0.06, h_pad=0.08)
        save_figure(figure, path)


def axis_name(metric: str) -> str:
    """The title of a score's axis."""
    return f"{name_metric(metric)} (%)"


def _splits_with(epochs: Sequence[Mapping[str, Any]], quantity: str) -> list[str]:
    """The splits for which any epoch holds `<split>_<quantity>`."""
    return [split for split in COLOURS if any(epoch.get(f"{split}_{quantity}") is not None for epoch in epochs)]


def _draw_series(axes: Axes, epochs: Sequence[Mapping[str, Any]], quantity: str, name: str) -> None:
    """Draw one line for each split that has the quantity."""
    size = 4.5 if len(epochs) <= 20 else 2.5
    for split in _splits_with(epochs, quantity):
        points = [(epoch["epoch"], epoch.get(f"{split}_{quantity}")) for epoch in epochs]
        known = zip(*((epoch, value) for epoch, value in points if value is not None), strict=True)
        axes.plot(*known, color=COLOURS[split], marker=MARKERS[split], ms=size, lw=1.6, label=split)
    first, last = epochs[0]["epoch"], epochs[-1]["epoch"]
    room = max(0.4, 0.06 * (last - first))
    axes.set_xlim(first - room, last + room)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set_xlabel("epoch")
    axes.set_ylabel(name)
    axes.margins(y=0.18)
    axes.grid(axis="y", color="#e4e4e4", linewidth=0.8)
    axes.set_axisbelow(True)
    if axes.lines:
        axes.legend(frameon=False)


def _mark_best(axes: Axes, epochs: Sequence[Mapping[str, Any]], quantity: str, best_epoch: float) -> None:
    """Ring the best epoch's point on every line, and write its score."""
    paper = {"facecolor": "white", "edgecolor": "none", "pad": 1.5}
    best = next((epoch for epoch in epochs if epoch["epoch"] == best_epoch), {})
    for split in _splits_with([best], quantity):
        score = best[f"{split}_{quantity}"]
        axes.plot([best_epoch], [score], "o", ms=11, mfc="none", mec=COLOURS[split], mew=1.4)
        axes.annotate(f"{score:.2f}", (best_epoch, score), (0, 10), textcoords="offset points", ha="center", bbox=paper)


@contextmanager
def own_style() -> Iterator[None]:
    """Inside, matplotlib's defaults and STYLE hold, whatever the user's matplotlibrc says; other threads wait.

    Settings are the process's: of two threads inside, the first to leave would take STYLE from the other.
    """
    with _ONE_AT_A_TIME, mpl.style.context(["default", STYLE]):
        yield


def save_figure(figure: Figure, path: Path) -> None:
    """Write the PNG whole or not at all, cut to its content."""
    write_atomically(Path(path), to_png(figure, DOTS_PER_INCH, bbox_inches="tight", pad_inches=0.1))


def to_png(figure: Figure, dots_per_inch: int, **room: Any) -> bytes:
    """The PNG, without matplotlib's version in it. room: arguments of `Figure.savefig` on margins."""
    drawn = io.BytesIO()
    FigureCanvasAgg(figure)
    give_fonts(figure)
    figure.savefig(drawn, format="png", dpi=dots_per_inch, metadata={"Software": None}, **room)
    return drawn.getvalue()
