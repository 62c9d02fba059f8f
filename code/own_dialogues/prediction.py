"""Files of dialogues -> emotions, one by one and chunk by chunk: progress, whole files or none, stop and go on."""

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import torch

from bases.find import identify_base
from basics.errors import UserError, as_line, disk_named
from basics.files import replace_durably, sha256_of, sha256_of_text, write_atomically
from basics.json_files import parse_json
from basics.locks import alone_at, lock_beside
from basics.scripts import progress_bar
from basics.words import counted
from dialogue_files.reading import FileCounts, read_turns
from own_dialogues.checkpoint import find_base
from own_dialogues.demonstrations import DemonstrationSource, identify_demonstrations
from own_dialogues.recognizer import CHUNK_TURNS, EmotionRecognizer
from own_dialogues.tasks import FileTask
from own_dialogues.writing import COLUMNS, OUTPUTS, TurnEmotion, printer
from scoring.transitions import Follower
from training.decoding import find_filter
from training.erc_config import ERC_CONFIG_FILE, identify_checkpoint, read_erc_config


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


def fingerprint(task: FileTask, model_marks: Mapping[str, Any]) -> dict[str, Any]:
    """What decides the output: equal fingerprints, equal bytes. model_marks: see `fingerprint_model`."""
    return {
        "input": sha256_of(task.source),
        "input format": task.input_format,
        "encoding": task.encoding,
        "output format": f"{task.output_format} of {', '.join(COLUMNS)}",
        **model_marks,
    }


def fingerprint_model(
    checkpoint: Path, place: tuple[torch.device, torch.dtype], source: DemonstrationSource, decode: str | None = None
) -> dict[str, Any]:
    """What decides the answers to any input. place: where they are computed, and in what precision.

    decode: see `EmotionRecognizer.from_pretrained`.

    Raises:
        UserError: the base of the checkpoint is not there, or what its demonstrations or its filter come from.
    """
    device, dtype = place
    transitions = find_filter(checkpoint, read_erc_config(checkpoint).labels, decode)
    return {
        "checkpoint": identify_checkpoint(checkpoint),
        "base": identify_base(find_base(checkpoint)),
        "erc_config": sha256_of(checkpoint / ERC_CONFIG_FILE),
        "demonstrations": identify_demonstrations(read_erc_config(checkpoint), source),
        "precision": str(dtype),
        "device": device.type,
        "turns of a chunk": CHUNK_TURNS,
        "transitions": transitions and sha256_of_text(transitions.render()),
    }


def find_position(task: FileTask, marks: Mapping[str, Any], turns: int, anew: bool = False) -> Position:
    """Where to go on; the beginning when nothing is there to go on from. turns: of the whole input.

    anew: where the input, or the size of what was made, is not as it was left, the file is answered from its beginning.

    Raises:
        UserError: what is there was made from something else; the differences are named.
    """
    if not task.state.is_file():
        return Position()
    try:
        there = parse_json(task.state.read_bytes())
        position, marks_there = Position(**there["position"]), dict(there["marks"].items())
        if not all(type(number) is int and number >= 0 for number in position.numbers):
            raise ValueError
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UserError(f"{task.state}: not what this program wrote; use --resume False") from None
    changed = [name for name in marks if marks_there.get(name) != marks[name]]
    if changed and not (anew and changed == ["input"]):
        told = "; ".join(f"{name} is another" for name in changed)
        raise UserError(f"cannot go on with {task.output}: {told}; use the same, or --resume False")
    is_there = task.part.is_file() and task.part.stat().st_size >= position.bytes
    if is_there or (position.turns == turns and task.is_whole(position.bytes)):
        return Position() if changed else position
    if not anew:
        raise UserError(f"{task.part} is gone or shorter than {task.state} says; use --resume False")
    return Position()


def predict_file(
    recognizer: EmotionRecognizer,
    task: FileTask,
    counts: FileCounts,
    marks: Mapping[str, Any],
    position: Position,
    advance: Callable[[int], object] = lambda turns: None,
) -> Position:
    """Answer every turn of a file from a position on and write it; returns the end, for who tells the user.

    The state of the output stays beside it: who called removes it.
    counts: of the file as it was when it was checked. advance: is told how many turns have been written.

    Raises:
        UserError: the file has another number of turns by now, or, where `marks` tells of it, is another one.
    """
    turns = read_turns(task.source, task.input_format, task.encoding)
    follower = _restored(recognizer, task, position)
    with _writer(task, recognizer.config.labels, position, marks) as write:
        for rows in recognizer.predict_turns(turns, skip=position.turns, follower=follower):
            shortened = position.shortened + sum(row.shortened for row in rows)
            beliefs = follower and follower.state
            position = write(rows, Position(position.turns + len(rows), position.bytes, shortened, beliefs))
            advance(len(rows))
        if position.turns != counts.turns:  # said before the output takes its name
            told = f"{counted(counts.turns, 'turn')} when it was checked, {position.turns:,} now"
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
def _writer(task: FileTask, labels: tuple[str, ...], start: Position, marks: Mapping[str, Any]) -> Iterator[Write]:
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
    with _grown_from(task.part, start.bytes) as stream:

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


@contextmanager
def _grown_from(path: Path, size: int) -> Iterator[BinaryIO]:
    """A file that grows behind its first `size` bytes, made where it lacks; an OSError of it names it."""
    path.touch()
    os.truncate(path, size)
    stream = open(path, "ab")  # noqa: SIM115 - what fails inside may be of other files, and closing is none of that
    try:
        yield stream
    finally:
        with disk_named(path):  # what a full disk has not taken is tried again
            stream.close()


class FileRun:
    """Files that one model answers, one after the other.

    files: each with its counts, as it was when it was checked. model_marks: see `fingerprint_model`, None where all is
    printed. The state of an output stays until all are whole: so a run that is stopped goes on with the others. Of
    several outputs each is locked while it is written, a single one from the beginning.
    """

    def __init__(
        self, files: Sequence[tuple[FileTask, FileCounts]], model_marks: Mapping[str, Any] | None, resume: bool
    ) -> None:
        self.files, self.resume, self.is_several = files, resume, len(files) > 1
        self.marks = [fingerprint(task, model_marks) if task.output else {} for task, _ in files]

    def alone(self) -> AbstractContextManager[None]:
        """Inside, no other program writes the output of a run of one file; UserError: one does."""
        return nullcontext() if self.is_several else _alone_writing(self.files[0][0])

    def _alone_with(self, task: FileTask) -> AbstractContextManager[None]:
        return _alone_writing(task) if self.is_several else nullcontext()

    def find_starts(self) -> int:
        """Check that each file can begin, or be gone on with; how many turns are answered already.

        Raises:
            UserError: see `find_position`; or another program is writing one of the files.
        """
        answered = 0
        for (task, counts), marks in zip(self.files, self.marks, strict=True):
            with self._alone_with(task):  # of a whole one too: its lock may be left of one that was killed
                answered += self._find_start(task, counts, marks).turns
        return answered

    def _find_start(self, task: FileTask, counts: FileCounts, marks: Mapping[str, Any]) -> Position:
        return find_position(task, marks, counts.turns, self.is_several) if self.resume else Position()

    def answer(self, recognizer: EmotionRecognizer, answered: int) -> int:
        """Answer and write what is left; how many turns were cut, of all. answered: what `find_starts` has found.

        Raises:
            UserError: see `predict_file`; or another program is writing one of the files.
        """
        if not self.resume:  # of those too that are not reached: not to be found when this one is resumed
            for task, _ in self.files:
                self._forget(task)
        shortened, turns = 0, sum(counts.turns for _, counts in self.files)
        is_printed = not self.files[0][0].output
        silent = is_printed and sys.stdout.isatty()  # a bar would stand between the lines
        with progress_bar(turns, "emotions", "turn", answered, silent) as bar:
            for number, (task, counts) in enumerate(self.files):
                if self.is_several and is_printed:
                    print("\n" * (number > 0) + f"file {as_line(str(task.source))}", flush=True)
                shortened += self._answer_file(recognizer, task, counts, self.marks[number], bar.update)
        for task, _ in self.files:
            with suppress(UserError):  # another program answers it anew by now
                self._forget(task)
        return shortened

    def _answer_file(
        self,
        recognizer: EmotionRecognizer,
        task: FileTask,
        counts: FileCounts,
        marks: Mapping[str, Any],
        advance: Callable[[int], object],
    ) -> int:
        with self._alone_with(task):
            start = self._find_start(task, counts, marks)
            if start.turns == counts.turns and task.is_whole(start.bytes):
                return start.shortened
            return predict_file(recognizer, task, counts, marks, start, advance).shortened

    def _forget(self, task: FileTask) -> None:
        if task.output:
            with self._alone_with(task):
                task.state.unlink(missing_ok=True)


def _alone_writing(task: FileTask) -> AbstractContextManager[None]:
    """Inside, no other program writes this output; UserError: one does."""
    return alone_at(lock_beside(task.output), f"--output {task.output}") if task.output else nullcontext()
