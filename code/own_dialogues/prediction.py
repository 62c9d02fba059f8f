"""A file of dialogues -> emotions, chunk by chunk: progress, a whole file or none, stop and go on."""

import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from bases.find import identify_base
from basics.errors import UserError, disk_named
from basics.files import make_folder, replace_durably, sha256_of, sha256_of_text, write_atomically
from basics.json_files import parse_json
from basics.scripts import progress_bar
from dialogue_files.reading import FileCounts, read_turns
from own_dialogues.checkpoint import find_base
from own_dialogues.demonstrations import DemonstrationSource, identify_demonstrations
from own_dialogues.recognizer import CHUNK_TURNS, EmotionRecognizer
from own_dialogues.writing import COLUMNS, OUTPUTS, TurnEmotion, printer
from scoring.transitions import Follower
from training.decoding import find_filter
from training.erc_config import ERC_CONFIG_FILE, identify_checkpoint, read_erc_config


@dataclass(frozen=True)
class FileTask:
    """What is read and what is written. output: None is stdout. encoding: of the input, None: as it is found."""

    source: Path
    input_format: str
    output: Path | None
    output_format: str
    encoding: str | None = None

    @property
    def part(self) -> Path:
        """Where the output grows until it is whole."""
        return self.output.with_name(f"{self.output.name}.part")

    @property
    def state(self) -> Path:
        """How far `part` is, and what must be the same for it to go on."""
        return self.output.with_name(f"{self.output.name}.part.json")


@dataclass(frozen=True)
class Position:
    """How far a file is: turns answered, bytes written, turns that were cut.

    beliefs: `Follower.state` after these turns, None where the checkpoint is asked without transitions.
    """

    turns: int = 0
    bytes: int = 0
    shortened: int = 0
    beliefs: dict[str, Any] | None = None

    @property
    def numbers(self) -> tuple[int, int, int]:
        """What counts."""
        return self.turns, self.bytes, self.shortened


def check_output(task: FileTask) -> None:
    """Find out before anything is computed whether the output can be written.

    Raises:
        UserError: it is the input or a folder, or its folder cannot be written to.
    """
    if task.output is None:
        return
    if task.output.is_dir():
        raise UserError(f"--output {task.output} is a folder, allowed is a file")
    for written in (task.output, task.part, task.state):
        if written.exists() and written.samefile(task.source):
            raise UserError(f"--output {task.output} would replace the input {task.source}, allowed is another file")
    try:
        make_folder(task.output.parent)
        tempfile.TemporaryFile(dir=task.output.parent).close()
    except OSError as error:
        raise UserError(f"--output {task.output} cannot be written ({error.strerror})") from None


def fingerprint(
    task: FileTask,
    checkpoint: Path,
    place: tuple[torch.device, torch.dtype],
    source: DemonstrationSource,
    decode: str | None = None,
) -> dict[str, Any]:
    """What decides the output: equal fingerprints, equal bytes. place: where it is computed, and in what precision.

    decode: see `EmotionRecognizer.from_pretrained`.

    Raises:
        UserError: the base of the checkpoint is not there, or what its demonstrations or its filter come from.
    """
    device, dtype = place
    transitions = find_filter(checkpoint, read_erc_config(checkpoint).labels, decode)
    return {
        "input": sha256_of(task.source),
        "input format": task.input_format,
        "encoding": task.encoding,
        "output format": f"{task.output_format} of {', '.join(COLUMNS)}",
        "checkpoint": identify_checkpoint(checkpoint),
        "base": identify_base(find_base(checkpoint)),
        "erc_config": sha256_of(checkpoint / ERC_CONFIG_FILE),
        "demonstrations": identify_demonstrations(read_erc_config(checkpoint), source),
        "precision": str(dtype),
        "device": device.type,
        "turns of a chunk": CHUNK_TURNS,
        "transitions": transitions and sha256_of_text(transitions.render()),
    }


def find_position(task: FileTask, marks: dict[str, Any], resume: bool) -> Position:
    """Where to go on; the beginning when nothing is there to go on from.

    Raises:
        UserError: what is there was made from something else; the differences are named.
    """
    if not resume or task.output is None or not task.state.is_file():
        return Position()
    try:
        there = parse_json(task.state.read_bytes())
        position, marks_there = Position(**there["position"]), dict(there["marks"].items())
        if not all(type(number) is int and number >= 0 for number in position.numbers):
            raise ValueError
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UserError(f"{task.state}: not what this program wrote; use --resume False") from None
    changed = [f"{name} is another" for name in marks if marks_there.get(name) != marks[name]]
    if changed:
        raise UserError(f"cannot go on with {task.part}: {'; '.join(changed)}; use the same, or --resume False")
    if not task.part.exists() and task.output.is_file() and task.output.stat().st_size == position.bytes:
        os.replace(task.output, task.part)  # the last one was killed between its two last steps
    if not task.part.is_file() or task.part.stat().st_size < position.bytes:
        raise UserError(f"{task.part} is gone or shorter than {task.state} says; use --resume False")
    return position


def predict_file(
    recognizer: EmotionRecognizer, task: FileTask, counts: FileCounts, marks: dict[str, Any], position: Position
) -> Position:
    """Answer every turn of a file from a position on and write it; returns the end, for who tells the user.

    counts: of the file as it was when it was checked.

    Raises:
        UserError: the file has another number of turns by now, or, where `marks` tells of it, is another one.
    """
    turns = read_turns(task.source, task.input_format, task.encoding)
    follower = _restored(recognizer, task, position)
    silent = task.output is None and sys.stdout.isatty()  # a bar would stand between the lines
    with (
        _writer(task, recognizer.config.labels, position, marks) as write,
        progress_bar(counts.turns, "emotions", "turn", position.turns, silent) as bar,
    ):
        for rows in recognizer.predict_turns(turns, skip=position.turns, follower=follower):
            shortened = position.shortened + sum(row.shortened for row in rows)
            beliefs = follower and follower.state
            position = write(rows, Position(position.turns + len(rows), position.bytes, shortened, beliefs))
            bar.update(len(rows))
        if position.turns != counts.turns:  # said before the output takes its name
            told = f"{counts.turns} turns when it was checked, {position.turns} now"
            raise UserError(f"{task.source} was changed while it was read ({told}): run it again")
        # One that has gone since was whole while it was open.
        if marks and task.source.exists() and sha256_of(task.source) != marks["input"]:
            raise UserError(f"{task.source} was changed while it was read: run it again")
    return position


def _restored(recognizer: EmotionRecognizer, task: FileTask, position: Position) -> Follower | None:
    """What carries beliefs on from where a file was left; UserError where the state of the file does not tell."""
    follower = recognizer.follow()
    if follower and position.turns:
        try:
            follower.restore(position.beliefs or {})
        except (ValueError, KeyError, TypeError, AttributeError):
            raise UserError(f"{task.state}: not what this program wrote; use --resume False") from None
    return follower


Write = Callable[[list[TurnEmotion], Position], Position]


@contextmanager
def _writer(task: FileTask, labels: tuple[str, ...], start: Position, marks: dict[str, Any]) -> Iterator[Write]:
    """Yields what writes a chunk and says where the file then ends; it takes its name when the block ends well."""
    form = OUTPUTS[task.output_format]
    if task.output is None:
        show = printer(sys.stdout, form, labels)

        def print_chunk(rows: list[TurnEmotion], position: Position) -> Position:
            show(rows)
            return position

        yield print_chunk
        return
    head = form.head(labels) if start == Position() else ""
    if start == Position():
        task.state.unlink(missing_ok=True)
    task.part.touch()
    with open(task.part, "r+b") as stream:
        stream.truncate(start.bytes)
        stream.seek(start.bytes)

        def write(rows: list[TurnEmotion], position: Position) -> Position:
            nonlocal head
            with disk_named(task.part):
                stream.write((head + form.render(rows)).encode("utf-8"))
                stream.flush()
                os.fsync(stream.fileno())
            if not os.fstat(stream.fileno()).st_nlink:
                raise UserError(f"{task.part} was removed while it was written: start again")
            head, reached = "", replace(position, bytes=stream.tell())
            write_atomically(task.state, json.dumps({"position": asdict(reached), "marks": marks}) + "\n")
            return reached

        yield write
    replace_durably(task.part, task.output)
    task.state.unlink(missing_ok=True)
