"""The runs that test_as_one.py compares, by whichever engine; as a script, all of them."""

import gc
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

# Before large libraries, as in scripts.
import basics.scripts  # noqa: F401

# isort: split
import pytest
import torch

from bases.adapters import add_lora
from bases.load import name_accelerator
from basics.errors import UserError
from basics.ports import find_free_ports
from data_utils.row_files import RECOGNITION
from engine.batching import RowEncoder
from engine.dealing import share_of_dialogues
from engine.deepspeed_state import gather_weights
from engine.distributed import World, gather_predictions, join_world
from engine.objective import LabelLoss
from engine.packing import packer_for
from forked_runs import become_another, end_with_forks, fork_others
from scoring.label_scoring import DecodeSettings, predict_labels
from scoring.metrics import Prediction
from tiny_models import (
    LABELS,
    LAYER,
    LAYERS,
    PAD,
    VOCABULARY_SIZE,
    character_tokenizer,
    rounding,
    small_examples,
    tiny_model,
)
from training.arguments import NOTHING, TrainingArguments
from training.checkpoints import STATE_FILE, save_model
from training.deepspeed_engine import DeepSpeedEngine, deepspeed_config
from training.engines import Engine, OptimizerSettings, PlainEngine
from training.loop import Callbacks, Trainer, TrainingSettings

# 13 rows in steps of 6: the last step has one row, so that one process of two has nothing to count in it.
TRAINED = small_examples(count=3, turns=4)
SCORED = small_examples(count=5, turns=2)
BATCH_SIZE, EPOCHS = 6, 2
STEPS = -(-len(TRAINED) // BATCH_SIZE) * EPOCHS
SAVED_AT = 4  # in the middle of the second epoch
PATIENCE = 1800  # seconds, for all cases
TOKEN_BUDGET = 200  # an even or an odd number of micro-batches a step
STAGES = range(4)
DEFAULT = -1
COUNTS = (2, 3)  # of processes that start each other
LAUNCHED = 2  # processes, as if a launcher had started them


@dataclass(frozen=True)
class Case:
    """What is trained, by which engine, going on from where, and how it is scored."""

    name: str
    stage: int | None = None  # of ZeRO; None: PlainEngine; DEFAULT: that of our own configuration file
    lora: bool = False
    dtype: torch.dtype = torch.float32
    offload: bool = False
    checkpointing: bool = False
    resume_from: str = ""  # the case to go on from, as it stood in the middle
    decode: str = "score"
    labels: bool = False  # held against each other, in place of each row's target alone
    spoiled: bool = False  # one gradient of the step after SAVED_AT is infinite


ALONE = [
    Case("full"),
    Case("lora", lora=True),
    Case("full-bf16", dtype=torch.bfloat16),
    Case("full-generate", decode="generate"),
    Case("full-labels", labels=True),
]
TOGETHER = [
    *(Case(f"full-zero{stage}", stage) for stage in STAGES),
    *(Case(f"lora-zero{stage}", stage, lora=True) for stage in (2, 3)),
    *(Case(f"full-bf16-zero{stage}", stage, dtype=torch.bfloat16) for stage in STAGES),
    Case("full-default-offload", DEFAULT, offload=True),
    Case("full-generate-offload-zero3", 3, offload=True, decode="generate"),
    Case("full-labels-zero0", 0, labels=True),
    Case("full-labels-checkpointing-zero3", 3, checkpointing=True, labels=True),
    *(Case(f"full-resumed-zero{stage}", stage, resume_from="full") for stage in STAGES),
    Case("lora-resumed-zero3", 3, lora=True, resume_from="lora-zero2"),
    *(
        Case(f"full-bf16-resumed-zero{stage}", stage, dtype=torch.bfloat16, resume_from=f"full-bf16-zero{stage}")
        for stage in (0, 3)
    ),
    *(Case(f"spoiled-zero{stage}", stage, spoiled=True) for stage in STAGES),
    *(Case(f"spoiled-bf16-zero{stage}", stage, dtype=torch.bfloat16, spoiled=True) for stage in (1, 3)),
]


def started(count: int) -> list[Case]:
    """What `count` processes that start each other do; three go on where two have stopped, two where one has."""
    return [
        Case(f"full-of{count}"),
        Case(f"lora-of{count}", lora=True),
        Case(f"full-bf16-of{count}", dtype=torch.bfloat16),
        Case(f"full-generate-of{count}", decode="generate"),
        Case(f"full-resumed-of{count}", resume_from="full" if count == 2 else f"full-of{count - 1}"),
        Case(f"spoiled-of{count}", spoiled=True),
    ]


# What another number of processes may change: the order of sums, and in bf16 how micro-batches are cut.
EXACT = rounding(*2 * LAYERS * LAYER, VOCABULARY_SIZE)
WITHIN = {torch.float32: EXACT, torch.bfloat16: 2e-2}
# Of how far a weight moves, the part that may be otherwise: one that stayed where it was is off by 1.
MOVED_WITHIN = {torch.float32: 1e-3, torch.bfloat16: 5e-2}
SCORES_WITHIN = {torch.float32: EXACT, torch.bfloat16: 1e-2}


def assert_trained_as_one(case: Case, result: dict[str, Any], expected: dict[str, Any], within: float) -> None:
    """What several processes came to is what one came to: losses, norms, rates, and how far each weight moved."""
    steps = range(SAVED_AT + 1 if case.resume_from else 1, STEPS + 1)
    assert list(result["losses"]) == list(steps)
    for quantity in ("losses", "norms"):
        kept = {step: expected[quantity][step] for step in steps}
        assert result[quantity] == pytest.approx(kept, abs=within, rel=within), quantity
    assert result["rates"] == expected["rates"][-len(steps) :] and all(result["rates"][1:])
    start = {weight: values.detach().float() for weight, values in build_model(case).named_parameters()}
    assert result["masters"].keys() == expected["masters"].keys() != set()
    wrong = {
        weight: difference
        for weight, values in expected["masters"].items()
        if (difference := float((result["masters"][weight] - values).norm() / (values - start[weight]).norm()))
        > MOVED_WITHIN[case.dtype]
    }
    assert wrong == {}


def assert_predicted_as_one(case: Case, result: dict[str, Any], expected: dict[str, Any]) -> None:
    """After each epoch: every row once, in file order, with the scores or the answer that one process finds."""
    found, wanted = result["predictions"], expected["predictions"]
    assert len(wanted) == EPOCHS
    assert len(found) == (EPOCHS - SAVED_AT // (STEPS // EPOCHS) if case.resume_from else EPOCHS)
    for epoch, same in zip(found, wanted[-len(found) :], strict=True):
        assert [row.id for row in epoch] == [row.id for row in SCORED]
        for row, other in zip(epoch, same, strict=True):
            assert row.response == other.response
            assert (row.scores is None) == (case.decode == "generate")
            if case.decode == "score":
                within = SCORES_WITHIN[case.dtype]
                assert row.scores == pytest.approx(other.scores, rel=within, abs=within)
            if case.dtype == torch.float32:
                assert row.label == other.label


def run_case(case: Case, folder: Path, world: World) -> dict[str, Any]:
    """Trains; losses and gradient norms by step, what was predicted after each epoch, the weights at the end."""
    model = build_model(case)
    encoder = RowEncoder(character_tokenizer(), 1024)
    decode = DecodeSettings(packer_for(model, "tree", PAD), case.decode, 600, 2, max_new_tokens=5, world=world)
    steps: dict[int, dict[str, Any]] = {}
    predictions: list[list[Prediction]] = []
    own = folder / case.name

    def evaluate(epoch: int) -> dict[str, float]:
        rows = share_of_dialogues(encoder.encode(SCORED, LABELS), world)
        mine = predict_labels(model, encoder, rows, LABELS, decode)
        predictions.append(gather_predictions(mine, SCORED, world))
        return {"score": float(epoch)}

    def record(values: dict[str, Any]) -> None:
        if values["kind"] == "step":
            steps[values["step"]] = values
            if world.is_first and values["step"] == SAVED_AT + 1:
                shutil.copy(own / STATE_FILE, folder / f"{case.name}.middle")

    if case.resume_from and world.is_first:
        own.mkdir()
        shutil.copy(folder / f"{case.resume_from}.middle", own / STATE_FILE)
    world.wait()
    engine = build_engine(case, model, folder, world)
    choices = {RECOGNITION: {label: encoder.encode_label(label) for label in LABELS}}
    held_to = LabelLoss(choices, 0.1) if case.labels else None
    settings = TrainingSettings(EPOCHS, BATCH_SIZE, 3, TOKEN_BUDGET, 1, 7, SAVED_AT, bool(case.resume_from), held_to)
    callbacks = Callbacks(evaluate, lambda: None, record)
    trainer = Trainer(model, engine, encoder.encode(TRAINED, LABELS), decode.packer, settings, callbacks, own, {})
    told = ""
    if case.spoiled:
        spoil_gradient(model, trainer)
    try:
        trainer.run()
    except UserError as error:
        told = str(error)
    masters = engine.state()["weights"]
    weights = gather_weights(model, trainable_only=case.lora)
    if world.is_first:
        save_model(
            model, encoder.tokenizer, folder / f"{case.name}.model", "base", lambda _: {"README.md": "card"}, weights
        )
    engine.close()
    return {
        "held": [weakref.ref(weight) for weight in model.parameters()],
        "engine": f"{type(engine.model).__module__}.{type(engine.model).__name__}",
        "losses": {step: values["loss"] for step, values in steps.items()},
        "norms": {step: values["gradient_norm"] for step, values in steps.items()},
        "rates": [values["learning_rate"] for values in steps.values()],
        "told": told,
        "predictions": predictions,
        "masters": masters,
        "digests": world.gather([digest(masters)]),
        "seconds": sum(values["seconds"] for values in steps.values()),
    }


def digest(weights: dict[str, torch.Tensor]) -> str:
    return hashlib.sha256(b"".join(weight.detach().numpy().tobytes() for weight in weights.values())).hexdigest()


def spoil_gradient(model, trainer: Trainer) -> None:
    """Makes a gradient of the first process infinite once the middle of the run was saved; the loss stays."""

    def hook(gradient: torch.Tensor) -> torch.Tensor:
        wanted = trainer.progress.step == SAVED_AT and trainer.engine.rank == 0
        return gradient * torch.inf if wanted else gradient

    model.get_input_embeddings().weight.register_hook(hook)


def build_model(case: Case):
    """The tiny model of a case, the same for every process."""
    model = tiny_model("llama").to(case.dtype)
    model = add_lora(model, 4, 8, 0.0, "all") if case.lora else model
    if case.checkpointing:
        model.activation_checkpointing_enable()
    return model


def build_engine(case: Case, model, folder: Path, world: World) -> Engine:
    """PlainEngine, or DeepSpeed's with the stage in a file, as a user would write it."""
    settings = OptimizerSettings(0.003, 0.2, 0.01, 1.0, STEPS)
    if case.stage is None:
        return PlainEngine(model, settings, world)
    path: Path | str = NOTHING
    if case.stage != DEFAULT:
        path = folder / f"{case.name}-{torch.distributed.get_rank()}.json"
        # 0: tensors as small as these are to be sharded too.
        zero = {"stage": case.stage, "stage3_param_persistence_threshold": 0}
        path.write_text(json.dumps({"zero_optimization": zero}))
    arguments = TrainingArguments("", "", deepspeed_config=str(path), offload_optimizer=case.offload)
    return DeepSpeedEngine(model, settings, deepspeed_config(arguments, case.dtype))


def run_cases(folder: Path, cases: Sequence[Case], world: World) -> dict[str, dict[str, Any]]:
    """What each came to, by its name; held: how many weights have outlived their run."""
    results = {}
    for case in cases:
        result = results[case.name] = run_case(case, folder, world)
        gc.collect()
        result["held"] = sum(weight() is not None for weight in result["held"])
        gc.freeze()  # the libraries above all, which the next collection would look through again
    return results


def run_in_group(written: Path, cases: Sequence[Case], processes: int) -> None:
    """Runs the cases in several processes; the first one writes what came out.

    processes: how many start each other; 1: a launcher has.
    """
    world = join_world(processes=processes)
    results = run_cases(written.parent, cases, world)
    if world.is_first:
        time.sleep(0.5)  # the others are at the end by then
        torch.save(results, written)
    world.leave()
    assert written.exists(), "this process left before the first one was done"
    assert not torch.distributed.is_initialized()


def run_worker(folder: Path) -> dict[str, Any]:
    """Calls this script; what every case came to."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    environment["PYTHONPATH"] = os.pathsep.join(sys.path)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    worker = subprocess.Popen([sys.executable, __file__, str(folder)], env=environment, text=True, **pipes)
    try:
        _, told = worker.communicate(timeout=PATIENCE)
    finally:
        end_with_forks(worker)
    logs = [log.read_text() for log in folder.glob("process*.log")]
    assert worker.returncode == 0, "\n".join([told, *logs])
    results = [torch.load(path, weights_only=False) for path in folder.glob("*.results")]
    assert len(results) == 1 + len(COUNTS) + 1
    return {name: result for group in results for name, result in group.items()}


def fork(run: Callable[[], None], log: Path, **environment: str) -> int:
    """The number of a new process that calls `run` and writes to `log`."""
    if child := os.fork():
        return child
    file = os.open(log, os.O_WRONLY | os.O_CREAT)
    os.dup2(file, 1)
    os.dup2(file, 2)
    become_another(run, environment)


def wait_for(children: set[int]) -> None:
    """Until all have ended; ends this process, and those that are left, when one fails."""
    while children:
        child, status = os.wait()
        children.remove(child)
        if status:
            for other in children:
                os.kill(other, signal.SIGKILL)
            sys.exit(f"ended with {os.waitstatus_to_exitcode(status)}")


def main(folder: Path) -> None:
    """The cases of one process, then those of several, all forks of this one, which has imported everything."""
    torch.save(run_cases(folder, ALONE, World()), folder / "alone.results")
    for count in COUNTS:
        run = partial(run_in_group, folder / f"started{count}.results", started(count), count)
        fork_others(run)
        wait_for({fork(run, folder / f"processes{count}.log")})
    name_accelerator()
    import deepspeed  # noqa: F401

    run = partial(run_in_group, folder / "launched.results", TOGETHER, 1)
    place = {"WORLD_SIZE": str(LAUNCHED), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(find_free_ports(1)[0])}
    logs = {str(rank): folder / f"process{rank}.log" for rank in range(LAUNCHED)}
    wait_for({fork(run, log, RANK=rank, LOCAL_RANK=rank, **place) for rank, log in logs.items()})


if __name__ == "__main__":
    main(Path(sys.argv[1]))
