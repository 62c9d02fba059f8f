"""Readers of corpora and rows: pickles, corpus.yaml and the files beside it, rows and their manifests, conditions."""

import json
import pickle
import zlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from basics.files import sha256_of
from corpora import corpus_of, one_hot, small_corpus
from data_utils.corpora.reading import describe, read_corpus
from data_utils.dialogues import load_dialogues
from data_utils.examples import ROWS_VERSION
from data_utils.labels import DATASETS, LETTERS, ONE_HOT, SPLITS
from data_utils.row_files import Demonstration, Example, read_manifest, read_rows, write_rows
from data_utils.row_folders import describe_folder, is_current
from data_utils.row_sets import load_row_sets
from experiment_utils.conditions import choose_conditions, list_conditions, read_table
from tests.faults.fuzz.dialogue_targets import TOKENS as DIALOGUE_TOKENS
from tests.faults.fuzz.dialogue_targets import seeds_of
from tests.faults.fuzz.target import Target

PICKLED = tuple(DATASETS)
OWN = {"labels": ["a", "b"], "speakers": 2, "speaker_offset": 30, "metric": "weighted_f1"}
OWN |= {"unified": [], "neutral": None, "licence": ""}
LABELS = ("neutral", "surprise", "fear", "sad", "joyful", "disgust", "angry")
ROWS = (
    Example("sample/a/0", "emotion_recognition", "Speaker_0: I left at six.", "neutral"),
    Example("sample/a/1", "emotion_recognition", "Speaker_1: So?", "sad", (Demonstration("sample/b/0", "sad", 0.5),)),
)
PICKLE_TOKENS = (
    *(b"\x80\x04", b"\x95" + b"\xff" * 8, b"\x8e" + b"\xff" * 7 + b"\x7f", b"B\xff\xff\xff\x7f", b"r\xff\xff\xff\x7f"),
    *(
        b"cos\nsystem\n",
        b"\x8c\x02os\x8c\x06system\x93",
        b"2\x86" * 40,
        b"2\x86" * 1000,
        b")" + b"\x85" * 3000,
        b"\x8f",
        b"\x90",
    ),
    *(
        b"cnumpy\ndtype\n",
        b"cbuiltins\nset\n",
        b"\x8a\xff" + b"\x7f" * 255,
        b"R",
        b"b",
        b"0",
        b"2",
        b"e",
        b"u",
        b"s",
        b"h\x01",
    ),
    *(
        b"\x96" + b"\xff" * 6 + b"\x00\x00",
        b"(",
        b"t",
        b"l",
        b"d",
        b"\x94",
        b"q\x01",
        b"I9\n",
        b"L" + b"9" * 5000 + b"L\n",
    ),
)
CORPUS = (
    "name: inn\nlabels: [neutral, awe, 'no']\nneutral: neutral\nmetric: weighted_f1\nspeakers: dialogue\n"
    "licence: ours\nunified: {neutral: neutral, awe: powerful, 'no': mad}\n"
    "split: {train: 0.6, valid: 0.2, test: 0.2, seed: 7}\n"
)
TABLE = "dialogue,speaker,utterance,emotion\n" + "".join(
    f"{number},{('Ann', 'Ben')[turn % 2]},Said {turn} of {number}.,{('neutral', 'awe', 'no')[(number + turn) % 3]}\n"
    for number in range(10)
    for turn in range(3)
)
YAML_TOKENS = (
    *(
        b"&a [x, x]",
        b"*a",
        b"<<: *a",
        b"- ",
        b"? ",
        b": ",
        b"!!binary ",
        b"!!python/object:os.system ",
        b"!!timestamp ",
    ),
    *(
        b"2020-99-99",
        b"1:1:1",
        b".inf",
        b".nan",
        b"0o7",
        b"0x" + b"f" * 5000,
        b"{{{{",
        b"[[[[",
        b"---\n",
        b"%YAML 1.1\n",
        b"\t",
    ),
)
CONDITIONS = b"""groups:
  one: &one
    table: "1"
    title: first
    script: Uni
    varied: dataset
    datasets: [sample]
    settings: &all {MODEL_NAME: LLaMA2, num_train_epochs: 6, decode: generate, lr: 1.5e-4}
    seeds: [42, 43]
    tolerance: 0.5
    compare_with: plain
    rows:
      plain: {settings: {<<: *all, prompt: compact}, paper: {sample: 38.60}}
      other: {script: Plain, start_from: "one/plain/{dataset}"}
claims:
  - {system: X, by: published, scores: {meld: 60.1}, source: there, base: B, text_only: true, seeds: 3}
"""


def read_pickle(folder: Path, data: bytes) -> None:
    """As the pickle of some dataset, which one its bytes decide."""
    _load_pickle(PICKLED[zlib.crc32(data) % len(PICKLED)], folder, data)


def read_pickle_of_sample(folder: Path, data: bytes) -> None:
    """As the pickle of `sample`."""
    _load_pickle("sample", folder, data)


def _load_pickle(name: str, folder: Path, data: bytes) -> None:
    path = folder / name / f"{name}.pkl"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    load_dialogues(name, folder, check_counts=False)


@cache
def pickle_seeds() -> tuple[bytes, ...]:
    """A small corpus of each layout, in several protocols."""
    speakers = {LETTERS: "M", ONE_HOT: one_hot(1)}
    said = {"train": ["Hello.", "Go away!"], "valid": ["Oh."], "test": ["So?", "Hello."]}
    corpora = [small_corpus()]
    for spec in DATASETS.values():
        speaker = speakers.get(spec.speaker_encoding, "0")
        six = corpus_of(said, one_hot(1, spec.speakers) if spec.speaker_encoding == ONE_HOT else speaker)
        named = dict(zip(("speakers", "labels", "sentences", "train", "test", "valid"), six, strict=True))
        corpora.append([named.get(slot, {}) for slot in spec.slots])
    return tuple(pickle.dumps(one, protocol) for one in corpora for protocol in (0, 2, 4))


def read_described(folder: Path, data: bytes) -> None:
    """corpus.yaml beside a table."""
    _read_corpus(folder, data, TABLE.encode())


def read_labelled(folder: Path, data: bytes) -> None:
    """A table of a corpus."""
    _read_corpus(folder, CORPUS.encode(), data)


def _read_corpus(folder: Path, description: bytes, table: bytes) -> None:
    corpus = folder / "inn"
    corpus.mkdir(exist_ok=True)
    (corpus / "corpus.yaml").write_bytes(description)
    (corpus / "said.csv").write_bytes(table)
    list(describe(read_corpus(corpus)))


def read_row_file(folder: Path, data: bytes) -> None:
    """A file of rows."""
    path = folder / "test.json"
    path.write_bytes(data)
    read_rows(path)


def read_row_folder(folder: Path, data: bytes) -> None:
    """A manifest beside good rows."""
    _write_rows(folder, ROWS)
    (folder / "manifest.json").write_bytes(data)
    is_current(folder, {"dataset": "sample"})
    row_sets = load_row_sets(str(folder), "sample")
    row_sets.seen("test", row_sets.trained_texts)
    describe_folder(folder)


def read_row_set(folder: Path, data: bytes) -> None:
    """A file of rows whose manifest tells of it."""
    _write_rows(folder, ROWS)
    (folder / "test.json").write_bytes(data)
    (folder / "manifest.json").write_text(json.dumps(manifest_of(folder)), encoding="utf-8")
    read_manifest(folder)
    load_row_sets(str(folder), "sample")


def _write_rows(folder: Path, rows: Sequence[Example]) -> None:
    for split in SPLITS:
        if not (folder / f"{split}.json").is_file():
            write_rows(folder / f"{split}.json", rows)


def manifest_of(folder: Path) -> dict:
    """As data_process.py writes it."""
    digests = {row.id: "0123456789abcdef" for row in ROWS}
    return {
        "dataset": "sample",
        "labels": list(LABELS),
        "arguments": {"kind": "window", "historical_window": 2, "draw": {"fraction": 1.0, "seed": 42}},
        "counts": {split: {"emotion_recognition": 2} for split in SPLITS},
        "rows_version": ROWS_VERSION,
        "texts": {split: digests for split in SPLITS},
        "seen_in_train": {"valid": [], "test": []},
        "demonstrations": {"valid": {"label_agreement": 0.5}, "test": {"label_agreement": 0.5}},
        "left_out": {"sample": {"dialogues": 1, "utterances": 2}},
        "own_corpora": {"inn": OWN},
        "sha256": {f"{split}.json": sha256_of(folder / f"{split}.json") for split in SPLITS},
    }


@cache
def row_seeds() -> tuple[bytes, ...]:
    """Good rows."""
    return _in_folder(lambda folder: (folder / "test.json").read_bytes())


@cache
def manifest_seeds() -> tuple[bytes, ...]:
    """A good manifest."""
    return _in_folder(lambda folder: json.dumps(manifest_of(folder)).encode())


def _in_folder(make) -> tuple[bytes, ...]:
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as name:
        _write_rows(Path(name), ROWS)
        return (make(Path(name)),)


def read_conditions(folder: Path, data: bytes) -> None:
    """A file of conditions, and all that it lists."""
    path = folder / "conditions.yaml"
    path.write_bytes(data)
    choose_conditions(list_conditions(read_table(path)))


TARGETS = {
    "pickle_sample": Target(read_pickle_of_sample, pickle_seeds, PICKLE_TOKENS),
    "pickle": Target(read_pickle, pickle_seeds, PICKLE_TOKENS),
    "rows": Target(read_row_file, row_seeds),
    "row_set": Target(read_row_set, row_seeds),
    "manifest": Target(read_row_folder, manifest_seeds),
    "corpus_yaml": Target(read_described, lambda: (CORPUS.encode(), b"labels: [a, b]\n"), YAML_TOKENS),
    "corpus_table": Target(read_labelled, lambda: (TABLE.encode(), *seeds_of((".csv",))), DIALOGUE_TOKENS),
    "conditions": Target(read_conditions, lambda: (CONDITIONS,), YAML_TOKENS),
}
