"""The first screen of the report's page: what ran, what failed, and how each score compares."""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from statistics import mean

from basics.markdown import render_table
from experiment_utils.conditions import Condition
from experiment_utils.report_tables import NOTHING, OTHER_RELEASE, Shown, describe_scores, find_baseline
from scoring.metrics import WEIGHTED_F1, name_metric

_LOGGED = re.compile(r"^\| (?P<date>[^|]+) \| [^|]* \| [^|]* \| (?P<run>[^|]+) \| (?P<outcome>[^|]+) \|", re.MULTILINE)
_FAILED = "failed with exit status"
LEGEND = """\
**score**: weighted F1 in percent on test, or on valid where it says so: the mean over seeds, in brackets their number
and the 95% interval over dialogues, from three seeds on over seeds too. **held to**: the paper's number, else the best
baseline, which needs no language model and is chosen on valid. **points**: score minus that."""


def render_answer(conditions: Mapping[str, Condition], shown: Shown, log: str) -> str:
    """The screen in Markdown. log: the text of LOG.md, which records failed runs."""
    ran = [one for one in conditions.values() if shown.ran(one)]
    runs = sum(len(shown.ran(one)) for one in ran)
    failed = list(list_failed(log))
    published = [(one.name, dataset) for one in ran for dataset in one.paper]
    finished = f"{_count(runs, 'run')} of {_count(len(ran), 'condition')} finished"
    troubles = f"{_count(len(failed), 'run')} failed and did not finish since"
    compared = f"{_count(len(published), 'number')} of the paper's tables can be compared"
    parts = ["# Did it work?", f"{finished}; {troubles}; {compared}.".capitalize()]
    parts += ["\n".join(f"- {line}" for line in failed)] * bool(failed)
    rows = [_row(one, dataset, shown) for one in ran for dataset in one.datasets]
    header = ("what ran", "dataset", "score", "held to", "points", "verdict")
    legend = LEGEND + tell_other_scores(shown)
    return "\n\n".join([*parts, *([render_table(header, rows), legend] if rows else [])])


def tell_other_scores(shown: Shown, known: Collection[str] = ()) -> str:
    """' On mine the score is micro F1 without neutral.', for each dataset that has another than weighted F1.

    known: datasets of which the reader has been told.
    """
    datasets = {dataset for run in shown.records.runs for dataset in run.counts}.difference(known)
    metrics = {dataset: shown.records.metric(dataset) for dataset in sorted(datasets)}
    others = {dataset: name_metric(metric) for dataset, metric in metrics.items() if metric != WEIGHTED_F1}
    return "".join(f" On {dataset} the score is {metric}." for dataset, metric in others.items())


def list_failed(log: str) -> Iterator[str]:
    """A line for every run whose last entry in LOG.md is a failure."""
    last = {found["run"].strip(): found for found in _LOGGED.finditer(log)}
    for run, found in last.items():
        if found["outcome"].startswith(_FAILED):
            yield f"{run}: {found['outcome'].strip()}, {found['date'].strip()}"


def _row(condition: Condition, dataset: str, shown: Shown) -> Sequence[str]:
    split = "" if condition.split == "test" else f", {condition.split}"
    score = describe_scores(condition, dataset, shown)
    where = f"{dataset}{OTHER_RELEASE.get(dataset, '')}{split}"
    return (condition.name, where, score, *_judge(condition, dataset, shown))


def _judge(condition: Condition, dataset: str, shown: Shown) -> tuple[str, str, str]:
    """(what the score is compared with, difference in points, verdict)."""
    ours = mean(shown.records.scores(condition.name, dataset))
    few = "; one seed, others may differ" if len(shown.ran(condition)) == 1 else ""
    if dataset in condition.paper:
        points, spread = ours - condition.paper[dataset], condition.group.tolerance
        held_to = f"paper, {condition.paper[dataset]:.2f} ± {spread:g}"
        if dataset in OTHER_RELEASE:
            return held_to, f"{points:+.2f}", "none: of another release of the data"
        word = "reaches the paper" if abs(points) <= spread else "above the paper" if points > 0 else "below the paper"
        return held_to, f"{points:+.2f}", word + few
    if best := find_baseline(condition, dataset, shown):
        points = ours - best.score(dataset)
        held_to = f"baseline {best.row}, {best.score(dataset):.2f}"
        return held_to, f"{points:+.2f}", ("above" if points > 0 else "not above") + " the best baseline" + few
    return NOTHING, NOTHING, "none: compared inside its group, below"


def _count(number: int, word: str) -> str:
    return f"{number or 'no'} {word}{'' if number == 1 else 's'}"
