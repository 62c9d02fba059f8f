"""How far apart two ways of computing the same sums may lie: by the number format and the length of the sums."""

import torch

# The error of a sum in another order walks at random; so far do few walks stray from their mean.
DEVIATIONS = 2


def rounding(longest_sum: int, sums_in_a_row: int, dtype: torch.dtype = torch.float32) -> float:
    """The relative error that another order of summation, or another processor, may bring.

    longest_sum: terms of the longest one (a width of the model, its vocabulary, the tokens of a row). sums_in_a_row:
    how many feed the next one, some five for every layer.
    """
    return DEVIATIONS * torch.finfo(dtype).eps * longest_sum**0.5 * sums_in_a_row
