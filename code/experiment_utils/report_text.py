"""Records -> the whole of experiments/REPORT.md, and the README's table of results."""

import io
from collections.abc import Mapping, Sequence
from statistics import mean

from basics.markdown import render_table
from experiment_utils.conditions import BENCHMARKS, Claim, Condition, Table
from experiment_utils.records import Record, Records
from experiment_utils.report_tables import (
    NOTHING,
    OTHER_RELEASE,
    Shown,
    group_conditions,
    own_scores,
    render_baselines,
    render_claims,
    render_comparisons,
    render_copying,
    render_earlier,
    render_group,
    render_labels,
    score_cell,
)
from results.files import Scorecard
from results.summary import print_table
from scoring.baselines import FINE_TUNED, VECTORS, WITH_TRANSITIONS, bare_name
from scoring.metrics import MajorityBaseline

SAMPLE_RUN = "sample/window/sample"
# Baselines that are told most (the turns before by who spoke, and which label follows which); the README shows them
# beside those that valid chose, since valid is small and the one it chose is not always the strongest.
MOST_INFORMED = ("words_history", VECTORS, FINE_TUNED)

PREFACE = """\
Made by `python code/reproduce.py --report` from `runs/`, which holds for every run its record and counts: in each
dialogue, how often which label was answered with which. Scores, intervals and tests derive from those counts, and these
from the answers in `predictions/` with the corpora (`python code/reproduce.py --check`). What a record says beyond its
counts rests on the record alone: the score on valid by which an epoch or a baseline was chosen, how often
demonstrations were copied, and minutes. *Train*, *valid* and *test* are the splits of a corpus, to learn from, to
choose on, to be scored on.

- **ours**: weighted F1 (W-F1), the F1 of each label averaged by how often the label occurs, in percent; on dailydialog
  micro F1 without neutral. It is that of the epoch that is best on valid, on test unless a title says valid: the mean
  over seeds, from three seeds on ± their standard deviation. In brackets stands the 95% interval, found by drawing
  dialogues anew, as the utterances of one depend on each other. From three seeds on the spread between
  them counts too (Student's t); of one or two the interval takes the trained models as given.
- **macro F1**: the mean F1 of the labels that occur in the split; every label counts alike.
- **the paper's spread**: ±0.5 points, as its authors state it.
- **best baseline**: what needs no language model and is best on valid, see [Baselines](#baselines). With transitions a
  score on valid cannot be below the one without, as their weights are chosen there and may be 0.
- **valid**: the score on valid of the epoch that was scored, seed by seed.
- **points**: a condition minus the one beside it, seed by seed. With fewer than three seeds there is no interval and no
  p: how far other seeds would lie is not known. p is of the mean over its standard error over dialogues and seeds,
  corrected by Holm's method over the table.
- **decode**: score takes the label of the highest probability; transitions filters these by who felt what before;
  generate reads the generated answer.
- **†**: the authors pass on one release of EmoryNLP, the literature mostly reports another: no verdict.
- **minutes**: of the whole run, wall clock; left out where it was stopped and resumed."""

EARLIER = """\
Of earlier commits, before answers were kept: nobody can work out an interval or a test of them, so no table above and
no sentence elsewhere rests on them."""


def render_report(
    table: Table, conditions: Mapping[str, Condition], shown: Shown, figures: Mapping[str, Sequence[str]]
) -> str:
    """The whole of REPORT.md. figures: group -> files of its pictures, drawn from the same records."""
    parts = ["# Reproduction report", PREFACE]
    groups = group_conditions(conditions)
    for group, members in groups.items():
        if any(shown.ran(one) for one in members):
            parts += [f"## {name_group(members[0])}", members[0].group.note, render_group(members, shown)]
            parts += [render_comparisons(members, shown), render_copying(members, shown), render_labels(members, shown)]
            parts += [f"![{_in_words(name)}](figures/{name})" for name in figures.get(group, ())]
    parts += ["## Baselines" * bool(found := render_baselines(shown)), found]
    if earlier := render_earlier(shown):
        parts += ["## Earlier runs, whose answers were not kept", EARLIER, earlier]
    parts += ["## Reported by others", render_claims(table.claims, BENCHMARKS)]
    parts += ["## Not run here", render_missing(groups, shown)]
    return "\n\n".join(filter(None, parts)) + "\n"


def _in_words(figure: str) -> str:
    return figure.removesuffix(".png").replace("_", " ")


def name_group(condition: Condition) -> str:
    """The heading of its group: with the paper's table, where it has numbers of one."""
    group = condition.group
    return f"Table {group.table}: {group.title}" if condition.paper and group.table.isdecimal() else group.title


def render_missing(groups: Mapping[str, Sequence[Condition]], shown: Shown) -> str:
    """How much of each group has not been run: conditions, seeds and the command."""
    rows = []
    for group, members in groups.items():
        missing = [one for one in members if not shown.ran(one)]
        if missing:
            command = f"`python code/reproduce.py --condition {group}`"
            count = f"{len(missing)} of {len(members)}"
            rows.append([members[0].group.title, count, str(len(members[0].group.seeds)), command])
    header = ("group", "conditions not run", "seeds each", "all of them")
    return render_table(header, rows) if rows else "All has been run."


def render_readme(table: Table, conditions: Mapping[str, Condition], shown: Shown) -> str:
    """The README's results: a line for each system, a column for each benchmark; how much of the paper has been run.

    Of the baselines those that valid chose and the `MOST_INFORMED`; REPORT.md has all of them, and the leak bound.
    """
    lines = [_claim_line(claim) for claim in table.claims if claim.in_readme and set(claim.scores) & set(BENCHMARKS)]
    lines += [_baseline_line(name, shown) for name in _readme_baselines(shown.records)]
    for members in _rows_of(conditions).values():
        if any(shown.ran(one) for one in members):
            lines.append(_our_line(members, shown))
    header = ("system", *(f"{name}{OTHER_RELEASE.get(name, '')}" for name in BENCHMARKS), "what, and how many seeds")
    published = {(name, score) for one in conditions.values() for name, score in one.paper.items()}
    done = {(name, one.paper[name]) for one in conditions.values() if shown.ran(one) for name in one.paper}
    rest = (
        "Weighted F1 on test, in percent: the F1 of each label, averaged by how often the label occurs. In brackets "
        "the 95% interval over dialogues. Bold: of all baselines, the one that the validation split chose. *Window*: "
        "the utterance with the 12 turns before it. *Transitions*: answers are filtered by which label followed which "
        "in the training set. A hyphen: not reported, or not run. Of "
        f"{len(published)} numbers in the paper's tables, {len(done)} have been run here. All runs, baselines, "
        "intervals and tests: [experiments/REPORT.md](experiments/REPORT.md). † Of EmoryNLP the authors pass on "
        "another release than the literature mostly reports."
    )
    return "\n\n".join([render_table(header, lines), rest])


def render_sample(shown: Shown) -> str:
    """What the first command prints at its end, from the sample's record; empty where it has not been run."""
    runs = shown.records.of(SAMPLE_RUN)
    if not runs:
        return ""
    run, counts = runs[0], runs[0].counts["sample"]
    unseen = shown.records.breakdowns(run, "sample")["text"]["not in train"]
    majority = shown.records.of("baselines/majority/sample")
    said = majority and majority[0].counts["sample"]
    scorecard = Scorecard(
        counts.evaluate(),
        "valid",
        unseen=unseen.evaluate(),
        majority=MajorityBaseline(said.labels[int(said.confusion.sum(0).argmax())], said.evaluate()) if said else None,
    )
    stream = io.StringIO()
    print_table(scorecard, "sample, SmolLM2-135M, LoRA", stream)
    return "\n".join(["```", *(line.rstrip() for line in stream.getvalue().splitlines()), "```"])


def _rows_of(conditions: Mapping[str, Condition]) -> dict[tuple[str, str], list[Condition]]:
    """(group, row) -> its conditions that are scored on a benchmark's test in its own labels."""
    found: dict[tuple[str, str], list[Condition]] = {}
    for one in conditions.values():
        if one.split == "test" and one.has_own_labels and set(one.datasets) <= set(BENCHMARKS):
            found.setdefault((one.name.split("/")[0], one.row), []).append(one)
    return found


def _claim_line(claim: Claim) -> list[str]:
    scores = [f"{claim.scores[name]:.2f}" if name in claim.scores else NOTHING for name in BENCHMARKS]
    seeds = f", {_count_seeds(claim.seeds)}" if claim.seeds else ""
    return [f"{claim.system}, {claim.by}", *scores, f"{claim.base}{seeds}"]


def _readme_baselines(records: Records) -> list[str]:
    chosen = [best.row for dataset in BENCHMARKS if (best := records.best_baseline(dataset))]
    known = sorted({run.row for dataset in BENCHMARKS for run in records.baselines(dataset)})
    informed = [
        row for name in MOST_INFORMED for row in known if row.endswith(WITH_TRANSITIONS) and bare_name(row) == name
    ]
    return list(dict.fromkeys([*chosen, *informed]))


def _baseline_line(name: str, shown: Shown) -> list[str]:
    found: list[Record | None] = [
        next((run for run in shown.records.baselines(dataset) if run.row == name), None) for dataset in BENCHMARKS
    ]
    cells = [
        score_cell(run.score(dataset), shown.records.interval(run.condition, dataset)) + shown.mark([run])
        if run
        else NOTHING
        for run, dataset in zip(found, BENCHMARKS, strict=True)
    ]
    for place, (run, dataset) in enumerate(zip(found, BENCHMARKS, strict=True)):
        if run and run == shown.records.best_baseline(dataset):
            cells[place] = f"**{cells[place]}**"
    meaning = next(run.selection.split(";")[0] for run in found if run)
    return [f"baseline: {name.replace('_', ' ')}", *cells, meaning]


def _our_line(members: Sequence[Condition], shown: Shown) -> list[str]:
    by_dataset = {dataset: one for one in members for dataset in one.datasets if shown.ran(one)}
    cells = [_our_cell(by_dataset.get(dataset), dataset, shown) for dataset in BENCHMARKS]
    runs = {one.name: shown.ran(one) for one in by_dataset.values()}
    counted = " and ".join(map(_count_seeds, dict.fromkeys(map(len, runs.values()))))
    decoded = " and ".join(dict.fromkeys(run.decode for of in runs.values() for run in of))
    first = members[0]
    return [f"ours: {first.row.replace('_', ' ')}", *cells, f"{first.group.title}, decode={decoded}, {counted}"]


def _our_cell(condition: Condition | None, dataset: str, shown: Shown) -> str:
    """With the score of the model's own answers, where transitions decoded them."""
    scores = shown.records.scores(condition.name, dataset) if condition else []
    if not scores or condition is None:
        return NOTHING
    without = own_scores(condition, dataset, shown)
    more = f"; {mean(without):.2f} without transitions" if without else ""
    cell = score_cell(mean(scores), shown.records.interval(condition.name, dataset))
    return cell + more + shown.mark(shown.ran(condition))


def _count_seeds(count: int) -> str:
    return "1 seed" if count == 1 else f"{count} seeds"
