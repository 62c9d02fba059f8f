"""Every setting of an experiment, once: its name, who reads it, what it may be, its default, what it means.

The three scripts take these from the environment, code/main_new.py and the row writers as flags; the checks, every
--help and the README's table are made from this one. A new knob is a new row. Standard library only: it is read
before anything is installed.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from bases.table import NO_QUANTIZATION, PRECISIONS, QUANTIZATIONS
from data_utils.labels import DATASETS as CORPORA
from data_utils.labels import UNIFIED
from knobs.kinds import (
    BASE,
    CHECKPOINT,
    COUNT,
    DATASET,
    DATASETS,
    ENCODER,
    FILE,
    FOLDER,
    FRACTION,
    NAMES,
    NUMBER,
    PART,
    POSITIVE,
    PROGRAM,
    SEED,
    SHARE,
    WHOLE,
    YES_NO,
    Kind,
    one_of,
)
from knobs.readers import (
    ADAPTERS,
    ALL_PARAMETERS,
    DEMONSTRATIONS,
    DRAWN,
    EVERY,
    FETCHED,
    GENERATION,
    HISTORY,
    LORA,
    MIXED,
    MODULES,
    PLAIN,
    PREDICTION,
    ROWS,
    RUN,
    SCORING,
    SETS,
    SPEAKERS,
    TRAINING,
    ZERO_SHOT,
    Reader,
)

NOTHING = "none"
SMALL = "SmolLM2-135M"
SPLITS_TO_SCORE = one_of("valid", "test")

Recipe = Mapping[str, str]


@dataclass(frozen=True)
class Knob:
    """One setting.

    suffix: what it is called in the name of a result folder; empty for what leaves the result as it is or stands
    there already. default: everywhere but where `recipes` says otherwise; None: it has to be said or is left out.
    recipes: words (a base, a dataset, a kind of rows, a setting; up to two) -> the default there. readers: in the
    order of their flags. also: another name under which it may be set. guesses: what people type for it, which is
    then told to be it.
    """

    name: str
    readers: tuple[Reader, ...] | Reader
    kind: Kind
    suffix: str
    default: str | None
    meaning: str
    recipes: Recipe = field(default_factory=dict)
    also: str = ""
    guesses: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if isinstance(self.readers, Reader):
            object.__setattr__(self, "readers", (self.readers,))


# The recipes are the paper's and its released scripts' (four cards, two for plain) but for the small base's own.
_PAPER_MODULES = "q_proj,k_proj,v_proj,query_key_value"
_USUAL = CORPORA["sample"].max_length
_LENGTHS = {name: str(one.max_length) for name, one in CORPORA.items() if one.max_length != _USUAL}
_ROWS = (
    Knob("FLAG", RUN, one_of("0", "1"), "", "1", "0: check the settings, say what would run, stop"),
    Knob("DRY_RUN", RUN, one_of("0", "1"), "", "0", "1: print the commands, a script that does the same; run nothing"),
    Knob("MODEL_NAME", RUN, BASE, "", SMALL, "base: a name of LLM_bases, a folder, or a hub id", guesses=("model",)),
    Knob(
        "Experiments_setting",
        RUN,
        one_of(ZERO_SHOT, LORA, ALL_PARAMETERS),
        "",
        LORA,
        "score the base as it is, train adapters, or train every parameter",
        guesses=("setting",),
    ),
    Knob("dataset", RUN, DATASET, "", "sample", "which corpus", {MIXED: "unified"}),
    Knob(
        "graphics_card",
        RUN,
        COUNT,
        "",
        "4",
        "times `accumulations`: rows of an optimizer step, whatever the number of GPUs; as many GPUs are used at most",
        {PLAIN: "2", SMALL: "1", f"{SMALL} {PLAIN}": "1"},
    ),
    Knob(
        "accumulations",
        RUN,
        COUNT,
        "",
        "8",
        "times `graphics_card`: rows of an optimizer step",
        {SMALL: "32", f"{SMALL} sample": "16", f"{SMALL} {PLAIN}": "16", f"{SMALL} {MIXED}": "16"},
        guesses=("batch_size", "gradient_accumulation_steps"),
    ),
    Knob("NPROC", RUN, COUNT, "", None, "processes on each machine; unset: the visible GPUs, and 1 without any"),
    Knob("HOSTFILE", RUN, FILE, "", None, "the machines, for a run on several, as DeepSpeed reads it"),
    Knob("ERC_ORIGINAL_DATA", RUN, FOLDER, "", None, "folder of the pickles, laid out as original_data/; unset: that"),
    Knob("ERC_PYTHON", RUN, PROGRAM, "", None, "python of an environment of your own, in place of .venv"),
    Knob("ERC_TORCH", RUN, one_of("cpu", "cuda"), "", None, "build of torch that .venv gets; unset: by nvidia-smi"),
    Knob(
        "datasets",
        SETS,
        DATASETS,
        "sets",
        "sample",
        "which corpora are mixed, or follow each other, and are scored; joined by commas",
    ),
    Knob(
        "mode", SETS, one_of("mixed", "sequence"), "mode", "mixed", "one training on the mix, or one set after another"
    ),
    Knob(
        "mix",
        SETS,
        one_of("total", "ratio", "single"),
        "mix",
        "total",
        "total: merge, then draw data_percent; ratio: draw of each, then merge; single: one set alone",
    ),
    Knob("train_on", SETS, DATASET, "trained_on", None, "the set that mix=single trains on"),
    Knob(
        "historical_window",
        HISTORY,
        WHOLE,
        "",
        "12",
        "utterances before the target that the prompt shows",
        guesses=("window",),
    ),
    Knob(
        "speaker_task",
        MODULES,
        one_of("None", "True", "True_mixed"),
        "speaker",
        "None",
        "who speaks: True: as a stage of its own, first; True_mixed: in one stage with the emotions",
    ),
    Knob("domain_base", MODULES, YES_NO, "domain_base", "False", "demonstrations from train in the main prompt"),
    Knob(
        "emotion_prediction", MODULES, YES_NO, "prediction", "False", "rows of the prediction task beside the main ones"
    ),
    Knob(
        "encoder",
        FETCHED,
        ENCODER,
        "encoder",
        "all-MiniLM-L6-v2",
        "sentence encoder: a name of LLM_bases/fetch.py, a folder, or a hub id",
        also="ENCODER",
    ),
    Knob("demonstrations", DEMONSTRATIONS, COUNT, "top", "1", "how many a prompt shows", guesses=("top_k",)),
    Knob(
        "pairing",
        DEMONSTRATIONS,
        one_of("all", "paper"),
        "pairing",
        "all",
        "whose label they have in train: any, or the row's own as in the paper; in valid and test always any",
    ),
    Knob(
        "position",
        DEMONSTRATIONS,
        one_of("last", "role"),
        "position",
        "last",
        "after the question, as in the paper, or where the released scripts have a slot",
    ),
    Knob(
        "domain_balance",
        DEMONSTRATIONS,
        YES_NO,
        "balance",
        "True",
        "of every label as many to choose from as of the rarest",
    ),
    Knob(
        "exclude_identical",
        DEMONSTRATIONS,
        YES_NO,
        "exclude_identical",
        "False",
        "no demonstration with the text of the row's utterance",
    ),
    Knob("retrieval_seed", DEMONSTRATIONS, SEED, "retrieval_seed", "42", "seed of the balancing draw"),
    Knob("speaker_epochs", SPEAKERS, COUNT, "speaker_epochs", "3", "epochs of the speaker stage", {SMALL: "1"}),
    Knob(
        "clean_text",
        ROWS,
        YES_NO,
        "clean_text",
        "False",
        "repair cp1252 control characters, which the released prompts keep",
    ),
    Knob("check_counts", ROWS, YES_NO, "check_counts", "True", "False: accept another release of the data"),
    Knob(
        "max_length",
        EVERY,
        COUNT,
        "max_length",
        str(_USUAL),
        "longest prompt and target in tokens; the oldest history goes first",
        {**_LENGTHS, PLAIN: "300", MIXED: str(UNIFIED.max_length)},
    ),
    Knob("eval_batch_size", GENERATION, COUNT, "", "8", "prompts that generate decodes together"),
    Knob(
        "chat_template",
        EVERY,
        YES_NO,
        "chat",
        "False",
        "put the prompt into the base's chat template, as a user's turn",
    ),
    Knob(
        "decode",
        EVERY,
        one_of("score", "transitions", "generate"),
        "decode",
        "score",
        "score: log p of every label; transitions: these, filtered by what was felt before; generate: greedy answer",
    ),
    Knob(
        "calibrate",
        SCORING,
        YES_NO,
        "calibrate",
        "False",
        "divide by each label's probability under the same prompt without content",
    ),
    Knob("num_beams", GENERATION, COUNT, "beams", "1", "beams of generate; 1: greedy"),
    Knob("max_new_tokens", GENERATION, COUNT, "max_new_tokens", "16", "longest answer of generate, tokens"),
    Knob(
        "repair_answers",
        GENERATION,
        YES_NO,
        "repair_answers",
        "False",
        "take an answer without a label for the label nearest by edit distance",
    ),
    Knob("score_on", EVERY, SPLITS_TO_SCORE, "score", "test", "split of the final scores; valid: test is left alone"),
    Knob(
        "precision",
        EVERY,
        one_of("auto", *PRECISIONS),
        "precision",
        "auto",
        "auto: bf16 where the device computes in it",
    ),
    Knob(
        "packing",
        EVERY,
        one_of("tree", "rows"),
        "packing",
        "tree",
        "tree: shared prefixes computed once; rows: padded rows",
    ),
    Knob("token_budget", EVERY, WHOLE, "", "0", "most tokens of one forward pass; 0: chosen for the device"),
    Knob(
        "compile_layers",
        TRAINING,
        one_of("auto", "True", "False"),
        "",
        "auto",
        "compile the model's layers; auto: where it pays and a compiler is there",
    ),
    Knob("seed", (EVERY, SETS), SEED, "seed", "42", "seed of every draw but retrieval's"),
    Knob(
        "checkpoint_dir",
        TRAINING,
        CHECKPOINT,
        "from",
        NOTHING,
        "adapter or model folder to start from; what its training decided counts, and is refused if set otherwise",
    ),
    Knob("deepspeed_config", EVERY, FILE, "deepspeed", NOTHING, "DeepSpeed's file; none: plain PyTorch in one process"),
    Knob(
        "num_train_epochs",
        TRAINING,
        COUNT,
        "epochs",
        "6",
        "passes over train",
        {MIXED: "8", SMALL: "2", f"{SMALL} sample": "3", f"{SMALL} {MIXED}": "3"},
        guesses=("epochs", "num_epochs"),
    ),
    Knob(
        "learning_rate",
        TRAINING,
        POSITIVE,
        "rate",
        "2e-4",
        "peak; linear decay to 0",
        {ALL_PARAMETERS: "2e-5", SMALL: "1e-3", f"{SMALL} {ALL_PARAMETERS}": "1e-4"},
        guesses=("lr",),
    ),
    Knob("warmup_ratio", TRAINING, PART, "warmup", "0.1", "share of the steps over which the rate rises"),
    Knob("weight_decay", TRAINING, NUMBER, "decay", "0", "AdamW's"),
    Knob("clip_norm", TRAINING, NUMBER, "clip", "1", "greatest gradient norm; 0: no clipping"),
    Knob(
        "data_percent",
        (DRAWN, SETS),
        FRACTION,
        "data",
        "1",
        "share of the training utterances that is drawn, with all their rows",
    ),
    Knob(
        "rows_per_dialogue",
        TRAINING,
        COUNT,
        "rows_per_dialogue",
        "8",
        "consecutive rows of a dialogue that stay together in a batch; 1: fully random",
    ),
    Knob("beta", PREDICTION, NUMBER, "beta", "0.1", "weight of the prediction rows in the loss (the paper's alpha)"),
    Knob(
        "select_on",
        TRAINING,
        SPLITS_TO_SCORE,
        "select",
        "valid",
        "split that chooses the best epoch; test: the paper's way, and named so beside every score",
    ),
    Knob("gradient_checkpointing", TRAINING, YES_NO, "", "False", "trade a second forward pass for memory"),
    Knob("offload_optimizer", TRAINING, YES_NO, "", "False", "keep DeepSpeed's optimizer state in main memory"),
    Knob(
        "save_steps",
        TRAINING,
        WHOLE,
        "",
        "50",
        "steps between two states from which a run can go on; 0: at the end of epochs only",
    ),
    Knob("resume", TRAINING, YES_NO, "", "False", "go on from the last saved state of the same run"),
    Knob("lora_dim", ADAPTERS, COUNT, "lora_dim", "16", "rank of the adapters", guesses=("lora_rank", "lora_r")),
    Knob("lora_alpha", ADAPTERS, COUNT, "lora_alpha", "16", "scale of the adapters times their rank"),
    Knob("lora_dropout", ADAPTERS, SHARE, "dropout", "0.05", "dropout before the adapters", {SMALL: "0"}),
    Knob(
        "lora_module_name",
        ADAPTERS,
        NAMES,
        "lora_on",
        "auto",
        "modules that get an adapter, joined by commas; all: every linear layer but the head; auto: the base's own",
        {SMALL: "all"} | dict.fromkeys(("LLaMA", "LLaMA2", "Bloom-560m"), _PAPER_MODULES),
    ),
    Knob(
        "rslora", ADAPTERS, YES_NO, "rslora", "False", "scale adapters by alpha / sqrt(rank) in place of alpha / rank"
    ),
    Knob("dora", ADAPTERS, YES_NO, "dora", "False", "also train the magnitude of each adapted output (DoRA)"),
    Knob(
        "quantize",
        ADAPTERS,
        one_of(*QUANTIZATIONS),
        "quantize",
        NO_QUANTIZATION,
        "nf4: the base in 4 bits under the adapters (QLoRA), on a GPU with bitsandbytes",
    ),
)

KNOBS: Mapping[str, Knob] = MappingProxyType({row.name: row for row in _ROWS})
