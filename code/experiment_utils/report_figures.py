"""Figures of a report, drawn from records alone: curves over a setting, differences, labels, where a model is right."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property, partial
from itertools import product
from pathlib import Path
from statistics import mean

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiment_utils.breakdowns import Breakdowns, answer_order
from experiment_utils.conditions import BENCHMARKS, Condition, Table
from experiment_utils.dialogue_counts import Counts
from experiment_utils.overview import BASELINE, BESIDE, OTHERS, OURS, OVERVIEW, WITHOUT, Score, System, list_systems
from experiment_utils.records import BASELINES, Record
from experiment_utils.report_tables import OTHER_RELEASE, Shown, group_conditions, name_with_seeds
from experiment_utils.significance import Interval, compare_runs, label_intervals, score_interval
from results.figures import OKABE_ITO, axis_name, draw_confusion_matrix, own_style, save_figure
from scoring.beside import LINEAR_MODELS, NEIGHBOURS

COLOURS = tuple(OKABE_ITO.values())
QUESTIONS = {
    "turn position": "turns before the utterance",
    "emotion of the same speaker": "the speaker's emotion since their last turn",
    "words": "words of the utterance",
    "text": "the utterance's text",
    "recording": "IEMOCAP's recordings",
}
FEWEST = 30  # utterances that a bar must stand for
GREY = "#e4e4e4"
FOREST = "forest.png"
# Kind of a score -> (colour, marker, distance below the line of its system).
MARKS = {
    OTHERS: ("black", "D", 0.0),
    BASELINE: ("green", "s", 0.0),
    OURS: ("blue", "o", -0.3),
    WITHOUT: ("sky", "v", -0.1),
    BESIDE[NEIGHBOURS]: ("vermilion", "^", 0.1),
    BESIDE[LINEAR_MODELS]: ("purple", "P", 0.3),
}
HATCHES = ("", "///", "...", "xxx", "---", "ooo")


@dataclass(frozen=True)
class Curve:
    """A figure of groups whose rows are named by a number, which is its x axis. tables: of the groups."""

    tables: tuple[str, ...]
    axis: str
    logarithmic: bool = False


# The paper's Figure 6 is of the first kind; it gives the last two as tables.
CURVES: Mapping[str, Curve] = {
    "data_scaling.png": Curve(("scaling", "scaling_small"), "share of the training utterances", logarithmic=True),
    "equal_steps.png": Curve(("equal_steps",), "share of the training utterances", logarithmic=True),
    "window.png": Curve(("window", "window_small"), "utterances before the target"),
    "alpha.png": Curve(("alpha",), "weight of the prediction task"),
}
TABLES_OF_CURVES = frozenset(table for curve in CURVES.values() for table in curve.tables)
_POINT = re.compile(r"\d+(?:\.\d+)?")

Draw = Callable[[Path], None]
Runs = Mapping[str, Sequence[Record]]  # row -> its runs


@dataclass(frozen=True)
class Look:
    """The look of a row in all figures. hatch: of its bars, in matplotlib's notation; empty: plain."""

    colour: str
    hatch: str


@dataclass(frozen=True)
class Scene:
    """The data of the figures of a dataset in a group. runs: row -> runs, of rows that ran; looks: row -> look."""

    title: str
    dataset: str
    runs: Runs
    looks: Mapping[str, Look]
    shown: Shown

    @property
    def score_name(self) -> str:
        """The title of a score's axis."""
        return axis_name(self.shown.records.metric(self.dataset))

    @cached_property
    def breakdowns(self) -> Mapping[str, Sequence[Breakdowns]]:
        """Row -> the breakdowns of its runs, read once."""
        read = self.shown.records.breakdowns
        return {row: [read(run, self.dataset) for run in of] for row, of in self.runs.items()}

    def counts(self, row: str) -> list[Counts]:
        """The counts of a row, one for each seed."""
        return [run.counts[self.dataset] for run in self.runs[row]]


def draw_all(folder: Path, table: Table, conditions: Mapping[str, Condition], shown: Shown) -> dict[str, list[str]]:
    """Draws what has run; returns group, or `OVERVIEW` -> names of its files, in the order of the report."""
    planned = plan_figures(table, conditions, shown)
    for drawings in planned.values():
        for name, draw in drawings.items():
            draw(folder / name)
    return {group: list(drawings) for group, drawings in planned.items()}


def plan_figures(table: Table, conditions: Mapping[str, Condition], shown: Shown) -> dict[str, dict[str, Draw]]:
    """Group -> name of a file -> function that draws it. A curve belongs to the last of its groups that has run."""
    groups = group_conditions(conditions)
    found: dict[str, dict[str, Draw]] = {group: {} for group in [OVERVIEW, *groups]}
    systems = list_systems(table, conditions, shown)
    if any(system.kind == OURS for system in systems):
        found[OVERVIEW][FOREST] = partial(draw_forest, systems=systems)
    for name, curve in CURVES.items():
        members = [one for of in groups.values() if is_curve(of) for one in of if one.group.table in curve.tables]
        ran = [group for group, of in groups.items() for one in of if one in members and shown.ran(one)]
        if len([one for one in members if shown.ran(one)]) > 1:
            found[ran[-1]][name] = partial(draw_curves, members=members, shown=shown, curve=curve)
    looks = look_of_rows(conditions)
    for group, members in groups.items():
        if not is_curve(members):
            for dataset in dict.fromkeys(dataset for one in members for dataset in one.datasets):
                found[group] |= _plan_dataset(group, members, dataset, shown, looks)
    return {group: drawings for group, drawings in found.items() if drawings}


def is_curve(group: Sequence[Condition]) -> bool:
    """Whether a group's rows are points of a curve: `CURVES` has its table, and their names are different numbers."""
    rows = {one.row for one in group}
    are_numbers = all(map(_POINT.fullmatch, rows))
    return group[0].group.table in TABLES_OF_CURVES and are_numbers and len(set(map(float, rows))) == len(rows)


def look_of_rows(conditions: Mapping[str, Condition]) -> dict[str, Look]:
    """Row -> its look in all figures, in the order of the file, our own rows before those of the paper.

    When all colours are used, they begin again with another hatch, so that no two rows look alike.
    """
    drawn = (one for of in group_conditions(conditions).values() if not is_curve(of) for one in of)
    rows = dict.fromkeys(one.row for one in sorted(drawn, key=lambda one: bool(one.paper)))
    return {row: Look(colour, hatch) for row, (hatch, colour) in zip(rows, product(HATCHES, COLOURS), strict=False)}


def _plan_dataset(
    group: str, members: Sequence[Condition], dataset: str, shown: Shown, looks: Mapping[str, Look]
) -> dict[str, Draw]:
    """The figures of a dataset, if it has two rows. The confusion matrix is of the row that others compare with."""
    runs = {one.row: shown.ran(one) for one in members if dataset in one.datasets and shown.ran(one)}
    if len(runs) < 2:
        return {}
    scene = Scene(f"{members[0].group.title}\n{dataset}", dataset, runs, looks, shown)
    kinds = {"breakdowns": draw_breakdowns} if _questions_of(scene.breakdowns) else {}
    if len(_drawn_labels(scene)) > 1:
        kinds["labels"] = draw_labels
    other = members[0].group.compare_with
    if other in runs:
        kinds = {"differences": partial(draw_differences, other=other)} | kinds
        kinds["confusion"] = partial(draw_confusion, row=other)
    return {f"{kind}_{group}_{dataset}.png": partial(draw, scene=scene) for kind, draw in kinds.items()}


def draw_curves(path: Path, members: Sequence[Condition], shown: Shown, curve: Curve) -> None:
    """A panel for each dataset that ran: the paper's scores dashed, ours solid with their 95% interval."""
    datasets = dict.fromkeys(dataset for one in members if shown.ran(one) for dataset in one.datasets)
    with own_style():
        figure = Figure(figsize=(max(4.2, 3.2 * len(datasets)), 3.4), layout="constrained")
        panels = figure.subplots(1, len(datasets), squeeze=False)[0]
        for axes, dataset in zip(panels, datasets, strict=True):
            draw_panel(axes, members, shown, dataset)
            axes.set_title(dataset)
            axes.set_xlabel(curve.axis)
            _write_ticks(axes, sorted({float(condition.row) for condition in members}), curve)
        _write_legend(figure)
        save_figure(figure, path)


def _write_ticks(axes: Axes, values: Sequence[float], curve: Curve) -> None:
    """A tick at every value, as a fraction on a logarithmic axis."""
    if curve.logarithmic:
        axes.set_xscale("log", base=2)
        axes.minorticks_off()
    names = [str(Fraction(value)) if curve.logarithmic else f"{value:g}" for value in values]
    axes.set_xticks(values, names, fontsize=7)


def draw_panel(axes: Axes, members: Sequence[Condition], shown: Shown, dataset: str) -> None:
    """One dataset, a colour for each group; a line joins neighbours alone, and the majority label's score is dotted."""
    groups = group_conditions({one.name: one for one in members})
    for colour, of in zip(COLOURS, groups.values(), strict=False):
        points = sorted((float(one.row), one) for one in of if dataset in one.datasets)
        paper = [(x, one.paper[dataset]) for x, one in points if dataset in one.paper]
        title, base = of[0].group.title, of[0].settings.get("MODEL_NAME", "")
        if paper:
            axes.plot(*zip(*paper, strict=True), "--", color=colour, lw=1, label=f"{title}, {base} (paper)")
        ours = [_bounded(one, dataset, shown) if shown.ran(one) else (np.nan,) * 3 for _, one in points]
        if seeds := {tuple(run.seed for run in shown.ran(one)) for _, one in points if shown.ran(one)}:
            name = f"{title} (ours{'; NOT ALL OF THE SAME SEEDS' if len(seeds) > 1 else ''})"
            middle, below, above = zip(*ours, strict=True)
            x = [place for place, _ in points]
            axes.errorbar(x, middle, (below, above), color=colour, marker="o", ms=4, lw=1.6, capsize=3, label=name)
    majority = shown.records.scores(f"{BASELINES}/majority/{dataset}", dataset)
    if majority and all(one.has_own_labels and one.split == "test" for one in members if shown.ran(one)):
        axes.axhline(majority[0], color=OKABE_ITO["black"], lw=0.9, ls=":", label="commonest label of train")
    axes.set_ylabel(axis_name(shown.records.metric(dataset)))
    axes.grid(axis="y", color=GREY, linewidth=0.8)


def _bounded(condition: Condition, dataset: str, shown: Shown) -> tuple[float, float, float]:
    """The mean over seeds, and how far its 95% interval reaches below and above."""
    counts = list(shown.records.counts(condition.name, dataset).values())
    return _bounds_of(counts, shown.records.metric(dataset))


def _bounds_of(counts: Sequence[Counts], metric: str) -> tuple[float, float, float]:
    return _reach(mean(one.score(metric) for one in counts), score_interval(counts, metric))


def _reach(middle: float, interval: Interval) -> tuple[float, float, float]:
    """A score, and how far its interval reaches below and above."""
    return middle, max(0.0, middle - interval.low), max(0.0, interval.high - middle)


def draw_differences(path: Path, scene: Scene, other: str) -> None:
    """Every row minus the one it is compared with: a dot for each common seed, the mean, from three seeds its interval.

    Where runs had demonstrations, also how often the answer was the demonstration's label.
    """
    rows = [row for row in reversed(scene.runs) if row != other]
    first = {run.seed: run.counts[scene.dataset] for run in scene.runs[other]}
    paired = {row: [run for run in scene.runs[row] if run.seed in first] for row in rows}
    names = name_with_seeds({**paired, other: scene.runs[other]})
    with own_style():
        figure = Figure(figsize=(7.2, 1.2 + 0.45 * len(rows)), layout="constrained")
        axes = figure.subplots()
        for place, row in enumerate(rows):
            if second := {run.seed: run.counts[scene.dataset] for run in paired[row]}:
                _draw_difference(axes, place, first, second, scene, row)
        axes.axvline(0, color=OKABE_ITO["black"], lw=0.9)
        axes.set_yticks(range(len(rows)), [_name_with_copying(paired[row], names[row]) for row in rows])
        axes.set_ylim(-0.6, len(rows) - 0.4)
        points = f"points of {scene.score_name.removesuffix(' (%)')} more than {other}"
        axes.set_xlabel(f"{points}; a dot is a seed, the diamond their mean")
        axes.grid(axis="x", color=GREY, linewidth=0.8)
        figure.suptitle(scene.title, fontsize=10)
        save_figure(figure, path)


def _draw_difference(
    axes: Axes, place: int, first: Mapping[int, Counts], second: Mapping[int, Counts], scene: Scene, row: str
) -> None:
    found = compare_runs(first, second, scene.shown.records.metric(scene.dataset))
    points, colour = list(found.differences.values()), scene.looks[row].colour
    axes.plot(points, [place] * len(points), "o", color=colour, ms=4, zorder=3)
    axes.plot(found.mean, place, "D", color=colour, ms=7, mfc="white", mew=1.6)
    if found.interval:
        axes.hlines(place, found.interval.low, found.interval.high, color=colour, lw=1.6)


def _name_with_copying(runs: Sequence[Record], name: str) -> str:
    shares = [run.copying["answered"] for run in runs if run.copying]
    return f"{name}\ncopies {mean(shares):.0f}% of its demonstrations" if shares else name


def draw_labels(path: Path, scene: Scene) -> None:
    """F1 of every label, a bar for each condition: the mean over its seeds, with its 95% interval."""
    drawn, series = _drawn_labels(scene), {}
    for row in scene.runs:
        counts = scene.counts(row)
        found = dict(zip(counts[0].labels, label_intervals(counts), strict=True))
        series[row] = [_reach(*found[label]) for label in drawn]
    with own_style():
        figure = Figure(figsize=(7.2, 3.2), layout="constrained")
        _draw_bars(figure.subplots(), list(drawn.values()), series, scene, "F1 (%)")
        figure.suptitle(f"{scene.title}: F1 of each label (utterances; fewer than {FEWEST} are left out)", fontsize=10)
        _write_legend(figure)
        save_figure(figure, path)


def _drawn_labels(scene: Scene) -> dict[str, str]:
    """Label -> text below its bars, of labels that every row has, and that have enough utterances."""
    gold, *others = (scene.counts(row)[0] for row in scene.runs)
    support = dict(zip(gold.labels, gold.confusion.sum(axis=1), strict=True))
    shared = [label for label in gold.labels if all(label in of.labels for of in others)]
    return {label: f"{label}\n({support[label]})" for label in shared if support[label] >= FEWEST}


def draw_breakdowns(path: Path, scene: Scene) -> None:
    """A panel for each question: the score of the utterances with each answer, with its 95% interval."""
    questions = _questions_of(scene.breakdowns)
    with own_style():
        rows = (len(questions) + 1) // 2
        figure = Figure(figsize=(8.4, 2.8 * rows), layout="constrained")
        panels = list(figure.subplots(rows, 2, sharey=True, squeeze=False).flat)
        for axes in panels[len(questions) :]:
            axes.set_visible(False)
        for axes, question in zip(panels, questions, strict=False):
            answers = next(iter(scene.breakdowns.values()))[0][question]
            kept = sorted((name for name, of in answers.items() if of.rows >= FEWEST), key=answer_order)
            keys = [f"{name}\n({answers[name].rows})" for name in kept]
            metric = scene.shown.records.metric(scene.dataset)
            series = {
                row: [_bounds_of([one[question][name] for one in of], metric) for name in kept]
                for row, of in scene.breakdowns.items()
            }
            _draw_bars(axes, keys, series, scene, scene.score_name)
            axes.set_title(QUESTIONS.get(question, question))
        figure.suptitle(f"{scene.title}: where it is right (utterances; fewer than {FEWEST} are left out)", fontsize=10)
        _write_legend(figure)
        save_figure(figure, path)


def _questions_of(where: Mapping[str, Sequence[Breakdowns]]) -> list[str]:
    """The questions that have a bar, and divide the utterances equally in all runs, as texts seen need not."""
    found = [one for of in where.values() for one in of]
    parts = [{question: {name: of.rows for name, of in one[question].items()} for question in one} for one in found]
    shared = [one for one in QUESTIONS if one in parts[0] and all(part.get(one) == parts[0][one] for part in parts)]
    return [one for one in shared if max(parts[0][one].values(), default=0) >= FEWEST]


def _draw_bars(
    axes: Axes,
    keys: Sequence[str],
    series: Mapping[str, Sequence[tuple[float, float, float]]],
    scene: Scene,
    name: str,
) -> None:
    """Draws bars. series: row -> (height, distance to the interval's lower, upper end), one for each key."""
    width, looks, names = 0.8 / len(series), scene.looks, name_with_seeds(scene.runs)
    for number, (row, values) in enumerate(series.items()):
        places = [place + (number - (len(series) - 1) / 2) * width for place in range(len(keys))]
        heights, below, above = zip(*values, strict=True) if values else ((), (), ())
        bounds = (below, above) if any(below) or any(above) else None
        look = {"color": looks[row].colour, "hatch": looks[row].hatch, "edgecolor": "white", "lw": 0}
        axes.bar(places, heights, width, yerr=bounds, label=names[row], error_kw={"lw": 0.8}, **look)
    axes.set_xticks(range(len(keys)), keys, fontsize=7)
    axes.set_ylabel(name)
    axes.grid(axis="y", color=GREY, linewidth=0.8)
    axes.set_axisbelow(True)


def _write_legend(figure: Figure) -> None:
    """One legend for all panels, with each name once."""
    found = [axes.get_legend_handles_labels() for axes in figure.axes]
    named = {text: handle for handles, texts in found for handle, text in zip(handles, texts, strict=True)}
    figure.legend(named.values(), named.keys(), loc="outside lower center", ncols=3, frameon=False, fontsize=7)


def draw_confusion(path: Path, scene: Scene, row: str) -> None:
    """The confusion matrix of the first seed."""
    run = scene.runs[row][0]
    counts = run.counts[scene.dataset]
    title = f"{scene.title}, {row}, seed {run.seed}: utterances"
    draw_confusion_matrix(path, counts.evaluate(), counts.labels, title)


def draw_forest(path: Path, systems: Sequence[System]) -> None:
    """A panel for each benchmark, a line for each system: its scores with their 95% intervals."""
    with own_style():
        figure = Figure(figsize=(10.4, 1.2 + 0.32 * len(systems)), layout="constrained")
        panels = figure.subplots(1, len(BENCHMARKS), sharey=True)
        for axes, dataset in zip(panels, BENCHMARKS, strict=True):
            _draw_systems(axes, systems, dataset)
        panels[0].set_yticks(range(len(systems)), [system.short for system in systems], fontsize=7)
        panels[0].invert_yaxis()
        _write_legend(figure)
        save_figure(figure, path)


def _draw_systems(axes: Axes, systems: Sequence[System], dataset: str) -> None:
    kinds = [of for one in systems if one.kind != OTHERS for of in (one.scores, *one.others.values())]
    bounds = [score.interval for of in kinds if (score := of.get(dataset)) and score.interval]
    lowest = min((interval.low for interval in bounds), default=0.0) - 1
    for place, system in enumerate(systems):
        for kind, scores in ({system.kind: system.scores} | dict(system.others)).items():
            if score := scores.get(dataset):
                _draw_score(axes, place, kind, score, lowest)
    axes.set_title(dataset + OTHER_RELEASE.get(dataset, ""))
    axes.set_xlabel("weighted F1 on test (%)")
    axes.grid(axis="x", color=GREY, linewidth=0.8)
    axes.tick_params(axis="y", length=0)


def _draw_score(axes: Axes, place: int, kind: str, score: Score, lowest: float) -> None:
    """Draws a score; one below `lowest` is a number at the edge, which leaves room for the rest."""
    name, marker, below = MARKS[kind]
    if score.value < lowest:
        axes.text(lowest + 0.5, place, f"← {score.value:.0f}", va="center", fontsize=7)
        return
    bounds = score.interval
    apart = ([score.value - bounds.low], [bounds.high - score.value]) if bounds else None
    look = {"color": OKABE_ITO[name], "fmt": marker, "ms": 4, "lw": 1.2, "capsize": 2}
    axes.errorbar(score.value, place + below, xerr=apart, label=kind, **look)
