"""LoRA's B, drawn alike for every contender. Imports torch alone: a program with another commit's code reads it too."""

import torch

B_SPREAD = 0.02  # standard deviation; new adapters have zeros, and a wrong B would show in no loss


def draw_b(model, seed: int):
    """Fills B of every LoRA layer with the same numbers in every precision; returns the model."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if ".lora_B." in name:
                drawn = B_SPREAD * torch.randn(weight.shape, generator=generator)
                weight.copy_(drawn.bfloat16())
    return model
