"""A section that fails costs itself alone; windows and the engine of an earlier commit are compared on like terms."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

from basics.errors import UserError
from benchmarks import measure
from benchmarks.arguments import CONTENDERS, SECTIONS
from benchmarks.contenders import earlier
from benchmarks.contenders.definition import Contender, Outcome, Setting
from benchmarks.contenders.reference import build_reference, check_against_reference
from benchmarks.contenders.training import NAMES, training_contenders
from benchmarks.efforts import PLANS
from benchmarks.gpu import profile
from benchmarks.gpu.arguments import MEASURED, PARTS, PROFILED, parse_measure, parse_profile
from benchmarks.report import OF_A_PROCESSOR, SHARED
from benchmarks.sections import training, windows
from benchmarks.sections.training import Effort
from benchmarks.workload import draw_workload
from commands import REPOSITORY
from engine.batching import RowEncoder
from tiny_models import character_tokenizer, save_base, small_rows

MACHINE = {"versions": {}, "processor": "a processor", "unit": None, "cores": 2, "commit": "abc"}
HAS_COMMIT = not subprocess.run(
    ["git", "-C", REPOSITORY, "cat-file", "-e", f"{earlier.COMMIT}^{{commit}}"], capture_output=True
).returncode


def measurement() -> measure.Measurement:
    inputs = SimpleNamespace(base="", data=Path(), encoder=None)
    return measure.Measurement(PLANS["quick"], inputs, "fp32", MACHINE, Path(), Path())


@pytest.mark.parametrize(
    ("script", "words", "told"),
    [
        ("run.sh", "--sections trainin", "argument --sections: invalid choice: 'trainin'"),
        ("run.sh", "--quick --contenders everybody", "argument --contenders: invalid choice: 'everybody'"),
        ("run.sh", "--fast", "unknown argument '--fast', allowed are --effort, --base, --data, --sections"),
        ("run_gpu.sh", "--steps 0", "--steps: '0' is not allowed, allowed are whole numbers from 1"),
        ("profile_gpu.sh", "--parts way", "argument --parts: invalid choice: 'way'"),
    ],
)
def test_wrong_arguments_are_refused_before_anything_is_installed(
    script: str, words: str, told: str, tmp_path: Path
) -> None:
    """A Python that does not exist would be asked next."""
    environment = os.environ | {"BENCHMARK_PYTHON": str(tmp_path / "none")}
    command = ["bash", REPOSITORY / "benchmarks" / script, *words.split()]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "") and done.stderr.startswith(f"error: {told}"), done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_python_that_is_not_there_is_told(tmp_path: Path) -> None:
    environment = os.environ | {"BENCHMARK_PYTHON": str(tmp_path / "none")}
    script = ["bash", REPOSITORY / "benchmarks/run.sh", "--quick"]
    done = subprocess.run(script, env=environment, cwd=tmp_path, capture_output=True, text=True)
    told = f"error: BENCHMARK_PYTHON={tmp_path / 'none'}: there is no such program\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", told)


def test_a_machine_without_python_is_told(tmp_path: Path) -> None:
    # Without the environment that a repository may have.
    for name in ("benchmarks/run.sh", "benchmarks/prepare.sh", "envs/setup.sh"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(REPOSITORY / name, tmp_path / name)
    (programs := tmp_path / "programs").mkdir()
    for name in ("bash", "dirname"):
        (programs / name).symlink_to(shutil.which(name))
    script = ["bash", tmp_path / "benchmarks/run.sh", "--quick"]
    done = subprocess.run(script, env={"PATH": str(programs)}, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "") and done.stderr.startswith("error: no Python 3.11 or newer")
    assert len(done.stderr.splitlines()) == 1


def test_the_contenders_that_may_be_asked_for_are_those_of_the_table() -> None:
    assert CONTENDERS == NAMES


def test_the_parts_that_may_be_asked_for_are_those_of_the_profile() -> None:
    assert tuple(profile.PARTS) == PARTS


def test_every_section_can_be_measured_and_rendered() -> None:
    assert set(measurement().sections) == set(SECTIONS)
    rendered = set(SHARED).union(*(needed for needed, _ in OF_A_PROCESSOR))
    assert set(SECTIONS) - {"epochs"} <= rendered, "render_cost tells of epochs"


@pytest.mark.parametrize(("words", "shown"), [((), True), (("--base", "Gemma-3-270M"), False)])
def test_the_pages_tell_of_the_base_that_they_name(
    words: tuple[str, ...], shown: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What was measured of another one had stood there as SmolLM2's, in place of what is committed."""
    kept: list[Path] = []
    written: list[Path] = []
    monkeypatch.setattr("sys.argv", ["measure", "--sections", "trees", "retrieval", "--data", str(tmp_path), *words])
    monkeypatch.setattr(measure, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(measure, "QUICK_RESULTS", tmp_path / "quick")
    monkeypatch.setattr(measure, "resolve_base", lambda name: str(tmp_path / name))
    monkeypatch.setattr(measure.Measurement, "keep", lambda self, name, folder: kept.append(folder) or True)
    monkeypatch.setattr(measure, "write_pages", written.append)
    monkeypatch.setattr(measure, "render", lambda folder: "")
    monkeypatch.setattr(measure, "stop_on_signals", lambda: None)
    monkeypatch.setattr(measure, "describe_machine", lambda device: MACHINE)
    for name in ("TMPDIR", "TORCHINDUCTOR_CACHE_DIR"):  # are set, and set back afterwards
        monkeypatch.setenv(name, str(tmp_path))
    (tmp_path / "meld" / "window").mkdir(parents=True)
    (tmp_path / "meld" / "window" / "manifest.json").touch()
    measure.main()
    place = tmp_path / ("results" if shown else "quick")
    assert [kept[0], kept[1].parent] == [place, place] and written == [place] * shown


@pytest.mark.parametrize(("read", "output"), [(parse_measure, MEASURED), (parse_profile, PROFILED)])
def test_what_is_tried_out_on_a_cpu_replaces_no_results_of_a_gpu(read, output: Path, tmp_path: Path) -> None:
    assert read([]).output == output
    assert read(["--device", "cpu"]).output == REPOSITORY / "benchmarks" / "quick" / output.name
    assert read(["--device", "cpu", "--output", str(tmp_path / "found.json")]).output == tmp_path / "found.json"


def test_a_section_that_fails_leaves_the_others(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> dict:
        raise ValueError("no such thing")

    one = measurement()
    monkeypatch.setitem(vars(one), "sections", {"good": lambda: {"found": 1}, "bad": fail})
    assert [one.keep(name, tmp_path) for name in ("bad", "good")] == [False, True]
    assert [path.name for path in tmp_path.iterdir()] == ["good.json"]
    assert json.loads((tmp_path / "good.json").read_text()) | {"took": 0} == {"found": 1, "machine": MACHINE, "took": 0}
    assert "bad failed: ValueError: no such thing" in capsys.readouterr().err


def test_a_contender_with_another_loss_has_an_error_in_place_of_its_speed() -> None:
    contender = Contender("a_fp32", "a", "fp32", "row", "")
    rounds = SimpleNamespace(
        describe=lambda name: {"seconds": [1.0]}, outcomes={"a_fp32": [Outcome(1.0, (3.0,), (1.0,), 5)]}
    )
    assert training._describe(rounds, contender, Outcome(0.0, (3.0,), (1.0,), 0))["loss"] == 3.0
    found = training._describe(rounds, contender, Outcome(0.0, (2.0,), (1.0,), 0))
    assert "loss" not in found and found["error"].startswith("another problem: a_fp32: losses 3.0000")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.skipif(not HAS_COMMIT, reason=f"this clone does not hold {earlier.COMMIT}")
def test_the_earlier_engine_solves_the_same_problem_and_ends(tmp_path: Path) -> None:
    (contender,) = [one for one in training_contenders("fp32", compiles=False) if one.name == "earlier_fp32"]
    workload = draw_workload(small_rows(count=10, turns=4), steps=1)
    setting = Setting(str(save_base(tmp_path)), workload, "fp32", "cpu", contender.options)
    run = earlier.build_earlier(setting)
    for _ in range(2):
        outcome = run(1)
        check_against_reference(contender, outcome, build_reference(setting)(1)["row"])
        assert outcome.seconds > 0 and outcome.tokens > 0
    assert run.peak_memory() > 1 << 26
    run.process.stdin.close()
    assert run.process.wait(60) == 1


def test_a_clone_without_the_commit_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(earlier, "COMMIT", "0" * 40)
    with pytest.raises(UserError, match="whole clones"):
        earlier.check_out(tmp_path)


def test_windows_are_compared_by_rows(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The sample's rows are drawn for each window; speeds are rows a second, round by round."""
    started: list[Setting] = []

    class Spoken:
        def __init__(self, contenders: list[Contender], setting, logs: Path) -> None:
            started.extend(map(setting, contenders))

        def run(self, *_: object) -> None:
            pass

        def describe(self, name: str) -> dict:
            return {"seconds": [8.0, 4.0, 8.0] if name.endswith("_1") else [4.0, 2.0, 2.0]}

    monkeypatch.setattr(windows, "Rounds", Spoken)
    inputs = SimpleNamespace(base="", encoder=lambda name: RowEncoder(character_tokenizer(), 10_000))
    section = windows.measure_windows(inputs, "fp32", Effort(1, 3), tmp_path, dataset="sample")
    assert [one["window_step"] for one in section["windows"]] == [1, 6]
    plain, other = (one["epoch"]["nodes"] / one["epoch"]["rows"] for one in section["windows"])
    assert other < plain and [len(one.workload.rows) for one in started] == [32, 32]
    *_, table, told = windows.render_windows({"windows": section | {"machine": MACHINE, "took": 60}})
    assert "| 1 | " in table and "**2.0 times** (2.0 to 4.0)" in told and "window_step=6" in told
