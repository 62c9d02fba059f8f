"""Tables of scores in Markdown: the paper's, ours with its interval, the command and the commit."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from statistics import mean, stdev
from typing import Any

from basics.markdown import render_table
from data_utils.labels import DATASETS
from experiment_utils.conditions import Claim, Condition
from experiment_utils.dialogue_counts import Counts, macro_f1
from experiment_utils.records import Record, Records, in_order
from experiment_utils.significance import SEEDS_FOR_A_TEST, Comparison, Interval, compare_runs, holm
from results.files import SELECTIONS
from scoring.beside import KINDS, PREFERRED

NOTHING = "-"
SMALLEST_P = 0.001
STALE = "; STALE, of other settings or dialogues than today's"
ON_TEST = "; epoch chosen on TEST"
BY_ITSELF = ", without transitions"
# Datasets of which the authors pass on another release than that of the scores in the literature -> mark.
OTHER_RELEASE = {"EmoryNLP": "†"}


@dataclass(frozen=True)
class Shown:
    """What tables and figures are made from.

    stale: (condition, seed) of runs with settings or dialogues that have changed since. earlier: scores without
    committed answers. left_out: a line for each run whose condition no longer exists. command: what makes the report,
    with the file of the conditions where it is one's own.
    """

    records: Records
    stale: Collection[tuple[str, int]] = field(default_factory=frozenset)
    earlier: Sequence[Mapping[str, Any]] = ()
    left_out: Sequence[str] = ()
    command: str = "python code/reproduce.py"

    def ran(self, condition: Condition) -> list[Record]:
        """The runs of a condition, by seed."""
        return self.records.of(condition.name)

    def mark(self, runs: Sequence[Record]) -> str:
        """The text after a number that is from stale runs, or runs whose epoch was chosen on test; else empty."""
        old: dict[str, list[Record]] = {}
        for run in runs:
            if (run.condition, run.seed) in self.stale:
                old.setdefault(run.condition, []).append(run)
        names = len({run.condition for run in runs}) > 1
        told = filter(None, (_name_runs(of, names) for of in old.values()))
        said = ": ".join([STALE, *filter(None, [" and ".join(told)])]) if old else ""
        return said + say_if_on_test(runs)


def _name_runs(runs: Sequence[Record], with_row: bool) -> str:
    """The runs of one condition in words, by their seeds, which baselines do not have."""
    seeds = "" if runs[0].is_baseline else f"seed {', '.join(str(run.seed) for run in runs)}"
    return " ".join(filter(None, [runs[0].row * with_row, seeds]))


def name_with_seeds(runs: Mapping[str, Sequence[Record]]) -> dict[str, str]:
    """Row -> its name beside the others: with its seeds, where the rows' means are over different seeds.

    runs: row -> the runs of its mean.
    """
    seeds = {row: ", ".join(str(run.seed) for run in of) or "of both: none" for row, of in runs.items()}
    return {row: f"{row} (seed {of})" if len({*seeds.values()}) > 1 else row for row, of in seeds.items()}


def say_if_on_test(runs: Sequence[Record]) -> str:
    """The text after a score whose epoch was chosen on test; else empty."""
    return ON_TEST * any(run.selection == SELECTIONS["test"] for run in runs)


# Field of a record that depends on the machine -> text after a comparison of runs that differ in it.
UNLIKE = {
    "precision": "IN ANOTHER PRECISION",
    "weights": "FROM OTHER WEIGHTS OF THE BASE",
    "commit": "BY ANOTHER COMMIT",
}


def say_if_unlike(runs: Sequence[Record], others: Sequence[Record], same_base: bool) -> str:
    """The text after a comparison of runs that differ in precision and the like, with their seeds; else empty.

    same_base: both are of one base, so that their weights should be the same.
    """
    pairs = [(run, other) for run in runs for other in others if run.seed == other.seed]
    said = ""
    for name, words in UNLIKE.items():
        known = [(run.seed, {getattr(run, name), getattr(other, name)} - {"", None}) for run, other in pairs]
        apart = [str(seed) for seed, values in known if len(values) > 1 and (same_base or name != "weights")]
        said += f"; {words}: seed {', '.join(apart)}" if apart else ""
    return said


def render_group(conditions: Sequence[Condition], shown: Shown) -> str:
    """The table of a group's conditions that ran, without empty columns; empty where none did."""
    pairs = [(one, dataset) for one in conditions if shown.ran(one) for dataset in one.datasets]
    columns = {name: [cell(one, dataset, shown) for one, dataset in pairs] for name, cell in COLUMNS.items()}
    kept = {name: cells for name, cells in columns.items() if set(cells) != {NOTHING}}
    return render_table(tuple(kept), zip(*kept.values(), strict=True)) if pairs else ""


def _paper(condition: Condition, dataset: str, shown: Shown) -> str:
    return f"{condition.paper[dataset]:.2f}" if dataset in condition.paper else NOTHING


def describe_scores(condition: Condition, dataset: str, shown: Shown) -> str:
    """Mean over seeds, standard deviation from three on, 95% interval; whether a run is stale or was chosen on test."""
    found = shown.records.scores(condition.name, dataset)
    bounds = shown.records.interval(condition.name, dataset)
    seeds = "one seed" if len(found) == 1 else f"{len(found)} seeds"
    apart = f" ± {stdev(found):.2f}" if len(found) >= SEEDS_FOR_A_TEST else ""
    said = shown.mark(shown.ran(condition))
    return f"**{mean(found):.2f}**{apart} ({seeds}; {bounds.low:.2f} to {bounds.high:.2f}{said})"


def counts_without(runs: Sequence[Record], dataset: str) -> list[Counts]:
    """Counts of runs without the filter of transitions, seed by seed; empty where not all runs were decoded with it."""
    return _of_all([run.without for run in runs], dataset)


def counts_beside(runs: Sequence[Record], dataset: str, kind: str) -> list[Counts]:
    """The counts of runs with a kind of evidence added, seed by seed; empty where not all runs were scored so."""
    return _of_all([run.beside.get(kind, {}) for run in runs], dataset)


def _of_all(found: Sequence[Mapping[str, Counts]], dataset: str) -> list[Counts]:
    """Empty where one run has no counts: means that stand side by side are of the same seeds."""
    return [of[dataset] for of in found] if all(dataset in of for of in found) else []


def _mean_of(counts_of: Callable[[Sequence[Record], str], list[Counts]]) -> Callable[[Condition, str, Shown], str]:
    def cell(condition: Condition, dataset: str, shown: Shown) -> str:
        found = [counts.score(shown.records.metric(dataset)) for counts in counts_of(shown.ran(condition), dataset)]
        return f"{mean(found):.2f}" if found else NOTHING

    return cell


def _macro(condition: Condition, dataset: str, shown: Shown) -> str:
    return f"{mean(float(macro_f1(run.counts[dataset].sums)) for run in shown.ran(condition)):.2f}"


def describe_difference(condition: Condition, dataset: str, shown: Shown) -> str:
    """Ours minus the paper's, and whether it is within the spread that the paper's authors state."""
    if dataset not in condition.paper:
        return NOTHING
    difference = mean(shown.records.scores(condition.name, dataset)) - condition.paper[dataset]
    if dataset in OTHER_RELEASE:
        return f"{difference:+.2f}"
    word = "beyond" if abs(difference) > condition.group.tolerance else "within"
    return f"{difference:+.2f}, {word} the paper's spread"


def _baseline(condition: Condition, dataset: str, shown: Shown) -> str:
    """The score of the baseline that valid chose, see `find_baseline`."""
    best = find_baseline(condition, dataset, shown)
    return f"{best.score(dataset):.2f}{shown.mark([best])}" if best else NOTHING


def find_baseline(condition: Condition, dataset: str, shown: Shown) -> Record | None:
    """The baseline that valid chose, if it answered the condition's split in the same labels."""
    best = shown.records.best_baseline(dataset)
    return best if best and condition.has_own_labels and condition.split == best.split else None


def _valid(condition: Condition, dataset: str, shown: Shown) -> str:
    return spread([run.valid_of[dataset] for run in shown.ran(condition) if dataset in run.valid_of])


def _decode(condition: Condition, dataset: str, shown: Shown) -> str:
    runs = shown.ran(condition)
    confusion = sum(run.counts[dataset].confusion for run in runs)
    share = 100 * confusion[:, -1].sum() / confusion.sum()
    missing = [f"{share:.1f}% without a label"] if share else []
    return ", ".join([*dict.fromkeys(run.decode for run in runs), *missing])


def _of_each(tell: Callable[[Record], str]) -> Callable[[Condition, str, Shown], str]:
    """A column with the text of each run, or once where all are equal."""

    def cell(condition: Condition, dataset: str, shown: Shown) -> str:
        found = [tell(run) for run in shown.ran(condition)]
        return ", ".join(found if len(set(found)) > 1 else found[:1])

    return cell


def _minutes(condition: Condition, dataset: str, shown: Shown) -> str:
    return spread([run.minutes for run in shown.ran(condition) if run.minutes is not None], 1)


# Name of a column -> function that gives the cell of a condition on a dataset.
COLUMNS: Mapping[str, Callable[[Condition, str, Shown], str]] = {
    "condition": lambda condition, dataset, shown: condition.row,
    "dataset": lambda condition, dataset, shown: dataset + OTHER_RELEASE.get(dataset, ""),
    "paper": _paper,
    "ours": describe_scores,
    "without transitions": _mean_of(counts_without),
    **{f"with {kind.called}": _mean_of(partial(counts_beside, kind=name)) for name, kind in KINDS.items()},
    "macro F1": _macro,
    "minus the paper's": describe_difference,
    "best baseline": _baseline,
    "valid": _valid,
    "decode": _decode,
    "precision": _of_each(lambda run: run.precision),
    "minutes": _minutes,
    "command": lambda condition, dataset, shown: f"`{shown.ran(condition)[0].command}`",
    "commit": _of_each(lambda run: short_commit(run.commit)),
}


def short_commit(commit: str | None) -> str:
    """The first seven digits, and a plus where the program had uncommitted changes."""
    return "unknown" if commit is None else commit[:7] + "+" * commit.endswith("+changes")


def render_comparisons(conditions: Sequence[Condition], shown: Shown) -> str:
    """The table of comparisons: each condition with the one that its group names, and the baseline that valid chose.

    p is corrected by Holm's method over all lines of the table; there is none with fewer than three seeds.
    """
    found = list(_compare_all(conditions, shown))
    tested = [compared.p for _, compared in found if compared.p is not None]
    corrected = iter(holm(tested))
    rows = []
    for line, compared in found:
        p = NOTHING if compared.p is None else describe_p(next(corrected))
        seeds, apart, middle, interval = _describe_points(compared)
        apart += f" (seed {seeds})" if compared.left_out else ""
        rows.append([*line, apart, middle, interval, p])
    header = ("condition", "against", "dataset", "points, seed by seed", "mean", "95% interval", "p, Holm")
    return render_table(header, rows) if rows else ""


def _compare_all(conditions: Sequence[Condition], shown: Shown) -> Iterator[tuple[tuple[str, str, str], Comparison]]:
    """((condition, other, dataset), comparison) of every pair that ran, with the preferred evidence too."""
    named = {one.name: one for one in conditions}
    for one in conditions:
        for dataset in one.datasets if shown.ran(one) else ():
            ours, metric = shown.records.counts(one.name, dataset), shown.records.metric(dataset)
            other = one.compared_with
            if other and (shared := set(theirs := shown.records.counts(other, dataset)) & set(ours)):
                mark = mark_comparison(one, named[other], shared, shown)
                yield (one.row, f"{named[other].row}{mark}", dataset), compare_runs(theirs, ours, metric)
                own = [shown.records.own_counts(name, dataset) for name in (other, one.name)]
                if set(own[0]) & set(own[1]):
                    pair = (f"{one.row}{BY_ITSELF}", f"{named[other].row}{BY_ITSELF}{mark}", dataset)
                    yield pair, compare_runs(*own, metric)
            if best := find_baseline(one, dataset, shown):
                # A baseline has no seed: it is compared with every seed of ours.
                same, mark = dict.fromkeys(ours, best.counts[dataset]), shown.mark([*shown.ran(one), best])
                yield (one.row, f"{best.row}{mark}", dataset), compare_runs(same, ours, metric)
                if joint := counts_beside(shown.ran(one), dataset, PREFERRED):
                    row, seeds = f"{one.row}, with {KINDS[PREFERRED].called}", dict(zip(ours, joint, strict=True))
                    yield (row, f"{best.row}{mark}", dataset), compare_runs(same, seeds, metric)


def render_transitions(conditions: Iterable[Condition], shown: Shown) -> str:
    """The table of points that transitions gave each condition on test; empty where no condition has them.

    Not on valid, to which they are fitted, so that they cannot lose there.
    """
    rows = []
    for one in conditions:
        for dataset in one.datasets if one.split == "test" else ():
            if own := shown.records.own_counts(one.name, dataset):
                filtered = shown.records.counts(one.name, dataset)
                found = compare_runs(own, {seed: filtered[seed] for seed in own}, shown.records.metric(dataset))
                mark = shown.mark([run for run in shown.ran(one) if run.seed in own])
                name = f"{one.name.removesuffix(f'/{dataset}')}{mark}"
                rows.append([name, dataset + OTHER_RELEASE.get(dataset, ""), *_describe_points(found)])
    header = ("condition", "dataset", "seeds", "points, seed by seed", "mean", "95% interval")
    return render_table(header, rows) if rows else ""


def _describe_points(found: Comparison) -> list[str]:
    """The cells of a comparison: seeds, points of each, their mean, its interval."""
    points = ", ".join(f"{one:+.2f}" for one in found.differences.values())
    bounds = found.interval
    interval = f"{bounds.low:+.2f} to {bounds.high:+.2f}" if bounds else NOTHING
    return [", ".join(map(str, found.differences)), points, f"{found.mean:+.2f}", interval]


def mark_comparison(one: Condition, other: Condition, seeds: Collection[int], shown: Shown) -> str:
    """The text after a comparison of two conditions over some seeds, see `mark` and `say_if_unlike`."""
    runs, others = ([run for run in shown.ran(each) if run.seed in seeds] for each in (one, other))
    same_base = one.settings.get("MODEL_NAME") == other.settings.get("MODEL_NAME")
    return shown.mark([*runs, *others]) + say_if_unlike(runs, others, same_base)


def describe_p(value: float) -> str:
    """A p-value with three decimals; never as zero."""
    return f"{value:.3f}" if value >= SMALLEST_P else f"< {SMALLEST_P}"


def render_copying(conditions: Sequence[Condition], shown: Shown) -> str:
    """How often answers are their demonstration's label, seed by seed; empty where no run had demonstrations."""
    rows = []
    for condition in conditions:
        runs = [run.copying for run in shown.ran(condition) if run.copying]
        if runs:
            answered, gold = ([one[name] for one in runs] for name in ("answered", "gold"))
            rows.append([condition.row, ", ".join(condition.datasets), spread(answered), spread(gold)])
    header = ("condition", "dataset", "answer is the demonstration's label, %", "gold label is it, %")
    return render_table(header, rows) if rows else ""


def render_labels(conditions: Sequence[Condition], shown: Shown) -> str:
    """F1 of every label, the mean over seeds, a table for each dataset and its labels."""
    tables: dict[tuple[str, tuple[str, ...]], dict[str, list[Record]]] = {}
    for one in conditions:
        for dataset in one.datasets if shown.ran(one) else ():
            runs = shown.ran(one)
            tables.setdefault((dataset, runs[0].labels), {})[one.row] = runs
    return "\n\n".join(_table_of_labels(dataset, labels, runs) for (dataset, labels), runs in tables.items())


def _table_of_labels(dataset: str, labels: Sequence[str], runs: Mapping[str, Sequence[Record]]) -> str:
    rows = []
    for row, name in name_with_seeds(runs).items():
        values = [mean(of) for of in zip(*(run.f1_of_labels(dataset) for run in runs[row]), strict=True)]
        rows.append([name, dataset, *(f"{value:.1f}" for value in values)])
    return render_table(("condition, F1 of a label", "dataset", *labels), rows)


def render_baselines(shown: Shown) -> str:
    """The tables of baselines, one for each dataset; empty where none was measured."""
    rows = []
    for dataset in in_order({*DATASETS, *(name for run in shown.records.runs for name in run.counts)}):
        best = shown.records.best_baseline(dataset)
        for run in shown.records.baselines(dataset):
            score = score_cell(run.score(dataset), shown.records.interval(run.condition, dataset))
            score += shown.mark([run])
            macro = f"{float(macro_f1(run.counts[dataset].sums)):.2f}"
            valid = f"{run.valid:.2f}" if run.valid is not None else NOTHING
            rows.append([dataset, run.row, valid, score, macro, "**chosen on valid**" * (run is best), run.selection])
    header = ("dataset", "baseline", "valid", "test", "macro F1", "", "what it is")
    return render_table(header, rows) if rows else ""


def render_earlier(shown: Shown) -> str:
    """The table of scores without committed answers; empty where there are none."""
    rows = [
        [one["condition"], str(one["seed"]), one["split"], one["decode"], f"{one['score']:.2f}", f"{one['valid']:.2f}"]
        + [one["date"], short_commit(one["commit"])]
        for one in shown.earlier
    ]
    header = ("condition", "seed", "split", "decode", "score", "valid", "date", "commit")
    return render_table(header, rows) if rows else ""


def render_claims(claims: Sequence[Claim], datasets: Sequence[str]) -> str:
    """The table of scores that others report, with their sources."""
    rows = [
        [
            claim.system,
            claim.base,
            claim.by,
            *(f"{claim.scores[one]:.2f}" if one in claim.scores else NOTHING for one in datasets),
            "text" if claim.text_only else "more than text",
            claim.selection or "not said",
            str(claim.seeds or "not said"),
            claim.source + (f"; {claim.note}" if claim.note else ""),
        ]
        for claim in claims
    ]
    return render_table(("system", "base", "scores", *datasets, "uses", "epoch chosen on", "seeds", "source"), rows)


def group_conditions(conditions: Mapping[str, Condition]) -> dict[str, list[Condition]]:
    """Group -> its conditions."""
    groups: dict[str, list[Condition]] = {}
    for condition in conditions.values():
        groups.setdefault(condition.name.split("/", 1)[0], []).append(condition)
    return groups


def score_cell(score: float, bounds: Interval | None) -> str:
    """A score with its interval, where one is known."""
    return f"{score:.2f}" + (f" ({bounds.low:.2f} to {bounds.high:.2f})" if bounds else "")


def spread(values: Sequence[float], digits: int = 2) -> str:
    """All values, in their order; a dash for none."""
    return ", ".join(f"{value:.{digits}f}" for value in values) or NOTHING
