"""What stands under a table of scores: tests between conditions, copied demonstrations, what the numbers say."""

from collections.abc import Sequence

from basics.markdown import render_table
from experiment_utils.conditions import Condition
from experiment_utils.records import Scores

NOTHING = "-"
SMALLEST_P = 0.001


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
