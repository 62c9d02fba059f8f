"""Checks, once per run on its largest micro-batches, that a base gives packed rows the log p of each row alone.

The reference is a row alone: nothing before it, nothing after it, no mask, no positions given. A base that differs with
shared prefixes gets padded rows; one that differs with padded rows too, or reads ahead, is refused.
"""

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from typing import TypeVar

import numpy as np
import psutil
import torch
from torch import Tensor

from basics.errors import UserError, describe_error
from engine.batching import EncodedRow, MicroBatch
from engine.last_layer import HALF, head_in_full, log_p_of
from engine.packing import Packer, can_share_prefixes, packer_for, pair_log_probabilities
from engine.prefix_tree import PrefixTree, TokenRow
from engine.running_prompts import RunningPrompts
from scoring.label_scoring import evaluating, first_step

# Greatest |difference| of a log p, divided by 1 + |log p|. In fp32 a wrong mask or position exceeds it by far; in half
# precision it must allow for many roundings, and only gross faults exceed it. So the check is in fp32 where that fits.
TOLERANCES = {torch.float32: 1e-4, torch.bfloat16: 0.125, torch.float16: 0.03}
Answer = TypeVar("Answer")
# Whether prefixes are shared -> micro-batches of the run, one sequence for training and one for scoring.
Plan = Callable[[bool], Sequence[Sequence[MicroBatch]]]
ROOM = 1.5  # free memory that the check in fp32 needs, as a multiple of the base's size in fp32


@dataclass(frozen=True)
class Alone:
    """A row with one continuation, and the log p of its tokens when it is read alone."""

    number: int  # of the sequence in its micro-batch
    row: EncodedRow
    continuation: tuple[int, ...]
    expected: Tensor  # (tokens of the continuation,) float32, on the CPU


def packer_that_agrees(
    model, plan: Plan, wanted: str, pad_token_id: int, device: torch.device, kernel: bool = False
) -> Packer:
    """The wanted packer, or that of `rows` where the base gives other log p than alone; stderr then says why.

    wanted: `tree` or `rows`. plan: the micro-batches of the run, of which the largest are checked.

    kernel: see `packer_for`.

    Raises:
        UserError: log p are others in padded rows too; or the base reads ahead, does not run, or is out of memory.
    """
    if wanted == "tree" and not can_share_prefixes(model):
        print("this base reads prompts in both directions: no shared prefixes, --packing rows", file=sys.stderr)
        wanted = "rows"
    check, planned = _Check(model, pad_token_id, device, kernel), cache(plan)
    kind = check.in_best_precision(lambda: check.find_kind(wanted, planned))
    return packer_for(model, kind, pad_token_id, kernel)


def prompts_together(model, batches: Iterable[MicroBatch], wanted: int, pad_token_id: int, device: torch.device) -> int:
    """How many prompts `generate` may answer at once: `wanted`, or 1 where padding changes an answer."""
    check, batch = _Check(model, pad_token_id, device), max(batches, key=MicroBatch.tokens)
    if wanted == 1 or check.in_best_precision(lambda: check.pads_before(batch)):
        return wanted
    print("warning: this base reads what pads a prompt: prompts are answered one at a time", file=sys.stderr)
    return 1


def can_go_on(model, row: EncodedRow, choices: Sequence[TokenRow], pad_token_id: int, device: torch.device) -> bool:
    """Whether a base gives the same log p to a prompt that goes on from kept keys and values as to one read alone.

    row: its second half is read after its first. choices: continuations. Where it does not, stderr says so.
    """
    check = _Check(model, pad_token_id, device)
    trouble = check.in_best_precision(lambda: check.trouble_going_on(row, choices))
    if trouble:
        print(f"warning: this base cannot go on with a prompt: it {trouble}; each turn is read anew", file=sys.stderr)
    return not trouble


def hardest(batches: Sequence[MicroBatch], shares_prefixes: bool) -> list[MicroBatch]:
    """The micro-batches that are checked: the largest, and in padded rows also the one with most padding."""
    if shares_prefixes:
        return [max(batches, key=MicroBatch.tokens)]
    found = [max(batches, key=lambda batch: batch.tokens(False)), max(batches, key=MicroBatch.padding)]
    return found[: 1 if found[0] is found[1] else 2]


class _Check:
    """The checks of one base."""

    def __init__(self, model, pad_token_id: int, device: torch.device, kernel: bool = False) -> None:
        self.model, self.pad_token_id, self.device, self.kernel = model, pad_token_id, device, kernel
        self.tokens = 0  # of the micro-batch that is being checked
        self.is_causal = False  # whether it is known not to read ahead

    def in_best_precision(self, ask: Callable[[], Answer]) -> Answer:
        """Calls `ask` with the base in fp32; in its own precision, where there is no memory or its layers cannot."""
        with evaluating(self.model):
            if holds_half(self.model) and has_room(self.model, self.device):
                try:
                    with widened(self.model), torch.inference_mode():
                        return ask()
                except UserError:
                    raise
                except Exception:  # out of memory, or layers that are made for one precision
                    pass
            try:
                with torch.inference_mode():
                    return ask()
            except UserError:
                raise
            except Exception as error:
                raise UserError(f"this base cannot be used: {self._told(error)}") from error

    def _told(self, error: Exception) -> str:
        if is_out_of_memory(error):
            told = f"out of memory in the largest micro-batch, {self.tokens} tokens"
            return f"{told}; a smaller --token_budget needs less"
        return f"it does not run a row ({describe_error(error)})"

    def _read_alone(self, batch: MicroBatch) -> list[Alone]:
        """The sequences that are compared; UserError when the base reads ahead or computes no number."""
        found = [
            Alone(number, row, continuation, log_p_alone(self.model, row, continuation, self.device))
            for number, row, continuation in chosen_sequences(batch)
        ]
        if not all(one.expected.isfinite().all() for one in found):
            raise UserError("this base computes no finite log p: its weights are broken, or overflow in this precision")
        if not self.is_causal:
            self._refuse_reading_ahead(min(found, key=lambda one: len(one.row.prompt)))
            self.is_causal = True
        return found

    def _refuse_reading_ahead(self, one: Alone) -> None:
        """UserError when log p of a token changes with the tokens after it.

        Half of a prompt is read with and without the other half; where a base may read prompts in both directions, the
        whole prompt with and without a label.
        """
        cut = max(1, len(one.row.prompt) // 2) if can_share_prefixes(self.model) else len(one.row.prompt)
        start, rest = replace(one.row, prompt=one.row.prompt[:cut]), (*one.row.prompt[cut:], *one.continuation)
        cut_off, read_on = (log_p_alone(self.model, start, part, self.device) for part in (rest[:1], rest))
        if not self._is_same(cut_off, read_on[:1]):
            raise UserError(
                f"this base ({self.model.config.model_type}) reads ahead: log p of a token changes with what stands "
                "behind it, as in an encoder; give a causal language model"
            )

    def find_kind(self, wanted: str, plan: Plan) -> str:
        """`tree` where that is wanted and agrees, else `rows`."""
        for kind in ("tree", "rows") if wanted == "tree" else ("rows",):
            shares = kind == "tree"
            chosen = [batch for batches in plan(shares) if batches for batch in hardest(batches, shares)]
            trouble = next(filter(None, (self._trouble(kind, batch) for batch in chosen)), None)
            if trouble is None:
                return kind
            if kind == "tree":
                print(f"warning: this base cannot share prefixes: it {trouble}; using --packing rows", file=sys.stderr)
        raise UserError(f"this base cannot be used: in padded rows it {trouble}")

    def pads_before(self, batch: MicroBatch) -> bool:
        """Whether `generate` begins an answer in the same way when shorter prompts are padded."""
        rows = [row for _, row, _ in chosen_sequences(batch)]
        together = first_step(self.model, rows, self.pad_token_id)
        alone = torch.cat([first_step(self.model, [row], self.pad_token_id) for row in rows])
        best = alone.argmax(1, keepdim=True)
        return self._is_same(together.gather(1, best), alone.gather(1, best))

    def _trouble(self, kind: str, batch: MicroBatch) -> str | None:
        """What is wrong with a kind of packing; None where log p are those of each row alone."""
        self.tokens = batch.tokens(kind == "tree")
        alone = self._read_alone(batch)
        try:
            packed = packer_for(self.model, kind, self.pad_token_id, self.kernel).pack(batch)
            log_p = pair_log_probabilities(self.model, packed.to(self.device)).cpu()
        except Exception as error:
            if is_out_of_memory(error):
                raise
            return f"does not run them ({describe_error(error)})"
        starts = np.cumsum([0, *(len(choice) for choices in batch.continuations for choice in choices)])
        found = torch.cat([log_p[starts[one.number] :][: len(one.continuation)] for one in alone])
        expected = torch.cat([one.expected for one in alone])
        return None if self._is_same(found, expected) else f"differs by {_difference(found, expected):.1%} in log p"

    def trouble_going_on(self, row: EncodedRow, choices: Sequence[TokenRow]) -> str | None:
        """What is wrong when the second half of a prompt is read after the first; None where log p are right."""
        expected = [log_p_alone(self.model, row, choice, self.device).mean() for choice in choices]
        lengths = torch.tensor([len(choice) for choice in choices])
        try:
            running = RunningPrompts(self.model, packer_for(self.model, "tree", self.pad_token_id))
            for end in (max(1, len(row.prompt) // 2), len(row.prompt)):
                found = running.log_probabilities(row.prompt[:end], choices).cpu() / lengths
        except Exception as error:
            return f"does not run it ({describe_error(error)})"
        wanted = torch.stack(expected)
        return None if self._is_same(found, wanted) else f"differs by {_difference(found, wanted):.1%} in log p"

    def _is_same(self, found: Tensor, expected: Tensor) -> bool:
        return _difference(found, expected) <= TOLERANCES[next(self.model.parameters()).dtype]


def _difference(found: Tensor, expected: Tensor) -> float:
    return float(((found - expected).abs() / (1 + expected.abs())).max())


def chosen_sequences(batch: MicroBatch) -> list[tuple[int, EncodedRow, tuple[int, ...]]]:
    """(number in the batch, row, continuation) of up to four sequences: the shortest and the longest; in the tree, the
    one with most foreign nodes between its own, and the one with fewest nodes after such a gap.

    A base that goes by a token's place in the pack and not in its row differs there first.
    """
    every = [(row, choice) for row, choices in zip(batch.rows, batch.continuations, strict=True) for choice in choices]
    lengths = [len(row.prompt) + len(choice) for row, choice in every]
    tree = batch.tree()
    last_pair = {int(sequence): pair for pair, sequence in enumerate(tree.pair_sequences)}
    ends = [int(tree.pair_nodes[last_pair[number]]) for number in range(len(every))]
    tails = [int(tree.positions[end]) - _branching(tree, end) for end in ends]
    gaps = [end - int(tree.positions[end]) for end in ends]
    apart = [number for number, gap in enumerate(gaps) if gap] or [0]
    chosen = {lengths.index(min(lengths)), lengths.index(max(lengths))}
    chosen |= {max(apart, key=gaps.__getitem__), min(apart, key=tails.__getitem__)}
    return [(number, *every[number]) for number in sorted(chosen)]


def _branching(tree: PrefixTree, end: int) -> int:
    """The depth at which the path to a node last left the one before it in the tree; 0 where it never did."""
    steps = np.diff(tree.positions[: end + 1])
    breaks = np.flatnonzero(steps != 1)
    return int(tree.positions[breaks[-1] + 1]) if len(breaks) else 0


def log_p_alone(model, row: EncodedRow, continuation: Sequence[int], device: torch.device) -> Tensor:
    """(tokens of the continuation,) float32 on the CPU: log p of each, read with no other row and no mask.

    As for packed rows, logits are not rounded by the head: at 400, bf16 has steps of 2, far beyond a tolerance.
    """
    read = torch.tensor([[*row.prompt, *continuation[:-1]]], device=device)
    tokens = torch.tensor(continuation, device=device)
    rows = torch.arange(len(tokens), device=device)
    first = len(row.prompt) - 1
    with head_in_full(model, lambda _: first + rows, tokens):
        output = model(input_ids=read, use_cache=False)
    return log_p_of(output.logits[0, first:], rows, tokens).cpu()


def is_out_of_memory(error: Exception) -> bool:
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)


def holds_half(model) -> bool:
    """Whether some weights are in 16 bits, and none in fewer, which could not be widened."""
    kinds = {weight.dtype for weight in model.parameters()}
    return bool(kinds & {*HALF}) and kinds <= {*HALF, torch.float32}


def has_room(model, device: torch.device) -> bool:
    """Whether the base fits a second time, in fp32."""
    needed = ROOM * 4 * sum(weight.numel() for weight in model.parameters())
    free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else psutil.virtual_memory().available
    return needed < free


@contextmanager
def widened(model) -> Iterator[None]:
    """Inside, 16-bit weights and buffers are in fp32; afterwards the very same tensors are back."""
    kept = [(tensor, tensor.data) for tensor in (*model.parameters(), *model.buffers()) if tensor.dtype in HALF]
    try:
        for tensor, data in kept:
            tensor.data = data.float()
        yield
    finally:
        for tensor, data in kept:
            tensor.data = data
