"""A DeepSpeed configuration is completed by the flags and may not say otherwise than they do."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from basics.errors import UserError
from commands import REPOSITORY
from forked_runs import ForkedRun, run_all
from tiny_models import main_command, save_base, save_rows
from training.arguments import TrainingArguments
from training.deepspeed_engine import deepspeed_config, wants_deepspeed

Configure = Callable[..., dict[str, Any]]


@pytest.fixture
def configure(tmp_path: Path) -> Configure:
    """The configuration that a file and flags make; without a file, ours."""

    def make(content: Any = None, dtype: torch.dtype = torch.float32, **flags: Any) -> dict[str, Any]:
        if content is not None:
            path = tmp_path / "given.json"
            path.write_text(content if isinstance(content, str) else json.dumps(content))
            flags["deepspeed_config"] = str(path)
        return deepspeed_config(TrainingArguments("", "", **flags), dtype)

    return make


def test_ours_is_zero_2_and_holds_nothing_that_a_flag_decides(configure: Configure) -> None:
    text = (REPOSITORY / "code/data_utils/deepspeed_config.json").read_text()
    assert list(json.loads(text)) == ["zero_optimization"]
    assert configure()["zero_optimization"]["stage"] == 2
    assert "offload_optimizer" not in configure()["zero_optimization"]


def test_zero_3_is_ready_to_use(configure: Configure) -> None:
    config = configure((REPOSITORY / "code/data_utils/deepspeed_zero3.json").read_text(), offload_optimizer=True)
    assert config["zero_optimization"]["stage"] == 3


@pytest.mark.parametrize(("dtype", "enabled"), [(torch.float32, ""), (torch.bfloat16, "bf16"), (torch.float16, "fp16")])
def test_flags_fill_in_what_the_file_leaves_out(configure: Configure, dtype: torch.dtype, enabled: str) -> None:
    config = configure({"zero_optimization": {"stage": 1}}, dtype, clip_norm=0.5, offload_optimizer=True)
    assert config["gradient_clipping"] == 0.5
    assert [name for name in ("bf16", "fp16") if config[name]["enabled"]] == [enabled][: bool(enabled)]
    assert config["zero_optimization"]["offload_optimizer"]["device"] == "cpu"
    assert (config["train_micro_batch_size_per_gpu"], config["gradient_accumulation_steps"]) == (1, 1)


@pytest.mark.parametrize("section", [None, {}, {"device": "auto"}, {"device": "cpu"}])
def test_what_the_file_leaves_open_of_the_offload_the_flag_decides(configure: Configure, section: dict | None) -> None:
    """DeepSpeed itself moves nothing where a file names no device."""
    given = {"zero_optimization": {"stage": 2, "offload_optimizer": section and section | {"buffer_count": 5}}}
    found = configure(given, offload_optimizer=True)["zero_optimization"]["offload_optimizer"]
    assert found["device"] == "cpu" and found.get("buffer_count", 5) == 5


@pytest.mark.parametrize("moves", [False, True])
def test_the_offload_is_named_once(configure: Configure, moves: bool) -> None:
    """DeepSpeed raises where a file has the old name of it beside the new one."""
    zero = {"stage": 2, "cpu_offload": moves, "offload_optimizer": {"device": "cpu" if moves else "none"}}
    for given in (zero, {"stage": 2, "cpu_offload": moves}):
        found = configure({"zero_optimization": given}, offload_optimizer=moves)["zero_optimization"]
        assert "cpu_offload" not in found
        assert (found.get("offload_optimizer", {}).get("device") == "cpu") == moves


@pytest.mark.parametrize(("given", "sums"), [("auto", "fp32"), (None, "fp32"), ("bf16", "bf16")])
def test_gradients_are_summed_in_fp32_where_the_file_leaves_it_open(
    configure: Configure, given: str | None, sums: str
) -> None:
    section = {"data_types": {"grad_accum_dtype": given}} if given else {"data_types": {}}
    config = configure({"zero_optimization": {"stage": 2}} | section, torch.bfloat16)
    assert config["data_types"] == {"grad_accum_dtype": sums}


MISSHAPEN = [
    ({"zero_optimization": True}, "zero_optimization is true, allowed is an object"),
    ({"bf16": True, "fp16": [1]}, "bf16 is true, allowed is an object; fp16 is [1], allowed is an object"),
    ({"optimizer": "AdamW", "scheduler": None}, 'optimizer is "AdamW", allowed is an object; scheduler is null'),
    ({"data_types": 5}, "data_types is 5"),
    ({"zero_optimization": {"offload_optimizer": "cpu"}}, 'zero_optimization.offload_optimizer is "cpu", allowed is'),
    ({"optimizer": {"params": [0.9]}}, "optimizer.params is [0.9], allowed is an object"),
    ({"zero_optimization": {"stage": 4}}, "zero_optimization.stage is 4, allowed are 0, 1, 2, 3"),
    ({"zero_optimization": {"stage": "2"}}, 'zero_optimization.stage is "2"'),
    ({"zero_optimization": {"stage": True}}, "zero_optimization.stage is true"),
    ({"zero_optimization": {"stage": None}}, "zero_optimization.stage is null"),
]


@pytest.mark.parametrize(("content", "told"), MISSHAPEN)
def test_values_of_another_kind_are_one_line(configure: Configure, content: dict, told: str) -> None:
    with pytest.raises(UserError, match="^--deepspeed_config .*given.json: " + re.escape(told)):
        configure(content, torch.bfloat16)


REFUSED_BY_DEEPSPEED = {
    "reduce_bucket_size": {"zero_optimization": {"stage": 2, "reduce_bucket_size": "much"}},
    "zero_optimisation is no key that DeepSpeed": {"zero_optimisation": {"stage": 2}, "wall_clock_breakdown": False},
}


@pytest.mark.parametrize(("named", "content"), REFUSED_BY_DEEPSPEED.items(), ids=["value", "key"])
def test_what_deepspeed_refuses_is_one_line(tmp_path: Path, named: str, content: dict[str, Any]) -> None:
    """In a process of its own: DeepSpeed stays where it was once begun."""
    (tmp_path / "given.json").write_text(json.dumps(content))
    flags = {"deepspeed_config": tmp_path / "given.json", "num_train_epochs": 1}
    command = main_command(save_base(tmp_path / "base"), save_rows(tmp_path), tmp_path / "run", **flags)
    (code,) = run_all([ForkedRun(command, str(tmp_path / "told.txt"))])
    told = (tmp_path / "told.txt").read_text()
    last = told.splitlines()[-1]
    assert code == 2 and "Traceback" not in told, told
    assert last.startswith("error: --deepspeed_config") and named in last
    assert ("did you mean zero_optimization?" in last) == ("zero_optimisation" in content)
    assert "wall_clock_breakdown" not in last


def test_a_file_for_another_trainer_is_read(configure: Configure) -> None:
    """`auto` is what the trainer fills in; values that agree with the flags are no fault."""
    config = configure(
        {
            "train_batch_size": 32,
            "train_micro_batch_size_per_gpu": "auto",
            "gradient_clipping": 1.0,
            "bf16": {"enabled": "auto"},
            "optimizer": {"type": "AdamW", "params": {"lr": "auto", "betas": [0.9, 0.95], "eps": 1e-8}},
            "scheduler": {"type": "auto", "params": {"warmup_num_steps": "auto"}},
            "zero_optimization": {"stage": 3, "offload_param": {"device": "cpu"}, "reduce_bucket_size": "auto"},
            "wall_clock_breakdown": False,
        }
    )
    assert config["zero_optimization"] == {"stage": 3, "offload_param": {"device": "cpu"}}
    assert config["wall_clock_breakdown"] is False
    assert not {"train_batch_size", "optimizer"} & set(config)


CONTRADICTIONS = {
    "train_batch_size 64 contradicts --batch_size 32": {"train_batch_size": 64},
    "train_micro_batch_size_per_gpu 4 contradicts --token_budget": {"train_micro_batch_size_per_gpu": 4},
    "gradient_accumulation_steps 8 contradicts --gradient_accumulation_steps 1": {"gradient_accumulation_steps": 8},
    "gradient_clipping 2.0 contradicts --clip_norm 1.0": {"gradient_clipping": 2.0},
    "bf16.enabled True contradicts --precision, which made the weights float32": {"bf16": {"enabled": True}},
    "optimizer.type Adam contradicts --learning_rate": {"optimizer": {"type": "Adam"}},
    "optimizer.params.lr 1.0 contradicts --learning_rate 0.0002": {"optimizer": {"params": {"lr": 1.0}}},
    "scheduler.type WarmupLR contradicts --warmup_ratio": {"scheduler": {"type": "WarmupLR"}},
    "scheduler.params {'warmup_num_steps': 9} contradicts --warmup_ratio": {
        "scheduler": {"type": "auto", "params": {"warmup_num_steps": 9}}
    },
    "optimizer.params.betas is [0.9, 0.999], allowed is [0.9, 0.95]": {
        "optimizer": {"params": {"betas": [0.9, 0.999]}}
    },
    "optimizer.params.eps is 1e-06, allowed is 1e-08": {"optimizer": {"params": {"eps": 1e-6}}},
    "optimizer.params.momentum is nothing of AdamW's: leave it out": {"optimizer": {"params": {"momentum": 0.9}}},
    "bf16.check_grad_overflow is false, allowed is true": {"bf16": {"check_grad_overflow": False}},
    "zero_force_ds_cpu_optimizer is true, allowed is false": {"zero_force_ds_cpu_optimizer": True},
    "zero_optimization.cpu_offload True contradicts --offload_optimizer False": {
        "zero_optimization": {"stage": 2, "cpu_offload": True}
    },
    "offload_optimizer.device cpu contradicts --offload_optimizer False": {
        "zero_optimization": {"stage": 2, "offload_optimizer": {"device": "cpu"}}
    },
}


@pytest.mark.parametrize(("message", "content"), CONTRADICTIONS.items(), ids=range(len(CONTRADICTIONS)))
def test_a_contradiction_names_file_value_and_flag(configure: Configure, message: str, content: dict[str, Any]) -> None:
    with pytest.raises(UserError) as caught:
        configure(content)
    assert message in str(caught.value) and "given.json" in str(caught.value)


def test_all_contradictions_come_in_one_line(configure: Configure) -> None:
    with pytest.raises(UserError) as caught:
        configure({"train_batch_size": 64, "gradient_clipping": 2.0})
    assert str(caught.value).count("contradicts") == 2 and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "flags", "message"),
    [
        ({}, {"offload_optimizer": True}, "stage 0 leaves nothing that --offload_optimizer True could move"),
        ({"zero_optimization": {"stage": 3}}, {"compile_layers": "True"}, "contradicts --compile_layers True"),
        ("{", {}, "cannot be read as JSON"),
        ("[]", {}, "holds no JSON object"),
    ],
)
def test_what_cannot_work_is_refused(configure: Configure, content: Any, flags: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        configure(content, **flags)


def test_one_process_needs_deepspeed_only_when_a_flag_asks() -> None:
    assert not wants_deepspeed(TrainingArguments("", ""))
    assert wants_deepspeed(TrainingArguments("", "", offload_optimizer=True))
    assert wants_deepspeed(TrainingArguments("", "", deepspeed_config="some.json"))
