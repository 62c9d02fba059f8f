"""Trains a few steps of a random model in this process and prints its peak memory in bytes; for test_planning.py.

    python tests/peak_memory.py '{"config": {...}, "way": "LoRA", "dtype": "bfloat16", "tokens": 2048}'
"""

import json
import sys
from pathlib import Path

import torch

sys.path[:0] = [str(Path(__file__).resolve().parents[1] / "code")]

from transformers import AutoConfig, AutoModelForCausalLM  # noqa: E402

from model_utils.bases import add_lora, prepare_attention  # noqa: E402
from model_utils.engines import OptimizerSettings, PlainEngine  # noqa: E402
from model_utils.packing import batch_loss, packer_for  # noqa: E402
from model_utils.planning import typical_batch  # noqa: E402
from model_utils.planning_data import TEXTS, WAYS  # noqa: E402


def resident(field: str) -> int:
    """Bytes of this process: VmRSS now, VmHWM at most so far."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) * 1024


def main() -> None:
    wanted = json.loads(sys.argv[1])
    torch.set_num_threads(1)
    dtype = getattr(torch, wanted["dtype"])
    way = next(way for way in WAYS if way.name == wanted["way"])
    torch.ones(256, 256).to(dtype) @ torch.ones(256, 256).to(dtype)  # the libraries' own buffers
    before = resident("VmRSS")
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**wanted["config"]), dtype=dtype)
    prepare_attention(model, torch.device("cpu"))
    if way.lora:
        model = add_lora(model, 16, 16, 0.05, "all")
    if way.checkpointing:
        model.activation_checkpointing_enable()
    model.train()
    engine = PlainEngine(model, OptimizerSettings(1e-4, 0.0, 0.0, 1.0, 9))
    packed = packer_for(model, "tree", 0).pack(typical_batch(TEXTS["meld"], wanted["tokens"]))
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
    for _ in range(3):
        engine.backward(batch_loss(model, packed), last=True)
        engine.step()
    print(resident("VmHWM") - before)


if __name__ == "__main__":
    main()
