"""Once per run, on its first rows: does the shared-prefix pack give this base the same numbers as rows alone?"""

import sys
from dataclasses import replace

import torch

from engine.batching import MicroBatch
from engine.packing import Packer, can_share_prefixes, packer_for, pair_log_probabilities
from scoring.label_scoring import evaluating

# Mean |difference of log p| / (1 + mean |log p|): rounding stays well below, a wrong mask far above.
TOLERANCES = {torch.float32: 1e-4, torch.bfloat16: 0.04, torch.float16: 0.04}
ROWS_CHECKED = 4


def packer_that_agrees(model, batch: MicroBatch, wanted: str, pad_token_id: int, device: torch.device) -> Packer:
    """The wanted packer when the base agrees on the first rows of `batch`, else `rows`; stderr says why."""
    if wanted == "tree" and not can_share_prefixes(model):
        print("this base reads prompts in both directions: no shared prefixes, --packing rows", file=sys.stderr)
        wanted = "rows"
    if wanted != "tree":
        return packer_for(model, wanted, pad_token_id)
    chosen = slice(0, ROWS_CHECKED)
    few = replace(
        batch,
        rows=batch.rows[chosen],
        continuations=batch.continuations[chosen],
        weights=batch.weights[chosen],
    )
    try:
        packer = packer_for(model, wanted, pad_token_id)
        difference = packing_difference(model, few, packer, device)
    except (RuntimeError, TypeError, ValueError) as error:
        reason = f"does not run it ({type(error).__name__}: {str(error).splitlines()[0]})"
    else:
        if difference <= TOLERANCES[next(model.parameters()).dtype]:
            return packer
        reason = f"differs by {difference:.1%} in log p"
    print(f"warning: this base cannot share prefixes: it {reason}; using --packing rows", file=sys.stderr)
    return Packer("rows", pad_token_id)


def packing_difference(model, batch: MicroBatch, packer: Packer, device: torch.device) -> float:
    """How far log p of the target tokens differs, tree against rows, relative to 1 + mean |log p|; no dropout."""
    rows_packer = Packer("rows", packer.pad_token_id)
    with evaluating(model), torch.inference_mode():
        tree, rows = (pair_log_probabilities(model, p.pack(batch).to(device)) for p in (packer, rows_packer))
    return float((tree - rows).abs().mean() / (1 + rows.abs().mean()))
