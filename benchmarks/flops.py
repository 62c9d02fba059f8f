"""Floating-point operations that a training step or a forward pass needs, of LLaMA-like models with LoRA.

Counted on n distinct tokens (nodes), p visible (node, node) pairs and k nodes whose logits are read. A product
of (a, b) with (b, c) is 2 a b c operations. W are the weights of the linear layers of all blocks, without the
head; A and B of the adapted ones; H of the head; L blocks of h heads of width d.

    forward   2 W n  +  2 (A + B) n  +  4 L h d p  +  2 H k
    backward  2 W n  +  4 (A + B) n  +  8 L h d p  +  2 H k  -  2 (Q + K + V + their A) n of the first block

Frozen weights W and H need the gradient of their input alone, A and B that of their weights too. Attention is
two products a pair forward (q k', p v) and four backward. The embeddings are frozen, so nothing asks for the
input gradient of the first block's q, k and v. Left out, as is usual: norms, softmax, activations, rotary
positions, the optimizer. Nothing is counted that a contender computes twice, pads, or does not need.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from benchmarks.workload import Work

ATTENTION_INPUTS = ("q_proj", "k_proj", "v_proj")


@dataclass(frozen=True)
class ModelShape:
    """What the operations depend on. linear: name -> (inputs, outputs) of each linear layer of one block."""

    linear: dict[str, tuple[int, int]]
    layers: int
    head_width: int  # heads x width of one
    head_weights: int  # hidden x vocabulary
    rank: int
    adapted: frozenset[str]

    @classmethod
    def of(cls, config, rank: int, adapted: Iterable[str] | None = None) -> "ModelShape":
        """From a LLaMA configuration; adapted: names of the layers with LoRA, None for all."""
        hidden, inner = config.hidden_size, config.intermediate_size
        width = getattr(config, "head_dim", None) or hidden // config.num_attention_heads
        queries, keys = width * config.num_attention_heads, width * config.num_key_value_heads
        linear = {
            "q_proj": (hidden, queries),
            "k_proj": (hidden, keys),
            "v_proj": (hidden, keys),
            "o_proj": (queries, hidden),
            "gate_proj": (hidden, inner),
            "up_proj": (hidden, inner),
            "down_proj": (inner, hidden),
        }
        names = frozenset(linear if adapted is None else adapted)
        return cls(linear, config.num_hidden_layers, queries, hidden * config.vocab_size, rank, names)

    @property
    def weights(self) -> int:
        """Of the linear layers of all blocks."""
        return self.layers * sum(inputs * outputs for inputs, outputs in self.linear.values())

    @property
    def adapter_weights(self) -> int:
        """Of all A and B."""
        return self.layers * sum(self.rank * sum(self.linear[name]) for name in self.adapted)

    @property
    def first_block_inputs(self) -> int:
        """Weights of the first block's q, k and v and of their A, whose input needs no gradient."""
        base = sum(self.linear[name][0] * self.linear[name][1] for name in ATTENTION_INPUTS)
        return base + sum(self.rank * self.linear[name][0] for name in ATTENTION_INPUTS if name in self.adapted)


def forward_flops(shape: ModelShape, work: Work) -> int:
    """Operations of scoring."""
    per_node = shape.weights + shape.adapter_weights
    attention = 4 * shape.layers * shape.head_width * work.pairs
    return 2 * per_node * work.nodes + attention + 2 * shape.head_weights * work.kept


def training_flops(shape: ModelShape, work: Work) -> int:
    """Operations of a forward and a backward pass that trains the adapters alone."""
    per_node = shape.weights + 2 * shape.adapter_weights - shape.first_block_inputs
    attention = 8 * shape.layers * shape.head_width * work.pairs
    backward = 2 * per_node * work.nodes + attention + 2 * shape.head_weights * work.kept
    return forward_flops(shape, work) + backward
