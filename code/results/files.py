"""results.json: the scores of a run, and how it is written."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from basics.files import write_atomically
from scoring.metrics import Copying, EvalResult, MajorityBaseline
from training.folders import RESULTS_FILE

UNKNOWN = "unknown"
NO_TRAINING = "none"
GIVEN_CHECKPOINT = "given"
# How the scored model was chosen -> the words that are shown beside its score.
SELECTIONS: Mapping[str, str] = {
    "valid": "chosen on valid",
    "test": "best epoch chosen on TEST, the paper's way: not a held-out score",
    NO_TRAINING: "no training",
    GIVEN_CHECKPOINT: "checkpoint as given, not chosen by this run",
}


@dataclass(frozen=True)
class Scorecard:
    """The scores of one split, and all that must be read beside them.

    selection: a key of SELECTIONS. seen, unseen: scores of the rows whose text (as `fold_text` compares) the weights
    were, or were not, trained on; None where there are no such rows. seen_rows: ids of the seen ones; None, and no such
    scores, where it is not known what the weights were trained on. majority: the score of train's commonest label.
    by_dataset: dataset -> scores, where rows come from several. copying: how often the answer is the label of the
    nearest demonstration, where there are demonstrations. without_transitions: scores of the model's own answers, where
    `result` is of answers after label transitions. Raises ValueError for an unknown selection.
    """

    result: EvalResult
    selection: str
    split: str = "test"
    unseen: EvalResult | None = None
    seen: EvalResult | None = None
    seen_rows: tuple[str, ...] | None = ()
    majority: MajorityBaseline | None = None
    by_dataset: Mapping[str, EvalResult] = field(default_factory=dict)
    copying: Copying | None = None
    without_transitions: EvalResult | None = None

    def __post_init__(self) -> None:
        if self.selection not in SELECTIONS:
            raise ValueError(f"selection '{self.selection}': allowed are {', '.join(SELECTIONS)}")

    def to_dict(self) -> dict[str, Any]:
        """Return the entries of results.json that hold scores; `selection` is in words."""
        majority = self.majority and {"label": self.majority.label, **_plain_numbers(self.majority.result)}
        return self.result.to_dict() | {
            "split": self.split,
            "selection": SELECTIONS[self.selection],
            "unseen_text": self.unseen and _plain_numbers(self.unseen),
            "seen_text": self.seen and _plain_numbers(self.seen),
            "seen_rows": UNKNOWN if self.seen_rows is None else list(self.seen_rows),
            "majority": majority,
            "by_dataset": {name: _plain_numbers(result) for name, result in self.by_dataset.items()},
            "copying": self.copying and asdict(self.copying),
            "without_transitions": self.without_transitions and _plain_numbers(self.without_transitions),
        }


def _plain_numbers(result: EvalResult) -> dict[str, Any]:
    """The scores over all labels, without those of each label."""
    return {name: value for name, value in result.to_dict().items() if not isinstance(value, dict | list)}


def write_results(folder: Path, results: Mapping[str, Any]) -> Path:
    """Write results.json with sorted keys and unrounded numbers, whole or not at all; return its path.

    Raises ValueError for a number that is not finite (JSON has none), OSError naming the file.
    """
    path = Path(folder) / RESULTS_FILE
    text = json.dumps(results, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
    write_atomically(path, text + "\n")
    return path
