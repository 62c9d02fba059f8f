"""How far apart two ways of computing the same sums may lie: by the number format and the length of the sums."""

import torch

# The error of a sum in another order walks at random; so far do few walks stray from their mean.
DEVIATIONS = 2
# Terms of the sums of a layer of a tiny model (`tiny_models.SIZE`): q k v, a query with a key, keys of a long row,
# the way out, gate and up, down. The gradient goes through as many again.
LAYER = (32, 8, 160, 32, 32, 48)


def rounding(*sums: int, dtype: torch.dtype = torch.float32) -> float:
    """The relative error that another order of summation, or another processor, may bring.

    sums: the terms of each sum of those that feed one another; the errors of all add up.
    """
    return DEVIATIONS * torch.finfo(dtype).eps * sum(terms**0.5 for terms in sums)
