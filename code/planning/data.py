"""What plans are made of: the texts of an epoch, the ways to train, the GPUs. Data, no logic, no torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

CHECKPOINTING = "gradient_checkpointing=True"
ALL = "Experiments_setting=all_parameters"
GIB = 2**30
TARGET_TOKENS = 3  # a label and EOS


@dataclass(frozen=True)
class Texts:
    """The rows of one epoch. tokens: of a prompt, in the mean; shared: tokens of the rows for each distinct one."""

    rows: int
    tokens: float
    shared: float

    def distinct(self, rows: int | None = None) -> float:
        """Tokens that the engine computes for all of the rows, or for as many such rows."""
        return (self.rows if rows is None else rows) * self.tokens / self.shared

    def other_labels(self, labels: int) -> float:
        """Tokens that come on top where all labels hang under each prompt, in place of its target."""
        return self.rows * (labels - 1) * (TARGET_TOKENS - 1)


# Window 12, in the tokens of SmolLM2-135M; shared: in micro-batches of 4096 tokens, 8 rows of a dialogue together.
TEXTS: Mapping[str, Texts] = MappingProxyType(
    {
        "sample": Texts(431, 167.5, 2.35),
        "iemocap": Texts(5163, 313.6, 1.19),
        "meld": Texts(9989, 183.6, 1.99),
        "EmoryNLP": Texts(7551, 190.2, 1.9),
    }
)

# The same of prompts that hold the utterance alone.
PLAIN_TEXTS: Mapping[str, Texts] = MappingProxyType(
    {
        "sample": Texts(431, 36.6, 1.24),
        "iemocap": Texts(5163, 39.3, 1.23),
        "meld": Texts(9989, 37.3, 1.24),
        "EmoryNLP": Texts(7551, 40.8, 1.22),
    }
)


@dataclass(frozen=True)
class Way:
    """A way to train. knobs: what the scripts are told. stage: of ZeRO; None: 2 on several GPUs, none on one."""

    name: str
    knobs: str = ""
    lora: bool = True
    quantized: bool = False
    checkpointing: bool = False
    stage: int | None = None
    offload: bool = False


WAYS = (
    Way("LoRA"),
    Way("LoRA, checkpointing", CHECKPOINTING, checkpointing=True),
    Way("QLoRA", "quantize=nf4", quantized=True),
    Way("QLoRA, checkpointing", f"quantize=nf4 {CHECKPOINTING}", quantized=True, checkpointing=True),
    Way("all parameters", ALL, lora=False),
    Way("all parameters, checkpointing", f"{ALL} {CHECKPOINTING}", lora=False, checkpointing=True),
    Way(
        "all parameters, checkpointing, offload",
        f"{ALL} {CHECKPOINTING} offload_optimizer=True",
        lora=False,
        checkpointing=True,
        stage=2,
        offload=True,
    ),
    Way(
        "all parameters, checkpointing, ZeRO-3",
        f"{ALL} {CHECKPOINTING} deepspeed_config=<stage 3>",
        lora=False,
        checkpointing=True,
        stage=3,
    ),
)


@dataclass(frozen=True)
class Accelerator:
    """Memory of one card in GiB, and its dense products in 10^12 operations a second, as its maker states them.

    tflops: in bf16. fp32_tflops: in fp32 without TF32, as runs compute.
    """

    memory_gib: float
    tflops: float
    fp32_tflops: float


ACCELERATORS: Mapping[str, Accelerator] = MappingProxyType(
    {
        "h200": Accelerator(140, 989, 67),
        "h100": Accelerator(80, 989, 67),
        "a100": Accelerator(80, 312, 19.5),
        "a100-40": Accelerator(40, 312, 19.5),
        "l40s": Accelerator(48, 362, 91.6),
        "l4": Accelerator(24, 121, 30.3),
        "rtx4090": Accelerator(24, 165, 82.6),
        "rtx3090": Accelerator(24, 71, 35.6),
    }
)
