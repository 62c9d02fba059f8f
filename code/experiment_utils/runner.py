"""Runs jobs, several at once if asked; one that dies leaves the others going, and what is finished is not run again."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path

from basics.files import find_repository, sha256_of, write_atomically
from experiment_utils.jobs import Job, Plan, comparable_steps, job_environment
from results.files import RESULTS_FILE

MANIFEST = "condition.json"
LOG = "output.log"


@dataclass(frozen=True)
class Outcome:
    """How a job ended. code: the exit status, None when its results were there. seconds: wall clock."""

    job: Job
    plan: Plan
    code: int | None
    seconds: float

    @property
    def failed(self) -> bool:
        return bool(self.code)


def is_finished(plan: Plan) -> bool:
    """Whether the folder holds the results of this very run, by its manifest."""
    try:
        manifest = json.loads((plan.folder / MANIFEST).read_text(encoding="utf-8"))
        digest = sha256_of(plan.folder / RESULTS_FILE)
    except (OSError, ValueError):
        return False
    return comparable_steps(manifest.get("steps", ())) == plan.steps and manifest.get("results_sha256") == digest


def today() -> str:
    """The date in UTC."""
    return time.strftime("%Y-%m-%d", time.gmtime())


def write_manifest(plan: Plan, command: str, seconds: float | None) -> None:
    """Say in the folder what its results came from. seconds: None where an earlier run had done a part."""
    content = {
        "command": command,
        "steps": list(plan.steps),
        "results_sha256": sha256_of(plan.folder / RESULTS_FILE),
        "seconds": seconds,
        "date": today(),
    }
    write_atomically(plan.folder / MANIFEST, json.dumps(content, indent=2) + "\n")


@dataclass
class Runner:
    """Runs planned jobs. parallel: how many at once. resume: go on where an earlier run stopped.

    Output goes to output.log in the folder of each job's results. announce: called as each job starts.
    """

    parallel: int = 1
    resume: bool = False
    announce: Callable[[Job, Path], None] = lambda job, log: None
    running: set[subprocess.Popen] = field(default_factory=set)

    def run(self, planned: Sequence[tuple[Job, Plan]]) -> Iterator[Outcome]:
        """Outcomes in the order in which jobs end; an interrupt stops the jobs and goes on to the caller."""
        waiting: list[tuple[Job, Plan]] = []
        for job, plan in planned:
            if self.resume and is_finished(plan):
                yield Outcome(job, plan, None, 0.0)
            else:
                waiting.append((job, plan))
        with ThreadPoolExecutor(self.parallel) as pool:
            try:
                pending: set[Future[Outcome]] = {pool.submit(self._run_one, job, plan) for job, plan in waiting}
                while pending:
                    ended, pending = wait(pending, return_when=FIRST_COMPLETED)
                    yield from (future.result() for future in ended)
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                self._stop()
                raise

    def _run_one(self, job: Job, plan: Plan) -> Outcome:
        log = plan.folder / LOG
        begun_before = plan.folder.exists()
        log.parent.mkdir(parents=True, exist_ok=True)
        self.announce(job, log)
        began = time.monotonic()
        with open(log, "ab") as stream:
            process = subprocess.Popen(
                ["bash", job.script],
                cwd=find_repository(),
                env=job_environment(job, **self._more_settings(job)),
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # so that all of its processes can be stopped
            )
            self.running.add(process)
            code = process.wait()
            self.running.discard(process)
        seconds = time.monotonic() - began
        if code == 0:
            write_manifest(plan, job.command, None if begun_before and self.resume else seconds)
        return Outcome(job, plan, code, seconds)

    def _more_settings(self, job: Job) -> dict[str, str]:
        trains = job.settings.get("Experiments_setting") != "zero_shot"
        return {"resume": "True"} if self.resume and trains else {}

    def _stop(self) -> None:
        for process in list(self.running):
            try:
                os.killpg(process.pid, signal.SIGTERM)
            except ProcessLookupError:
                continue
