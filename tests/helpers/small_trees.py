"""Token rows small enough to see their tree."""

from hypothesis import strategies as st

from engine.prefix_tree import PrefixTree

TOKEN = st.integers(0, 2)  # few tokens, so that prefixes are shared often
PROMPT = st.lists(TOKEN, min_size=1, max_size=7)
CONTINUATIONS = st.lists(st.lists(TOKEN, min_size=1, max_size=4), min_size=1, max_size=4)
ROWS = st.lists(st.tuples(PROMPT, CONTINUATIONS), min_size=1, max_size=8)


def build(rows) -> PrefixTree:
    return PrefixTree.from_rows([prompt for prompt, _ in rows], [choices for _, choices in rows])


def path_to(tree: PrefixTree, node: int) -> tuple[int, ...]:
    """The tokens that a node may attend to, in order."""
    return tuple(tree.tokens[k] for k in range(node + 1) if k <= node < tree.end[k])
