"""All systems side by side, a column for each benchmark: published ones, baselines and ours; as table and picture."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from basics.markdown import render_table
from experiment_utils.conditions import BENCHMARKS, Claim, Condition, Table
from experiment_utils.dialogue_counts import Counts
from experiment_utils.records import Record, Records
from experiment_utils.report_tables import NOTHING, OTHER_RELEASE, Shown, score_cell
from experiment_utils.significance import Interval, score_interval
from results.figures import OKABE_ITO, own_style, save_figure
from scoring.baselines import FINE_TUNED, VECTORS, WITH_TRANSITIONS, bare_name

OVERVIEW = "overview"  # beside the groups of figures
FOREST = "forest.png"
# Baselines that are told most (the turns before by who spoke, and which label follows which); shown beside those that
# valid chose, since valid is small and the one it chose is not always the strongest.
MOST_INFORMED = ("words_history", VECTORS, FINE_TUNED)
OTHERS, BASELINE, OURS, NEIGHBOURS = "reported by others", "baseline", "ours", "ours, with neighbours"
LOOKS = {OTHERS: ("black", "D"), BASELINE: ("green", "s"), OURS: ("blue", "o"), NEIGHBOURS: ("vermilion", "^")}


@dataclass(frozen=True)
class Score:
    """On the test set of a benchmark, in percent, the mean over seeds. interval: None of what others report.

    more: what a cell says behind it. is_chosen: of all baselines by valid.
    """

    value: float
    interval: Interval | None = None
    more: str = ""
    is_chosen: bool = False


@dataclass(frozen=True)
class System:
    """A line of the table. kind: a key of `LOOKS`; short: its name in the picture; meaning: what it is, how many seeds.

    scores: benchmark -> its score; neighbours: the same with the nearest training utterances beside the model.
    """

    kind: str
    name: str
    short: str
    meaning: str
    scores: Mapping[str, Score]
    neighbours: Mapping[str, Score]


def render_overview(table: Table, conditions: Mapping[str, Condition], shown: Shown) -> str:
    """The README's results: the table of systems, and how much of the paper has been run."""
    published = {(name, score) for one in conditions.values() for name, score in one.paper.items()}
    done = {(name, one.paper[name]) for one in conditions.values() if shown.ran(one) for name in one.paper}
    rest = (
        "Weighted F1 on test, in percent: the F1 of each label, averaged by how often the label occurs. In brackets "
        "the 95% interval over dialogues. Bold: of all baselines, the one that the validation split chose. *Window*: "
        "the utterance with the 12 turns before it. *Transitions*: answers are filtered by which label followed which "
        "in the training set. *Neighbours*: beside the model, without transitions, "
        "[the labels of the nearest training utterances]"
        "(experiments/README.md#the-nearest-training-utterances-beside-a-model). A hyphen: not reported, or not run. "
        f"Of {len(published)} numbers in the paper's tables, {len(done)} have been run here. All runs, baselines, "
        "intervals and tests, and this table as a picture: [experiments/REPORT.md](experiments/REPORT.md). † Of "
        "EmoryNLP the authors pass on another release than the literature mostly reports."
    )
    return "\n\n".join([render_systems(list_systems(table, conditions, shown)), rest])


def render_systems(systems: Sequence[System]) -> str:
    """A line for each system, a column for each benchmark."""
    header = ("system", *(f"{name}{OTHER_RELEASE.get(name, '')}" for name in BENCHMARKS), "what, and how many seeds")
    lines = [
        [system.name, *(_cell(system.scores.get(name)) for name in BENCHMARKS), system.meaning] for system in systems
    ]
    return render_table(header, lines)


def _cell(score: Score | None) -> str:
    if score is None:
        return NOTHING
    text = score_cell(score.value, score.interval) if score.interval else f"{score.value:.2f}"
    return (f"**{text}**" if score.is_chosen else text) + score.more


def list_systems(table: Table, conditions: Mapping[str, Condition], shown: Shown) -> list[System]:
    """Those of others, baselines, ours; only what has a score on a benchmark's test.

    Of the baselines those that valid chose and the `MOST_INFORMED`; REPORT.md has all of them, and the leak bound.
    """
    found = [_claimed(claim) for claim in table.claims if claim.in_readme and set(claim.scores) & set(BENCHMARKS)]
    found += [_baseline(name, shown) for name in _choose_baselines(shown.records)]
    rows = _rows_of(conditions).values()
    return found + [_ours(members, shown) for members in rows if any(shown.ran(one) for one in members)]


def _claimed(claim: Claim) -> System:
    scores = {name: Score(claim.scores[name]) for name in BENCHMARKS if name in claim.scores}
    seeds = f", {_count_seeds(claim.seeds)}" if claim.seeds else ""
    name = f"{claim.system}, {claim.by}"
    return System(OTHERS, name, f"{name} ({claim.base})", f"{claim.base}{seeds}", scores, {})


def _choose_baselines(records: Records) -> list[str]:
    chosen = [best.row for dataset in BENCHMARKS if (best := records.best_baseline(dataset))]
    known = sorted({run.row for dataset in BENCHMARKS for run in records.baselines(dataset)})
    informed = [
        row for name in MOST_INFORMED for row in known if row.endswith(WITH_TRANSITIONS) and bare_name(row) == name
    ]
    return list(dict.fromkeys([*chosen, *informed]))


def _baseline(name: str, shown: Shown) -> System:
    found: dict[str, Record] = {
        dataset: run for dataset in BENCHMARKS for run in shown.records.baselines(dataset) if run.row == name
    }
    scores = {
        dataset: Score(
            run.score(dataset),
            shown.records.interval(run.condition, dataset),
            shown.mark([run]),
            run == shown.records.best_baseline(dataset),
        )
        for dataset, run in found.items()
    }
    meaning = next(iter(found.values())).selection.split(";")[0]
    called = f"baseline: {name.replace('_', ' ')}"
    return System(BASELINE, called, called, meaning, scores, {})


def _rows_of(conditions: Mapping[str, Condition]) -> dict[tuple[str, str], list[Condition]]:
    """(group, row) -> its conditions that are scored on a benchmark's test in its own labels."""
    found: dict[tuple[str, str], list[Condition]] = {}
    for one in conditions.values():
        if one.split == "test" and one.has_own_labels and set(one.datasets) <= set(BENCHMARKS):
            found.setdefault((one.name.split("/")[0], one.row), []).append(one)
    return found


def _ours(members: Sequence[Condition], shown: Shown) -> System:
    by_dataset = {dataset: shown.ran(one) for one in members for dataset in one.datasets if shown.ran(one)}
    runs = {run.condition: of for of in by_dataset.values() for run in of}
    counted = " and ".join(map(_count_seeds, dict.fromkeys(map(len, runs.values()))))
    decoded = " and ".join(dict.fromkeys(run.decode for of in runs.values() for run in of))
    asked = {name: _with_neighbours(of, name, shown) for name, of in by_dataset.items()}
    first, beyond = members[0], {name: score for name, score in asked.items() if score}
    scores = {name: _our_score(of, name, beyond.get(name), shown) for name, of in by_dataset.items()}
    meaning = f"{first.group.title}, decode={decoded}, {counted}{_describe_minutes(runs.values())}"
    short = "/".join(first.name.split("/")[:2])
    return System(OURS, f"ours: {first.row.replace('_', ' ')}", short, meaning, scores, beyond)


def _our_score(runs: Sequence[Record], dataset: str, beyond: Score | None, shown: Shown) -> Score:
    """With the scores of the model's own answers, where transitions decoded them, and of those with neighbours."""
    metric = shown.records.metric(dataset)
    without = [run.without[dataset].score(metric) for run in runs if dataset in run.without]
    more = f"; {mean(without):.2f} without transitions" if without else ""
    more += f"; {beyond.value:.2f} with neighbours" if beyond else ""
    found = _score([run.counts[dataset] for run in runs], metric)
    return Score(found.value, found.interval, more + shown.mark(runs))


def _with_neighbours(runs: Sequence[Record], dataset: str, shown: Shown) -> Score | None:
    """None where not all runs were scored so."""
    counts = [run.neighbours[dataset] for run in runs if dataset in run.neighbours]
    return _score(counts, shown.records.metric(dataset)) if len(counts) == len(runs) else None


def _score(counts: Sequence[Counts], metric: str) -> Score:
    return Score(mean(of.score(metric) for of in counts), score_interval(counts, metric))


def _describe_minutes(runs: Iterable[Sequence[Record]]) -> str:
    """How long a run took, from the shortest to the longest; nothing where all were stopped and resumed."""
    known = [run.minutes for of in runs for run in of if run.minutes is not None]
    if not known:
        return ""
    shortest, longest = round(min(known)), round(max(known))
    return f", {shortest} minutes a run" if shortest == longest else f", {shortest} to {longest} minutes a run"


def _count_seeds(count: int) -> str:
    return "1 seed" if count == 1 else f"{count} seeds"


def draw_forest(path: Path, systems: Sequence[System]) -> None:
    """A panel for each benchmark, a line for each system: its score with its 95% interval over dialogues."""
    with own_style():
        figure = Figure(figsize=(10.4, 1.2 + 0.3 * len(systems)), layout="constrained")
        panels = figure.subplots(1, len(BENCHMARKS), sharey=True)
        for axes, dataset in zip(panels, BENCHMARKS, strict=True):
            _draw_panel(axes, systems, dataset)
        panels[0].set_yticks(range(len(systems)), [system.short for system in systems], fontsize=7)
        panels[0].invert_yaxis()
        named = {text: line for axes in panels for line, text in zip(*axes.get_legend_handles_labels(), strict=True)}
        figure.legend(named.values(), named.keys(), loc="outside lower center", ncols=4, frameon=False, fontsize=8)
        save_figure(figure, path)


def _draw_panel(axes: Axes, systems: Sequence[System], dataset: str) -> None:
    for place, system in enumerate(systems):
        _draw_point(axes, place, system.kind, system.scores.get(dataset))
        _draw_point(axes, place + 0.3, NEIGHBOURS, system.neighbours.get(dataset))
    axes.set_title(dataset + OTHER_RELEASE.get(dataset, ""))
    axes.set_xlabel("weighted F1 on test (%)")
    axes.grid(axis="x", color="#e4e4e4", linewidth=0.8)
    axes.tick_params(axis="y", length=0)


def _draw_point(axes: Axes, place: float, kind: str, score: Score | None) -> None:
    if score is None:
        return
    name, marker = LOOKS[kind]
    bounds = score.interval
    apart = ([score.value - bounds.low], [bounds.high - score.value]) if bounds else None
    axes.errorbar(
        score.value, place, xerr=apart, fmt=marker, color=OKABE_ITO[name], ms=4, lw=1.2, capsize=2, label=kind
    )
