"""What the events of the page do: Python in, Python and HTML out; the parts that call them are in page_layout.py."""

import threading
import traceback
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from time import monotonic
from typing import Any

import emotion_page as page
import page_input
from basics.errors import UserError
from basics.words import counted
from dialogue_files.report import Report
from dialogue_files.turns import SpokenTurn
from own_dialogues.checkpoint import ensure_base
from own_dialogues.facts import find_facts
from own_dialogues.recognizer import Emotion, EmotionRecognizer
from own_dialogues.shipped import name_of
from own_dialogues.writing import TurnEmotion
from page_input import OpenedFile
from training.erc_config import ErcConfig

MOST_LOADED = 2

Given = tuple[str, list[SpokenTurn]]  # a dialogue of a file: as it was put into the field, and as it was read
Known = tuple[str, list[TurnEmotion]]  # checkpoint, its answer to the dialogue as it was
Shown = tuple[str, str, Known]  # status and result as HTML, what is known now


class Page:
    """What the events call. Visitors take turns, step by step; two checkpoints are kept in memory at most."""

    def __init__(self, checkpoints: Iterable[Path], decode: str | None = None) -> None:
        self.decode = decode
        self.folders = {name_of(folder): folder for folder in checkpoints}
        self.lock = threading.Lock()
        self.loaded: dict[str, EmotionRecognizer] = {}  # the one asked last stands last
        # Of each visit that is being answered: the checkpoint's name, and what answers. Held here alone: what a visitor
        # held would keep in memory a checkpoint that has gone for another one.
        self.begun: dict[object, tuple[str, Iterator[list[TurnEmotion]]]] = {}
        self.newest: dict[str, object] = {}  # of each visitor who is being answered: what was asked last

    def load(self, name: str) -> EmotionRecognizer:
        """The checkpoint of a name; the one not asked for longest goes before another is loaded."""
        found = self.loaded.pop(name, None)
        if found is None:
            ensure_base(self.folders[name])
            while len(self.loaded) >= MOST_LOADED:
                self._forget(next(iter(self.loaded)))
            found = EmotionRecognizer.from_pretrained(self.folders[name], decode=self.decode)
        self.loaded[name] = found
        return found

    def _forget(self, name: str) -> None:
        """Whoever is being answered by it begins with what is left, once it is there again."""
        for visit, (asked, _) in list(self.begun.items()):
            if asked == name:
                self.begun.pop(visit, None)
        del self.loaded[name]

    def choices(self) -> list[tuple[str, str]]:
        """(what is shown, name) of each checkpoint."""
        return [(_shown_choice(name, folder, self.decode), name) for name, folder in self.folders.items()]

    def describe(self, name: str) -> str:
        """What there is to know of a checkpoint, as HTML."""
        try:
            return page.render_facts(find_facts(self._folder(name), self.decode))
        except UserError as error:
            return page.render_error(str(error))

    def _folder(self, name: str) -> Path:
        if name not in self.folders:
            raise UserError(f"There is no checkpoint {name!r} here: pick one of the list.")
        return self.folders[name]

    def answer(self, name: str, text: str, given: Given | None, known: Known | None) -> Iterator[Shown]:
        """Ever more of the answer; a problem as one sentence."""
        known = known or ("", [])
        try:
            text, report = text or "", Report()
            is_of_file = given is not None and given[0] == text
            turns = given[1] if is_of_file else page_input.read_dialogue(text, report)
            told = "as the file has it" if is_of_file else page_input.describe(report)
            self._folder(name)
            yield page.render_status(f"{told}. The model is being asked ...", 0, len(turns)), "", known
            for shown in self._ask(name, turns, known, told):
                known = shown[2]
                yield shown
        except UserError as error:
            yield page.render_error(str(error)), "", known
        except (RuntimeError, MemoryError) as error:
            traceback.print_exc()  # for whoever runs the page; who looks at it gets a sentence
            yield page.render_error(page.explain_failure(error)), "", known

    def _ask(self, name: str, turns: list[SpokenTurn], known: Known, told: str) -> Iterator[Shown]:
        """Step by step, so that nobody waits for the whole of another's dialogue, nor for one who has gone."""
        visit, rows, before = object(), [], known[1] if known[0] == name else []
        config, is_filtered = self._in_turn(self._look_at, name)
        try:
            while (found := self._in_turn(self._go_on, visit, name, turns, rows, before)) is not None:
                rows = found
                status = page.render_status(
                    f"{len(rows):,} of {counted(len(turns), 'turn')} ...", len(rows), len(turns)
                )
                yield status, page.render_rows(rows, config.labels), (name, rows)
        finally:
            self.begun.pop(visit, None)
        prompts, alone = self._in_turn(self._look_back, name, rows)
        filtered = ", with transitions" if is_filtered else ""
        done = page.render_status(f"{counted(len(rows), 'turn')}, labels of {config.dataset}{filtered}; {told}.")
        yield done, page.render_rows(rows, config.labels, prompts, alone), (name, rows)

    def _look_at(self, name: str) -> tuple[ErcConfig, bool]:
        """How a checkpoint is asked, and whether its answers are filtered."""
        recognizer = self.load(name)
        return recognizer.config, recognizer.transitions is not None

    def _go_on(
        self,
        visit: object,
        name: str,
        turns: list[SpokenTurn],
        rows: list[TurnEmotion],
        before: list[TurnEmotion],
    ) -> list[TurnEmotion] | None:
        """More than the rows that a visit has, None after all. before: of an earlier dialogue.

        Whoever had to wait for the checkpoint is answered for as long: loading takes half of the time at most.
        """
        began = monotonic()
        recognizer = self.load(name)
        until = 2 * monotonic() - began
        if visit not in self.begun:
            self.begun[visit] = name, page.answer(recognizer, turns, rows or before)
            if rows:
                next(self.begun[visit][1])  # these again
        steps = self.begun[visit][1]
        found = next(steps, None)
        while found and monotonic() < until and (more := next(steps, None)):
            found = more
        return found

    def _look_back(self, name: str, rows: list[TurnEmotion]) -> tuple[list[str], Emotion | None]:
        """The prompts of a whole dialogue, and its last turn by itself."""
        recognizer = self.load(name)
        prompts = recognizer.seen_prompts([(row.turn.speaker, row.turn.text) for row in rows])
        return prompts, page.judge_alone(recognizer, rows)

    def _in_turn(self, work: Callable, *arguments: Any) -> Any:
        with self.lock:
            return work(*arguments)

    def add(
        self, name: str, text: str, who: str, what: str, given: Given | None, known: Known | None
    ) -> Iterator[tuple]:
        """(dialogue with one more turn, what stays in the field of its utterance, then as `answer`).

        Raises:
            UserError: it cannot be a turn.
        """
        longer = page_input.add_turn(text or "", who or "", what or "")
        for shown in self.answer(name, longer, given, known):
            yield longer, "", *shown

    def show(self, text: str, name: str, known: Known | None) -> Iterator[tuple]:
        """(a dialogue to click, then as `answer`)."""
        for shown in self.answer(name, text, None, known):
            yield text, *shown

    def of_newest(self, visitor: str, steps: Iterator[tuple]) -> Iterator[tuple]:
        """Steps until the visitor asks for something else, as both would be written into the same places.

        UserError from the first step: then what was asked before goes on.
        """
        step, me = next(steps), object()
        self.newest[visitor] = me
        try:
            while step is not None and self.newest.get(visitor) is me:
                yield step
                step = next(steps, None)
        finally:
            steps.close()
            if self.newest.get(visitor) is me:
                del self.newest[visitor]

    def open(self, path: str | None, form: str, encoding: str, opened: OpenedFile | None) -> tuple:
        """(the file, its dialogues to choose from, then as `choose`) of a new file, else of that which is open.

        form, encoding: what it is said to be; empty: as its name and beginning tell.

        Raises:
            UserError: it cannot be read, or there is no file yet.
        """
        place = path or (opened and opened.path)
        if not place:
            raise UserError("There is no file yet: open one.")
        found = page_input.open_file(place, form or None, page_input.known_encoding(encoding or ""))
        choices = [
            (f"{dialogue}: {counted(turns, 'turn')}", part) for part, (dialogue, turns) in enumerate(found.dialogues)
        ]
        return found, choices, *self.choose(found, 0)

    def choose(self, opened: OpenedFile, part: int) -> tuple[str, Given, str, str]:
        """(dialogue for the field, the same as it was read, status, what would be judged); UserError: see `read`."""
        turns = opened.read(part)
        text, ready = page_input.as_text(turns), f"{opened.path.name} is open. The model has not been asked yet."
        return text, (text, turns), page.render_status(ready), page.render_preview(opened, turns)


def _shown_choice(name: str, folder: Path, decode: str | None) -> str:
    try:
        facts = find_facts(folder, decode)
    except UserError:  # `describe` says what is the matter, once it is chosen
        return name
    score = f", weighted F1 {facts.score.weighted_f1:.1f}" if facts.score else ""
    labels = "" if name == facts.config.dataset else f": labels of {facts.config.dataset}"
    return f"{name}{labels}{score}"
