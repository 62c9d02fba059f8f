"""Mutation testing: puts one small fault at a time into a module and looks whether the tests of its subject notice.

    python tests/faults/mutants/mutate.py                     # 60 mutants of each module of SUBJECTS, drawn with a seed
    python tests/faults/mutants/mutate.py --all scoring/metrics    # every mutant of one

Each mutant runs in a process forked from one that has loaded the libraries, and lives in memory alone: no file is
changed. Prints a row of a table for each module and its survivors; exits with 1 where one is not in survivors.yaml,
which says why it changes nothing that anybody could see.
"""

import argparse
import ast
import contextlib
import importlib
import importlib.machinery
import json
import os
import random
import resource
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import hypothesis
import pytest
import yaml

from mutations import Mutant, list_mutants, mutate

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[2]
FILES = "tests/dialogue_files"
# The quick ones first, which notice most.
READERS = (
    *(f"{FILES}/test_{name}.py" for name in ("names", "turns", "reader_lines", "reader_refusals")),
    *(f"{FILES}/test_{name}.py" for name in ("tables", "times_beside_names")),
    *(f"{FILES}/test_{name}.py" for name in ("subtitles", "transcripts")),
    *(f"{FILES}/readers/test_{name}.py" for name in ("services", "service_layouts")),
    *(f"{FILES}/test_tool_files.py", f"{FILES}/test_dialogue_files.py", f"{FILES}/test_encodings.py"),
    *(f"{FILES}/test_dialogue_round_trips.py", "-k", "not memory and not owners_publish"),
)
# A module of code/ -> what must notice its faults: pytest's arguments.
SUBJECTS: dict[str, Sequence[str]] = {
    "scoring/metrics": (
        *("tests/scoring/test_metrics.py", "tests/scoring/test_extract_label.py", "tests/scoring/test_copying.py"),
        *("tests/scoring/test_transitions.py", "tests/data_utils/test_mixing.py"),
    ),
    "experiment_utils/significance": ("tests/experiment_utils/test_significance.py",),
    "data_utils/prompts": ("tests/data_utils/test_prompts.py", "tests/data_utils/test_retrieval.py"),
    "data_utils/retrieval": ("tests/data_utils/test_retrieval.py",),
    "engine/prefix_tree": ("tests/engine/test_prefix_tree.py", "tests/engine/attention/test_tree_blocks.py"),
    "engine/packing": (
        *("tests/engine/test_packing.py", "tests/engine/test_running_prompts.py", "tests/engine/test_label_loss.py"),
        *("tests/engine/test_tree_training.py", "-k", "test_packing or llama or gemma"),
    ),
    "dialogue_files/turns": READERS,
    "dialogue_files/names": READERS,
    "dialogue_files/reading": READERS,
    "dialogue_files/report": READERS,
    **{
        f"dialogue_files/readers/{name}": READERS
        for name in (
            *("chat_exports", "chats", "corpora", "cues", "encodings", "headings", "json_dialogues", "json_stream"),
            *("layouts", "lines", "screenplays", "services", "subtitles", "tables", "transcripts"),
        )
    },
}
SAMPLE = 60
SEED = 22
PATIENCE = 10  # times the CPU seconds of the tests alone, then a mutant counts as killed: it goes on for ever
LARGEST_GROWTH = 4 << 30  # bytes of address space


@dataclass(frozen=True)
class Outcome:
    """Of the mutants of a module. possible: all there are."""

    possible: int
    tried: int
    survivors: Sequence[Mutant]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("modules", nargs="*", metavar="module", help=f"of {', '.join(SUBJECTS)}; default: all")
    parser.add_argument("--sample", type=int, default=SAMPLE, help="mutants of each module; default: %(default)s")
    parser.add_argument("--seed", type=int, default=SEED, help="of the draw; default: %(default)s")
    parser.add_argument("--all", action="store_true", help="every mutant")
    parser.add_argument("--verbose", action="store_true", help="one mutant after the other, with its end")
    chosen = parser.parse_args()
    if unknown := set(chosen.modules) - SUBJECTS.keys():
        parser.error(f"no such module: {', '.join(sorted(unknown))}")
    known = read_survivors()
    unexplained = 0
    os.environ |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:  # what killed processes leave behind
        os.environ["TMPDIR"] = tempfile.tempdir = folder
        for module in chosen.modules or SUBJECTS:
            outcome = try_module(module, None if chosen.all else chosen.sample, chosen.seed, chosen.verbose)
            unexplained += tell(module, outcome, known.get(module, {}))
    return unexplained > 0


def read_survivors() -> dict[str, dict[str, str]]:
    """Module -> key of a mutant that no test can notice -> why."""
    return yaml.safe_load((HERE / "survivors.yaml").read_text(encoding="utf-8"))


def tell(module: str, outcome: Outcome, why: dict[str, str]) -> int:
    """Print a module's row and its survivors; returns how many of these nobody has explained."""
    killed = outcome.tried - len(outcome.survivors)
    explained = [one for one in outcome.survivors if one.key in why]
    share = killed / outcome.tried if outcome.tried else 1.0
    counted = (outcome.possible, outcome.tried, f"{killed} ({share:.1%})", len(explained))
    print(f"| {module} | {' | '.join(map(str, counted))} |")
    for one in outcome.survivors:
        print(f"    {module}.py:{one.line}: {one.key}{' (explained)' if one in explained else ''}")
    sys.stdout.flush()
    return len(outcome.survivors) - len(explained)


def try_module(module: str, sample: int | None, seed: int, verbose: bool) -> Outcome:
    """Run the tests of a module on its mutants."""
    path = REPOSITORY / "code" / f"{module}.py"
    source = path.read_text(encoding="utf-8")
    tests = SUBJECTS[module]
    load_libraries(tests)
    alone = run_tests(tests, path, ast.parse(source))
    if alone.code:
        sys.exit(f"{module}: its tests fail without a mutant (exit code {alone.code})")
    possible = list_mutants(source)
    wanted = len(possible) if sample is None else min(sample, len(possible))
    drawn = sorted(random.Random(f"{seed}/{module}").sample(possible, wanted), key=lambda one: one.number)
    survivors = []
    for one in drawn:
        limit = 5 + int(PATIENCE * alone.seconds)
        ended = run_tests(tests, path, mutate(source, one.number), limit)
        if ended.code == pytest.ExitCode.NO_TESTS_COLLECTED:
            sys.exit(f"{module}: no tests")
        if not ended.code:
            survivors.append(one)
        if verbose:
            print(f"    {one.line} {one.key} {'' if ended.code else 'SURVIVES'} {ended.seconds:.1f} s", flush=True)
    return Outcome(len(possible), len(drawn), survivors)


@dataclass(frozen=True)
class Ended:
    """code: pytest's, or minus the number of a signal. seconds: of CPU time. told: what the process has written."""

    code: int
    seconds: float
    told: str


def run_tests(tests: Sequence[str], path: Path, tree: ast.Module, limit: int | None = None) -> Ended:
    """Run tests on a module that is this tree; limit: CPU seconds."""

    def work(_: int) -> int:
        if limit:
            resource.setrlimit(resource.RLIMIT_CPU, (limit, limit))
            pages = int(Path("/proc/self/statm").read_text().split()[0])
            most = pages * resource.getpagesize() + LARGEST_GROWTH
            resource.setrlimit(resource.RLIMIT_AS, (most, most))
        replace_module(path, tree)
        return call_pytest(tests)

    return in_a_fork(work)


def load_libraries(tests: Sequence[str]) -> None:
    """Import here what the tests import, but for what is ours."""

    def work(writing: int) -> int:
        code = call_pytest([*tests, "--collect-only"])
        ours = (str(REPOSITORY / "code"), str(REPOSITORY / "tests"), str(REPOSITORY / "demo"))
        files = {name: getattr(module, "__file__", None) for name, module in list(sys.modules.items())}
        names = [name for name, file in files.items() if isinstance(file, str) and not file.startswith(ours)]
        os.write(writing, json.dumps(names).encode())
        return code

    ended = in_a_fork(work)
    if ended.code:
        sys.exit(f"{' '.join(tests)}: cannot be collected (exit code {ended.code})")
    for name in json.loads(ended.told):
        with contextlib.suppress(Exception):  # one that is there by another name
            importlib.import_module(name)


def replace_module(path: Path, tree: ast.Module) -> None:
    """Let this process import the tree where it would import the file."""
    plain = importlib.machinery.SourceFileLoader.get_code

    def get_code(loader: importlib.machinery.SourceFileLoader, name: str) -> object:
        return compile(tree, path, "exec") if Path(loader.path) == path else plain(loader, name)

    importlib.machinery.SourceFileLoader.get_code = get_code


def call_pytest(arguments: Sequence[str]) -> int:
    # The same inputs for each mutant, none of them kept, and none made smaller.
    phases = [hypothesis.Phase.explicit, hypothesis.Phase.generate]
    patient = {"deadline": None, "suppress_health_check": [hypothesis.HealthCheck.too_slow]}
    hypothesis.settings.register_profile("mutants", database=None, derandomize=True, phases=phases, **patient)
    hypothesis.settings.load_profile("mutants")
    quiet = ["-x", "-q", "-p", "no:cacheprovider", "-m", "not slow", "--rootdir", str(REPOSITORY)]
    return int(pytest.main([*quiet, *arguments]))


def in_a_fork(work: Callable[[int], int]) -> Ended:
    """Run it in a process of its own, which may write a little to the file descriptor that it is given."""
    sys.stdout.flush()
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        code = 1
        try:
            os.chdir(REPOSITORY)
            silence = os.open(os.devnull, os.O_WRONLY)
            os.dup2(silence, 1)
            os.dup2(silence, 2)
            code = work(writing)
        finally:
            os._exit(code)
    os.close(writing)
    with open(reading, "rb") as stream:
        told = stream.read().decode()
    _, status, used = os.wait4(child, 0)
    return Ended(os.waitstatus_to_exitcode(status), used.ru_utime + used.ru_stime, told)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.exit(main())
