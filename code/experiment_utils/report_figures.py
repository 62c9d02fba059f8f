"""Figures of a report, drawn from scores.json alone: curves over a setting, F1 of labels, where a model is right."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path
from statistics import mean

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiment_utils.breakdowns import answer_order
from experiment_utils.conditions import Condition
from experiment_utils.records import Record, Scores
from experiment_utils.report_tables import group_conditions
from results.figures import OKABE_ITO, draw_confusion_matrix, own_style, save_figure
from scoring.metrics import Prediction, evaluate_predictions

COLOURS = tuple(OKABE_ITO.values())
QUESTIONS = {
    "turn position": "turns before the utterance",
    "emotion of the same speaker": "the speaker's emotion since their last turn",
    "words": "words of the utterance",
    "text": "the utterance's text",
}


@dataclass(frozen=True)
class Curve:
    """Groups whose rows are called by a number, drawn as lines over it. tables: where the groups stand."""

    tables: tuple[str, ...]
    axis: str
    logarithmic: bool = False


# The paper's Figure 6 is of the first kind; it gives the other two as tables.
CURVES: Mapping[str, Curve] = {
    "data_scaling.png": Curve(("scaling", "scaling_small"), "share of the training utterances", logarithmic=True),
    "window.png": Curve(("window", "window_small"), "utterances before the target"),
    "alpha.png": Curve(("alpha",), "weight of the prediction task"),
}


Draw = Callable[[Path], None]


def draw_all(folder: Path, conditions: Mapping[str, Condition], scores: Scores) -> dict[str, list[str]]:
    """Draw what the scores have; group -> the names of its files, in the order of the report."""
    planned = plan_figures(conditions, scores)
    for drawings in planned.values():
        for name, draw in drawings.items():
            draw(folder / name)
    return {group: list(drawings) for group, drawings in planned.items()}


def plan_figures(conditions: Mapping[str, Condition], scores: Scores) -> dict[str, dict[str, Draw]]:
    """Group -> name of a file -> what draws it. A curve stands with the last group that it shows and that has run."""
    groups = group_conditions(conditions)
    found: dict[str, dict[str, Draw]] = {group: {} for group in groups}
    for name, curve in CURVES.items():
        members = [one for one in conditions.values() if one.table in curve.tables]
        ran = [group for group, of in groups.items() for one in of if one in members and scores.of(one.name)]
        if ran:
            found[ran[-1]][name] = partial(draw_curves, members=members, scores=scores, curve=curve)
    curves = {table for curve in CURVES.values() for table in curve.tables}
    for group, members in groups.items():
        if members[0].table not in curves:
            for dataset, runs in _runs_by_dataset(members, scores).items():
                found[group] |= _plan_dataset(group, members, dataset, runs)
    return {group: drawings for group, drawings in found.items() if drawings}


def _plan_dataset(
    group: str, members: Sequence[Condition], dataset: str, runs: Mapping[str, Sequence[Record]]
) -> dict[str, Draw]:
    """Confusion matrices are of the rows that others are compared with, and of rows that are compared with none."""
    shown = f"{members[0].title}\n{dataset}"
    kinds = {"breakdowns": draw_breakdowns} | ({"labels": draw_labels} if len(runs) > 1 else {})
    drawings: dict[str, Draw] = {
        f"{kind}_{group}_{dataset}.png": partial(draw, runs=runs, dataset=dataset, shown=shown)
        for kind, draw in kinds.items()
    }
    for row in [row for row in runs if row in {one.row for one in members if not one.compared_with}]:
        seeds = "1 seed" if len(runs[row]) == 1 else f"counts summed over {len(runs[row])} seeds"
        title = f"{shown}, {row}, {seeds}"
        drawings[f"confusion_{group}_{row}_{dataset}.png"] = partial(
            draw_confusion, runs=runs[row], dataset=dataset, title=title
        )
    return drawings


def _runs_by_dataset(members: Sequence[Condition], scores: Scores) -> dict[str, dict[str, list[Record]]]:
    """Dataset -> row -> its runs, for what has been run."""
    found: dict[str, dict[str, list[Record]]] = {}
    for condition in members:
        runs = scores.of(condition.name)
        for dataset in condition.datasets if runs else ():
            found.setdefault(dataset, {})[condition.row] = runs
    return found


def draw_curves(path: Path, members: Sequence[Condition], scores: Scores, curve: Curve) -> None:
    """A panel for each dataset: the paper's scores dashed, ours solid with their 95% interval over utterances."""
    datasets = list(dict.fromkeys(dataset for condition in members for dataset in condition.datasets))
    with own_style():
        figure = Figure(figsize=(3.2 * len(datasets), 3.4), layout="constrained")
        panels = figure.subplots(1, len(datasets), squeeze=False)[0]
        for axes, dataset in zip(panels, datasets, strict=True):
            draw_panel(axes, members, scores, dataset)
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


def draw_panel(axes: Axes, members: Sequence[Condition], scores: Scores, dataset: str) -> None:
    """The lines of one dataset, a colour for each group."""
    groups = {name: of for name, of in group_conditions({one.name: one for one in members}).items()}
    for colour, of in zip(COLOURS, groups.values(), strict=False):
        points = [(float(one.row), one) for one in of if dataset in one.datasets]
        paper = [(x, one.paper[dataset]) for x, one in points if dataset in one.paper]
        base = of[0].settings.get("MODEL_NAME", "")
        if paper:
            name = f"{of[0].title}, {base} (paper)"
            axes.plot(*zip(*sorted(paper), strict=True), "--", color=colour, lw=1, label=name)
        ours = [(x, *_mean_and_bounds(one, dataset, scores)) for x, one in points if scores.of(one.name)]
        if ours:
            x, y, below, above = zip(*sorted(ours), strict=True)
            name = f"{of[0].title} (ours)"
            axes.errorbar(x, y, (below, above), color=colour, marker="o", ms=4, lw=1.6, capsize=3, label=name)
    axes.grid(axis="y", color="#e4e4e4", linewidth=0.8)


def _mean_and_bounds(condition: Condition, dataset: str, scores: Scores) -> tuple[float, float, float]:
    """The mean over seeds, and how far its 95% interval over utterances reaches below and above."""
    middle = mean(run["scores"][dataset]["score"] for run in scores.of(condition.name))
    low, high = scores.interval_of(condition.name, dataset) or (middle, middle)
    return middle, max(0.0, middle - low), max(0.0, high - middle)


def draw_labels(path: Path, runs: Mapping[str, Sequence[Record]], dataset: str, shown: str) -> None:
    """F1 of every label, a bar for each condition, mean over its seeds. shown: the dataset in the title's words."""
    series = {row: _mean_by_key([_label_scores(run["scores"][dataset]) for run in of]) for row, of in runs.items()}
    with own_style():
        figure = Figure(figsize=(7.2, 3.2), layout="constrained")
        _draw_bars(figure.subplots(), series, "F1 (%)")
        _finish(figure, f"{shown}: F1 of each label (number of utterances)")
        save_figure(figure, path)


def _label_scores(scores: Record) -> dict[str, float]:
    """Label with its support -> F1; in the confusion matrix a row is a gold label."""
    support = {label: sum(counts) for label, counts in zip(scores["labels"], scores["confusion"], strict=True)}
    return {f"{label}\n({support[label]})": f1 for label, f1 in scores["f1_per_label"].items()}


def draw_breakdowns(path: Path, runs: Mapping[str, Sequence[Record]], dataset: str, shown: str) -> None:
    """A panel for each question of `breakdowns.BREAKDOWNS`: the score of the utterances with each answer."""
    questions = list(next(iter(runs.values()))[0]["scores"][dataset]["breakdowns"])
    with own_style():
        figure = Figure(figsize=(8.4, 5.6), layout="constrained")
        for axes, question in zip(figure.subplots(2, 2, sharey=True).flat, questions, strict=True):
            series = {row: _mean_by_key(list(_answers(of, dataset, question))) for row, of in runs.items()}
            _draw_bars(axes, series, "weighted F1 (%)")
            axes.set_title(QUESTIONS.get(question, question))
        _finish(figure, f"{shown}: where it is right (number of utterances)")
        save_figure(figure, path)


def _answers(runs: Sequence[Record], dataset: str, question: str) -> Iterator[dict[str, float]]:
    for run in runs:
        found = run["scores"][dataset]["breakdowns"][question]
        answers = sorted(found.items(), key=lambda item: answer_order(item[0]))
        yield {f"{answer}\n({of['rows']})": of["score"] for answer, of in answers}


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
