"""What ChatGLM-6B derives from its input ids: positions in two dimensions, rotations, and which token sees which.

A row is a prompt that ends with [gMASK], then `<sop>` and the answer. The prompt is read in both directions, the
answer from left to right (GLM, Du et al. 2022, arXiv 2103.10360). Rows may be padded on the left.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

ROTARY_BASE = 10_000.0


@dataclass(frozen=True)
class Marks:
    """Ids of the tokens that rows are read by. gmask, mask: either stands for the answer in the prompt."""

    sop: int
    gmask: int
    mask: int


def prompt_lengths(input_ids: Tensor, sop: int) -> Tensor:
    """(rows, 1): the place of the first `<sop>`; the number of tokens in a row without one, which is all prompt."""
    starts = input_ids == sop
    first = starts.int().argmax(1, keepdim=True)
    return torch.where(starts.any(1, keepdim=True), first, input_ids.shape[1])


def derive_positions(input_ids: Tensor, real: Tensor, marks: Marks) -> Tensor:
    """(rows, 2, tokens) int64: place in the text, and place in the answer.

    input_ids, real: (rows, tokens); real: False where a row is padded. In the prompt the first counts the tokens
    that are not padding and the second is 0. From `<sop>` on the first stays where the mask token is (the first
    [gMASK], or the first [MASK] in a row without one) and the second counts from 1.
    """
    in_text = (real.long().cumsum(1) - 1).clamp(min=0)
    in_answer = torch.arange(1, input_ids.shape[1] + 1, device=input_ids.device) - prompt_lengths(input_ids, marks.sop)
    is_gmask = input_ids == marks.gmask
    is_mark = torch.where(is_gmask.any(1, keepdim=True), is_gmask, input_ids == marks.mask)
    mark_position = in_text.gather(1, is_mark.int().argmax(1, keepdim=True))
    answers = (in_answer > 0) & is_mark.any(1, keepdim=True)
    return torch.stack((torch.where(answers, mark_position, in_text), in_answer.clamp(min=0)), dim=1)


def visible_keys(positions: Tensor, real: Tensor) -> Tensor:
    """(rows, 1, queries, keys) bool: which keys a query sees.

    positions: (rows, 2, queries) of the last `queries` tokens; real: (rows, keys), False for padding. A query sees
    what stands before it and, among the queries, every token of the prompt. Padding sees itself, so that its
    softmax is over something, and nobody else sees it.
    """
    queries, keys = positions.shape[-1], real.shape[1]
    key = torch.arange(keys, device=positions.device)
    query = key[keys - queries :, None]
    in_prompt = torch.nn.functional.pad(positions[:, 1] == 0, (keys - queries, 0), value=True)  # (rows, keys)
    visible = ((key <= query) | in_prompt[:, None]) & real[:, None].bool()
    return (visible | (key == query))[:, None]


def rotary_tables(positions: Tensor, size: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """cos and sin, (rows, 1, tokens, 2, size): for each of the two positions the angles of half a head."""
    exponents = torch.arange(0, size, 2, device=positions.device).float() / size
    # The published model keeps its frequencies in fp16, 0.75 for 0.7499: what its weights were trained with.
    frequencies = (1.0 / ROTARY_BASE**exponents).half().float()
    angles = positions.transpose(1, 2)[..., None].float() * frequencies
    angles = torch.cat((angles, angles), dim=-1)[:, None]
    return angles.cos().to(dtype), angles.sin().to(dtype)


def rotate(heads: Tensor, tables: tuple[Tensor, Tensor]) -> Tensor:
    """Queries or keys (rows, heads, tokens, d): the first half of d turned by one position, the second by the other."""
    cos, sin = tables
    halves = heads.unflatten(-1, (2, -1))
    left, right = halves.chunk(2, dim=-1)
    return (halves * cos + torch.cat((-right, left), dim=-1) * sin).flatten(-2)
