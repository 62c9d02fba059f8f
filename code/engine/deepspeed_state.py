"""The state of a DeepSpeed engine as whole tensors by name, in the form of `PlainEngine.state`.

So a run of N processes can be resumed by M, with ZeRO or without. All processes call these functions
together. ZeRO keeps fp32 masters and moments in flat partitions; DeepSpeed's safe_get and safe_set functions map
them to parameters. Without ZeRO (stage 0) AdamW holds one master for each parameter.
"""

from typing import Any

import torch
from torch import Tensor, nn

MOMENTS = ("exp_avg", "exp_avg_sq")


def is_sharded(model: nn.Module) -> bool:
    """Whether ZeRO-3 has left this process only a part of every weight."""
    return any(hasattr(parameter, "ds_id") for parameter in model.parameters())


def gather_weights(model: nn.Module, trainable_only: bool) -> dict[str, Tensor] | None:
    """The state dict of a model that ZeRO-3 has sharded, whole, on the first process's CPU; empty on the others.

    None for a model that is not sharded: its own state dict will do. Weights that are tied stay one tensor.
    """
    if not is_sharded(model):
        return None
    import deepspeed

    first = torch.distributed.get_rank() == 0
    whole: dict[int, Tensor] = {}
    state: dict[str, Tensor] = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        if trainable_only and not tensor.requires_grad:
            continue
        if id(tensor) not in whole:
            with deepspeed.zero.GatheredParameters([tensor]):
                whole[id(tensor)] = tensor.detach().cpu().clone() if first else torch.empty(0)
        state[name] = whole[id(tensor)]
    return state if first else {}


def gather_state(named: dict[str, nn.Parameter], adam: torch.optim.Optimizer, stage: int) -> dict[str, Any]:
    """fp32 weights and AdamW moments of every trainable parameter on the first process; empty on the others.

    Without ZeRO, a weight that never had a gradient, such as of an unused expert, has no moments.
    """
    from deepspeed.utils import safe_get_full_fp32_param, safe_get_full_optimizer_state

    first = torch.distributed.get_rank() == 0
    step = next((state["step"] for state in adam.state.values() if "step" in state), None)
    whole = _whole_masters(named, adam) if stage == 0 else {}
    weights: dict[str, Tensor] = {}
    moments: dict[str, dict[str, Tensor]] = {}
    for name, parameter in named.items():
        if stage == 0:
            found = {"": whole[name], **adam.state.get(whole[name], {})}
        else:
            found = {"": safe_get_full_fp32_param(parameter)}
            found |= {key: safe_get_full_optimizer_state(parameter, key) for key in MOMENTS if step is not None}
            found |= {"step": torch.as_tensor(float(step))} if step is not None else {}
        if first:
            kept = {key: tensor.detach().to("cpu", torch.float32, copy=True) for key, tensor in found.items()}
            weights[name] = kept.pop("")
            moments[name] = kept
    return {"weights": weights, "moments": moments}


def restore_state(named: dict[str, nn.Parameter], engine, state: dict[str, Any]) -> None:
    """Puts weights and moments of `gather_state` or of `PlainEngine.state` where `engine` (DeepSpeed's) keeps them."""
    stage, adam = engine.zero_optimization_stage(), engine.basic_optimizer
    moments = {name: values for name, values in state["moments"].items() if values}
    if moments and stage:
        step = max(float(values["step"]) for values in moments.values())
        flats = engine.optimizer.fp32_partitioned_groups_flat if stage == 3 else adam_parameters(adam)
        for flat in flats:
            adam.state[flat] = {"step": torch.tensor(step, device=flat.device)}
            adam.state[flat] |= {key: torch.zeros_like(flat) for key in MOMENTS}
    restore = {0: _restore_whole, 3: _restore_shards}.get(stage, _restore_partitions)
    with torch.no_grad():
        restore(named, engine, state["weights"], moments)


def adam_parameters(adam: torch.optim.Optimizer) -> list[Tensor]:
    return [parameter for group in adam.param_groups for parameter in group["params"]]


def _whole_masters(named: dict[str, nn.Parameter], adam: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Name -> the tensor that AdamW updates without ZeRO: the parameter, or its fp32 copy."""
    return dict(zip(named, adam_parameters(adam), strict=True))


def _restore_whole(named, engine, weights, moments) -> None:
    adam = engine.basic_optimizer
    for name, master in _whole_masters(named, adam).items():
        master.copy_(weights[name])
        named[name].copy_(weights[name])
        if name in moments:
            adam.state[master] = {key: values.to(master, copy=True) for key, values in moments[name].items()}


def _restore_partitions(named, engine, weights, moments) -> None:
    """ZeRO-1 and ZeRO-2: the masters, then the weights that are rounded from them."""
    from deepspeed.utils import safe_set_full_fp32_param, safe_set_full_optimizer_state

    if moments:
        engine.optimizer._lazy_init_hp_params_optimizer_state()  # DeepSpeed does so in its first step
    for name, parameter in named.items():
        safe_set_full_fp32_param(parameter, weights[name])
        for key in MOMENTS if name in moments else ():
            safe_set_full_optimizer_state(parameter, moments[name][key], key)
    engine.optimizer.update_lp_params()


def _restore_shards(named, engine, weights, moments) -> None:
    """ZeRO-3: this process's part of each tensor; DeepSpeed's safe_set_full_* fail where the parts are uneven."""
    import deepspeed
    from deepspeed.utils import safe_set_local_fp32_param, safe_set_local_optimizer_state

    for name, parameter in named.items():
        safe_set_local_fp32_param(parameter, _own_part(weights[name], parameter))
        for key in MOMENTS if name in moments else ():
            safe_set_local_optimizer_state(parameter, _own_part(moments[name][key], parameter), key)
        with deepspeed.zero.GatheredParameters([parameter], modifier_rank=0):
            if torch.distributed.get_rank() == 0:
                parameter.copy_(weights[name])


def _own_part(whole: Tensor, parameter: nn.Parameter) -> Tensor:
    """The elements of a tensor that this process keeps, padded with zeros behind the last."""
    size = parameter.ds_tensor.numel()
    start = size * torch.distributed.get_rank()
    part = whole.flatten()[start : start + size]
    return nn.functional.pad(part, (0, size - part.numel()))
