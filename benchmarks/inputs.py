"""The base and the rows that the measurements start from."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from data_utils.labels import DATASETS
from data_utils.row_files import Example, read_manifest, read_rows
from engine.batching import EncodedRow, RowEncoder

DATASET = "meld"
KINDS = ("window", "predict")


@dataclass(frozen=True)
class Inputs:
    """A base and the folder that holds `<dataset>/<kind>` with rows."""

    base: str
    data: Path

    def has(self, dataset: str, kind: str) -> bool:
        return (self.data / dataset / kind / "manifest.json").is_file()

    def train_rows(self, dataset: str, kind: str) -> list[EncodedRow]:
        """All training rows as token ids, each with weight 1; UserError when there are none."""
        return self.encode(dataset, kind, read_rows(self._folder(dataset, kind) / "train.json"))

    def encode(self, dataset: str, kind: str, examples: Iterable[Example]) -> list[EncodedRow]:
        return self.encoder(dataset).encode(list(examples), self.labels(dataset, kind))

    def encoder(self, dataset: str) -> RowEncoder:
        from bases.load import load_tokenizer

        return RowEncoder(load_tokenizer(self.base), DATASETS[dataset].max_length)

    def valid_examples(self, dataset: str, least: int) -> list[Example]:
        """Rows of valid in file order: whole dialogues until there are at least `least`."""
        examples = read_rows(self._folder(dataset, "window") / "valid.json")
        dialogues: dict[str, list[Example]] = {}
        for example in examples:
            dialogues.setdefault(example.id.rsplit("/", 1)[0], []).append(example)
        chosen: list[Example] = []
        for dialogue in dialogues.values():
            if len(chosen) < least:
                chosen += dialogue
        return chosen

    def labels(self, dataset: str, kind: str) -> tuple[str, ...]:
        return tuple(read_manifest(self._folder(dataset, kind))["labels"])

    def _folder(self, dataset: str, kind: str) -> Path:
        return self.data / dataset / kind
