"""The runs that test_distributed.py compares, by whichever engine; as a script, one process of several."""

import json
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tiny_models import LABELS, PAD, character_tokenizer, small_examples, tiny_model

from data_utils.batching import RowEncoder
from model_utils.arguments import TrainingArguments
from model_utils.bases import add_lora
from model_utils.checkpoints import STATE_FILE
from model_utils.deepspeed_config import deepspeed_config
from model_utils.deepspeed_engine import DeepSpeedEngine
from model_utils.deepspeed_state import gather_weights
from model_utils.distributed import World, gather_predictions, join_world, share_of_dialogues
from model_utils.engines import Engine, OptimizerSettings, PlainEngine
from model_utils.label_scoring import DecodeSettings, predict_labels
from model_utils.packing import packer_for
from model_utils.training import Callbacks, Trainer, TrainingSettings

# 13 rows in steps of 4: the last step has one row, so that one process of two has nothing to count in it.
TRAINED = small_examples(count=3, turns=4)
SCORED = small_examples(count=5, turns=2)
BATCH_SIZE, EPOCHS = 4, 2
STEPS = -(-len(TRAINED) // BATCH_SIZE) * EPOCHS
SAVED_AT = 5  # in the middle of the second epoch
TOKEN_BUDGET = 250  # several micro-batches a step


@dataclass(frozen=True)
class Case:
    """What is trained, by which engine, how far, going on from which state."""

    name: str
    stage: int | None = None  # of ZeRO; None: PlainEngine
    lora: bool = False
    dtype: torch.dtype = torch.float32
    offload: bool = False
    resume_from: str = ""  # the case to go on from, as it stood in the middle
    decode: str = "score"

    @property
    def reference(self) -> str:
        """The case of one process that must come to the same."""
        return ("lora" if self.lora else "full") + ("-bf16" if self.dtype == torch.bfloat16 else "")


def several_processes() -> list[Case]:
    """Every stage with all parameters; LoRA, bf16, offloading; and runs that go on from what one process left."""
    stages = range(4)
    cases = [Case(f"full-zero{stage}", stage) for stage in stages]
    cases += [Case(f"lora-zero{stage}", stage, lora=True) for stage in (2, 3)]
    cases += [Case(f"full-bf16-zero{stage}", stage, dtype=torch.bfloat16) for stage in stages]
    cases += [Case(f"full-offload-zero{stage}", stage, offload=True) for stage in (2, 3)]
    cases += [Case(f"full-resumed-zero{stage}", stage, resume_from="full") for stage in stages]
    return [*cases, Case("full-generate-zero3", 3, decode="generate")]


def one_process() -> list[Case]:
    """What the others are compared with, and what they go on from."""
    return [
        Case("full"),
        Case("lora", lora=True),
        Case("full-bf16", dtype=torch.bfloat16),
        Case("full-generate", decode="generate"),
    ]


def run_case(case: Case, folder: Path, world: World) -> dict[str, Any]:
    """Trains; losses, gradient norms, what was predicted after each epoch, and weights at the end, by name."""
    model = tiny_model("llama").to(case.dtype)
    model = add_lora(model, 4, 8, 0.0, "all") if case.lora else model
    encoder = RowEncoder(character_tokenizer(), 1024)
    log: list[dict[str, Any]] = []
    predictions = []
    decode = DecodeSettings(packer_for(model, "tree", PAD), case.decode, 600, eval_batch_size=2, max_new_tokens=5, world=world)

    def evaluate(epoch: int) -> dict[str, float]:
        mine = predict_labels(model, encoder, share_of_dialogues(SCORED, world), LABELS, decode)
        predictions.append(gather_predictions(mine, SCORED, world))
        return {"score": float(epoch)}

    def record(values: dict[str, Any]) -> None:
        log.append(values)
        if world.is_first and values["step"] == SAVED_AT + 1:
            shutil.copy(own / STATE_FILE, folder / f"{case.name}.middle")

    own = folder / case.name
    if case.resume_from and world.is_first:
        own.mkdir()
        shutil.copy(folder / f"{case.resume_from}.middle", own / STATE_FILE)
    world.wait()
    engine = build_engine(case, model, folder)
    settings = TrainingSettings(EPOCHS, BATCH_SIZE, 3, TOKEN_BUDGET, 1, 7, SAVED_AT, bool(case.resume_from))
    callbacks = Callbacks(evaluate, lambda: None, record)
    Trainer(model, engine, encoder.encode(TRAINED, LABELS), decode.packer, settings, callbacks, own, {}).run()
    return {
        "engine": f"{type(engine.model).__module__}.{type(engine.model).__name__}",
        "losses": [line["loss"] for line in log if line["kind"] == "step"],
        "norms": [line["gradient_norm"] for line in log if line["kind"] == "step"],
        "predictions": predictions,
        "masters": engine.state()["weights"],
        "weights": gather_weights(model, trainable_only=case.lora) or model.state_dict(),
    }


def build_engine(case: Case, model, folder: Path) -> Engine:
    """PlainEngine, or DeepSpeed's with the stage in a file, as a user would write it."""
    settings = OptimizerSettings(0.01, 0.2, 0.01, 1.0, STEPS)
    if case.stage is None:
        return PlainEngine(model, settings)
    path = folder / f"{case.name}-{torch.distributed.get_rank()}.json"
    # 0: tensors as small as these are to be sharded too.
    path.write_text(json.dumps({"zero_optimization": {"stage": case.stage, "stage3_param_persistence_threshold": 0}}))
    arguments = TrainingArguments("", "", deepspeed_config=str(path), offload_optimizer=case.offload)
    return DeepSpeedEngine(model, settings, deepspeed_config(arguments, case.dtype))


def main(folder: Path) -> None:
    world = join_world(alone_too=True)
    results = {}
    for case in several_processes():
        import time; t=time.time()
        results[case.name] = run_case(case, folder, world)
        if world.is_first: print(case.name, time.time()-t, flush=True)
    if world.is_first:
        torch.save(results, folder / "results.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
