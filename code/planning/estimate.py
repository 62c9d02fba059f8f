"""How much memory and arithmetic a run will take, from the base's configuration alone. Every number is an estimate.

Memory of one process: weights, gradients, optimizer state, what a micro-batch keeps for its backward pass with
the gradients of one layer beside it, and what the libraries take. Operations are counted as in
`benchmarks/flops.py`: products alone, on distinct tokens. The last layer is counted whole, as a GPU computes it; on a
CPU it takes less (`engine/last_layer.py`).
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from bases.adapters import count_trainable, is_linear
from bases.find import find_row
from bases.weights import experts_of
from basics.errors import UserError, describe_error
from engine.attention.tree_attention import NAME, attention_windows
from engine.attention.tree_ways import BLOCKS, DENSE, SEGMENTS
from engine.batching import EAGER_TOKEN_BUDGET, EncodedRow, MicroBatch
from engine.layers import decoder_layers
from engine.packing import Packer, adds_its_mask, packer_for
from planning.data import GIB, TARGET_TOKENS, WAYS, Texts, Way
from planning.meta_model import Saved, add_empty_lora, attends_in_runs, build_empty, count_saved, load_config

# Measured. cpu: Python, the libraries, batches packed ahead. cuda: the context, and gaps of the allocator.
LIBRARIES = {"cpu": 0.8 * GIB, "cuda": 0.9 * GIB}
# Bytes of a 4-bit weight: half a byte, a scale of one byte for every 64, and four bytes for every 256 scales.
NF4_BYTES = 0.5 + 1 / 64 + 4 / (64 * 256)
BUCKETS = 2 * 50_000_000  # elements that ZeRO gathers while it works, see data_utils/deepspeed_config.json
ROWS_TOGETHER = 8  # rows of one dialogue that share a prefix
# What configurations call the number of experts that a token goes through.
EXPERTS_PER_TOKEN = ("num_experts_per_tok", "top_k_experts", "moe_topk")


@dataclass(frozen=True)
class Workload:
    """The run to plan. token_budget: of a micro-batch. gpus: processes, CPUs' too. rank, dropout, modules: of LoRA."""

    texts: Texts
    token_budget: int
    gpus: int = 1
    device: torch.device = torch.device("cpu")
    dtype: torch.dtype = torch.bfloat16
    rank: int = 16
    dropout: float = 0.05
    modules: str = "auto"
    labels: int = 1  # sequences that follow each prompt: its target alone, or every label (--loss labels)


@dataclass(frozen=True)
class Measured:
    """Sizes of a model on the meta device, in numbers of weights, and of one micro-batch that went through it."""

    parameters: int
    trainable: int
    frozen_linear: int  # of the linear layers of all blocks
    trained_linear: int
    frozen_experts: float  # of the experts of all blocks: those that one token goes through
    trained_experts: float
    head: int  # of the language-model head
    hidden: int
    head_widths: float  # sum over all blocks of heads x width of a head
    saved: Saved
    nodes: int  # tokens of the micro-batch, shared ones once
    pairs: int  # (node, node) of which one attends to the other
    kept: int  # nodes whose logits are read


@dataclass(frozen=True)
class Estimate:
    """Bytes of one process, and the operations of one epoch over all processes."""

    way: Way
    trainable: int
    weights: float
    gradients: float
    optimizer: float
    activations: float
    libraries: float
    start: float  # weights as loaded, before ZeRO-3 has divided them
    main_memory: float  # sums of gradients and optimizer state that lie in main memory, not on the GPU
    saved_state: float  # on disk, to resume from: fp32 masters and moments, gathered by the first process
    flops: float

    @property
    def total(self) -> float:
        running = self.weights + self.gradients + self.optimizer + self.activations
        return max(running, self.start) + self.libraries


def plan_base(base: str, load: Workload) -> list[Estimate]:
    """An estimate for each way to train that the device and the number of processes allow.

    Raises:
        UserError: there is no such base; or it does not run without weights, as some architectures do not.
    """
    config = load_config(base)
    if not shares_prefixes(base, config):
        load = replace(load, texts=replace(load.texts, shared=1.0))
    on_gpu = load.device.type == "cuda"
    ways = [way for way in WAYS if (on_gpu or not (way.quantized or way.offload)) and (load.gpus > 1 or way.stage != 3)]
    found = {}
    try:
        for way in ways:
            kind = (way.lora, way.quantized)
            if kind not in found:
                found[kind] = measure(base, config, way, load)
    except UserError:
        raise
    except Exception as error:  # whatever an architecture does that cannot be done without numbers
        raise UserError(f"base {base} ({config.model_type}) cannot be planned: {describe_error(error)}") from error
    return [estimate(found[way.lora, way.quantized], way, load) for way in ways]


def shares_prefixes(base: str, config) -> bool:
    """Whether the rows of a base share prefixes, as far as the table and its configuration tell."""
    row = find_row(base)
    if row:
        return row.shares_prefixes
    try:
        attention_windows(config)
    except ValueError:
        return False
    return True


def packer_of(base: str, model: nn.Module, device: torch.device) -> Packer:
    """The packer of a run; but trees too where an architecture of transformers cannot share prefixes.

    Rows that share nothing are as many tokens in a tree. Padded rows have a mask whose numbers these models look at.
    """
    row = find_row(base)
    try:
        packer = packer_for(model, "tree" if row is None or row.shares_prefixes else "rows", 0)
    except ValueError:
        way = BLOCKS if model.config.get_text_config()._attn_implementation == NAME else DENSE
        packer = Packer("tree", 0, way, dtype=next(model.parameters()).dtype, additive=adds_its_mask(model))
    in_runs = device.type == "cuda" and packer.shares_prefixes and attends_in_runs(model)
    return replace(packer, way=SEGMENTS) if in_runs else packer


def measure(base: str, config, way: Way, load: Workload) -> Measured:
    """Builds the model of a way without weights, and runs one micro-batch through it on the meta device."""
    model = build_empty(config, load.dtype, load.device)
    head = model.get_output_embeddings().weight
    if way.lora:
        model = add_empty_lora(model, base, load.rank, load.dropout, load.modules, way.quantized)
    packer = packer_of(base, model, load.device)
    budget = min(load.token_budget, EAGER_TOKEN_BUDGET) if packer.additive else load.token_budget
    batch = typical_batch(load.texts, budget, load.labels)
    tree = batch.tree()
    trainable, parameters = count_trainable(model)
    layers, text = decoder_layers(model), model.config.get_text_config()
    linear = [module.weight for module in layers.modules() if is_linear(module)]
    experts = [(weight, used_share(weight, text)) for weight in experts_of(layers).values()]
    return Measured(
        parameters=parameters,
        trainable=trainable,
        frozen_linear=sum(weight.numel() for weight in linear if not weight.requires_grad),
        trained_linear=sum(weight.numel() for weight in linear if weight.requires_grad),
        frozen_experts=sum(weight.numel() * share for weight, share in experts if not weight.requires_grad),
        trained_experts=sum(weight.numel() * share for weight, share in experts if weight.requires_grad),
        head=head.numel(),
        hidden=text.hidden_size,
        head_widths=sum_head_widths(text),
        saved=count_saved(model, packer.pack(batch)),
        nodes=len(tree),
        pairs=int((tree.positions + 1).sum()),
        kept=len(set(tree.pair_nodes.tolist())),
    )


def used_share(experts: Tensor, config) -> float:
    """The share of experts, (experts, in, out), that a token goes through; 1 where the configuration does not say."""
    used = next((number for name in EXPERTS_PER_TOKEN if (number := getattr(config, name, None))), len(experts))
    mean = sum(used) / len(used) if isinstance(used, list) else used  # one for each block, as in HunYuan-A13B
    return min(1.0, mean / len(experts))


def sum_head_widths(config) -> float:
    """Heads x width of a head, summed over all blocks, which may differ; the mean where keys are wider than values."""
    total = 0.0
    for number in range(config.num_hidden_layers):
        one = config.per_layer_config[number]
        width = getattr(one, "head_dim", None) or one.hidden_size // one.num_attention_heads
        widths = [getattr(one, name, None) or width for name in ("qk_head_dim", "v_head_dim")]
        total += one.num_attention_heads * sum(widths) / 2
    return total


def typical_batch(texts: Texts, token_budget: int, labels: int = 1) -> MicroBatch:
    """A micro-batch of made-up rows of mean length, which share as much as the texts; as many as fit, at least one.

    The first of each eight rows is new; the others begin with the same tokens and end in their own. labels: sequences
    that follow each prompt; several are trained by `LabelLoss`.
    """
    length = round(texts.tokens)
    own = max(1, round((ROWS_TOGETHER * length / texts.shared - length) / (ROWS_TOGETHER - 1)))
    rows: list[EncodedRow] = []
    choices: list[tuple[tuple[int, ...], ...]] = []
    nodes = fresh = 0
    while not rows or nodes < token_budget:
        new_group = len(rows) % ROWS_TOGETHER == 0
        nodes += (length if new_group else own) + labels * (TARGET_TOKENS - 1)
        if rows and nodes > token_budget:
            break
        common = () if new_group else rows[-(len(rows) % ROWS_TOGETHER)].prompt[: length - own]
        tail = tuple(range(fresh, fresh + length - len(common)))
        starts = [fresh + len(tail) + number * TARGET_TOKENS for number in range(labels)]
        choices.append(tuple(tuple(range(start, start + TARGET_TOKENS)) for start in starts))
        fresh += len(tail) + labels * TARGET_TOKENS
        rows.append(EncodedRow(f"plan/{len(rows)}/0", "", common + tail, choices[-1][0], 1.0, 0))
    wanted = ((1.0, *(0.0,) * (labels - 1)),) * len(rows) if labels > 1 else ()
    return MicroBatch(tuple(rows), tuple(choices), (1.0,) * len(rows), wanted)


def estimate(found: Measured, way: Way, load: Workload) -> Estimate:
    """The bytes and operations of a way to train. found: `measure` of its model."""
    size = load.dtype.itemsize
    # Processes on a CPU train without DeepSpeed unless they are given its file.
    stage = way.stage if way.stage is not None else 2 * (load.gpus > 1 and load.device.type == "cuda")
    share = {level: load.gpus if stage >= level else 1 for level in (1, 2, 3)}
    in_bits = found.frozen_linear if way.quantized else 0
    trained, mixed = found.trainable, size < 4
    state = trained * (12 if mixed else 8) / share[1]  # moments, and masters in fp32
    sums = trained * 4 / share[2]
    # ZeRO-2 empties gradients bucket by bucket, and sums them where the optimizer is.
    passing = min(BUCKETS, trained) * size if stage >= 2 else mixed * trained * size
    weights = in_bits * NF4_BYTES + (found.parameters - in_bits) * size
    layer_input = found.nodes * found.hidden * size
    kept = found.saved.checkpointed(layer_input) if way.checkpointing else found.saved.total
    return Estimate(
        way=way,
        trainable=trained,
        weights=weights / share[3],
        gradients=passing + (0.0 if way.offload else sums),
        optimizer=0.0 if way.offload else state,
        activations=kept + max(found.saved.layers),
        libraries=LIBRARIES[load.device.type],
        start=weights,
        main_memory=state + sums if way.offload else 0.0,
        saved_state=12.0 * trained,
        flops=training_flops(found, way) * (load.texts.distinct() + load.texts.other_labels(load.labels)) / found.nodes,
    )


def training_flops(found: Measured, way: Way) -> float:
    """Operations of the forward and backward pass of the measured micro-batch; checkpointing runs the blocks again.

    A product costs two operations a weight and node, of experts those that the node goes through. Backward, its
    input's gradient costs as much, and its weight's again where it is trained. Attention: two products a pair forward,
    four backward.
    """
    trained = found.trained_linear + found.trained_experts
    linear = found.frozen_linear + found.frozen_experts + trained
    blocks = 2 * linear * found.nodes + 4 * found.head_widths * found.pairs
    backward = 2 * (linear + trained) * found.nodes + 8 * found.head_widths * found.pairs
    head = (2 if way.lora else 3) * 2 * found.head * found.kept
    return blocks * (2 if way.checkpointing else 1) + backward + head
