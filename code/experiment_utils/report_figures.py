"""Figures of a report, drawn from scores.json alone: curves over a setting, F1 of labels, where a model is right."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from statistics import mean, stdev

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiment_utils.conditions import Condition
from experiment_utils.records import Record, Scores
from experiment_utils.report_tables import group_conditions
from model_utils.figures import OKABE_ITO, draw_confusion_matrix, own_style, save_figure
from model_utils.metrics import Prediction, evaluate_predictions

COLOURS = tuple(OKABE_ITO.values())


@dataclass(frozen=True)
class Curve:
    """Groups whose rows are called by a number, drawn as lines over it. tables: where the groups stand."""

    tables: tuple[str, ...]
    axis: str
    logarithmic: bool = False


# The paper's Figure 6 is of the first kind; it gives the other two as tables.
CURVES: Mapping[str, Curve] = {
    "data_scaling.png": Curve(("scaling", "scaling_small"), "share of the training rows", logarithmic=True),
    "window.png": Curve(("window", "window_small"), "utterances before the target"),
    "alpha.png": Curve(("alpha", "alpha_small"), "weight of the prediction task"),
}


def draw_all(folder: Path, conditions: Mapping[str, Condition], scores: Scores) -> list[str]:
    """Draw what the scores have; return the names of the files, in the order of the report.

    Confusion matrices are of the rows that others are compared with, and of rows that are compared with none.
    """
    names = []
    for name, curve in CURVES.items():
        members = [condition for condition in conditions.values() if condition.table in curve.tables]
        if any(scores.of(condition.name) for condition in members):
            draw_curves(folder / name, members, scores, curve)
            names.append(name)
    curves = {table for curve in CURVES.values() for table in curve.tables}
    for group, members in group_conditions(conditions).items():
        if members[0].table in curves:
            continue
        for dataset, runs in _runs_by_dataset(members, scores).items():
            for kind, draw in {"labels": draw_labels, "breakdowns": draw_breakdowns}.items():
                names.append(f"{kind}_{group}_{dataset}.png")
                draw(folder / names[-1], runs, dataset)
            for row in [row for row in runs if row in {one.row for one in members if not one.compared_with}]:
                names.append(f"confusion_{group}_{row}_{dataset}.png")
                draw_confusion(folder / names[-1], runs[row], dataset, f"{dataset}, {row}, {len(runs[row])} seed(s)")
    return names


def _runs_by_dataset(members: Sequence[Condition], scores: Scores) -> dict[str, dict[str, list[Record]]]:
    """Dataset -> row -> its runs, for what has been run."""
    found: dict[str, dict[str, list[Record]]] = {}
    for condition in members:
        runs = scores.of(condition.name)
        for dataset in condition.datasets if runs else ():
            found.setdefault(dataset, {})[condition.row] = runs
    return found


def draw_curves(path: Path, members: Sequence[Condition], scores: Scores, curve: Curve) -> None:
    """A panel for each dataset: the paper's scores dashed, ours solid with their spread over seeds."""
    datasets = list(dict.fromkeys(dataset for condition in members for dataset in condition.datasets))
    with own_style():
        figure = Figure(figsize=(3.2 * len(datasets), 3.4), layout="constrained")
        panels = figure.subplots(1, len(datasets), squeeze=False)[0]
        for axes, dataset in zip(panels, datasets, strict=True):
            _draw_panel(axes, members, scores, dataset)
            axes.set_title(dataset)
            axes.set_xlabel(curve.axis)
            _write_ticks(axes, sorted({float(condition.row) for condition in members}), curve)
        panels[0].set_ylabel("weighted F1 (%)")
        found = [axes.get_legend_handles_labels() for axes in panels]
        named = {text: handle for handles, texts in found for handle, text in zip(handles, texts, strict=True)}
        figure.legend(named.values(), named.keys(), loc="outside lower center", ncols=3, frameon=False, fontsize=7)
        save_figure(figure, path)


def _write_ticks(axes: Axes, values: Sequence[float], curve: Curve) -> None:
    """A tick at every value, as a fraction on a logarithmic axis."""
    if curve.logarithmic:
        axes.set_xscale("log", base=2)
        axes.minorticks_off()
    names = [str(Fraction(value)) if curve.logarithmic else f"{value:g}" for value in values]
    axes.set_xticks(values, names, fontsize=7)


def _draw_panel(axes: Axes, members: Sequence[Condition], scores: Scores, dataset: str) -> None:
    groups = {name: of for name, of in group_conditions({one.name: one for one in members}).items()}
    for colour, of in zip(COLOURS, groups.values(), strict=False):
        points = [(float(one.row), one) for one in of if dataset in one.datasets]
        paper = [(x, one.paper[dataset]) for x, one in points if dataset in one.paper]
        if paper:
            axes.plot(*zip(*sorted(paper), strict=True), "--", color=colour, lw=1, label=f"{of[0].title}, paper")
        ours = [(x, *_mean_and_spread(scores.of(one.name), dataset)) for x, one in points if scores.of(one.name)]
        if ours:
            x, y, spread = zip(*sorted(ours), strict=True)
            axes.errorbar(x, y, spread, color=colour, marker="o", ms=4, lw=1.6, capsize=3, label=of[0].title)
    axes.grid(axis="y", color="#e4e4e4", linewidth=0.8)


def _mean_and_spread(runs: Sequence[Record], dataset: str) -> tuple[float, float]:
    found = [run["scores"][dataset]["score"] for run in runs]
    return mean(found), stdev(found) if len(found) > 1 else 0.0


def draw_labels(path: Path, runs: Mapping[str, Sequence[Record]], dataset: str) -> None:
    """F1 of every label, a bar for each condition, mean over its seeds."""
    series = {row: _mean_by_key([run["scores"][dataset]["f1_per_label"] for run in of]) for row, of in runs.items()}
    with own_style():
        figure = Figure(figsize=(7.2, 3.2), layout="constrained")
        _draw_bars(figure.subplots(), series, "F1 (%)")
        _finish(figure, f"{dataset}: F1 of each label")
        save_figure(figure, path)


def draw_breakdowns(path: Path, runs: Mapping[str, Sequence[Record]], dataset: str) -> None:
    """A panel for each question of `breakdowns.BREAKDOWNS`: the score of the utterances with each answer."""
    questions = list(next(iter(runs.values()))[0]["scores"][dataset]["breakdowns"])
    with own_style():
        figure = Figure(figsize=(8.4, 5.6), layout="constrained")
        for axes, question in zip(figure.subplots(2, 2).flat, questions, strict=True):
            series = {row: _mean_by_key(list(_answers(of, dataset, question))) for row, of in runs.items()}
            _draw_bars(axes, series, "weighted F1 (%)")
            axes.set_title(question)
        _finish(figure, f"{dataset}: where it is right")
        save_figure(figure, path)


def _answers(runs: Sequence[Record], dataset: str, question: str) -> Iterator[dict[str, float]]:
    for run in runs:
        found = run["scores"][dataset]["breakdowns"][question]
        yield {f"{answer}\n({of['rows']})": of["score"] for answer, of in found.items()}


def _mean_by_key(found: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {key: mean(one[key] for one in found) for key in found[0]}


def _draw_bars(axes: Axes, series: Mapping[str, Mapping[str, float]], name: str) -> None:
    keys, width = list(next(iter(series.values()))), 0.8 / len(series)
    for number, (row, values) in enumerate(series.items()):
        places = [place + (number - (len(series) - 1) / 2) * width for place in range(len(keys))]
        axes.bar(places, [values[key] for key in keys], width, color=COLOURS[number % len(COLOURS)], label=row)
    axes.set_xticks(range(len(keys)), keys, fontsize=7)
    axes.set_ylabel(name)
    axes.grid(axis="y", color="#e4e4e4", linewidth=0.8)
    axes.set_axisbelow(True)


def _finish(figure: Figure, title: str) -> None:
    figure.suptitle(title, fontsize=10)
    handles, texts = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, texts, loc="outside lower center", ncols=4, frameon=False, fontsize=7)


def draw_confusion(path: Path, runs: Sequence[Record], dataset: str, title: str) -> None:
    """The confusion matrix, counts summed over seeds."""
    labels = runs[0]["scores"][dataset]["labels"]
    answers = [*labels, None]
    rows = [
        Prediction(f"{seed}/{target}/{said}/{copy}", "", target, said)
        for seed, run in enumerate(runs)
        for target, counts in zip(labels, run["scores"][dataset]["confusion"], strict=True)
        for said, count in zip(answers, counts, strict=True)
        for copy in range(count)
    ]
    draw_confusion_matrix(path, evaluate_predictions(rows, labels), labels, title)
