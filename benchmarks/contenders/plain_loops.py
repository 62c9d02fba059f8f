"""Training loops to compare with: the released program's, and padded batches as fine-tuning libraries make them.

Both hand labels to the model, which computes the logits of every token, as is usual; with `targets_only` those of the
targets alone, as everybody's loop could.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.contenders.definition import (
    CLIP_NORM,
    LEARNING_RATE,
    Outcome,
    Repetition,
    Setting,
    Stopwatch,
    load_weights,
    wrap_in_lora,
)
from engine.batching import EncodedRow
from engine.layers import compile_layers

BETAS = (0.9, 0.95)
IGNORE_INDEX = -100  # what cross_entropy leaves out
MicroSteps = Iterator[tuple[float, dict[str, Any]]]  # weight of the loss, what the model is called with


def one_row_at_a_time(step: Sequence[EncodedRow], pad_token_id: int, size: int) -> MicroSteps:
    """The released program: a micro-step is a row, a step their mean."""
    for row in step:
        yield 1 / len(step), pad_batch([row], pad_token_id)


def padded_batches(step: Sequence[EncodedRow], pad_token_id: int, size: int) -> MicroSteps:
    """Rows of like length padded together, `size` a micro-step; the step's loss is the mean over its tokens."""
    targets = sum(len(row.target) for row in step)
    ordered = sorted(step, key=lambda row: len(row.prompt) + len(row.target))
    for start in range(0, len(ordered), size):
        yield 1.0, pad_batch(ordered[start : start + size], pad_token_id) | {"num_items_in_batch": targets}


COLLATORS: dict[str, Callable[[Sequence[EncodedRow], int, int], MicroSteps]] = {
    "one row": one_row_at_a_time,
    "padded": padded_batches,
}


def pad_batch(rows: Sequence[EncodedRow], pad_token_id: int) -> dict[str, torch.Tensor]:
    """Prompt and target, padded on the right; labels on the target alone. (rows, longest) each."""
    longest = max(len(row.prompt) + len(row.target) for row in rows)
    input_ids = torch.full((len(rows), longest), pad_token_id)
    labels = torch.full_like(input_ids, IGNORE_INDEX)
    mask = torch.zeros_like(input_ids)
    for index, row in enumerate(rows):
        end = len(row.prompt) + len(row.target)
        input_ids[index, :end] = torch.tensor([*row.prompt, *row.target])
        labels[index, len(row.prompt) : end] = torch.tensor(row.target)
        mask[index, :end] = 1
    return {"input_ids": input_ids, "attention_mask": mask, "labels": labels}


def build_loop(setting: Setting) -> Repetition:
    """options: collator (a key of COLLATORS), size (rows a micro-step), fused (the optimizer), adapted, compile,
    targets_only (the logits; of padded batches).
    """
    options, device = setting.options, setting.torch_device
    model = load_weights(setting.base, setting.dtype, device)
    pad_token_id = model.config.pad_token_id or 0
    model.config.use_cache = False
    model = wrap_in_lora(model, options.get("adapted")).train()
    if options.get("compile"):
        compile_layers(model)
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    fused = {"fused": True} if options.get("fused") else {}
    optimizer = torch.optim.AdamW(weights, lr=LEARNING_RATE, betas=BETAS, weight_decay=0.0, **fused)
    collate = COLLATORS[options["collator"]]
    loss_of = target_loss if options.get("targets_only") else usual_loss

    def run(steps: int) -> Outcome:
        losses, norms, tokens = [], [], 0
        with Stopwatch(device) as watch:
            for step in setting.workload.steps[:steps]:
                total = torch.zeros((), device=device)
                for weight, inputs in collate(step, pad_token_id, options.get("size", 1)):
                    loss = weight * loss_of(model, _move(inputs, device))
                    loss.backward()
                    total += loss.detach()
                    tokens += inputs["input_ids"].numel()
                norm = nn.utils.clip_grad_norm_(weights, CLIP_NORM)
                optimizer.step()
                optimizer.zero_grad()
                losses.append(float(total))
                norms.append(float(norm))
        return Outcome(watch.seconds, tuple(losses), tuple(norms), tokens)

    return run


def usual_loss(model, inputs: Mapping[str, Any]) -> Tensor:
    """The loss that transformers computes from labels."""
    return model(**inputs).loss


def target_loss(model, inputs: Mapping[str, Any]) -> Tensor:
    """The same of padded batches, from the logits of the target tokens alone."""
    labels = inputs["labels"]
    rows, places = (labels[:, 1:] != IGNORE_INDEX).nonzero(as_tuple=True)
    logits = logits_at(model, inputs, rows, places)
    total = nn.functional.cross_entropy(logits.float(), labels[rows, places + 1], reduction="sum")
    return total / inputs["num_items_in_batch"]


def logits_at(model, inputs: Mapping[str, Any], rows: Tensor, places: Tensor) -> Tensor:
    """(tokens, vocabulary) logits of the tokens at (rows, places); the head reads no other."""
    causal = model.get_base_model() if hasattr(model, "get_base_model") else model
    read = causal.get_decoder()(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"])
    return causal.get_output_embeddings()(read.last_hidden_state[rows, places])


def _move(inputs: Mapping[str, Any], device: torch.device) -> dict[str, Any]:
    return {name: value.to(device) if hasattr(value, "to") else value for name, value in inputs.items()}
