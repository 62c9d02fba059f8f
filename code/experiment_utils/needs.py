"""Estimates what a run of a condition needs, from its base's shape: memory of a process, minutes of one seed.

`python code/reproduce.py --estimate` writes experiments/needs.json. It is good enough for planning on an idle machine:
windows other than 12 count as 12, and the effects of modules, prompts and the order of rows are rules of thumb.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from basics.files import write_atomically
from basics.json_files import read_json
from data_utils.corpora.registry import find_dataset
from data_utils.corpora.sizes import has_small_train
from data_utils.labels import DATASETS
from data_utils.mixing import SEQUENCE
from experiment_utils.conditions import Condition
from experiment_utils.runner import ROWS_OF_SCRIPT
from knobs.environment import find_default
from knobs.readers import ALL_PARAMETERS, LABELS, LORA, PLAIN, ZERO_SHOT
from knobs.table import KNOBS, SMALL
from planning.data import ACCELERATORS, GIB, TEXTS, Texts
from planning.texts import texts_of, utterances_of

if TYPE_CHECKING:  # it takes torch, which reading the file does not need
    from planning.estimate import Estimate

NEEDS_FILE = "needs.json"
# Module -> form of the prompt -> factor of distinct tokens with the module, mean over datasets; that of the prediction
# task in steps of 32 rows, 8 of a dialogue together, which are those of four turns (compact: with window_step 6).
MORE_TOKENS = {"emotion_prediction": {"paper": 1.6, "compact": 1.7}, "domain_base": {"paper": 1.3}}
# (prompt, window_step) -> dataset -> how many times fewer distinct tokens than with the paper's prompts. This and the
# next table are counted by the benchmark: benchmarks/results/prompts.json and trees.json.
FEWER_TOKENS = {
    ("compact", "1"): {"iemocap": 1.19, "meld": 1.70, "EmoryNLP": 1.74},
    ("paper", "6"): {"iemocap": 2.00, "meld": 1.25, "EmoryNLP": 1.25},
    ("compact", "6"): {"iemocap": 2.96, "meld": 2.58, "EmoryNLP": 2.68},
}
# Dataset -> factor of tokens where rows of train are shuffled one by one, (without, with the prediction task).
DRAWN_ALONE = {"iemocap": (1.10, 1.64), "meld": (1.61, 1.90), "EmoryNLP": (1.58, 1.87)}
# Setting -> (way of the planner, cost of a training step in forward passes).
WAY_AND_PASSES = {LORA: ("LoRA", 2), ALL_PARAMETERS: ("all parameters", 3), ZERO_SHOT: ("LoRA", 2)}


@dataclass(frozen=True)
class Machine:
    """The machine that is assumed for a run. tflops: bf16 operations a second in training, in 10^12."""

    name: str
    device: str
    token_budget: int
    tflops: float


CPU = Machine("two CPU cores", "cpu", 2048, 0.43)  # benchmarks/results/amd-epyc-avx-512-bf16, a step of MELD
A100 = ACCELERATORS["a100"]
CARD = Machine("one A100", "cuda", 4096, 0.35 * A100.tflops)
TRAINED_ON_A_CPU = (SMALL, "Gemma-3-270M")


@dataclass(frozen=True)
class Needs:
    """The needs of a run. memory_gib: of one process. minutes: of one seed, with scoring. machine: in words."""

    memory_gib: float
    minutes: float
    machine: str


def estimate_all(conditions: Sequence[Condition]) -> dict[str, Needs]:
    """Name of a condition -> its needs; the plan of each base is made once.

    Texts of a corpus of one's own are counted now; conditions of datasets without counted texts are left out.
    """
    uncounted = DATASETS.keys() - TEXTS.keys()
    conditions = [one for one in conditions if not uncounted & set(one.datasets)]
    bases = dict.fromkeys(base_of(condition) for condition in conditions)
    plans = {base: _plan(base) for base in bases}
    return {one.name: estimate_needs(one, plans[base_of(one)]) for one in conditions}


def base_of(condition: Condition) -> str:
    return condition.settings.get("MODEL_NAME", SMALL)


def _setting_of(condition: Condition) -> str:
    return condition.settings.get("Experiments_setting", LORA)


def _machine_of(base: str) -> Machine:
    return CPU if base in TRAINED_ON_A_CPU else CARD


def _plan(base: str) -> "dict[str, Estimate]":
    import torch

    from planning.estimate import Workload, plan_base

    machine = _machine_of(base)
    load = Workload(TEXTS["meld"], machine.token_budget, device=torch.device(machine.device))
    return {estimate.way.name: estimate for estimate in plan_base(base, load)}


def estimate_needs(condition: Condition, plan: "Mapping[str, Estimate]") -> Needs:
    """The needs of one condition. plan: name of a way -> its estimate for an epoch of MELD."""
    setting, machine = _setting_of(condition), _machine_of(base_of(condition))
    way, passes = WAY_AND_PASSES[setting]
    estimate = plan[way]
    per_token = estimate.flops / TEXTS["meld"].distinct()  # of a training step
    tokens = _training_tokens(condition) + _scored_tokens(condition) / passes
    memory = estimate.weights + estimate.libraries if setting == ZERO_SHOT else estimate.total
    return Needs(
        memory_gib=round(memory / GIB, 1),
        minutes=round(tokens * per_token / (machine.tflops * 1e12) / 60, 1),
        machine=_name_machine(machine, memory),
    )


def _name_machine(machine: Machine, memory: float) -> str:
    """The machine in words, with as many cards as hold the run when ZeRO-3 divides weights and optimizer state."""
    cards = math.ceil(memory / (A100.memory_gib * GIB))
    return machine.name if machine is CPU or cards == 1 else f"{cards} A100s with ZeRO-3"


def _epochs(condition: Condition) -> int:
    return 0 if _setting_of(condition) == ZERO_SHOT else _value_of(condition, "num_train_epochs")


def _value_of(condition: Condition, name: str) -> int:
    """A whole number that the condition sets, or that its script takes by default."""
    settings = {"dataset": condition.datasets[0], "Experiments_setting": LORA} | dict(condition.settings)
    small = condition.has_own_labels and has_small_train(condition.datasets[0])
    usual = find_default(KNOBS[name], ROWS_OF_SCRIPT[condition.script], settings, base_of(condition), small)
    return int(condition.settings.get(name, usual))


def _texts_of(condition: Condition, dataset: str) -> Texts:
    """The token counts of a dataset's rows for the condition's script."""
    return texts_of(dataset, plain=not _shows_history(condition))


def _train_tokens_of(condition: Condition, dataset: str) -> float:
    texts = _texts_of(condition, dataset)
    tokens = texts.distinct()
    for module, factors in MORE_TOKENS.items():
        tokens *= factors.get(_form(condition), 1) if condition.settings.get(module) == "True" else 1
    if condition.settings.get("loss") == LABELS:
        tokens += texts.other_labels(len(find_dataset(dataset).labels))
    if condition.settings.get("rows_per_dialogue") == "1" and _shows_history(condition):
        predicts = condition.settings.get("emotion_prediction") == "True"
        tokens *= DRAWN_ALONE.get(dataset, (1, 1))[predicts]
    return tokens / _times_fewer(condition, dataset)


def _shows_history(condition: Condition) -> bool:
    return ROWS_OF_SCRIPT[condition.script] != PLAIN


def _form(condition: Condition) -> str:
    return condition.settings.get("prompt", "paper")


def _times_fewer(condition: Condition, dataset: str) -> float:
    """How many times fewer distinct tokens the condition's prompts have than the paper's."""
    form = _form(condition), condition.settings.get("window_step", "1")
    return FEWER_TOKENS.get(form, {}).get(dataset, 1.0) if _shows_history(condition) else 1.0


def _stages(condition: Condition) -> list[tuple[str, ...]]:
    """The datasets that are trained on together, stage after stage; every stage scores all of the condition."""
    if only := condition.settings.get("train_on"):
        return [(only,)]
    one_by_one = condition.settings.get("mode") == SEQUENCE
    return [(dataset,) for dataset in condition.datasets] if one_by_one else [condition.datasets]


def _share(condition: Condition) -> float:
    return float(condition.settings.get("data_percent", 1))


def _training_tokens(condition: Condition) -> float:
    """Distinct tokens of all epochs and stages."""
    datasets = [dataset for stage in _stages(condition) for dataset in stage]
    total = sum(_train_tokens_of(condition, dataset) for dataset in datasets) * _epochs(condition)
    if condition.settings.get("speaker_task") == "True":
        total += _value_of(condition, "speaker_epochs") * sum(
            texts_of(dataset, plain=True).distinct() for dataset in datasets
        )
    return total * _share(condition)


def _scored_tokens(condition: Condition) -> float:
    """Distinct tokens that are scored: the split that chooses, each time, and the final one after each stage."""
    stages = _stages(condition)
    scorings = sum(_scorings(condition, stage) for stage in stages)
    chooses = condition.settings.get("select_on", "valid")
    total = 0.0
    for dataset in condition.datasets:
        counts = utterances_of(dataset)
        rows = scorings * counts[chooses] + len(stages) * counts[condition.split]
        total += _texts_of(condition, dataset).distinct(rows) / _times_fewer(condition, dataset)
    return total


def _scorings(condition: Condition, stage: Sequence[str]) -> int:
    """How often the weights of a stage are scored on the split that chooses them."""
    epochs, every = _epochs(condition), _value_of(condition, "score_every")
    if not every or not epochs:
        return epochs
    tasks = 2 if condition.settings.get("emotion_prediction") == "True" else 1  # twice as many rows
    rows = tasks * _share(condition) * sum(_texts_of(condition, dataset).rows for dataset in stage)
    batch = _value_of(condition, "graphics_card") * _value_of(condition, "accumulations")
    return math.ceil(epochs * math.ceil(rows / batch) / every)


def read_needs(folder: Path) -> dict[str, Needs]:
    """Reads needs.json of a folder; {} where it is not there."""
    path = folder / NEEDS_FILE
    content = read_json(path) if path.is_file() else {}
    return {name: Needs(**of) for name, of in content.items()}


def write_needs(needs: Mapping[str, Needs], folder: Path) -> Path:
    """Writes needs.json into a folder; returns its path."""
    path = folder / NEEDS_FILE
    content = {name: asdict(of) for name, of in needs.items()}
    write_atomically(path, json.dumps(content, indent=1) + "\n")
    return path
