"""Several processes on this CPU come to what one process comes to, whether they start each other or a launcher did."""

from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from distributed_worker import (
    COUNTS,
    DEFAULT,
    LAUNCHED,
    SAVED_AT,
    TOGETHER,
    WITHIN,
    Case,
    assert_predicted_as_one,
    assert_trained_as_one,
    run_case,
    run_worker,
    started,
)
from engine.distributed import World
from training.checkpoints import load_state

pytestmark = pytest.mark.slow
STARTED = {case.name: case for count in COUNTS for case in started(count)}
CASES = {case.name: case for case in TOGETHER} | STARTED
WHOLE = [name for name, case in CASES.items() if not case.spoiled]
SPOILED = [name for name, case in CASES.items() if case.spoiled]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What every case of one process and of several came to, and the folder where they left their states."""
    folder = tmp_path_factory.mktemp("runs")
    results = run_worker(folder)
    for count in COUNTS:
        told = (folder / f"processes{count}.log").read_text()
        assert told.count("train: 100%") == len(started(count)) - 1, "only the first says how far it is"
    first, *others = ((folder / f"process{rank}.log").read_text() for rank in range(LAUNCHED))
    assert "step/s" in first and not any("step/s" in told for told in others), "only the first says how far it is"
    return {"folder": folder, **results}


def reference_of(case: Case) -> str:
    """The case of one process, and of the same precision, that must come to the same."""
    if case.dtype == torch.bfloat16:
        return case.resume_from or "full-bf16"
    if case.labels:
        return "full-labels"
    return "lora" if case.lora else "full-generate" if case.decode == "generate" else "full"


@pytest.mark.parametrize("name", WHOLE)
def test_several_train_as_one(runs: dict[str, Any], name: str) -> None:
    """Going on from one, two or three as well."""
    case, result = CASES[name], runs[name]
    within = WITHIN[torch.float32 if case.resume_from else case.dtype]
    assert (result["engine"] == "deepspeed.runtime.engine.DeepSpeedEngine") == (name not in STARTED)
    assert_trained_as_one(case, result, runs[reference_of(case)], within)


@pytest.mark.parametrize("name", WHOLE)
def test_several_predict_as_one(runs: dict[str, Any], name: str) -> None:
    case = CASES[name]
    assert_predicted_as_one(case, runs[name], runs[reference_of(case)])


@pytest.mark.parametrize("name", STARTED)
def test_all_processes_end_with_the_same_weights(runs: dict[str, Any], name: str) -> None:
    """To the last bit: what they do not tell each other again, they must not lose."""
    assert len(runs[name]["digests"]) == int(name[-1])
    assert len(set(runs[name]["digests"])) == 1


def test_no_weight_outlives_its_run(runs: dict[str, Any]) -> None:
    """Without ZeRO and in ZeRO-2, which is ours; DeepSpeed holds on to others by its hooks."""
    held = {case.name: runs[case.name]["held"] for case in TOGETHER if case.stage in (0, 2, DEFAULT)}
    assert held == dict.fromkeys(held, 0) and len(held) > 5


@pytest.mark.parametrize("name", SPOILED)
def test_a_step_that_is_not_finite_is_made_by_no_process(runs: dict[str, Any], name: str) -> None:
    """One process meets an infinite gradient; all stop, with the weights of the state that was saved before."""
    result = runs[name]
    assert result["told"].startswith(f"step {SAVED_AT + 1}: the gradient norm is ")
    assert list(result["losses"]) == list(range(1, SAVED_AT + 1))
    saved = load_state(runs["folder"] / name, {})
    assert saved["progress"]["step"] == SAVED_AT
    for weight, values in saved["engine"]["weights"].items():
        assert values.isfinite().all() and torch.equal(result["masters"][weight], values)


GONE_ON_WITH = ["full-zero0", "full-zero2", "full-zero3", "lora-zero3", "full-bf16-zero3"]
GONE_ON_WITH += [f"full-of{count}" for count in COUNTS]


@pytest.mark.parametrize("name", GONE_ON_WITH)
def test_one_process_goes_on_where_several_stopped(runs: dict[str, Any], name: str) -> None:
    began = CASES[name]
    resumed = Case(f"{name}-alone", lora=began.lora, dtype=began.dtype, resume_from=name)
    result = run_case(resumed, runs["folder"], World())
    expected = runs["full" if name in STARTED else name]["losses"]
    expected = {step: loss for step, loss in expected.items() if step > SAVED_AT}
    assert result["losses"] == pytest.approx(expected, rel=WITHIN[began.dtype])


@pytest.mark.parametrize(("name", "file"), [("full", "model.safetensors"), ("lora", "adapter_model.safetensors")])
def test_sharded_weights_are_saved_whole(runs: dict[str, Any], name: str, file: str) -> None:
    sharded, whole = (load_file(runs["folder"] / f"{case}.model" / file) for case in (f"{name}-zero3", name))
    assert sharded.keys() == whole.keys()
    for weight, values in whole.items():
        torch.testing.assert_close(sharded[weight], values, atol=1e-5, rtol=1e-5)
