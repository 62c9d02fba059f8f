"""Where each run of tree nodes has to look: blocks of queries with the few keys that they can see.

The nodes before a block that any of its queries can see are the ancestors of its first node: node k < b is
visible to a node q >= b only if q lies below k, and depth-first order then puts b below k as well. So a
block of 64 queries needs its own 64 keys and one path, not the whole sequence: attention costs the depth of
the tree, not its size.
"""

from dataclasses import dataclass

import numpy as np

from engine.prefix_tree import PrefixTree


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
    keys = [_visible_keys(tree, start, start + block, reach) for start in starts]
    order = sorted(range(len(starts)), key=lambda index: len(keys[index]))
    groups = [group for group in np.array_split(np.asarray(order, np.int64), buckets) if len(group)]
    plan = [_bucket(tree, starts[group], [keys[index] for index in group], block, reach) for group in groups]
    if full < len(tree):
        rest = _visible_keys(tree, full, len(tree), reach)
        plan.append(_bucket(tree, np.array([full]), [rest], len(tree) - full, reach))
    return plan


def _visible_keys(tree: PrefixTree, start: int, stop: int, reach: int) -> np.ndarray:
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
