"""Fixtures that many tests share: the published data where it is, small corpora of our own, commands."""

import gc
import os
import pickle
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from basics.files import write_atomically
from commands import REPOSITORY, SHARED, call_script, find_browser, import_program
from data_utils.labels import DATASETS
from shell_checkout import ShellCheckout, make_checkout


def pytest_configure(config: pytest.Config) -> None:
    """Make the tests of this process independent of what started them, and of what ran before.

    What a script starts in its background ignores Ctrl-C, what nohup starts SIGHUP, and so would all that the tests
    start. What was compiled on another processor, or by a process that was told of one, does not run here: PyTorch's
    cache does not ask. How long Hypothesis takes for an example is no fault: other programs may run beside it.
    """
    if settings.get_current_profile_name() == "default":  # in CI, and under a mutant, it is another
        settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
        settings.load_profile("patient")
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    compiled = tempfile.TemporaryDirectory(prefix="compiled-", ignore_cleanup_errors=True)
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = compiled.name
    os.environ |= COMPILING
    config.add_cleanup(compiled.cleanup)


# In a new cache PyTorch would compile for 15 seconds to see whether the compiler knows this processor's vectors, and it
# would start processes to compile in beside those of xdist.
COMPILING = {"TORCHINDUCTOR_VEC_ISA_OK": "1", "TORCHINDUCTOR_COMPILE_THREADS": "1"}
LONGEST_FILES = 60  # as many are told of
PAGE_TIMEOUT = 90_000  # milliseconds: other programs may run beside it
# Why a test may be skipped in CI: what its machine has, and what the tests do without. All else must run there.
FINE_IN_CI = ("there is a GPU here", "could not import 'trl'", "could not import 'bitsandbytes'")
FINE_IN_CI += ("could not import 'lm_eval'", "could not import 'llama_cpp'", "ERC_TRANSFORMERS_4 names no folder")
FINE_IN_CI += ("Gemma-3-270M has not been fetched",)  # its terms are for people to accept
FINE_IN_CI += ("this processor does not multiply in it",)  # bf16, in the part that is run without wide vectors
FINE_WITHOUT_SHARED = (
    "no published pickles",
    "no gold prompts beside this checkout",
    "no trials beside this checkout",
    "no corpora files beside this checkout",
)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Iterator[None]:
    """In CI a whole file that is skipped for another reason fails too: its tests would not be missed."""
    report = yield
    return fail_if_missed(report)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo) -> Iterator[None]:
    """In CI a test that is skipped for another reason fails."""
    report = yield
    return report if hasattr(report, "wasxfail") else fail_if_missed(report)


def fail_if_missed(report: pytest.CollectReport | pytest.TestReport) -> pytest.CollectReport | pytest.TestReport:
    """Turn what was skipped into a failure where CI=true and the reason is none of the fine ones."""
    if report.skipped and os.environ.get("CI") == "true":
        reason = report.longrepr[2].removeprefix("Skipped: ")
        fine = FINE_IN_CI if SHARED.is_dir() else (*FINE_IN_CI, *FINE_WITHOUT_SHARED)
        if not reason.startswith(fine):
            report.outcome, report.longrepr = "failed", f"skipped in CI: {reason}"
    return report


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip what needs the published pickles where they are not; files with slow tests come first, to fill all cores."""
    slow = {item.path for item in items if "slow" in item.keywords}
    items.sort(key=lambda item: item.path not in slow)
    if find_published_data() is not None:
        return
    skip = pytest.mark.skip(reason="no published pickles: ERC_ORIGINAL_DATA names no folder that has them")
    for item in items:
        if "real_data" in item.keywords:
            item.add_marker(skip)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What the longest files of tests took, and in each what was slowest, fixtures too."""
    files: dict[str, list[tuple[float, str]]] = {}
    for report in chain.from_iterable(terminalreporter.stats.values()):
        if isinstance(report, pytest.TestReport):
            file, _, test = report.nodeid.partition("::")
            files.setdefault(file, []).append((report.duration, f"{report.when} of {test}"))
    seconds = {file: sum(duration for duration, _ in parts) for file, parts in files.items()}
    terminalreporter.section("longest files, and what is slowest in each")
    for file in sorted(seconds, key=seconds.__getitem__, reverse=True)[:LONGEST_FILES]:
        slowest, part = max(files[file])
        terminalreporter.write_line(f"{seconds[file]:7.1f} s {file}: {slowest:.1f} s {part}")


def pytest_collection_finish() -> None:
    """Let Python's collector leave alone what the imports have made: it stays to the end, and is most of all there is.

    Every run of main_new.py collects once, and would look through all of it, what it imports by itself included.
    """
    if "main_new" in sys.modules:
        import_program()
    leave_alone_what_stays()


def leave_alone_what_stays() -> None:
    """Python's collector does not look again through what there is by now."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="module", autouse=True)
def late_imports() -> Iterator[None]:
    """What a file of tests has been the first to need stays to the end as well."""
    yield
    leave_alone_what_stays()


@pytest.fixture(scope="session", autouse=True)
def run_figures() -> Iterator[None]:
    """Of the figures that runs in this process leave behind the first of all is drawn to the end.

    The first of each kind after it is put together, but gets the same bytes, and so do those that differ from it in
    numbers alone: a tiny run spends most of its time on pixels, and much on ticks. test_figures.py looks at what is
    drawn.
    """
    if "main_new" not in sys.modules:  # then no test of this process calls main_new.py
        yield
        return
    from results import summary

    kinds = {summary.draw_learning_curve: kind_of_curve, summary.draw_confusion_matrix: kind_of_matrix}
    with pytest.MonkeyPatch.context() as patch:
        for draw, kind_of in kinds.items():
            patch.setattr(summary, draw.__name__, rendered_once(draw, kind_of))
        yield


def kind_of_curve(epochs: Sequence[Mapping[str, Any]], best_epoch: float, title: str, *metric: str) -> Hashable:
    """All of a learning curve but its numbers, of which `give_fonts` has the letters."""
    known = tuple(frozenset(name for name, value in of.items() if value is not None) for of in epochs)
    return known, best_epoch, frozenset(title), metric


def kind_of_matrix(result: Any, labels: Sequence[str], title: str) -> Hashable:
    """The same of a confusion matrix."""
    return tuple(labels), result.labels, bool(result.invalid), frozenset(title)


def rendered_once(draw: Callable[..., None], kind_of: Callable[..., Hashable]) -> Callable[..., None]:
    """The same figure, whose later files hold the bytes of the first; one of a known kind is not put together."""
    rendered: list[bytes] = []
    known: set[Hashable] = set()

    def draw_again(path: Path, *given: Any) -> None:
        kind = kind_of(*given)
        if kind in known:
            write_atomically(path, rendered[0])
            return
        with pytest.MonkeyPatch.context() as patch:
            if rendered:
                patch.setattr("results.figures.to_png", lambda *_, **__: rendered[0])
            draw(path, *given)
        rendered[:] = rendered or [path.read_bytes()]
        known.add(kind)

    return draw_again


def find_published_data() -> Path | None:
    """Return the folder of the published pickles, None if this machine has none."""
    candidates = [Path(os.environ.get("ERC_ORIGINAL_DATA") or SHARED / "original_data")]
    return next((folder for folder in candidates if (folder / "meld" / "meld.pkl").is_file()), None)


@pytest.fixture(scope="session")
def original_data() -> Path:
    """Folder of the published pickles; the test is skipped where there is none."""
    folder = find_published_data()
    if folder is None:
        pytest.skip("no published pickles")
    return folder


@pytest.fixture(scope="session")
def gold() -> Path:
    """Folder of prompt_digests.json and prompt_examples.jsonl, made by the released scripts."""
    folder = SHARED / "gold"
    if not (folder / "prompt_digests.json").is_file():
        pytest.skip("no gold prompts beside this checkout")
    return folder


@pytest.fixture
def checkout(tmp_path: Path) -> ShellCheckout:
    """The shell files of the repository in a folder of their own."""
    return make_checkout(tmp_path)


@pytest.fixture
def pickles(tmp_path: Path) -> Path:
    """A folder that looks as if every dataset had its pickle there."""
    for dataset in DATASETS:
        path = tmp_path / "pickles" / dataset / f"{dataset}.pkl"
        path.parent.mkdir(parents=True)
        path.touch()
    return tmp_path / "pickles"


@pytest.fixture
def write_corpus(tmp_path: Path) -> Callable[..., Path]:
    """Write a corpus (or raw bytes) as a dataset's pickle; returns the folder for --original_data."""

    def write(content: Any, dataset: str = "EmoryNLP") -> Path:
        path = tmp_path / "original" / dataset / f"{dataset}.pkl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else pickle.dumps(content))
        return tmp_path / "original"

    return write


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of a finished run of a tiny base: base/, data/, original/, run/model/ (the adapter), run/results/."""
    import main_new
    from tiny_models import main_command, save_base, save_rows

    folder = tmp_path_factory.mktemp("trained")
    flags = main_command(save_base(folder / "base"), save_rows(folder), folder / "run", num_train_epochs=2)
    result = call_script(main_new.main, *flags)
    assert result.returncode == 0, result.stderr
    return folder


@pytest.fixture
def shipped_adapter(monkeypatch: pytest.MonkeyPatch) -> Path:
    """demo/adapter, taken as if the user had named it; the test is skipped where its base is not."""
    folder = REPOSITORY / "demo" / "adapter"
    base = REPOSITORY / "LLM_bases" / "SmolLM2-135M" / "config.json"
    if not base.is_file():
        pytest.skip("the base of demo/adapter has not been fetched")
    monkeypatch.setenv("ERC_CHECKPOINT", "sample")
    return folder


@pytest.fixture
def run_code() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a script of code/ (path from the repository) with arguments, in a process of its own."""

    def run(script: str, *arguments: Any, **options: Any) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(REPOSITORY / script), *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, timeout=600, **options)

    return run


@pytest.fixture
def crew(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., object]]:
    """Makes a crew whose others run a line of Python each."""
    from engine.processes import STARTED_AS, Crew

    made = []

    def make(*programs: str) -> Crew:
        chooser = f"import os, sys; exec({programs!r}[int(os.environ['{STARTED_AS}'].split()[0]) - 1])"
        monkeypatch.setattr(sys, "orig_argv", ["python", "-c", chooser])
        made.append(Crew(1 + len(programs), 1))
        return made[-1]

    yield make
    for one in made:
        one.end()


@pytest.fixture(scope="session")
def browser() -> Iterator[object]:
    """Headless Chromium; the test is skipped where there is none.

    One for all tests of a process: Playwright refuses a second while a first one is open.
    """
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=find_browser(), args=["--no-sandbox"])

        def new_context(**options: Any) -> Any:
            context = opened.new_context(**options)
            context.set_default_timeout(PAGE_TIMEOUT)
            return context

        def new_page(**options: Any) -> Any:
            page = opened.new_page(**options)
            page.set_default_timeout(PAGE_TIMEOUT)
            return page

        yield SimpleNamespace(new_page=new_page, new_context=new_context)
        opened.close()
