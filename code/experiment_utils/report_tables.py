"""Scores as Markdown: the paper's number, ours, their difference, the command and the commit. Made, never typed."""

from collections.abc import Callable, Mapping, Sequence
from statistics import mean, stdev

from basics.markdown import render_table
from experiment_utils.conditions import Condition, Table
from experiment_utils.records import Scores

NOT_IN_README = ("minutes", "command")
PREFACE = """\
Made by `python code/reproduce.py --report` from `scores.json`. What has been run comes first.

- **paper, ours**: weighted F1 in percent (dailydialog: micro F1 without neutral), on test unless a title says valid.
  Ours is the mean over seeds ± their standard deviation, and in brackets the 95% bootstrap interval over utterances.
- **difference**: ours minus the paper's, and whether it lies within the tolerance.
- **best baseline**: the best on test of what needs no language model, see [Baselines](#baselines).
- **valid**: the score on valid, seed by seed, of the epoch that was scored; it was chosen there unless the command
  says otherwise.
- **points, p**: a condition minus the one it is compared with, over the seeds that both have. Bootstrap and interval
  resample utterances, McNemar's test counts who is right; both take the trained models as given. How far seeds differ
  is not in them: look at ± for that, and do not call a difference real that is no larger.
- **minutes**: of the whole run, wall clock; a dash where it was stopped and resumed."""
NOTHING = "-"
SMALLEST_P = 0.001


def render_group(conditions: Sequence[Condition], scores: Scores, leave_out: Sequence[str] = ()) -> str:
    """The table of a group: one line for each number, also where it has not been run. leave_out: columns."""
    columns = {name: cell for name, cell in COLUMNS.items() if name not in leave_out}
    lines = [
        [cell(one, dataset, scores) for cell in columns.values()] for one in conditions for dataset in one.datasets
    ]
    return render_table(tuple(columns), lines)


def _found(condition: Condition, dataset: str, scores: Scores) -> list[float]:
    return [run["scores"][dataset]["score"] for run in scores.of(condition.name)]


def _paper(condition: Condition, dataset: str, scores: Scores) -> str:
    return f"{condition.paper[dataset]:.2f}" if dataset in condition.paper else NOTHING


def _baseline(condition: Condition, dataset: str, scores: Scores) -> str:
    """Of test and the dataset's own labels alone."""
    best = scores.best_baseline(dataset)
    comparable = condition.split == "test" and condition.script != "Mixed"
    return f"{best:.2f}" if best is not None and comparable else NOTHING


def _command(condition: Condition, dataset: str, scores: Scores) -> str:
    runs = scores.of(condition.name)
    return f"`{runs[0]['command'] if runs else f'python code/reproduce.py --condition {condition.name}'}`"


def _valid(condition: Condition, dataset: str, scores: Scores) -> str:
    """Of this dataset's rows; of records older than `valid_of`, the one number that they have."""
    found = [run.get("valid_of", {}).get(dataset, run["valid"]) for run in scores.of(condition.name)]
    return spread([score for score in found if score is not None])


def _commits(condition: Condition, dataset: str, scores: Scores) -> str:
    found = [short_commit(run["commit"]) for run in scores.of(condition.name)]
    return ", ".join(found if len(set(found)) > 1 else found[:1]) or NOTHING


# Name of a column -> what it says of a condition on a dataset.
COLUMNS: Mapping[str, Callable[[Condition, str, Scores], str]] = {
    "condition": lambda condition, dataset, scores: condition.row,
    "dataset": lambda condition, dataset, scores: dataset,
    "paper": _paper,
    "ours": lambda condition, dataset, scores: describe_scores(condition, dataset, scores),
    "difference": lambda condition, dataset, scores: describe_difference(
        condition, dataset, _found(condition, dataset, scores)
    ),
    "best baseline": _baseline,
    "valid": _valid,
    "minutes": lambda condition, dataset, scores: spread(
        [run["minutes"] for run in scores.of(condition.name) if run["minutes"] is not None], 1
    ),
    "command": _command,
    "commit": _commits,
}


def short_commit(commit: str | None) -> str:
    """Seven digits, and a plus where the program had uncommitted changes."""
    return "unknown" if commit is None else commit[:7] + "+" * commit.endswith("+changes")


def describe_scores(condition: Condition, dataset: str, scores: Scores) -> str:
    """The mean over seeds, their standard deviation, and the 95% interval of the mean over utterances."""
    found = _found(condition, dataset, scores)
    if not found:
        return "not run"
    bounds = scores.interval_of(condition.name, dataset)
    seeds = "one seed" if len(found) == 1 else f"{len(found)} seeds"
    spread = f" ± {stdev(found):.2f}" if len(found) > 1 else ""
    return f"**{mean(found):.2f}**{spread} ({seeds}{f'; {bounds[0]:.2f} to {bounds[1]:.2f}' if bounds else ''})"


def describe_difference(condition: Condition, dataset: str, found: Sequence[float]) -> str:
    """Ours minus the paper's, and whether it is within the tolerance."""
    if not found or dataset not in condition.paper:
        return NOTHING
    difference = mean(found) - condition.paper[dataset]
    verdict = "beyond" if is_missed(condition, dataset, found) else "within"
    return f"{difference:+.2f} ({verdict} ±{condition.tolerance:g})"


def is_missed(condition: Condition, dataset: str, found: Sequence[float]) -> bool:
    """Whether the mean of the scores found is further from the paper's than the tolerance."""
    paper = condition.paper.get(dataset)
    return bool(found) and paper is not None and abs(mean(found) - paper) > condition.tolerance


def list_misses(conditions: Sequence[Condition], scores: Scores) -> list[str]:
    """One line for every finished number that is further from the paper's than its tolerance."""
    lines = []
    for condition in conditions:
        for dataset in condition.paper:
            found = [run["scores"][dataset]["score"] for run in scores.of(condition.name)]
            if is_missed(condition, dataset, found):
                lines.append(f"{condition.name} on {dataset}: {describe_difference(condition, dataset, found)}")
    return lines


def render_systems(systems: Mapping[str, Mapping[str, float]], datasets: Sequence[str]) -> str:
    """Other published systems, as they were published."""
    rows = [[name, *(f"{of[one]:.2f}" if one in of else NOTHING for one in datasets)] for name, of in systems.items()]
    return render_table(("published by others", *datasets), rows)


def group_conditions(conditions: Mapping[str, Condition]) -> dict[str, list[Condition]]:
    """Group -> its conditions."""
    groups: dict[str, list[Condition]] = {}
    for condition in conditions.values():
        groups.setdefault(condition.name.split("/", 1)[0], []).append(condition)
    return groups


def _ran_first(conditions: Mapping[str, Condition], scores: Scores) -> list[tuple[str, list[Condition]]]:
    groups = group_conditions(conditions).items()
    return sorted(groups, key=lambda group: not any(scores.of(one.name) for one in group[1]))


def render_baselines(scores: Scores) -> str:
    """What needs no language model, dataset by dataset; empty where nothing was measured."""
    names = list(dict.fromkeys(name for of in scores.baselines for name in of["scores"]))
    rows = [[of["dataset"], *(f"{of['scores'][name]:.2f}" for name in names)] for of in scores.baselines]
    return render_table(("dataset", *(name.replace("_", " ") for name in names)), rows) if rows else ""


def name_group(condition: Condition) -> str:
    """The heading of its group: with the paper's table, where it has numbers of it."""
    return f"Table {condition.table}: {condition.title}" if condition.paper else condition.title


def render_report(
    table: Table, conditions: Mapping[str, Condition], scores: Scores, figures: Mapping[str, Sequence[str]]
) -> str:
    """The whole of experiments/REPORT.md. figures: group -> files of its pictures, drawn from the same scores."""
    parts = ["# Reproduction report", PREFACE]
    for group, members in _ran_first(conditions, scores):
        parts += [f"## {name_group(members[0])}", members[0].note, render_group(members, scores)]
        parts += describe_group(members, scores)
        parts += [
            f"![{name.removesuffix('.png').replace('_', ' ')}](figures/{name})" for name in figures.get(group, ())
        ]
    parts += ["## Baselines" * bool(scores.baselines), render_baselines(scores)]
    parts += ["## Other systems", render_systems(table.systems, ("iemocap", "meld", "EmoryNLP"))]
    return "\n\n".join(filter(None, parts)) + "\n"


def render_readme(conditions: Mapping[str, Condition], scores: Scores) -> str:
    """The README's section: the groups of which something has been run, and how much of the paper has."""
    parts = []
    for _, members in _ran_first(conditions, scores):
        ran = [condition for condition in members if scores.of(condition.name)]
        if ran:
            parts += [f"**{members[0].title}**", members[0].note, render_group(ran, scores, NOT_IN_README)]
            parts += [render_finding(members, scores)]
    published = [condition for condition in conditions.values() if condition.paper]
    numbers = sum(len(condition.paper) for condition in published)
    done = sum(len(condition.paper) for condition in published if scores.of(condition.name))
    parts.append(
        f"Of {numbers} published numbers in [conditions.yaml](experiments/conditions.yaml), {done} have been run here; "
        "[REPORT.md](experiments/REPORT.md) shows all, with commands, tests and pictures."
    )
    return "\n\n".join(filter(None, parts))


def render_comparisons(conditions: Sequence[Condition], scores: Scores) -> str:
    """Each condition against the one that its group names; empty where none has been computed."""
    known = {condition.name: condition for condition in conditions}
    rows = [
        [
            known[one["second"]].row,
            known[one["first"]].row,
            one["dataset"],
            f"{one['difference']:+.2f}",
            f"{one['interval']['low']:+.2f} to {one['interval']['high']:+.2f}",
            describe_p(one["p_bootstrap"]),
            ", ".join(f"{seed}: {describe_p(p)}" for seed, p in one["p_mcnemar"].items()),
        ]
        for one in scores.comparisons
        if one["first"] in known and one["second"] in known
    ]
    header = ("condition", "against", "dataset", "points", "95% interval", "p, bootstrap", "p, McNemar, by seed")
    return render_table(header, rows) if rows else ""


def describe_p(value: float) -> str:
    """Three decimals; none is called zero, which a p-value is not."""
    return f"{value:.3f}" if value >= SMALLEST_P else f"< {SMALLEST_P}"


def render_copying(conditions: Sequence[Condition], scores: Scores) -> str:
    """How often answers are their demonstration's label, seed by seed; empty where no run had demonstrations."""
    rows = []
    for condition in conditions:
        runs = [run for run in scores.of(condition.name) if run.get("copying")]
        if runs:
            answered, gold = ([run["copying"][name] for run in runs] for name in ("answered", "gold"))
            rows.append([condition.row, ", ".join(condition.datasets), spread(answered), spread(gold)])
    header = ("condition", "dataset", "answer is the demonstration's label, %", "gold label is it, %")
    return render_table(header, rows) if rows else ""


def describe_group(conditions: Sequence[Condition], scores: Scores) -> list[str]:
    """What stands under the table of a group of which something has been run: tests, copying, what it says."""
    found = [render_comparisons(conditions, scores), render_copying(conditions, scores)]
    return [part for part in [*found, render_finding(conditions, scores)] if part]


def render_finding(conditions: Sequence[Condition], scores: Scores) -> str:
    """What the numbers of a group say, a point each; empty where nothing of it has been run."""
    ran = any(scores.of(condition.name) for condition in conditions)
    return "\n".join(f"- {point}" for point in conditions[0].finding) if ran else ""


def spread(values: Sequence[float], digits: int = 2) -> str:
    """All values, in their order; a dash for none."""
    return ", ".join(f"{value:.{digits}f}" for value in values) or NOTHING
