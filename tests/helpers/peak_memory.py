"""Trains two steps of a random model in each way, prints the peak memory of each in bytes; for test_planning.py.

python tests/helpers/peak_memory.py '{"config": {...}, "tokens": 2048, "cases": [["LoRA", "bfloat16"], ...]}'
"""

import json
import multiprocessing
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[2] / "code")]

# Before large libraries, as in scripts.
import basics.scripts  # noqa: E402, F401

# isort: split
import torch  # noqa: E402
from transformers import AutoConfig, AutoModelForCausalLM  # noqa: E402

from bases.adapters import add_lora  # noqa: E402
from bases.load import prepare_attention  # noqa: E402
from engine.packing import batch_loss, packer_for  # noqa: E402
from planning.data import TEXTS, WAYS, Way  # noqa: E402
from planning.estimate import typical_batch  # noqa: E402
from training.engines import OptimizerSettings, PlainEngine  # noqa: E402


def resident(field: str) -> int:
    """Bytes of this process: VmRSS now, VmHWM at most so far."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) * 1024


def train(config: dict, way: Way, dtype: torch.dtype, tokens: int) -> None:
    """Two steps of a random model; the peak counts from before the first."""
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**config), dtype=dtype)
    prepare_attention(model)
    if way.lora:
        model = add_lora(model, 16, 16, 0.05, "all")
    if way.checkpointing:
        model.activation_checkpointing_enable()
    model.train()
    engine = PlainEngine(model, OptimizerSettings(1e-4, 0.0, 0.0, 1.0, 9))
    packed = packer_for(model, "tree", 0).pack(typical_batch(TEXTS["meld"], tokens))
    Path("/proc/self/clear_refs").write_text("5")
    for _ in range(2):
        engine.backward(batch_loss(model, packed), last=True)
        engine.step()


def measure(config: dict, tokens: int, name: str, dtype_name: str) -> int:
    """Bytes that training takes at most, in a process that has done nothing else."""
    torch.set_num_threads(1)
    dtype = getattr(torch, dtype_name)
    way = next(way for way in WAYS if way.name == name)
    # What the libraries load and keep for themselves on their first steps does not count.
    train(config | {"num_hidden_layers": 1, "hidden_size": 96, "intermediate_size": 128}, way, dtype, 300)
    before = resident("VmRSS")
    train(config, way, dtype, tokens)
    return resident("VmHWM") - before


def main() -> None:
    wanted = json.loads(sys.argv[1])
    with multiprocessing.get_context("fork").Pool(1, maxtasksperchild=1) as fresh:
        cases = [(wanted["config"], wanted["tokens"], *case) for case in wanted["cases"]]
        print(json.dumps(fresh.starmap(measure, cases, chunksize=1)))


if __name__ == "__main__":
    main()
