"""ALiBi over prefix trees: a bias by the node's depth, where the library counts the tokens before it."""

from functools import partial

import torch
from torch import Tensor

# Model type -> the submodule whose `build_alibi_tensor(mask, heads, dtype)` every forward pass calls.
ALIBI_MODULES = {"bloom": "transformer"}


def follow_depth(model) -> None:
    """Makes the model read depths off a tree's mask; padded rows and generation stay as they are."""
    place = ALIBI_MODULES.get(model.config.model_type)
    if place is not None:
        module = model.get_submodule(place)
        module.build_alibi_tensor = partial(build_alibi, module.build_alibi_tensor)


def build_alibi(build_for_rows, mask: Tensor, num_heads: int, dtype: torch.dtype) -> Tensor:
    """(batch * heads, 1, keys): slope of the head times the key's position in its row.

    mask: (batch, tokens) of 0 and 1 goes to `build_for_rows`, the library's own. A tree brings an additive
    mask, (batch, 1, nodes, nodes), in which a node sees its own path: as many nodes as it is deep, and itself.
    """
    if mask.ndim == 2:
        return build_for_rows(mask, num_heads, dtype)
    # Two tokens: the second has position 1, and so the slope itself.
    slopes = build_for_rows(mask.new_ones(1, 2, dtype=torch.float32), num_heads, torch.float32)[:, 0, 1]
    depth = (mask[:, 0] == 0).sum(-1) - 1  # (batch, nodes)
    return (slopes[None, :, None] * depth[:, None, :]).reshape(-1, 1, depth.shape[-1]).to(dtype)
