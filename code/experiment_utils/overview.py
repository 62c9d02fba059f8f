"""All systems side by side, a column for each benchmark: published ones, baselines and ours."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from statistics import mean

from basics.markdown import render_table
from basics.words import counted
from experiment_utils.conditions import BENCHMARKS, Claim, Condition, Table
from experiment_utils.dialogue_counts import Counts
from experiment_utils.records import Record, Records
from experiment_utils.report_tables import (
    NOTHING,
    OTHER_RELEASE,
    Shown,
    counts_beside,
    counts_without,
    score_cell,
)
from experiment_utils.significance import Interval, score_interval
from scoring.baseline_table import FINE_TUNED, VECTORS, WITH_TRANSITIONS, bare_name
from scoring.beside import KINDS, PREFERRED

OVERVIEW = "overview"  # key of its figure beside those of groups
# Baselines with most information (turns before, by speaker, and label transitions). They are shown beside those that
# valid chose, as valid is small, and its choice not always the strongest.
MOST_INFORMED = ("words_history", VECTORS, FINE_TUNED)
OTHERS, BASELINE, OURS = "reported by others", "baseline", "ours"
WITHOUT = "ours, without transitions"
BESIDE = {name: f"ours, with {kind.called}" for name, kind in KINDS.items()}


LEGEND = """\
Weighted F1 on test, in percent: the F1 of each label, averaged by how often the label occurs. In brackets stands the \
95% interval over dialogues, from three seeds on over seeds too. Bold: of all baselines, the one that the validation \
split chose. A hyphen: not reported, or not run. The words of our lines, each with the condition that it is of \
(`python code/reproduce.py --condition NAME`):

- *window*: the prompt shows the utterance with the 12 turns before it. *compact*: a shorter prompt of ours. *step_6*: \
the start of what it shows moves every six turns.
- *class weights*: in training rare labels count more.
- *transitions*: answers are filtered by which label followed which in the training set.
- *with linear models*: beside the model, and without transitions, [two logistic regressions of the training set]\
(experiments/README.md#evidence-beside-a-model)."""
ELSEWHERE = (
    "All runs, baselines, intervals and tests, and this table as a picture: "
    "[experiments/REPORT.md](experiments/REPORT.md). † Of EmoryNLP the authors pass on another release than the "
    "literature mostly reports."
)


@dataclass(frozen=True)
class Score:
    """A score on the test set of a benchmark, in percent, the mean over seeds. interval: None for scores of others.

    more: text after it in a cell. is_chosen: whether it is of the baseline that valid chose.
    """

    value: float
    interval: Interval | None = None
    more: str = ""
    is_chosen: bool = False


@dataclass(frozen=True)
class System:
    """A line of the table. short: name in the figure; meaning: what it is, number of seeds, time of a run.

    scores: benchmark -> score. others: further scores, kind -> benchmark -> score: `WITHOUT` is without transitions,
    those of `BESIDE` are with evidence.
    """

    kind: str
    name: str
    short: str
    meaning: str
    scores: Mapping[str, Score]
    others: Mapping[str, Mapping[str, Score]]


def render_overview(table: Table, conditions: Mapping[str, Condition], shown: Shown) -> str:
    """The README's results: the table of systems, and how much of the paper has been run."""
    published = {(name, score) for one in conditions.values() for name, score in one.paper.items()}
    done = {(name, one.paper[name]) for one in conditions.values() if shown.ran(one) for name in one.paper}
    run = f"Of the paper's {len(published)} different scores (its oracle's left out) {len(done)} have been run here."
    for_readme = {name: one for name, one in conditions.items() if one.group.rows[one.row].in_readme}
    return "\n\n".join([render_systems(list_systems(table, for_readme, shown)), LEGEND, f"{run} {ELSEWHERE}"])


def render_systems(systems: Sequence[System]) -> str:
    """The table in Markdown: a line for each system, a column for each benchmark."""
    header = ("system", *(f"{name}{OTHER_RELEASE.get(name, '')}" for name in BENCHMARKS), "what, and how many seeds")
    lines = [
        [system.name, *(_cell(system.scores.get(name)) for name in BENCHMARKS), system.meaning] for system in systems
    ]
    return render_table(header, lines)


def _cell(score: Score | None) -> str:
    if score is None:
        return NOTHING
    text = score_cell(score.value, score.interval)
    return (f"**{text}**" if score.is_chosen else text) + score.more


def list_systems(table: Table, conditions: Mapping[str, Condition], shown: Shown) -> list[System]:
    """Systems of others, then baselines, then ours, as far as they have a score on a benchmark's test.

    The baselines are those that valid chose and `MOST_INFORMED`; REPORT.md has all of them, and the leak bound.
    """
    found = [_claimed(claim) for claim in table.claims if claim.in_readme and set(claim.scores) & set(BENCHMARKS)]
    found += [_baseline(name, shown) for name in _choose_baselines(shown.records)]
    rows = _rows_of(conditions).values()
    return found + [_ours(members, shown) for members in rows if any(shown.ran(one) for one in members)]


def _claimed(claim: Claim) -> System:
    scores = {name: Score(claim.scores[name]) for name in BENCHMARKS if name in claim.scores}
    seeds = f", {counted(claim.seeds, 'seed')}" if claim.seeds else ""
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
    runs = {dataset: shown.ran(one) for one in members for dataset in one.datasets if shown.ran(one)}
    decoded = " and ".join(dict.fromkeys(run.decode for of in runs.values() for run in of))
    first = members[0]
    others = {WITHOUT: _scores(runs, counts_without, shown)}
    others |= {BESIDE[kind]: _scores(runs, partial(counts_beside, kind=kind), shown) for kind in KINDS}
    scores = {
        dataset: replace(score, more=_say_others(dataset, others) + shown.mark(runs[dataset]))
        for dataset, score in _scores(runs, _counts, shown).items()
    }
    meaning = f"decode={decoded}, {_describe_seeds(runs)}{_describe_minutes(runs)}"
    short = "/".join(first.name.split("/")[:2])
    return System(OURS, f"ours: {first.group.title} (`{short}`)", short, meaning, scores, others)


def _counts(runs: Sequence[Record], dataset: str) -> list[Counts]:
    return [run.counts[dataset] for run in runs]


def _scores(
    runs: Mapping[str, Sequence[Record]], counts_of: Callable[[Sequence[Record], str], list[Counts]], shown: Shown
) -> dict[str, Score]:
    found = {dataset: counts for dataset, of in runs.items() if (counts := counts_of(of, dataset))}
    return {dataset: _score(counts, shown.records.metric(dataset)) for dataset, counts in found.items()}


def _say_others(dataset: str, others: Mapping[str, Mapping[str, Score]]) -> str:
    """The further scores for a cell, without evidence of the kind that valid does not prefer."""
    said = {kind: others[kind][dataset].value for kind in (WITHOUT, BESIDE[PREFERRED]) if dataset in others[kind]}
    return "".join(f"; {value:.2f} {kind.removeprefix(f'{OURS}, ')}" for kind, value in said.items())


def _score(counts: Sequence[Counts], metric: str) -> Score:
    return Score(mean(of.score(metric) for of in counts), score_interval(counts, metric))


def _describe_minutes(runs: Mapping[str, Sequence[Record]]) -> str:
    """How long runs of each dataset took, and on which device; without those that were resumed."""
    known = {name: [run for run in of if run.minutes is not None] for name, of in runs.items()}
    told = [f"{name} {_spread_of(of)} ({_describe_places(of)})" for name, of in known.items() if of]
    return f"; minutes: {', '.join(told)}" if told else ""


def _spread_of(runs: Sequence[Record]) -> str:
    minutes = sorted(round(run.minutes or 0) for run in runs)
    return f"{minutes[0]}" if minutes[0] == minutes[-1] else f"{minutes[0]} to {minutes[-1]}"


def _describe_places(runs: Sequence[Record]) -> str:
    return " or ".join(dict.fromkeys(map(_describe_place, runs)))


def _describe_place(run: Record) -> str:
    if run.device != "cpu":
        return run.device
    return counted(run.processors, "core")


def _describe_seeds(runs: Mapping[str, Sequence[Record]]) -> str:
    counts = {name: len(of) for name, of in runs.items()}
    if len(set(counts.values())) == 1:
        return counted(next(iter(counts.values())), "seed")
    return "; ".join(f"{name} {counted(count, 'seed')}" for name, count in counts.items())
