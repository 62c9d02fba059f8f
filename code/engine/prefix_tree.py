"""Token rows that share prefixes, packed into one sequence that holds every distinct prefix once.

The prompt of turn i is a prefix of the prompt of turn i + 1 (until the history window slides), the
emotion-prediction rows share it too, and all labels share the whole prompt. A `PrefixTree` is the trie of
such rows in depth-first order, so that its attention mask is one line: node k is visible to node q exactly
when `k <= q < end[k]`. One forward pass over the nodes yields every row's logits.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

TokenRow = Sequence[int]


@dataclass(frozen=True)
class PrefixTree:
    """A trie over token ids in depth-first order, with the (node, token) pairs that its rows are scored on.

    A *sequence* is one prompt with one of its continuations; sequences are numbered row by row. A
    continuation of n tokens gives n pairs: the node before each token, and that token. The last token of a
    continuation is predicted but never read, so it is no node.
    """

    tokens: np.ndarray  # (nodes,) int64: token id of the node
    positions: np.ndarray  # (nodes,) int64: depth, the position of the token in its row
    end: np.ndarray  # (nodes,) int64: index after the node's last descendant
    pair_nodes: np.ndarray  # (pairs,) int64: the node whose logits predict the token
    pair_tokens: np.ndarray  # (pairs,) int64: the token to predict
    pair_sequences: np.ndarray  # (pairs,) int64: the sequence that the pair belongs to
    sequence_rows: np.ndarray  # (sequences,) int64: the row of every sequence
    row_tokens: int  # tokens that the rows would hold one at a time, each sequence on its own

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def pair_weights(self) -> np.ndarray:
        """(pairs,) float64: 1 / length of the pair's continuation, so that a sequence's weights sum to 1."""
        return 1.0 / np.bincount(self.pair_sequences)[self.pair_sequences]

    @property
    def depth(self) -> int:
        """The length of the longest path."""
        return int(self.positions.max(initial=-1)) + 1

    def visibility(self, window: int | None = None) -> np.ndarray:
        """(nodes, nodes) bool: row q, column k is True where node q may attend to node k.

        window: a node sees so many nodes of its path, itself among them (sliding attention); None: all.
        """
        node = np.arange(len(self))
        visible = (node[None, :] <= node[:, None]) & (node[:, None] < self.end[None, :])
        if window is not None:
            visible &= self.positions[:, None] - self.positions[None, :] < window
        return visible

    @classmethod
    def from_rows(cls, prompt_ids: Sequence[TokenRow], continuations: Sequence[Sequence[TokenRow]]) -> "PrefixTree":
        """Builds the tree of all rows; `continuations[i]` are the token rows that may follow `prompt_ids[i]`.

        Time is linear in the tokens, but for one sort of the rows by their bytes.

        Raises:
            ValueError: a prompt or a continuation is empty, or the two lists differ in length.
        """
        sequences, lengths, rows = _join(prompt_ids, continuations)
        order = sorted(range(len(sequences)), key=lambda index: sequences[index].astype(">i4").tobytes())
        builder = _Builder(sum(map(len, sequences)), max(map(len, sequences), default=0))
        pair_nodes: list[np.ndarray] = [np.empty(0, np.int64)] * len(sequences)
        for index in order:
            path = builder.add(sequences[index])
            pair_nodes[index] = path[-lengths[index] :].copy()
        tokens, positions, end = builder.finish()
        targets = [token for row in continuations for continuation in row for token in continuation]
        return cls(
            tokens=tokens,
            positions=positions,
            end=end,
            pair_nodes=np.concatenate(pair_nodes) if pair_nodes else np.empty(0, np.int64),
            pair_tokens=np.asarray(targets, np.int64),
            pair_sequences=np.repeat(np.arange(len(sequences)), lengths),
            sequence_rows=rows,
            row_tokens=sum(map(len, sequences)),
        )


class _Builder:
    """Adds sequences in lexicographic order; keeps the path of nodes that leads to the last one."""

    def __init__(self, most_nodes: int, longest: int) -> None:
        self.tokens = np.empty(most_nodes, np.int64)
        self.positions = np.empty(most_nodes, np.int64)
        self.end = np.empty(most_nodes, np.int64)
        self.path = np.empty(longest, np.int64)
        self.last = np.empty(0, np.int64)
        self.count = 0

    def add(self, sequence: np.ndarray) -> np.ndarray:
        """Returns the nodes of `sequence`, from the root to its last token; a view that the next call changes."""
        shared = common_prefix_length(self.last, sequence)
        self.end[self.path[shared : len(self.last)]] = self.count
        new = slice(self.count, self.count + len(sequence) - shared)
        self.tokens[new] = sequence[shared:]
        self.positions[new] = np.arange(shared, len(sequence))
        self.path[shared : len(sequence)] = np.arange(new.start, new.stop)
        self.count, self.last = new.stop, sequence
        return self.path[: len(sequence)]

    def finish(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        self.end[self.path[: len(self.last)]] = self.count
        used = slice(0, self.count)
        return self.tokens[used].copy(), self.positions[used].copy(), self.end[used].copy()


def common_prefix_length(first: np.ndarray, second: np.ndarray) -> int:
    """The number of leading tokens that two token rows share."""
    shorter = min(len(first), len(second))
    differs = first[:shorter] != second[:shorter]
    return int(differs.argmax()) if differs.any() else shorter


def _join(
    prompt_ids: Sequence[TokenRow], continuations: Sequence[Sequence[TokenRow]]
) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
    """The tokens that are read (all but the last of each continuation), continuation lengths, row indices."""
    sequences, lengths, rows = [], [], []
    for row, (prompt, choices) in enumerate(zip(prompt_ids, continuations, strict=True)):
        if not len(prompt):
            raise ValueError(f"row {row}: the prompt has no token")
        for continuation in choices:
            if not len(continuation):
                raise ValueError(f"row {row}: a continuation has no token")
            sequences.append(np.asarray([*prompt, *continuation[:-1]], np.int64))
            lengths.append(len(continuation))
            rows.append(row)
    return sequences, np.asarray(lengths, np.int64), np.asarray(rows, np.int64)


def split_at_budget(
    prompt_ids: Sequence[TokenRow], continuations: Sequence[Sequence[TokenRow]], budget: int
) -> list[list[int]]:
    """Groups rows so that each group's tree has at most `budget` nodes where that is possible.

    Rows are taken in lexicographic order, which keeps those that share most together; a path that two groups
    share is computed in both. A single row that is longer than the budget gets a group of its own. Group sizes
    are evened out, since the slowest of several equal groups costs less than one full and one nearly empty.

    Returns: row indices, one list a group; every row in exactly one.
    """
    order, alone, grown = _costs_in_order(prompt_ids, continuations)
    groups = max(1, -(-sum(grown) // budget))
    even = min(budget, sum(grown) // groups + max(alone, default=0) // 2)
    return min((_fill(order, alone, grown, limit) for limit in (even, budget)), key=len)


def count_nodes(prompt_ids: Sequence[TokenRow], continuations: Sequence[Sequence[TokenRow]]) -> int:
    """About how many nodes the tree of all rows has: what continuations of one prompt share is not looked for."""
    return sum(_costs_in_order(prompt_ids, continuations)[2])


def _costs_in_order(
    prompt_ids: Sequence[TokenRow], continuations: Sequence[Sequence[TokenRow]]
) -> tuple[list[int], list[int], list[int]]:
    """Rows in lexicographic order; in this order the tokens of each alone, and those that the row before lacks."""
    rows = [np.asarray(prompt, np.int64) for prompt in prompt_ids]
    order = sorted(range(len(rows)), key=lambda index: rows[index].astype(">i4").tobytes())
    tails = [sum(len(choice) - 1 for choice in choices) for choices in continuations]
    alone = [len(rows[index]) + tails[index] for index in order]
    grown = [
        cost - (common_prefix_length(rows[order[place - 1]], rows[order[place]]) if place else 0)
        for place, cost in enumerate(alone)
    ]
    return order, alone, grown


def _fill(order: list[int], alone: list[int], grown: list[int], limit: int) -> list[list[int]]:
    """Greedy: a row joins the open group while the group's nodes stay within `limit`."""
    groups: list[list[int]] = []
    nodes = 0
    for place, row in enumerate(order):
        if groups and nodes + grown[place] <= limit:
            groups[-1].append(row)
            nodes += grown[place]
        else:
            groups.append([row])
            nodes = alone[place]
    return groups


@dataclass(frozen=True)
class BlockBucket:
    """Blocks of equally many queries that look at about the same number of keys.

    Shorter blocks are padded to the longest: a padded key repeats node 0 and is visible to nobody.
    """

    queries: np.ndarray  # (blocks, block) int64 node indices
    keys: np.ndarray  # (blocks, keys) int64 node indices
    visible: np.ndarray  # (blocks, block, keys) bool


def plan_blocks(tree: PrefixTree, block: int, buckets: int, window: int | None = None) -> list[BlockBucket]:
    """Cuts the nodes into runs of `block` queries and groups the runs into `buckets` by number of keys.

    What is left at the end, fewer than `block` queries, is a bucket of its own. window: how many nodes of its
    path a node sees, itself among them; None: all.
    """
    reach = len(tree) if window is None else window
    full = len(tree) // block * block
    starts = np.arange(0, full, block)
    keys = [visible_keys(tree, start, start + block, reach) for start in starts]
    order = sorted(range(len(starts)), key=lambda index: len(keys[index]))
    groups = [group for group in np.array_split(np.asarray(order, np.int64), buckets) if len(group)]
    plan = [_bucket(tree, starts[group], [keys[index] for index in group], block, reach) for group in groups]
    if full < len(tree):
        rest = visible_keys(tree, full, len(tree), reach)
        plan.append(_bucket(tree, np.array([full]), [rest], len(tree) - full, reach))
    return plan


def visible_keys(tree: PrefixTree, start: int, stop: int, reach: int) -> np.ndarray:
    """The nodes that any of the nodes from `start` to `stop` may see, in their order; reach: as `window` above."""
    shallowest = tree.positions[start:stop].min()
    seen = (tree.end[:start] > start) & (tree.positions[:start] > shallowest - reach)
    return np.concatenate([np.flatnonzero(seen), np.arange(start, stop)])


def _bucket(tree: PrefixTree, starts: np.ndarray, keys: list[np.ndarray], block: int, reach: int) -> BlockBucket:
    queries = starts[:, None] + np.arange(block)
    lengths = np.asarray([len(row) for row in keys])
    # A multiple of 32 keeps the rows of the score matrix aligned for the matrix units.
    width = -(-int(lengths.max()) // 32) * 32
    padded = np.zeros((len(keys), width), np.int64)
    for index, row in enumerate(keys):
        padded[index, : len(row)] = row
    real = np.arange(width) < lengths[:, None]
    visible = (padded[:, None, :] <= queries[:, :, None]) & (queries[:, :, None] < tree.end[padded][:, None, :])
    if reach < tree.depth:
        visible &= tree.positions[queries][:, :, None] - tree.positions[padded][:, None, :] < reach
    return BlockBucket(queries, padded, visible & real[:, None, :])
