"""A base without its weights, on the meta device, where tensors have a shape and no numbers.

A forward pass over such a model takes a second, and shows which tensors autograd would keep, whatever the
architecture: the planner adds up their bytes.
"""

import sys
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bases.adapters import add_lora, choose_targets
from bases.find import find_folder, find_row
from bases.load import (
    NO_FOREIGN_CODE,
    explained,
    know_own_architectures,
    prepare_attention,
    refuse_other_than_causal,
    resolve_base,
)
from bases.quantization import describe_stored
from bases.table import SHAPES
from engine.attention import tree_attention
from engine.attention.segments import KERNEL_DTYPES
from engine.layers import decoder_layers, use_fast_lora
from engine.packing import PackedBatch, batch_loss

META = torch.device("meta")
STAND_IN = "memory_efficient_stand_in"


def load_config(base: str):
    """The configuration of a base, of its text part: from its folder, the table, or at last the hub.

    Warns where its files are quantized: they are planned as if they were not, and training may refuse them.

    Raises:
        UserError: there is no such base, or no hub to ask; or it is no causal language model.
    """
    from transformers import AutoConfig

    know_own_architectures()
    folder, row = find_folder(base), find_row(base)
    if folder is None and row and row.name in SHAPES:
        return AutoConfig.for_model(row.architecture, **SHAPES[row.name])
    source = str(folder) if folder else row.hub_id if row else resolve_base(base)
    with explained(f"the configuration of {base}"):
        whole = AutoConfig.from_pretrained(source, **NO_FOREIGN_CODE)
    config = whole.get_text_config()
    refuse_other_than_causal(base, config)
    if stored := getattr(whole, "quantization_config", None):
        print(f"warning: {describe_stored(base, stored)}; this plan is of that", file=sys.stderr)
    return config


def build_empty(config, dtype: torch.dtype, device: torch.device) -> nn.Module:
    """The model of a configuration on the meta device, with the attention that it would have on `device`.

    On a GPU in half precision that is a kernel that takes no mask; else SDPA with a dense mask.
    """
    from transformers import AttentionInterface, AttentionMaskInterface, AutoModelForCausalLM
    from transformers.masking_utils import sdpa_mask

    with META:
        model = AutoModelForCausalLM.from_config(config, dtype=dtype)
    prepare_attention(model)
    takes_ways = model.config._attn_implementation == tree_attention.NAME
    if device.type == "cuda" and takes_ways and not attends_in_runs(model):
        AttentionInterface.register(STAND_IN, attend_on_paper)
        AttentionMaskInterface.register(STAND_IN, sdpa_mask)
        model.set_attn_implementation(STAND_IN)
    model.config.use_cache = False
    return model.train()


def attends_in_runs(model: nn.Module) -> bool:
    """Whether the attention kernel without a mask takes the model: half precision, and keys as wide as values."""
    config = model.config.get_text_config()
    takes_ways = config._attn_implementation == tree_attention.NAME
    return takes_ways and next(model.parameters()).dtype in KERNEL_DTYPES and not hasattr(config, "v_head_dim")


def add_empty_lora(model: nn.Module, base: str, rank: int, dropout: float, modules: str, quantized: bool) -> nn.Module:
    """The model with LoRA adapters; over a quantized base they stay in fp32, and PEFT's own layers run.

    Else they are cast here to the base's precision, which PEFT does everywhere but on the meta device.
    """
    dtype = next(model.parameters()).dtype
    with META:
        model = add_lora(model, rank, rank, dropout, choose_targets(model, modules, base)[0])
    if not quantized:
        for module in model.modules():
            if hasattr(module, "lora_A"):
                module.lora_A.to(dtype), module.lora_B.to(dtype)
        use_fast_lora(model)
    return model.train()


class OnPaper(torch.autograd.Function):
    """Attention that computes nothing, but saves what SDPA's memory-efficient kernel saves for the backward pass:
    query, key, value, answer, one fp32 number per query, and the mask as numbers.
    """

    @staticmethod
    def forward(context, query: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> Tensor:
        """query, key (1, heads, nodes, d), value (1, heads, nodes, e), mask (1, 1, nodes, nodes) -> as value."""
        answer = torch.empty_like(value)
        sums = query.new_empty(query.shape[:3], dtype=torch.float32)
        context.save_for_backward(query, key, value, answer, sums, mask.to(query.dtype))
        return answer

    @staticmethod
    def backward(context, gradient: Tensor):
        query, key, value, *_ = context.saved_tensors
        return torch.empty_like(query), torch.empty_like(key), torch.empty_like(value), None


def attend_on_paper(module, query: Tensor, key: Tensor, value: Tensor, attention_mask, **_):
    """`OnPaper` behind transformers' attention interface; grouped keys and values are repeated for all heads."""
    groups = query.shape[1] // key.shape[1]
    key, value = (x.repeat_interleave(groups, dim=1) if groups > 1 else x for x in (key, value))
    answer = OnPaper.apply(query, key, value, attention_mask)
    return answer.transpose(1, 2).contiguous(), None


@dataclass(frozen=True)
class Saved:
    """Bytes that a forward pass keeps for the backward pass."""

    outside: int  # embeddings, masks, the head and the loss
    layers: tuple[int, ...]  # one number for each decoder layer

    @property
    def total(self) -> int:
        return self.outside + sum(self.layers)

    def checkpointed(self, layer_input: int) -> int:
        """The bytes with activation checkpointing: every layer's input, and the one layer that is computed again.

        layer_input: bytes of one layer's input.
        """
        return self.outside + len(self.layers) * layer_input + max(self.layers)


def count_saved(model: nn.Module, packed: PackedBatch) -> Saved:
    """The bytes that the loss of one micro-batch keeps; each storage counts once, parameters and buffers do not."""
    layers = decoder_layers(model)
    own = {_storage(tensor) for tensor in (*model.parameters(), *model.buffers())}
    places: dict[int, tuple[int, int]] = {}  # storage -> its bytes, the layer that kept it first
    running = [len(layers)]  # the layer that runs; one more: none

    def keep(tensor: Tensor) -> Tensor:
        if _storage(tensor) not in own:
            places.setdefault(_storage(tensor), (tensor.untyped_storage().nbytes(), running[0]))
        return tensor

    handles = []
    for number, layer in enumerate(layers):
        handles.append(layer.register_forward_pre_hook(lambda *_, number=number: running.__setitem__(0, number)))
        handles.append(layer.register_forward_hook(lambda *_: running.__setitem__(0, len(layers))))
    packed = packed.to(next(model.parameters()).device)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = batch_loss(model, packed)
    for handle in handles:
        handle.remove()
    sums = [0] * (len(layers) + 1)
    for size, place in places.values():
        sums[place] += size
    del loss  # it kept the storages alive, and so their addresses apart
    return Saved(sums[-1], tuple(sums[:-1]))


def _storage(tensor: Tensor) -> int:
    """What tells storages apart: meta tensors have one too, while all their data pointers are 0."""
    return tensor.untyped_storage()._cdata
