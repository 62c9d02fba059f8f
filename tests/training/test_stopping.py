"""When weights are scored, which are kept, and when a run ends; and that a resumed one comes to the same."""

import functools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil
import pytest
import torch
from safetensors.torch import load_file

import forked_runs
from basics.stopping import Stopped
from commands import REPOSITORY
from distributed_worker import run_worker
from forked_runs import ForkedRun, run_all
from tiny_models import main_command, save_base, save_rows, small_rows
from tiny_runs import Place, losses, train
from training.checkpoints import STATE_FILE
from training.loop import Progress, read_progress

# 26 rows in steps of 7: 4 steps an epoch, 2 epochs.
ROWS = small_rows("predict")


def given(scores: Sequence[float]) -> Callable[[float], float]:
    """One score after the other."""
    left = iter(scores)
    return lambda epoch: next(left)


def scorings(records) -> list[tuple[int, float]]:
    return [(one["step"], one["epoch"]) for one in records if one["kind"] == "epoch"]


@pytest.mark.parametrize(
    ("every", "expected"),
    [
        (0, [(4, 1), (8, 2)]),
        (3, [(3, 0.75), (6, 1.5), (8, 2)]),
        (5, [(5, 1.25), (8, 2)]),
        (8, [(8, 2)]),
        (100, [(8, 2)]),
    ],
)
def test_weights_are_scored_so_often(every: int, expected: list[tuple[int, float]], tmp_path: Path) -> None:
    progress, records, calls = train(ROWS, tmp_path, score_every=every)
    assert scorings(records) == expected
    assert [call for call in calls if call != "keep"] == [f"evaluate {epoch}" for _, epoch in expected]
    steps, found = losses(records), [one["train_loss"] for one in progress.history]
    cuts = [0, *(step for step, _ in expected)]
    means = [sum(steps[start:stop]) / (stop - start) for start, stop in zip(cuts, cuts[1:], strict=False)]
    assert found == pytest.approx(means)


def test_scoring_leaves_training_as_it_is(tmp_path: Path) -> None:
    often, seldom = (losses(train(ROWS, tmp_path / str(every), score_every=every)[1]) for every in (1, 0))
    assert often == seldom


def test_the_best_of_all_scorings_is_kept(tmp_path: Path) -> None:
    progress, _, calls = train(ROWS, tmp_path, score_every=2, scores=given([1.0, 7.0, 3.0, 7.0]))
    assert (progress.best_epoch, progress.best_score, progress.without_gain) == (1, 7.0, 2)
    assert calls == ["evaluate 0.5", "keep", "evaluate 1", "keep", "evaluate 1.5", "evaluate 2"]


@pytest.mark.parametrize(
    ("patience", "scores", "steps"),
    [
        (1, [5.0, 6.0, 4.0, 9.0], 6),
        (2, [5.0, 5.0, 4.0, 9.0], 6),  # an equal score is no gain
        (2, [5.0, 4.0, 6.0, 5.0], 8),
        (3, [5.0, 4.0, 3.0, 9.0], 8),
        (0, [5.0, 4.0, 3.0, 2.0], 8),
    ],
)
def test_a_run_ends_after_so_many_scorings_without_gain(patience, scores, steps: int, tmp_path: Path) -> None:
    progress, records, _ = train(ROWS, tmp_path, score_every=2, patience=patience, scores=given(scores))
    assert progress.step == len(losses(records)) == steps
    assert len(progress.history) == steps // 2 and progress.best_score == max(scores[: steps // 2])


@pytest.mark.parametrize("stopped_at", [0.5, 1, 1.5])
def test_resuming_scores_and_ends_as_a_run_left_alone(stopped_at: float, tmp_path: Path) -> None:
    """Stopped in a scoring, whose step was saved before: it is scored first, and averages go on where they were."""
    scores = {0.5: 1.0, 1: 3.0, 1.5: 2.0, 2: 2.5}
    settings = {"score_every": 2, "patience": 2, "average": 0.9, "save_steps": 1}
    whole, records, _ = train(ROWS, tmp_path / "alone", scores=scores.__getitem__, **settings)

    def stop(epoch: float) -> float:
        if epoch == stopped_at:
            raise KeyboardInterrupt
        return scores[epoch]

    with pytest.raises(KeyboardInterrupt):
        train(ROWS, tmp_path / "cut", scores=stop, **settings)
    rest, later, calls = train(ROWS, tmp_path / "cut", scores=scores.__getitem__, resume=True, **settings)
    assert calls[0] == f"evaluate {stopped_at}"
    assert (rest.history, rest.best_epoch, rest.step) == (whole.history, whole.best_epoch, whole.step)
    assert losses(later) == losses(records)[int(4 * stopped_at) :]
    states = [torch.load(tmp_path / run / STATE_FILE, weights_only=True)["engine"] for run in ("alone", "cut")]
    for kind in ("weights", ("average", "means")):
        one, other = (state[kind] if isinstance(kind, str) else state[kind[0]][kind[1]] for state in states)
        assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
    assert states[0]["average"]["steps"] == states[1]["average"]["steps"] == 8


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_in_a_scoring_leaves_the_step_to_go_on_from(number: int, tmp_path: Path) -> None:
    """It is not saved otherwise (save_steps=0), and the score that was not known yet still counts as a gain."""
    whole, records, _ = train(ROWS, tmp_path / "alone", scores=given([1.0, 2.0]))

    def stop(epoch: float) -> float:
        os.kill(os.getpid(), number)
        return 1.0

    with pytest.raises(Stopped) as caught:
        train(ROWS, tmp_path / "cut", scores=stop)
    assert caught.value.number == number and caught.value.__notes__ == ["step 4 of 8 is saved"]
    rest, later, calls = train(ROWS, tmp_path / "cut", scores=given([1.0, 2.0]), resume=True)
    assert calls == ["evaluate 1", "keep", "evaluate 2", "keep"] and rest.history == whole.history
    assert losses(later) == losses(records)[4:]


def test_a_run_that_patience_ended_stays_ended(tmp_path: Path) -> None:
    settings = {"score_every": 2, "patience": 1}
    train(ROWS, tmp_path, scores=given([3.0, 2.0]), **settings)
    progress, records, calls = train(ROWS, tmp_path, scores=given([]), resume=True, **settings)
    assert (progress.step, records, calls) == (4, [], [])


def test_a_state_from_before_goes_on_where_its_epoch_began() -> None:
    old = {"epoch": 1, "step": 6, "loss_sum": 1.5, "best_epoch": 1, "best_score": 3.0, "seconds": 0.0, "history": []}
    assert read_progress(old, 4) == Progress(step=6, scored_step=4, loss_sum=1.5, best_epoch=1, best_score=3.0)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place(tmp_path_factory.mktemp("runs"))


def test_the_kept_weights_are_the_average_that_was_scored(place: Place) -> None:
    """Scored again from disk, they give the numbers by which they were chosen."""
    flags = {"num_train_epochs": 2, "average_weights": 0.8, "score_every": 3}
    place.finish("average", **flags, score_on="valid")
    place.score("again", "average", score_on="valid")
    results = place.results("average")
    best = next(one for one in results["epochs"] if one["epoch"] == results["best_epoch"])
    assert [one["epoch"] for one in results["epochs"]] == [0.75, 1.5, 2] and results["steps"] == 8
    assert place.results("again")["weighted_f1"] == pytest.approx(best["valid_weighted_f1"])
    assert place.scores("again") == place.scores("average")
    place.finish("raw", **flags | {"average_weights": 0}, score_on="valid")
    weights = [load_file(place.model(run) / "adapter_model.safetensors") for run in ("average", "raw")]
    assert any(not torch.equal(one, other) for one, other in zip(*(w.values() for w in weights), strict=True))
    assert place.results("raw")["epochs"][0]["train_loss"] == results["epochs"][0]["train_loss"]


def test_an_early_end_is_told_and_recorded(place: Place) -> None:
    done = place.finish("ended", num_train_epochs=3, score_every=1, patience=1, learning_rate=1e-12)
    assert "training ended after step 2 of 12: 1 scorings without a better valid score" in done.stderr
    results = place.results("ended")
    assert results["steps"] == 2 and results["best_epoch"] == 0.25 and len(results["epochs"]) == 2


WATCHED = """
import runpy, sys
main, *flags = sys.argv[1:]
known = []

def watch(event, arguments):
    if event == "open" and not known and str(arguments[0]).endswith("log.jsonl"):
        known.append(set(sys.modules))

sys.addaudithook(watch)
sys.argv = [main, *flags]
runpy.run_path(main, run_name="__main__")
late = [sys.modules[name] for name in sys.modules.keys() - known[0]]
print("late:", sorted(str(one.__file__) for one in late if getattr(one, "__file__", None)))
"""


@pytest.mark.slow
def test_nothing_of_the_program_is_read_once_steps_are_made(tmp_path: Path) -> None:
    """What is pulled while a run goes on is of the next one: with lazy imports it would be both."""
    base, rows, main = save_base(tmp_path / "base"), save_rows(tmp_path), REPOSITORY / "code/main_new.py"
    command = main_command(base, rows, tmp_path / "run", num_train_epochs=1, decode="transitions")
    environment = os.environ | {"PYTHONPATH": str(main.parent), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", WATCHED, str(main), *command], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    (told,) = (line for line in done.stdout.splitlines() if line.startswith("late: "))
    assert str(main.parent) not in told and "site-packages" in told


MOMENTS = {
    "in the middle of an epoch, before its scoring is saved": ("os.rename", "resume.pt", 2),
    "first model in place, scoring not logged": ("open", "log.jsonl", 4),
    "a scoring logged, its state not saved": ("os.rename", "resume.pt", 2),
}


@pytest.mark.slow
def test_a_signal_saves_the_step_and_says_how_to_go_on(tmp_path: Path) -> None:
    base, rows = save_base(tmp_path / "base"), save_rows(tmp_path)

    def plan(run: str, name: str, moment=None, number: int = signal.SIGKILL, **flags: object) -> ForkedRun:
        command = main_command(base, rows, tmp_path / run, save_steps=0, **flags)
        return ForkedRun(command, str(tmp_path / f"{name}.txt"), moment, None, number)

    third, kept = ("open", "log.jsonl", 3), ("os.rename", "model", 1)
    runs = [
        plan("alone", "alone"),
        plan("stopped", "in a step", third, signal.SIGTERM),
        plan("stopped", "in keeping", kept, signal.SIGINT, resume=True),
        plan("stopped", "last", resume=True),
    ]
    assert run_all(runs) == [0, 143, 130, 0], (tmp_path / "last.txt").read_text()
    how = "the same command with --resume True, or resume=True before a script, goes on"
    for name, told in {
        "in a step": f"stopped by SIGTERM; step 3 of 12 is saved; {how}",
        "in keeping": f"stopped by Ctrl-C; step 4 of 12 is saved; {how}",
    }.items():
        assert (tmp_path / f"{name}.txt").read_text().splitlines()[-1] == told
    predictions = [(tmp_path / run / "results/predictions.jsonl").read_bytes() for run in ("alone", "stopped")]
    assert predictions[0] == predictions[1]
    steps = [json.loads(line) for line in (tmp_path / "stopped/results/log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in steps if line["kind"] == "step"] == list(range(1, 13))
    assert not [path for path in tmp_path.rglob(".*") if path.parent.name != "data"]


@pytest.mark.slow
def test_killed_runs_come_to_the_results_of_one_left_alone(tmp_path: Path) -> None:
    base, rows = save_base(tmp_path / "base"), save_rows(tmp_path)
    flags = {"score_every": 3, "patience": 3, "average_weights": 0.8, "loss": "labels", "label_smoothing": 0.1}
    flags |= {"class_weights": 0.5}
    alone = ForkedRun(main_command(base, rows, tmp_path / "alone", **flags), str(tmp_path / "alone.txt"), None, None)
    command = main_command(base, rows, tmp_path / "killed", **flags, resume=True)
    killed = [ForkedRun(command, str(tmp_path / f"{n}.txt"), moment, None) for n, moment in enumerate(MOMENTS.values())]
    last = ForkedRun(command, str(tmp_path / "last.txt"), None, None)
    codes = run_all([alone, *killed, last])
    assert codes == [0, *[-9] * len(MOMENTS), 0], (tmp_path / "last.txt").read_text()
    one, other = (json.loads((tmp_path / run / "results/results.json").read_text()) for run in ("alone", "killed"))
    kept = ("epochs", "best_epoch", "steps", "weighted_f1", "confusion")
    assert {name: one[name] for name in kept} == {name: other[name] for name in kept}
    predictions = [(tmp_path / run / "results/predictions.jsonl").read_bytes() for run in ("alone", "killed")]
    assert predictions[0] == predictions[1]


# Forks what comes to no end, and says its number.
ENDLESS = """
import os, sys, time
if child := os.fork():
    open(sys.path[0] + "/child", "w").write(f"{child}\\n")
time.sleep(600)
"""


def has_ended(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@pytest.mark.parametrize("helper", ["forked_runs", "distributed_worker"])
def test_runs_that_come_to_no_end_are_not_left_behind(
    helper: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tests would wait for them when all are over, and the next ones be told how these have ended."""
    (tmp_path / "endless.py").write_text(ENDLESS)
    monkeypatch.setattr(f"{helper}.__file__", str(tmp_path / "endless.py"))
    monkeypatch.setattr(f"{helper}.PATIENCE", 3)
    with pytest.MonkeyPatch.context() as patch:
        start = functools.cache(forked_runs.start_forking.__wrapped__)  # another than that of other tests
        patch.setattr(forked_runs, "start_forking", start)
        with pytest.raises((AssertionError, subprocess.TimeoutExpired)):
            run_all([]) if helper == "forked_runs" else run_worker(tmp_path)
        assert start.cache_info().currsize == 0
    child, end = int((tmp_path / "child").read_text()), time.monotonic() + 60
    while not has_ended(child):
        assert time.monotonic() < end, "it is left behind"
        time.sleep(0.05)
