"""Runs published numbers as conditions of experiments/conditions.yaml, and sets ours beside the paper's.

    python code/reproduce.py --list
    python code/reproduce.py --table 1 --dry-run               # the exact commands
    python code/reproduce.py --condition sample --resume       # all of a group; or some: sample/window sample/plain
    python code/reproduce.py --report                          # tables, figures, a page, from what has finished

A run that dies leaves the others going. Exit code 1: a run failed, or a finished number is further from the
paper's than its tolerance. Every run adds a line to experiments/LOG.md.
"""

# First of all: from here on Ctrl-C is one line.
from basics.scripts import run_script

# isort: split
import os
import signal
import sys
from argparse import Namespace
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tqdm import tqdm

from basics.argument_parsing import LineParser, whole_number
from basics.errors import UserError
from experiment_utils.conditions import (
    CONDITIONS_FILE,
    Condition,
    Table,
    choose_conditions,
    list_conditions,
    read_table,
)
from experiment_utils.needs import NEEDS_FILE, Needs, base_of, estimate_all, read_needs, write_needs
from experiment_utils.records import SCORES_FILE, make_comparison, read_scores
from experiment_utils.report_tables import describe_p, list_misses
from experiment_utils.reports import log_run, report_folder, update_scores, write_browser, write_report
from experiment_utils.runner import LOG, Job, Plan, Runner, is_finished, plan_job
from knobs.gpus import visible_gpus

EXIT_MISSED = 1


def main() -> None:
    arguments = parse_arguments()
    table = read_table(arguments.conditions)
    conditions = list_conditions(table)
    chosen = choose_conditions(conditions, arguments.table, arguments.condition)
    folder = report_folder(arguments.conditions)
    if arguments.list:
        print_list(chosen, read_needs(folder / NEEDS_FILE.name))
        return
    if arguments.estimate:
        print(write_needs(estimate_all(list(conditions.values())), folder / NEEDS_FILE.name))
        return
    if arguments.compare:
        print_comparison(conditions, arguments.compare, arguments.seeds)
        return
    jobs = [Job(condition, seed) for condition in chosen for seed in (arguments.seeds or condition.seeds)]
    if arguments.dry_run:
        print("\n".join(f"# {job.name}\n{job.command}" for job in jobs))
        return
    troubles: list[str] = []
    if not arguments.report:
        if not arguments.table and not arguments.condition:
            raise UserError("say what to run: --condition NAME or --table NUMBER; --list shows all")
        stop_on_signals()
        troubles = run_jobs(jobs, arguments, folder)
    troubles += report(table, conditions, chosen, jobs, folder)
    for line in troubles:
        print(line, file=sys.stderr)
    if troubles:
        sys.exit(EXIT_MISSED)


def stop_on_signals() -> None:
    """End as after Ctrl-C, the runs stopped, also when told to by `kill` or a terminal that closes."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda received, frame: sys.exit(128 + received))


def parse_arguments() -> Namespace:
    """Read and check the command line."""
    parser = LineParser(description="Run published numbers, and set ours beside the paper's.")
    parser.add_argument("--list", action="store_true", help="print the conditions: paper, tolerance, seeds, needs")
    parser.add_argument("--table", help="only this table: 1, 2, 10, ablation, window, alpha, scaling, small, ...")
    parser.add_argument(
        "--condition",
        nargs="+",
        action="extend",
        metavar="NAME",
        default=[],
        help="only these conditions, in this order; a name stands for all that begin so: plain, plain/LLaMA2",
    )
    parser.add_argument("--seeds", type=read_seeds, help="instead of the conditions' own, joined by commas")
    parser.add_argument("--dry-run", action="store_true", help="print the commands and run nothing")
    parser.add_argument(
        "--jobs", type=whole_number(1), default=1, help="runs at once, each on GPUs of its own (default: %(default)s)"
    )
    parser.add_argument("--resume", action="store_true", help="skip what has finished, go on with what was stopped")
    parser.add_argument("--report", action="store_true", help="run nothing; write tables, figures and the page")
    parser.add_argument("--estimate", action="store_true", help="run nothing; work out what every condition needs")
    parser.add_argument("--compare", nargs=2, metavar="NAME", help="test the second condition against the first")
    parser.add_argument(
        "--conditions", type=Path, default=CONDITIONS_FILE, help="another file, NAME.yaml; it is reported in NAME/"
    )
    return parser.parse_args()


def read_seeds(text: str) -> tuple[int, ...]:
    """Whole numbers joined by commas."""
    return tuple(whole_number(0)(word) for word in text.split(","))


def print_list(conditions: Sequence[Condition], needs: Mapping[str, Needs]) -> None:
    """One line for each condition; what it needs is an estimate."""
    for one in conditions:
        paper = ", ".join(f"{dataset} {score:.2f} ±{one.tolerance:g}" for dataset, score in one.paper.items())
        found = needs.get(one.name)
        costs = [f"about {found.memory_gib:g} GiB, {found.minutes:g} minutes a run on {found.machine}"] if found else []
        base = base_of(one)
        cells = [one.name, f"table {one.table}", base, paper or "no published number", f"{len(one.seeds)} seeds"]
        print("; ".join([*cells, *costs]))


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
            if outcome.code is None:
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


def report(
    table: Table, conditions: Mapping[str, Condition], chosen: Sequence[Condition], jobs: Sequence[Job], folder: Path
) -> list[str]:
    """Write to `folder` the report of all that has finished here; the chosen conditions that miss their tolerance.

    jobs: looked for beside the conditions' own seeds and those that scores.json knows.
    """
    known = read_scores(folder / SCORES_FILE).current(conditions).runs
    others = [Job(condition, seed) for condition in conditions.values() for seed in condition.seeds]
    others += [Job(conditions[run["condition"]], run["seed"]) for run in known]
    planned, _ = plan_all({job.name: job for job in (*others, *jobs)}.values())
    planned = [(job, plan) for job, plan in planned if is_finished(plan)]
    scores = update_scores(conditions, planned, folder)
    for path in [*write_report(table, conditions, scores, folder), write_browser(planned, folder)]:
        print(path)
    return list_misses(chosen, scores)


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


def print_comparison(
    conditions: Mapping[str, Condition], names: Sequence[str], seeds: Sequence[int] | None = None
) -> None:
    """Points apart, interval and p-values, dataset by dataset. seeds: instead of the conditions' own."""
    pair = [choose_conditions(conditions, names=[name]) for name in names]
    if any(len(found) != 1 for found in pair):
        raise UserError(f"--compare {' '.join(names)}: name two conditions in full, as --list prints them")
    (first,), (second,) = pair
    shared = [dataset for dataset in first.datasets if dataset in second.datasets]
    if not shared or first.split != second.split:
        raise UserError(f"--compare {' '.join(names)}: they have no scored rows in common; name two of one dataset")
    folders = {
        one.name: {seed: plan.folder for seed in seeds or one.seeds if is_finished(plan := plan_job(Job(one, seed)))}
        for one in (first, second)
    }
    for name, found in folders.items():
        if not found:
            raise UserError(f"--compare: {name} has not finished here; run it with --condition {name}")
    for dataset in shared:
        found = make_comparison(first, second, dataset, folders)
        print(f"{dataset}: {second.name} is {found['difference']:+.2f} points from {first.name}")
        print(f"  95% interval {found['interval']['low']:+.2f} to {found['interval']['high']:+.2f}")
        print(f"  paired bootstrap, p: {describe_p(found['p_bootstrap'])}")
        for seed, p in found["p_mcnemar"].items():
            print(f"  McNemar, seed {seed}, p: {describe_p(p)}")


if __name__ == "__main__":
    run_script(main)
