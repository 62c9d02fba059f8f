"""The data of the planner: token counts of the datasets, ways to train, GPUs. No logic, no torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

CHECKPOINTING = "gradient_checkpointing=True"
ALL = "Experiments_setting=all_parameters"
GIB = 2**30
TARGET_TOKENS = 3  # a label and EOS


@dataclass(frozen=True)
class Texts:
    """The rows of one epoch.

    tokens: mean length of a prompt. shared: tokens of the rows per token computed, as a shared prefix is computed once.
    """

    rows: int
    tokens: float
    shared: float

    def distinct(self, rows: int | None = None) -> float:
        """Tokens that the engine computes for `rows` rows like these; None: for all of them."""
        return (self.rows if rows is None else rows) * self.tokens / self.shared

    def other_labels(self, labels: int) -> float:
        """Tokens that are added when each prompt is followed by all labels, and not by its target alone."""
        return self.rows * (labels - 1) * (TARGET_TOKENS - 1)


# Window 12, counted with the tokenizer of SmolLM2-135M; shared: in micro-batches of 4096 tokens, 8 rows a dialogue.
TEXTS: Mapping[str, Texts] = MappingProxyType(
    {
        "sample": Texts(431, 167.5, 2.35),
        "iemocap": Texts(5163, 313.6, 1.19),
        "meld": Texts(9989, 183.6, 1.99),
        "EmoryNLP": Texts(7551, 190.2, 1.9),
    }
)

# The same for plain prompts, which show the utterance alone.
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
    """A way to train. knobs: settings that choose it. stage: of ZeRO; None: 2 on several GPUs, else 0."""

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
    """One GPU, as its maker describes it.

    memory_gib: in GiB. tflops: dense bf16, in 10^12 operations a second. fp32_tflops: in fp32 without TF32.
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
