"""A short training run, so that scoring is measured on a model that answers with labels, as a trained one does."""

import torch

from bases.adapters import add_lora
from bases.load import load_model
from benchmarks.contenders.definition import LORA_ALPHA, LORA_RANK, Outcome, Setting
from benchmarks.contenders.engine_loop import train_once
from benchmarks.workload import SEED
from engine.packing import packer_for

LEARNING_RATE = 1e-3


def build_training(setting: Setting):
    """options: folder, which the adapter is saved to once it is trained on all of the workload."""
    model = load_model(setting.base, setting.dtype, setting.torch_device)
    torch.manual_seed(SEED)
    model = add_lora(model, LORA_RANK, LORA_ALPHA, 0.0, "all")

    def run() -> Outcome:
        packer = packer_for(model, "tree", model.config.pad_token_id or 0)
        outcome = train_once(model, packer, setting.workload, LEARNING_RATE)
        model.save_pretrained(setting.options["folder"])
        return outcome

    return run
