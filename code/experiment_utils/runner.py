"""Runs jobs, several at once if asked; a failure leaves the others running, and finished jobs are not run again."""

import itertools
import json
import os
import re
import shlex
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from queue import Queue
from threading import Lock
from typing import Any

from basics.errors import UserError
from basics.files import find_repository, sha256_of, sha256_of_text, write_atomically
from basics.json_files import parse_json
from data_utils.corpora.places import ORIGINAL_DATA_VARIABLE
from data_utils.dialogues import digest_sources
from data_utils.examples import ROWS_VERSION
from experiment_utils.conditions import Condition
from knobs.checks import Place
from knobs.commands import DECIDED_BY_START, Commands, has_no_effect_on_result
from knobs.environment import UNSET_BY_NOTHING, read_settings
from knobs.gpus import share_out
from knobs.readers import MIXED, PLAIN, WINDOW, ZERO_SHOT
from knobs.table import KNOBS
from training.folders import RESULTS_FILE

# Knobs without effect on the result of a run: the caller may set them.
_FLAGS = tuple(knob.name for knob in KNOBS.values() if has_no_effect_on_result(knob) and knob.name != "resume")
PASSED_ON = frozenset({*UNSET_BY_NOTHING, *_FLAGS} - {"train_on"})
# Flags that the scripts add by themselves, as the machine needs. A DeepSpeed file that a run asks for is in its name.
_PASSED_ON_FLAG = re.compile(rf" --(?:{'|'.join(_FLAGS)}|deepspeed_config|processes) [^\s)]+")
# Flags that the scripts leave out once the checkpoint to start from is there, which settles them.
_FLAG_OF_START = re.compile(rf" --(?:{'|'.join(itertools.chain(*DECIDED_BY_START.values()))}) [^\s)]+")
_PROGRAM = re.compile(r"code/\w+\.py .*")
_NAMES = frozenset({*KNOBS, *(knob.also for knob in KNOBS.values() if knob.also)})
ROWS_OF_SCRIPT = {"Uni": WINDOW, "Plain": PLAIN, "Mixed": MIXED}
# Knobs that decide the result, but are not in the last part of its folder's name.
DECIDING = ("MODEL_NAME", "Experiments_setting", "dataset", "datasets", "historical_window")
PLAN_CHARACTERS = 16
MANIFEST = "condition.json"
LOG = "output.log"
UNLOGGED = ".not-in-the-log"  # file beside a manifest until LOG.md has the line of the run
SECONDS_TO_SAVE = 300


@dataclass(frozen=True)
class Job:
    """One run of a condition with one seed. start: the job from whose model it starts; None: the base."""

    condition: Condition
    seed: int
    start: "Job | None" = None

    @property
    def name(self) -> str:
        return f"{self.condition.name}, seed {self.seed}"

    @property
    def chain(self) -> "list[Job]":
        """This job, the job from whose model it starts, the one before that, and so on."""
        return [self, *(self.start.chain if self.start else ())]

    @property
    def settings(self) -> dict[str, str]:
        start = {"checkpoint_dir": f"checkpoint/{resolve(self.start).result}"} if self.start else {}
        return {**self.condition.settings, "seed": str(self.seed), **start}

    @property
    def script(self) -> str:
        return f"code/train_and_inference_{self.condition.script}.sh"

    @property
    def command(self) -> str:
        """The command to paste into a shell in the repository."""
        settings = (f"{name}={shlex.quote(value)}" for name, value in self.settings.items())
        return " ".join([*settings, "bash", self.script])


@dataclass(frozen=True)
class Plan:
    """What a job would run.

    folder: of its results. steps: its commands, see `comparable_steps`; equal for jobs that are the same run.
    """

    folder: Path
    steps: tuple[str, ...]


def comparable_steps(lines: Iterable[str]) -> tuple[str, ...]:
    """The lines that run a program of code/, without the launcher and the flags that do not affect the result.

    Flags that a checkpoint to start from settles are removed too, as they are given only until it is there.
    """
    found = (_PASSED_ON_FLAG.sub("", match.group()) for line in lines if (match := _PROGRAM.search(line)))
    return tuple(_FLAG_OF_START.sub("", step) if " --checkpoint_dir " in step else step for step in found)


def job_environment(job: Job, **more: str) -> dict[str, str]:
    """The caller's environment with a job's settings, without knobs that would change it or that it does not read."""
    settings = resolve(job).settings
    unread = (knob.name for knob in KNOBS.values() if not any(map(settings.is_read, knob.readers)))
    hidden = {*unheeded_knobs(), *unread}
    return {name: value for name, value in os.environ.items() if name not in hidden} | job.settings | more


def unheeded_knobs() -> list[str]:
    """Knobs that the caller has set, but that are not passed on, as they would change the experiment."""
    return sorted((_NAMES - PASSED_ON).intersection(os.environ))


def plan_job(job: Job) -> Plan:
    """Has the script print its commands, which checks the settings too; UserError with what it refuses."""
    unknown = [name for name in job.settings if name not in _NAMES]
    if unknown:
        raise UserError(f"{job.name}: no setting is called {', '.join(unknown)}; code/knobs/table.py has them all")
    done = subprocess.run(
        ["bash", job.script],
        cwd=find_repository(),
        env=job_environment(job, DRY_RUN="1"),
        capture_output=True,
        text=True,
    )
    if done.returncode:
        reasons = "; ".join(line.removeprefix("error: ") for line in done.stderr.splitlines())
        raise UserError(f"{job.name}: {reasons}")
    words = shlex.split(done.stdout)
    last = len(words) - 1 - words[::-1].index("--output_dir")
    return Plan(find_repository() / words[last + 1], comparable_steps(done.stdout.splitlines()))


@dataclass(frozen=True)
class Outcome:
    """How a job ended. code: exit status; None: its results were there already. seconds: wall clock.

    is_held: it was not started, as the job from whose model it starts has not finished.
    """

    job: Job
    plan: Plan
    code: int | None
    seconds: float
    is_held: bool = False

    @property
    def failed(self) -> bool:
        return bool(self.code)


def is_finished(job: Job, plan: Plan) -> bool:
    """Whether the folder holds the results of this run, by its manifest: same commands, code and corpora."""
    manifest = read_manifest(plan.folder)
    if manifest is None or comparable_steps(manifest.get("steps", ())) != plan.steps:
        return False
    # Older manifests do not tell the start; where its results are gone, it counts as unchanged.
    starts = {digest_start(job), manifest.get("start")} - {None}
    return manifest.get("plan") == plan_digest(job) and len(starts) < 2 and has_same_dialogues(job, manifest)


def has_same_dialogues(job: Job, manifest: Mapping[str, Any]) -> bool:
    """Whether corpora of one's own are as when the run of a manifest began; older ones do not tell, and count so."""
    return manifest.get("sources") in (None, digest_sources(job.condition.datasets))


def read_manifest(folder: Path) -> dict | None:
    """A folder's manifest; None where there is none, or the results are not those that it records."""
    try:
        manifest = parse_json((folder / MANIFEST).read_bytes())
        return manifest if manifest["results_sha256"] == sha256_of(folder / RESULTS_FILE) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def today() -> str:
    """The date in UTC."""
    return time.strftime("%Y-%m-%d", time.gmtime())


def unlogged_seconds(plan: Plan) -> float | None:
    """The seconds of a run that finished, but was killed before LOG.md had its line; None for all others."""
    manifest = read_manifest(plan.folder) if (plan.folder / UNLOGGED).exists() else None
    return manifest and (manifest.get("seconds") or 0.0)


def write_manifest(
    plan: Plan, job: Job, seconds: float | None, sources: Mapping[str, str], start: str | None = None
) -> None:
    """Writes the manifest of a folder of results.

    seconds: wall clock; None where it was resumed. sources, start: `digest_sources` and `digest_start` when it began.
    """
    (plan.folder / UNLOGGED).touch()
    content = {
        "plan": plan_digest(job),
        "seed": job.seed,
        "command": job.command,
        "steps": list(plan.steps),
        "sources": dict(sources),
        "start": start,
        "results_sha256": sha256_of(plan.folder / RESULTS_FILE),
        "seconds": seconds,
        "date": today(),
    }
    write_atomically(plan.folder / MANIFEST, json.dumps(content, indent=2) + "\n")


def plan_digest(job: Job) -> str:
    """A digest of all that decides the result of a run: settings with today's defaults, batch, version of the rows.

    Equal for jobs that are the same run; it changes when a default changes.
    """
    commands = resolve(job)
    settings = commands.settings
    read = [knob for knob in KNOBS.values() if any(map(settings.is_read, knob.readers))]
    told = [knob.name for knob in read if not knob.later or knob.name in settings.changed]
    decided = {name: settings[name] for name in told if KNOBS[name].suffix or name in DECIDING}
    if settings["Experiments_setting"] != ZERO_SHOT:
        decided["batch_size"] = str(commands.batch_size)
    identity = json.dumps([settings.rows, ROWS_VERSION, sorted(decided.items())])
    return sha256_of_text(identity)[:PLAN_CHARACTERS]


def resolve(job: Job) -> Commands:
    """The commands of a job, with today's defaults; does not check whether this machine can run them."""
    place = Place(find_repository(), find_repository())
    elsewhere = os.environ.get(ORIGINAL_DATA_VARIABLE)  # recipes depend on the size of train
    corpora = {ORIGINAL_DATA_VARIABLE: elsewhere} if elsewhere else {}
    return Commands(read_settings(ROWS_OF_SCRIPT[job.condition.script], corpora | job.settings, place)[0])


def make_job(conditions: Mapping[str, Condition], name: str, seed: int) -> Job:
    """The job of a condition and seed, with the jobs that must run before it."""
    condition = conditions[name]
    return Job(condition, seed, make_job(conditions, condition.start_from, seed) if condition.start_from else None)


def find_finished(conditions: Mapping[str, Condition], folder: Path) -> list[tuple[Job, Path]]:
    """The finished runs below a folder, unchanged since: (job, folder), for every condition that the run belongs to.

    Of copies of a run it is the one where its command left it, else the first by path.
    """
    folders = [path.parent for path in sorted(folder.glob(f"**/{MANIFEST}"))]
    read = [(run, manifest) for run in folders if (manifest := read_manifest(run))]
    found = [(run, manifest) for run, manifest in read if {"plan", "seed"} <= manifest.keys()]
    jobs: dict[str, list[Job]] = {}
    for name, seed in itertools.product(conditions, sorted({manifest["seed"] for _, manifest in found})):
        job = make_job(conditions, name, seed)
        jobs.setdefault(plan_digest(job), []).append(job)
    finished: dict[str, tuple[Job, Path]] = {}
    for run, manifest in found:
        for job in jobs.get(manifest["plan"], ()):
            if job.name not in finished or run == folder / resolve(job).result:
                finished[job.name] = job, run
    return list(finished.values())


def digest_start(job: Job) -> str | None:
    """A digest of the results of the job's start; None where it has none, or that has not finished."""
    try:
        return job.start and sha256_of(find_repository() / "experiments" / resolve(job.start).result / RESULTS_FILE)
    except OSError:
        return None


def _is_sent(group: int, number: int) -> bool:
    """Sends a signal to a process group; False where it has no process. number: 0 only asks."""
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):  # macOS raises the latter for a group that has ended
        return False
    return True


def _more_settings(job: Job, resume: bool) -> dict[str, str]:
    return {"resume": "True"} if resume and job.settings.get("Experiments_setting") != ZERO_SHOT else {}


@dataclass
class Runner:
    """Runs planned jobs. parallel: how many at once. resume: continue where an earlier run stopped.

    gpus: names of those that may be used; jobs that run at once get different ones. announce: called with job and log
    when a job starts; its output goes to output.log in the folder of its results.

    Raises:
        UserError: there are GPUs, but fewer than jobs at once.
    """

    parallel: int = 1
    resume: bool = False
    announce: Callable[[Job, Path], None] = lambda job, log: None
    gpus: tuple[str, ...] = ()
    running: set[subprocess.Popen] = field(default_factory=set)
    stopping: bool = field(init=False, default=False)
    told: set[subprocess.Popen] = field(init=False, default_factory=set)  # to stop; a second time means "at once"
    telling: Lock = field(init=False, default_factory=Lock)
    places: Queue[dict[str, str]] = field(default_factory=Queue)

    def __post_init__(self) -> None:
        for place in share_out(self.parallel, self.gpus):
            self.places.put(place)

    def run(self, planned: Sequence[tuple[Job, Plan]]) -> Iterator[Outcome]:
        """Outcomes in the order in which jobs end; an interrupt stops the jobs and goes on to the caller."""
        anew = {plan_digest(job) for job, plan in planned if not (self.resume and is_finished(job, plan))}
        waiting: list[tuple[Job, Plan]] = []
        for job, plan in planned:
            # Results that started from a model that is made anew are outdated.
            if anew.isdisjoint(plan_digest(one) for one in job.chain):
                yield Outcome(job, plan, None, 0.0)
            else:
                waiting.append((job, plan))
        with ThreadPoolExecutor(self.parallel) as pool:
            try:
                yield from self._run_in_order(pool, waiting, {plan_digest(job) for job, _ in planned})
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                self._stop()
                raise

    def _run_in_order(
        self, pool: ThreadPoolExecutor, waiting: list[tuple[Job, Plan]], asked: set[str]
    ) -> Iterator[Outcome]:
        """Runs the jobs; one that starts from the model of another begins only after that has finished."""
        left = {plan_digest(job): (job, plan) for job, plan in waiting}
        anew = set(left)
        pending: dict[Future[Outcome], str] = {}
        failed: set[str] = set()
        while left or pending:
            going = {*left, *pending.values()}
            starts = {run: job.start and plan_digest(job.start) for run, (job, _) in left.items()}
            for run in [run for run, start in starts.items() if start not in going]:
                job, plan = left.pop(run)
                if starts[run] in failed or (job.start and starts[run] not in asked and not digest_start(job)):
                    failed.add(run)
                    yield Outcome(job, plan, None, 0.0, is_held=True)
                else:
                    # A state that began from another model is none of this run.
                    goes_on = self.resume and starts[run] not in anew
                    pending[pool.submit(self._run_one, job, plan, goes_on)] = run
            for future in wait(pending, return_when=FIRST_COMPLETED).done:
                outcome, run = future.result(), pending.pop(future)
                failed |= {run} if outcome.failed else set()
                yield outcome

    def _run_one(self, job: Job, plan: Plan, resume: bool) -> Outcome:
        log = plan.folder / LOG
        begun_before = plan.folder.exists()
        log.parent.mkdir(parents=True, exist_ok=True)
        self.announce(job, log)
        place = self.places.get()
        try:
            with open(log, "ab") as stream:
                began, sources, start = time.monotonic(), digest_sources(job.condition.datasets), digest_start(job)
                process = subprocess.Popen(
                    ["bash", job.script],
                    cwd=find_repository(),
                    env=job_environment(job, **_more_settings(job, resume), **place),
                    stdin=subprocess.DEVNULL,
                    stdout=stream,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,  # so that all of its processes can be stopped
                )
                self.running.add(process)
                if self.stopping:  # it was started while the running ones were told to stop
                    self._tell(process)
                code = process.wait()
                self.running.discard(process)
        finally:  # also when it cannot begin: the next one would wait for ever
            self.places.put(place)
        seconds = time.monotonic() - began
        if code == 0:
            write_manifest(plan, job, None if begun_before and resume else seconds, sources, start)
        return Outcome(job, plan, code, seconds)

    def _stop(self) -> None:
        """Stops the running jobs, which save their state, and waits until they have ended."""
        self.stopping = True
        begun, given_up = list(self.running), time.monotonic() + SECONDS_TO_SAVE
        for process in begun:
            self._tell(process)
        groups = [process.pid for process in begun]
        while (groups := [group for group in groups if _is_sent(group, 0)]) and time.monotonic() < given_up:
            time.sleep(0.05)
        for group in groups:
            _is_sent(group, signal.SIGKILL)

    def _tell(self, process: subprocess.Popen) -> None:
        with self.telling:
            if process not in self.told:
                self.told.add(process)
                _is_sent(process.pid, signal.SIGTERM)
