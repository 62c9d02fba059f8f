"""Runs conditions: published numbers and our own experiments, as settings; sets results beside the paper's.

    python code/reproduce.py --list
    python code/reproduce.py --table 1 --dry-run               # the exact commands
    python code/reproduce.py --condition sample --resume       # all of a group; or some: sample/window sample/plain
    python code/reproduce.py --report                          # tables, figures, a page, from what has finished

The conditions stand in experiments/conditions.yaml. When a run dies, the others go on. The exit code is 1 when a run
failed, or when --check found other counts than are committed. Every run adds a line to experiments/LOG.md, a record
with its counts to experiments/runs and its answers to experiments/predictions; --report needs nothing else.
"""

# First of all: from here on Ctrl-C is one line.
from basics.scripts import run_script

# isort: split
import argparse
import os
import shlex
import sys
from argparse import Namespace
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from tqdm import tqdm

from basics.argument_parsing import LineParser, whole_number
from basics.errors import UserError
from basics.files import make_folder, shown_path
from basics.locks import locked
from basics.stopping import advised
from basics.words import counted
from experiment_utils.checks import check_answers, missing_corpora
from experiment_utils.conditions import (
    CONDITIONS_FILE,
    EXPERIMENTS,
    Condition,
    Table,
    choose_conditions,
    list_conditions,
    read_table,
)
from experiment_utils.dialogue_counts import Counts
from experiment_utils.needs import Needs, base_of, estimate_all, read_needs, write_needs
from experiment_utils.records import Records
from experiment_utils.report_tables import BY_ITSELF, Shown, describe_p, mark_comparison
from experiment_utils.reports import (
    log_run,
    look_at,
    report_folder,
    update_records,
    write_browser,
    write_report,
)
from experiment_utils.runner import (
    LOG,
    Job,
    Plan,
    Runner,
    find_finished,
    has_same_dialogues,
    make_job,
    plan_job,
    read_manifest,
    unheeded_knobs,
    unlogged_seconds,
)
from experiment_utils.significance import SEEDS_FOR_A_TEST, Comparison, Paired, compare_runs, permutation_p
from knobs.gpus import visible_gpus

EXIT_FAILED = 1
RUN_NOTHING = ("list", "estimate", "check", "compare", "report")
OF_RUNS = ("table", "condition", "seeds", "dry_run", "jobs", "resume")
LIST_READS = ("table", "condition")
OF_ONE = "one dialogue: nothing can be said of other dialogues"


def main() -> None:
    arguments = parse_arguments()
    table = read_table(arguments.conditions)
    conditions = list_conditions(table)
    chosen = choose_conditions(conditions, arguments.table, arguments.condition)
    folder = report_folder(arguments.conditions)
    if arguments.list:
        print_list(chosen, read_needs(folder))
        return
    if arguments.estimate:
        print(write_needs(estimate_all(list(conditions.values())), folder))
        return
    if arguments.check:
        sys.exit(EXIT_FAILED if print_check(Records.read(folder)) else 0)
    if arguments.compare:
        print_comparison(conditions, arguments.compare, look_at(conditions, folder))
        return
    tell_unheeded()
    jobs = [make_job(conditions, one.name, seed) for one in chosen for seed in (arguments.seeds or one.group.seeds)]
    if arguments.dry_run:
        print_commands(jobs, read_needs(folder))
        return
    troubles: list[str] = []
    if not arguments.report:
        if not arguments.table and not arguments.condition:
            raise UserError("say what to run: --condition NAME or --table NUMBER; --list shows all")
        with advised("the same command with --resume goes on"):
            troubles = run_jobs(jobs, arguments, folder)
    report(table, conditions, folder, arguments.conditions)
    for line in troubles:
        print(line, file=sys.stderr)
    if troubles:
        sys.exit(EXIT_FAILED)


def tell_unheeded() -> None:
    """A line on knobs that the caller has set for nothing."""
    if names := unheeded_knobs():
        told = f"not heeded: {', '.join(names)}, set before the command; a condition says itself what it is"
        print(f"{told}, and one of your own goes into a file for --conditions", file=sys.stderr)


def parse_arguments() -> Namespace:
    """Read and check the command line."""
    parser = LineParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--list", action="store_true", help="print the conditions: the paper's score, seeds, memory, time"
    )
    parser.add_argument("--table", help="only the conditions of this table, as --list names it: 1, 2, ...")
    parser.add_argument(
        "--condition",
        nargs="+",
        action="extend",
        metavar="NAME",
        default=[],
        help="only these conditions, in this order; plain or plain/LLaMA2 stands for all that begin so",
    )
    parser.add_argument("--seeds", type=read_seeds, help="seeds in place of the conditions' own, joined by commas")
    parser.add_argument("--dry-run", action="store_true", help="print the commands and run nothing")
    parser.add_argument(
        "--jobs", type=whole_number(1), default=1, help="runs at a time, each on GPUs of its own (default: %(default)s)"
    )
    parser.add_argument("--resume", action="store_true", help="skip what has finished, go on with what was stopped")
    parser.add_argument("--report", action="store_true", help="run nothing; write tables, figures and the page")
    parser.add_argument(
        "--check", action="store_true", help="run nothing; work out the committed counts anew from answers and pickles"
    )
    parser.add_argument("--estimate", action="store_true", help="run nothing; work out what every condition needs")
    parser.add_argument("--compare", nargs=2, metavar="NAME", help="test how far the second condition is better")
    parser.add_argument(
        "--conditions",
        type=Path,
        default=CONDITIONS_FILE,
        help="file of other conditions, NAME.yaml; they are reported in NAME/",
    )
    arguments = parser.parse_args()
    refuse_unread(parser, arguments)
    return arguments


def refuse_unread(parser: LineParser, arguments: Namespace) -> None:
    """UserError: flags that choose or shape runs stand beside one that runs nothing."""
    alone = [name for name in RUN_NOTHING if getattr(arguments, name)]
    read = LIST_READS if alone == ["list"] else ()
    told = [name for name in OF_RUNS if getattr(arguments, name) != parser.get_default(name)]
    unread = [name for name in told if name not in read]
    if alone and (unread or alone[1:]):
        others = ", ".join(f"--{name.replace('_', '-')}" for name in [*alone[1:], *unread])
        raise UserError(f"{others}: not read beside --{alone[0]}, leave them out")


def read_seeds(text: str) -> tuple[int, ...]:
    """Whole numbers joined by commas, each once."""
    return tuple(dict.fromkeys(whole_number(0)(word) for word in text.split(",")))


def print_list(conditions: Sequence[Condition], needs: Mapping[str, Needs]) -> None:
    """One line for each condition; what it needs is an estimate."""
    for one in conditions:
        paper = ", ".join(f"{dataset} {score:.2f} ±{one.group.tolerance:g}" for dataset, score in one.paper.items())
        found = needs.get(one.name)
        cells = [one.name, f"table {one.group.table}", base_of(one), paper or "no published number"]
        cells += [counted(len(one.group.seeds), "seed"), *([describe_needs(found)] if found else [])]
        print("; ".join(cells))
    print(f"{counted(len(conditions), 'condition')}, {tell_time(conditions, needs)}", file=sys.stderr)


def tell_time(conditions: Sequence[Condition], needs: Mapping[str, Needs]) -> str:
    """How long all seeds of conditions take, as far as that is estimated."""
    known = [one for one in conditions if one.name in needs]
    if not known:
        return "whose time is not estimated"
    minutes = sum(needs[one.name].minutes * len(one.group.seeds) for one in known)
    time = counted(round(minutes / 60), "hour") if minutes > 90 else counted(max(1, round(minutes)), "minute")
    unknown = len(conditions) - len(known)
    without = f", without {unknown:,} whose time is not estimated" if unknown else ""
    return f"about {time} for all of their seeds{without}"


def describe_needs(found: Needs) -> str:
    """Memory and time of a run as one line, estimated, and on which machine."""
    return f"about {found.memory_gib:g} GiB, {found.minutes:g} minutes a run on {found.machine}"


def print_commands(jobs: Sequence[Job], needs: Mapping[str, Needs]) -> None:
    """The command of every run, below its name and what it needs."""
    for job in jobs:
        found = needs.get(job.condition.name)
        print(f"# {job.name}{f': {describe_needs(found)}' if found else ''}\n{job.command}")


def print_check(records: Records) -> list[str]:
    """What differs, a line each, or that nothing does; and which datasets could not be looked at."""
    unread = missing_corpora(records)
    troubles = list(check_answers(records, unread))
    checked = sum(len(run.counts.keys() - unread) for run in records.runs)
    print("\n".join(troubles) or f"the counts that are committed are those of {counted(checked, 'file')} of answers")
    if unread:
        where = "original_data/README.md says where to get them"
        print(f"not checked, as their pickles are not here: {', '.join(unread)}; {where}", file=sys.stderr)
    return troubles


def run_jobs(jobs: Sequence[Job], arguments: Namespace, folder: Path) -> list[str]:
    """Run what can be run, with progress; one line for every run that failed, or whose settings were refused.

    folder: of the log. Settings are checked before the first run; UserError where all are refused.
    """
    planned, troubles = plan_all(jobs)
    if not planned:
        raise UserError("; ".join(troubles))
    planned = unique_runs(planned)
    with tqdm(total=len(planned), unit="run", smoothing=0) as bar:

        def announce(job: Job, log: Path) -> None:
            bar.write(f"{job.name}: {log}", sys.stderr)

        runner = Runner(arguments.jobs, arguments.resume, announce, visible_gpus(os.environ))
        for outcome in runner.run(planned):
            bar.update()
            minutes = outcome.seconds / 60
            if outcome.is_held:
                held = "not begun, as the run whose model it goes on from has not finished"
                troubles.append(f"{outcome.job.name}: {held}: {outcome.job.start.name}")
                continue
            if outcome.code is None:
                if (seconds := unlogged_seconds(outcome.plan)) is not None:
                    log_run(outcome.job, outcome.plan, 0, seconds / 60, folder, is_from_before=True)
                bar.write(f"{outcome.job.name}: finished before", sys.stderr)
                continue
            log_run(outcome.job, outcome.plan, outcome.code, minutes, folder)
            word = f"failed with exit status {outcome.code}" if outcome.failed else "finished"
            bar.write(f"{outcome.job.name}: {word} after {minutes:.1f} minutes", sys.stderr)
            troubles += [f"{outcome.job.name}: failed, see {outcome.plan.folder}/{LOG}"] if outcome.failed else []
    return troubles


def unique_runs(planned: Sequence[tuple[Job, Plan]]) -> list[tuple[Job, Plan]]:
    """Conditions of several tables may be one run: the first of them stays."""
    return list({plan.folder: (job, plan) for job, plan in reversed(planned)}.values())[::-1]


def report(table: Table, conditions: Mapping[str, Condition], folder: Path, described: Path) -> None:
    """Write to `folder` the report of what is committed and of all that has finished here.

    One program at a time: one that was slower would else undo the other's, with what had finished when it began.
    described: the file of the conditions.
    """
    make_folder(folder)
    with locked(folder):
        found = find_finished(conditions, EXPERIMENTS)
        # By other dialogues than those that were answered nothing can be told of a run.
        finished = [(job, run) for job, run in found if has_same_dialogues(job, read_manifest(run) or {})]
        shown = update_records(conditions, finished, folder)
        if folder != EXPERIMENTS:
            shown = replace(shown, command=f"{shown.command} --conditions {shlex.quote(shown_path(str(described)))}")
        written = write_report(table, conditions, shown, folder)
        if finished:
            written.append(write_browser(conditions, shown, finished, folder))
    kept = {(run.condition, run.seed) for run in shown.records.runs}
    lost = [job for job, run in found if (job, run) not in finished and (job.condition.name, job.seed) not in kept]
    told = "not shown, as its corpus has changed since; --resume runs it anew"
    for line in [*shown.left_out, *(f"{job.name}: {told}" for job in lost)]:
        print(line, file=sys.stderr)
    print("\n".join(map(str, written)))


def plan_all(jobs: Iterable[Job]) -> tuple[list[tuple[Job, Plan]], list[str]]:
    """The jobs that can be run here, and a line for each whose settings are refused, as for want of data."""
    jobs = list(jobs)
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # each asks a script, in a process of its own
        plans = list(pool.map(plan_or_reason, jobs))
    planned = [(job, plan) for job, plan in zip(jobs, plans, strict=True) if isinstance(plan, Plan)]
    return planned, [plan for plan in plans if isinstance(plan, str)]


def plan_or_reason(job: Job) -> Plan | str:
    """The plan of a job, or why its settings are refused."""
    try:
        return plan_job(job)
    except UserError as error:
        return str(error)


def print_comparison(conditions: Mapping[str, Condition], names: Sequence[str], shown: Shown) -> None:
    """Points apart, seed by seed, and how sure that is, for each dataset; of own answers too, where both have them."""
    pair = [choose_conditions(conditions, names=[name]) for name in names]
    if any(len(found) != 1 for found in pair):
        raise UserError(f"--compare {' '.join(names)}: name two conditions in full, as --list prints them")
    (first,), (second,) = pair
    shared = [dataset for dataset in first.datasets if dataset in second.datasets]
    if not shared or first.split != second.split:
        raise UserError(f"--compare {' '.join(names)}: they have no scored rows in common; name two of one dataset")
    for one in (first, second):
        if not shown.ran(one):
            left_out = "; ".join(line for line in shown.left_out if line.startswith(f"{one.name}, seed "))
            told = left_out or f"{one.name} has no record; run it with --condition {one.name}"
            raise UserError(f"--compare: {told}")
    for dataset in shared:
        for way, counts in {"": shown.records.counts, BY_ITSELF: shown.records.own_counts}.items():
            runs = [counts(one.name, dataset) for one in (first, second)]
            if all(runs):
                found = compare_runs(*runs, shown.records.metric(dataset))
                mark = mark_comparison(second, first, found.differences, shown)
                print(f"{dataset}{way}: {second.name} is {found.mean:+.2f} points from {first.name}{mark}")
                print("\n".join(describe_comparison(found, runs, shown.records.metric(dataset))))


def describe_comparison(found: Comparison, runs: Sequence[Mapping[int, Counts]], metric: str) -> Iterator[str]:
    """A line for each seed with the test of these two models, then what is known of other seeds."""
    for seed, points in found.differences.items():
        p = describe_p(permutation_p([Paired([(runs[0][seed], runs[1][seed])], metric)]))
        yield f"  seed {seed}: {points:+.2f}; of these two models, p by permuting whole dialogues: {p}"
    if found.interval is None or found.p is None:
        few = len(found.differences) < SEEDS_FOR_A_TEST
        what = f"fewer than {SEEDS_FOR_A_TEST} seeds: nothing can be said of other seeds" if few else OF_ONE
        yield f"  {what}"
    else:
        low, high = found.interval.low, found.interval.high
        yield f"  over seeds and dialogues: {low:+.2f} to {high:+.2f}, p {describe_p(found.p)}"


if __name__ == "__main__":
    run_script(main)
