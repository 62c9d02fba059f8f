"""Files of dialogues -> emotions, one by one and chunk by chunk: progress, whole files or none, stop and go on."""

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from bases.find import identify_base
from basics.errors import UserError, as_line, disk_named
from basics.files import replace_durably, sha256_of, sha256_of_text, write_atomically
from basics.json_files import parse_json
from basics.locks import alone_at, lock_beside
from basics.scripts import progress_bar
from dialogue_files.reading import FileCounts, read_turns
from own_dialogues.checkpoint import find_base
from own_dialogues.demonstrations import DemonstrationSource, identify_demonstrations
from own_dialogues.recognizer import CHUNK_TURNS, EmotionRecognizer
from own_dialogues.tasks import FileTask, Finished, FinishedFiles
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


def find_position(task: FileTask, marks: Mapping[str, Any], resume: bool, anew: bool = False) -> Position:
    """Where to go on; the beginning when nothing is there to go on from.

    anew: an input that is another by now is answered from its beginning.

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
    if is_changed(marks, marks_there, task.part, anew):
        return Position()
    if not task.part.exists() and task.output.is_file() and task.output.stat().st_size == position.bytes:
        os.replace(task.output, task.part)  # the last one was killed between its two last steps
    if not task.part.is_file() or task.part.stat().st_size < position.bytes:
        raise UserError(f"{task.part} is gone or shorter than {task.state} says; use --resume False")
    return position


def is_changed(marks: Mapping[str, Any], marks_there: Mapping[str, Any], made: Path, anew: bool) -> bool:
    """Whether what was made has to be made anew, as its input alone is another by now. anew: see `find_position`.

    Raises:
        UserError: it was made from something else; the differences are named.
    """
    changed = [name for name in marks if marks_there.get(name) != marks[name]]
    if changed and not (anew and changed == ["input"]):
        told = "; ".join(f"{name} is another" for name in changed)
        raise UserError(f"cannot go on with {made}: {told}; use the same, or --resume False")
    return bool(changed)


def predict_file(
    recognizer: EmotionRecognizer,
    task: FileTask,
    counts: FileCounts,
    marks: Mapping[str, Any],
    position: Position,
    advance: Callable[[int], object] = lambda turns: None,
) -> Position:
    """Answer every turn of a file from a position on and write it; returns the end, for who tells the user.

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


class Run:
    """Files that one model answers, one after the other.

    files: each with its counts, as it was when it was checked. output: as --output names it; model_marks: see
    `fingerprint_model`, both None where all is printed. Of several outputs those that are whole are noted beside them
    until all are: so a run that is stopped goes on with the others.
    """

    def __init__(
        self,
        files: Sequence[tuple[FileTask, FileCounts]],
        output: Path | None,
        model_marks: Mapping[str, Any] | None,
        resume: bool,
    ) -> None:
        self.files, self.resume, self.is_several = files, resume, len(files) > 1
        self.output = output if self.is_several else files[0][0].output
        self.marks = [fingerprint(task, model_marks) if task.output else {} for task, _ in files]
        self._noted = FinishedFiles(output) if output and self.is_several else None
        self._finished: dict[Path, Finished] = {}

    def alone(self) -> AbstractContextManager[None]:
        """Inside, no other program writes this run's output; UserError: one does."""
        return _alone_writing(self.output) if self.output else nullcontext()

    def find_starts(self) -> int:
        """Check that each file can begin, or be gone on with; how many turns are answered already.

        Raises:
            UserError: see `find_position`; or another program is writing one of the files.
        """
        noted = self._noted.read() if self._noted and self.resume else {}
        answered = 0
        for (task, counts), marks in zip(self.files, self.marks, strict=True):
            found = noted.pop(task.output.name, None) if task.output else None
            with self._alone_with(task):  # of a finished one too: its lock may be left of one that was killed
                answered += counts.turns if self._is_finished(task, marks, found) else self._find_start(task, marks)
        if self._noted:
            self._noted.write([*self._finished.values(), *noted.values()])
        return answered

    def _is_finished(self, task: FileTask, marks: Mapping[str, Any], found: Finished | None) -> bool:
        if not found or is_changed(marks, found.marks, task.output, anew=True):
            return False
        if not task.output.is_file() or sha256_of(task.output) != found.sha256:
            return False
        self._finished[task.output] = found
        return True

    def _find_start(self, task: FileTask, marks: Mapping[str, Any]) -> int:
        """The turns that are answered already of a file that is not whole."""
        start = find_position(task, marks, self.resume, self.is_several)
        if self._noted and start == Position():
            task.state.unlink(missing_ok=True)  # of another run: not to be found when this one is resumed
        return start.turns

    def answer(self, recognizer: EmotionRecognizer, answered: int) -> int:
        """Answer and write what is left; how many turns were cut, of all. answered: what `find_starts` has found.

        Raises:
            UserError: see `predict_file`; or another program is writing one of the files.
        """
        shortened = sum(one.shortened for one in self._finished.values())
        turns = sum(counts.turns for _, counts in self.files)
        silent = self.output is None and sys.stdout.isatty()  # a bar would stand between the lines
        with progress_bar(turns, "emotions", "turn", answered, silent) as bar:
            for number, (task, counts) in enumerate(self.files):
                if task.output in self._finished:
                    continue
                if self.is_several and not task.output:
                    print("\n" * (number > 0) + f"file {as_line(str(task.source))}", flush=True)
                shortened += self._answer_file(recognizer, task, counts, self.marks[number], bar.update)
        if self._noted:
            self._noted.write([])
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
            start = find_position(task, marks, self.resume, self.is_several)
            end = predict_file(recognizer, task, counts, marks, start, advance)
            if self._noted:
                self._noted.add(Finished(task.output.name, sha256_of(task.output), end.shortened, marks))
        return end.shortened

    def _alone_with(self, task: FileTask) -> AbstractContextManager[None]:
        """A run of one file holds its lock from the beginning."""
        return _alone_writing(task.output) if self._noted else nullcontext()


def _alone_writing(output: Path) -> AbstractContextManager[None]:
    return alone_at(lock_beside(output), f"--output {output}")
