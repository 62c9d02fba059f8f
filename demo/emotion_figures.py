"""Pictures of one dialogue's emotions, and of what is in a corpus, as PNG bytes; equal input gives equal bytes."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import ceil

from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from own_dialogues.writing import TurnEmotion
from results.figures import own_style, to_png
from results.fonts import give_fonts

DOTS_PER_INCH = 100
MOST_TURNS_NAMED = 40  # beyond, the words would lie on top of one another
LONGEST_NAME = 16
LONGEST_LINE = 58
SHADES = colormaps["Blues"]
EVEN_LUMINANCE = 0.179  # black and white have the same contrast to it
# Told apart by the colour-blind too (Okabe and Ito, then Tol); the first is for the first label, and so on.
COLOURS = ("#999999", "#E69F00", "#CC79A7", "#0072B2", "#009E73", "#8C564B", "#D55E00", "#56B4E9", "#AA3377")
HATCHES = ("", "////", "....", "xxxx")
LEGEND_SHARE = 0.98  # of the width of a figure, at most
LEGEND_LINE = 0.19  # inches


def colour_of(label: str, labels: Sequence[str]) -> str:
    """The colour of a label, the same in every picture of a checkpoint."""
    return COLOURS[list(labels).index(label) % len(COLOURS)]


def _hatch_of(label: str, labels: Sequence[str]) -> str:
    """What tells labels of one colour apart, where there are more labels than colours."""
    return HATCHES[list(labels).index(label) // len(COLOURS) % len(HATCHES)]


def draw_timeline(rows: Sequence[TurnEmotion], labels: Sequence[str]) -> bytes:
    """A line for each speaker, a mark for each turn: colour and word say which emotion, size how probable it is."""
    speakers = list(dict.fromkeys(row.turn.speaker for row in rows))
    with _drawn(max(5.0, min(14.0, 0.55 * len(rows))), 0.9 + 0.62 * len(speakers)) as figure:
        axes = figure.subplots()
        for place, speaker in enumerate(speakers):
            turns = [row.turn.turn for row in rows if row.turn.speaker == speaker]
            axes.plot(turns, [place] * len(turns), color="#dddddd", lw=1.5, zorder=1)
        for row in rows:
            height, size = speakers.index(row.turn.speaker), 40 + 160 * row.probability
            axes.scatter([row.turn.turn], [height], s=size, color=colour_of(row.emotion, labels), zorder=2)
            if len(rows) <= MOST_TURNS_NAMED:
                place = {"xytext": (0, 10), "textcoords": "offset points", "ha": "center", "fontsize": 7.5}
                axes.annotate(row.emotion, (row.turn.turn, height), **place)
        axes.set_yticks(range(len(speakers)), [_short(speaker) for speaker in speakers])
        axes.set_ylim(len(speakers) - 0.5, -0.65)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.set_xlabel("turn")
        axes.margins(x=0.05)
        return to_png(figure, DOTS_PER_INCH)


def draw_probabilities(rows: Sequence[TurnEmotion], labels: Sequence[str]) -> bytes:
    """A column for each turn, a row for each label, darker where it is more probable."""
    shares = [[row.probabilities[label] for row in rows] for label in labels]
    names = [str(row.turn.turn) for row in rows]
    return draw_shares(shares, labels, names, "turn", "")


def draw_emotions(answers: Mapping[str, Mapping[str, float]], labels: Sequence[str]) -> bytes:
    """A bar for each answer (what was asked -> label -> share), parted among the labels; the greatest is named."""
    with _drawn(9.5, 0.75 + 0.27 * len(answers)) as figure:
        axes = figure.subplots()
        starts = [0.0] * len(answers)
        for label in labels:
            widths = [shares[label] for shares in answers.values()]
            look = {"color": colour_of(label, labels), "hatch": _hatch_of(label, labels), "label": label}
            axes.barh(range(len(answers)), widths, 0.72, starts, **look)
            starts = [start + width for start, width in zip(starts, widths, strict=True)]
        axes.set_yticks(range(len(answers)), [_short(name, LONGEST_LINE) for name in answers], fontsize=8)
        beside = axes.secondary_yaxis("right")
        beside.set_yticks(range(len(answers)), [max(shares, key=shares.__getitem__) for shares in answers.values()])
        for side in (axes, beside):
            side.tick_params(length=0)
            side.spines[:].set_visible(False)
        axes.set_xticks([])
        axes.set_xlim(0, 1)
        axes.set_ylim(len(answers) - 0.5, -0.5)
        _draw_legend(figure, axes)
        return to_png(figure, DOTS_PER_INCH)


def _draw_legend(figure: Figure, axes: Axes) -> None:
    """Above the axes, in as few lines as hold all labels; the figure grows by those after the first."""
    parts, labels = axes.get_legend_handles_labels()
    for columns in range(len(labels), 0, -1):
        legend = figure.legend(parts, labels, loc="outside upper right", ncols=columns, frameon=False)
        give_fonts(figure)
        if columns == 1 or legend.get_window_extent().width <= LEGEND_SHARE * figure.bbox.width:
            break
        legend.remove()
    figure.set_figheight(figure.get_figheight() + LEGEND_LINE * (ceil(len(labels) / columns) - 1))


def draw_shares(
    shares: Sequence[Sequence[float]], rows: Sequence[str], columns: Sequence[str], below: str, beside: str
) -> bytes:
    """A matrix of shares, 0 to 1, with the number of hundredths in each cell where there is room for it."""
    with _drawn(1.4 + min(14.0, max(3.0, 0.42 * len(columns))), 0.8 + 0.34 * len(rows)) as figure:
        axes = figure.subplots()
        axes.imshow(shares, cmap=SHADES, vmin=0.0, vmax=1.0, aspect="auto")
        for row, values in enumerate(shares if len(columns) <= MOST_TURNS_NAMED else ()):
            for column, value in enumerate(values):
                told = {"ha": "center", "va": "center", "color": ink_on(value), "fontsize": 7}
                axes.text(column, row, f"{100 * value:.0f}", **told)
        axes.set_yticks(range(len(rows)), rows)
        step = max(1, len(columns) // MOST_TURNS_NAMED)
        axes.set_xticks(range(0, len(columns), step), columns[::step])
        axes.tick_params(length=0)
        axes.set_xlabel(below)
        axes.set_ylabel(beside)
        return to_png(figure, DOTS_PER_INCH)


def ink_on(value: float) -> str:
    """Black or white, whichever is read better on the shade of a share, from 0 to 1."""
    return "white" if relative_luminance(SHADES(value)[:3]) < EVEN_LUMINANCE else "black"


def relative_luminance(colour: Sequence[float]) -> float:
    """How light red, green and blue, from 0 to 1, are together, as WCAG 2 defines it."""
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in colour]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def draw_label_shares(counts: Mapping[str, Mapping[str, int]], labels: Sequence[str]) -> bytes:
    """Bars of the share that each label has in each split (split -> label -> utterances)."""
    with _drawn(7.0, 2.8) as figure:
        axes = figure.subplots()
        width = 0.8 / len(counts)
        for number, (split, of_split) in enumerate(counts.items()):
            total = max(1, sum(of_split.values()))
            places = [place + (number - (len(counts) - 1) / 2) * width for place in range(len(labels))]
            axes.bar(places, [100 * of_split[label] / total for label in labels], width, label=split)
        axes.set_xticks(range(len(labels)), labels)
        axes.set_ylabel("share of utterances (%)")
        axes.legend(frameon=False)
        return to_png(figure, DOTS_PER_INCH)


def draw_scores(per_label: Mapping[str, float], below: str) -> bytes:
    """A bar for each label (label -> percent), in its colour, with its number."""
    labels = list(per_label)
    with _drawn(7.0, 0.8 + 0.3 * len(labels)) as figure:
        axes = figure.subplots()
        bars = axes.barh(labels, list(per_label.values()), color=[colour_of(label, labels) for label in labels])
        axes.bar_label(bars, fmt="{:.0f}", padding=3)
        axes.invert_yaxis()
        axes.set_xlim(0, 100)
        axes.set_xlabel(below)
        return to_png(figure, DOTS_PER_INCH)


def draw_lengths(lengths: Mapping[str, Mapping[str, Counter[int]]]) -> bytes:
    """A panel for each quantity (what is counted -> split -> value -> how often): the share of each value, in %."""
    with _drawn(9.5, 2.6) as figure:
        panels = figure.subplots(1, len(lengths), squeeze=False)[0]
        for axes, (quantity, splits) in zip(panels, lengths.items(), strict=True):
            for split, counted in splits.items():
                values = sorted(counted)
                axes.plot(values, [100 * counted[one] / counted.total() for one in values], ".-", lw=1, label=split)
            axes.set_xlabel(quantity)
            axes.set_ylim(bottom=0)
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
        panels[0].set_ylabel("share (%)")
        panels[-1].legend(frameon=False)
        return to_png(figure, DOTS_PER_INCH)


@contextmanager
def _drawn(width: float, height: float) -> Iterator[Figure]:
    """An empty figure, in inches, in the style of this project whatever the user's matplotlibrc says."""
    with own_style():
        yield Figure(figsize=(width, height), layout="constrained")


def _short(name: str, most: int = LONGEST_NAME) -> str:
    printable = "".join(character if character.isprintable() else "?" for character in name)
    return printable if len(printable) <= most else printable[: most - 1] + "\N{HORIZONTAL ELLIPSIS}"
