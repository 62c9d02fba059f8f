"""The part of the table of knobs (table.py) on training: how long, at which rate, and what it minimises."""

from data_utils.corpora.places import SMALL_TRAIN
from knobs.kinds import COUNT, NUMBER, PART, POSITIVE, SHARE, WHOLE, one_of
from knobs.knob import Knob
from knobs.readers import ALL_PARAMETERS, LABELS, LABELS_LOSS, MIXED, TRAINING

SMALL = "SmolLM2-135M"
TOKENS = "tokens"

RECIPE = (
    Knob(
        "num_train_epochs",
        TRAINING,
        COUNT,
        "epochs",
        "6",
        "passes over train",
        {MIXED: "8", SMALL: "2", f"{SMALL} {SMALL_TRAIN}": "3", f"{SMALL} {MIXED}": "3"},
        guesses=("epochs", "epoch", "num_epochs", "train_epochs"),
    ),
    Knob(
        "learning_rate",
        TRAINING,
        POSITIVE,
        "rate",
        "2e-4",
        "highest learning rate; from there it falls to 0 in a straight line",
        {ALL_PARAMETERS: "2e-5", SMALL: "1e-3", f"{SMALL} {ALL_PARAMETERS}": "1e-4"},
        guesses=("lr",),
    ),
    Knob(
        "warmup_ratio",
        TRAINING,
        PART,
        "warmup",
        "0.1",
        "share of the steps over which the rate rises",
        guesses=("warmup", "warmup_steps"),
    ),
    Knob("weight_decay", TRAINING, NUMBER, "decay", "0", "weight decay of AdamW"),
    Knob(
        "clip_norm", TRAINING, NUMBER, "clip", "1", "greatest gradient norm; 0: no clipping", guesses=("max_grad_norm",)
    ),
    Knob(
        "loss",
        TRAINING,
        one_of(TOKENS, LABELS),
        "loss",
        TOKENS,
        "tokens: -log p of the target's; labels: the right one against all others, by softmax over log p of each",
        later=True,
    ),
    Knob(
        "label_smoothing",
        LABELS_LOSS,
        SHARE,
        "smoothing",
        "0",
        "share of what is wanted that all labels get alike",
        later=True,
    ),
    Knob(
        "class_weights",
        TRAINING,
        PART,
        "class_weights",
        "0",
        "rows count by the share of their emotion in train to the power of minus this, 1 in the mean; 0: alike",
        later=True,
    ),
    Knob(
        "average_weights",
        TRAINING,
        SHARE,
        "average",
        "0",
        "score and keep a moving average of the weights: how much a step counts for each that counts the next; 0: none",
        later=True,
    ),
    Knob(
        "score_every",
        TRAINING,
        WHOLE,
        "score_every",
        "0",
        "optimizer steps between two scorings of the split that chooses the weights; 0: at the end of every epoch",
        later=True,
    ),
    Knob(
        "patience",
        TRAINING,
        WHOLE,
        "patience",
        "0",
        "scorings in a row without a better score that end a run; 0: it goes on",
        later=True,
    ),
)
