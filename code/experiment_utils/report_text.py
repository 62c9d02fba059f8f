"""Renders experiments/REPORT.md from records, and the README's part on the sample."""

import io
from collections.abc import Mapping, Sequence

from basics.markdown import render_table
from experiment_utils.conditions import BENCHMARKS, Condition, Table
from experiment_utils.overview import OVERVIEW, list_systems, render_systems
from experiment_utils.report_answer import tell_other_scores
from experiment_utils.report_tables import (
    NOTHING,
    Shown,
    group_conditions,
    render_baselines,
    render_claims,
    render_comparisons,
    render_copying,
    render_earlier,
    render_group,
    render_labels,
    render_transitions,
)
from results.files import Scorecard
from results.score_table import print_table
from scoring.metrics import MajorityBaseline

SAMPLE_RUN = "sample/window/sample"

PREFACE = """\
Made by `{command} --report` from `runs/`, which holds for every run its record and counts: in each
dialogue, how often which label was answered with which. Scores, intervals and tests derive from those counts, and these
from the answers in `predictions/` with the corpora (`{command} --check`). What a record says beyond its
counts rests on the record alone: the score on valid by which an epoch or a baseline was chosen, how often
demonstrations were copied, and minutes. *Train*, *valid* and *test* are the splits of a corpus, to learn from, to
choose on, to be scored on.

- **ours**: weighted F1 (W-F1), the F1 of each label averaged by how often the label occurs, in percent; on dailydialog
  micro F1 without neutral.{other_scores}\
 It is that of the epoch that is best on valid, or where the cell says so on test, and of the
  test split unless a title says valid: the mean over seeds, from three seeds on ± their standard deviation. In brackets
  stands the 95% interval, found by drawing dialogues anew, as the utterances of one depend on each other. From three
  seeds on the spread between them counts too (Student's t); of one or two the interval takes the trained models as
  given.
- **macro F1**: the mean F1 of the labels that occur in the split; every label counts alike.
- **the paper's spread**: ±0.5 points, as its authors state it.
- **best baseline**: what needs no language model and is best on valid, see [Baselines](#baselines). With transitions a
  score on valid cannot be below the one without, as their weights are chosen there and may be 0.
- **valid**: the score on valid by which the epoch was chosen, of the model's own answers, seed by seed.
- **points**: a condition minus the one beside it, seed by seed, over the seeds that both have, which are named where
  one has more: the scores above are of all of its seeds. With fewer than three seeds there is no interval and no p: how
  far other seeds would lie is not known. p is of the mean over its standard error over dialogues and seeds, corrected
  by Holm's method over the table. Baselines stand there without evidence, also beside a model that has it.
- **decode**: score takes the label of the highest probability; transitions filters these by who felt what before;
  generate reads the generated answer, which counts as wrong where it holds no label.
- **precision**: in which a run computed, seed by seed where they differ. It follows the machine, and a score with it:
  a difference between runs in other precisions is marked, and one between runs from other weights of the same base or
  by another commit of the program, which may have scored otherwise.
- **†**: the authors pass on one release of EmoryNLP, the literature mostly reports another: no verdict.
- **minutes**: of the whole run, wall clock; left out where it was stopped and resumed."""

SYSTEMS = """\
On test. Bold: of all baselines, the one that valid chose. *With neighbours* and *with linear models*: beside
the model's own answers, without transitions, stands [evidence](README.md#evidence-beside-a-model) of the nearest
training utterances, or of two logistic regressions. Minutes are of a whole run, on so many
cores of a CPU; [LOG.md](LOG.md) has every start of one, with the minutes to its end or stop. The picture shows what the
table says."""

TRANSITIONS = """\
On test: the score of the answers that transitions filtered minus that of the model's own, which stand beside them in
`runs/`. From three seeds on with the interval over seeds and dialogues."""

EARLIER = """\
Of earlier commits, before answers were kept: nobody can work out an interval or a test of them, so no table above
rests on them."""


def render_report(
    table: Table, conditions: Mapping[str, Condition], shown: Shown, figures: Mapping[str, Sequence[str]]
) -> str:
    """The whole of REPORT.md. figures: group -> files of its pictures, drawn from the same records."""
    preface = PREFACE.format(command=shown.command, other_scores=tell_other_scores(shown, ["dailydialog"]))
    parts = ["# Reproduction report", preface]
    if pictures := [_picture(name, "All systems") for name in figures.get(OVERVIEW, ())]:
        parts += ["## All systems", SYSTEMS, render_systems(list_systems(table, conditions, shown)), *pictures]
    groups = group_conditions(conditions)
    for group, members in groups.items():
        if any(shown.ran(one) for one in members):
            parts += [f"## {name_group(members[0])}", members[0].group.note, render_group(members, shown)]
            parts += [render_comparisons(members, shown), render_copying(members, shown), render_labels(members, shown)]
            parts += [_picture(name) for name in figures.get(group, ())]
    if transitions := render_transitions(conditions.values(), shown):
        parts += ["## What transitions give", TRANSITIONS, transitions]
    parts += ["## Baselines" * bool(found := render_baselines(shown)), found]
    if earlier := render_earlier(shown):
        parts += ["## Earlier runs, whose answers were not kept", EARLIER, earlier]
    if table.claims:
        parts += ["## Reported by others", render_claims(table.claims, BENCHMARKS)]
    parts += ["## Not run here", render_missing(groups, shown)]
    return "\n\n".join(filter(None, parts)) + "\n"


def _picture(figure: str, shows: str = "") -> str:
    return f"![{shows or figure.removesuffix('.png').replace('_', ' ')}](figures/{figure})"


def name_group(condition: Condition) -> str:
    """The heading of a condition's group, with the number of the paper's table, if it has one."""
    group = condition.group
    return f"Table {group.table}: {group.title}" if condition.paper and group.table.isdecimal() else group.title


def render_missing(groups: Mapping[str, Sequence[Condition]], shown: Shown) -> str:
    """How much of each group has not been run: conditions, seeds of those that have, and the command."""
    rows = []
    for group, members in groups.items():
        seeds = members[0].group.seeds
        left = {one.name: set(seeds) - {run.seed for run in shown.ran(one)} for one in members}
        missing = [one for one in members if not shown.ran(one)]
        begun = [
            f"{one.name.removeprefix(f'{group}/')}: {', '.join(map(str, sorted(left[one.name])))}"
            for one in members
            if left[one.name] and shown.ran(one)
        ]
        if missing or begun:
            command = f"`{shown.command} --condition {group}`"
            count = f"{len(missing)} of {len(members)}"
            rows.append([members[0].group.title, count, str(len(seeds)), command, "; ".join(begun) or NOTHING])
    header = ("group", "conditions not run", "seeds each", "all of them", "seeds not run of the others")
    return render_table(header, rows) if rows else "All has been run."


def render_sample(shown: Shown) -> str:
    """The output of the README's first command, from the sample's record; empty where it has not been run."""
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
